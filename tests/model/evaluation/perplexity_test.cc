#include "model/evaluation/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "model/data/manifest.h"
#include "model/data/unigram.h"
#include "tests/model/evaluation/toy_model.h"

namespace longrun {
namespace {

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// ---- the evaluation ----------------------------------------------------------------------------

class PerplexityTest : public testing::Test {
 protected:
  // `n_documents` documents of 19 bytes and an end of text to validate on.
  Dataset Import(int n_documents) {
    ImportSpec spec;
    spec.splits = {{"train", {Text("train.txt", "it is a truth universally acknowledged")}},
                   {"validation", {}}};
    for (int i = 0; i < n_documents; ++i) {
      const std::string name = "document " + std::to_string(1000 + i);
      spec.splits[1].second.push_back(Text(name + ".txt", name + " text."));
    }
    const std::string folder = JoinPath(folder_.path(), "data-" + std::to_string(n_documents));
    EXPECT_TRUE(ImportText(spec, folder).ok());
    return Dataset::Open(folder).value();
  }

  std::string Text(const std::string& name, const std::string& text) {
    const std::string path = JoinPath(folder_.path(), name);
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return path;
  }

  TempFolder folder_;
};

TEST_F(PerplexityTest, RowIsAResultOfTheContract) {
  const Dataset dataset = Import(2);  // 40 tokens
  ToyModel model;

  const auto output =
      PerplexityEvaluation()
          .run(model, {.dataset = &dataset, .params = Json::object(), .context_length = 8}, {})
          .value();

  ASSERT_EQ(output.rows.size(), 1u);
  const Json& row = output.rows[0];
  double nll_sum = 0.0;  // four windows of 8
  for (int t = 1; t <= 32; ++t) nll_sum += 2.0 + std::cos(0.7 * t) + 1.0 / (1.0 + (t - 1) % 8 + 1);
  EXPECT_EQ(row.at("metric"), "nll");
  EXPECT_EQ(row.at("context_length"), 8);
  EXPECT_EQ(row.at("split"), "validation");
  EXPECT_EQ(row.at("protocol"), "nonoverlap");
  EXPECT_EQ(row.at("averaging"), "token");
  EXPECT_TRUE(row.at("depth").is_null());
  EXPECT_TRUE(row.at("variant").is_null());
  EXPECT_NEAR(row.at("value").get<double>(), nll_sum / 32, 1e-7);
  EXPECT_NEAR(row.at("nll_sum").get<double>(), nll_sum, 1e-5);
  EXPECT_EQ(row.at("n"), 32);
  EXPECT_EQ(row.at("bytes"), 31);  // one of the 32 is an end of text
  EXPECT_GT(row.at("se").get<double>(), 0.0);
  EXPECT_EQ(row.at("status"), "ok");
  Json extra = row.at("extra");
  const Json blocks = extra.at("blocks");
  extra.erase("blocks");
  EXPECT_EQ(extra, (Json{{"clusters", "block"}, {"n_clusters", 3}, {"df", 2.0}}));
  EXPECT_EQ(blocks.at("begin"), Json::array({0, 16, 32}));
  EXPECT_EQ(blocks.at("n"), Json::array({15, 16, 1}));
  double blocks_sum = 0.0;
  for (std::size_t b = 0; b < 3; ++b) {
    blocks_sum += blocks.at("n")[b].get<double>() * blocks.at("nll")[b].get<double>();
  }
  EXPECT_NEAR(blocks_sum, nll_sum, 1e-5);
  EXPECT_EQ(row.size(), 14u);
}

// Documents of 19 tokens and an end of text: windows inside documents leave out tokens 19 and 39.
TEST_F(PerplexityTest, AsManyTokensAreScoredAsTheSweepAsks) {
  const Dataset dataset = Import(10);  // 200 tokens
  ConstantModel model(0.5f);
  const auto extra_of_row = [&](std::int64_t score_tokens, Json params, std::int64_t n) {
    params.update({{"score_tokens", score_tokens}, {"context_lengths", {4, 8}}});
    Json fitted = ResolveParams(PerplexityEvaluation().params, params, "perplexity").value();
    const auto documents = [&](const std::string& split, std::int64_t enough) {
      return TextOfDocuments(*dataset.Split(split).value(), dataset.eot_id(), enough);
    };
    const auto error = PerplexityEvaluation().fit(
        {.name = "toy", .split_tokens = {{"validation", 200}}, .documents = documents}, fitted);
    EXPECT_FALSE(error) << error->message;
    fitted.erase("context_lengths");
    Json row;
    for (const std::int64_t length : {4, 8}) {
      row = PerplexityEvaluation()
                .run(model, {.dataset = &dataset, .params = fitted, .context_length = length}, {})
                .value()
                .rows[0];
      EXPECT_EQ(row.at("n"), n) << params.dump() << " " << length;
    }
    return row.at("extra");
  };
  for (const char* protocol : {"nonoverlap", "per_position", "rolling"}) {
    extra_of_row(48, {{"protocol", protocol}}, 48);
  }
  for (const int k : {1, 2, 4}) {
    extra_of_row(24 * k, {{"protocol", "last_k"}, {"k", k}, {"every", 8}}, 24 * k);
  }
  extra_of_row(18, {{"protocol", "last_k"}, {"k", 3}, {"every", 33}}, 18);
  const Json in_documents[] = {{{"protocol", "sliding_bos"}, {"stride", 2}},
                               {{"protocol", "rolling"}, {"over", "documents"}}};
  for (const Json& params : in_documents) {
    EXPECT_FALSE(extra_of_row(19, params, 19).contains("end_of_text"));
    EXPECT_EQ(extra_of_row(20, params, 20).at("end_of_text"), 1);
    EXPECT_EQ(extra_of_row(46, params, 46).at("end_of_text"), 2);
    EXPECT_EQ(extra_of_row(190, params, 190).at("end_of_text"), 9);
  }
}

TEST_F(PerplexityTest, PerDocumentSumsAddUpToTheRow) {
  const Dataset dataset = Import(2);
  ConstantModel model(0.5f);
  const auto output =
      PerplexityEvaluation()
          .run(model, {.dataset = &dataset, .params = Json::object(), .context_length = 8}, {})
          .value();
  ASSERT_EQ(output.artifacts.size(), 2u);
  EXPECT_EQ(output.artifacts[0].name, "documents-nll-validation-8.csv");
  // Token 0 is not scored, nor the last 7; the first document's 20th token is its end.
  EXPECT_EQ(output.artifacts[0].bytes, "doc,n,nll_sum,bytes\n0,19,9.5,18\n1,13,6.5,13\n");
  // Blocks of 16 tokens, of which the first has 15 and the third only token 32.
  EXPECT_EQ(output.artifacts[1].name, "blocks-nll-validation-8.csv");
  EXPECT_EQ(output.artifacts[1].bytes,
            "begin,n,nll_sum,bytes\n0,15,7.5,15\n16,16,8,15\n32,1,0.5,1\n");
}

TEST_F(PerplexityTest, ErrorIsOverDocumentsWhenThereAreTen) {
  ToyModel model;
  const auto extra = [&](int n_documents) {
    const Dataset dataset = Import(n_documents);
    return PerplexityEvaluation()
        .run(model, {.dataset = &dataset, .params = Json::object(), .context_length = 4}, {})
        .value()
        .rows[0]
        .at("extra");
  };
  EXPECT_EQ(extra(9).at("clusters"), "block");
  const Json ten = extra(10);
  EXPECT_EQ(ten.at("clusters"), "document");
  EXPECT_EQ(ten.at("n_clusters"), 10);
  // Of 196 scored tokens, the first document has 19, the last 17, and the others 20 each.
  EXPECT_NEAR(ten.at("df").get<double>(), 196.0 * 196.0 / (19 * 19 + 8 * 400 + 17 * 17) - 1.0,
              1e-12);
}

TEST_F(PerplexityTest, OneBlockHasNoError) {
  const Dataset dataset = Import(2);
  ToyModel model;
  const auto output =
      PerplexityEvaluation()
          .run(model, {.dataset = &dataset, .params = {{"score_tokens", 15}}, .context_length = 5},
               {})
          .value();
  EXPECT_TRUE(output.rows[0].at("se").is_null());
  EXPECT_EQ(output.rows[0].at("extra"), (Json{{"clusters", "block"}, {"n_clusters", 1}}));
  EXPECT_EQ(output.rows[0].at("status"), "ok");
}

TEST_F(PerplexityTest, ScoreTokensAndSplitAreHonoured) {
  const Dataset dataset = Import(2);
  ToyModel model;
  const Json params = {{"split", "train"}, {"score_tokens", 20}};
  const auto output =
      PerplexityEvaluation()
          .run(model, {.dataset = &dataset, .params = params, .context_length = 8}, {})
          .value();
  EXPECT_EQ(output.rows[0].at("n"), 20);
  EXPECT_EQ(output.rows[0].at("split"), "train");
  EXPECT_EQ(model.windows_seen().back(), (Window{16, 17, 21, false}));
}

TEST_F(PerplexityTest, WhatAModelCannotDoIsARowAndNoError) {
  const Dataset dataset = Import(2);
  const EvaluationRequest request{
      .dataset = &dataset, .params = Json::object(), .context_length = 8};
  FailingModel past_table(Code::kOutOfRange), no_memory(Code::kResourceExhausted);
  ConstantModel infinite(std::numeric_limits<float>::infinity());
  struct Case {
    LanguageModel* model;
    std::string_view status;
    std::int64_t n;
    Json extra;
  };
  const Case cases[] = {
      {&past_table, "not_applicable", 0, {{"reason", "as told"}}},
      {&no_memory, "out_of_memory", 0, {{"reason", "as told"}}},
      {&infinite, "non_finite", 32, {{"non_finite", 32}}},
  };
  for (const Case& c : cases) {
    const auto output = PerplexityEvaluation().run(*c.model, request, {}).value();
    ASSERT_EQ(output.rows.size(), 1u);
    const Json& row = output.rows[0];
    EXPECT_EQ(row.at("status"), c.status);
    EXPECT_EQ(row.at("n"), c.n);
    EXPECT_EQ(row.at("extra"), c.extra);
    for (const char* key : {"value", "se", "nll_sum", "bytes"})
      EXPECT_TRUE(row.at(key).is_null()) << c.status << key;
    EXPECT_TRUE(output.artifacts.empty());
  }
}

TEST_F(PerplexityTest, OtherErrorsAreErrors) {
  const Dataset dataset = Import(2);
  const auto run = [&](LanguageModel& model, Json params, std::int64_t context_length,
                       const EvaluationProgress& progress = {}) {
    return PerplexityEvaluation()
        .run(model,
             {.dataset = &dataset, .params = std::move(params), .context_length = context_length},
             progress)
        .status();
  };
  ToyModel toy;
  FailingModel failing(Code::kInternal);
  EXPECT_EQ(run(failing, Json::object(), 8).code(), Code::kInternal);
  EXPECT_EQ(run(toy, {{"split", "test"}}, 8).code(), Code::kNotFound);
  EXPECT_TRUE(Contains(run(toy, Json::object(), 40).message(),
                       "perplexity of split validation: context_length 40"));
  EXPECT_TRUE(Contains(run(toy, {{"splits", "test"}}, 8).message(),
                       "perplexity.splits: unknown key; did you mean"));
  EXPECT_EQ(run(toy, Json::object(), 8, [](std::int64_t, std::int64_t) { return false; }).code(),
            Code::kCancelled);
}

TEST_F(PerplexityTest, UnigramBaselineIsTheSameCallWithItsModelAndItsName) {
  const Dataset dataset = Import(2);
  const auto unigram = UnigramModel::Fit(dataset).value();
  const auto row = [&](std::int64_t length) {
    return PerplexityEvaluation()
        .run(*unigram,
             {.dataset = &dataset,
              .params = {{"baseline", "unigram"}, {"score_tokens", 32}},
              .context_length = length,
              .variant = "unigram"},
             {})
        .value()
        .rows[0];
  };
  EXPECT_EQ(row(8).at("variant"), "unigram");
  // It knows no context: the same tokens have the same score at every length.
  EXPECT_DOUBLE_EQ(row(8).at("value").get<double>(), row(32).at("value").get<double>());
}

// ---- protocols ---------------------------------------------------------------------------------

TEST_F(PerplexityTest, WindowsThatSlideStayInsideADocumentWithoutItsEndOfText) {
  const Dataset dataset = Import(2);  // documents of 19 bytes and an end of text
  ToyModel model;
  const Json params = {{"protocol", "sliding_bos"}, {"stride", 5}};
  const auto output =
      PerplexityEvaluation()
          .run(model, {.dataset = &dataset, .params = params, .context_length = 13}, {})
          .value();
  EXPECT_EQ(model.windows_seen(), (std::vector<Window>{{0, 0, 12, true},
                                                       {5, 12, 17, true},
                                                       {10, 17, 19, true},
                                                       {20, 20, 32, true},
                                                       {25, 32, 37, true},
                                                       {30, 37, 39, true}}));
  const Json& row = output.rows[0];
  EXPECT_EQ(row.at("protocol"), "sliding_bos");
  EXPECT_EQ(row.at("n"), 38);
  EXPECT_EQ(row.at("bytes"), 38);
  EXPECT_EQ(row.at("extra").at("params"), (Json{{"stride", 5}, {"truncate", false}}));
}

TEST_F(PerplexityTest, RollingGoesOverTheWholeTextOrOverEachDocument) {
  const Dataset dataset = Import(2);
  ToyModel stream, apart;
  const auto run = [&](ToyModel& model, const char* over) {
    const Json params = {{"protocol", "rolling"}, {"over", over}};
    return PerplexityEvaluation()
        .run(model, {.dataset = &dataset, .params = params, .context_length = 16}, {})
        .value()
        .rows[0]
        .at("n");
  };
  EXPECT_EQ(run(stream, "stream"), 40);
  EXPECT_EQ(stream.windows_seen(),
            (std::vector<Window>{{0, 0, 16, true}, {15, 16, 32, false}, {23, 32, 40, false}}));
  EXPECT_EQ(run(apart, "documents"), 38);
  EXPECT_EQ(apart.windows_seen(),
            (std::vector<Window>{
                {0, 0, 16, true}, {2, 16, 19, false}, {20, 20, 36, true}, {22, 36, 39, false}}));
}

TEST_F(PerplexityTest, PerPositionTellsBucketsApartInTheRowAndInAFile) {
  // The NLL is the context length itself, so the mean of a full bucket is the middle of its range.
  class ContextModel final : public LanguageModel {
    Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                                std::span<const Window> windows) override {
      std::vector<std::vector<float>> nll;
      for (const Window& window : windows) {
        std::vector<float> row;
        for (std::int64_t t = window.score_begin; t < window.score_end; ++t) {
          row.push_back(static_cast<float>(t - window.context_begin));
        }
        nll.push_back(std::move(row));
      }
      return nll;
    }
  };
  const Dataset dataset = Import(2);  // 40 tokens: four windows of 8
  ContextModel model;
  const Json params = {{"protocol", "per_position"}, {"buckets", 3}};
  const auto output =
      PerplexityEvaluation()
          .run(model, {.dataset = &dataset, .params = params, .context_length = 8}, {})
          .value();
  const Json& row = output.rows[0];
  EXPECT_EQ(row.at("value"), 4.5);
  // round(9^(1/3)) = 2, round(9^(2/3)) = 4: contexts of 1, of 2 and 3, of 4 to 8.
  // Tokens 1 to 15, 16 to 31 and 32 are three blocks. A context of 1 is that of tokens 1 and 9 of
  // the first, and of 17 and 25 of the second. One of 4 to 8 has sums 30 + 22, 8 + 30 + 22 and 8.
  Json buckets = row.at("extra").at("buckets");
  const Json se = buckets.at("se");
  buckets.erase("se");
  const Json blocks = {{"begin", {0, 16, 32}},
                       {"n", {{2, 2, 0}, {4, 4, 0}, {9, 10, 1}}},
                       {"nll", {{1.0, 1.0, nullptr}, {2.5, 2.5, nullptr}, {5.77778, 6.0, 8.0}}}};
  EXPECT_EQ(
      buckets,
      (Json{
          {"begin", {1, 2, 4}}, {"n", {4, 8, 20}}, {"nll", {1.0, 2.5, 6.0}}, {"blocks", blocks}}));
  EXPECT_EQ(se.at(0), 0.0);
  EXPECT_EQ(se.at(1), 0.0);
  // Of sums 52, 60, 8 of 9, 10, 1 tokens: text_error.h's formulas in Python.
  EXPECT_NEAR(se.at(2).get<double>(), 0.220638482613, 1e-7);
  ASSERT_EQ(output.artifacts.size(), 3u);
  EXPECT_EQ(output.artifacts[2].name, "positions-nll-validation-8.csv");
  // The end of the first document, token 19, stands at a context of 3 and has no bytes.
  EXPECT_EQ(output.artifacts[2].bytes,
            "context_begin,context_end,n,nll_sum,bytes\n1,1,4,4,4\n2,3,8,20,7\n4,8,20,120,20\n");
}

TEST_F(PerplexityTest, AProtocolWithABosIsRefusedWhereTheTokenizerHasNone) {
  (void)Import(2);
  const std::string folder = JoinPath(folder_.path(), "data-2");
  const auto rewrite = [&](const char* name, const auto& change) {
    const std::string path = JoinPath(folder, name);
    Json json = ParseJson(ReadFile(path).value()).value();
    change(json);
    const std::string text = IsSealed(json) ? SealedManifest(json) : CanonicalJson(json);
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return Sha256Hex(text);
  };
  const std::string sha256 =
      rewrite("tokenizer.json", [](Json& json) { json["eot_id"] = json["bos_id"] = -1; });
  rewrite("dataset.json", [&](Json& json) { json["tokenizer"]["sha256"] = sha256; });
  const auto dataset = Dataset::Open(folder);
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  ToyModel model;
  const auto refused = PerplexityEvaluation().run(
      model, {.dataset = &*dataset, .params = {{"protocol", "rolling"}}, .context_length = 8}, {});
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(
      refused.status().message(),
      "protocol rolling starts windows with a begin-of-text token, but the dataset's tokenizer has "
      "neither a begin-of-text token nor an end-of-text token: choose another protocol, such as "
      "nonoverlap");
}

// ---- what lengths share ------------------------------------------------------------------------

TEST_F(PerplexityTest, LengthsThatShareWorkHaveTheNumbersOfLengthsThatDoNot) {
  const Dataset dataset = Import(3);  // documents of 19 bytes
  const Json params = {{"protocol", "sliding_bos"}, {"stride", 5}};
  SharedWork shared;
  ToyModel alone, together;
  for (const std::int64_t length : {8, 16, 24, 32}) {
    const auto run = [&](ToyModel& model, SharedWork* work) {
      return PerplexityEvaluation()
          .run(model,
               {.dataset = &dataset,
                .params = params,
                .context_length = length,
                .windows_per_call = 4,
                .shared = work},
               {})
          .value();
    };
    EvaluationOutput apart = run(alone, nullptr), joined = run(together, &shared);
    // A window of 24 or of 32 holds a whole document and its BOS: the same three calls.
    if (length == 32) {
      EXPECT_EQ(joined.rows[0]["extra"]["shared"], (Json{{"windows", 3}, {"of", 3}}));
    } else {
      EXPECT_FALSE(joined.rows[0]["extra"].contains("shared")) << length;
    }
    joined.rows[0]["extra"].erase("shared");
    EXPECT_EQ(CanonicalJson(joined.rows[0]), CanonicalJson(apart.rows[0])) << length;
    EXPECT_EQ(joined.artifacts[0].bytes, apart.artifacts[0].bytes);
  }
  EXPECT_EQ(alone.windows_seen().size(), together.windows_seen().size() + 3);
}

// ---- one pass for all lengths ------------------------------------------------------------------

// The toy model with some more for each token id. It shares prefixes of at most `shared_max`
// targets and reads at most `length_max` tokens.
class PrefixToy : public LanguageModel {
 public:
  explicit PrefixToy(std::int64_t shared_max = 1000, std::int64_t length_max = 1000)
      : shared_max_(shared_max), length_max_(length_max) {}

  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t> tokens,
                                              std::span<const Window> windows) override {
    return toy_.Nll(tokens, windows);
  }
  Result<std::vector<float>> PrefixNll(const Prefix& prefix) override {
    if (prefix.n_targets > length_max_) return Status(Code::kOutOfRange, "too long");
    EXPECT_GE(std::ssize(prefix.tokens),
              std::min(prefix.n_text, prefix.n_targets + kPrefixPart + 1));
    passes_.push_back(prefix.n_targets);
    std::vector<float> nll = LanguageModel::PrefixNll(prefix).value();
    for (std::size_t i = 0; i < nll.size(); ++i) {
      nll[i] += 0.1F * static_cast<float>(prefix.tokens[i + (prefix.bos ? 0 : 1)] % 7);
    }
    return nll;
  }
  bool SharesPrefixes(std::int64_t n_targets) const override { return n_targets <= shared_max_; }

