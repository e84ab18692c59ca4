// A part: one source file, tokenised. An import makes one for each file, in any order and several at
// a time, and puts the parts together afterwards; so its result does not depend on how many threads
// made them, and one that was stopped goes on with the files that have no part yet.
//
//   KEY.tokens     ids, 2 or 4 bytes each, with the end-of-text tokens of the packing
//   KEY.documents  PartDocument[]
//   KEY.json       PartFacts, and a CRC32C over all three; written last, so a part that has it is whole
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/status.h"
#include "model/data/packing.h"
#include "model/data/source/source.h"
#include "model/data/tokenizer.h"

namespace longrun {

struct PartDocument {
  std::uint64_t n_tokens = 0;  // with end-of-text
  std::uint64_t flags = 0;
  std::array<std::uint8_t, 32> sha256{};  // of its text (newlines as packed), or of its ids as u32
};
static_assert(sizeof(PartDocument) == 48);

// Of streams of tokens, which may cut a document at a file's end:
inline constexpr std::uint64_t kPartHeadless = 1;  // does not begin with end-of-text
inline constexpr std::uint64_t kPartOpen = 2;      // does not end with it

struct PartFacts {
  std::int64_t n_tokens = 0;
  std::int64_t n_documents = 0;
  std::int64_t n_empty = 0;  // documents without text, left out
  std::int64_t n_short = 0;  // left out by min_doc_tokens
  std::int64_t n_cut = 0;    // by max_doc_tokens
  std::vector<SourceFile> files;

  Json ToJson() const;
  static Result<PartFacts> FromJson(const Json& json);
};

// Bytes of an id in parts (and in shards) of a tokenizer.
std::uint8_t TokenWidth(std::int64_t vocab_size);

// Takes what a reader gives, tokenises and packs it. Memory: some MiB, and the longest stretch of
// text without a place to cut it (kUncutBytesMax).
class PartWriter final : public DocumentSink {
 public:
  static constexpr std::size_t kUncutBytesMax = std::size_t{256} << 20;

  // `folder`/KEY.*; the tokenizer and the packing must outlive it.
  static Result<std::unique_ptr<PartWriter>> Create(const std::string& folder,
                                                    const std::string& key,
                                                    const Tokenizer& tokenizer,
                                                    const Packing& packing,
                                                    SourceFormat::Gives gives);
  ~PartWriter() override;
  PartWriter(const PartWriter&) = delete;
  PartWriter& operator=(const PartWriter&) = delete;

  Status Text(std::string_view bytes) override;
  Status Ids(std::span<const std::int32_t> ids) override;
  Status EndDocument() override;
  // After the last document. Syncs all of it before it says that the part is whole.
  Result<PartFacts> Finish(std::vector<SourceFile> files);

  std::int64_t n_documents() const { return facts_.n_documents; }
  std::int64_t n_tokens() const { return facts_.n_tokens; }

 private:
  class Output;  // an append-only file

  PartWriter(std::string path, const Tokenizer& tokenizer, const Packing& packing,
             SourceFormat::Gives gives);
  Status BeginJoined();
  Status AddText(std::string_view bytes);
  Status Encode(bool all);
  Status AddTextIds(std::span<const std::int32_t> ids);
  Status AddId(std::int32_t id);
  Status CloseText();
  Status AddStream(std::span<const std::int32_t> ids);
  Status CheckIds(std::span<const std::int32_t> ids);
  Status CheckClosedByEot();
  Status CloseIds(std::uint64_t flags);
  Status Record(std::uint64_t flags);
  void HashIds(std::span<const std::int32_t> ids);

  std::string path_;  // folder/KEY
  const Tokenizer& tokenizer_;
  const Packing& packing_;
  SourceFormat::Gives gives_;
  std::uint8_t width_ = 2;
  std::unique_ptr<Output> tokens_, documents_;
  PartFacts facts_;
  // The document at hand:
  std::string text_;               // not encoded yet
  std::vector<std::int32_t> ids_;  // scratch
  std::int64_t n_text_bytes_ = 0;
  std::int64_t n_kept_ = 0;     // tokens written, with end-of-text
  std::int64_t n_of_text_ = 0;  // tokens of it, also those that were cut off
  std::int64_t n_joined_ = 0;   // documents of the file that are whole, with packing.join
  bool in_joined_ = false;      // one has begun
  std::int32_t first_id_ = -1, last_id_ = -1;
  std::unique_ptr<Sha256> hash_;
};

// A part, read in order. The files are mapped: what was read can be dropped by the system.
class PartReader {
 public:
  // Of a finished part; kNotFound when it is not finished, or its files are not as long as its
  // facts say (a machine that stopped): it is to be made again.
  static Result<PartFacts> Facts(const std::string& folder, const std::string& key,
                                 std::uint8_t width);
  // The same, with every byte compared with the CRC32C: of a part that an earlier process made. One of
  // an earlier release has no CRC32C and is made again.
  static Result<PartFacts> VerifiedFacts(const std::string& folder, const std::string& key,
                                         std::uint8_t width);
  static Result<PartReader> Open(const std::string& folder, const std::string& key,
                                 std::uint8_t width);

  std::span<const PartDocument> documents() const { return documents_; }
  // Ids [begin, begin + out.size()) of the part.
  void Read(std::int64_t begin, std::span<std::int32_t> out) const;

 private:
  PartReader() = default;
  std::vector<MappedFile> files_;
  std::span<const PartDocument> documents_;
  const std::byte* tokens_ = nullptr;
  std::uint8_t width_ = 2;
};

}  // namespace longrun
