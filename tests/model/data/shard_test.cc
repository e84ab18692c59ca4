#include "model/data/shard.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"

namespace longrun {
namespace {

constexpr std::uint32_t kVocabSize = 320;

ShardWriter::Options Options(const std::string& folder, std::int64_t shard_tokens,
                             std::uint32_t vocab_size = kVocabSize) {
  ShardHeader identity;
  identity.vocab_size = vocab_size;
  identity.eot_id = 256;
  identity.flags = kShardEotAfter;
  identity.tokenizer_fingerprint.fill(7);
  return {.folder = folder,
          .split = "train",
          .shard_tokens = shard_tokens,
          .identity = identity,
          .bytes_of_id = std::vector<std::int32_t>(vocab_size, 1)};
}

// n tokens that differ from their neighbours.
std::vector<std::int32_t> Tokens(std::size_t n) {
  std::vector<std::int32_t> tokens(n);
  for (std::size_t i = 0; i < n; ++i) tokens[i] = static_cast<std::int32_t>(i * 7 % 320);
  return tokens;
}

class ShardTest : public testing::Test {
 protected:
  std::string Path(std::size_t index = 0) {
    return JoinPath(folder_.path(), ShardName("train", index));
  }

  // One shard of three documents of 10, 20 and 30 tokens.
  void WriteOne() {
    ShardWriter writer(Options(folder_.path(), 1000));
    for (const std::size_t n : {10U, 20U, 30U}) ASSERT_TRUE(writer.Add(Tokens(n)).ok());
    ASSERT_TRUE(writer.Finish().ok());
  }

  // Opens the shard after a change of its header (with a hash that fits) or of its bytes.
  Status OpenWith(const std::function<void(ShardHeader&)>& change) {
    std::string bytes = ReadFile(Path()).value();
    ShardHeader header;
    std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
    change(header);
    header.header_hash = ShardHeaderHash(header);
    std::memcpy(bytes.data(), &header, sizeof header);
    return OpenBytes(bytes);
  }

  Status OpenBytes(const std::string& bytes) {
    const std::string path = JoinPath(folder_.path(), "changed.lrtk");
    EXPECT_TRUE(WriteFileAtomic(path, bytes).ok());
    return ShardReader::Open(path).status();
  }

  TempFolder folder_;
};

void ExpectDataLoss(const Status& status, std::string_view part) {
  EXPECT_EQ(status.code(), Code::kDataLoss) << part;
  EXPECT_NE(status.message().find("changed.lrtk"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}

// The offsets are those that ShardHeader says.
TEST_F(ShardTest, HeaderLiesAsTheSpecificationSays) {
  WriteOne();
  const std::string bytes = ReadFile(Path()).value();
  const auto u64 = [&](std::size_t at) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + at, 8);
    return word;
  };
  EXPECT_EQ(bytes.substr(0, 8), "LRTKSHD1");
  EXPECT_EQ(u64(8), 4096 + (std::uint64_t{1} << 32));  // header bytes, version
  EXPECT_EQ(bytes[16], 2);                             // token bytes
  EXPECT_EQ(bytes[17], 2);                             // EOT after
  EXPECT_EQ(u64(24), 60u);                             // tokens
  EXPECT_EQ(u64(32), 3u);                              // documents
  EXPECT_EQ(u64(40), 4096u);
  EXPECT_EQ(u64(48), 120u);
  EXPECT_EQ(u64(56), 8192u);
  EXPECT_EQ(u64(64), 12288u);
  EXPECT_EQ(u64(72), 16384u);
  EXPECT_EQ(u64(80), 1048576u);
  EXPECT_EQ(u64(88), 320 + (std::uint64_t{256} << 32));
  EXPECT_EQ(bytes.substr(104, 32), std::string(32, 7));
  EXPECT_EQ(u64(168), 0u);
  EXPECT_EQ(u64(176), 1u);
  EXPECT_EQ(bytes.size(), 16384u + 8);  // one block
  EXPECT_EQ(bytes.substr(192, 4096 - 192), std::string(4096 - 192, '\0'));
}

TEST_F(ShardTest, GivesBackTokensAndDocuments) {
  WriteOne();
  const ShardReader shard = ShardReader::Open(Path()).value();
  EXPECT_EQ(
      std::vector<std::uint64_t>(shard.document_starts().begin(), shard.document_starts().end()),
      (std::vector<std::uint64_t>{0, 10, 30, 60}));
  EXPECT_EQ(shard.documents()[2].document, 2u);
  EXPECT_EQ(shard.documents()[2].text_bytes, 30u);
  std::vector<std::int32_t> tokens(30);
  ASSERT_TRUE(shard.Read(30, tokens).ok());
  EXPECT_EQ(tokens, Tokens(30));
}

TEST_F(ShardTest, ADocumentGoesOnInTheNextShardAndBothSaySo) {
  ShardWriter writer(Options(folder_.path(), 8));
  ASSERT_TRUE(writer.Add(Tokens(20)).ok());
  ASSERT_TRUE(writer.Add(Tokens(2)).ok());
  const auto files = writer.Finish().value();

  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[2].n_tokens, 6);
  const auto flags = [&](std::size_t index, std::size_t document) {
    return ShardReader::Open(Path(index)).value().documents()[document].flags;
  };
  EXPECT_EQ(flags(0, 0), kShardDocumentContinues);
  EXPECT_EQ(flags(1, 0), kShardDocumentContinues | kShardDocumentContinued);
  EXPECT_EQ(flags(2, 0), kShardDocumentContinued);
  EXPECT_EQ(flags(2, 1), 0u);
  EXPECT_EQ(ShardReader::Open(Path(2)).value().documents()[1].document, 1u);
}

TEST_F(ShardTest, BlocksAreHashedEachForItselfAndReadAcrossTheirBorders) {
  const std::vector<std::int32_t> tokens = Tokens(1300000);  // 2.6 MB: three blocks
  ShardWriter writer(Options(folder_.path(), 1 << 27));
  ASSERT_TRUE(writer.Add(tokens).ok());
  ASSERT_TRUE(writer.Finish().ok());
  std::string bytes = ReadFile(Path()).value();
  bytes[4096 + 2 * 1048576 + 10] ^= 1;  // in the third
  const std::string path = JoinPath(folder_.path(), "changed.lrtk");
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());

