#include "model/evaluation/multiple_choice.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "model/evaluation/choice_items.h"
#include "model/evaluation/choice_score.h"
#include "model/evaluation/choice_shots.h"
#include "model/evaluation/choice_text.h"
#include "model/evaluation/input_file.h"
#include "tests/heap.h"
#include "tests/model/evaluation/questions.h"
#include "tests/model/evaluation/toy_model.h"

namespace longrun {
namespace {

// ---- text --------------------------------------------------------------------------------------

// The right sides are what the harness' preprocess() and str.capitalize() give in CPython 3.11.
TEST(ChoiceTextTest, PreprocessesHellaSwagAsTheHarnessDoes) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"  a [title] b  ", "a. b"},
      {"[header] x [title] y [step] z", " x. y z"},
      {"a[b\nc]d[e]f", "a[b\nc]df"},
      {"[a[b]c]", "c]"},
      {"a   b    c", "a  b  c"},
      {"no [close", "no [close"},
      {"x [title] [title] y", "x. . y"},
      {"\u00a0 hi\u3000", "hi"},
      {"a] [b] c", "a] c"},
      {"", ""}};
  for (const auto& [text, expected] : cases) EXPECT_EQ(PreprocessHellaSwag(text), expected) << text;
}

TEST(ChoiceTextTest, CapitalizesAsPythonDoes) {
  const std::vector<std::pair<std::string, std::string>> cases = {{"hE SAID", "He said"},
                                                                  {"Élise EST", "Élise est"},
                                                                  {"éLISE", "Élise"},
                                                                  {"ÀÉÎ", "Àéî"},
                                                                  {"", ""},
                                                                  {"1ABC", "1abc"},
                                                                  {"жУК", "Жук"},
                                                                  {"Ωmega ÑANDÚ", "Ωmega ñandú"},
                                                                  {"ßEN", "Ssen"},
                                                                  {"ﬁNE", "Fine"},
                                                                  {"iİ", "Ii\u0307"},
                                                                  {"ΣΟΦΟΣ, ΣΑΣ'Σ", "Σοφος, σασ'ς"},
                                                                  {"ǆABA", "ǅaba"},
                                                                  {"აბ", "აბ"}};
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(CapitalizePython(text), expected);
  }
}

std::string Utf8(std::uint32_t code) {
  const auto byte = [](std::uint32_t bits) { return static_cast<char>(bits); };
  const auto tail = [&](unsigned shift) { return byte(0x80U | ((code >> shift) & 0x3fU)); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xc0U | code >> 6), tail(0)};
  if (code < 0x10000) return {byte(0xe0U | code >> 12), tail(6), tail(0)};
  return {byte(0xf0U | code >> 18), tail(12), tail(6), tail(0)};
}

// Each character of Unicode where its case can depend on its place. The digest is CPython 3.11's:
//   h = hashlib.sha256()
//   for c in map(chr, [*range(0xd800), *range(0xe000, 0x110000)]):
//     for s in (c, "1" + c, c + "Σ", "A" + c + "Σ", "AΣ" + c, "AΣ" + c + "B"):
//       h.update(s.capitalize().encode() + b"\n")
TEST(ChoiceTextTest, CapitalizesEachCharacterAsPythonDoes) {
  Sha256 sha;
  for (std::uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xd800 && code < 0xe000) continue;
    const std::string c = Utf8(code);
    for (const std::string& text : {c, "1" + c, c + "Σ", "A" + c + "Σ", "AΣ" + c, "AΣ" + c + "B"}) {
      sha.Update(CapitalizePython(text) + "\n");
    }
  }
  EXPECT_EQ(sha.FinishHex(), "36bf35434940735dff14136d9f127c22775d1e0a111d97b94e9f69148acb3c86");
}

TEST(ChoiceTextTest, CountsCharactersNotBytes) {
  EXPECT_EQ(CountCharacters("naïve “x”"), 9);
  EXPECT_EQ(CountCharacters(""), 0);
}

