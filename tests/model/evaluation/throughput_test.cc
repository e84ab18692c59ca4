#include "model/evaluation/throughput.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longrun {
namespace {

using Direction = ProbeShape::Direction;

// Steps take 1, 2, 3, ... milliseconds from Prepare on.
class CountingProbe final : public ThroughputProbe {
 public:
  Status Prepare(const ProbeShape& given) override {
    shape = given;
    n_steps = 0;
    return prepared;
  }
  Result<double> Step() override {
    if (n_steps == fail_at) return Status(Code::kResourceExhausted, "no more memory");
    return 1e-3 * static_cast<double>(++n_steps);
  }
  void ResetPeak() override { reset_at = n_steps; }
  PeakMemory Peak() override {
    return {.allocated_bytes = 1000, .reserved_bytes = 4096, .source = "counted"};
  }
  void Release() override { n_released += 1; }

  ProbeShape shape;
  Status prepared;
  std::int64_t n_steps = 0, reset_at = -1, fail_at = -1;
  int n_released = 0;
};

class TimedModel final : public LanguageModel {
 public:
  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window>) override {
    return Status(Code::kUnimplemented, "it is only timed");
  }
  ThroughputProbe* throughput() override { return &probe; }

  CountingProbe probe;
};

Result<EvaluationOutput> Timed(LanguageModel& model, const char* variant, Json params,
                               const EvaluationProgress& progress = {}) {
  return ThroughputEvaluation().run(model,
                                    {.params = std::move(params),
                                     .context_length = 64,
                                     .variant = variant,
                                     .machine = {{"kind", "cpu"}}},
                                    progress);
}

// Timed are the steps of 3, 4, 5 and 6 ms: by nearest rank the 10th percentile is the first, the
// 90th the last. Speeds are 128 tokens by these times, the quartiles the first and the third.
TEST(ThroughputTest, AForwardHasTheMedianOfItsTimedSteps) {
  TimedModel model;
  const auto output =
      Timed(model, "forward", {{"batch", 2}, {"warm_up", 2}, {"iterations", 4}}).value();
  EXPECT_EQ(model.probe.shape.direction, Direction::kForward);
  EXPECT_EQ(model.probe.shape.batch, 2);
  EXPECT_EQ(model.probe.n_steps, 6);
  EXPECT_EQ(model.probe.reset_at, 2);  // the warm-up is no part of the peak
  EXPECT_EQ(model.probe.n_released, 1);
  ASSERT_EQ(output.rows.size(), 2u);
  const Json& speed = output.rows[0];
  EXPECT_EQ(speed.at("metric"), "tokens_per_s");
  EXPECT_EQ(speed.at("variant"), "forward");
  EXPECT_EQ(speed.at("averaging"), "median");
  EXPECT_EQ(speed.at("n"), 4);
  EXPECT_NEAR(speed.at("value").get<double>(), 2 * 64 / 4.5e-3, 1e-6);
  EXPECT_NEAR(speed.at("extra").at("step_ms_median").get<double>(), 4.5, 1e-9);
  EXPECT_NEAR(speed.at("extra").at("step_ms_p10").get<double>(), 3.0, 1e-9);
  EXPECT_NEAR(speed.at("extra").at("step_ms_p90").get<double>(), 6.0, 1e-9);
  const Json& quantiles = speed.at("extra").at("quantiles");
  EXPECT_EQ(quantiles.at("n"), 4);
  EXPECT_NEAR(quantiles.at("p10").get<double>(), 128 / 6e-3, 1e-6);
  EXPECT_NEAR(quantiles.at("p25").get<double>(), 128 / 6e-3, 1e-6);
  EXPECT_EQ(quantiles.at("median"), speed.at("value"));
  EXPECT_NEAR(quantiles.at("p75").get<double>(), 128 / 4e-3, 1e-6);
  EXPECT_NEAR(quantiles.at("p90").get<double>(), 128 / 3e-3, 1e-6);
  EXPECT_EQ(speed.at("extra").at("machine"), (Json{{"kind", "cpu"}}));
  EXPECT_EQ(speed.size(), 14u);
  const Json& memory = output.rows[1];
  EXPECT_EQ(memory.at("metric"), "peak_bytes");
  EXPECT_EQ(memory.at("value"), 1000);
  EXPECT_EQ(memory.at("extra").at("reserved_bytes"), 4096);
  EXPECT_EQ(memory.at("extra").at("source"), "counted");
}