  const ShardReader shard = ShardReader::Open(path).value();
  std::vector<std::int32_t> first(1000), last(1);

  ASSERT_TRUE(shard.Read(524288 - 500, first).ok());  // over the border of the first two
  EXPECT_EQ(first, std::vector<std::int32_t>(tokens.begin() + 524288 - 500,
                                             tokens.begin() + 524288 + 500));
  ExpectDataLoss(shard.Read(1299999, last), "token block 2");
  ExpectDataLoss(shard.Verify(), "token block 2");
}

TEST_F(ShardTest, ManyThreadsReadOneShard) {
  const std::vector<std::int32_t> tokens = Tokens(1300000);
  ShardWriter writer(Options(folder_.path(), 1 << 27));
  ASSERT_TRUE(writer.Add(tokens).ok());
  ASSERT_TRUE(writer.Finish().ok());
  const ShardReader shard = ShardReader::Open(Path()).value();
  std::vector<std::vector<std::int32_t>> read(4, std::vector<std::int32_t>(tokens.size()));
  {
    std::vector<std::jthread> threads;
    for (auto& out : read) threads.emplace_back([&] { EXPECT_TRUE(shard.Read(0, out).ok()); });
  }
  for (const auto& out : read) EXPECT_EQ(out, tokens);
}

// The user may change the dataset's folder while a daemon reads it.
TEST_F(ShardTest, AFileCutShortAfterItWasOpenedIsAnError) {
  ShardWriter writer(Options(folder_.path(), 1 << 27));
  ASSERT_TRUE(writer.Add(Tokens(1300000)).ok());
  ASSERT_TRUE(writer.Finish().ok());
  const std::string path = JoinPath(folder_.path(), "changed.lrtk");
  ASSERT_EQ(rename(Path().c_str(), path.c_str()), 0);
  const ShardReader shard = ShardReader::Open(path).value();
  std::vector<std::int32_t> tokens(1000);
  ASSERT_TRUE(shard.Read(0, tokens).ok());

  ASSERT_EQ(truncate(path.c_str(), 4096 + 1000), 0);

  // The first block was verified, the second one was not.
  ExpectDataLoss(shard.Read(0, tokens), "cannot read bytes 5096 to 6095: the file has become");
  ExpectDataLoss(shard.Read(524288, tokens), "cannot read bytes 1052672 to 2101247: the file has");
  ExpectDataLoss(shard.Verify(), "import the dataset again");
  EXPECT_EQ(shard.document_starts().back(), 1300000u);
}

