// Documents by rule: their structure, and the closed forms of their entropy beside what is counted
// in many documents.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "base/str.h"
#include "model/data/synthetic/passkey_prompt.h"
#include "model/data/synthetic/rule.h"

namespace longrun {
namespace {

RuleSetting BytesSetting(std::uint64_t seed, std::string_view text = "") {
  return {.seed = seed,
          .n_tokens = [](std::string_view document) { return std::ssize(document); },
          .text = text};
}

ResolvedRule Rule(const Json& json) {
  Result<ResolvedRule> rule = ResolvedRule::Resolve(json);
  EXPECT_TRUE(rule.ok()) << rule.status().message();
  return std::move(rule).value();
}

std::string DocumentOf(const ResolvedRule& rule, std::uint64_t seed, std::uint64_t g,
                       std::string_view text = "") {
  Result<std::string> document = rule.Document(BytesSetting(seed, text), g);
  EXPECT_TRUE(document.ok()) << document.status().message();
  return std::move(document).value();
}

std::string ErrorOf(const Json& json) {
  const Result<ResolvedRule> rule = ResolvedRule::Resolve(json);
  return rule.ok() ? "" : std::string(rule.status().message());
}

// The plug-in entropy of whole documents, with Miller and Madow's correction (K - 1) / 2n.
double CountedNats(const ResolvedRule& rule, std::uint64_t seed, int n) {
  std::map<std::string, int> times;
  for (int g = 0; g < n; ++g) times[DocumentOf(rule, seed, static_cast<std::uint64_t>(g))] += 1;
  double nats = 0;
  for (const auto& [document, count] : times) {
    const double p = static_cast<double>(count) / n;
    nats -= p * std::log(p);
  }
  return nats + (static_cast<double>(times.size()) - 1) / (2.0 * n);
}

class SmallRuleTest : public testing::TestWithParam<Json> {};

// Rules so small that every document occurs many times among 200000. The error of the count is
// about sqrt(var(ln p) / n) < 0.004 here.
TEST_P(SmallRuleTest, EntropyOfDocumentsIsItsClosedForm) {
  const ResolvedRule rule = Rule(GetParam());
  for (const std::uint64_t seed : {1u, 2u}) {
    EXPECT_NEAR(CountedNats(rule, seed, 200'000), rule.Bound()->document_nats, 0.015)
        << GetParam().dump();
  }
}

TEST_P(SmallRuleTest, DocumentsHaveTheLengthOfTheBound) {
  const ResolvedRule rule = Rule(GetParam());
  for (std::uint64_t g = 0; g < 100; ++g) {
    EXPECT_EQ(std::ssize(DocumentOf(rule, 3, g)), rule.Bound()->document_bytes);
  }
}

// The bytes before the answer decide it: no two documents differ only there.
TEST_P(SmallRuleTest, AnswerFollowsFromTheBytesBeforeIt) {
  const ResolvedRule rule = Rule(GetParam());
  const auto n_answer = static_cast<std::size_t>(rule.Bound()->answer_bytes);
  std::map<std::string, std::string> answers;
  for (std::uint64_t g = 0; g < 5000; ++g) {
    const std::string document = DocumentOf(rule, 4, g);
    const std::size_t n_before = document.size() - n_answer;
    const auto [at, fresh] =
        answers.emplace(document.substr(0, n_before), document.substr(n_before));
    EXPECT_EQ(at->second, document.substr(n_before));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rules, SmallRuleTest,
    testing::Values(Json{{"rule", "uniform"}, {"alphabet", 3}, {"length", 4}},
                    Json{{"rule", "markov"}, {"alphabet", 3}, {"ratio", 0.4}, {"length", 5}},
                    Json{{"rule", "markov"}, {"alphabet", 2}, {"ratio", 1}, {"length", 7}},
                    Json{{"rule", "copy"}, {"alphabet", 3}, {"span", 2}, {"distance", 6}},
                    Json{{"rule", "copy"}, {"alphabet", 2}, {"span", 3}, {"distance", 5}},
                    Json{{"rule", "induction"}, {"alphabet", 3}, {"noise", 4}},
                    Json{{"rule", "induction"}, {"alphabet", 2}, {"noise", 3}},
                    Json{{"rule", "passkey_tokens"}, {"alphabet", 2}, {"key", 2}, {"noise", 3}}));

// Counts the next symbol after each pair in one long chain. The rows hold the same probabilities in
// different orders, so a model that sees only one symbol cannot reach the bound.
TEST(MarkovRuleTest, ConditionalEntropyIsThatOfTheChainAndNeedsTwoSymbols) {
  const ResolvedRule rule =
      Rule({{"rule", "markov"}, {"alphabet", 8}, {"ratio", 0.5}, {"length", 400'000}});
  const std::string text = DocumentOf(rule, 11, 0);
  const auto conditional = [&](std::size_t order) {
    std::map<std::string, std::map<char, double>> after;
    for (std::size_t t = order; t < text.size(); ++t) {
      after[text.substr(t - order, order)][text[t]] += 1;
    }
    double nats = 0;
    for (const auto& [context, counts] : after) {
      double n = 0;
      for (const auto& [symbol, count] : counts) n += count;
      for (const auto& [symbol, count] : counts) nats -= count * std::log(count / n);
    }
    return nats / static_cast<double>(text.size() - order);
  };
  // H of 1/2, 1/4, .. 1/128, scaled to sum to 1, by hand: sum of 2^-k (k ln 2 + ln c) / c.
  double sum = 0, expected = 0;
  for (int k = 0; k < 8; ++k) sum += std::ldexp(1.0, -k);
  for (int k = 0; k < 8; ++k) {
    expected += std::ldexp(1.0, -k) / sum * (k * std::log(2.0) + std::log(sum));
  }
  EXPECT_NEAR(conditional(2), expected, 0.005);
  EXPECT_GT(conditional(1), expected + 0.1);
}

TEST(MarkovRuleTest, DocumentsOfOneSeedShareTheirChainAndThoseOfAnotherDoNot) {
  const ResolvedRule rule =
      Rule({{"rule", "markov"}, {"alphabet", 8}, {"ratio", 0.001}, {"length", 4000}});
  // With this ratio the likeliest continuation has probability 0.999.
  const auto likely = [&](std::uint64_t seed, std::uint64_t g) {
    std::map<std::string, char> next;
    const std::string text = DocumentOf(rule, seed, g);
    for (std::size_t t = 2; t < text.size(); ++t) next[text.substr(t - 2, 2)] = text[t];
    return next;
  };
  const auto agreeing = [](const std::map<std::string, char>& a,
                           const std::map<std::string, char>& b) {
    int same = 0, both = 0;
    for (const auto& [context, symbol] : a) {
      const auto at = b.find(context);
      both += at != b.end();
      same += at != b.end() && at->second == symbol;
    }
    return both == 0 ? 1.0 : static_cast<double>(same) / both;
  };
  std::map<std::string, char> of_one, of_two;
  for (std::uint64_t g = 0; g < 20; ++g) {
    of_one.merge(likely(1, g));
    of_two.merge(likely(2, g));
  }
  std::map<std::string, char> again;
  for (std::uint64_t g = 20; g < 40; ++g) again.merge(likely(1, g));
  EXPECT_GT(agreeing(of_one, again), 0.8);
  EXPECT_LT(agreeing(of_one, of_two), 0.5);
}

TEST(CopyRuleTest, SpanComesAgainAtTheDistance) {
  const ResolvedRule rule = Rule({{"rule", "copy"}, {"span", 8}, {"distance", 100}});
  for (std::uint64_t g = 0; g < 50; ++g) {
    const std::string document = DocumentOf(rule, 1, g);
    ASSERT_EQ(document.size(), 108);
    EXPECT_EQ(document.substr(0, 8), document.substr(100));
    EXPECT_EQ(document[8], '|');
    EXPECT_EQ(document[99], '|');
  }
}

TEST(InductionRuleTest, FirstOfThePairOccursTwiceAndTheSecondFollowsBothTimes) {
  const ResolvedRule rule = Rule({{"rule", "induction"}, {"alphabet", 10}, {"noise", 40}});
  std::set<std::size_t> places;
  for (std::uint64_t g = 0; g < 2000; ++g) {
    const std::string document = DocumentOf(rule, 1, g);
    ASSERT_EQ(document.size(), 43);
    const char a = document[41];
    const std::size_t first = document.find(a);
    EXPECT_EQ(document.find(a, first + 1), 41) << document;
    EXPECT_EQ(document[first + 1], document[42]);
    places.insert(first);
  }
  EXPECT_EQ(places.size(), 40);
}

// ---- passkey -----------------------------------------------------------------------------------

std::string Between(const std::string& text, std::string_view before, std::string_view after) {
  const std::size_t begin = text.find(before);
  if (begin == std::string::npos) return "";
  const std::size_t from = begin + before.size();
  return text.substr(from, text.find(after, from) - from);
}

TEST(PasskeyRuleTest, DocumentAsksForTheKeyThatItStatesTwice) {
  const std::string text = "It is a truth universally acknowledged.\nHowever little known. ";
  const ResolvedRule rule = Rule({{"rule", "passkey"}, {"shortest", 300}, {"longest", 900}});
  int with_text = 0;
  std::set<std::size_t> digits;
  for (std::uint64_t g = 0; g < 500; ++g) {
    const std::string document = DocumentOf(rule, 1, g, Str(text, text, text, text));
    const std::string key = Between(document, "\nThe pass key is ", ". Remember it.");
    ASSERT_NE(key, "");
    EXPECT_NE(document.find(Str("Remember it. ", key, " is the pass key.\n")), std::string::npos);
    EXPECT_TRUE(document.ends_with(Str("\nWhat is the pass key? The pass key is ", key, ".")));
    with_text += document.find("universally") != std::string::npos ||
                 document.find("little known") != std::string::npos;
    digits.insert(key.size());
  }
  EXPECT_GT(with_text, 150);
  EXPECT_LT(with_text, 350);
  EXPECT_EQ(digits, (std::set<std::size_t>{3, 4, 5, 6, 7}));
}

// A document up to its answer, beside the prompts of the evaluations with fillers of the same sizes
// and the same key: the same words in the same order, but never the same text.
TEST(PasskeyRuleTest, NoDocumentIsAPromptOfAnEvaluation) {
  for (const std::int64_t longest : {320, 900}) {
    const ResolvedRule rule =
        Rule({{"rule", "passkey"}, {"longest", longest}, {"filler", "prompt"}});
    for (std::uint64_t g = 0; g < 1000; ++g) {
      const std::string document = DocumentOf(rule, 1, g);
      const std::string key = Between(document, "\nThe pass key is ", ". Remember it.");
      const std::string before = Between(document, "there.\n", "\nThe pass key is");
      const std::string after = Between(document, "is the pass key.\n", "\nWhat is");
      EXPECT_GE(before.size() + after.size(), 16);
      EXPECT_EQ(document, Str(PasskeyPrompt(before, after, key), " ", key, "."));
      const std::string repeated = RepeatedFiller(20), spaced = FillerCharacters(2000);
      for (const std::string& filler : {before, after}) {
        EXPECT_TRUE(repeated.find(filler) != std::string::npos ||
                    spaced.find(filler) != std::string::npos)
            << filler;
        // All prompts of the evaluations that have filler here begin it with this letter.
        if (!filler.empty()) {
          EXPECT_NE(filler.front(), spaced.front());
        }
      }
    }
  }
}

TEST(PasskeyRuleTest, AllFirstDigitsOfKeysAreEquallyLikely) {
  const ResolvedRule rule = Rule({{"rule", "passkey"}, {"longest", 400}});
  std::map<char, int> first_digits;
  for (std::uint64_t g = 0; g < 3000; ++g) {
    first_digits[Between(DocumentOf(rule, 1, g), "\nThe pass key is ", ". Remember it.").front()] +=
        1;
  }
  // 333 of each, with a standard deviation of 17.
  EXPECT_EQ(first_digits.size(), 9);
  for (const auto& [digit, n] : first_digits) EXPECT_NEAR(n, 333, 90) << digit;
}

TEST(PasskeyRuleTest, LengthsSpreadUpToTheLongest) {
  const std::string text(5000, 'x');
  for (const char* const filler : {"prompt", "text", "mixed"}) {
    const ResolvedRule rule =
        Rule({{"rule", "passkey"}, {"shortest", 300}, {"longest", 1000}, {"filler", filler}});
    std::int64_t least = 1'000'000, most = 0;
    for (std::uint64_t g = 0; g < 300; ++g) {
      const std::int64_t n = std::ssize(DocumentOf(rule, 1, g, text));
      least = std::min(least, n);
      most = std::max(most, n);
    }
    EXPECT_LE(most, 1000) << filler;
    EXPECT_GT(most, 950) << filler;
    EXPECT_LT(least, 350) << filler;
  }
}

// ---- what is common to all ---------------------------------------------------------------------

TEST(SyntheticRuleTest, DocumentIsAPureFunctionOfParametersSeedAndNumber) {
  for (const std::string& name : SyntheticRuleNames()) {
    Json json = {{"rule", name}};
    if (name == "passkey") json["longest"] = 600;
    const ResolvedRule rule = Rule(json);
    const std::string document = DocumentOf(rule, 5, 17);
    DocumentOf(rule, 5, 18);
    EXPECT_EQ(DocumentOf(rule, 5, 17), document) << name;
    EXPECT_EQ(DocumentOf(Rule(rule.ToJson()), 5, 17), document) << name;
    EXPECT_NE(DocumentOf(rule, 6, 17), document) << name;
    EXPECT_NE(DocumentOf(rule, 5, 18), document) << name;
  }
}

TEST(SyntheticRuleTest, MistakesAreNamedWithTheirRemedy) {
  EXPECT_EQ(ErrorOf({{"rule", "markow"}}),
            "unknown rule \"markow\"; did you mean \"markov\"? (choose one of uniform, markov, "
            "copy, induction, passkey_tokens, passkey)");
  EXPECT_EQ(ErrorOf(Json::array()),
            "expected {\"rule\": NAME, ...}, where NAME is one of uniform, markov, copy, "
            "induction, passkey_tokens, passkey");
  EXPECT_EQ(ErrorOf({{"rule", "copy"}, {"span", 16}, {"distance", 17}}),
            "copy.distance: expected at least span + 2 = 18, found 17: raise distance, or lower "
            "span");
  EXPECT_EQ(ErrorOf({{"rule", "markov"}, {"length", 1}}),
            "markov.length: expected at least the 2 symbols with which a chain begins, found 1");
  EXPECT_EQ(ErrorOf({{"rule", "passkey"}, {"shortest", 600}}),
            "passkey.shortest: expected at most longest = 512, found 600");
  EXPECT_NE(ErrorOf({{"rule", "uniform"}, {"alphabet", 1}}), "");
  EXPECT_NE(ErrorOf({{"rule", "uniform"}, {"alphabet", 63}}), "");
  EXPECT_NE(ErrorOf({{"rule", "uniform"}, {"length", 0}}), "");
  EXPECT_NE(ErrorOf({{"rule", "uniform"}, {"length", 1e12}}), "");
  EXPECT_NE(ErrorOf({{"rule", "markov"}, {"ratio", 0}}), "");
  EXPECT_NE(ErrorOf({{"rule", "uniform"}, {"size", 3}}), "");
}

TEST(SyntheticRuleTest, SmallestAndLargestParametersWork) {
  for (const Json& json :
       {Json{{"rule", "uniform"}, {"alphabet", 62}, {"length", 1}},
        Json{{"rule", "markov"}, {"alphabet", 62}, {"ratio", 0.001}, {"length", 2}},
        Json{{"rule", "copy"}, {"span", 1}, {"distance", 3}},
        Json{{"rule", "induction"}, {"alphabet", 2}, {"noise", 1}},
        Json{{"rule", "passkey_tokens"}, {"alphabet", 2}, {"key", 1}, {"noise", 1}}}) {
    const ResolvedRule rule = Rule(json);
    EXPECT_EQ(std::ssize(DocumentOf(rule, 1, 0)), rule.Bound()->document_bytes) << json.dump();
    EXPECT_TRUE(std::isfinite(rule.Bound()->document_nats)) << json.dump();
    EXPECT_GE(rule.Bound()->document_nats, 0) << json.dump();
  }
}

TEST(SyntheticRuleTest, PasskeyThatCannotFitIsRefusedWithItsRemedy) {
  const ResolvedRule rule = Rule({{"rule", "passkey"}, {"longest", 100}});
  const Result<std::string> document = rule.Document(BytesSetting(1), 0);
  ASSERT_FALSE(document.ok());
  EXPECT_NE(document.status().message().find("raise longest"), std::string::npos);
  const ResolvedRule of_text = Rule({{"rule", "passkey"}, {"longest", 900}, {"filler", "text"}});
  const Result<std::string> without = of_text.Document(BytesSetting(1), 0);
  ASSERT_FALSE(without.ok());
  EXPECT_NE(without.status().message().find("choose \"prompt\""), std::string::npos);
}

}  // namespace
}  // namespace longrun