// A line of brackets alone must not take the square of its length: a minute, then.
TEST(ChoiceTextTest, ALineOfBracketsTakesTheTimeOfItsLength) {
  const std::string brackets(4'000'000, '[');
  EXPECT_EQ(PreprocessHellaSwag(brackets), brackets);
  EXPECT_EQ(PreprocessHellaSwag(Str("a", std::string(4'000'000, ' '), "b")),
            Str("a", std::string(2'000'000, ' '), "b"));
}

// ---- items -------------------------------------------------------------------------------------

TEST(ChoiceItemsTest, HellaSwagIsReadByEachConvention) {
  const std::string line =
      R"({"ind":4,"activity_label":"Roof shingle removal","ctx_a":"A man is sitting on a roof.",)"
      R"("ctx_b":"he","ctx":"A man is sitting on a roof. he","label":"1",)"
      R"("endings":["is [x] using wrap.","rips  tiles."]})"
      "\n\n";

  const auto nanogpt = ParseChoiceItems("q.jsonl", line, ChoiceProtocol::kNanoGpt);
  ASSERT_TRUE(nanogpt.ok()) << nanogpt.status().message();
  ASSERT_EQ(nanogpt->size(), 1u);
  EXPECT_EQ(nanogpt->front().context, "A man is sitting on a roof. he");
  EXPECT_EQ(nanogpt->front().choices,
            (std::vector<std::string>{"is [x] using wrap.", "rips  tiles."}));
  EXPECT_EQ(nanogpt->front().label, 1u);

  const auto lm_eval = ParseChoiceItems("q.jsonl", line, ChoiceProtocol::kLmEval);
  ASSERT_TRUE(lm_eval.ok()) << lm_eval.status().message();
  EXPECT_EQ(lm_eval->front().context, "Roof shingle removal: A man is sitting on a roof. He");
  EXPECT_EQ(lm_eval->front().choices, (std::vector<std::string>{"is using wrap.", "rips tiles."}));
}

TEST(ChoiceItemsTest, WhatIsWrongIsToldWithItsLine) {
  const std::string good = R"({"context":"a","choices":["b","c"],"answer":0})";
  const std::string deep(100'000, '[');
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"context":"a","choices":["b","c"],"answer":2})",
       "answer: expected the index of a choice, 0 to 1, found 2"},
      {R"({"context":"a","choices":["b","c"],"answer":-1})", "0 to 1, found -1"},
      {R"({"context":"a","choices":["b","c"],"answer":0.5})", "0 to 1, found 0.5"},
      {R"({"context":"a","choices":["b","c"],"answer":"one"})", R"(0 to 1, found "one")"},
      {R"({"context":"a","choices":["b","c"],"answer":18446744073709551615})", "0 to 1, found"},
      {R"({"context":"a","choices":["b","c"],"answer":null})", "0 to 1, found null"},
      {R"({"context":"a","choices":["b","c"]})", "answer is missing"},
      {R"({"ctx":"a","endings":["b","c"]})", "label is missing"},
      {R"({"context":"a","choices":["b",""],"answer":0})", "choices[1]: holds no text"},
      {R"({"ctx":"a","endings":["b"," \t"],"label":0})", "endings[1]: holds no text"},
      {R"({"context":"a","choices":["b",7],"answer":0})", "choices[1]: expected text, found 7"},
      {R"({"context":"a","choices":["b"],"answer":0})",
       "a list of 2 to 256 texts, found a list of 1"},
      {R"({"context":"a","choices":[],"answer":0})", "found a list of 0"},
      {R"({"context":"a","choices":"bc","answer":0})",
       "expected a list of 2 to 256 texts, found \"bc\""},
      {R"({"context":7,"choices":["b","c"],"answer":0})", "context: expected a string"},
      {R"({"choices":["b","c"],"answer":0})", "context"},
      {R"({"endings":["b","c"],"label":0})", "ctx"},
      {R"({"context":"a","answer":0})", "has neither endings (HellaSwag) nor choices"},
      {R"({"ctx":"a","choices":["b","c"],"endings":["b","c"],"label":0})", "has both"},
      {R"(["a"])", "expected a JSON object"},
      {R"({"context":"a","choices":["b","c"],"answer":0)", ""},
      {R"({"context":"a","context":"a","choices":["b","c"],"answer":0})", ""},
      {"{\"context\":\"\xff\",\"choices\":[\"b\",\"c\"],\"answer\":0}", ""},
      {deep, ""}};
  for (const auto& [line, what] : cases) {
    const auto items =
        ParseChoiceItems("q.jsonl", Str(good, "\n\n", line, "\n", good), ChoiceProtocol::kNanoGpt);
    ASSERT_FALSE(items.ok()) << line.substr(0, 200);
    EXPECT_EQ(items.status().code(), Code::kInvalidArgument);
    EXPECT_TRUE(items.status().message().starts_with("q.jsonl:3: ")) << items.status().message();
    EXPECT_NE(items.status().message().find(what), std::string::npos) << items.status().message();
  }
}

