#include "model/data/tokenizer_file.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "model/data/tokenizer/bpe.h"
#include "tests/model/data/tokenizer/vocabularies.h"

namespace longrun {
namespace {

Vocabulary SmallVocabulary() {
  Vocabulary vocabulary = RanksWithEndOfText("small", BytesAnd({"ab", "\xff\xfe"}));
  vocabulary.tokens.push_back({.bytes = "<|p\u00e4d|>", .kind = Token::Kind::kControl});
  vocabulary.pad_id = 259;
  vocabulary.add_prefix_space = true;
  return vocabulary;
}

class TokenizerFileTest : public ::testing::Test {
 protected:
  std::string Path(std::string_view name) const { return JoinPath(folder_.path(), name); }
  Json Facts() const { return ParseJson(ReadFile(Path("tokenizer.json")).value()).value(); }
  std::string Refusal() const { return OpenTokenizerOf(folder_.path()).status().message(); }

  TempFolder folder_;
};

TEST_F(TokenizerFileTest, BytesKeepsTheFileOfTheFirstRelease) {
  const auto saved = MakeTokenizer("bytes").value();

  const std::string sha256 = SaveTokenizer(saved->vocabulary(), folder_.path()).value();

  // The SHA-256 that manifests of the first release hold.
  EXPECT_EQ(sha256, "90ef2888af2d16da087fdbb1241cc0dc8a6105f58eb33348bd155095fee78498");
  EXPECT_EQ(Sha256OfFile(Path("tokenizer.json")).value(), sha256);
  EXPECT_EQ(ListFolder(folder_.path()).value(), std::vector<std::string>{"tokenizer.json"});
  const auto opened = OpenTokenizerOf(folder_.path()).value();
  EXPECT_EQ(opened->vocabulary().Fingerprint(), saved->vocabulary().Fingerprint());
}

TEST_F(TokenizerFileTest, AVocabularyComesBackWithAllThatItsIdsDependOn) {
  const Vocabulary saved = SmallVocabulary();
  const std::string sha256 = SaveTokenizer(saved, folder_.path()).value();

  const auto opened = OpenTokenizerOf(folder_.path());

  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const Vocabulary& vocabulary = (*opened)->vocabulary();
  EXPECT_EQ(vocabulary.Fingerprint(), saved.Fingerprint());
  EXPECT_EQ(vocabulary.name, "small");
  EXPECT_EQ(vocabulary.n_rows, 320);
  std::vector<std::int32_t> ids;
  (*opened)->Encode("x cab", ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{' ', 'x', ' ', 'c', 256}));
  const auto facts = ReadTokenizerFacts(folder_.path(), sha256);
  ASSERT_TRUE(facts.ok()) << facts.status().message();
  EXPECT_EQ(facts->eot_id, 258);
  EXPECT_EQ(facts->token_bytes[256], 2);
  EXPECT_EQ(facts->vocab_size, 320);
  EXPECT_EQ(facts->n_tokens, 260);
  EXPECT_EQ(facts->mask_id, -1);
}

TEST_F(TokenizerFileTest, AddedTokensComeBack) {
  Vocabulary saved = RanksWithEndOfText("small", BytesAnd({"ab"}));
  saved.tokens.push_back({.bytes = "  ", .kind = Token::Kind::kAdded});
  const std::string sha256 = SaveTokenizer(saved, folder_.path()).value();

  const auto opened = OpenTokenizerOf(folder_.path());

  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_EQ((*opened)->vocabulary().Fingerprint(), saved.Fingerprint());
  std::vector<std::int32_t> ids;
  (*opened)->Encode("ab   x", ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{256, 258, ' ', 'x'}));
  EXPECT_EQ(ReadTokenizerFacts(folder_.path(), sha256)->token_bytes[258], 2);
}