  // The targets of each pass.
  const std::vector<std::int64_t>& passes() const { return passes_; }

 private:
  ToyModel toy_;
  std::int64_t shared_max_, length_max_;
  std::vector<std::int64_t> passes_;
};

// A model whose perplexity exceeds every double.
class HopelessToy final : public PrefixToy {
 public:
  Result<std::vector<float>> PrefixNll(const Prefix& prefix) override {
    std::vector<float> nll = PrefixToy::PrefixNll(prefix).value();
    std::ranges::fill(nll, 1000.0F);
    return nll;
  }
};

using Counts = std::vector<std::int64_t>;

class PrefixCurveTest : public PerplexityTest {
 protected:
  // The rows of a task with these lengths.
  std::vector<Json> Rows(LanguageModel& model, const Json& params, const Counts& lengths,
                         bool together) {
    SharedWork shared;
    std::vector<Json> rows;
    for (const std::int64_t length : lengths) {
      EvaluationRequest request = {
          .dataset = &dataset_, .params = params, .context_length = length, .windows_per_call = 4};
      request.params["protocol"] = "prefix_curve";
      if (together) {
        request.task_lengths = lengths;
        request.shared = &shared;
      }
      rows.push_back(PerplexityEvaluation().run(model, request, {}).value().rows.at(0));
    }
    return rows;
  }

