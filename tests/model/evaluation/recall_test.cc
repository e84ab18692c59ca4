// The evaluations that ask a model for a hidden key, with models that know the answer, or never do.
#include "model/evaluation/recall.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/str.h"
#include "base/wilson.h"
#include "model/data/synthetic/passkey_prompt.h"
#include "model/data/tokenizer/bpe_training.h"
#include "model/data/tokenizer/tiktoken.h"
#include "model/data/tokenizer_file.h"
#include "model/evaluation/corpus_passkey.h"
#include "model/evaluation/needle.h"
#include "model/evaluation/passkey.h"

namespace longrun {
namespace {

// ---- prompts -----------------------------------------------------------------------------------

std::string ShortHash(const std::string& text) { return Sha256Hex(text).substr(0, 16); }

// The hashes are those of the authors' prompts, made by their formulas in Python.
TEST(PasskeyPromptTest, IsTheAuthorsToTheLetter) {
  struct Case {
    std::int64_t length, n;
    std::size_t characters;
    std::string_view hash;
  };
  for (const auto& [length, n, characters, hash] : {Case{512, 17, 1760, "b5725542ca9e54f8"},
                                                    {1024, 38, 3629, "a71677e8a3783053"},
                                                    {2048, 79, 7278, "13eb58ec380764e0"},
                                                    {4096, 161, 14576, "7604d9513c364138"},
                                                    {16384, 652, 58275, "27e36ffdca5bdc4c"},
                                                    {32768, 1307, 116570, "c5626aa10505ba46"}}) {
    EXPECT_EQ(PoseRepetitions(length), n);
    const std::string prompt = PosePrompt(n / 2, n - n / 2, 12345);
    EXPECT_EQ(prompt.size(), characters);
    EXPECT_EQ(ShortHash(prompt), hash) << length;
  }
  for (const auto& [_, n, characters, hash] : {Case{0, 0, 247, "711d76060bd2b500"},
                                               {0, 100, 347, "f42e5951936dd064"},
                                               {0, 500, 747, "ea7dd9883037e145"},
                                               {0, 1000, 1247, "781c6d8ba7490402"},
                                               {0, 5000, 5247, "9fde331f0a868f3a"},
                                               {0, 10000, 10247, "6f2031d8d4968e49"},
                                               {0, 38000, 38247, "268551899c70700b"}}) {
    const std::string prompt = LandmarkPrompt(n / 2, n - n / 2, 12345);
    EXPECT_EQ(prompt.size(), characters);
    EXPECT_EQ(ShortHash(prompt), hash) << n;
  }
  EXPECT_EQ(PoseRepetitions(68), -1);
  EXPECT_EQ(PoseRepetitions(69), 0);
  EXPECT_EQ(PoseRepetitions(94), 1);
  const std::int64_t kThousands[] = {1, 5, 9, 13, 17, 21, 25, 29};
  const std::int64_t kCharacters[] = {3072, 18432, 32768, 48128, 63488, 77824, 93184, 108544};
  for (std::size_t i = 0; i < std::size(kThousands); ++i) {
    EXPECT_EQ(GaliCharacters(1000 * kThousands[i]), kCharacters[i]);
  }
}

TEST(PasskeyPromptTest, TheFirstNumberIsReadAsAnInteger) {
  EXPECT_TRUE(FirstNumberIs(" 12345. Remember", 12345));
  EXPECT_TRUE(FirstNumberIs("key 0077!", 77));
  EXPECT_TRUE(FirstNumberIs("7", 7));
  EXPECT_FALSE(FirstNumberIs("7 12345", 12345));
  EXPECT_FALSE(FirstNumberIs("123456", 12345));
  EXPECT_FALSE(FirstNumberIs("1234", 12345));
  EXPECT_FALSE(FirstNumberIs("", 12345));
  EXPECT_FALSE(FirstNumberIs("none", 12345));
  EXPECT_FALSE(FirstNumberIs("18446744073709563961", 12345));  // 2^64 + 12345
  EXPECT_FALSE(FirstNumberIs("0", 12345));
}

// ---- models ------------------------------------------------------------------------------------

// Writes what a function says, one byte a token.
class WritingModel final : public LanguageModel {
 public:
  using Answer = std::string (*)(std::string_view prompt);
  explicit WritingModel(Answer answer) : answer_(answer) {}

  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window>) override {
    return Status(Code::kUnimplemented, "no likelihoods");
  }
  Result<std::vector<std::vector<std::int32_t>>> Continue(
      std::span<const Prompt> prompts) override {
    calls_.push_back(prompts.size());
    std::vector<std::vector<std::int32_t>> answers;
    for (const Prompt& prompt : prompts) {
      prompts_.push_back(prompt);
      std::string text;
      for (const std::int32_t id : prompt.tokens) {
        if (id < 256) text.push_back(static_cast<char>(id));
      }
      std::string answer = answer_(text);
      answer.resize(static_cast<std::size_t>(prompt.new_tokens), ' ');
      std::vector<std::int32_t>& ids = answers.emplace_back();
      for (const char c : answer) ids.push_back(static_cast<unsigned char>(c));
    }
    return answers;
  }

  const std::vector<Prompt>& prompts() const { return prompts_; }
  const std::vector<std::size_t>& calls() const { return calls_; }