TEST(ChoiceItemsTest, TheHarnessConventionNamesTheMemberItLacks) {
  const auto items = ParseChoiceItems("q.jsonl", R"({"ctx":"a","endings":["b","c"],"label":0})",
                                      ChoiceProtocol::kLmEval);
  ASSERT_FALSE(items.ok());
  EXPECT_NE(items.status().message().find("q.jsonl:1: activity_label"), std::string::npos)
      << items.status().message();
}

TEST(ChoiceItemsTest, AFileWithoutItemsIsRefused) {
  for (const char* const text : {"", "\n", " \r\n\n"}) {
    const auto items = ParseChoiceItems("q.jsonl", text, ChoiceProtocol::kNanoGpt);
    ASSERT_FALSE(items.ok());
    EXPECT_EQ(items.status().message(), "q.jsonl: has no items: expected one JSON object per line");
  }
}

// ---- shots -------------------------------------------------------------------------------------

std::vector<ChoiceItem> Letters(const std::string& letters, const std::string& train) {
  std::vector<ChoiceItem> items;
  for (const char letter : letters) {
    items.push_back({.line = static_cast<std::int64_t>(items.size()) + 1,
                     .context = std::string(1, letter),
                     .choices = {"no", Str("yes ", std::string(1, letter))},
                     .label = 1,
                     .is_train = train.find(letter) != std::string::npos});
  }
  return items;
}

TEST(ChoiceShotsTest, ExamplesStandInFrontWithTheirRightAnswers) {
  std::vector<ChoiceItem> items = Letters("abq", "ab");
  ASSERT_TRUE(AddShots({.n_shots = 2, .seed = 1}, nullptr, items).ok());
  ASSERT_EQ(items.size(), 1u);  // the lines of the train split are not asked
  EXPECT_TRUE(items[0].context == "a yes a\n\nb yes b\n\nq" ||
              items[0].context == "b yes b\n\na yes a\n\nq")
      << items[0].context;
  EXPECT_EQ(items[0].choices, (std::vector<std::string>{"no", "yes q"}));
}

TEST(ChoiceShotsTest, WithoutATrainSplitTheyAreTheOtherQuestions) {
  constexpr std::size_t kShots = 3;
  std::vector<ChoiceItem> items = Letters("abcdefgh", "");
  ASSERT_TRUE(AddShots({.n_shots = kShots, .seed = 7}, nullptr, items).ok());
  ASSERT_EQ(items.size(), 8u);
  std::set<std::string> contexts;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::vector<std::string> parts = Split(items[i].context, '\n');  // "x yes x", "", ...
    ASSERT_EQ(parts.size(), 2 * kShots + 1);
    const std::string own(1, static_cast<char>('a' + i));
    EXPECT_EQ(parts.back(), own);
    std::set<std::string> shots;
    for (std::size_t k = 0; k < kShots; ++k) {
      EXPECT_NE(parts[2 * k].substr(0, 1), own);  // never the question itself
      shots.insert(parts[2 * k]);
    }
    EXPECT_EQ(shots.size(), kShots);  // none twice
    contexts.insert(Join({parts.begin(), parts.end() - 1}, ""));
  }
  EXPECT_GT(contexts.size(), 4u);  // each question draws its own
}