  const Dataset dataset_ = Import(3);  // of 19 tokens each
};

TEST_F(PrefixCurveTest, OnePassOverEachDocumentServesAllLengths) {
  for (const Json& params : std::vector<Json>{Json::object(),
                                              {{"bos", false}},
                                              {{"compat", "gali"}},
                                              {{"compat", "gali"}, {"drop_every", 5}}}) {
    PrefixToy alone, together;
    const Counts lengths = {4, 8, 14};
    const std::vector<Json> expected = Rows(alone, params, lengths, false);
    const std::vector<Json> found = Rows(together, params, lengths, true);
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      EXPECT_EQ(found[i].dump(), expected[i].dump()) << params.dump();
    }
    ASSERT_EQ(together.passes().size(), 3U) << params.dump();
    EXPECT_EQ(together.passes()[0], alone.passes().back());
    EXPECT_EQ(alone.passes().size(), 9U);
  }
}

// 14 + 4 dropped ones.
TEST_F(PrefixCurveTest, APassReadsAsFarAsTheLongestLengthNeeds) {
  PrefixToy plain, dropping;
  Rows(plain, Json::object(), {4, 14}, true);
  EXPECT_EQ(plain.passes(), (Counts{14, 14, 14}));
  Rows(dropping, {{"compat", "gali"}, {"drop_every", 4}}, {4, 14}, true);
  EXPECT_EQ(dropping.passes(), (Counts{18, 18, 18}));
}