// The soft limit of this process on open files, put back at the end.
class OpenFilesLimit {
 public:
  explicit OpenFilesLimit(rlim_t n_files) {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit lower = {.rlim_cur = n_files, .rlim_max = before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  }
  ~OpenFilesLimit() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }
  OpenFilesLimit(const OpenFilesLimit&) = delete;
  OpenFilesLimit& operator=(const OpenFilesLimit&) = delete;

 private:
  rlimit before_{};
};

TEST_F(ShardTest, ThereMayBeMoreShardsThanAProcessMayOpenFiles) {
  WriteOne();
  std::vector<ShardReader> shards;
  std::vector<std::int32_t> tokens(60);
  {
    const OpenFilesLimit limit(160);
    for (int i = 0; i < 200; ++i) {
      Result<ShardReader> shard = ShardReader::Open(Path());
      ASSERT_TRUE(shard.ok()) << shard.status().message();
      shards.push_back(std::move(shard).value());
      ASSERT_TRUE(shards.back().Read(0, tokens).ok());
    }
  }

  EXPECT_EQ(std::vector<std::int32_t>(tokens.begin() + 30, tokens.end()), Tokens(30));
  ASSERT_EQ(unlink(Path().c_str()), 0);
  EXPECT_TRUE(shards.front().Read(0, tokens).ok());
  const Status status = shards.back().Read(0, tokens);
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find("the file was removed, replaced or resized"), std::string::npos)
      << status.message();
}

TEST_F(ShardTest, LargeVocabulariesTakeFourBytes) {
  ShardWriter writer(Options(folder_.path(), 1000, 128256));
  const std::vector<std::int32_t> tokens = {0, 65536, 128255};
  ASSERT_TRUE(writer.Add(tokens).ok());
  ASSERT_TRUE(writer.Finish().ok());
  const ShardReader shard = ShardReader::Open(Path()).value();
  EXPECT_EQ(shard.header().token_bytes, 4);
  std::vector<std::int32_t> read(3);
  ASSERT_TRUE(shard.Read(0, read).ok());
  EXPECT_EQ(read, tokens);
}

TEST_F(ShardTest, NothingHasItsNameBeforeItIsFinished) {
  ShardWriter writer(Options(folder_.path(), 8));
  ASSERT_TRUE(writer.Add(Tokens(20)).ok());
  EXPECT_EQ(ListFolder(folder_.path()).value(),
            (std::vector<std::string>{"train-00000.lrtk.tmp", "train-00001.lrtk.tmp",
                                      "train-00002.lrtk.tmp"}));
  ASSERT_TRUE(writer.Finish().ok());
  EXPECT_EQ(ListFolder(folder_.path()).value(),
            (std::vector<std::string>{"train-00000.lrtk", "train-00001.lrtk", "train-00002.lrtk"}));
}

TEST_F(ShardTest, ASplitWithoutDocumentsIsRefused) {
  ShardWriter writer(Options(folder_.path(), 8));
  EXPECT_EQ(writer.Finish().status().code(), Code::kInvalidArgument);
}

TEST_F(ShardTest, AFolderThatIsNotThereIsNamed) {
  ShardWriter writer(Options(JoinPath(folder_.path(), "missing"), 8));
  const Status status = writer.Add(Tokens(20));
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_NE(status.message().find("missing/train-00000.lrtk.tmp"), std::string::npos)
      << status.message();
}

TEST_F(ShardTest, AFileCutShortIsRefusedAtEveryLength) {
  WriteOne();
  const std::string bytes = ReadFile(Path()).value();
  for (const std::size_t n :
       {0U, 1U, 8U, 191U, 192U, 4095U, 4096U, 4100U, 8192U, 12288U, 16384U, 16391U}) {
    ExpectDataLoss(OpenBytes(bytes.substr(0, n)), "cut short");
  }
  EXPECT_TRUE(OpenBytes(bytes).ok());
}

TEST_F(ShardTest, AForeignFileAndANewerVersionAreRefused) {
  WriteOne();
  ExpectDataLoss(OpenWith([](ShardHeader& h) { h.magic[0] = 'X'; }),
                 "magic is \"XRTKSHD1\", expected \"LRTKSHD1\"");
  ExpectDataLoss(OpenWith([](ShardHeader& h) { h.version = 2; }),
                 "version is 2, expected at most 1: it was written by a newer longrun");
  ExpectDataLoss(OpenWith([](ShardHeader& h) { h.version = 0; }), "version is 0, expected 1");
}

