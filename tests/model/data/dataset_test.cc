#include "model/data/dataset.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/data/manifest.h"

namespace longrun {
namespace {

class DatasetTest : public testing::Test {
 protected:
  // A text file, given by name.
  std::string Text(const std::string& name, const std::string& text) {
    const std::string path = JoinPath(folder_.path(), name);
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return path;
  }

  std::string Folder(const std::string& name) { return JoinPath(folder_.path(), name); }

  // Two documents to train on, one of each to validate and test.
  ImportSpec Spec(std::int64_t shard_tokens = 1 << 20) {
    return {.splits = {{"train", {Text("a.txt", "hello"), Text("b.txt", "to the world")}},
                       {"validation", {Text("c.txt", "val\r\n\xff")}},
                       {"test", {Text("d.txt", "test")}}},
            .shard_tokens = shard_tokens,
            .any_bytes = true};
  }

  TempFolder folder_;
};

std::vector<std::int32_t> All(const TokenSplit& split) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(split.n_tokens()));
  EXPECT_TRUE(split.Read(0, tokens).ok());
  return tokens;
}

std::vector<std::int32_t> Ids(std::string_view text) {
  std::vector<std::int32_t> ids;
  for (const char c : text) ids.push_back(c == '|' ? 256 : static_cast<unsigned char>(c));
  return ids;
}

std::vector<std::int64_t> Starts(const TokenSplit& split) {
  return {split.document_starts().begin(), split.document_starts().end()};
}

bool Contains(const Status& status, std::string_view part) {
  return status.message().find(part) != std::string::npos;
}

TEST_F(DatasetTest, HoldsTheBytesOfEachDocumentInOrderEachClosedByAnEndOfText) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());

  const Dataset dataset = Dataset::Open(Folder("data")).value();

  const TokenSplit& train = *dataset.Split("train").value();
  EXPECT_EQ(All(train), Ids("hello|to the world|"));
  EXPECT_EQ(Starts(train), (std::vector<std::int64_t>{0, 6, 19}));
  EXPECT_EQ(All(*dataset.Split("validation").value()), Ids("val\r\n\xff|"));
  EXPECT_EQ(dataset.split_names(), (std::vector<std::string>{"train", "validation", "test"}));
  EXPECT_EQ(dataset.vocab_size(), 320);
  EXPECT_EQ(dataset.eot_id(), 256);
  EXPECT_EQ(dataset.token_bytes().size(), 320u);
  EXPECT_EQ(dataset.digest().size(), 64u);
  EXPECT_TRUE(dataset.Verify().ok());
}

TEST_F(DatasetTest, DocumentsMayGoOnOverManyShardsAndTheDigestDoesNotKnow) {
  ASSERT_TRUE(ImportText(Spec(), Folder("whole")).ok());
  const Dataset whole = Dataset::Open(Folder("whole")).value();
  for (const std::int64_t shard_tokens : {1, 2, 3, 5, 6, 7, 18, 19}) {
    const std::string folder = Folder("cut-" + std::to_string(shard_tokens));
    ASSERT_TRUE(ImportText(Spec(shard_tokens), folder).ok());

    const Dataset cut = Dataset::Open(folder).value();

    EXPECT_EQ(cut.digest(), whole.digest()) << shard_tokens;
    for (const std::string& name : whole.split_names()) {
      const TokenSplit& split = *cut.Split(name).value();
      EXPECT_EQ(All(split), All(*whole.Split(name).value())) << shard_tokens << " " << name;
      EXPECT_EQ(Starts(split), Starts(*whole.Split(name).value())) << shard_tokens << " " << name;
    }
    std::vector<std::int32_t> middle(9);
    ASSERT_TRUE(cut.Split("train").value()->Read(4, middle).ok());
    EXPECT_EQ(middle, Ids("o|to the "));
    EXPECT_TRUE(cut.Verify().ok());
  }
  const auto names = ListFolder(Folder("cut-7")).value();
  EXPECT_EQ(names, (std::vector<std::string>{"dataset.json", "test-00000.lrtk", "tokenizer.json",
                                             "train-00000.lrtk", "train-00001.lrtk",
                                             "train-00002.lrtk", "validation-00000.lrtk"}));
}

// The digest's formula, dataset.h, done by hand for one document "a".
TEST_F(DatasetTest, DigestIsTheHashThatTheHeaderDefines) {
  ASSERT_TRUE(ImportText({.splits = {{"test", {Text("a.txt", "a")}}}}, Folder("data")).ok());
  const Dataset dataset = Dataset::Open(Folder("data")).value();

  const std::string tokens("a\0\0\0\0\1\0\0", 8);                    // 97, 256 as u32
  const std::string starts("\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 16);  // 0, 2 as u64
  const std::string expected = Sha256Hex(
      R"({"format":1,"splits":[{"documents_sha256":")" + Sha256Hex(starts) +
      R"(","n_documents":1,"n_tokens":2,"name":"test","tokens_sha256":")" + Sha256Hex(tokens) +
      R"("}],"tokenizer":")" + dataset.tokenizer_fingerprint() + R"("})");
  EXPECT_EQ(dataset.digest(), expected);
}

