#include "model/data/tokenizer.h"

#include <gtest/gtest.h>

#include <string>

#include "base/str.h"

namespace longrun {
namespace {

TEST(BytesTokenizerTest, KeepsEveryByteAndGivesNoSpecialIds) {
  const auto tokenizer = MakeTokenizer("bytes").value();
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);

  std::vector<std::int32_t> ids;
  tokenizer->Encode(text, ids);

  ASSERT_EQ(ids.size(), 256u);
  for (std::int32_t byte = 0; byte < 256; ++byte)
    EXPECT_EQ(ids[static_cast<std::size_t>(byte)], byte);
  EXPECT_EQ(tokenizer->Decode(ids).value(), text);
}

// 256 EOT/BOS, 257 PAD, 258 landmark, padded to 320.
TEST(BytesTokenizerTest, HasTheIdsOfTheSpecification) {
  const Vocabulary vocabulary = MakeTokenizer("bytes").value()->vocabulary();
  EXPECT_EQ(vocabulary.tokens.size(), 259u);
  EXPECT_EQ(vocabulary.n_rows, 320);
  EXPECT_EQ(vocabulary.eot_id, 256);
  EXPECT_EQ(vocabulary.bos_id, 256);
  EXPECT_EQ(vocabulary.pad_id, 257);
}

TEST(BytesTokenizerTest, OnlyTextTokensStandForBytes) {
  const std::vector<std::int32_t> n_bytes =
      MakeTokenizer("bytes").value()->vocabulary().TokenBytes();
  ASSERT_EQ(n_bytes.size(), 320u);
  for (std::size_t id = 0; id < n_bytes.size(); ++id)
    EXPECT_EQ(n_bytes[id], id < 256 ? 1 : 0) << id;
}

TEST(BytesTokenizerTest, ControlTokensDecodeToNothingAndUnknownIdsAreRefused) {
  const auto tokenizer = MakeTokenizer("bytes").value();
  EXPECT_EQ(tokenizer->Decode(std::vector<std::int32_t>{104, 105, 256}).value(), "hi");
  const auto unknown = tokenizer->Decode(std::vector<std::int32_t>{104, 259});
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.status().code(), Code::kOutOfRange);
  EXPECT_NE(unknown.status().message().find("token 1 has id 259"), std::string::npos);
}

TEST(VocabularyTest, FingerprintChangesWithWhatATokenIs) {
  Vocabulary vocabulary = MakeTokenizer("bytes").value()->vocabulary();
  const std::string fingerprint = vocabulary.Fingerprint();
  EXPECT_EQ(fingerprint.size(), 64u);
  EXPECT_EQ(MakeTokenizer("bytes").value()->vocabulary().Fingerprint(), fingerprint);

  vocabulary.tokens[258].kind = Token::Kind::kText;
  EXPECT_NE(vocabulary.Fingerprint(), fingerprint);
  vocabulary.tokens[258].kind = Token::Kind::kControl;
  vocabulary.pre_tokenizer = "words";
  EXPECT_NE(vocabulary.Fingerprint(), fingerprint);
}

// From the formula in tokenizer.h, computed with hashlib and json of Python;
// it is part of each run.
TEST(VocabularyTest, FingerprintOfBytesStaysWhatItWas) {
  EXPECT_EQ(MakeTokenizer("bytes").value()->vocabulary().Fingerprint(),
            "c77f42c5ac38b593ecbaf58e437b786369f35d41be12db37c75ab9d7ffca45d6");
}

TEST(TokenizerRegistryTest, UnknownNamesAreRefusedWithTheList) {
  for (const std::string name : {"llama", "", ".tiktoken", "a.tiktoken.txt"}) {
    const auto unknown = MakeTokenizer(name);
    ASSERT_FALSE(unknown.ok());
    EXPECT_FALSE(IsTokenizerSpec(name));
    EXPECT_EQ(unknown.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(unknown.status().message(), Str("unknown tokenizer \"", name,
                                              "\": choose one of bytes, gpt2, *.tiktoken, *.json"));
  }
  EXPECT_TRUE(MakeTokenizer("gpt5").status().message().ends_with("; did you mean \"gpt2\"?"));
  EXPECT_TRUE(IsTokenizerSpec("nowhere.json"));
}

}  // namespace
}  // namespace longrun