TEST_F(PrefixCurveTest, AModelThatReadsByLengthMakesOnePassPerLength) {
  PrefixToy model(/*shared_max=*/8);
  Rows(model, Json::object(), {4, 8, 10, 14}, true);
  EXPECT_EQ(model.passes(), (Counts{8, 8, 8, 10, 10, 10, 14, 14, 14}));
}

TEST_F(PrefixCurveTest, LengthsThatTheModelCannotReadDoNotSpoilTheOthers) {
  PrefixToy model(/*shared_max=*/1000, /*length_max=*/9);
  const std::vector<Json> rows = Rows(model, Json::object(), {4, 8, 10, 14}, true);
  EXPECT_EQ(model.passes(), (Counts{8, 8, 8}));
  EXPECT_EQ(rows[0].at("status"), "ok");
  EXPECT_EQ(rows[1].at("status"), "ok");
  EXPECT_EQ(rows[2].at("status"), "not_applicable");
  EXPECT_EQ(rows[3].at("status"), "not_applicable");
}

// Documents of 19 tokens: what GALI's code prints is the mean of their perplexities.
TEST_F(PrefixCurveTest, TheNumberOfGalisCodeIsAMeanOfPerplexities) {
  PrefixToy model;
  const Json row = Rows(model, {{"compat", "gali"}}, {21}, false).front();
  double mean = 0.0;
  for (const char digit : {'0', '1', '2'}) {
    const std::string text = std::string("document 100") + digit + " text.";
    double sum = 0.0;
    for (std::size_t i = 0; i < 19; ++i) {
      const auto t = static_cast<double>(i);
      sum += 2.0 + std::cos(0.7 * t) + 1.0 / (2.0 + t) + 0.1 * (text[i] % 7);
    }
    mean += std::exp(sum / 21.0) / 3.0;
  }
  EXPECT_EQ(row.at("n"), 57);
  EXPECT_NEAR(row.at("extra").at("compat").at("perplexity").get<double>(), mean, 1e-6);
  EXPECT_EQ(row.at("extra").at("compat").at("documents"), 3);
  EXPECT_EQ(row.at("extra").at("compat").at("missing"), 6);
  EXPECT_FALSE(Rows(model, Json::object(), {8}, false).front().at("extra").contains("compat"));
}

