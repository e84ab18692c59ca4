#include "model/evaluation/attention_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "tests/model/evaluation/toy_model.h"

namespace longrun {
namespace {

// Looks at all keys in sight alike: A[i][j] = 1 / (i + 1), so that the entropy of row i is
// ln(i + 1). With `by_token` the head entropy of each query is the first token of the text.
class UniformAttention final : public AttentionProbe {
 public:
  Result<AttentionMap> Map(
      const AttentionMapRequest& request,
      const std::function<bool(std::int64_t, std::int64_t)>& progress) override {
    requests.push_back(request);
    texts.emplace_back(request.tokens.begin(), request.tokens.end());
    if (!answer.ok()) return answer;
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      if (!progress(layer, 2)) return Status(Code::kCancelled, "stopped");
    }
    AttentionMap map;
    map.values_of = request.values_of;
    map.n_tokens = static_cast<std::int64_t>(request.tokens.size());
    map.layers = {0, 1};
    map.heads = {0};
    for (std::int64_t i = 0; i < map.n_tokens; ++i) {
      for (std::int64_t j = 0; j < map.n_tokens; ++j) {
        map.values.push_back(j <= i ? 1.0F / static_cast<float>(i + 1) : 0.0F);
      }
      const double entropy = std::log(static_cast<double>(i + 1));
      if (map.values_of == AttentionMap::Values::kProbabilities) map.entropy.push_back(entropy);
      map.head_entropy.push_back(by_token ? static_cast<double>(request.tokens[0]) : entropy);
    }
    return map;
  }

  Status answer;
  bool by_token = false;
  std::vector<AttentionMapRequest> requests;
  std::vector<std::vector<std::int32_t>> texts;
};

class LookingModel final : public LanguageModel {
 public:
  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window>) override {
    return Status(Code::kUnimplemented, "it is only looked at");
  }
  AttentionProbe* attention() override { return &probe; }

  UniformAttention probe;
};

class AttentionMapEvaluationTest : public testing::Test {
 protected:
  AttentionMapEvaluationTest() {
    ImportSpec spec;
    spec.splits = {
        {"train", {Text("train.txt", "something to train on")}},
        {"validation",
         {Text("a.txt", "abcdefgh"), Text("b.txt", "ijk"), Text("c.txt", "lmnopqrstu")}}};
    const std::string folder = JoinPath(folder_.path(), "data");
    EXPECT_TRUE(ImportText(spec, folder).ok());
    dataset_ = std::make_unique<Dataset>(Dataset::Open(folder).value());
  }

  std::string Text(const std::string& name, const std::string& text) {
    const std::string path = JoinPath(folder_.path(), name);
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return path;
  }

  Result<EvaluationOutput> Run(LanguageModel& model, Json params, std::int64_t length,
                               const EvaluationProgress& progress = {}) {
    return AttentionMapEvaluation().run(
        model, {.dataset = dataset_.get(), .params = std::move(params), .context_length = length},
        progress);
  }

  // The artifact of an output, read back.
  AttentionMap Stored(const EvaluationArtifact& artifact) {
    const std::string path = JoinPath(folder_.path(), artifact.name);
    EXPECT_TRUE(WriteFileAtomic(path, artifact.bytes).ok());
    const Result<AttentionMap> map = ReadAttentionMap(path);
    EXPECT_TRUE(map.ok()) << map.status().message();
    return map.ok() ? *map : AttentionMap();
  }

  TempFolder folder_;
  std::unique_ptr<Dataset> dataset_;
};

