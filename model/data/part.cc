#include "model/data/part.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/str.h"
#include "base/units.h"
#include "model/data/tokenizer/gpt2_scanner.h"

namespace longrun {
namespace {

// Text is encoded in pieces of about this size.
constexpr std::size_t kEncodeBytes = std::size_t{1} << 20;
constexpr std::size_t kOutputBytes = std::size_t{1} << 20;

std::string TokensPath(const std::string& path) { return path + ".tokens"; }
std::string DocumentsPath(const std::string& path) { return path + ".documents"; }
std::string FactsPath(const std::string& path) { return path + ".json"; }

// The last position where a text can be cut so that the parts have the ids of the whole; 0 if there
// is none. With rule "none" ids are bytes: anywhere. A text under a rule other than GPT-2's is kept
// whole. There is no cut in the first `n_uncut` bytes.
std::size_t LastCut(std::string_view text, std::string_view pre_tokenizer, std::size_t n_uncut) {
  if (pre_tokenizer == "none") return text.size();
  return pre_tokenizer == kGpt2Rule ? LastGpt2Cut(text, n_uncut) : 0;
}

Result<std::uint32_t> Crc32cOfFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::int64_t n_bytes, FileBytes(path));
  if (n_bytes == 0) return Crc32c("");  // an empty file cannot be mapped
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return Crc32c({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
}

// The checksum over both files of a part and its facts.
constexpr const char* kCheckKey = "crc32c";
Result<std::uint32_t> CheckOf(const std::string& path, const PartFacts& facts) {
  ASSIGN_OR_RETURN(const std::uint32_t tokens, Crc32cOfFile(TokensPath(path)));
  ASSIGN_OR_RETURN(const std::uint32_t documents, Crc32cOfFile(DocumentsPath(path)));
  return Crc32c(Str(tokens, " ", documents, " ", CanonicalJson(facts.ToJson())));
}

}  // namespace

std::uint8_t TokenWidth(std::int64_t vocab_size) { return vocab_size <= 65536 ? 2 : 4; }

// ---- facts -------------------------------------------------------------------------------------

Json PartFacts::ToJson() const {
  Json list = Json::array();
  for (const SourceFile& file : files) {
    list.push_back({{"path", ToUtf8(file.path)}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  return {{"n_tokens", n_tokens}, {"n_documents", n_documents},
          {"n_empty", n_empty},   {"n_short", n_short},
          {"n_cut", n_cut},       {"files", std::move(list)}};
}

Result<PartFacts> PartFacts::FromJson(const Json& json) {
  PartFacts facts;
  ASSIGN_OR_RETURN(facts.n_tokens, GetInt(json, "n_tokens"));
  ASSIGN_OR_RETURN(facts.n_documents, GetInt(json, "n_documents"));
  ASSIGN_OR_RETURN(facts.n_empty, GetInt(json, "n_empty"));
  ASSIGN_OR_RETURN(facts.n_short, GetInt(json, "n_short"));
  ASSIGN_OR_RETURN(facts.n_cut, GetInt(json, "n_cut"));
  ASSIGN_OR_RETURN(const Json list, GetMember(json, "files"));
  for (const Json& entry : list) {
    SourceFile file;
    ASSIGN_OR_RETURN(file.path, GetString(entry, "path"));
    ASSIGN_OR_RETURN(file.bytes, GetInt(entry, "bytes"));
    ASSIGN_OR_RETURN(file.sha256, GetString(entry, "sha256"));
    facts.files.emplace_back(std::move(file));
  }
  return facts;
}

// ---- writing -----------------------------------------------------------------------------------

class PartWriter::Output {
 public:
  static Result<std::unique_ptr<Output>> Create(const std::string& path) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return ErrnoStatus(errno, Str("cannot create ", path));
    return std::unique_ptr<Output>(new Output(path, fd));
  }
  ~Output() { ::close(fd_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  Status Append(const void* data, std::size_t n) {
    if (buffer_.size() + n > kOutputBytes) RETURN_IF_ERROR(Flush());
    const char* const bytes = static_cast<const char*>(data);
    buffer_.insert(buffer_.end(), bytes, bytes + n);
    return Status();
  }
  std::int64_t size() const { return n_flushed_ + static_cast<std::int64_t>(buffer_.size()); }

  // Goes back to an earlier size.
  Status Truncate(std::int64_t size) {
    if (size >= n_flushed_) {
      buffer_.resize(static_cast<std::size_t>(size - n_flushed_));
      return Status();
    }
    buffer_.clear();
    n_flushed_ = size;
    if (::ftruncate(fd_, size) != 0) return ErrnoStatus(errno, Str("cannot cut ", path_));
    return Status();
  }

  Status Sync() {
    RETURN_IF_ERROR(Flush());
    return ::fsync(fd_) == 0 ? Status() : ErrnoStatus(errno, Str("cannot sync ", path_));
  }

 private:
  Output(std::string path, int fd) : path_(std::move(path)), fd_(fd) {
    buffer_.reserve(kOutputBytes);
  }

  Status Flush() {
    std::span<const char> left(buffer_);
    while (!left.empty()) {
      const ssize_t n = ::pwrite(fd_, left.data(), left.size(), n_flushed_);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, Str("cannot write ", path_));
      n_flushed_ += n;
      left = left.subspan(static_cast<std::size_t>(n));
    }
    buffer_.clear();
    return Status();
  }

  std::string path_;
  int fd_;
  std::int64_t n_flushed_ = 0;
  std::vector<char> buffer_;
};

PartWriter::PartWriter(std::string path, const Tokenizer& tokenizer, const Packing& packing,
                       SourceFormat::Gives gives)
    : path_(std::move(path)),
      tokenizer_(tokenizer),
      packing_(packing),
      gives_(gives),
      width_(TokenWidth(tokenizer.vocabulary().n_rows)),
      hash_(std::make_unique<Sha256>()) {}

PartWriter::~PartWriter() = default;

Result<std::unique_ptr<PartWriter>> PartWriter::Create(const std::string& folder,
                                                       const std::string& key,
                                                       const Tokenizer& tokenizer,
                                                       const Packing& packing,
                                                       SourceFormat::Gives gives) {
  std::unique_ptr<PartWriter> writer(
      new PartWriter(JoinPath(folder, key), tokenizer, packing, gives));
  ASSIGN_OR_RETURN(writer->tokens_, Output::Create(TokensPath(writer->path_)));
  ASSIGN_OR_RETURN(writer->documents_, Output::Create(DocumentsPath(writer->path_)));
  return writer;
}

Status PartWriter::AddId(std::int32_t id) {
  n_kept_ += 1;
  return tokens_->Append(&id, width_);  // little-endian: the low bytes come first
}

Status PartWriter::Record(std::uint64_t flags) {
  PartDocument document = {.n_tokens = static_cast<std::uint64_t>(n_kept_), .flags = flags};
  document.sha256 = hash_->Finish();
  facts_.n_documents += 1;
  facts_.n_tokens += n_kept_;
  *hash_ = Sha256();
  n_text_bytes_ = n_kept_ = n_of_text_ = 0;
  first_id_ = last_id_ = -1;
  return documents_->Append(&document, sizeof document);
}

// ---- text --------------------------------------------------------------------------------------

Status PartWriter::Text(std::string_view bytes) {
  if (packing_.join) RETURN_IF_ERROR(BeginJoined());
  return AddText(bytes);
}

// Joined rows are separated, even if a row is empty.
Status PartWriter::BeginJoined() {
  if (in_joined_) return Status();
  in_joined_ = true;
  return n_joined_ > 0 ? AddText(*packing_.join) : Status();
}

Status PartWriter::AddText(std::string_view bytes) {
  if (bytes.empty()) return Status();
  n_text_bytes_ += static_cast<std::int64_t>(bytes.size());
  hash_->Update(bytes);
  text_ += bytes;
  return text_.size() >= kEncodeBytes ? Encode(/*all=*/false) : Status();
}

// Encodes the front of `text_` and removes it from there.
Status PartWriter::Encode(bool all) {
  const std::string& rule = tokenizer_.vocabulary().pre_tokenizer;
  const std::size_t n = all ? text_.size() : LastCut(text_, rule, n_uncut_);
  // What follows the last cut has none, however often text is added to it.
  n_uncut_ = text_.size() - n;
  if (!all && n == 0) {
    if (text_.size() <= kUncutBytesMax) return Status();
    return Status(Code::kInvalidArgument,
                  Str("document ", facts_.n_documents, " has no blank after a letter or digit in ",
                      FormatBytes(static_cast<std::int64_t>(kUncutBytesMax)),
                      " of text: it cannot be tokenised in pieces; separate it into documents"));
  }
  ids_.clear();
  tokenizer_.Encode(std::string_view(text_).substr(0, n), ids_);
  text_.erase(0, n);
  return AddTextIds(ids_);
}

Status PartWriter::AddTextIds(std::span<const std::int32_t> ids) {
  if (n_kept_ == 0 && packing_.EotBefore()) RETURN_IF_ERROR(AddId(tokenizer_.vocabulary().eot_id));
  const std::int64_t room = packing_.max_doc_tokens == 0
                                ? INT64_MAX
                                : std::max<std::int64_t>(0, packing_.max_doc_tokens - n_of_text_);
  n_of_text_ += static_cast<std::int64_t>(ids.size());
  for (const std::int32_t id : ids.first(std::min(ids.size(), static_cast<std::size_t>(room)))) {
    RETURN_IF_ERROR(AddId(id));
  }
  return Status();
}

Status PartWriter::EndDocument() {
  if (gives_ == SourceFormat::Gives::kTokenDocuments) {
    RETURN_IF_ERROR(CheckClosedByEot());
    return CloseIds(0);
  }
  LR_CHECK(gives_ == SourceFormat::Gives::kText);
  if (!packing_.join) return CloseText();
  RETURN_IF_ERROR(BeginJoined());
  in_joined_ = false;
  n_joined_ += 1;
  return Status();
}

Status PartWriter::CloseText() {
  if (n_text_bytes_ == 0 && !packing_.keep_empty) {
    facts_.n_empty += 1;
    return Status();
  }
  const std::int64_t begin = tokens_->size() - n_kept_ * width_;
  RETURN_IF_ERROR(Encode(/*all=*/true));
  if (n_of_text_ < packing_.min_doc_tokens) {
    facts_.n_short += 1;
    *hash_ = Sha256();
    n_text_bytes_ = n_kept_ = n_of_text_ = 0;
    return tokens_->Truncate(begin);
  }
  if (packing_.max_doc_tokens != 0 && n_of_text_ > packing_.max_doc_tokens) facts_.n_cut += 1;
  if (packing_.EotAfter()) RETURN_IF_ERROR(AddId(tokenizer_.vocabulary().eot_id));
  return Record(0);
}

// ---- ids ---------------------------------------------------------------------------------------

Status PartWriter::CheckIds(std::span<const std::int32_t> ids) {
  const auto n_tokens = static_cast<std::int64_t>(tokenizer_.vocabulary().tokens.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < n_tokens) continue;
    const std::int64_t index = facts_.n_tokens + n_kept_ + static_cast<std::int64_t>(i);
    return Status(Code::kDataLoss,
                  Str("token ", index, " has id ", ids[i], ", but tokenizer \"",
                      tokenizer_.vocabulary().name, "\" has the ids 0 to ", n_tokens - 1,
                      "; name the tokenizer that made the file, and its dtype"));
  }
  return Status();
}

void PartWriter::HashIds(std::span<const std::int32_t> ids) {
  hash_->Update(ids.data(), ids.size_bytes());
}

Status PartWriter::Ids(std::span<const std::int32_t> ids) {
  RETURN_IF_ERROR(CheckIds(ids));
  if (gives_ == SourceFormat::Gives::kTokenStream) return AddStream(ids);
  HashIds(ids);
  for (const std::int32_t id : ids) {
    if (first_id_ < 0) first_id_ = id;
    last_id_ = id;
    RETURN_IF_ERROR(AddId(id));
  }
  return Status();
}

Status PartWriter::CheckClosedByEot() {
  const std::int32_t eot = tokenizer_.vocabulary().eot_id;
  const bool as_packed = n_kept_ == 0 || ((!packing_.EotBefore() || first_id_ == eot) &&
                                          (!packing_.EotAfter() || last_id_ == eot));
  if (as_packed) return Status();
  return Status(
      Code::kInvalidArgument,
      Str("document ", facts_.n_documents, " does not ",
          packing_.EotBefore() && first_id_ != eot ? "begin" : "end", " with the end-of-text id ",
          eot, ", although packing.eot says so: set `eot: none` if the file has none there"));
}

// Splits a stream into documents at its end-of-text tokens. Without these (eot: none) a file
// is a document.
Status PartWriter::AddStream(std::span<const std::int32_t> ids) {
  const std::int32_t eot = tokenizer_.vocabulary().eot_id;
  for (const std::int32_t id : ids) {
    const bool is_eot = id == eot && packing_.eot != Packing::Eot::kNone;
    // With `both`, a document lasts from one end-of-text token to the next.
    const bool begins = is_eot && packing_.EotBefore() && n_kept_ > 0 &&
                        (!packing_.EotAfter() || (last_id_ == eot && n_kept_ > 1));
    if (begins) RETURN_IF_ERROR(CloseIds(first_id_ == eot ? 0 : kPartHeadless));
    if (first_id_ < 0) first_id_ = id;
    last_id_ = id;
    hash_->Update(&id, sizeof id);
    RETURN_IF_ERROR(AddId(id));
    if (is_eot && packing_.eot == Packing::Eot::kAfter) {
      if (facts_.n_documents == 0 && n_kept_ == 1) {
        return Status(
            Code::kInvalidArgument,
            Str("it begins with the end-of-text id ", eot,
                ", so it was packed with eot: before; set packing.eot or --eot to before"));
      }
      RETURN_IF_ERROR(CloseIds(0));
    }
  }
  return Status();
}

Status PartWriter::CloseIds(std::uint64_t flags) {
  if (n_kept_ == 0) {
    facts_.n_empty += 1;
    return Status();
  }
  return Record(flags);
}

// ---- the end -----------------------------------------------------------------------------------

Result<PartFacts> PartWriter::Finish(std::vector<SourceFile> files) {
  if (gives_ == SourceFormat::Gives::kTokenStream && n_kept_ > 0) {
    const std::int32_t eot = tokenizer_.vocabulary().eot_id;
    const bool headless = packing_.EotBefore() && first_id_ != eot;
    const bool open = packing_.EotAfter() && last_id_ != eot;
    RETURN_IF_ERROR(CloseIds((headless ? kPartHeadless : 0) | (open ? kPartOpen : 0)));
  }
  if (packing_.join) RETURN_IF_ERROR(CloseText());
  Failpoint("data_part_before_sync");
  RETURN_IF_ERROR(tokens_->Sync());
  RETURN_IF_ERROR(documents_->Sync());
  facts_.files = std::move(files);
  Failpoint("data_part_before_facts");
  Json facts = facts_.ToJson();
  ASSIGN_OR_RETURN(facts[kCheckKey], CheckOf(path_, facts_));
  RETURN_IF_ERROR(WriteFileAtomic(FactsPath(path_), CanonicalJson(facts)));
  Failpoint("data_part_done");
  return facts_;
}

// ---- reading -----------------------------------------------------------------------------------

Result<PartFacts> PartReader::Facts(const std::string& folder, const std::string& key,
                                    std::uint8_t width) {
  const std::string path = JoinPath(folder, key);
  const Status unfinished(Code::kNotFound, Str(path, " is not finished"));
  if (!PathExists(FactsPath(path))) return unfinished;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(FactsPath(path)));
  const Result<Json> json = ParseJson(text);
  if (!json.ok()) return unfinished;
  Result<PartFacts> facts = PartFacts::FromJson(*json);
  if (!facts.ok()) return unfinished;
  const Result<std::int64_t> tokens = FileBytes(TokensPath(path));
  const Result<std::int64_t> documents = FileBytes(DocumentsPath(path));
  const bool whole =
      tokens.ok() && documents.ok() && *tokens == facts->n_tokens * width &&
      *documents == facts->n_documents * static_cast<std::int64_t>(sizeof(PartDocument));
  if (!whole) return unfinished;
  return facts;
}

Result<PartFacts> PartReader::VerifiedFacts(const std::string& folder, const std::string& key,
                                            std::uint8_t width) {
  ASSIGN_OR_RETURN(PartFacts facts, Facts(folder, key, width));
  const std::string path = JoinPath(folder, key);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(FactsPath(path)));
  ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  ASSIGN_OR_RETURN(const std::int64_t written, GetInt(json, kCheckKey));
  ASSIGN_OR_RETURN(const std::uint32_t found, CheckOf(path, facts));
  if (written == found) return facts;
  return Status(Code::kNotFound, Str(path, " is damaged"));
}

Result<PartReader> PartReader::Open(const std::string& folder, const std::string& key,
                                    std::uint8_t width) {
  const std::string path = JoinPath(folder, key);
  ASSIGN_OR_RETURN(const PartFacts facts, Facts(folder, key, width));
  PartReader reader;
  reader.width_ = width;
  if (facts.n_documents == 0) return reader;
  ASSIGN_OR_RETURN(MappedFile tokens, MappedFile::Open(TokensPath(path)));
  ASSIGN_OR_RETURN(MappedFile documents, MappedFile::Open(DocumentsPath(path)));
  reader.tokens_ = tokens.bytes().data();
  reader.documents_ = {reinterpret_cast<const PartDocument*>(documents.bytes().data()),
                       static_cast<std::size_t>(facts.n_documents)};
  reader.files_.reserve(2);
  reader.files_.push_back(std::move(tokens));
  reader.files_.push_back(std::move(documents));
  return reader;
}

void PartReader::Read(std::int64_t begin, std::span<std::int32_t> out) const {
  const std::byte* from = tokens_ + begin * width_;
  for (std::int32_t& id : out) {
    std::uint32_t word = 0;
    std::memcpy(&word, from, width_);
    id = static_cast<std::int32_t>(word);
    from += width_;
  }
}

}  // namespace longrun