TEST(ChoiceShotsTest, TheSeedAndTheLineDecideAndNothingElse) {
  const auto contexts = [](std::uint64_t seed, std::vector<ChoiceItem> items) {
    EXPECT_TRUE(AddShots({.n_shots = 2, .seed = seed}, nullptr, items).ok());
    std::vector<std::string> all;
    for (const ChoiceItem& item : items) all.push_back(item.context);
    return all;
  };
  EXPECT_EQ(contexts(1, Letters("abcdefgh", "")), contexts(1, Letters("abcdefgh", "")));
  EXPECT_NE(contexts(1, Letters("abcdefgh", "")), contexts(2, Letters("abcdefgh", "")));
  // A question that is added behind the examples changes no other.
  EXPECT_EQ(contexts(1, Letters("abcq", "abc"))[0], contexts(1, Letters("abcqr", "abc"))[0]);
  std::vector<ChoiceItem> plain = Letters("ab", "a");
  EXPECT_TRUE(AddShots({}, nullptr, plain).ok());
  EXPECT_EQ(plain.size(), 2u);  // without shots every line is asked
  EXPECT_EQ(plain[1].context, "b");
}

TEST(ChoiceShotsTest, ExamplesAreTheFirstPlacesOfAShuffle) {
  const std::string letters = "abcdefghijklmnopqrst";
  constexpr std::size_t kShots = 12;
  std::vector<ChoiceItem> items = Letters(letters, "");
  ASSERT_TRUE(AddShots({.n_shots = kShots, .seed = 5}, nullptr, items).ok());
  for (std::size_t q = 0; q < letters.size(); ++q) {
    std::string others = letters;
    others.erase(q, 1);
    SeededRandom random(StreamKey(5, 0, static_cast<std::uint64_t>(items[q].line)));
    for (std::size_t i = 0; i < kShots; ++i) {
      std::swap(others[i], others[i + random.Below(others.size() - i)]);
    }
    std::string expected;
    for (const char c : others.substr(0, kShots)) expected += Str(c, " yes ", c, "\n\n");
    EXPECT_EQ(items[q].context, expected + letters[q]);
  }
}

// A coordinator checks files from others, whose contexts may be much longer than the file: these
// would have 200 MB.
TEST(ChoiceShotsTest, TheCheckOfAFileMakesNoContexts) {
  std::string file;
  for (int n = 0; n < 2000; ++n) {
    file += Str(R"({"ctx": ")", std::string(100, 'x'),
                R"(", "endings": ["yes", "no"], "label": 0})", "\n");
  }
  const Evaluation& evaluation = MultipleChoiceEvaluation();
  for (const FileParam& param : evaluation.files) {
    const Json params = {{"protocol", "nanogpt"}, {"shots", 1000}, {"shots_seed", 1}};
    const std::int64_t before = HeapNow().asked;
    EXPECT_TRUE(param.check("items.jsonl", file, params).ok());
    EXPECT_LT(HeapNow().asked - before, 20 * std::ssize(file)) << param.name;
  }
}

TEST(ChoiceShotsTest, AFileOfExamplesIsUsedAloneAndEveryQuestionIsAsked) {
  const std::vector<ChoiceItem> examples = Letters("xy", "");
  std::vector<ChoiceItem> items = Letters("abc", "a");
  ASSERT_TRUE(AddShots({.n_shots = 2, .seed = 3}, &examples, items).ok());
  ASSERT_EQ(items.size(), 3u);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string own(1, static_cast<char>('a' + i));
    EXPECT_TRUE(items[i].context == "x yes x\n\ny yes y\n\n" + own ||
                items[i].context == "y yes y\n\nx yes x\n\n" + own)
        << items[i].context;
  }
  EXPECT_EQ(AddShots({.n_shots = 3, .seed = 3}, &examples, items).message(),
            "3 shots need as many examples, but the file has 2");
}

