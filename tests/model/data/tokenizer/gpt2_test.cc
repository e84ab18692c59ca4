// GPT-2's ids for texts that try every corner of its rule, from the tokenizers of Hugging Face and
// from tiktoken, which agree on each. Needs the vocabulary: `./dev vocab`.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/data/tokenizer.h"

namespace longrun {
namespace {

using namespace std::string_literals;

struct Vector {
  std::string text;
  std::vector<std::int32_t> ids;
};

const std::vector<Vector>& Vectors() {
  static const std::vector<Vector> vectors = {
      {"Hello world", {15496, 995}},
      {"Hello, world!", {15496, 11, 995, 0}},
      {" Hello", {18435}},
      {"hello  world", {31373, 220, 995}},
      {"hello   world   ", {31373, 220, 220, 995, 220, 220, 220}},
      {"a\n\nb", {64, 198, 198, 65}},
      {"a\n\n\n b", {64, 628, 198, 275}},
      {"\t\tif x:", {197, 197, 361, 2124, 25}},
      {"I'm you're we've he'll I'd can't 'tis 'S",
       {40, 1101, 345, 821, 356, 1053, 339, 1183, 314, 1549, 460, 470, 705, 48010, 705, 50}},
      {"don't DON'T", {9099, 470, 23917, 6, 51}},
      {"1234567890", {10163, 2231, 30924, 3829}},
      {"3.14159", {18, 13, 1415, 19707}},
      {"x=1;y+=2", {87, 28, 16, 26, 88, 47932, 17}},
      {"foo_bar", {21943, 62, 5657}},
      {"_a_", {62, 64, 62}},
      {"naïve café", {2616, 38776, 40304}},
      {"日本語", {33768, 98, 17312, 105, 45739, 252}},
      {"你好，世界", {19526, 254, 25001, 121, 171, 120, 234, 10310, 244, 45911, 234}},
      {"Привет", {140, 253, 21169, 18849, 38857, 16843, 20375}},
      {"\U0001f642", {8582, 25081}},
      {" \U0001f642", {32485}},
      {"\U0001f468\u200d\U0001f469\u200d\U0001f467",
       {41840, 101, 447, 235, 41840, 102, 447, 235, 41840, 100}},
      {"e\u0301", {68, 136, 223}},
      {"\u00a0x", {1849, 87}},
      {"a\u3000b", {64, 5099, 222, 65}},
      {"  ", {220, 220}},
      {"\n", {198}},
      {" \n ", {220, 198, 220}},
      {"\u00b2\u00b3\u00bd", {31185, 126, 111, 23141}},
      {"\ufb01", {171, 105, 223}},
      {"\u200b", {9525}},
      {"\u00df", {39683}},
      {"\r\nx", {201, 198, 87}},
      {"'", {6}},
      {"' s", {6, 264}},
      {"it's'sx", {270, 338, 338, 87}},
      {"a'b'c", {64, 6, 65, 6, 66}},
      {"!!!", {10185}},
      {"...   ...", {986, 220, 220, 2644}},
      {"\x00\x01"s, {188, 189}},
      {"\u0130stanbul", {128, 108, 24179}},
      {"hello\u2028world", {31373, 447, 101, 6894}},
      {"\u2167", {158, 227, 100}},
      {"\u0663\u0664", {149, 96, 149, 97}},
      {"<|endoftext|>", {27, 91, 437, 1659, 5239, 91, 29}},
  };
  return vectors;
}

// Null where the vocabulary was not fetched.
std::unique_ptr<Tokenizer> Gpt2() {
  const std::string folder = JoinPath(LONGRUN_SOURCE_DIR, ".data/tokenizers");
  if (!PathExists(JoinPath(folder, "gpt2.tiktoken"))) return nullptr;
  ::setenv("LONGRUN_TOKENIZERS", folder.c_str(), 1);
  return MakeTokenizer("gpt2").value();
}

TEST(Gpt2Test, GivesThePublishedIdsAndTheTextBack) {
  const auto gpt2 = Gpt2();
  if (gpt2 == nullptr) GTEST_SKIP() << "GPT-2's vocabulary is not here: ./dev vocab";
  for (const Vector& vector : Vectors()) {
    std::vector<std::int32_t> ids;
    gpt2->Encode(vector.text, ids);
    EXPECT_EQ(ids, vector.ids) << vector.text;
    EXPECT_EQ(gpt2->Decode(vector.ids).value(), vector.text);
  }
}

TEST(Gpt2Test, HasThePublishedSizeAndEndOfText) {
  const auto gpt2 = Gpt2();
  if (gpt2 == nullptr) GTEST_SKIP() << "GPT-2's vocabulary is not here: ./dev vocab";
  const Vocabulary& vocabulary = gpt2->vocabulary();
  EXPECT_EQ(vocabulary.tokens.size(), 50257u);
  EXPECT_EQ(vocabulary.n_rows, 50304);
  EXPECT_EQ(vocabulary.eot_id, 50256);
  EXPECT_EQ(vocabulary.tokens[50256].bytes, "<|endoftext|>");
  EXPECT_EQ(vocabulary.TokenBytes()[50256], 0);
  EXPECT_EQ(gpt2->Decode(std::vector<std::int32_t>{15496, 50256, 995}).value(), "Hello world");
}

// Tokens of each novel, counted with the tokenizers of Hugging Face.
TEST(Gpt2Test, CountsTheTokensOfSixNovels) {
  const auto gpt2 = Gpt2();
  const std::string folder = JoinPath(LONGRUN_SOURCE_DIR, ".data/austen");
  if (gpt2 == nullptr) GTEST_SKIP() << "GPT-2's vocabulary is not here: ./dev vocab";
  if (!PathExists(folder)) GTEST_SKIP() << "the novels are not here: ./dev setup";
  const std::vector<std::pair<std::string, std::size_t>> novels = {
      {"emma", 220'986},       {"mansfieldpark", 216'334},  {"northangerabbey", 105'383},
      {"persuasion", 115'079}, {"prideprejudice", 167'305}, {"sensesensibility", 168'241}};
  for (const auto& [novel, n_tokens] : novels) {
    const std::string text = ReadFile(JoinPath(folder, novel + ".txt")).value();
    std::vector<std::int32_t> ids;
    gpt2->Encode(text, ids);
    EXPECT_EQ(ids.size(), n_tokens) << novel;
    EXPECT_EQ(gpt2->Decode(ids).value(), text) << novel;
  }
}

TEST(Gpt2LookUpTest, AVocabularyThatIsAbsentIsRefusedWithTheCommandThatFetchesIt) {
  const TempFolder folder;
  ::setenv("LONGRUN_TOKENIZERS", folder.path().c_str(), 1);

  const auto absent = MakeTokenizer("gpt2");

  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.status().code(), Code::kNotFound);
  EXPECT_EQ(
      absent.status().message(),
      Str("the vocabulary of tokenizer \"gpt2\" is not here: no gpt2.tiktoken in ", folder.path(),
          "; `./dev vocab` in longrun's sources fetches it; without them, copy "
          "whisper/assets/gpt2.tiktoken out of the Python package openai-whisper; "
          "LONGRUN_TOKENIZERS may name another folder"));
}

TEST(Gpt2LookUpTest, AnotherFileOfThatNameIsRefusedByItsHash) {
  const TempFolder folder;
  ::setenv("LONGRUN_TOKENIZERS", folder.path().c_str(), 1);
  const std::string path = JoinPath(folder.path(), "gpt2.tiktoken");
  ASSERT_TRUE(WriteFileAtomic(path, "abc").ok());

  const auto other = MakeTokenizer("gpt2");

  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.status().code(), Code::kDataLoss);
  // The SHA-256 of "abc": FIPS 180-2, appendix B.1.
  EXPECT_EQ(other.status().message(),
            Str(path, " is not GPT-2's vocabulary: its SHA-256 is ",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad, expected ",
                "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930; remove it; "
                "`./dev vocab` in longrun's sources fetches it; without them, copy "
                "whisper/assets/gpt2.tiktoken out of the Python package openai-whisper"));
}

TEST(Gpt2LookUpTest, WithoutItsOwnVariableItIsLookedForInTheStateFolders) {
  const TempFolder folder;
  ::unsetenv("LONGRUN_TOKENIZERS");
  ::setenv("LONGRUN_HOME", JoinPath(folder.path(), "home").c_str(), 1);
  ::setenv("XDG_DATA_HOME", JoinPath(folder.path(), "xdg").c_str(), 1);

  const Status absent = MakeTokenizer("gpt2").status();

  EXPECT_NE(absent.message().find(Str("no gpt2.tiktoken in ", folder.path(), "/home/tokenizers, ",
                                      folder.path(), "/xdg/longrun/tokenizers;")),
            std::string::npos)
      << absent.message();
}

}  // namespace
}  // namespace longrun
