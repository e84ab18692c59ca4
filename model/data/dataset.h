// A tokenised dataset: a folder of token shards (shard.h) with its manifest dataset.json, its
// tokenizer, and each token's byte length. Opened read-only; a folder without a manifest is
// unfinished and refused.
//
//   FOLDER/dataset.json        the manifest, written last
//   FOLDER/tokenizer.json      name, fingerprint, special ids, bytes of text per id
//   FOLDER/SPLIT-00000.lrtk    token shards, model/data/shard.h
//
// The digest is SHA-256 over the tokenizer's fingerprint, split names, token ids and document
// table, but not over tool version, shard size, name or the manifest's own seal (manifest.h). The
// bytes hashed are the canonical JSON
//
//   {"format":1,
//    "splits":[{"documents_sha256","n_documents","n_tokens","name","tokens_sha256"}, ...],
//    "tokenizer":fingerprint}
//
// with the splits in the order train, validation, test; tokens_sha256 is over the ids as u32,
// documents_sha256 over the document starts and the split's end as u64, both little-endian.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// One split: its documents, concatenated in order, each closed by the end-of-text token if the
// packing says so.
class TokenSplit {
 public:
  virtual ~TokenSplit() = default;
  virtual std::int64_t n_tokens() const = 0;
  // The token index at which each document starts; the last entry is n_tokens().
  virtual std::span<const std::int64_t> document_starts() const = 0;
  // Copies tokens [begin, begin + out.size()), which must be inside the split (else a bug). A
  // block's hash is checked when the block is first read; kDataLoss names the shard and the damaged
  // block. May be called from any thread.
  virtual Status Read(std::int64_t begin, std::span<std::int32_t> out) const = 0;
};

class Dataset {
 public:
  // kNotFound, or kDataLoss (with the shard's file and the fault).
  static Result<Dataset> Open(const std::string& folder);
  ~Dataset();
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(Dataset&&) noexcept;

  const std::string& digest() const;                 // 64 hex digits
  const std::string& tokenizer_fingerprint() const;  // 64 hex digits
  std::int64_t vocab_size() const;                   // rows of an embedding, with padding
  std::int64_t n_tokens() const;                     // the tokenizer's tokens; every id is smaller
  std::int32_t eot_id() const;                       // -1 when there is none
  // The token that starts a text: the tokenizer's begin of text, else its end of text; -1 if it has
  // neither.
  std::int32_t bos_id() const;
  // The tokenizer's mask token; -1: none.
  std::int32_t mask_id() const;
  // Bytes of text that each id stands for (0 for special tokens); vocab_size() entries.
  std::span<const std::int32_t> token_bytes() const;
  std::vector<std::string> split_names() const;  // those present of train, validation, test
  // kNotFound names the existing splits.
  Result<const TokenSplit*> Split(std::string_view name) const;
  // Reads every shard and checks file, blocks, ids and digest; kDataLoss names the file. `go_on` is
  // asked now and then: an error of it ends the check.
  Status Verify(const std::function<Status()>& go_on = [] { return Status(); }) const;

 private:
  struct Impl;
  explicit Dataset(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The ids that the tokenizer can produce, ascending: its text tokens and the end of text, but no
// padding rows or other control tokens.
std::vector<std::int32_t> IdsOfText(const Dataset& dataset);

// One text file is one document. The lists say which document belongs to which split, and in which
// order. Bytes are kept unchanged (also line ends and invalid UTF-8), and each document is closed
// by the end-of-text token.
struct ImportSpec {
  std::string tokenizer = "bytes";
  std::vector<std::pair<std::string, std::vector<std::string>>> splits;  // split name, files
  std::int64_t shard_tokens = std::int64_t{1} << 27;
  bool any_bytes = false;  // accept files that are not text (model/data/source/text_check.h)
};

// Tokenises the files into `folder`, which is created. It must not hold a finished dataset yet;
// shards of an unfinished import there are removed. Atomic: the manifest is written last. Errors
// name the file: missing, not a file, empty, listed twice, or with the same bytes in two splits (a
// model would be evaluated on its training data). A split without files is an error.
Status ImportText(const ImportSpec& spec, const std::string& folder);

}  // namespace longrun
