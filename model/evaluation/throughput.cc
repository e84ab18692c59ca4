// Tokens per second and peak memory by context length L, for a train step, for reading a prompt and
// for generating after it:
//
//   train_step, forward:  warm_up steps, then `iterations` timed ones of B sequences of L tokens
//                         tokens_per_s = B L / median time
//   generate:             a prefill of L, warm_up tokens, then new_tokens timed ones
//                         tokens_per_s = B new_tokens / total time, so the mean over tokens
//
// Each step ends when the device has finished. Percentiles are by nearest rank: p q = the ceil(q
// n)-th smallest of n; the median of an even n is the mean of the middle two. The speed's quantiles
// are those of the steps' speeds, and their median is the speed of the median time: the value of
// train_step and forward. peak_bytes covers only the timed steps. If it does not fit into memory,
// the row has status out_of_memory.
#include "model/evaluation/throughput.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "model/evaluation/nll_row.h"
#include "model/evaluation/params.h"
#include "model/throughput_probe.h"

namespace longrun {
namespace {

using Direction = ProbeShape::Direction;

constexpr std::string_view kSpeed = "tokens_per_s", kMemory = "peak_bytes";

Direction DirectionOf(std::string_view name) {
  if (name == "train_step") return Direction::kTrainStep;
  if (name == "forward") return Direction::kForward;
  LR_CHECK(name == "generate");
  return Direction::kGenerate;
}

struct Plan {
  ProbeShape shape;
  std::int64_t n_warm_up = 0;
  std::int64_t n_timed = 0;
  std::int64_t n_tokens = 0;  // per step
};

Result<Plan> MakePlan(const EvaluationRequest& request) {
  Json given = request.params;
  if (given.is_object()) given["context_lengths"] = {request.context_length};
  ASSIGN_OR_RETURN(const Json params,
                   ResolveParams(ThroughputEvaluation().params, given, "throughput"));
  Plan plan;
  plan.shape = {.direction = DirectionOf(request.variant),
                .batch = params["batch"],
                .context_length = request.context_length,
                .new_tokens = 0,
                .precision = params["precision"].get<Precision>()};
  plan.n_warm_up = params["warm_up"];
  const bool generates = plan.shape.direction == Direction::kGenerate;
  plan.n_timed = params[generates ? "new_tokens" : "iterations"];
  plan.n_tokens = generates ? plan.shape.batch : plan.shape.batch * request.context_length;
  if (generates) plan.shape.new_tokens = plan.n_warm_up + plan.n_timed;
  return plan;
}

Json NewRow(const EvaluationRequest& request, const Plan& plan, std::string_view metric) {
  Json extra = {{"batch", plan.shape.batch},
                {"precision", plan.shape.precision},
                {"warm_up", plan.n_warm_up},
                {"tokens_per_step", plan.n_tokens},
                {"machine", request.machine}};
  Json row = EmptyRow(metric, request);
  row["extra"] = std::move(extra);
  return row;
}

struct Measured {
  std::vector<double> seconds;  // ascending
  PeakMemory peak;
};

Result<Measured> Measure(ThroughputProbe& probe, const Plan& plan,
                         const EvaluationProgress& progress) {
  RETURN_IF_ERROR(probe.Prepare(plan.shape));
  const std::int64_t n_steps = plan.n_warm_up + plan.n_timed;
  Measured measured;
  measured.seconds.reserve(static_cast<std::size_t>(plan.n_timed));
  for (std::int64_t i = 0; i < n_steps; ++i) {
    if (i == plan.n_warm_up) probe.ResetPeak();
    ASSIGN_OR_RETURN(const double seconds, probe.Step());
    if (i >= plan.n_warm_up) measured.seconds.push_back(seconds);
    if (progress && !progress(i + 1, n_steps)) {
      return Status(Code::kCancelled, Str("stopped after ", i + 1, " of ", n_steps, " steps"));
    }
  }
  measured.peak = probe.Peak();
  std::ranges::sort(measured.seconds);
  return measured;
}

double Percentile(const std::vector<double>& ascending, double share) {
  const double rank = std::ceil(share * static_cast<double>(ascending.size()));
  return ascending[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

double Median(const std::vector<double>& ascending) {
  const std::size_t n = ascending.size();
  return (ascending[(n - 1) / 2] + ascending[n / 2]) / 2.0;
}

// In tokens per second: {"n":..,"p10":..,"p25":..,"median":..,"p75":..,"p90":..}.
Json SpeedQuantiles(const Plan& plan, const std::vector<double>& seconds_ascending) {
  const auto n_tokens = static_cast<double>(plan.n_tokens);
  std::vector<double> speeds;
  speeds.reserve(seconds_ascending.size());
  for (const double seconds : seconds_ascending) speeds.push_back(n_tokens / seconds);
  std::ranges::reverse(speeds);
  return {{"n", speeds.size()},
          {"p10", Percentile(speeds, 0.1)},
          {"p25", Percentile(speeds, 0.25)},
          {"median", n_tokens / Median(seconds_ascending)},
          {"p75", Percentile(speeds, 0.75)},
          {"p90", Percentile(speeds, 0.9)}};
}

void FillRows(const Plan& plan, const Measured& measured, Json& speed, Json& memory) {
  constexpr double kMs = 1e3;
  const bool is_mean = plan.shape.direction == Direction::kGenerate;
  const double total = std::accumulate(measured.seconds.begin(), measured.seconds.end(), 0.0);
  const double mean = total / static_cast<double>(plan.n_timed);
  const double median = Median(measured.seconds);
  speed["averaging"] = is_mean ? "mean" : "median";
  speed["value"] = static_cast<double>(plan.n_tokens) / (is_mean ? mean : median);
  speed["extra"].update({{"step_ms_median", median * kMs},
                         {"step_ms_mean", mean * kMs},
                         {"step_ms_p10", Percentile(measured.seconds, 0.1) * kMs},
                         {"step_ms_p90", Percentile(measured.seconds, 0.9) * kMs},
                         {"quantiles", SpeedQuantiles(plan, measured.seconds)}});
  memory["averaging"] = "max";
  memory["value"] = measured.peak.allocated_bytes;
  memory["extra"].update(
      {{"source", measured.peak.source}, {"reserved_bytes", measured.peak.reserved_bytes}});
  for (Json* const row : {&speed, &memory}) (*row)["n"] = plan.n_timed;
}

// The same as for other evaluations, but some models have no cache for generation.
std::string_view StatusOfError(Code code) {
  return code == Code::kUnimplemented ? "not_applicable" : StatusOfModelError(code);
}

Result<EvaluationOutput> RunThroughput(LanguageModel& model, const EvaluationRequest& request,
                                       const EvaluationProgress& progress) {
  ThroughputProbe* const probe = model.throughput();
  if (probe == nullptr) {
    return Status(Code::kUnimplemented, "throughput: this model cannot be timed");
  }
  ASSIGN_OR_RETURN(const Plan plan, MakePlan(request));
  Json speed = NewRow(request, plan, kSpeed), memory = NewRow(request, plan, kMemory);
  const Result<Measured> measured = Measure(*probe, plan, progress);
  probe->Release();
  if (measured) {
    FillRows(plan, *measured, speed, memory);
  } else {
    const std::string_view status = StatusOfError(measured.status().code());
    if (status.empty()) return measured.status();
    for (Json* const row : {&speed, &memory}) {
      (*row)["status"] = status;
      (*row)["extra"]["reason"] = measured.status().message();
    }
  }
  return EvaluationOutput{.rows = {std::move(speed), std::move(memory)}, .artifacts = {}};
}

std::vector<RowName> ThroughputRows(const Json& params) {
  std::vector<RowName> rows;
  for (const Json& direction : params.at("directions")) {
    for (const std::string_view metric : {kSpeed, kMemory}) {
      rows.push_back({.metric = metric, .variant = direction.get<std::string>()});
    }
  }
  return rows;
}

// The tokens are random, so any dataset fits.
std::optional<ParamError> FitThroughput(const DatasetShape&, Json&) { return std::nullopt; }

ParamSpec Count(std::string_view name, int value, double min, double max,
                std::string_view meaning) {
  return {.name = name,
          .type = ParamSpec::Type::kCount,
          .default_value = value,
          .min = min,
          .max = max,
          .meaning = meaning};
}

std::vector<ParamSpec> ThroughputSpecs() {
  return {
      ContextLengthsParam("tokens in a sequence that the model trains on, reads or continues"),
      {.name = "directions",
       .type = ParamSpec::Type::kChoiceList,
       .default_value = {"train_step", "forward", "generate"},
       .choices = {"train_step", "forward", "generate"},
       .meaning = "what is timed: a training step, reading a prompt, generating with a cache"},
      Count("batch", 1, 1, 1 << 20, "sequences that are processed together"),
      {.name = "precision",
       .type = ParamSpec::Type::kChoice,
       .default_value = Precision::kFp32,
       .choices = {kTrainedPrecisions.begin(), kTrainedPrecisions.end()},
       .meaning = "bf16: autocast, with fp32 weights"},
      Count("warm_up", 5, 0, 10'000, "steps before the timed ones"),
      Count("iterations", 20, 1, 100'000, "timed steps of train_step and forward"),
      Count("new_tokens", 64, 1, 1 << 20,
            "timed steps of generate; each adds one token to every sequence"),
      Count("repeat", 0, 0, 1e9, "any number; choose another one to measure again"),
  };
}

}  // namespace

const Evaluation& ThroughputEvaluation() {
  static const Evaluation evaluation = {
      .name = "throughput",
      .source = "docs/evaluation.md",
      .meaning = "tokens per second and peak memory by context length, on random tokens",
      .params = ThroughputSpecs(),
      .rows = &ThroughputRows,
      .variants_are_models = false,
      .fit = &FitThroughput,
      .run = &RunThroughput,
  };
  return evaluation;
}

}  // namespace longrun