TEST_F(AttentionMapEvaluationTest, RowsAreMeansOverTheQueriesOfTheChosenDocuments) {
  LookingModel model;
  const auto output = Run(model, {{"documents", {0, 2}}}, 4).value();
  ASSERT_EQ(output.rows.size(), 2u);
  const double mean = (std::log(1) + std::log(2) + std::log(3) + std::log(4)) / 4;
  for (std::size_t r = 0; r < 2; ++r) {
    const Json& row = output.rows[r];
    EXPECT_EQ(row.at("metric"), r == 0 ? "attention_entropy" : "head_entropy");
    EXPECT_NEAR(row.at("value").get<double>(), mean, 1e-12);
    EXPECT_EQ(row.at("n"), 8);
    EXPECT_NEAR(row.at("se").get<double>(), 0.0, 1e-12);  // both documents have the same
    EXPECT_EQ(row.at("split"), "validation");
    EXPECT_EQ(row.at("context_length"), 4);
    EXPECT_EQ(row.at("status"), "ok");
    EXPECT_EQ(row.at("extra").at("n_clusters"), 2);
    EXPECT_EQ(row.at("extra").at("params"), (Json{{"documents", {0, 2}},
                                                  {"values", "probabilities"},
                                                  {"layers", "all"},
                                                  {"heads", "all"}}));
    EXPECT_EQ(row.size(), 14u);
  }
  // The beginnings of the documents, as they stand: bytes are their own ids.
  EXPECT_EQ(model.probe.texts,
            (std::vector<std::vector<std::int32_t>>{{'a', 'b', 'c', 'd'}, {'l', 'm', 'n', 'o'}}));
  ASSERT_EQ(output.artifacts.size(), 2u);
  EXPECT_EQ(output.artifacts[1].name, "attention-validation-d2-4.safetensors");
  const AttentionMap map = Stored(output.artifacts[1]);
  EXPECT_EQ(map.labels.at("document"), "2");
  EXPECT_EQ(map.labels.at("split"), "validation");
  EXPECT_EQ(map.values[4 * 3], 0.25F);
}

// Documents with the head entropies 'a' = 97 and 'l' = 108 everywhere: by the ratio estimator over
// two clusters of equal size, se = |108 - 97| / 2.
TEST_F(AttentionMapEvaluationTest, TheStandardErrorIsOverDocuments) {
  LookingModel model;
  model.probe.by_token = true;
  const Json row = Run(model, {{"documents", {0, 2}}}, 4).value().rows[1];
  EXPECT_NEAR(row.at("value").get<double>(), 102.5, 1e-9);
  EXPECT_NEAR(row.at("se").get<double>(), 5.5, 1e-9);
  EXPECT_EQ(row.at("extra").at("of_documents"), (Json{97.0, 108.0}));
  EXPECT_TRUE(Run(model, {{"documents", {0}}}, 4).value().rows[1].at("se").is_null());
}

TEST_F(AttentionMapEvaluationTest, LogitsHaveNoEntropyOfTheirMean) {
  LookingModel model;
  const Json params = {{"values", "logits"}, {"layers", {1}}, {"heads", {0, 1}}};
  const auto output = Run(model, params, 3).value();
  ASSERT_EQ(output.rows.size(), 1u);
  EXPECT_EQ(output.rows[0].at("metric"), "head_entropy");
  EXPECT_EQ(model.probe.requests[0].layers, std::vector<std::int64_t>{1});
  EXPECT_EQ(model.probe.requests[0].heads, (std::vector<std::int64_t>{0, 1}));
  const std::optional<AttentionMapName> name = AttentionMapName::Parse(output.artifacts[0].name);
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->values, "logits");
  EXPECT_EQ(name->split, "validation");
  EXPECT_EQ(name->document, 0);
  EXPECT_EQ(name->context_length, 3);
  EXPECT_EQ(name->tag.size(), 8u);  // not all layers
  EXPECT_EQ(name->Text(), output.artifacts[0].name);
  EXPECT_FALSE(AttentionMapName::Parse("documents-nll-validation-64.csv").has_value());
  EXPECT_FALSE(AttentionMapName::Parse("attention-validation-dx-64.safetensors").has_value());
}

TEST_F(AttentionMapEvaluationTest, AStoredMapIsPooledAndItsRowsAreNot) {
  LookingModel model;
  const auto output = Run(model, {{"pool", 2}, {"pool_by", "max"}}, 8).value();
  const AttentionMap map = Stored(output.artifacts[0]);
  EXPECT_EQ(map.block, 4);
  EXPECT_EQ(map.values, (std::vector<float>{1.0F, 0.0F, 0.2F, 0.2F}));
  EXPECT_EQ(map.entropy.size(), 8u);
  EXPECT_EQ(output.rows[0].at("n"), 8);
}

