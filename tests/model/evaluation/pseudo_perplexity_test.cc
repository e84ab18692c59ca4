#include "model/evaluation/pseudo_perplexity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/data/unigram.h"
#include "model/evaluation/text_error.h"
#include "model/evaluation/window.h"

namespace longrun {
namespace {

constexpr std::int32_t kMask = 320;

// Gives the same probability to every token, and keeps what it was fed.
class UniformModel final : public LanguageModel {
 public:
  explicit UniformModel(double vocabulary) : nats_(static_cast<float>(std::log(vocabulary))) {}

  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window>) override {
    return Status(Code::kUnimplemented, "no next token");
  }
  Result<std::vector<std::vector<float>>> MaskedNll(
      std::span<const MaskedSequence> sequences) override {
    n_calls_ += 1;
    std::vector<std::vector<float>> nll;
    for (const MaskedSequence& sequence : sequences) {
      fed_.push_back(sequence);
      nll.emplace_back(sequence.positions.size(), nats_);
    }
    return nll;
  }
  std::optional<std::int32_t> mask_token() const override { return kMask; }

  const std::vector<MaskedSequence>& fed() const { return fed_; }
  int n_calls() const { return n_calls_; }

 private:
  float nats_;
  std::vector<MaskedSequence> fed_;
  int n_calls_ = 0;
};

// p(next token is `is_a` | this one): the chain that ChainModel knows, over the bytes a and
// everything else.
double Step(bool from_a, bool to_a) {
  const double p_a = from_a ? 0.3 : 0.8;
  return to_a ? p_a : 1.0 - p_a;
}

// ln of what stands at `t` given both neighbours, up to the ends of [begin, end), by Bayes:
//   p(x_t | x_{t-1}, x_{t+1}) = P(x_{t-1} -> x_t) P(x_t -> x_{t+1}) / sum over x of the same
// with 1 in place of a step over an end.
double CloseNll(const std::vector<bool>& is_a, std::size_t begin, std::size_t end, std::size_t t) {
  const auto weight = [&](bool x) {
    const double before = t > begin ? Step(is_a[t - 1], x) : 1.0;
    return before * (t + 1 < end ? Step(x, is_a[t + 1]) : 1.0);
  };
  return -std::log(weight(is_a[t]) / (weight(true) + weight(false)));
}

// The exact posterior of a Markov chain, from what it is fed alone:
// a mask beside a mask is refused.
class ChainModel final : public LanguageModel {
 public:
  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window>) override {
    return Status(Code::kUnimplemented, "no next token");
  }
  Result<std::vector<std::vector<float>>> MaskedNll(
      std::span<const MaskedSequence> sequences) override {
    std::vector<std::vector<float>> nll;
    for (const MaskedSequence& sequence : sequences) {
      std::vector<bool> is_a;
      for (const std::int32_t token : sequence.tokens) is_a.push_back(token == 'a');
      std::vector<float>& row = nll.emplace_back();
      for (std::size_t i = 0; i < sequence.positions.size(); ++i) {
        const auto t = static_cast<std::size_t>(sequence.positions[i]);
        EXPECT_EQ(sequence.tokens[t], kMask);
        is_a[t] = sequence.targets[i] == 'a';
        row.push_back(static_cast<float>(CloseNll(is_a, 0, is_a.size(), t)));
      }
      EXPECT_EQ(std::ranges::count(sequence.tokens, kMask),
                static_cast<std::ptrdiff_t>(sequence.positions.size()));
    }
    return nll;
  }
  std::optional<std::int32_t> mask_token() const override { return kMask; }
};

class PseudoPerplexityTest : public testing::Test {
 protected:
  Dataset Import(const std::vector<std::string>& validation) {
    ImportSpec spec;
    spec.splits = {{"train", {Text("train.txt", "it is a truth universally acknowledged")}},
                   {"validation", {}}};
    for (std::size_t i = 0; i < validation.size(); ++i) {
      spec.splits[1].second.push_back(Text(Str("v", 1000 + i, ".txt"), validation[i]));
    }
    const std::string folder = JoinPath(folder_.path(), "data");
    EXPECT_TRUE(ImportText(spec, folder).ok());
    return Dataset::Open(folder).value();
  }
  std::string Text(const std::string& name, const std::string& text) {
    const std::string path = JoinPath(folder_.path(), name);
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return path;
  }
  static Json Row(LanguageModel& model, const Dataset& dataset, std::int64_t length,
                  const Json& params = Json::object()) {
    return PseudoPerplexityEvaluation()
        .run(model,
             {.dataset = &dataset,
              .params = params,
              .context_length = length,
              .windows_per_call = 5},
             {})
        .value()
        .rows.at(0);
  }

