// A tokenised dataset: a folder of memory-mapped token shards (shard.h) with its manifest
// dataset.json, its tokenizer, and each token's byte length. Opened read-only; a folder without a
// manifest is unfinished and refused.
//
//   FOLDER/dataset.json        the manifest, written last
//   FOLDER/tokenizer.json      name, fingerprint, special ids, bytes of text per id
//   FOLDER/SPLIT-00000.lrtk    token shards, model/data/shard.h
//
// The digest is SHA-256 over tokenizer fingerprint, split names, token ids and document table: not
// over tool version, shard size, name or the manifest's own seal (manifest.h). Exactly: over the canonical JSON
//
//   {"format":1,
//    "splits":[{"documents_sha256","n_documents","n_tokens","name","tokens_sha256"}, ...],
//    "tokenizer":fingerprint}
//
// with the splits in the order train, validation, test; tokens_sha256 is over the ids as u32,
// documents_sha256 over the document starts and the split's end as u64, both little-endian.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
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
  // Copies tokens [begin, begin + out.size()); inside the split, or a bug. A block's hash is
  // compared when it is first touched: kDataLoss names the shard and the block. Any thread.
  virtual Status Read(std::int64_t begin, std::span<std::int32_t> out) const = 0;
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
  std::int64_t n_tokens() const;                     // of the tokenizer: no id is as large
  std::int32_t eot_id() const;                       // -1 when there is none
  // What starts a text: the tokenizer's begin of text, else its end of text; -1 when it has neither.
  std::int32_t bos_id() const;
  // What the tokenizer has for a hidden token; -1: nothing.
  std::int32_t mask_id() const;
  // Bytes of text that each id stands for (0 for special tokens); vocab_size() entries.
  std::span<const std::int32_t> token_bytes() const;
  std::vector<std::string> split_names() const;  // of train, validation, test: those present
  // kNotFound names the splits there are.
  Result<const TokenSplit*> Split(std::string_view name) const;
  // Reads every shard and compares file, blocks, ids and digest; kDataLoss names the file.
  Status Verify() const;

 private:
  struct Impl;
  explicit Dataset(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The ids that the tokenizer can produce: its text tokens and the end of text, ascending. Padding rows and
// other control tokens are none.
std::vector<std::int32_t> IdsOfText(const Dataset& dataset);

// One text file is one document; the lists say which document belongs to which split, and in which
// order. Bytes are kept as they are (also line ends, and what is no UTF-8), and each document is
// closed by the end-of-text token.
struct ImportSpec {
  std::string tokenizer = "bytes";
  std::vector<std::pair<std::string, std::vector<std::string>>> splits;  // split name, files
  std::int64_t shard_tokens = std::int64_t{1} << 27;
  bool any_bytes = false;  // also what is no text (model/data/source/text_check.h)
};

// Tokenises the files into `folder` (made; must not hold a finished dataset yet; shards that an
// unfinished import left there go). Atomic: the manifest comes last. Errors name the file: missing,
// not a file, empty, listed twice, or with the same bytes in two splits (a model would be measured
// on what it was trained on). A split without files is an error.
Status ImportText(const ImportSpec& spec, const std::string& folder);

}  // namespace longrun