TEST_F(AttentionMapEvaluationTest, WhatCannotBeLookedAtIsARowWithItsReason) {
  LookingModel model;
  const auto short_one = Run(model, {{"documents", {0, 1}}}, 8).value();
  EXPECT_TRUE(short_one.artifacts.empty());
  for (const Json& row : short_one.rows) {
    EXPECT_EQ(row.at("status"), "not_applicable");
    EXPECT_TRUE(row.at("value").is_null());
    // Three letters and the end of text.
    EXPECT_EQ(row.at("extra").at("reason"),
              "document 1 of split validation has 4 tokens, fewer than the context length 8");
  }
  model.probe.answer = Status(Code::kOutOfRange, "past the table");
  EXPECT_EQ(Run(model, Json::object(), 4).value().rows[0].at("status"), "not_applicable");
  model.probe.answer = Status(Code::kResourceExhausted, "too large");
  EXPECT_EQ(Run(model, Json::object(), 4).value().rows[1].at("status"), "out_of_memory");
  model.probe.answer = Status(Code::kInternal, "broken");
  EXPECT_EQ(Run(model, Json::object(), 4).status().code(), Code::kInternal);
  model.probe.answer = Status();
  EXPECT_EQ(Run(model, {{"documents", {3}}}, 4).status().message(),
            "attention_map.documents: split validation has 3 documents, numbered from 0, found 3");
  ConstantModel blind(1.0F);
  EXPECT_EQ(Run(blind, Json::object(), 4).status().code(), Code::kUnimplemented);
}

TEST_F(AttentionMapEvaluationTest, ProgressCountsLayersOfAllDocumentsAndStops) {
  LookingModel model;
  std::vector<std::pair<std::int64_t, std::int64_t>> steps;
  const auto output =
      Run(model, {{"documents", {0, 2}}}, 4, [&](std::int64_t done, std::int64_t of) {
        steps.emplace_back(done, of);
        return done < 3;
      });
  EXPECT_EQ(output.status().code(), Code::kCancelled);
  EXPECT_EQ(steps, (decltype(steps){{0, 4}, {1, 4}, {2, 4}, {3, 4}}));
}

TEST(AttentionMapFitTest, TheDatasetIsAskedBeforeAnythingRuns) {
  const DatasetShape shape = {.name = "novels",
                              .split_tokens = {{"train", 900}, {"validation", 90}}};
  const auto fitted = [&](Json given) {
    given["context_lengths"] = given.value("context_lengths", Json{32});
    Json params = ResolveParams(AttentionMapEvaluation().params, given, "attention_map").value();
    const std::optional<ParamError> error = AttentionMapEvaluation().fit(shape, params);
    return error ? Str(error->key, ": ", error->message) : CanonicalJson(params);
  };
  EXPECT_EQ(fitted({{"split", "test"}}),
            "split: dataset \"novels\" has no split test; it has train, validation (to make a "
            "dataset with split test, use `longrun data import --test FILE`, or the key split.test "
            "in a file for `longrun data prepare`)");
  EXPECT_EQ(fitted({{"context_lengths", {16, 91}}}),
            "context_lengths: context length 91 is more than the 90 tokens of split validation of "
            "dataset \"novels\"");
  // The order in which they are written makes no other cell.
  EXPECT_EQ(fitted({{"documents", {3, 0}}, {"layers", {2, 1}}}),
            fitted({{"documents", {0, 3}}, {"layers", {1, 2}}}));
  EXPECT_EQ(ResolveParams(AttentionMapEvaluation().params,
                          {{"context_lengths", {8}}, {"layers", "some"}}, "")
                .status()
                .message(),
            "layers: expected all, or a list of integers from 0 to 9999, found \"some\"");
}

}  // namespace
}  // namespace longrun