// JSON has no infinity: a row with one could not be written.
TEST_F(PrefixCurveTest, AMeanOfPerplexitiesThatOverflowsIsNull) {
  HopelessToy model;
  const Json row = Rows(model, {{"compat", "gali"}}, {14}, false).front();
  EXPECT_EQ(row.at("extra").at("compat").at("perplexity"), Json());
  EXPECT_EQ(row.at("extra").at("compat").at("documents"), 3);
}

TEST_F(PrefixCurveTest, ALengthThatNoDocumentHasIsRefusedAtSubmission) {
  const auto error = [&](const Json& lengths) {
    Json params =
        ResolveParams(PerplexityEvaluation().params,
                      {{"protocol", "prefix_curve"}, {"context_lengths", lengths}}, "perplexity")
            .value();
    return PerplexityEvaluation().fit({.name = "toy",
                                       .split_tokens = {{"validation", 60}},
                                       .documents =
                                           [&](const std::string& split, std::int64_t enough) {
                                             return TextOfDocuments(*dataset_.Split(split).value(),
                                                                    dataset_.eot_id(), enough);
                                           }},
                                      params);
  };
  EXPECT_FALSE(error({4, 19}).has_value());
  ASSERT_TRUE(error({4, 20}).has_value());
  EXPECT_EQ(error({4, 20})->key, "context_lengths");
  EXPECT_EQ(
      error({4, 20})->message,
      "split validation of dataset \"toy\": no document has the 20 targets of context length "
      "20: the longest has 19; lower context_lengths, or use a dataset with longer documents");
}

// How many tokens of a split are read to find a document of 20 targets, if it ends at
// `long_ends_at` and every other document has 10 tokens; and whether the length is refused.
struct Search {
  std::vector<std::int64_t> reads = {};
  bool is_refused = false;

  bool operator==(const Search&) const = default;
};

Search SearchIn(std::int64_t n_tokens, std::int64_t long_ends_at) {
  Search search;
  const auto documents = [&](const std::string&, std::int64_t n) -> Result<std::vector<TextSpan>> {
    search.reads.push_back(n);
    std::vector<TextSpan> found = {{.begin = 0, .end = 10}};
    if (n >= long_ends_at) found.push_back({.begin = long_ends_at - 21, .end = long_ends_at});
    return found;
  };
  Json params =
      ResolveParams(PerplexityEvaluation().params,
                    {{"protocol", "prefix_curve"}, {"context_lengths", {20}}}, "perplexity")
          .value();
  search.is_refused =
      PerplexityEvaluation()
          .fit({.name = "toy", .split_tokens = {{"validation", n_tokens}}, .documents = documents},
               params)
          .has_value();
  return search;
}

