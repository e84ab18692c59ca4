// A part: one source file, tokenised. An import makes one part for each file, in any order and
// several at a time, and then assembles the parts. So the result of an import does not depend on
// the number of threads, and an interrupted import continues with the files that have no part yet.
//
//   KEY.tokens     ids, 2 or 4 bytes each, with the end-of-text tokens of the packing
//   KEY.documents  PartDocument[]
//   KEY.json       PartFacts, and a CRC32C over all three; written last,
//                  so a part that has it is complete
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

// For streams of tokens, in which a document may be cut at the end of a file:
inline constexpr std::uint64_t kPartHeadless = 1;  // does not begin with end-of-text
inline constexpr std::uint64_t kPartOpen = 2;      // does not end with end-of-text

struct PartFacts {
  std::int64_t n_tokens = 0;
  std::int64_t n_documents = 0;
  std::int64_t n_empty = 0;  // empty documents, left out
  std::int64_t n_short = 0;  // left out by min_doc_tokens
  std::int64_t n_cut = 0;    // by max_doc_tokens
  std::vector<SourceFile> files;

  Json ToJson() const;
  static Result<PartFacts> FromJson(const Json& json);
};

// Bytes per id in the parts and shards that we write: 2 or 4.
std::uint8_t TokenWidth(std::int64_t vocab_size);

// Takes a reader's output, tokenises and packs it. Memory: some MiB, and the longest stretch of
// text that cannot be cut (at most kUncutBytesMax).
class PartWriter final : public DocumentSink {
 public:
  static constexpr std::size_t kUncutBytesMax = std::size_t{256} << 20;

  // Writes `folder`/KEY.*. The tokenizer and the packing must outlive it.
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
  // Call this after the last document. Syncs all files before it marks the part as complete.
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
  // The current document:
  std::string text_;               // not encoded yet
  std::size_t n_uncut_ = 0;        // bytes at the front of `text_` without a cut behind them
  std::vector<std::int32_t> ids_;  // scratch
  std::int64_t n_text_bytes_ = 0;
  std::int64_t n_kept_ = 0;     // tokens written, with end-of-text
  std::int64_t n_of_text_ = 0;  // its tokens, including those cut off
  std::int64_t n_joined_ = 0;   // complete documents of the file, with packing.join
  bool in_joined_ = false;      // a joined document has begun
  std::int32_t first_id_ = -1, last_id_ = -1;
  std::unique_ptr<Sha256> hash_;
};

// Reads a part in order. The files are mapped, so the system can drop pages that were read.
class PartReader {
 public:
  // The facts of a finished part. kNotFound if the part must be made again: it is not finished, or
  // its files are not as long as its facts say (the machine stopped).
  static Result<PartFacts> Facts(const std::string& folder, const std::string& key,
                                 std::uint8_t width);
  // The same, but also checks every byte against the CRC32C; for a part that an earlier process
  // made. A part of an earlier release has no CRC32C and must be made again.
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