TEST(ThroughputTest, WritingHasTheMeanOverItsTokens) {
  TimedModel model;
  const auto output =
      Timed(model, "generate", {{"batch", 3}, {"warm_up", 1}, {"new_tokens", 3}}).value();
  EXPECT_EQ(model.probe.shape.direction, Direction::kGenerate);
  EXPECT_EQ(model.probe.shape.new_tokens, 4);  // room for the warm-up too
  // 3 sequences, in 2, 3 and 4 ms a token.
  EXPECT_NEAR(output.rows[0].at("value").get<double>(), 3 * 3 / 9e-3, 1e-6);
  EXPECT_EQ(output.rows[0].at("averaging"), "mean");
  const Json& quantiles = output.rows[0].at("extra").at("quantiles");
  EXPECT_NEAR(quantiles.at("p25").get<double>(), 3 / 4e-3, 1e-6);
  EXPECT_NEAR(quantiles.at("median").get<double>(), 3 / 3e-3, 1e-6);
  EXPECT_NEAR(quantiles.at("p75").get<double>(), 3 / 2e-3, 1e-6);
}

TEST(ThroughputTest, WhatDoesNotFitOrCannotBeDoneIsARow) {
  const auto status = [](Status prepared, std::int64_t fail_at) {
    TimedModel model;
    model.probe.prepared = std::move(prepared);
    model.probe.fail_at = fail_at;
    const auto output = Timed(model, "train_step", Json::object());
    EXPECT_TRUE(output.ok());
    EXPECT_EQ(model.probe.n_released, 1);
    for (const Json& row : output->rows) {
      EXPECT_TRUE(row.at("value").is_null());
      EXPECT_TRUE(row.at("extra").contains("reason"));
    }
    EXPECT_EQ(output->rows[0].at("status"), output->rows[1].at("status"));
    return output->rows[0].at("status").get<std::string>();
  };
  EXPECT_EQ(status(Status(), 7), "out_of_memory");
  EXPECT_EQ(status(Status(Code::kResourceExhausted, "too large"), -1), "out_of_memory");
  EXPECT_EQ(status(Status(Code::kOutOfRange, "past the table"), -1), "not_applicable");
  EXPECT_EQ(status(Status(Code::kUnimplemented, "not causal"), -1), "not_applicable");
}

TEST(ThroughputTest, OtherErrorsAreErrorsAndItCanBeStopped) {
  TimedModel model;
  model.probe.prepared = Status(Code::kInternal, "broken");
  EXPECT_EQ(Timed(model, "forward", Json::object()).status().code(), Code::kInternal);
  model.probe.prepared = Status();
  const auto stop = [](std::int64_t done, std::int64_t of) {
    EXPECT_EQ(of, 25);
    return done < 3;
  };
  EXPECT_EQ(Timed(model, "forward", Json::object(), stop).status().message(),
            "stopped after 3 of 25 steps");
  EXPECT_EQ(Timed(model, "forward", {{"precision", "fp8"}}).status().message(),
            "throughput.precision: expected one of fp32, bf16, found \"fp8\"; did you mean "
            "\"fp32\"?");
  class Untimed final : public LanguageModel {
    Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                                std::span<const Window>) override {
      return std::vector<std::vector<float>>();
    }
  };
  Untimed untimed;
  EXPECT_EQ(Timed(untimed, "forward", Json::object()).status().code(), Code::kUnimplemented);
}

TEST(ThroughputTest, EachDirectionHasTwoRows) {
  const Json params = {{"directions", {"generate", "forward"}}};
  EXPECT_EQ(ThroughputEvaluation().rows(params), (std::vector<RowName>{{"tokens_per_s", "generate"},
                                                                       {"peak_bytes", "generate"},
                                                                       {"tokens_per_s", "forward"},
                                                                       {"peak_bytes", "forward"}}));
}

}  // namespace
}  // namespace longrun
