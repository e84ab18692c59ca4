#include "model/data/tokenizer/hugging_face.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/str.h"
#include "model/data/tokenizer/bpe.h"
#include "tests/model/data/tokenizer/vocabularies.h"

namespace longrun {
namespace {

// The 256 bytes at the ids that GPT-2 gives them, ab 256, abc 257, and an end of text.
Json SmallFile() {
  Json vocab = Json::object();
  std::uint32_t id = 0;
  const auto add = [&](int first, int last) {
    for (int byte = first; byte <= last; ++byte) {
      vocab[PrintableOfBytes(std::string(1, static_cast<char>(byte)))] = id++;
    }
  };
  add(33, 126);
  add(161, 172);
  add(174, 255);
  add(0, 32);
  add(127, 160);
  add(173, 173);
  vocab["ab"] = 256;
  vocab["abc"] = 257;
  vocab["<|endoftext|>"] = 258;
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens",
           Json::array({{{"id", 258}, {"content", "<|endoftext|>"}, {"special", true}}})},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}}},
          {"post_processor", {{"type", "ByteLevel"}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"vocab", vocab},
            {"merges", {"a b", "ab c"}}}}};
}

Result<Vocabulary> Parse(const Json& file) {
  return ParseHuggingFace(CanonicalJson(file), "small");
}

// gpt-2, src/encoder.py, bytes_to_unicode: the blank is U+0120, the line feed U+010A; the last of
// the 68 shifted bytes is 173, at U+0143.
TEST(PrintableTest, BytesAreWrittenAsGpt2Does) {
  EXPECT_EQ(PrintableOfBytes(" a\n!~"), "\u0120a\u010a!~");
  EXPECT_EQ(PrintableOfBytes(std::string("\0\x7f\xa0\xad", 4)), "\u0100\u0121\u0142\u0143");
  EXPECT_EQ(PrintableOfBytes("\xc3\xa9"), "\u00c3\u00a9");
}

TEST(PrintableTest, EveryByteComesBackAndOtherCharactersAreRefused) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    EXPECT_EQ(BytesOfPrintable(PrintableOfBytes(bytes)).value(), bytes);
  }
  for (const std::string text : {"\u2581the", "\u0144", " ", "\n", "\u00ad", "\xff", "a\xc4"}) {
    EXPECT_FALSE(BytesOfPrintable(text).ok()) << text;
  }
}

TEST(HuggingFaceTest, ReadsTheIdsOfTheFile) {
  const auto vocabulary = Parse(SmallFile());

  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
  EXPECT_EQ(vocabulary->tokens.size(), 259u);
  EXPECT_EQ(vocabulary->n_rows, 320);
  EXPECT_EQ(vocabulary->eot_id, 258);
  EXPECT_EQ(vocabulary->bos_id, 258);
  EXPECT_EQ(vocabulary->pad_id, -1);
  EXPECT_FALSE(vocabulary->add_prefix_space);
  EXPECT_EQ(vocabulary->tokens[258].kind, Token::Kind::kControl);
  const auto tokenizer = MakeBpeTokenizer(*vocabulary).value();
  std::vector<std::int32_t> ids;
  tokenizer->Encode("abcab \n!<|endoftext|>", ids);
  EXPECT_EQ(tokenizer->Decode(ids).value(), "abcab \n!<|endoftext|>");
  ids.resize(5);
  // ! is the byte 33, id 0; the blank 188 + 32, the line feed 188 + 10.
  EXPECT_EQ(ids, (std::vector<std::int32_t>{257, 256, 220, 198, 0}));
}

TEST(HuggingFaceTest, MergesMayBePairs) {
  Json file = SmallFile();
  file["model"]["merges"] = Json::array({Json::array({"a", "b"}), Json::array({"ab", "c"})});
  EXPECT_EQ(Parse(file).value().Fingerprint(), Parse(SmallFile()).value().Fingerprint());
}