TEST_F(DatasetTest, DigestChangesWithTextOrderAndSplit) {
  const std::string a = Text("a.txt", "first"), b = Text("b.txt", "second");
  const auto digest = [&](const std::string& folder, const ImportSpec& spec) {
    EXPECT_TRUE(ImportText(spec, Folder(folder)).ok());
    return Dataset::Open(Folder(folder)).value().digest();
  };
  const std::string ab = digest("ab", {.splits = {{"train", {a, b}}}});
  EXPECT_NE(digest("ba", {.splits = {{"train", {b, a}}}}), ab);
  EXPECT_NE(digest("test", {.splits = {{"test", {a, b}}}}), ab);
  EXPECT_NE(digest("split", {.splits = {{"train", {a}}, {"test", {b}}}}), ab);
  EXPECT_EQ(digest("again", {.splits = {{"train", {a, b}}}}), ab);
}

TEST_F(DatasetTest, UnknownSplitsAreRefusedWithThoseThereAre) {
  ASSERT_TRUE(ImportText({.splits = {{"train", {Text("a.txt", "a")}}}}, Folder("data")).ok());
  const auto split = Dataset::Open(Folder("data")).value().Split("validation");
  ASSERT_FALSE(split.ok());
  EXPECT_EQ(split.status().code(), Code::kNotFound);
  EXPECT_TRUE(Contains(split.status(), "has no split \"validation\"; it has train"));
}

TEST_F(DatasetTest, AFolderWithoutManifestIsNoDataset) {
  ASSERT_TRUE(MakeFolders(Folder("data")).ok());
  const auto dataset = Dataset::Open(Folder("data"));
  ASSERT_FALSE(dataset.ok());
  EXPECT_EQ(dataset.status().code(), Code::kNotFound);
  EXPECT_TRUE(Contains(dataset.status(), "holds no dataset.json"));
}

// The manifest as its writer, whose seal holds, would have written it.
std::string Resealed(const std::string& text) {
  const Result<Json> json = ParseJson(text);
  return json.ok() ? SealedManifest(*json) : text;
}

// As an earlier release wrote it.
std::string Unsealed(const std::string& text) {
  Json json = ParseJson(text).value();
  json.erase(std::string(kSealKey));
  return CanonicalJson(json);
}

TEST_F(DatasetTest, BrokenManifestsAreRefusedByName) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());
  const std::string path = JoinPath(Folder("data"), "dataset.json");
  const std::string text = ReadFile(path).value();
  const auto open_with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const std::size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    EXPECT_TRUE(WriteFileAtomic(path, Resealed(changed)).ok());
    const auto dataset = Dataset::Open(Folder("data"));
    EXPECT_FALSE(dataset.ok()) << from;
    EXPECT_EQ(dataset.status().code(), Code::kDataLoss) << from;
    EXPECT_TRUE(Contains(dataset.status(), "dataset.json")) << dataset.status().message();
    return dataset.ok() ? Status() : dataset.status();
  };
  EXPECT_TRUE(Contains(open_with("{", ""), "dataset.json"));
  EXPECT_TRUE(Contains(open_with("\"format\":1", "\"format\":2"), "written by a newer longrun"));
  EXPECT_TRUE(Contains(open_with("\"n_tokens\":19", "\"n_tokens\":20"), "n_tokens"));
  EXPECT_TRUE(Contains(open_with("\"n_tokens\":19", "\"n_tokens\":-5"),
                       "n_tokens: expected 1 to 2^56, found -5"));
  EXPECT_TRUE(Contains(
      open_with("\"n_documents\":2,\"n_tokens\"", "\"n_documents\":1,\"n_tokens\""), "digest"));
  EXPECT_TRUE(Contains(open_with("train-00000.lrtk", "../a/0000.lrtk"), "not a plain file name"));
  EXPECT_TRUE(Contains(open_with("\"digest\":\"", "\"digest\":\"x"), "expected 64 hex digits"));
}