TEST_F(ShardTest, AFlippedBitInTheHeaderIsFoundByItsHash) {
  WriteOne();
  const std::string bytes = ReadFile(Path()).value();
  for (std::size_t at = 16; at < sizeof(ShardHeader); ++at) {
    std::string changed = bytes;
    changed[at] ^= 0x10;
    ExpectDataLoss(OpenBytes(changed), "header hash");
  }
}

// Headers whose hash fits, with a field that does not: each is named, and none is followed.
TEST_F(ShardTest, EveryHeaderFieldIsCheckedAgainstTheFile) {
  WriteOne();
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  struct Case {
    std::function<void(ShardHeader&)> change;
    std::string_view part;
  };
  const std::vector<Case> cases = {
      {[](ShardHeader& h) { h.header_bytes = 192; }, "header_bytes is 192, expected 4096"},
      {[](ShardHeader& h) { h.token_bytes = 3; }, "token_bytes is 3, expected 1, 2 or 4"},
      {[](ShardHeader& h) { h.token_bytes = 0; }, "token_bytes is 0"},
      {[](ShardHeader& h) { h.n_tokens = 0; }, "n_tokens is 0"},
      {[](ShardHeader& h) { h.n_tokens = 61; }, "tokens_bytes is 120, expected 122"},
      {[](ShardHeader& h) { h.n_tokens = kHuge; }, "n_tokens is 18446744073709551615"},
      {[](ShardHeader& h) { h.n_tokens = kHuge / 2 + 61; }, "n_tokens"},  // times 2 wraps to 120
      {[](ShardHeader& h) { h.n_documents = 0; }, "n_docs is 0"},
      {[](ShardHeader& h) { h.n_documents = 61; }, "n_docs is 61"},
      {[](ShardHeader& h) { h.n_documents = kHuge; }, "n_docs is 18446744073709551615"},
      {[](ShardHeader& h) { h.n_documents = 2; }, "doc_start[2] is 30, expected n_tokens, 60"},
      {[](ShardHeader& h) { h.tokens_offset = 0; }, "the place of tokens is 0"},
      {[](ShardHeader& h) { h.tokens_offset = kHuge - 4095; },
       "bytes of tokens from byte 18446744073709547520"},
      {[](ShardHeader& h) { h.document_offset = 8193; },
       "document starts is 8193, expected a multiple of 4096"},
      {[](ShardHeader& h) { h.document_offset = 20480; },
       "bytes of document starts from byte 20480"},
      {[](ShardHeader& h) { h.document_meta_offset = kHuge - 4095; },
       "bytes of document sizes from byte"},
      {[](ShardHeader& h) { h.block_hash_offset = 1 << 30; },
       "bytes of block hashes from byte 1073741824"},
      {[](ShardHeader& h) { h.block_bytes = 1; }, "block_bytes is 1"},
      {[](ShardHeader& h) { h.vocab_size = 0; }, "vocab_size is 0"},
      {[](ShardHeader& h) { h.n_shards = 0; }, "n_shards is 0"},
      {[](ShardHeader& h) { h.shard_index = 1; }, "shard_index is 1, expected below n_shards, 1"},
  };
  for (const Case& c : cases) ExpectDataLoss(OpenWith(c.change), c.part);
}

TEST_F(ShardTest, ADocumentTableThatDoesNotGrowIsRefused) {
  WriteOne();
  const std::string bytes = ReadFile(Path()).value();
  std::string changed = bytes;
  changed[8192 + 8] = 0;  // doc_start[1]: 10 -> 0
  ExpectDataLoss(OpenBytes(changed), "doc_start[1] is 0, expected more than 0");
  changed = bytes;
  changed[8192] = 1;
  ExpectDataLoss(OpenBytes(changed), "doc_start[0] is 1, expected 0");
  changed = bytes;
  changed[12288 + 16 + 12] = 1;  // flags of the second of three documents
  ExpectDataLoss(OpenBytes(changed), "flags of document 1");
}

TEST_F(ShardTest, AnIdPastTheVocabularyIsRefusedThoughItsHashFits) {
  WriteOne();
  const std::string path = JoinPath(folder_.path(), "changed.lrtk");
  ASSERT_TRUE(OpenWith([](ShardHeader& h) { h.vocab_size = 100; }).ok());
  std::vector<std::int32_t> tokens(60);
  ExpectDataLoss(ShardReader::Open(path).value().Read(0, tokens), "an id below vocab_size, 100");
}

}  // namespace
}  // namespace longrun