// The two files of one vocabulary are one tokenizer.
TEST(HuggingFaceTest, HasTheFingerprintOfTheSameRanksInATiktokenFile) {
  const Vocabulary ranks = RanksWithEndOfText("ranks", BytesAnd({"ab", "abc"}));
  const auto again = ParseHuggingFace(HuggingFaceText(ranks).value(), "again");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->Fingerprint(), ranks.Fingerprint());
}

TEST(HuggingFaceTest, AddPrefixSpaceIsTheDefaultOfTheirsAndKept) {
  Json file = SmallFile();
  file["pre_tokenizer"].erase("add_prefix_space");
  EXPECT_TRUE(Parse(file).value().add_prefix_space);
  file["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_TRUE(Parse(file).value().add_prefix_space);
}

TEST(HuggingFaceTest, SpecialTokensAreFoundByTheirNames) {
  Json file = SmallFile();
  file["added_tokens"].push_back({{"id", 259}, {"content", "<s>"}, {"special", true}});
  file["added_tokens"].push_back({{"id", 260}, {"content", "</s>"}, {"special", true}});
  file["added_tokens"].push_back({{"id", 261}, {"content", "<pad>"}, {"special", true}});
  const Vocabulary vocabulary = Parse(file).value();
  EXPECT_EQ(vocabulary.bos_id, 259);
  EXPECT_EQ(vocabulary.eot_id, 258);
  EXPECT_EQ(vocabulary.pad_id, 261);
}

// "abc" alone in the vocabulary, as the made-up words of RoBERTa: theirs never gives it.
TEST(HuggingFaceTest, AnEntryThatNoMergeMakesIsNeverGiven) {
  Json file = SmallFile();
  file["model"]["merges"] = {"a b"};
  const auto tokenizer = MakeBpeTokenizer(Parse(file).value()).value();
  std::vector<std::int32_t> ids;
  tokenizer->Encode("abc", ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{256, 'c' - 33}));
}

// Added tokens that are not special, as GPT-NeoX's runs of blanks are.
Json FileWithAdded(bool add_prefix_space) {
  Json file = SmallFile();
  file["pre_tokenizer"]["add_prefix_space"] = add_prefix_space;
  std::uint32_t id = 259;
  for (const char* const content : {"  ", "    ", "\n\n", "xy", "xyz", "yz!", "\u20ac"}) {
    file["added_tokens"].push_back({{"id", id++},
                                    {"content", content},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", true},
                                    {"special", false}});
  }
  return file;
}

// The ids are those of the Python library tokenizers 0.23.3 for this file.
TEST(HuggingFaceTest, AddedTokensAreFoundInATextUnlessTheyAreSpecial) {
  struct Expected {
    std::string text;
    std::vector<std::int32_t> ids, with_prefix_space;
  };
  const std::vector<Expected> cases = {
      {"abc  ab", {257, 259, 256}, {220, 257, 259, 220, 256}},
      {"     a", {260, 220, 64}, {260, 220, 64}},
      {" xyz!yz!xyxyz", {220, 263, 0, 264, 262, 263}, {220, 263, 220, 0, 264, 262, 263}},
      {"a\n\n\n\n b  \n",
       {64, 261, 261, 220, 65, 259, 198},
       {220, 64, 261, 261, 220, 65, 259, 220, 198}},
      {"caf\u00e9  \u20ac\u20ac abc",
       {66, 64, 69, 127, 102, 259, 265, 265, 220, 257},
       {220, 66, 64, 69, 127, 102, 259, 265, 265, 220, 257}},
      {"   ", {259, 220}, {259, 220}},
      {"no xy", {77, 78, 220, 262}, {220, 77, 78, 220, 262}},
      {"  abc    ab xy", {259, 257, 260, 256, 220, 262}, {259, 220, 257, 260, 220, 256, 220, 262}}};
  for (const bool add_prefix_space : {false, true}) {
    const auto vocabulary = Parse(FileWithAdded(add_prefix_space));
    ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
    EXPECT_EQ(vocabulary->TokenBytes()[260], 4);
    // Ours, written and read again, is the same tokenizer.
    const Vocabulary again =
        ParseHuggingFace(HuggingFaceText(*vocabulary).value(), "again").value();
    EXPECT_EQ(again.Fingerprint(), vocabulary->Fingerprint());
    const auto tokenizer = MakeBpeTokenizer(*vocabulary).value();
    for (const Expected& one : cases) {
      std::vector<std::int32_t> ids;
      tokenizer->Encode(one.text, ids);
      EXPECT_EQ(ids, add_prefix_space ? one.with_prefix_space : one.ids) << one.text;
      if (add_prefix_space) continue;  // the spaces are text too
      EXPECT_EQ(tokenizer->Decode(ids).value(), one.text);
    }
  }
}