// At submission only as much of a split is read as it takes to find a document that is long enough.
TEST(PrefixCurveFitTest, ReadsMoreOfALargeSplitOnlyWhileNoDocumentIsLongEnough) {
  constexpr std::int64_t kMi = 1 << 20;
  EXPECT_EQ(SearchIn(3 * kMi, kMi), (Search{.reads = {kMi}}));
  EXPECT_EQ(SearchIn(3 * kMi, 2 * kMi), (Search{.reads = {kMi, 8 * kMi}}));
  EXPECT_EQ(SearchIn(3 * kMi, 9 * kMi), (Search{.reads = {kMi, 8 * kMi}, .is_refused = true}));
  EXPECT_EQ(SearchIn(kMi, 9 * kMi), (Search{.reads = {kMi}, .is_refused = true}));
  // What is too large to read through is left to the evaluation.
  EXPECT_EQ(SearchIn(65 * kMi, 66 * kMi), (Search{.reads = {kMi, 8 * kMi, 64 * kMi}}));
}

// A full window is not by itself: windows of one shape are one call.
TEST_F(PerplexityTest, WindowsThatTheLengthCutsAreGivenTogether) {
  const Dataset dataset = Import(2);
  const auto n_calls = [&](Json params) {
    ToyModel model;
    EXPECT_TRUE(PerplexityEvaluation()
                    .run(model,
                         {.dataset = &dataset,
                          .params = std::move(params),
                          .context_length = 8,
                          .windows_per_call = 100},
                         {})
                    .ok());
    return model.n_calls();
  };
  EXPECT_EQ(n_calls({{"protocol", "nonoverlap"}}), 1);
  EXPECT_EQ(n_calls({{"protocol", "last_k"}, {"k", 2}}), 1);
  EXPECT_EQ(n_calls({{"protocol", "rolling"}, {"score_tokens", 32}}), 1);
  // Of each document two full windows, and a short one by itself.
  EXPECT_EQ(n_calls({{"protocol", "sliding_bos"}}), 4);
}

TEST_F(PerplexityTest, ABaselineSharesNothingWithTheModel) {
  const Dataset dataset = Import(2);
  SharedWork shared;
  ConstantModel one(1.0f), two(2.0f);
  const auto nll = [&](LanguageModel& model, const char* variant) {
    return PerplexityEvaluation()
        .run(model,
             {.dataset = &dataset,
              .params = {{"protocol", "rolling"}, {"over", "documents"}},
              .context_length = 64,
              .variant = variant,
              .shared = &shared},
             {})
        .value()
        .rows[0]
        .at("value");
  };
  EXPECT_EQ(nll(one, ""), 1.0);
  EXPECT_EQ(nll(two, "unigram"), 2.0);
}

// ---- the table of parameters -------------------------------------------------------------------

TEST(PerplexityParamsTest, DefaultsAreWrittenIn) {
  const Json resolved =
      ResolveParams(PerplexityEvaluation().params, {{"context_lengths", {64, 128}}}, "perplexity")
          .value();
  EXPECT_EQ(resolved, (Json{{"context_lengths", {64, 128}},
                            {"split", "validation"},
                            {"protocol", "nonoverlap"},
                            {"score_tokens", 0},
                            {"baseline", "none"}}));
  EXPECT_EQ(PerplexityEvaluation().rows(resolved), (std::vector<RowName>{{"nll", ""}}));
}

TEST(PerplexityParamsTest, ABaselineIsAVariantOfItsOwn) {
  const Json resolved =
      ResolveParams(PerplexityEvaluation().params,
                    {{"context_lengths", {64}}, {"baseline", "unigram"}}, "perplexity")
          .value();
  EXPECT_EQ(PerplexityEvaluation().rows(resolved),
            (std::vector<RowName>{{"nll", ""}, {"nll", "unigram"}}));
}

TEST(PerplexityParamsTest, WhatIsNotBuiltIsKnownByName) {
  const auto errors = CheckParams(PerplexityEvaluation().params,
                                  {{"context_lengths", {64}}, {"protocol", "drt_windows"}});
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].key, "protocol");
  EXPECT_EQ(errors[0].message,
            "\"drt_windows\" is not built yet; expected one of nonoverlap, sliding_bos, rolling, "
            "last_k, per_position, prefix_curve");
}

TEST(PerplexityParamsTest, AParameterOfAnotherProtocolIsRefusedByName) {
  const auto errors =
      CheckParams(PerplexityEvaluation().params,
                  {{"context_lengths", {64}}, {"protocol", "rolling"}, {"stride", 3}});
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].key, "stride");
  EXPECT_EQ(errors[0].message,
            "belongs to protocol sliding_bos, but protocol is rolling: remove it, or choose that "
            "protocol");
  const auto k = CheckParams(PerplexityEvaluation().params,
                             {{"context_lengths", {64}}, {"protocol", "last_k"}});
  ASSERT_EQ(k.size(), 1u);
  EXPECT_EQ(k[0].message,
            "must be given: an integer from 1 to 1073741824, targets scored at the end of each "
            "window, at most L");
}

TEST(PerplexityParamsTest, AProtocolAddsItsOwnParametersAndNoOthers) {
  const Json resolved =
      ResolveParams(PerplexityEvaluation().params,
                    {{"context_lengths", {64}}, {"protocol", "sliding_bos"}, {"stride", 16}},
                    "perplexity")
          .value();
  EXPECT_EQ(resolved, (Json{{"context_lengths", {64}},
                            {"split", "validation"},
                            {"protocol", "sliding_bos"},
                            {"score_tokens", 0},
                            {"baseline", "none"},
                            {"stride", 16},
                            {"text_tokens", 0},
                            {"truncate", false}}));
}

// ---- what depends on the dataset ---------------------------------------------------------------