TEST(ChoiceShotsTest, TooFewExamplesAreRefused) {
  const auto refusal = [](std::int64_t n_shots, std::vector<ChoiceItem> items) {
    return AddShots({.n_shots = n_shots, .seed = 1}, nullptr, items).message();
  };
  EXPECT_EQ(refusal(3, Letters("abc", "")),
            "3 shots need as many other questions, but the file has 2");
  EXPECT_EQ(refusal(2, Letters("abc", "c")),
            "2 shots need as many lines with \"split\": \"train\", but the file has 1");
  EXPECT_EQ(refusal(1, Letters("ab", "ab")),
            "every line has \"split\": \"train\", so no question is left");
  EXPECT_EQ(refusal(1, Letters("ab", "")), "");
}

// ---- scores ------------------------------------------------------------------------------------

// Gives texts the ids it is told.
class TableTokenizer final : public Tokenizer {
 public:
  explicit TableTokenizer(std::map<std::string, std::vector<std::int32_t>> ids)
      : Tokenizer({}), ids_(std::move(ids)) {}
  void Encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    const std::vector<std::int32_t>& found = ids_.at(std::string(text));
    ids.insert(ids.end(), found.begin(), found.end());
  }

 private:
  std::map<std::string, std::vector<std::int32_t>> ids_;
};

// nll(id, pos) = ((31 id + 17 pos) mod 97) / 10, pos the absolute place in its row.
class ModularModel final : public LanguageModel {
 public:
  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t> tokens,
                                              std::span<const Window> windows) override {
    std::vector<std::vector<float>> nll;
    for (const Window& window : windows) {
      std::vector<float>& row = nll.emplace_back();
      for (std::int64_t t = window.score_begin; t < window.score_end; ++t) {
        const std::int64_t id = tokens[static_cast<std::size_t>(t)];
        const std::int64_t position = t - window.context_begin;
        row.push_back(static_cast<float>((31 * id + 17 * position) % 97) / 10.0f);
      }
    }
    return nll;
  }
};

// The example in build-nanogpt's hellaswag.py, with the ids of GPT-2's byte-pair encoding; sums and
// means by hand in Python.
TEST(ChoiceScoreTest, ThePublishedExampleHasItsSumsAndMeans) {
  const std::vector<std::string> endings = {
      "is using wrap to wrap a pair of skis.", "is ripping level tiles off.",
      "is holding a rubik's cube.", "starts pulling up roofing on a roof."};
  const ChoiceItem item = {
      .line = 1, .context = "A man is sitting on a roof. he", .choices = endings, .label = 3};
  const TableTokenizer tokenizer(
      {{item.context, {32, 582, 318, 5586, 319, 257, 9753, 13, 339}},
       {" " + endings[0], {318, 1262, 14441, 284, 14441, 257, 5166, 286, 1341, 271, 13}},
       {" " + endings[1], {318, 34759, 1241, 19867, 572, 13}},
       {" " + endings[2], {318, 4769, 257, 6437, 1134, 338, 23441, 13}},
       {" " + endings[3], {4940, 10427, 510, 9753, 278, 319, 257, 9753, 13}}});
  ModularModel model;

  const auto questions = MakeQuestions(tokenizer, {item}, {.context_length = 1024});
  ASSERT_TRUE(questions.ok()) << questions.status().message();
  const auto sums = ScoreQuestions(model, *questions, /*tokens_per_call=*/4096);

  ASSERT_TRUE(sums.ok()) << sums.status().message();
  const double expected_sum[] = {47.4, 20.2, 35.2, 34.5};
  const double expected_mean[] = {4.309091, 3.366667, 4.4, 3.833333};
  for (std::size_t k = 0; k < 4; ++k) {
    EXPECT_NEAR(sums->nll[k], expected_sum[k], 1e-5);
    EXPECT_NEAR(sums->nll[k] / questions->n_norm[k], expected_mean[k], 1e-6);
  }
  EXPECT_EQ(MostLikely(sums->nll, {}), 1u);
  EXPECT_EQ(MostLikely(sums->nll, questions->n_norm), 1u);
  // The same sums by characters, as the harness divides: 37, 27, 26, 36.
  const double characters[] = {37, 27, 26, 36};
  EXPECT_EQ(MostLikely(sums->nll, characters), 1u);
  EXPECT_NEAR(sums->nll[3] / characters[3], 0.958333, 1e-6);
}

