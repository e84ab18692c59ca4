// A token shard, `.lrtk`: little-endian, every section aligned to 4096 bytes.
//
//   offset 0      ShardHeader, then zeros
//   4096          tokens, 1, 2 or 4 bytes each
//   then          u64 document_start[n_documents + 1], token indices in the shard; the last entry
//                 is n_tokens
//   then          ShardDocument[n_documents]
//   then          u64 XXH3-64 of each block of 1 MiB of the token section (the last may be short)
//
// A document may continue in the next shard: it then has an entry in both, with flags that say so.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/data/tokenizer.h"

namespace longrun {

inline constexpr std::uint32_t kShardVersion = 1;
inline constexpr std::uint64_t kShardAlign = 4096;
inline constexpr std::uint64_t kShardBlockBytes = 1048576;
inline constexpr std::uint32_t kShardNoId = 0xffffffff;

struct ShardHeader {
  std::array<char, 8> magic = {'L', 'R', 'T', 'K', 'S', 'H', 'D', '1'};
  std::uint32_t header_bytes = kShardAlign;
  std::uint32_t version = kShardVersion;
  std::uint8_t token_bytes = 0;  // 1, 2 or 4
  std::uint8_t flags = 0;        // bit 0 EOT before, bit 1 EOT after each document
  std::array<std::uint8_t, 6> reserved{};
  std::uint64_t n_tokens = 0;
  std::uint64_t n_documents = 0;
  std::uint64_t tokens_offset = kShardAlign;
  std::uint64_t tokens_bytes = 0;
  std::uint64_t document_offset = 0;
  std::uint64_t document_meta_offset = 0;
  std::uint64_t block_hash_offset = 0;
  std::uint64_t block_bytes = kShardBlockBytes;
  std::uint32_t vocab_size = 0;  // rows; every id is smaller
  std::uint32_t eot_id = kShardNoId;
  std::uint32_t bos_id = kShardNoId;
  std::uint32_t pad_id = kShardNoId;
  std::array<std::uint8_t, 32> tokenizer_fingerprint{};
  std::array<std::uint8_t, 32> spec_sha256{};
  std::uint64_t shard_index = 0;
  std::uint64_t n_shards = 0;     // 0 while writing
  std::uint64_t header_hash = 0;  // XXH3-64 of the bytes before it
};
static_assert(sizeof(ShardHeader) == 192);

inline constexpr std::uint8_t kShardEotBefore = 1;
inline constexpr std::uint8_t kShardEotAfter = 2;

struct ShardDocument {
  std::uint64_t document = 0;    // index in its split
  std::uint32_t text_bytes = 0;  // of the document's part in this shard
  std::uint32_t flags = 0;
};
static_assert(sizeof(ShardDocument) == 16);

inline constexpr std::uint32_t kShardDocumentContinued = 1;  // began in an earlier shard
inline constexpr std::uint32_t kShardDocumentContinues = 2;  // continues in the next shard

std::uint64_t ShardHeaderHash(const ShardHeader& header);
// "train-00003.lrtk"
std::string ShardName(std::string_view split, std::size_t index);

// Writes the shards of one split into a folder. Until Finish, the name of a shard ends in ".tmp".
class ShardWriter {
 public:
  struct Options {
    std::string folder;
    std::string split;
    std::int64_t shard_tokens = 0;  // of each shard but the last
    // Has the vocabulary, fingerprint, spec and packing flags; the writer fills in the rest.
    ShardHeader identity;
    std::vector<std::int32_t> bytes_of_id;  // bytes of text per id; identity.vocab_size entries
  };
  struct ShardFile {
    std::string name;
    std::int64_t n_tokens = 0;
    std::int64_t n_documents = 0;  // entries of its document table
  };

  explicit ShardWriter(Options options);
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  // Adds tokens to the current document; every id must be below vocab_size (else a bug).
  Status Append(std::span<const std::int32_t> tokens);
  // Ends the current document, which must not be empty; the next Append begins another.
  void EndDocument();
  // Adds one complete document.
  Status Add(std::span<const std::int32_t> tokens);
  // Writes n_shards into every header, syncs and renames. kFailedPrecondition when nothing was
  // added.
  Result<std::vector<ShardFile>> Finish();

 private:
  struct Open;  // the shard being written

  Status Begin();
  Status AddPart(std::span<const std::int32_t> tokens);
  Status CloseShard();

  Options options_;
  std::unique_ptr<Open> open_;
  std::vector<ShardFile> shards_;
  std::vector<ShardHeader> headers_;
  std::uint64_t n_documents_ = 0;  // documents that ended
  bool in_document_ = false;       // tokens of an unfinished document were written
};

// One shard, read by position. Open checks the document table, and every field of the header
// against the file; a block's hash is checked when the block is first read. If the file becomes
// shorter or its disk fails later, a read of the missing bytes returns kDataLoss. A later change
// within a block that was checked is not noticed.
class ShardReader {
 public:
  // kNotFound, or kDataLoss naming the file, the field, the value found and the value expected.
  static Result<ShardReader> Open(const std::string& path);
  ~ShardReader();
  ShardReader(ShardReader&&) noexcept;
  ShardReader& operator=(ShardReader&&) noexcept;

  const std::string& path() const;
  const ShardHeader& header() const;
  std::span<const std::uint64_t> document_starts() const;  // n_documents + 1
  std::span<const ShardDocument> documents() const;
  void ForgetDocuments();  // frees the memory of both tables, which are empty from then on
  std::int64_t file_bytes() const;
  // Copies tokens [begin, begin + out.size()), which must be inside the shard (else a bug).
  // kDataLoss names the damaged block. May be called from any thread.
  Status Read(std::int64_t begin, std::span<std::int32_t> out) const;
  // Checks the hash of every block, read before or not.
  Status Verify() const;

 private:
  struct Impl;
  explicit ShardReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace longrun
