#include "model/data/tokenizer/tiktoken.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/data/tokenizer.h"
#include "tests/model/data/tokenizer/vocabularies.h"

namespace longrun {
namespace {

// The base64 of these: RFC 4648, section 10.
TEST(TiktokenTest, ReadsAndWritesTheBase64OfTheStandard) {
  const std::string text = "Zg== 0\nZm8= 1\nZm9v 2\nZm9vYg== 3\nZm9vYmE= 4\nZm9vYmFy 5\n";

  const auto tokens = ParseTiktoken(text);

  ASSERT_TRUE(tokens.ok()) << tokens.status().message();
  std::vector<std::string> bytes;
  for (const RankedBytes& token : *tokens) bytes.push_back(token.bytes);
  EXPECT_EQ(Join(bytes, " "), "f fo foo foob fooba foobar");
  EXPECT_EQ(TiktokenText(*tokens), text);
}

TEST(TiktokenTest, EveryByteComesBack) {
  std::vector<RankedBytes> tokens;
  for (const std::string& bytes : BytesAnd({"\xff\xfe\xfd", std::string("\0\0", 2)})) {
    tokens.push_back({.rank = static_cast<std::uint32_t>(tokens.size()), .bytes = bytes});
  }
  const auto again = BytesOfRanks(ParseTiktoken(TiktokenText(tokens)).value());
  EXPECT_EQ(again.value(), BytesAnd({"\xff\xfe\xfd", std::string("\0\0", 2)}));
}

TEST(TiktokenTest, LinesMayStandInAnyOrderAndEndAsOnWindows) {
  EXPECT_EQ(BytesOfRanks(ParseTiktoken("Yg== 1\r\n\r\nYQ== 0").value()).value(),
            (std::vector<std::string>{"a", "b"}));
}

TEST(TiktokenTest, BadLinesAreRefusedByTheirNumber) {
  struct Case {
    std::string text, message;
  };
  const std::vector<Case> cases = {
      {"YQ==", "line 1: expected the base64 of a token, a space and its rank, found \"YQ==\""},
      {"YQ== 0\nYg==\t1",
       "line 2: expected the base64 of a token, a space and its rank, found \"Yg==\\t1\""},
      {" 0", "line 1: \"\" is not base64"},
      {"YQ= 0", "line 1: \"YQ=\" is not base64"},
      {"Y===  0", "line 1: \"Y===\" is not base64"},
      {"YR== 0", "line 1: \"YR==\" is not base64"},  // bits behind the last byte
      {"YQ==YQ== 0", "line 1: \"YQ==YQ==\" is not base64"},
      {"\xff\xff\xff\xff 0", "line 1: \"\uFFFD\uFFFD\uFFFD\uFFFD\" is not base64"},
      {"YQ== ", "line 1: \"\" is not a rank: expected a number"},
      {"YQ== -1", "line 1: \"-1\" is not a rank: expected a number"},
      {"YQ== 1.5", "line 1: \"1.5\" is not a rank: expected a number"},
      {"YQ== 0 0", "line 1: \"0 0\" is not a rank: expected a number"},
      {"YQ== 1000000000", "line 1: rank 1000000000: at most 1048574 is supported"},
      {"YQ== 99999999999999999999",
       "line 1: rank 99999999999999999999: at most 1048574 is supported"},
  };
  for (const Case& bad : cases) {
    const auto tokens = ParseTiktoken(bad.text);
    ASSERT_FALSE(tokens.ok()) << bad.text;
    EXPECT_EQ(tokens.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(tokens.status().message(), bad.message);
  }
}

TEST(TiktokenTest, RanksThatAreMissingOrThereTwiceAreRefused) {
  const auto missing = BytesOfRanks(ParseTiktoken("YQ== 0\nYg== 2\n").value());
  EXPECT_EQ(missing.status().message(),
            "rank 1 is missing: the highest rank is 2, so every rank from 0 to 2 must "
            "be in the file");
  const auto twice = BytesOfRanks(ParseTiktoken("YQ== 0\nYg== 1\nYw== 1\n").value());
  EXPECT_EQ(twice.status().message(), "rank 1 occurs twice: a rank is the id of one token");
}

TEST(TiktokenFileTest, IsATokenizerWithAnEndOfTextBehindItsRanks) {
  const TempFolder folder;
  std::vector<RankedBytes> tokens;
  for (const std::string& bytes : BytesAnd({"ab"})) {
    tokens.push_back({.rank = static_cast<std::uint32_t>(tokens.size()), .bytes = bytes});
  }
  const std::string path = JoinPath(folder.path(), "small.tiktoken");
  ASSERT_TRUE(WriteFileAtomic(path, TiktokenText(tokens)).ok());

  const auto tokenizer = MakeTokenizer(path).value();

  EXPECT_EQ(tokenizer->vocabulary().name, "small.tiktoken");
  EXPECT_EQ(tokenizer->vocabulary().eot_id, 257);
  EXPECT_EQ(tokenizer->vocabulary().pad_id, -1);
  EXPECT_EQ(tokenizer->vocabulary().n_rows, 320);
  std::vector<std::int32_t> ids;
  tokenizer->Encode("cab", ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{'c', 256}));
}

TEST(TiktokenFileTest, FilesThatAreNoneAreRefusedByTheirPath) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "bad.tiktoken");
  EXPECT_EQ(MakeTokenizer(path).status().code(), Code::kNotFound);
  ASSERT_TRUE(WriteFileAtomic(path, "").ok());
  EXPECT_EQ(MakeTokenizer(path).status().message(),
            Str(path, ": no token is the byte \"\\x00\": a byte-level vocabulary has a token for ",
                "each of the 256 bytes"));
  ASSERT_TRUE(WriteFileAtomic(path, "nonsense").ok());
  EXPECT_EQ(MakeTokenizer(path).status().message(),
            Str(path, ": line 1: expected the base64 of a token, a space and its rank, found ",
                "\"nonsense\""));
  const std::string a_folder = JoinPath(folder.path(), "folder.tiktoken");
  ASSERT_TRUE(MakeFolders(a_folder).ok());
  EXPECT_EQ(MakeTokenizer(a_folder).status().message(), Str(a_folder, " is not a regular file"));
}

}  // namespace
}  // namespace longrun