TEST(ChoiceScoreTest, TheLowestIndexWinsATie) {
  const double nll[] = {3, 2, 2, 4}, n_norm[] = {1, 1, 1, 2};
  EXPECT_EQ(MostLikely(nll, {}), 1u);
  EXPECT_EQ(MostLikely(nll, n_norm), 1u);
}

// ---- the evaluation ----------------------------------------------------------------------------

using MultipleChoiceTest = QuestionsTest;

constexpr const char* kTwoItems = R"({"context":"ab","choices":["cd","efghi"],"answer":0})"
                                  "\n"
                                  R"({"context":"abc","choices":["defgh","i"],"answer":0})"
                                  "\n";

// Every token costs the same, so the shorter choice is the likelier: right once. Means over tokens
// tie, and the first choice wins: right twice.
TEST_F(MultipleChoiceTest, ACoinThatKnowsNothingIsRightByLengthAlone) {
  ConstantModel model(2.0f);
  const auto output = Ask(model, kTwoItems, 64);
  ASSERT_TRUE(output.ok()) << output.status().message();
  ASSERT_EQ(output->rows.size(), 2u);
  const Json& acc = output->rows[0];
  EXPECT_EQ(acc["metric"], "acc");
  EXPECT_EQ(acc["value"], 0.5);
  EXPECT_EQ(acc["n"], 2);
  EXPECT_DOUBLE_EQ(acc["se"].get<double>(), std::sqrt(0.25 / 2));
  EXPECT_EQ(acc["protocol"], "nanogpt");
  EXPECT_EQ(acc["status"], "ok");
  const Json& norm = output->rows[1];
  EXPECT_EQ(norm["metric"], "acc_norm");
  EXPECT_EQ(norm["value"], 1.0);
  EXPECT_EQ(norm["se"], 0.0);
  // "ab efghi": 8 bytes, of which the last is not fed.
  EXPECT_EQ(norm["extra"]["longest_tokens"], 8);
  EXPECT_EQ(norm["extra"]["choices"], 4);
  ASSERT_EQ(output->artifacts.size(), 1u);
  EXPECT_EQ(output->artifacts[0].name, "choices-nanogpt-64.csv");
  EXPECT_TRUE(output->artifacts[0].bytes.starts_with(
      "line,choice,is_label,nll_sum,tokens,normalised_by\n1,0,1,6,3,3\n1,1,0,12,6,6\n"))
      << output->artifacts[0].bytes;
}

// Wilson's interval for 45 of 50 and for 0 of 20: 0.786397686..0.956524235, 0..0.161125158.
TEST_F(MultipleChoiceTest, TheRowHasWilsonsInterval) {
  const auto interval = [&](int n_right, int n) {
    std::string jsonl;
    for (int i = 0; i < n; ++i) {
      jsonl += Str(R"({"context":"a","choices":["b","cc"],"answer":)", i < n_right ? 0 : 1, "}\n");
    }
    ConstantModel model(1.0f);
    return Ask(model, jsonl, 64)->rows[0]["extra"]["wilson95"];
  };
  const Json some = interval(45, 50), none = interval(0, 20);
  EXPECT_NEAR(some[0].get<double>(), 0.786397686, 1e-9);
  EXPECT_NEAR(some[1].get<double>(), 0.956524235, 1e-9);
  EXPECT_EQ(none[0], 0);
  EXPECT_NEAR(none[1].get<double>(), 0.161125158, 1e-9);
}