TEST(HuggingFaceTest, AddedTokensAreTokensOfTheirOwn) {
  Json special = FileWithAdded(false);
  for (Json& token : special["added_tokens"]) token["special"] = true;
  EXPECT_NE(Parse(special).value().Fingerprint(),
            Parse(FileWithAdded(false)).value().Fingerprint());
  const auto message = [](const char* key, const Json& value) {
    Json file = FileWithAdded(false);
    file["added_tokens"][2][key] = value;
    return Parse(file).status().message();
  };
  EXPECT_EQ(message("lstrip", true),
            "added_tokens[2].lstrip is true, but for a token that is not special only false is "
            "supported");
  EXPECT_EQ(message("special", 0), "added_tokens[2].special is 0: expected true or false");
  EXPECT_EQ(message("normalized", false),
            "added_tokens[2].normalized is false, unlike that of an earlier token that is not "
            "special: this is not supported");
  for (const char* const content : {"", "a b"}) {
    EXPECT_EQ(message("content", content),
              Str("added_tokens[2].content is \"", content,
                  "\": for a token that is not special, neither an empty text nor one with a blank "
                  "after a letter or digit is supported"));
  }
}

using Change = void (*)(Json& file);
struct Case {
  Change change;
  std::string message;
};

TEST(HuggingFaceTest, WhatIsNotOfTheGpt2KindIsRefusedByKeyAndValue) {
  const std::vector<Case> cases = {
      {[](Json& f) { f["model"]["type"] = "WordPiece"; },
       "model.type is \"WordPiece\", but only \"BPE\" is supported"},
      {[](Json& f) {
         f["model"] = {{"type", "Unigram"}, {"vocab", {{"a", 0.5}}}};
       },
       "model.type is \"Unigram\", but only \"BPE\" is supported"},
      {[](Json& f) { f["model"].erase("type"); }, "model.type is missing"},
      {[](Json& f) { f.erase("model"); }, "model is missing"},
      {[](Json& f) { f["model"] = 3; }, "model is 3: expected an object"},
      {[](Json& f) { f["model"]["dropout"] = 0.1; },
       "model.dropout is 0.1, but only null is supported"},
      {[](Json& f) { f["model"]["byte_fallback"] = true; },
       "model.byte_fallback is true, but only false is supported"},
      {[](Json& f) { f["model"]["ignore_merges"] = true; },
       "model.ignore_merges is true, but only false is supported"},
      {[](Json& f) { f["model"]["end_of_word_suffix"] = "</w>"; },
       "model.end_of_word_suffix is \"</w>\", but only null or \"\" is supported"},
      {[](Json& f) { f["model"]["continuing_subword_prefix"] = "##"; },
       "model.continuing_subword_prefix is \"##\", but only null or \"\" is supported"},
      {[](Json& f) { f["model"]["splits"] = 1; },
       "model.splits: unknown key, which may change the ids"},
      {[](Json& f) { f["extra"] = 1; }, "extra: unknown key, which may change the ids"},
      {[](Json& f) { f["version"] = "2.0"; }, "version is \"2.0\", but only \"1.0\" is supported"},
      {[](Json& f) {
         f["normalizer"] = {{"type", "NFC"}};
       },
       "normalizer is {\"type\":\"NFC\"}, but only null is supported"},
      {[](Json& f) { f["pre_tokenizer"] = nullptr; }, "pre_tokenizer is null: expected an object"},
      {[](Json& f) {
         f["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "_"}};
       },
       "pre_tokenizer.type is \"Metaspace\", but only \"ByteLevel\" is supported"},
      {[](Json& f) { f["pre_tokenizer"]["use_regex"] = false; },
       "pre_tokenizer.use_regex is false, but only true is supported"},
      {[](Json& f) { f["pre_tokenizer"]["add_prefix_space"] = 1; },
       "pre_tokenizer.add_prefix_space is 1, but only true or false is supported"},
  };
  for (const Case& bad : cases) {
    Json file = SmallFile();
    bad.change(file);
    const auto vocabulary = Parse(file);
    ASSERT_FALSE(vocabulary.ok()) << bad.message;
    EXPECT_EQ(vocabulary.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(vocabulary.status().message(), bad.message);
  }
}

TEST(HuggingFaceTest, VocabulariesAndMergesThatMeanIllAreRefused) {
  const std::vector<Case> cases = {
      {[](Json& f) { f["model"].erase("vocab"); }, "model.vocab is missing"},
      {[](Json& f) { f["model"]["vocab"] = Json::array(); },
       "model.vocab is []: expected an object"},
      {[](Json& f) { f["model"]["vocab"]["ab"] = 1e9; },
       "model.vocab[\"ab\"] is 1000000000: expected an id of 0 to 1048574"},
      {[](Json& f) { f["model"]["vocab"]["ab"] = -1; },
       "model.vocab[\"ab\"] is -1: expected an id of 0 to 1048574"},
      {[](Json& f) { f["model"]["vocab"]["ab"] = "256"; },
       "model.vocab[\"ab\"] is \"256\": expected an id of 0 to 1048574"},
      {[](Json& f) { f["model"]["vocab"]["ab"] = 257; },
       "model.vocab[\"abc\"]: id 257 occurs twice"},
      {[](Json& f) { f["model"]["vocab"]["abc"] = 300; },
       "model.vocab: id 257 is missing: the highest id is 300, so every id from 0 to 300 must "
       "be in the vocabulary"},
      {[](Json& f) { f["model"]["vocab"]["\u2581a"] = 259; },
       "model.vocab[\"\u2581a\"]: \"\u2581a\" has a character that does not stand for a byte: "
       "only byte-level vocabularies are supported"},
      {[](Json& f) {
         f["model"]["vocab"].erase("\u0120");
         f["added_tokens"].push_back({{"id", 220}, {"content", "blank"}});
       },
       "no token is the byte \"\\x20\": a byte-level vocabulary has a token for each of the 256 "
       "bytes"},
      {[](Json& f) { f["model"]["merges"] = "a b"; }, "model.merges is \"a b\": expected a list"},
      {[](Json& f) { f["model"]["merges"][1] = 7; },
       "model.merges[1] is 7: expected \"a b\" or [\"a\", \"b\"]"},
      {[](Json& f) { f["model"]["merges"][1] = "ab"; },
       "model.merges[1] is \"ab\": expected \"a b\" or [\"a\", \"b\"]"},
      {[](Json& f) { f["model"]["merges"][1] = "a b c"; },
       "model.merges[1] is \"a b c\": expected \"a b\" or [\"a\", \"b\"]"},
      {[](Json& f) {
         f["model"]["merges"][1] = {"a", "b", "c"};
       },
       "model.merges[1] is [\"a\",\"b\",\"c\"]: expected \"a b\" or [\"a\", \"b\"]"},
      {[](Json& f) { f["model"]["merges"][1] = "x y"; },
       "model.merges[1]: \"xy\" is not in model.vocab"},
      {[](Json& f) { f["model"]["merges"][1] = "abcd e"; },
       "model.merges[1]: \"abcd\" is not in model.vocab"},
      // Each needs the other first.
      {[](Json& f) {
         f["model"]["merges"] = {"ab c", "a b"};
       },
       "model.merges[0]: \"ab\" is neither a byte nor the result of an earlier merge"},
      {[](Json& f) {
         f["model"]["merges"] = {"a b", "a b"};
       },
       "model.merges[1] makes token 256 after token 256: merges must be in the order of the ids "
       "that they make"},
      {[](Json& f) {
         f["model"]["vocab"]["de"] = 259;
         f["model"]["vocab"]["fg"] = 260;
         f["model"]["merges"] = {"f g", "d e"};
       },
       "model.merges[1] makes token 259 after token 260: merges must be in the order of the ids "
       "that they make"},
      // With "b c" before it, a and b are never left beside c in "abc".
      {[](Json& f) {
         f["model"]["vocab"]["ab"] = 257;
         f["model"]["vocab"]["bc"] = 256;
         f["model"]["vocab"]["abc"] = 259;
         f["model"]["merges"] = {"b c", "a b", "ab c"};
       },
       "model.merges[2] joins tokens 257 and 66, but the merges before it never leave these two "
       "next to each other in token 259: no training gives such a list, and it is not supported"},
      {[](Json& f) { f["added_tokens"] = 1; }, "added_tokens is 1: expected a list"},
      {[](Json& f) { f["added_tokens"][0] = 1; }, "added_tokens[0] is 1: expected an object"},
      {[](Json& f) { f["added_tokens"][0].erase("id"); }, "added_tokens[0].id is missing"},
      {[](Json& f) { f["added_tokens"][0]["content"] = 1; },
       "added_tokens[0].content is 1: expected a text"},
      {[](Json& f) { f["added_tokens"][0]["id"] = 97; },
       "model.vocab[\"\u00a4\"]: id 97 occurs twice"},
      {[](Json& f) {
         f["added_tokens"].push_back({{"id", 256}, {"content", "ab"}});
       },
       "model.merges[0] makes \"ab\", which is an added token"},
  };
  for (const Case& bad : cases) {
    Json file = SmallFile();
    bad.change(file);
    const auto vocabulary = Parse(file);
    ASSERT_FALSE(vocabulary.ok()) << bad.message;
    EXPECT_EQ(vocabulary.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(vocabulary.status().message(), bad.message);
  }
}

TEST(HuggingFaceTest, TheFileOfADatasetsFolderIsTold) {
  const auto vocabulary = ParseHuggingFace("{\"fingerprint\":\"00\",\"name\":\"bytes\"}", "x");
  EXPECT_EQ(vocabulary.status().message(),
            "this is the tokenizer.json of a dataset's folder: name the file it was imported with");
}

TEST(HuggingFaceTest, WhatNoMergesMakeIsNotWritten) {
  const auto text = HuggingFaceText(RanksWithEndOfText("x", BytesAnd({"xyz"})));
  EXPECT_EQ(text.status().message(), "token 256 (\"xyz\") is not the result of merging two tokens");
}

TEST(HuggingFaceFileTest, IsOpenedByItsPathAndRefusedByIt) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "tokenizer.json");
  ASSERT_TRUE(WriteFileAtomic(path, CanonicalJson(SmallFile())).ok());
  const auto tokenizer = MakeTokenizer(path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ((*tokenizer)->vocabulary().name, "tokenizer.json");

  ASSERT_TRUE(WriteFileAtomic(path, "{}").ok());
  EXPECT_EQ(MakeTokenizer(path).status().message(), Str(path, ": model is missing"));
}

}  // namespace
}  // namespace longrun