  TempFolder folder_;
};

TEST(SpreadTokensTest, TokensLieEvenlyAndAreTheSameAtEveryLength) {
  EXPECT_EQ(SpreadTokens(5, 5), (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(SpreadTokens(12, 3), (std::vector<std::int64_t>{2, 6, 10}));
  EXPECT_EQ(SpreadTokens(10, 4), (std::vector<std::int64_t>{1, 3, 6, 8}));
  const std::vector<std::int64_t> wide = SpreadTokens(1'000'000'000'000'003, 7);
  for (std::size_t i = 0; i < 7; ++i) {
    const auto exact =
        (2.0L * static_cast<long double>(i) + 1.0L) * 1'000'000'000'000'003.0L / 14.0L;
    EXPECT_EQ(wide[i], static_cast<std::int64_t>(exact));
  }
}

TEST(PlanMaskedTest, AWindowAtTheEndGoesBackToBeFull) {
  const std::vector<std::int64_t> targets = {0, 3, 4, 8, 9};
  EXPECT_EQ(PlanMasked(10, 4, targets, 1),
            (std::vector<MaskedPass>{{0, {0}}, {0, {3}}, {4, {4}}, {6, {8}}, {6, {9}}}));
}

TEST(PlanMaskedTest, WhatIsHiddenTogetherLiesFarApart) {
  const std::vector<std::int64_t> targets = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(PlanMasked(16, 8, targets, 3),
            (std::vector<MaskedPass>{{0, {0, 3, 6}}, {0, {1, 4, 7}}, {0, {2, 5}}, {8, {8}}}));
}

TEST_F(PseudoPerplexityTest, AUniformModelHasTheSizeOfItsVocabulary) {
  const Dataset dataset = Import({"some words to be guessed, one after the other"});
  for (const std::int64_t length : {1, 2, 7, 16, 46}) {
    UniformModel model(321.0);
    const Json row = Row(model, dataset, length);
    EXPECT_EQ(row.at("metric"), "pseudo_nll");
    EXPECT_EQ(row.at("protocol"), "pll");
    EXPECT_EQ(row.at("n"), 46);  // 45 bytes and the end of text
    EXPECT_EQ(row.at("bytes"), 45);
    EXPECT_NEAR(std::exp(row.at("value").get<double>()), 321.0, 321.0 * 1e-6) << length;
    EXPECT_EQ(model.n_calls(), 10);  // 46 passes, five at a time
    EXPECT_EQ(row.at("extra").at("passes"), 46);
  }
}

TEST_F(PseudoPerplexityTest, EachTokenIsHiddenAloneInAFullWindow) {
  const Dataset dataset = Import({"abcdefghi"});  // and an end of text
  UniformModel model(321.0);
  Row(model, dataset, 4);
  ASSERT_EQ(model.fed().size(), 10u);
  for (std::size_t t = 0; t < 10; ++t) {
    const std::size_t begin = t < 8 ? t / 4 * 4 : 6;
    std::vector<std::int32_t> window;
    for (std::size_t i = begin; i < begin + 4; ++i) {
      window.push_back(i == 9 ? dataset.eot_id() : 'a' + static_cast<std::int32_t>(i));
    }
    const std::int32_t target = std::exchange(window[t - begin], kMask);
    EXPECT_EQ(model.fed()[t], (MaskedSequence{.tokens = window,
                                              .positions = {static_cast<std::int64_t>(t - begin)},
                                              .targets = {target}}))
        << t;
  }
}

TEST_F(PseudoPerplexityTest, AMarkovChainHasThePosteriorsThatBayesGives) {
  const std::string text = "ababbabaaabababbbabababaabbabababbaaab";
  const Dataset dataset = Import({text});
  std::vector<bool> is_a;
  for (const char c : text) is_a.push_back(c == 'a');
  is_a.push_back(false);  // the end of text
  const std::size_t n = is_a.size();
  for (const std::size_t length : {std::size_t{4}, std::size_t{8}, n}) {
    double nll_sum = 0.0;
    for (std::size_t t = 0; t < n; ++t) {
      const std::size_t begin = std::min(t / length * length, n - length);
      nll_sum += CloseNll(is_a, begin, begin + length, t);
    }
    ChainModel model;
    const Json row = Row(model, dataset, static_cast<std::int64_t>(length));
    EXPECT_EQ(row.at("n"), n);
    EXPECT_NEAR(row.at("nll_sum").get<double>(), nll_sum, 1e-5) << length;
    EXPECT_NEAR(row.at("value").get<double>(), nll_sum / static_cast<double>(n), 1e-6);
  }
}

TEST_F(PseudoPerplexityTest, SeveralAtOnceIsAnotherProtocolAndFewerPasses) {
  const Dataset dataset = Import({"abcdefghijklmnopqrstuvwxyzabcde"});  // 32 with its end
  UniformModel model(321.0);
  const Json row = Row(model, dataset, 16, {{"protocol", "pll_approximate"}, {"at_once", 4}});
  EXPECT_EQ(row.at("protocol"), "pll_approximate");
  EXPECT_EQ(row.at("extra").at("params"), (Json{{"at_once", 4}}));
  EXPECT_EQ(row.at("n"), 32);
  EXPECT_EQ(row.at("extra").at("passes"), 8);
  for (const MaskedSequence& sequence : model.fed()) {
    EXPECT_EQ(std::ranges::count(sequence.tokens, kMask), 4);
  }
}

TEST_F(PseudoPerplexityTest, DocumentsHaveTheirSumsAndFromTenOnTheError) {
  std::vector<std::string> texts(10, "0123456");  // 8 tokens each, with the end
  const Dataset dataset = Import({texts.begin(), texts.end() - 1});
  UniformModel model(std::exp(0.5));
  const EvaluationRequest request = {
      .dataset = &dataset, .params = Json::object(), .context_length = 8};
  EvaluationOutput output = PseudoPerplexityEvaluation().run(model, request, {}).value();
  EXPECT_EQ(output.rows[0].at("extra").at("clusters"), "block");
  ASSERT_EQ(output.artifacts.size(), 2u);
  // Blocks of 16 tokens, two documents each.
  EXPECT_EQ(output.artifacts[1].name, "blocks-pseudo_nll-validation-8.csv");
  EXPECT_TRUE(
      output.artifacts[1].bytes.starts_with("begin,n,nll_sum,bytes\n0,16,8,14\n16,16,8,14\n"));
  EXPECT_EQ(output.artifacts[0].name, "documents-pseudo_nll-validation-8.csv");
  EXPECT_TRUE(output.artifacts[0].bytes.starts_with("doc,n,nll_sum,bytes\n0,8,4,7\n1,8,4,7\n"));
}

TEST_F(PseudoPerplexityTest, TheErrorIsOverBlocksOfTheText) {
  const Dataset dataset = Import({"ababbbaabaaabbabababaabbababab"});
  ChainModel model;
  const Json row = Row(model, dataset, 8);
  std::vector<bool> is_a;
  for (const char c : std::string("ababbbaabaaabbabababaabbababab")) is_a.push_back(c == 'a');
  is_a.push_back(false);
  std::vector<ClusterSum> blocks(2);  // of 16 tokens
  for (std::size_t t = 0; t < 31; ++t) {
    const std::size_t begin = std::min(t / 8 * 8, std::size_t{23});
    ClusterSum& sum = blocks[t / 16];
    sum.n += 1;
    sum.nll_sum += CloseNll(is_a, begin, begin + 8, t);
  }
  EXPECT_NEAR(row.at("se").get<double>(), *BlockStandardError(blocks), 1e-6);
  EXPECT_EQ(row.at("extra").at("n_clusters"), 2);
}

TEST_F(PseudoPerplexityTest, TheUnigramBaselineNeedsNoContext) {
  const Dataset dataset = Import({"a truth"});
  const auto unigram = UnigramModel::Fit(dataset).value();
  const Json row = Row(*unigram, dataset, 4);
  // 38 bytes of train text and its end, over 257 ids: a 3, ' ' 5, t 3, r 2, u 2, h 1, end 1.
  double nll_sum = 0.0;
  const std::string train = "it is a truth universally acknowledged";
  for (const char c : std::string("a truth")) {
    nll_sum -= std::log((static_cast<double>(std::ranges::count(train, c)) + 1.0) / (39.0 + 257.0));
  }
  nll_sum -= std::log(2.0 / (39.0 + 257.0));
  EXPECT_NEAR(row.at("nll_sum").get<double>(), nll_sum, 1e-5);
}

TEST_F(PseudoPerplexityTest, WhatAModelCannotDoIsARowAndNoError) {
  const Dataset dataset = Import({"a text"});
  class Failing final : public LanguageModel {
   public:
    explicit Failing(Code code) : code_(code) {}
    Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                                std::span<const Window>) override {
      return Status(code_, "as told");
    }
    Result<std::vector<std::vector<float>>> MaskedNll(std::span<const MaskedSequence>) override {
      return Status(code_, "as told");
    }

   private:
    Code code_;
  };
  Failing past_table(Code::kOutOfRange), no_memory(Code::kResourceExhausted);
  EXPECT_EQ(Row(past_table, dataset, 4).at("status"), "not_applicable");
  EXPECT_EQ(Row(no_memory, dataset, 4).at("status"), "out_of_memory");
  UniformModel infinite(std::numeric_limits<double>::infinity());
  const Json row = Row(infinite, dataset, 4);
  EXPECT_EQ(row.at("status"), "non_finite");
  EXPECT_TRUE(row.at("value").is_null());
  EXPECT_EQ(row.at("extra").at("non_finite"), 7);
  // A decoder is asked for something that it has not.
  class Decoder final : public LanguageModel {
    Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                                std::span<const Window>) override {
      return std::vector<std::vector<float>>();
    }
  };
  Decoder decoder;
  EXPECT_EQ(
      PseudoPerplexityEvaluation()
          .run(decoder, {.dataset = &dataset, .params = Json::object(), .context_length = 4}, {})
          .status()
          .code(),
      Code::kUnimplemented);
}

TEST(PseudoPerplexityFitTest, WritesInWhatIsScoredAndRefusesWhatDoesNotFit) {
  const DatasetShape dataset = {.name = "novels",
                                .split_tokens = {{"train", 10'000}, {"validation", 5000}}};
  const auto fit = [&](Json params) {
    Json resolved =
        ResolveParams(PseudoPerplexityEvaluation().params, params, "pseudo_perplexity").value();
    const auto error = PseudoPerplexityEvaluation().fit(dataset, resolved);
    return error ? error->key + ": " + error->message
                 : std::to_string(resolved.at("score_tokens").get<std::int64_t>());
  };
  EXPECT_EQ(fit({{"context_lengths", {64, 5000}}}), "4096");
  EXPECT_EQ(fit({{"context_lengths", {64}}, {"score_tokens", 12}}), "12");
  EXPECT_EQ(fit({{"context_lengths", {64}}, {"score_tokens", 5001}}),
            "score_tokens: expected from 1 to the 5000 tokens of split validation of dataset "
            "\"novels\", found 5001");
  EXPECT_EQ(fit({{"context_lengths", {64, 5001}}}),
            "context_lengths: context length 5001 is more than the 5000 tokens of split validation "
            "of dataset \"novels\"");
  EXPECT_EQ(fit({{"context_lengths", {64}}, {"split", "test"}}),
            "split: dataset \"novels\" has no split test; it has train, validation (to make a "
            "dataset with split test, use `longrun data import --test FILE`, or the key split.test "
            "in a file for `longrun data prepare`)");
  const Json exact = {{"split", "validation"}, {"protocol", "pll"}, {"score_tokens", 100}};
  EXPECT_EQ(PseudoPerplexityEvaluation().tokens_read(dataset, exact, 64), 6400.0);
  const Json approximate = {{"split", "validation"},
                            {"protocol", "pll_approximate"},
                            {"at_once", 10},
                            {"score_tokens", 4000}};
  EXPECT_EQ(PseudoPerplexityEvaluation().tokens_read(dataset, approximate, 500), 400.0 * 500.0);
}

}  // namespace
}  // namespace longrun