 private:
  Answer answer_;
  std::vector<Prompt> prompts_;
  std::vector<std::size_t> calls_;
};

std::string FindsDigits(std::string_view prompt) {
  const std::size_t begin = prompt.find_first_of("0123456789");
  const std::size_t end = prompt.find_first_not_of("0123456789", begin);
  return Str(" ", prompt.substr(begin, end - begin), ".");
}

std::string WritesSeven(std::string_view) { return "7"; }

// The token model: `|The passkey is:` K `|` ... `|What is the passkey? The passkey is` and, after
// the first tokens of the answer, the rest of it.
std::string FindsStatement(std::string_view prompt) {
  constexpr std::string_view kSays = "|The passkey is:", kAsks = "The passkey is";
  const std::size_t key = prompt.find(kSays) + kSays.size();
  const std::size_t asked = prompt.rfind(kAsks) + kAsks.size();
  return std::string(prompt.substr(key + (prompt.size() - asked), 64));
}

class NoWriter final : public LanguageModel {
 public:
  explicit NoWriter(Code code) : code_(code) {}
  Result<std::vector<std::vector<float>>> Nll(std::span<const std::int32_t>,
                                              std::span<const Window>) override {
    return Status(code_, "told to fail");
  }
  Result<std::vector<std::vector<std::int32_t>>> Continue(std::span<const Prompt>) override {
    return Status(code_, "told to fail");
  }

 private:
  Code code_;
};

// ---- evaluations -------------------------------------------------------------------------------

class RecallTest : public testing::Test {
 protected:
  void SetUp() override { Import("bytes"); }

  void Import(const std::string& tokenizer_name) {
    SeededRandom random(7);
    std::string text;
    // Without digits and bars, so that the models above find what was inserted.
    for (int i = 0; i < 5000; ++i) text.push_back(static_cast<char>('a' + random.Below(26)));
    const std::string train = JoinPath(folder_.path(), "train.txt");
    const std::string validation = JoinPath(folder_.path(), "validation.txt");
    ASSERT_TRUE(WriteFileAtomic(train, "some text").ok());
    ASSERT_TRUE(WriteFileAtomic(validation, text).ok());
    data_ = Str("data", n_imported_++);
    ASSERT_TRUE(ImportText({.tokenizer = tokenizer_name,
                            .splits = {{"train", {train}}, {"validation", {validation}}}},
                           Data())
                    .ok());
    dataset_.emplace(Dataset::Open(Data()).value());
    tokenizer_ = OpenTokenizerOf(Data()).value();
  }

