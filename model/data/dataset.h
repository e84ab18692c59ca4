// A tokenised dataset: a folder of memory-mapped token shards (data.md section 7) with its manifest
// dataset.json, its tokenizer, and each token's byte length. Opened read-only; a folder without a
// manifest is unfinished and refused.
//
// The digest is SHA-256 over tokenizer fingerprint, split names, token ids and document table: not
// over tool version, shard size or name (contracts.md section 10).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// One split: its documents, concatenated in order, each closed by the end-of-text token when the
// packing says so.
class TokenSplit {
 public:
  virtual ~TokenSplit() = default;
  virtual std::int64_t n_tokens() const = 0;
  // Token index at which each document starts; the last entry is n_tokens().
  virtual std::span<const std::int64_t> document_starts() const = 0;
  // Copies tokens [begin, begin + out.size()); inside the split, or a bug.
  virtual void Read(std::int64_t begin, std::span<std::int32_t> out) const = 0;
};

class Dataset {
 public:
  // kNotFound, kDataLoss (with the shard's file and what does not hold).
  static Result<Dataset> Open(const std::string& folder);
  ~Dataset();
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(Dataset&&) noexcept;

  const std::string& digest() const;                 // 64 hex digits
  const std::string& tokenizer_fingerprint() const;  // 64 hex digits
  std::int64_t vocab_size() const;                   // padded: rows of an embedding
  std::int32_t eot_id() const;                       // -1 when there is none
  // Bytes of text that each id stands for (0 for special tokens); vocab_size() entries.
  std::span<const std::int32_t> token_bytes() const;
  std::vector<std::string> split_names() const;      // of train, validation, test: those present
  // kNotFound names the splits there are.
  Result<const TokenSplit*> Split(std::string_view name) const;
  // Reads every shard and compares its block hashes and the digest; kDataLoss names the file.
  Status Verify() const;

 private:
  struct Impl;
  explicit Dataset(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// One text file is one document; the lists say which document belongs to which split.
struct ImportSpec {
  std::string tokenizer = "bytes";
  std::vector<std::pair<std::string, std::vector<std::string>>> splits;  // split name, files
  std::int64_t shard_tokens = std::int64_t{1} << 27;
};

// Tokenises the files into `folder` (made; must not hold a finished dataset yet). Atomic: the
// manifest comes last. Errors name the file and the place.
Status ImportText(const ImportSpec& spec, const std::string& folder);

}  // namespace longrun