TEST_F(MultipleChoiceTest, AContextThatIsTooLongLosesItsBeginning) {
  ToyModel model;
  const auto output =
      Ask(model, R"({"context":"0123456789","choices":["ab","cde"],"answer":0})", 6);
  ASSERT_TRUE(output.ok()) << output.status().message();
  EXPECT_EQ(output->rows[0]["extra"]["choices_cut"], 2);
  EXPECT_EQ(output->rows[0]["se"], nullptr);
  for (const Window& window : model.windows_seen()) {
    EXPECT_EQ(window.score_end - 1 - window.context_begin, 6);
    EXPECT_FALSE(window.bos);
  }
}

// "b x\n\na" and "a x\n\nb" are fed with the choices behind them;
// the row says how many shots there were.
TEST_F(MultipleChoiceTest, ShotsAreFedAndNamedInTheRow) {
  const std::string jsonl = R"({"context":"a","choices":["x","yy"],"answer":0})"
                            "\n"
                            R"({"context":"b","choices":["x","yy"],"answer":0})"
                            "\n";
  ConstantModel model(1.0f);
  const auto none = Ask(model, jsonl, 64), one = Ask(model, jsonl, 64, {{"shots", 1}});
  ASSERT_TRUE(one.ok()) << one.status().message();
  EXPECT_EQ(none->rows[0]["extra"]["longest_tokens"], 3);  // "a yy" but the last
  EXPECT_EQ(one->rows[0]["extra"]["longest_tokens"], 8);   // "b x\n\n" before it
  EXPECT_FALSE(none->rows[0]["extra"]["params"].contains("shots"));
  EXPECT_EQ(one->rows[0]["extra"]["params"]["shots"], 1);
  EXPECT_EQ(one->rows[0]["extra"]["params"]["shots_seed"], 1234);
  const auto two = Ask(model, jsonl, 64, {{"shots", 2}});
  EXPECT_EQ(two.status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(two.status().message().ends_with(
      ": 2 shots need as many other questions, but the file has 1"))
      << two.status().message();
}

// Gives every token the same NLL, and keeps how many contexts, tokens of contexts and tokens of
// choices each call had.
class BranchCountingModel final : public LanguageModel {
 public:
  struct Call {
    std::size_t contexts = 0, context_tokens = 0, choices = 0;

    bool operator==(const Call&) const = default;
  };

  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window>) override {
    return Status(Code::kInternal, "each context is to be read once");
  }

  Result<BranchNlls> BranchNll(std::span<const Branches> branches) override {
    Call call;
    BranchNlls nll;
    for (const Branches& from : branches) {
      call.contexts += 1;
      call.context_tokens += from.context.size();
      call.choices += from.continuations.size();
      std::vector<std::vector<float>>& of_context = nll.emplace_back();
      for (const auto& continuation : from.continuations) {
        of_context.emplace_back(continuation.size(), 1.0f);
      }
    }
    calls.push_back(call);
    return nll;
  }

  std::vector<Call> calls;
};

TEST(KeysHeldTest, AContextAndItsChoicesHaveTheirOwn) {
  EXPECT_EQ(EvaluationKeysHeld({{"multiple_choice", Json::object()}}), 2);
  EXPECT_EQ(EvaluationKeysHeld({{"passkey", Json::object()}}), 1);
  EXPECT_EQ(EvaluationKeysHeld({{"throughput", Json::object()}}), 0);
  EXPECT_EQ(EvaluationKeysHeld({{"of a later release", Json::object()}}), 0);
}