TEST_F(DatasetTest, EachChangedCharacterOfAManifestIsToldOrChangesNothing) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());
  const std::string path = JoinPath(Folder("data"), "dataset.json");
  const std::string text = ReadFile(path).value();
  const Json written = ParseJson(text).value();
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {static_cast<char>(text[i] ^ 1), '0', ' ', '\\'}) {
      if (c == text[i]) continue;
      std::string changed = text;
      changed[i] = c;
      std::ofstream(path, std::ios::binary) << changed;  // no fsync: there are many
      const Result<Json> read = ReadManifestJson(Folder("data"));
      if (read.ok()) {
        EXPECT_EQ(*read, written) << changed;
        continue;
      }
      EXPECT_EQ(read.status().code(), Code::kDataLoss) << changed;
      EXPECT_TRUE(Contains(read.status(), path)) << read.status().message();
      EXPECT_TRUE(Contains(read.status(), "import it again")) << read.status().message();
    }
  }
}

TEST_F(DatasetTest, WhatNoOtherFileRepeatsIsGuardedByTheSeal) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());
  const std::string path = JoinPath(Folder("data"), "dataset.json");
  std::string text = ReadFile(path).value();
  const std::size_t at = text.find("\"name\":\"bytes\"");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 14, "\"name\":\"bites\"");
  ASSERT_TRUE(WriteFileAtomic(path, text).ok());

  const auto dataset = Dataset::Open(Folder("data"));

  ASSERT_FALSE(dataset.ok());
  EXPECT_TRUE(Contains(dataset.status(), path + ": the SHA-256 of its other members is "))
      << dataset.status().message();
}

TEST_F(DatasetTest, AManifestOfAnEarlierReleaseStaysValidAndCanBeSealed) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());
  const std::string path = JoinPath(Folder("data"), "dataset.json");
  const std::string sealed = ReadFile(path).value();
  const std::string digest = Dataset::Open(Folder("data"))->digest();
  ASSERT_TRUE(WriteFileAtomic(path, Unsealed(sealed)).ok());

  const auto dataset = Dataset::Open(Folder("data"));

  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_EQ(dataset->digest(), digest);
  EXPECT_FALSE(IsSealed(ReadManifestJson(Folder("data")).value()));
  ASSERT_TRUE(SealManifest(Folder("data")).ok());
  EXPECT_EQ(ReadFile(path).value(), sealed);
}

// To compare each member with the hash of the others would take minutes.
TEST_F(DatasetTest, OfAManifestWithoutASealFewMembersAreComparedWithItsHash) {
  Json manifest = {{"digest", Sha256Hex("a")}, {"spec_sha256", Sha256Hex("b")}};
  for (int i = 0; i < 30'000; ++i) manifest[Str("text", i)] = "x";
  EXPECT_EQ(CheckSeal(manifest).message(), "");

  Json renamed = ParseJson(SealedManifest(manifest)).value();
  renamed["manifest_sha257"] = renamed[std::string(kSealKey)];
  renamed.erase(std::string(kSealKey));
  EXPECT_EQ(CheckSeal(renamed).message(),
            "its member \"manifest_sha257\" must be named manifest_sha256");

  for (int i = 0; i < 30'000; ++i) manifest[Str("text", i)] = Sha256Hex(std::to_string(i));
  const Status refused = CheckSeal(manifest);
  EXPECT_EQ(refused.code(), Code::kDataLoss);
  EXPECT_EQ(refused.message(),
            "it has no manifest_sha256, but more than 4 members that are a SHA-256 and that no "
            "release of longrun writes");
}

TEST_F(DatasetTest, AChangedTokenizerIsFound) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(Folder("data"), "tokenizer.json"), "{}").ok());
  const auto dataset = Dataset::Open(Folder("data"));
  ASSERT_FALSE(dataset.ok());
  EXPECT_EQ(dataset.status().code(), Code::kDataLoss);
  EXPECT_TRUE(Contains(dataset.status(), "tokenizer.json: SHA-256 is"));
}

TEST_F(DatasetTest, AFlippedTokenIsFoundWhenItIsReadAndTheFileIsNamed) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());
  const std::string path = JoinPath(Folder("data"), "train-00000.lrtk");
  std::string bytes = ReadFile(path).value();
  bytes[4096] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());

  const Dataset dataset = Dataset::Open(Folder("data")).value();
  std::vector<std::int32_t> tokens(3);
  const Status status = dataset.Split("train").value()->Read(7, tokens);

  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_TRUE(Contains(status, path)) << status.message();
  EXPECT_TRUE(Contains(status, "token block 0")) << status.message();
  EXPECT_EQ(dataset.Verify().code(), Code::kDataLoss);
}

TEST_F(DatasetTest, VerifyFindsBytesThatNoReaderTouches) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());
  const std::string path = JoinPath(Folder("data"), "test-00000.lrtk");
  std::string bytes = ReadFile(path).value();
  bytes[4096 - 1] ^= 1;  // padding of the header
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());

  const Status status = Dataset::Open(Folder("data")).value().Verify();

  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_TRUE(Contains(status, "test-00000.lrtk: SHA-256 is")) << status.message();
}