  std::string Data() const { return JoinPath(folder_.path(), data_); }
  std::string Path(const std::string& name) const { return JoinPath(folder_.path(), name); }
  const Dataset& dataset() const { return *dataset_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

  Result<EvaluationOutput> Run(const Evaluation& evaluation, LanguageModel& model,
                               std::int64_t context_length, Json params,
                               std::int64_t windows_per_call = 4) {
    return evaluation.run(model,
                          {.dataset = &*dataset_,
                           .params = std::move(params),
                           .context_length = context_length,
                           .windows_per_call = windows_per_call,
                           .dataset_folder = Data()},
                          {});
  }

 private:
  TempFolder folder_;
  std::string data_;
  int n_imported_ = 0;
  std::optional<Dataset> dataset_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

std::vector<Json> Lines(const std::string& bytes) {
  std::vector<Json> lines;
  for (const std::string& line : Split(bytes, '\n')) {
    if (!line.empty()) lines.push_back(ParseJson(line).value());
  }
  return lines;
}

TEST_F(RecallTest, AModelThatFindsTheKeyHasAllAndOneThatDoesNotHasNone) {
  for (const char* protocol : {"pose", "fitted", "landmark", "gali"}) {
    WritingModel finds(&FindsDigits), guesses(&WritesSeven);
    const Json params = {{"protocol", protocol}, {"trials", 20}};
    const auto all = Run(PasskeyEvaluation(), finds, 1024, params);
    const auto none = Run(PasskeyEvaluation(), guesses, 1024, params);
    ASSERT_TRUE(all.ok() && none.ok()) << all.status().message() << none.status().message();
    ASSERT_EQ(all->rows.size(), 1U);
    const Json& row = all->rows[0];
    EXPECT_EQ(row["metric"], "recall");
    EXPECT_EQ(row["protocol"], protocol);
    EXPECT_EQ(row["value"], 1.0) << protocol;
    EXPECT_EQ(row["n"], 20);
    EXPECT_EQ(none->rows[0]["value"], 0.0) << protocol;
    EXPECT_NEAR(row["extra"]["wilson95"][0].get<double>(), 0.838874842, 1e-9);
    EXPECT_NEAR(none->rows[0]["extra"]["wilson95"][1].get<double>(), 0.161125158, 1e-9);
    // Each answer is kept, with what was asked.
    ASSERT_EQ(all->artifacts.size(), 1U);
    EXPECT_EQ(all->artifacts[0].name, Str("passkey-", protocol, "-recall-1024.jsonl"));
    const std::vector<Json> lines = Lines(all->artifacts[0].bytes);
    ASSERT_EQ(lines.size(), 20U);
    std::set<std::int64_t> keys, before;
    for (const Json& line : lines) {
      keys.insert(line["key"].get<std::int64_t>());
      before.insert(line["before"].get<std::int64_t>());
      EXPECT_LE(line["before"], line["filler"]);
      EXPECT_EQ(line["score"], 1);
      EXPECT_EQ(line["reference"], line["key"].dump());
      EXPECT_NE(line["prediction"].get<std::string>().find(line["key"].dump()), std::string::npos);
    }
    EXPECT_GE(keys.size(), 19U);
    EXPECT_GE(*keys.begin(), 1);
    EXPECT_LE(*keys.rbegin(), 50'000);
    EXPECT_GE(before.size(), 4U);
  }
}

// Numbers of characters in the experiment of Landmark Attention's authors (llama/run_test.py).
TEST_F(RecallTest, LandmarkPromptsHaveAsManyCharactersOfFillerAsAreGiven) {
  for (const std::int64_t n : {0, 100, 500, 1000, 5000, 8000, 38000}) {
    const std::int64_t length = n + 300;
    WritingModel model(&FindsDigits);
    const auto output = Run(PasskeyEvaluation(), model, length,
                            {{"protocol", "landmark"}, {"trials", 5}, {"filler_characters", n}});
    ASSERT_TRUE(output.ok()) << output.status().message();
    EXPECT_EQ(output->rows[0]["value"], 1.0);
    EXPECT_EQ(output->rows[0]["extra"]["params"]["filler_characters"], n);
    for (const Json& line : Lines(output->artifacts[0].bytes)) {
      const auto key = line["key"].get<std::int64_t>();
      const auto before = line["before"].get<std::int64_t>();
      EXPECT_EQ(line["filler"], n);
      const std::string prompt = LandmarkPrompt(before, n - before, key);
      // A begin-of-text token, and one for each byte.
      EXPECT_EQ(line["prompt_tokens"], prompt.size() + 1);
      // 247 characters without filler, with a key of five digits (PasskeyPromptTest).
      EXPECT_EQ(prompt.size(), 247 + n - 2 * (5 - std::ssize(Str(key))));
    }
  }
}

TEST_F(RecallTest, AGivenFillerMustFitIntoTheContextLength) {
  WritingModel model(&FindsDigits);
  const Json params = {{"protocol", "landmark"}, {"trials", 5}, {"filler_characters", 1000}};
  const auto output = Run(PasskeyEvaluation(), model, 1024, params);
  ASSERT_TRUE(output.ok()) << output.status().message();
  EXPECT_EQ(output->rows[0]["status"], "not_applicable");
  const std::string why = output->rows[0]["extra"]["reason"];
  EXPECT_NE(why.find("with filler_characters 1000 it has "), std::string::npos) << why;
  // Without the parameter, resolved parameters and so the keys of cells are what they were.
  const Json resolved = ResolveParams(PasskeyEvaluation().params,
                                      {{"context_lengths", {64}}, {"protocol", "landmark"}}, "")
                            .value();
  EXPECT_FALSE(resolved.contains("filler_characters"));
  const auto other = ResolveParams(
      PasskeyEvaluation().params,
      {{"context_lengths", {64}}, {"protocol", "gali"}, {"filler_characters", 100}}, "passkey");
  EXPECT_NE(other.status().message().find("filler_characters"), std::string::npos);
}

// A forecast counts the prompts in short ones, and must find the length of those that are asked.
class LongestPromptTest : public RecallTest {
 protected:
  void ExpectSame(const Evaluation& evaluation, std::int64_t length, const Json& given) {
    WritingModel model(&WritesSeven);
    const auto output = Run(evaluation, model, length, given);
    ASSERT_TRUE(output.ok()) << output.status().message();
    Json all = given;
    all["context_lengths"] = {length};
    const Json params = ResolveParams(evaluation.params, all, "").value();
    EXPECT_EQ(evaluation.longest_prompt(tokenizer(), dataset().bos_id(), params, length),
              output->rows[0]["extra"]["longest_prompt"].get<std::int64_t>())
        << length << " " << given;
  }
  void ExpectAll() {
    for (const std::int64_t length : {69, 300, 2000, 9000}) {
      ExpectSame(PasskeyEvaluation(), length, {{"protocol", "pose"}, {"trials", 8}});
      ExpectSame(PasskeyEvaluation(), length,
                 {{"protocol", "landmark"}, {"trials", 8}, {"bos", false}});
      ExpectSame(PasskeyEvaluation(), length,
                 {{"protocol", "gali"}, {"trials", 8}, {"wrap", "[INST]{prompt}[/INST]"}});
      ExpectSame(NeedleEvaluation(), length, {{"depths", 3}, {"trials", 4}});
    }
    ExpectSame(PasskeyEvaluation(), 9000,
               {{"protocol", "landmark"}, {"trials", 8}, {"filler_characters", 1000}});
  }
};

TEST_F(LongestPromptTest, IsKnownWithoutMakingIt) { ExpectAll(); }

TEST_F(LongestPromptTest, IsKnownInTokensOfManyBytes) {
  const std::string folder = JoinPath(LONGRUN_SOURCE_DIR, ".data/tokenizers");
  if (!PathExists(JoinPath(folder, "gpt2.tiktoken"))) {
    GTEST_SKIP() << "GPT-2's vocabulary is not here: ./dev vocab";
  }
  ::setenv("LONGRUN_TOKENIZERS", folder.c_str(), 1);
  Import("gpt2");
  ExpectAll();
}

// 357 repetitions of 89 bytes for 9000 tokens, and what is beside them.
TEST_F(RecallTest, APromptOfPoseIsLongerThanItsContextLengthInBytes) {
  const Json params =
      ResolveParams(PasskeyEvaluation().params, {{"context_lengths", {9000}}}, "").value();
  const std::int64_t longest =
      PasskeyEvaluation().longest_prompt(tokenizer(), dataset().bos_id(), params, 9000);
  const std::string prompt = PosePrompt(357, 0, 12345);
  EXPECT_EQ(longest, std::ssize(prompt) + 1);
  for (const char* protocol : {"fitted", "drt"}) {
    const Json fitted = ResolveParams(PasskeyEvaluation().params,
                                      {{"context_lengths", {9024}}, {"protocol", protocol}}, "")
                            .value();
    EXPECT_EQ(PasskeyEvaluation().longest_prompt(tokenizer(), dataset().bos_id(), fitted, 9024), 0);
  }
}

// Finds keys whose last digit is even.
std::string FindsHalf(std::string_view prompt) {
  const std::string key = FindsDigits(prompt);
  const std::size_t last = key.find_last_of("0123456789");
  return last != std::string::npos && (key[last] - '0') % 2 == 0 ? key : "7";
}

// In the order of the lines, and of each depth its own.
TEST_F(RecallTest, ARowSaysWhichAnswersAreRight) {
  WritingModel model(&FindsHalf);
  const auto output =
      Run(NeedleEvaluation(), model, 2048, {{"depths", 2}, {"trials", 20}, {"new_tokens", 10}});
  ASSERT_TRUE(output.ok()) << output.status().message();
  std::string scores;
  for (const Json& line : Lines(output->artifacts[0].bytes)) scores += line["score"].dump();
  ASSERT_EQ(scores.size(), 40U);
  EXPECT_NE(scores.find('0'), std::string::npos);
  EXPECT_NE(scores.find('1'), std::string::npos);
  ASSERT_EQ(output->rows.size(), 3U);
  EXPECT_EQ(output->rows[0]["extra"]["scores"], scores);
  EXPECT_EQ(output->rows[1]["extra"]["scores"], scores.substr(0, 20));
  EXPECT_EQ(output->rows[2]["extra"]["scores"], scores.substr(20));

  // A long list is only in the artifact.
  const auto many = Run(PasskeyEvaluation(), model, 69, {{"trials", 1025}});
  ASSERT_TRUE(many.ok()) << many.status().message();
  EXPECT_FALSE(many->rows[0]["extra"].contains("scores"));
}

TEST_F(RecallTest, FittedPromptsFillTheContextLengthAndNoMore) {
  WritingModel model(&FindsDigits);
  for (const std::int64_t length : {300, 347, 1024, 4096}) {
    const auto output =
        Run(PasskeyEvaluation(), model, length, {{"protocol", "fitted"}, {"trials", 8}});
    ASSERT_TRUE(output.ok()) << output.status().message();
    EXPECT_EQ(output->rows[0]["status"], "ok");
  }
  for (const Prompt& prompt : model.prompts()) {
    const auto n = static_cast<std::int64_t>(prompt.tokens.size()) + prompt.new_tokens;
    const std::int64_t length = n <= 300 ? 300 : n <= 347 ? 347 : n <= 1024 ? 1024 : 4096;
    EXPECT_LE(n, length);
    EXPECT_GT(n + 89, length);  // one repetition more does not fit
  }
  const auto too_short = Run(PasskeyEvaluation(), model, 200, {{"protocol", "fitted"}});
  ASSERT_TRUE(too_short.ok());
  EXPECT_EQ(too_short->rows[0]["status"], "not_applicable");
  EXPECT_EQ(too_short->rows[0]["value"], Json());
}

// With a trained vocabulary, where a key stands changes how its neighbours are cut into tokens.
TEST_F(RecallTest, FittedPromptsFitWithAnyVocabulary) {
  BpeTraining training;
  training.Add(LandmarkPrompt(2000, 2000, 123));
  for (int key = 1; key < 500'000; key += 997) training.Add(Str(" ", key, "."));
  const std::vector<std::string> bytes = training.Train(420).value();
  std::vector<RankedBytes> tokens;
  for (const std::string& token : bytes) {
    tokens.push_back({.rank = static_cast<std::uint32_t>(tokens.size()), .bytes = token});
  }
  ASSERT_TRUE(WriteFileAtomic(Path("small.tiktoken"), TiktokenText(tokens)).ok());
  Import(Path("small.tiktoken"));
  for (const std::int64_t length : {256, 400, 700}) {
    WritingModel model(&WritesSeven);
    ASSERT_TRUE(
        Run(PasskeyEvaluation(), model, length, {{"protocol", "fitted"}, {"trials", 30}}).ok());
    ASSERT_TRUE(Run(NeedleEvaluation(), model, length,
                    {{"depths", 5}, {"trials", 10}, {"filler", "fitted"}, {"new_tokens", 10}})
                    .ok());
    ASSERT_EQ(model.prompts().size(), 80U);
    std::int64_t longest = 0;
    for (const Prompt& prompt : model.prompts()) {
      longest = std::max(longest, std::ssize(prompt.tokens) + prompt.new_tokens);
    }
    EXPECT_LE(longest, length);
    EXPECT_GT(longest, length - 20);
  }
}

// The keys of a depth stay if there are more trials.
TEST_F(RecallTest, NeedlesDependOnTheirNumberAndSeedOnly) {
  const auto keys = [&](std::int64_t trials) {
    WritingModel model(&WritesSeven);
    const auto output = Run(NeedleEvaluation(), model, 1024, {{"depths", 2}, {"trials", trials}});
    std::map<double, std::vector<Json>> of_depth;
    for (const Json& line : Lines(output.value().artifacts[0].bytes)) {
      of_depth[line["depth"].get<double>()].push_back(line["key"]);
    }
    return of_depth;
  };
  const auto few = keys(3), many = keys(7);
  for (const auto& [depth, of_few] : few) {
    EXPECT_TRUE(std::ranges::equal(of_few, std::span(many.at(depth)).first(3)));
  }
}

// What a model is asked depends on neither the size of a call nor other trials.
TEST_F(RecallTest, QuestionsDependOnTheirNumberAndSeedOnly) {
  const auto keys = [&](std::int64_t trials, std::uint64_t seed, std::int64_t per_call) {
    WritingModel model(&FindsDigits);
    const auto output = Run(PasskeyEvaluation(), model, 512,
                            {{"protocol", "fitted"}, {"trials", trials}, {"seed", seed}}, per_call);
    std::vector<std::string> hashes;
    for (const Json& line : Lines(output.value().artifacts[0].bytes)) {
      hashes.push_back(line["prompt_sha256"]);
    }
    return hashes;
  };
  const std::vector<std::string> many = keys(12, 1, 4), few = keys(5, 1, 1);
  EXPECT_TRUE(std::ranges::equal(few, std::span(many).first(5)));
  EXPECT_NE(keys(12, 2, 4), many);
  EXPECT_EQ(keys(12, 1, 100), many);
}

TEST_F(RecallTest, PromptsOfOneLengthAreAskedTogether) {
  WritingModel model(&FindsDigits);
  ASSERT_TRUE(
      Run(PasskeyEvaluation(), model, 1024, {{"protocol", "fitted"}, {"trials", 50}}, 8).ok());
  // A call has 8 * 1024 tokens.
  EXPECT_EQ(model.calls().size(), 7U);
  EXPECT_TRUE(std::ranges::is_sorted(model.prompts(), {},
                                     [](const Prompt& prompt) { return prompt.tokens.size(); }));
}

TEST_F(RecallTest, ATextOfTheDatasetHidesTokens) {
  for (const char* at : {"last_chunk", "end"}) {
    WritingModel finds(&FindsStatement), guesses(&WritesSeven);
    const Json params = {
        {"protocol", "drt"}, {"trials", 100}, {"answer_at", at}, {"key_tokens", 4}};
    const auto all = Run(PasskeyEvaluation(), finds, 512, params);
    const auto none = Run(PasskeyEvaluation(), guesses, 512, params);
    ASSERT_TRUE(all.ok() && none.ok()) << all.status().message();
    ASSERT_EQ(all->rows.size(), 2U);
    for (std::size_t r = 0; r < 2; ++r) {
      EXPECT_EQ(all->rows[r]["metric"], r == 0 ? "recall" : "exact");
      EXPECT_EQ(all->rows[r]["value"], 1.0) << at << r;
      EXPECT_EQ(all->rows[r]["n"], 9);  // 5000 tokens have 9 texts of 512
      EXPECT_LE(none->rows[r]["value"], 0.12);
    }
  }
}

TEST_F(RecallTest, ATextHasItsStatementsBeforeTheQuestionAndTheAnswerInItsPlace) {
  using Kind = CorpusPasskeyRules::Kind;
  const std::vector<std::int32_t> ids = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9'};
  SeededRandom random(3);
  for (int i = 0; i < 600; ++i) {
    const Kind kind = i % 3 == 0 ? Kind::kSingle : i % 3 == 1 ? Kind::kMultihop : Kind::kMulti;
    const CorpusPasskeyRules rules = {.kind = kind,
                                      .key_tokens = 5,
                                      .chunk = 64,
                                      .in_last_chunk = i % 2 == 0,
                                      .seed = static_cast<std::uint64_t>(i)};
    const std::vector<std::int32_t> text(576, '.');
    ASSERT_EQ(WhyTooShort(rules, tokenizer(), 576), "");
    const CorpusPasskey made = MakeCorpusPasskey(rules, tokenizer(), ids, text, i);
    const std::string shown = tokenizer().Decode(made.tokens).value();
    const std::string answer = shown.substr(static_cast<std::size_t>(made.answer_begin));
    const std::int64_t n = kind == Kind::kMultihop ? 11 : 5;
    EXPECT_EQ(static_cast<std::int64_t>(answer.size()), n);
    EXPECT_EQ(made.answer_begin, rules.in_last_chunk ? 576 - 63 : 576 - n);
    const bool asks_first = kind == Kind::kSingle && rules.in_last_chunk;
    EXPECT_EQ(made.scored, asks_first ? made.answer_begin : made.answer_begin + n - 1);
    const auto count = [&](std::string_view word) {
      std::int64_t found = 0;
      for (std::size_t at = shown.find(word); at != std::string::npos;
           at = shown.find(word, at + 1)) {
        found += 1;
      }
      return found;
    };
    const auto says = [&](const std::string& statement) {
      return shown.find(statement) == static_cast<std::size_t>(made.statement_begin[0]);
    };
    if (kind == Kind::kSingle) {
      EXPECT_TRUE(says(Str("|The passkey is:", answer, "|"))) << shown;
      EXPECT_EQ(count("|The passkey is:"), 1);
      EXPECT_NE(shown.find(Str("|What is the passkey? The passkey is", answer)), std::string::npos);
      EXPECT_LT(made.statement_begin[0], 576 - 2 * 64 - 12);
    } else if (kind == Kind::kMultihop) {
      const std::size_t asked = shown.rfind("|The path from") + 14;
      const std::string start = shown.substr(asked, 5);
      EXPECT_EQ(shown.substr(asked + 5, 2), "is");
      EXPECT_TRUE(says(Str("|DEF", start, "->", answer.substr(0, 5), "|"))) << shown;
      EXPECT_NE(shown.find(Str("|DEF", answer.substr(0, 5), "->", answer.substr(6), "|")),
                std::string::npos);
      EXPECT_EQ(answer[5], ',');
      EXPECT_EQ(count("|DEF"), 4);
    } else {
      const std::size_t asked = shown.rfind("|The value of ") + 14;
      const std::string name = shown.substr(asked, 5);
      EXPECT_TRUE(says(Str("|One of the special magic numbers for ", name, " is ", answer, "|")))
          << shown;
      EXPECT_EQ(count("magic numbers"), 6);
    }
  }
}

// The ids are those that DRT's authors get from GPT-2's tokenizer (data_loader_utils.py), each
// string by itself; K stands for a key.
TEST_F(RecallTest, Gpt2WritesTheAuthorsIds) {
  const std::string folder = JoinPath(LONGRUN_SOURCE_DIR, ".data/tokenizers");
  if (!PathExists(JoinPath(folder, "gpt2.tiktoken"))) {
    GTEST_SKIP() << "GPT-2's vocabulary is not here: ./dev vocab";
  }
  ::setenv("LONGRUN_TOKENIZERS", folder.c_str(), 1);
  const auto gpt2 = MakeTokenizer("gpt2").value();
  using Kind = CorpusPasskeyRules::Kind;
  using Tokens = std::vector<std::int32_t>;
  constexpr std::int32_t K = 50'000, kText = 13;
  struct Case {
    Kind kind;
    Tokens statement, question, answer;
  };
  const Case cases[] = {
      {Kind::kSingle,
       {91, 464, 1208, 2539, 318, 25, K, K, K, K, K, 91},
       {91, 2061, 318, 262, 1208, 2539, 30, 383, 1208, 2539, 318},
       {K, K, K, K, K}},
      {Kind::kMultihop,
       {91, 32988, K, K, K, K, K, 3784, K, K, K, K, K, 91},
       {91, 464, 3108, 422, K, K, K, K, K, 271},
       {K, K, K, K, K, 11, K, K, K, K, K}},
      {Kind::kMulti,
       {91, 3198, 286, 262, 2041, 5536, 3146, 329, 220, K, K, K, K, K, 318, 220, K, K, K, K, K, 91},
       {91, 464, 1988, 286, 220, K, K, K, K, K, 271},
       {K, K, K, K, K}}};
  for (const auto& [kind, statement, question, answer] : cases) {
    const CorpusPasskeyRules rules = {.kind = kind};
    const Tokens text(512, kText), keys = {K};
    ASSERT_EQ(WhyTooShort(rules, *gpt2, 512), "");
    const CorpusPasskey made = MakeCorpusPasskey(rules, *gpt2, keys, text, 0);
    const auto part = [&made](std::int64_t begin, std::size_t n) {
      const auto first = made.tokens.begin() + begin;
      return Tokens(first, first + static_cast<std::ptrdiff_t>(n));
    };
    EXPECT_EQ(made.statement_begin.size(), kind == Kind::kSingle     ? 1U
                                           : kind == Kind::kMultihop ? 4U
                                                                     : 6U);
    for (const std::int64_t begin : made.statement_begin) {
      EXPECT_EQ(part(begin, statement.size()), statement);
    }
    EXPECT_EQ(part(made.answer_begin - std::ssize(question), question.size()), question);
    EXPECT_EQ(part(made.answer_begin, answer.size()), answer);
    // T - 63, T - 53 and T - 59.
    EXPECT_EQ(made.scored, 512 - (kind == Kind::kSingle ? 63 : kind == Kind::kMultihop ? 53 : 59));
  }
}

TEST_F(RecallTest, StatementsStandAnywhereInTheText) {
  const CorpusPasskeyRules rules = {.chunk = 64, .seed = 5};
  const std::vector<std::int32_t> text(1024, '.');
  std::set<std::int64_t> eighths;
  for (std::int64_t i = 0; i < 200; ++i) {
    const std::vector<std::int32_t> ids = {'0', '1'};
    eighths.insert(MakeCorpusPasskey(rules, tokenizer(), ids, text, i).statement_begin[0] /
                   (1024 / 8));
  }
  EXPECT_EQ(eighths.size(), 7U);  // the last one holds the question and the reserve before it
}

TEST_F(RecallTest, ATextThatIsTooShortSaysHowLongItMustBe) {
  WritingModel model(&FindsStatement);
  const auto output =
      Run(PasskeyEvaluation(), model, 128, {{"protocol", "drt"}, {"kind", "multi"}});
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->rows[0]["status"], "not_applicable");
  EXPECT_EQ(output->rows[1]["status"], "not_applicable");
  const CorpusPasskeyRules rules = {.kind = CorpusPasskeyRules::Kind::kMulti};
  std::int64_t shortest = 128;
  while (!WhyTooShort(rules, tokenizer(), shortest).empty()) shortest += rules.chunk;
  const std::string said = WhyTooShort(rules, tokenizer(), 128);
  EXPECT_NE(said.find(Str("at least ", shortest)), std::string::npos) << said;
}

TEST_F(RecallTest, NeedlesHaveARowForEachDepthAndOneForAll) {
  WritingModel model([](std::string_view prompt) {
    // Finds only what stands in the second half, where the filler's middle is too.
    const std::size_t at = prompt.find_first_of("0123456789");
    return at > prompt.size() / 2 ? FindsDigits(prompt) : std::string("?");
  });
  const auto output = Run(NeedleEvaluation(), model, 2048,
                          {{"depths", 8}, {"trials", 3}, {"filler", "fitted"}, {"new_tokens", 10}});
  ASSERT_TRUE(output.ok()) << output.status().message();
  const std::vector<RowName> names = NeedleEvaluation().rows({{"depths", 8}});
  ASSERT_EQ(output->rows.size(), names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Json& row = output->rows[i];
    EXPECT_EQ(row["depth"], names[i].depth ? Json(*names[i].depth) : Json());
    if (i == 0) {
      EXPECT_EQ(row["n"], 24);
      EXPECT_EQ(row["value"], 0.625);
    } else {
      EXPECT_EQ(row["n"], 3);
      EXPECT_EQ(row["value"], *names[i].depth >= 0.5 ? 1.0 : 0.0) << *names[i].depth;
    }
  }
  for (const Json& line : Lines(output->artifacts[0].bytes)) {
    EXPECT_GE(line["key"], 50'000);
    EXPECT_LE(line["key"], 500'000);
    EXPECT_EQ(
        line["before"].get<std::int64_t>(),
        static_cast<std::int64_t>(line["depth"].get<double>() * line["filler"].get<double>()));
  }
}

TEST_F(RecallTest, WhatAModelCannotDoIsARowAndOtherErrorsAreErrors) {
  for (const Evaluation* const evaluation : {&PasskeyEvaluation(), &NeedleEvaluation()}) {
    NoWriter too_long(Code::kOutOfRange), no_memory(Code::kResourceExhausted),
        not_finite(Code::kAborted), cannot(Code::kUnimplemented);
    EXPECT_EQ(Run(*evaluation, too_long, 1024, Json::object()).value().rows[0]["status"],
              "not_applicable");
    EXPECT_EQ(Run(*evaluation, no_memory, 1024, Json::object()).value().rows[0]["status"],
              "out_of_memory");
    EXPECT_EQ(Run(*evaluation, not_finite, 1024, Json::object()).value().rows[0]["status"],
              "non_finite");
    EXPECT_EQ(Run(*evaluation, cannot, 1024, Json::object()).status().code(), Code::kUnimplemented);
  }
}

TEST_F(RecallTest, HowTokensAreChosenReachesEachPromptAndIsToldInTheRow) {
  const Json decoding = {{"temperature", 0.5}, {"top_k", 3}, {"top_p", 0.9}, {"min_new_tokens", 2}};
  for (const Evaluation* const evaluation : {&PasskeyEvaluation(), &NeedleEvaluation()}) {
    Json params = {{"trials", 3}};
    if (evaluation == &NeedleEvaluation()) params["depths"] = 2;
    WritingModel greedy(&FindsDigits), drawing(&FindsDigits);
    const auto plain = Run(*evaluation, greedy, 1024, params);
    params.update(decoding);
    const auto drawn = Run(*evaluation, drawing, 1024, params);
    ASSERT_TRUE(plain.ok() && drawn.ok()) << drawn.status().message();
    ASSERT_EQ(greedy.prompts().size(), drawing.prompts().size());
    std::set<std::uint64_t> seeds;
    for (std::size_t p = 0; p < drawing.prompts().size(); ++p) {
      const Prompt& prompt = drawing.prompts()[p];
      EXPECT_EQ(prompt.tokens, greedy.prompts()[p].tokens);  // the questions stay
      EXPECT_EQ(greedy.prompts()[p].sampling.temperature, 0.0);
      EXPECT_EQ(greedy.prompts()[p].min_new_tokens, 0);
      EXPECT_EQ(prompt.sampling.temperature, 0.5);
      EXPECT_EQ(prompt.sampling.top_k, 3);
      EXPECT_EQ(prompt.sampling.top_p, 0.9);
      EXPECT_EQ(prompt.min_new_tokens, 2);
      seeds.insert(prompt.sampling.seed);
    }
    EXPECT_EQ(seeds.size(), drawing.prompts().size());
    const Json& told = drawn->rows[0]["extra"]["params"];
    for (const auto& [name, value] : decoding.items()) {
      EXPECT_EQ(told.at(name), value);
      EXPECT_FALSE(plain->rows[0]["extra"]["params"].contains(name));
    }
  }
}

// GALI's authors wrap the prompts of Llama-2 in [INST] and [/INST]; others have control tokens.
TEST_F(RecallTest, AWrapSurroundsEachPromptAndItsControlTokensAreTokens) {
  const std::string wrap = R"(<|landmark|>[INST]{prompt}[/INST]<|pad|>\n)";
  const auto id = [&](std::string_view name) {
    const std::vector<Token>& tokens = tokenizer().vocabulary().tokens;
    const auto at = std::ranges::find(tokens, name, &Token::bytes);
    return static_cast<std::int32_t>(at - tokens.begin());
  };
  for (const Evaluation* const evaluation : {&PasskeyEvaluation(), &NeedleEvaluation()}) {
    Json params = {{"trials", 3}};
    if (evaluation == &NeedleEvaluation()) params["depths"] = 2;
    WritingModel bare(&FindsDigits), wrapped(&FindsDigits);
    const auto plain = Run(*evaluation, bare, 1024, params);
    params["wrap"] = wrap;
    const auto output = Run(*evaluation, wrapped, 1024, params);
    ASSERT_TRUE(plain.ok() && output.ok()) << output.status().message();
    EXPECT_EQ(output->rows[0]["value"], 1.0);
    EXPECT_EQ(output->rows[0]["extra"]["params"]["wrap"], wrap);
    EXPECT_FALSE(plain->rows[0]["extra"]["params"].contains("wrap"));
    ASSERT_EQ(bare.prompts().size(), wrapped.prompts().size());
    for (std::size_t p = 0; p < bare.prompts().size(); ++p) {
      std::vector<std::int32_t> expected = bare.prompts()[p].tokens;  // the first begins the text
      std::vector<std::int32_t> before = {id("<|landmark|>")}, after;
      tokenizer().Encode("[INST]", before);
      tokenizer().Encode("[/INST]", after);
      after.push_back(id("<|pad|>"));
      tokenizer().Encode("\n", after);
      expected.insert(expected.begin() + 1, before.begin(), before.end());
      expected.insert(expected.end(), after.begin(), after.end());
      EXPECT_EQ(wrapped.prompts()[p].tokens, expected);
    }
  }
}

TEST_F(RecallTest, AWrapNeedsAPlaceForThePrompt) {
  const DatasetShape shape = {.name = "d", .split_tokens = {}};
  const auto fit = [&](const std::string& wrap) {
    Json params = ResolveParams(NeedleEvaluation().params,
                                {{"context_lengths", {1024}}, {"wrap", wrap}}, "needle")
                      .value();
    const auto error = NeedleEvaluation().fit(shape, params);
    return error ? Str(error->key, ": ", error->message) : std::string();
  };
  EXPECT_EQ(fit("[INST]{prompt}[/INST]"), "");
  EXPECT_EQ(fit("[INST][/INST]"),
            "wrap: expected a text with {prompt} once, where the prompt goes, found "
            "\"[INST][/INST]\"");
  EXPECT_NE(fit("{prompt}{prompt}"), "");
}

TEST_F(RecallTest, ContextLengthsThatCannotBeAreRefusedAtSubmission) {
  const DatasetShape shape = {.name = "d", .split_tokens = {{"validation", 5000}}};
  const auto fit = [&](const Json& given) {
    Json params = ResolveParams(PasskeyEvaluation().params, given, "passkey").value();
    const auto error = PasskeyEvaluation().fit(shape, params);
    return error ? Str(error->key, ": ", error->message) : std::string();
  };
  EXPECT_EQ(fit({{"context_lengths", {69, 128}}}), "");
  EXPECT_EQ(fit({{"context_lengths", {64, 128}}}),
            "context_lengths: protocol pose counts 69 tokens without any filler: expected context "
            "lengths from 69 on, found 64");
  EXPECT_EQ(fit({{"context_lengths", {8192}}, {"protocol", "drt"}}),
            "context_lengths: context length 8192 is more than the 5000 tokens of split validation "
            "of dataset \"d\"");
  EXPECT_EQ(fit({{"context_lengths", {128, 200}}, {"protocol", "drt"}}),
            "context_lengths: expected multiples of the chunk of 64, found 200");
  EXPECT_EQ(fit({{"context_lengths", {128, 256}}, {"protocol", "drt"}, {"answer_at", "end"}}), "");
  EXPECT_NE(fit({{"context_lengths", {128}}, {"protocol", "drt"}, {"split", "test"}}), "");
  EXPECT_EQ(fit({{"context_lengths", {128}}, {"top_k", 2}}),
            "top_k: limits the tokens to draw from, but without temperature none is drawn: give a "
            "temperature (1 keeps the model's own probabilities)");
  EXPECT_EQ(fit({{"context_lengths", {128}}, {"min_new_tokens", 11}}),
            "min_new_tokens: expected at most the 10 tokens that the model writes, found 11");
  EXPECT_EQ(fit({{"context_lengths", {128}}, {"protocol", "gali"}, {"min_new_tokens", 11}}), "");
}

}  // namespace
}  // namespace longrun