TEST_F(TokenizerFileTest, AControlTokenIsTheMaskByItsNameAndATextTokenIsNot) {
  Vocabulary vocabulary = RanksWithEndOfText("small", BytesAnd({"[MASK]"}));
  EXPECT_EQ(vocabulary.MaskId(), -1);
  vocabulary.tokens.push_back({.bytes = "[MASK]", .kind = Token::Kind::kControl});
  EXPECT_EQ(vocabulary.MaskId(), 258);
  vocabulary.tokens.push_back({.bytes = "<mask>", .kind = Token::Kind::kControl});
  EXPECT_EQ(vocabulary.MaskId(), 259);

  const std::string sha256 = SaveTokenizer(vocabulary, folder_.path()).value();

  const auto facts = ReadTokenizerFacts(folder_.path(), sha256);
  ASSERT_TRUE(facts.ok()) << facts.status().message();
  EXPECT_EQ(facts->mask_id, 259);
  EXPECT_EQ(facts->n_tokens, 260);
  for (const Json& wrong : {Json(3), Json{{"260", "[MASK]"}}, Json{{260, "[MASK]"}}}) {
    Json json = Facts();
    json["control"] = wrong;
    ASSERT_TRUE(WriteFileAtomic(Path("tokenizer.json"), CanonicalJson(json)).ok());
    const auto damaged = ReadTokenizerFacts(folder_.path(), Sha256Hex(CanonicalJson(json)));
    EXPECT_NE(damaged.status().message().find("control is not a list of [id, name]"),
              std::string::npos)
        << wrong;
  }
}

TEST_F(TokenizerFileTest, AChangedVocabularyIsSeen) {
  ASSERT_TRUE(SaveTokenizer(SmallVocabulary(), folder_.path()).ok());
  const std::string path = Path("vocabulary.tiktoken");
  std::string text = ReadFile(path).value();
  text.replace(text.find("YWI= 256"), 4, "YWM=");  // "ab" becomes "ac"
  ASSERT_TRUE(WriteFileAtomic(path, text).ok());

  const auto opened = OpenTokenizerOf(folder_.path());

  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), Code::kDataLoss);
  EXPECT_NE(opened.status().message().find("its tokenizer has fingerprint "), std::string::npos);
  EXPECT_NE(opened.status().message().find(SmallVocabulary().Fingerprint()), std::string::npos);
}

TEST_F(TokenizerFileTest, FilesThatDoNotFitTogetherAreRefused) {
  ASSERT_TRUE(SaveTokenizer(SmallVocabulary(), folder_.path()).ok());
  const Json facts = Facts();
  struct Case {
    std::string key;
    Json value;
    std::string message;
  };
  const std::vector<Case> cases = {
      {"n_tokens", 0, "n_tokens is 0"},
      {"n_tokens", 1'000'000'000, "n_tokens is 1000000000"},
      {"n_tokens", 261, "id 260 is missing"},
      {"n_tokens", 259, "id 259 occurs twice, or is not below n_tokens"},
      {"n_rows", 259, "n_rows is 259, but n_tokens is 260"},
      {"eot_id", 260, "eot_id is 260, but n_tokens is 260"},
      {"pad_id", -2, "pad_id is -2, but n_tokens is 260"},
      {"control", 5, "control is not a list"},
      {"control", Json::array({7}), "control is not a list of [id, name]"},
      {"control", Json::array({{97, "x"}, {258, "y"}, {259, "z"}}),
       "id 97 occurs twice, or is not below n_tokens"},
      {"pre_tokenizer", "words",
       "the rule that cuts the text is \"words\", but only \"gpt2-unicode16\" is "
       "supported"},
  };
  for (const Case& bad : cases) {
    Json changed = facts;
    changed[bad.key] = bad.value;
    ASSERT_TRUE(WriteFileAtomic(Path("tokenizer.json"), CanonicalJson(changed)).ok());
    EXPECT_EQ(Refusal(), Str(Path("tokenizer.json"), ": ", bad.message,
                             ": the dataset is damaged; import it again"));
  }
}

TEST_F(TokenizerFileTest, AVocabularyThatIsGoneIsNamed) {
  ASSERT_TRUE(SaveTokenizer(SmallVocabulary(), folder_.path()).ok());
  ASSERT_TRUE(RemoveAll(Path("vocabulary.tiktoken")).ok());
  EXPECT_NE(Refusal().find(Str("cannot read ", Path("vocabulary.tiktoken"))), std::string::npos);
}

}  // namespace
}  // namespace longrun
