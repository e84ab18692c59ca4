// train.continue_from: which run may go on where another ended.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/str.h"
#include "sweeps/sweep.h"

namespace longrun {
namespace {

class ContinueTest : public testing::Test {
 protected:
  ContinueTest() {
    catalogue.find = [](const std::string& name) {
      return std::optional(
          DatasetInfo{.name = name,
                      .digest = Sha256Hex(name),
                      .tokenizer_fingerprint = Sha256Hex("bytes"),
                      .vocab_size = 256,
                      .split_tokens = {{"train", 4'000'000}, {"validation", 20'000}}});
    };
    catalogue.names = {"one", "two"};
    const Result<Sweep> sweep = Parse({});
    EXPECT_TRUE(sweep.ok()) << sweep.status().message();
    parent = sweep->runs.at(0).run;
    catalogue.find_run = [this](const std::string& wanted) -> Result<KnownRun> {
      if (wanted != "01234567") return Status(Code::kNotFound, Str("no run \"", wanted, "\""));
      return KnownRun{.key = parent.Key(), .run = parent};
    };
  }

  using Overrides = std::vector<std::pair<std::string, std::string>>;
  Result<Sweep> Parse(const Overrides& overrides) const {
    return ParseSweep(R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {size: micro}
  matrix: {position: [alibi], train_length: [64], dataset: [one], seed: [1]}
  train: {tokens: 65536, batch_tokens: 1024}
)",
                      "a.yaml", overrides, catalogue);
  }
  // Goes on from the parent to twice its tokens, with one thing changed.
  Result<Sweep> GoOn(const Overrides& changed = {}, const std::string& tokens = "131072") const {
    Overrides overrides = {{"train.continue_from", "01234567"}, {"train.tokens", tokens}};
    overrides.insert(overrides.end(), changed.begin(), changed.end());
    return Parse(overrides);
  }

  DatasetCatalogue catalogue;
  longrun::Run parent;
};

TEST_F(ContinueTest, ANewRunNamesItsParentByTheWholeKey) {
  const Result<Sweep> sweep = GoOn();
  ASSERT_TRUE(sweep.ok()) << sweep.status().message();
  ASSERT_EQ(sweep->runs.size(), 1u);
  EXPECT_EQ(sweep->runs[0].run.parent, parent.Key());
  EXPECT_NE(sweep->runs[0].run_key, Parse({{"train.tokens", "131072"}})->runs[0].run_key);
}

TEST_F(ContinueTest, HowWeightsMoveMayChange) {
  for (const auto& [path, value] :
       Overrides{{"train.optimizer.lr", "1e-5"}, {"train.schedule.name", "constant"}}) {
    const Result<Sweep> sweep = GoOn({{path, value}});
    EXPECT_TRUE(sweep.ok()) << sweep.status().message();
  }
}

TEST_F(ContinueTest, WhatACheckpointHoldsMayNot) {
  struct Case {
    const char* path;
    const char* value;
    const char* part;  // what the message names
  };
  for (const Case& c :
       {Case{"model.n_layer", "7", "model"}, Case{"position", "rope", "position"},
        Case{"dataset", "two", "dataset"}, Case{"seed", "2", "seed"},
        Case{"train_length", "128", "train_length"},
        Case{"train.batch_tokens", "2048", "batch_tokens"},
        Case{"train.precision", "bf16", "precision"},
        Case{"train.skip_epsilon", "1e-6", "skip_epsilon"}, Case{"train.order", "stream", "order"},
        Case{"train.samples", "documents", "samples"}}) {
    EXPECT_EQ(GoOn({{c.path, c.value}}).status().message(),
              Str("--set train.continue_from=01234567: spec.train.continue_from: run ",
                  parent.Key().substr(0, 8), " has another ", c.part,
                  "; a run continues with the same model, position, dataset, seed, train_length, "
                  "batch_tokens, precision, skip_epsilon, order, samples, positions and extend"));
  }
}

// 65,000 and 65,536 tokens are both 64 steps of 1,024.
TEST_F(ContinueTest, ItGoesOnAtTheSamePositions) {
  constexpr const char* kPose = "{method: pose, target_length: 256}";
  parent = Parse({{"position", "rope"}, {"train.positions", kPose}})->runs.at(0).run;
  const Result<Sweep> same = GoOn({{"position", "rope"}, {"train.positions", kPose}});
  EXPECT_TRUE(same.ok()) << same.status().message();
  for (const char* other : {"plain", "{method: pose, target_length: 512}"}) {
    const Result<Sweep> sweep = GoOn({{"position", "rope"}, {"train.positions", other}});
    ASSERT_FALSE(sweep.ok()) << other;
    EXPECT_NE(sweep.status().message().find("has another positions"), std::string::npos)
        << sweep.status().message();
  }
}

TEST_F(ContinueTest, ItGoesOnUnderTheSameExtension) {
  const Overrides llama = {{"position", "rope"}, {"model.architecture", "llama"}};
  const auto under = [&](const char* extension) {
    Overrides overrides = llama;
    overrides.emplace_back("train.extend", extension);
    return overrides;
  };
  constexpr const char* kPi = "{method: pi, factor: 4}";
  parent = Parse(under(kPi))->runs.at(0).run;
  const Result<Sweep> same = GoOn(under(kPi));
  EXPECT_TRUE(same.ok()) << same.status().message();
  const Result<Sweep> other = GoOn(under("{method: pi, factor: 2}"));
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.status().message().find("has another extend;"), std::string::npos)
      << other.status().message();
}

TEST_F(ContinueTest, ThereMustBeMoreToDo) {
  for (const char* tokens : {"65536", "65000", "1024"}) {
    EXPECT_EQ(
        GoOn({}, tokens).status().message(),
        Str("--set train.continue_from=01234567: spec.train.continue_from: run ",
            parent.Key().substr(0, 8),
            " was trained on 65536 tokens already; train.tokens must be more, found ", tokens));
  }
}

TEST_F(ContinueTest, ARunThatIsNotThereIsSaidWithItsReason) {
  EXPECT_EQ(Parse({{"train.continue_from", "nothing"}}).status().message(),
            "--set train.continue_from=nothing: spec.train.continue_from: no run \"nothing\"");
  catalogue.find_run = {};
  EXPECT_EQ(GoOn().status().message(),
            "--set train.continue_from=01234567: spec.train.continue_from: no runs are known here");
}

}  // namespace
}  // namespace longrun