// With one token for each byte, choices have one more: the space before them.
TEST_F(MultipleChoiceTest, ChoicesOfOneContextAreGivenTogetherAndContextsOfOneLengthToo) {
  BranchCountingModel model;
  const auto output = Ask(model,
                          R"({"context":"long context","choices":["a","bc","d"],"answer":0})"
                          "\n"
                          R"({"context":"one","choices":["a","b"],"answer":0})"
                          "\n"
                          R"({"context":"two","choices":["a","bcd"],"answer":1})"
                          "\n"
                          R"({"context":"six","choices":["a","b"],"answer":0})"
                          "\n",
                          /*context_length=*/12, Json::object(), /*windows_per_call=*/2);
  ASSERT_TRUE(output.ok()) << output.status().message();
  // Of 24 tokens, "one" and "six" take 4 times 3 + 1; with "two" they would take 6 times 3 + 3. The
  // long context loses more of its beginning for "bc" than for the others.
  const std::vector<BranchCountingModel::Call> expected = {
      {.contexts = 2, .context_tokens = 6, .choices = 4},
      {.contexts = 1, .context_tokens = 3, .choices = 2},
      {.contexts = 1, .context_tokens = 10, .choices = 1},
      {.contexts = 2, .context_tokens = 22, .choices = 2},
  };
  EXPECT_EQ(model.calls.size(), expected.size());
  for (std::size_t c = 0; c < std::min(model.calls.size(), expected.size()); ++c) {
    EXPECT_EQ(model.calls[c], expected[c])
        << "call " << c << ": " << model.calls[c].contexts << " " << model.calls[c].context_tokens
        << " " << model.calls[c].choices;
  }
  // The sums are each choice's own, whatever the order of the calls.
  EXPECT_EQ(output->rows[0]["value"], 0.75);
  EXPECT_EQ(output->rows[1]["extra"]["right"], 3);
}

TEST_F(MultipleChoiceTest, AContextWithoutTextBeginsWithTheBeginOfText) {
  for (const char* const protocol : {"nanogpt", "lm_eval"}) {
    ToyModel model;
    const auto output = Ask(model, R"({"context":"","choices":["ab","cde"],"answer":0})", 6,
                            {{"protocol", protocol}});
    ASSERT_TRUE(output.ok()) << output.status().message();
    ASSERT_EQ(model.windows_seen().size(), 2u);
    for (const Window& window : model.windows_seen()) {
      EXPECT_TRUE(window.bos);
      EXPECT_EQ(window.score_begin, window.context_begin);
    }
  }
}

TEST_F(MultipleChoiceTest, WhatDoesNotFitIsARowWithAReasonAndNoNumber) {
  ConstantModel model(1.0f);
  const auto longer = Ask(model, R"({"context":"a","choices":["b","cdefgh"],"answer":0})", 6);
  ASSERT_TRUE(longer.ok()) << longer.status().message();
  for (const Json& row : longer->rows) {
    EXPECT_EQ(row["status"], "not_applicable");
    EXPECT_EQ(row["value"], nullptr);
    EXPECT_EQ(row["extra"]["reason"],
              "line 1: choice 1 has 7 tokens, but the context length is only 6");
  }
  FailingModel past_its_table(Code::kOutOfRange), too_large(Code::kResourceExhausted);
  EXPECT_EQ(Ask(past_its_table, kTwoItems, 64)->rows[1]["status"], "not_applicable");
  EXPECT_EQ(Ask(too_large, kTwoItems, 64)->rows[0]["status"], "out_of_memory");
  ConstantModel broken(std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(Ask(broken, kTwoItems, 64)->rows[0]["status"], "non_finite");
}

TEST_F(MultipleChoiceTest, TheFileKeptMustHaveTheContentOfItsName) {
  ConstantModel model(1.0f);
  ASSERT_TRUE(Ask(model, kTwoItems, 64).ok());
  const InputFile file = ReadInputFile(JoinPath(folder_.path(), "q.jsonl")).value();
  const std::string kept = JoinPath(folder_.path(), file.id.substr(7));
  ASSERT_TRUE(WriteFileAtomic(kept, "{}\n").ok());
  const Result<InputFile> damaged = ReadKeptFile(file.id, folder_.path());
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(damaged.status().code(), Code::kDataLoss);
  // Kept again, it is whole again.
  ASSERT_TRUE(KeepInputFile(file, folder_.path()).ok());
  EXPECT_TRUE(ReadKeptFile(file.id, folder_.path()).ok());
  ASSERT_TRUE(RemoveAll(kept).ok());
  EXPECT_EQ(ReadKeptFile(file.id, folder_.path()).status().code(), Code::kNotFound);
  EXPECT_FALSE(ReadInputFile(folder_.path()).ok());
}

}  // namespace
}  // namespace longrun