// Two documents of a split of 20,000 tokens, each closed by an end of text.
Result<std::vector<TextSpan>> TwoDocuments(const std::string&, std::int64_t) {
  return std::vector<TextSpan>{{0, 4999}, {5000, 19'999}};
}

// Of that split: what `fit` makes of score_tokens, or the error.
std::string Fitted(Json params, decltype(DatasetShape::documents) documents = &TwoDocuments) {
  if (!params.contains("context_lengths")) params["context_lengths"] = {64, 1024};
  Json resolved = ResolveParams(PerplexityEvaluation().params, params, "perplexity").value();
  const auto error =
      PerplexityEvaluation().fit({.name = "austen",
                                  .split_tokens = {{"train", 500}, {"validation", 20'000}},
                                  .documents = std::move(documents)},
                                 resolved);
  return error ? error->key + ": " + error->message : resolved.at("score_tokens").dump();
}

TEST(PerplexityFitTest, EveryLengthScoresTheSameTokensUnlessItCannot) {
  EXPECT_EQ(Fitted({}), "18432");  // 19999 = 100111000011111 keeps 1001: 9 << 11
  EXPECT_EQ(Fitted({{"protocol", "per_position"}}), "18432");
  EXPECT_EQ(Fitted({{"protocol", "last_k"}, {"k", 8}}), "18432");
  EXPECT_EQ(Fitted({{"protocol", "rolling"}}), "20000");
  EXPECT_EQ(Fitted({{"protocol", "sliding_bos"}, {"stride", 63}}), "20000");
  EXPECT_EQ(Fitted({{"protocol", "sliding_bos"}, {"truncate", true}}), "0");
  EXPECT_EQ(Fitted({{"score_tokens", 5000}}), "5000");
  EXPECT_EQ(Fitted({{"protocol", "rolling"}, {"score_tokens", 10}}), "10");
}

// A cell of last_k has the text that its windows cover: 1024 / 16 windows, one every 256 tokens.
TEST(PerplexityFitTest, LastKScoresWhatIsAskedOrSaysWhatItCan) {
  const auto fitted = [](const Json& params) {
    Json given = {{"protocol", "last_k"}, {"context_lengths", {64, 256}}};
    given.update(params);
    return Fitted(std::move(given));
  };
  EXPECT_EQ(fitted({{"k", 16}, {"every", 256}, {"score_tokens", 1024}}), "16384");
  EXPECT_EQ(fitted({{"k", 16}, {"every", 256}, {"score_tokens", 16}}), "256");
  EXPECT_EQ(fitted({{"k", 16}, {"score_tokens", 320}, {"context_lengths", {64}}}), "1280");
  EXPECT_EQ(fitted({{"k", 16}, {"every", 256}, {"text_tokens", 1024}}), "1024");
  // 19,999 / 256 = 78 windows.
  EXPECT_EQ(fitted({{"k", 16}, {"every", 256}, {"score_tokens", 1248}}), "19968");
  EXPECT_EQ(fitted({{"k", 16}, {"every", 512}, {"score_tokens", 1000}}),
            "score_tokens: last_k scores 16 of every 512 tokens, so it can score at most 624 of "
            "the 20000 of split "
            "validation of dataset \"austen\", found 1000; write 624 or less, or lower every");
  EXPECT_EQ(fitted({{"k", 16}, {"every", 256}, {"score_tokens", 1'000'000'000'000'000}}),
            "score_tokens: last_k scores 16 of every 256 tokens, so it can score at most 1248 of "
            "the 20000 of split "
            "validation of dataset \"austen\", found 1000000000000000; write 1248 or less");
  EXPECT_EQ(fitted({{"k", 16}, {"every", 256}, {"score_tokens", 1000}}),
            "score_tokens: last_k scores 16 tokens of each window, so expected a multiple of 16, "
            "found 1000; write 992 or 1008");
  EXPECT_EQ(fitted({{"k", 16}, {"every", 256}, {"score_tokens", 5}}),
            "score_tokens: last_k scores 16 tokens of each window, so expected a multiple of 16, "
            "found 5; write 16");
  EXPECT_EQ(fitted({{"k", 16}, {"score_tokens", 320}}),
            "score_tokens: without `every`, windows of different context lengths end at different "
            "places, so that no number fits all of them; give `every` a value of at least 256, the "
            "longest context length");
  EXPECT_EQ(fitted({{"k", 16}, {"text_tokens", 100}}),
            "text_tokens: expected 256 (the longest context length) to 19999 (the tokens that "
            "split validation of dataset \"austen\" can score), found 100");
  EXPECT_EQ(fitted({{"k", 16}, {"text_tokens", 1024}, {"score_tokens", 64}}),
            "text_tokens: sets the text that the windows cover, and score_tokens sets the number "
            "of scored tokens; remove one of the two");
  EXPECT_EQ(fitted({{"k", 65}, {"every", 256}, {"score_tokens", 64}}),
            "k: expected from 1 to the context length 64, found 65");
  EXPECT_EQ(fitted({{"k", 16}, {"every", 100}, {"score_tokens", 64}}),
            "every: expected 0, or at least the context length 256, found 100");
  EXPECT_EQ(
      fitted({{"k", 16}, {"every", 20'000}, {"score_tokens", 64}}),
      "every: the first window ends at token 20000, but only tokens up to 19999 can be scored: "
      "lower it, or give the split more text");
}

// A cell has the text up to the last scored token, with the end-of-text tokens before it.
TEST(PerplexityFitTest, InDocumentsAsManyTokensAreScoredAsAsked) {
  const Json in_documents[] = {{{"protocol", "sliding_bos"}, {"stride", 16}},
                               {{"protocol", "rolling"}, {"over", "documents"}}};
  for (const Json& protocol : in_documents) {
    const auto fitted = [&](const Json& params,
                            decltype(DatasetShape::documents) documents = &TwoDocuments) {
      Json given = protocol;
      given.update(params);
      return Fitted(std::move(given), std::move(documents));
    };
    EXPECT_EQ(fitted({{"score_tokens", 1}}), "1");
    EXPECT_EQ(fitted({{"score_tokens", 4999}}), "4999");
    EXPECT_EQ(fitted({{"score_tokens", 5000}}), "5001");
    EXPECT_EQ(fitted({{"score_tokens", 19'998}}), "19999");
    EXPECT_EQ(fitted({{"score_tokens", 19'999}}),
              "score_tokens: expected from 1 to 19998, the tokens of split validation of dataset "
              "\"austen\" without end-of-text tokens, found 19999");
    EXPECT_EQ(fitted({{"text_tokens", 5000}}), "5000");
    EXPECT_EQ(fitted({{"text_tokens", 20'001}}),
              "text_tokens: expected 1 to 20000 (the tokens that split validation of dataset "
              "\"austen\" can score), found 20001");
    EXPECT_EQ(fitted({{"score_tokens", 5000}, {"text_tokens", 5000}}),
              "text_tokens: sets the text that the windows cover, and score_tokens sets the number "
              "of scored tokens; remove one of the two");
    // Neither the default nor text_tokens needs to know where documents end.
    EXPECT_EQ(fitted(Json::object(), nullptr), "20000");
    EXPECT_EQ(fitted({{"text_tokens", 5000}}, nullptr), "5000");
    const auto unreadable = [](const std::string&, std::int64_t) -> Result<std::vector<TextSpan>> {
      return Status(Code::kDataLoss, "validation-00000.lrtk: damaged");
    };
    const std::string error = fitted({{"score_tokens", 5000}}, unreadable);
    EXPECT_TRUE(Contains(error, "which cannot be read: validation-00000.lrtk: damaged; ")) << error;
    EXPECT_TRUE(Contains(error, "give `text_tokens`:")) << error;
  }
  EXPECT_EQ(Fitted({{"protocol", "rolling"}, {"score_tokens", 5000}}, nullptr), "5000");
}

TEST(PerplexityFitTest, WhatDoesNotFitIsNamedByItsParameter) {
  EXPECT_EQ(Fitted({{"split", "test"}}),
            "split: dataset \"austen\" has no split test; it has train, validation (to make a "
            "dataset with split test, use `longrun data import --test FILE`, or the key split.test "
            "in a file for `longrun data prepare`)");
  EXPECT_EQ(
      Fitted({{"split", "train"}}),
      "context_lengths: context length 1024 needs 1024 + 1 tokens, but split train of dataset "
      "\"austen\" has 500");
  EXPECT_EQ(Fitted({{"score_tokens", 1000}}),
            "score_tokens: expected 1024 (the longest context length) to 19999 (the tokens that "
            "split validation of dataset \"austen\" can score), found 1000");
  EXPECT_EQ(Fitted({{"protocol", "rolling"}, {"score_tokens", 20'001}}),
            "score_tokens: expected 1 to 20000 (the tokens that split validation of dataset "
            "\"austen\" can score), found 20001");
  EXPECT_EQ(Fitted({{"protocol", "sliding_bos"}, {"stride", 64}}),
            "stride: a stride of 64 skips tokens: at context length 64, expected at most 63 (the "
            "begin-of-text token takes one place of each window)");
  EXPECT_EQ(Fitted({{"protocol", "sliding_bos"}, {"stride", 3}, {"truncate", true}}),
            "stride: has no meaning with truncate, which leaves one window of each document; "
            "remove one of them");
  EXPECT_EQ(Fitted({{"protocol", "sliding_bos"}, {"score_tokens", 30}, {"truncate", true}}),
            "score_tokens: has no meaning with truncate: each length scores the first L - 1 tokens "
            "of each document; remove one of them");
  EXPECT_EQ(Fitted({{"protocol", "sliding_bos"}, {"context_lengths", {1}}}),
            "context_lengths: a window of 1 has room only for its begin-of-text token; expected 2 "
            "or more");
  EXPECT_EQ(Fitted({{"protocol", "rolling"}, {"context_len", 65}}),
            "context_len: expected from 1 to the context length 64, found 65");
  EXPECT_EQ(Fitted({{"protocol", "last_k"}, {"k", 65}}),
            "k: expected from 1 to the context length 64, found 65");
  EXPECT_EQ(Fitted({{"protocol", "last_k"}, {"k", 2}, {"every", 512}}),
            "every: expected 0, or at least the context length 1024, found 512");
}

TEST(EvaluationRegistryTest, FindsByNameAndRefusesOthersWithTheList) {
  EXPECT_EQ(FindEvaluation("perplexity").value(), &PerplexityEvaluation());
  const auto unknown = FindEvaluation("perplexty");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(
      unknown.status().message(),
      "unknown evaluation \"perplexty\"; did you mean \"perplexity\"? (evaluations: perplexity, "
      "throughput, multiple_choice, attention_map, pseudo_perplexity, passkey, needle)");
}

// By hand, of a split of 1,000,001 tokens; nonoverlap and last_k score 983,040 of them by default.
TEST(PerplexityCostTest, TokensReadAreThoseOfTheWindows) {
  const auto read = [](const char* given, std::int64_t length) {
    Json params = ParseJson(given).value();
    params["context_lengths"] = {length};
    params = ResolveParams(PerplexityEvaluation().params, params, "perplexity").value();
    const DatasetShape dataset = {.name = "d", .split_tokens = {{"validation", 1'000'001}}};
    EXPECT_FALSE(PerplexityEvaluation().fit(dataset, params));
    return PerplexityEvaluation().tokens_read(dataset, params, length);
  };
  EXPECT_NEAR(read("{}", 64), 983'040, 64 * 16);  // a window more or less of 65536 tokens
  // A window of 64 for each token but the first 64.
  EXPECT_NEAR(read(R"({"protocol":"rolling","context_len":64})", 64), 64e6, 64e6 * 1e-3);
  // Nine windows end at tokens 100,000 to 900,000.
  EXPECT_EQ(read(R"({"protocol":"last_k","k":8,"every":100000})", 64), 9 * 64);
}

}  // namespace
}  // namespace longrun