TEST_F(DatasetTest, ASwappedShardIsRefused) {
  ASSERT_TRUE(ImportText(Spec(6), Folder("data")).ok());
  const std::string data = Folder("data");
  const std::string bytes = ReadFile(JoinPath(data, "train-00001.lrtk")).value();
  ASSERT_TRUE(WriteFileAtomic(JoinPath(data, "train-00002.lrtk"), bytes).ok());
  const auto dataset = Dataset::Open(data);
  ASSERT_FALSE(dataset.ok());
  EXPECT_TRUE(Contains(dataset.status(), "shard_index is 1, but dataset.json says 2"))
      << dataset.status().message();
}

TEST_F(DatasetTest, AMissingShardIsNamed) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());
  ASSERT_TRUE(RemoveAll(JoinPath(Folder("data"), "test-00000.lrtk")).ok());
  const auto dataset = Dataset::Open(Folder("data"));
  ASSERT_FALSE(dataset.ok());
  EXPECT_EQ(dataset.status().code(), Code::kDataLoss);
  EXPECT_TRUE(Contains(dataset.status(), "test-00000.lrtk"));
}

// What the lists of an import may get wrong, and the message.
TEST_F(DatasetTest, ImportRefusesWhatIsWrongWithItsListsAndWritesNothing) {
  const std::string a = Text("a.txt", "a"), b = Text("b.txt", "b"), copy = Text("copy.txt", "a");
  const std::string empty = Text("empty.txt", ""), missing = Folder("missing.txt");
  struct Case {
    ImportSpec spec;
    std::string message;
  };
  const std::vector<Case> cases = {
      {{}, "there is no split to import"},
      {{.splits = {{"train", {}}}}, "split train has no files"},
      {{.splits = {{"valid", {a}}}}, "unknown split \"valid\": choose train, validation or test"},
      {{.splits = {{"train", {a}}, {"train", {b}}}}, "split train is given twice"},
      {{.splits = {{"train", {a, empty}}}}, "empty.txt (split train) is empty"},
      {{.splits = {{"train", {missing}}}}, "missing.txt (split train): No such file"},
      {{.splits = {{"train", {folder_.path()}}}}, "is a folder: name the files in it"},
      {{.splits = {{"train", {a, a}}}}, "a.txt is listed twice in split train: list it once"},
      {{.splits = {{"train", {a}}, {"test", {a}}}},
       "listed twice, in split train and in split test"},
      {{.splits = {{"train", {a}}, {"test", {copy}}}}, "has the same bytes as"},
      {{.tokenizer = "gpt9", .splits = {{"train", {a}}}}, "unknown tokenizer \"gpt9\""},
      {{.splits = {{"train", {a}}}, .shard_tokens = 0}, "shard_tokens 0 must be positive"},
  };
  for (const Case& c : cases) {
    const Status status = ImportText(c.spec, Folder("data"));
    EXPECT_FALSE(status.ok()) << c.message;
    EXPECT_TRUE(Contains(status, c.message)) << status.message();
    EXPECT_FALSE(PathExists(JoinPath(Folder("data"), "dataset.json"))) << c.message;
  }
}

TEST_F(DatasetTest, ImportDoesNotTouchAFinishedDataset) {
  ASSERT_TRUE(ImportText(Spec(), Folder("data")).ok());
  const std::string digest = Dataset::Open(Folder("data")).value().digest();
  const Status status = ImportText({.splits = {{"train", {Text("x.txt", "x")}}}}, Folder("data"));
  EXPECT_EQ(status.code(), Code::kAlreadyExists);
  EXPECT_EQ(Dataset::Open(Folder("data")).value().digest(), digest);
}

TEST_F(DatasetTest, ImportStartsOverWhereAnEarlierOneStopped) {
  ASSERT_TRUE(MakeFolders(Folder("data")).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(Folder("data"), "train-00000.lrtk.tmp"), "half").ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(Folder("data"), "train-00007.lrtk"), "old").ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(Folder("data"), "notes.txt"), "mine").ok());

  ASSERT_TRUE(ImportText({.splits = {{"train", {Text("x.txt", "x")}}}}, Folder("data")).ok());

  EXPECT_EQ(ListFolder(Folder("data")).value(),
            (std::vector<std::string>{"dataset.json", "notes.txt", "tokenizer.json",
                                      "train-00000.lrtk"}));
  EXPECT_TRUE(Dataset::Open(Folder("data")).value().Verify().ok());
}

}  // namespace
}  // namespace longrun
