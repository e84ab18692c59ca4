#include "model/data/shard.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are read as they are");

constexpr std::array<char, 8> kMagic = ShardHeader{}.magic;
// Read() copies through a buffer of this many tokens, which stays in a core's cache.
constexpr std::size_t kReadTokens = 65536;

std::uint64_t AlignUp(std::uint64_t offset) {
  return (offset + kShardAlign - 1) / kShardAlign * kShardAlign;
}

std::uint64_t BlockCount(std::uint64_t n_bytes) {
  return (n_bytes + kShardBlockBytes - 1) / kShardBlockBytes;
}

std::uint64_t BlockHash(const void* data, std::size_t n_bytes) {
  return XXH3_64bits(data, n_bytes);
}

// Up to 65536 rows, ids take two bytes; one byte would not hold all bytes and an end of text.
std::uint8_t TokenWidth(std::uint32_t vocab_size) { return vocab_size <= 65536 ? 2 : 4; }

Status WriteAt(int fd, const void* data, std::size_t n_bytes, std::uint64_t offset,
               const std::string& path) {
  const char* at = static_cast<const char*>(data);
  while (n_bytes > 0) {
    const ssize_t n = ::pwrite(fd, at, n_bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, Str("cannot write ", path));
    at += n;
    n_bytes -= static_cast<std::size_t>(n);
    offset += static_cast<std::uint64_t>(n);
  }
  return Status();
}

Status Broken(const std::string& path, std::string_view field, const std::string& found,
              const std::string& expected) {
  return Status(Code::kDataLoss,
                Str("token shard ", path, ": ", field, " is ", found, ", expected ", expected,
                    ": the file is damaged or cut short; import the dataset again"));
}

// Checks that [offset, offset + n_bytes) is aligned, after the header and inside the file.
Status CheckSection(const std::string& path, std::string_view what, std::uint64_t offset,
                    std::uint64_t n_bytes, std::uint64_t file_bytes) {
  if (offset < kShardAlign || offset % kShardAlign != 0) {
    return Broken(path, Str("the place of ", what), Str(offset),
                  Str("a multiple of ", kShardAlign));
  }
  if (offset > file_bytes || n_bytes > file_bytes - offset) {
    return Broken(path, "the file's size", Str(file_bytes, " bytes"),
                  Str(n_bytes, " bytes of ", what, " from byte ", offset));
  }
  return Status();
}

Status CheckHeader(const std::string& path, const ShardHeader& header, std::uint64_t file_bytes) {
  if (header.magic != kMagic) {
    std::string found;
    for (const char c : header.magic) found += c >= ' ' && c <= '~' ? c : '?';
    return Broken(path, "magic", Str('"', found, '"'),
                  Str('"', std::string_view(kMagic.data(), 8), '"'));
  }
  if (header.version > kShardVersion) {
    return Status(Code::kDataLoss,
                  Str("token shard ", path, ": version is ", header.version, ", expected at most ",
                      kShardVersion, ": it was written by a newer longrun; use that one"));
  }
  if (header.version != kShardVersion)
    return Broken(path, "version", Str(header.version), Str(kShardVersion));
  if (header.header_hash != ShardHeaderHash(header)) {
    return Broken(path, "header hash", Str(header.header_hash), Str(ShardHeaderHash(header)));
  }
  if (header.header_bytes != kShardAlign) {
    return Broken(path, "header_bytes", Str(header.header_bytes), Str(kShardAlign));
  }
  if (header.token_bytes != 1 && header.token_bytes != 2 && header.token_bytes != 4) {
    return Broken(path, "token_bytes", Str(static_cast<int>(header.token_bytes)), "1, 2 or 4");
  }
  if (header.block_bytes != kShardBlockBytes) {
    return Broken(path, "block_bytes", Str(header.block_bytes), Str(kShardBlockBytes));
  }
  if (header.n_tokens == 0 || header.n_tokens > file_bytes / header.token_bytes) {
    return Broken(
        path, "n_tokens", Str(header.n_tokens),
        Str("1 to ", file_bytes / header.token_bytes, " in a file of ", file_bytes, " bytes"));
  }
  if (header.tokens_bytes != header.n_tokens * header.token_bytes) {
    return Broken(path, "tokens_bytes", Str(header.tokens_bytes),
                  Str(header.n_tokens * header.token_bytes));
  }
  if (header.n_documents == 0 || header.n_documents > header.n_tokens) {
    return Broken(path, "n_docs", Str(header.n_documents),
                  Str("1 to the shard's ", header.n_tokens, " tokens"));
  }
  // With this bound no product below overflows: n_documents <= n_tokens <= file_bytes < 2^63 / 16.
  if (file_bytes > (std::uint64_t{1} << 58))
    return Broken(path, "file size", Str(file_bytes), "below 2^58");
  RETURN_IF_ERROR(
      CheckSection(path, "tokens", header.tokens_offset, header.tokens_bytes, file_bytes));
  RETURN_IF_ERROR(CheckSection(path, "document starts", header.document_offset,
                               8 * (header.n_documents + 1), file_bytes));
  RETURN_IF_ERROR(CheckSection(path, "document sizes", header.document_meta_offset,
                               sizeof(ShardDocument) * header.n_documents, file_bytes));
  RETURN_IF_ERROR(CheckSection(path, "block hashes", header.block_hash_offset,
                               8 * BlockCount(header.tokens_bytes), file_bytes));
  if (header.vocab_size == 0 || header.vocab_size > 0x7fffffff) {
    return Broken(path, "vocab_size", Str(header.vocab_size), "1 to 2147483647");
  }
  if (header.n_shards == 0) {
    return Broken(path, "n_shards", "0", "at least 1 (0 means an unfinished shard)");
  }
  if (header.shard_index >= header.n_shards) {
    return Broken(path, "shard_index", Str(header.shard_index),
                  Str("below n_shards, ", header.n_shards));
  }
  return Status();
}

template <typename Word>
void Widen(const std::byte* from, std::span<std::int32_t> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    Word word;
    std::memcpy(&word, from + i * sizeof(Word), sizeof(Word));
    out[i] = static_cast<std::int32_t>(word);
  }
}

void WidenTokens(std::uint8_t width, const std::byte* from, std::span<std::int32_t> out) {
  if (width == 1) return Widen<std::uint8_t>(from, out);
  if (width == 2) return Widen<std::uint16_t>(from, out);
  Widen<std::uint32_t>(from, out);
}

}  // namespace

std::uint64_t ShardHeaderHash(const ShardHeader& header) {
  return XXH3_64bits(&header, offsetof(ShardHeader, header_hash));
}

std::string ShardName(std::string_view split, std::size_t index) {
  char number[24];
  std::snprintf(number, sizeof number, "%05zu", index);
  return Str(split, "-", number, ".lrtk");
}

// ---- writing -----------------------------------------------------------------------------------

struct ShardWriter::Open {
  Open(int file, std::string file_path) : fd(file), path(std::move(file_path)) {}

  Descriptor fd;
  std::string path;
  std::uint64_t n_tokens = 0;
  std::uint64_t n_bytes = 0;  // of tokens, written or in `block`
  std::vector<char> block;    // tokens of the block that is not full yet
  std::vector<std::uint64_t> block_hashes;
  std::vector<std::uint64_t> starts;
  std::vector<ShardDocument> documents;

  Status FlushBlock() {
    block_hashes.push_back(BlockHash(block.data(), block.size()));
    RETURN_IF_ERROR(
        WriteAt(fd.get(), block.data(), block.size(), kShardAlign + n_bytes - block.size(), path));
    block.clear();
    return Status();
  }
};

ShardWriter::ShardWriter(Options options) : options_(std::move(options)) {
  LR_CHECK(options_.shard_tokens > 0);
  LR_CHECK(options_.bytes_of_id.size() == options_.identity.vocab_size);
  options_.identity.token_bytes = TokenWidth(options_.identity.vocab_size);
}

ShardWriter::~ShardWriter() = default;

Status ShardWriter::Begin() {
  const std::string path =
      JoinPath(options_.folder, ShardName(options_.split, headers_.size()) + ".tmp");
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, Str("cannot create ", path));
  open_ = std::make_unique<Open>(fd, path);
  open_->block.reserve(kShardBlockBytes);
  return Status();
}

Status ShardWriter::Add(std::span<const std::int32_t> tokens) {
  RETURN_IF_ERROR(Append(tokens));
  EndDocument();
  return Status();
}

Status ShardWriter::Append(std::span<const std::int32_t> tokens) {
  const auto shard_tokens = static_cast<std::size_t>(options_.shard_tokens);
  while (!tokens.empty()) {
    // Close a full shard only when more tokens come: only then is it known whether its last
    // document continues.
    if (open_ != nullptr && open_->n_tokens == shard_tokens) {
      if (in_document_) open_->documents.back().flags |= kShardDocumentContinues;
      RETURN_IF_ERROR(CloseShard());
    }
    if (open_ == nullptr) RETURN_IF_ERROR(Begin());
    const std::size_t n = std::min(shard_tokens - open_->n_tokens, tokens.size());
    RETURN_IF_ERROR(AddPart(tokens.first(n)));
    tokens = tokens.subspan(n);
  }
  return Status();
}

void ShardWriter::EndDocument() {
  LR_CHECK(in_document_);
  in_document_ = false;
  n_documents_ += 1;
}

Status ShardWriter::AddPart(std::span<const std::int32_t> tokens) {
  const std::size_t width = options_.identity.token_bytes;
  const bool listed =
      in_document_ && !open_->documents.empty() && open_->documents.back().document == n_documents_;
  if (!listed) {
    open_->starts.push_back(open_->n_tokens);
    open_->documents.push_back(
        {.document = n_documents_, .flags = in_document_ ? kShardDocumentContinued : 0});
  }
  in_document_ = true;
  std::uint64_t text_bytes = open_->documents.back().text_bytes;
  for (const std::int32_t id : tokens) {
    LR_CHECK(id >= 0 && static_cast<std::uint32_t>(id) < options_.identity.vocab_size);
    text_bytes += static_cast<std::uint64_t>(options_.bytes_of_id[static_cast<std::size_t>(id)]);
    char word[4];
    std::memcpy(word, &id, sizeof word);  // little-endian: the low bytes come first
    open_->block.insert(open_->block.end(), word, word + width);
    open_->n_bytes += width;
    if (open_->block.size() == kShardBlockBytes) RETURN_IF_ERROR(open_->FlushBlock());
  }
  open_->n_tokens += tokens.size();
  if (text_bytes > UINT32_MAX) {
    return Status(
        Code::kResourceExhausted,
        Str("document ", n_documents_, " of split ", options_.split, " has ", text_bytes,
            " bytes of text in one shard: lower shard_tokens (", options_.shard_tokens, ")"));
  }
  open_->documents.back().text_bytes = static_cast<std::uint32_t>(text_bytes);
  return Status();
}

Status ShardWriter::CloseShard() {
  Open& shard = *open_;
  if (!shard.block.empty()) RETURN_IF_ERROR(shard.FlushBlock());
  shard.starts.push_back(shard.n_tokens);

  ShardHeader header = options_.identity;
  header.n_tokens = shard.n_tokens;
  header.n_documents = shard.documents.size();
  header.tokens_bytes = shard.n_bytes;
  header.document_offset = AlignUp(kShardAlign + shard.n_bytes);
  header.document_meta_offset = AlignUp(header.document_offset + 8 * shard.starts.size());
  header.block_hash_offset =
      AlignUp(header.document_meta_offset + sizeof(ShardDocument) * shard.documents.size());
  header.shard_index = headers_.size();

  const int fd = shard.fd.get();
  RETURN_IF_ERROR(WriteAt(fd, shard.starts.data(), 8 * shard.starts.size(), header.document_offset,
                          shard.path));
  RETURN_IF_ERROR(WriteAt(fd, shard.documents.data(),
                          sizeof(ShardDocument) * shard.documents.size(),
                          header.document_meta_offset, shard.path));
  RETURN_IF_ERROR(WriteAt(fd, shard.block_hashes.data(), 8 * shard.block_hashes.size(),
                          header.block_hash_offset, shard.path));
  shards_.push_back({.name = ShardName(options_.split, headers_.size()),
                     .n_tokens = static_cast<std::int64_t>(header.n_tokens),
                     .n_documents = static_cast<std::int64_t>(header.n_documents)});
  headers_.push_back(header);
  open_.reset();
  return Status();
}

Result<std::vector<ShardWriter::ShardFile>> ShardWriter::Finish() {
  if (open_ != nullptr) RETURN_IF_ERROR(CloseShard());
  if (headers_.empty()) {
    return Status(Code::kInvalidArgument,
                  Str("split ", options_.split,
                      " has no documents after the rules of source, packing and split; give it "
                      "more text, or leave it out"));
  }
  for (std::size_t i = 0; i < headers_.size(); ++i) {
    ShardHeader& header = headers_[i];
    header.n_shards = headers_.size();
    header.header_hash = ShardHeaderHash(header);
    const std::string path = JoinPath(options_.folder, shards_[i].name);
    const std::string temporary = path + ".tmp";
    {
      const Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CLOEXEC));
      if (file.get() < 0) return ErrnoStatus(errno, Str("cannot open ", temporary));
      RETURN_IF_ERROR(WriteAt(file.get(), &header, sizeof header, 0, temporary));
      if (::fsync(file.get()) != 0) return ErrnoStatus(errno, Str("cannot sync ", temporary));
    }
    RETURN_IF_ERROR(RenameSync(temporary, path));
  }
  return shards_;
}

// ---- reading -----------------------------------------------------------------------------------

namespace {

// A dataset may have more shards than a process may open files. So all readers of a process keep at
// most this many open, and open the other shards again for each read. Most of the limit is left to
// the rest of the process.
int KeptOpenMax() {
  static const int n_max = [] {
    constexpr rlim_t kMax = 128, kShare = 8;
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    return static_cast<int>(std::min(kMax, limit.rlim_cur / kShare));
  }();
  return n_max;
}
std::atomic<int> n_kept_open{0};

// The bytes of a shard, read by position. They are not mapped: the folder belongs to the user, who
// may change it at any time. If a mapped file becomes shorter, or its disk fails, the process that
// reads it dies of SIGBUS, and the coordinator would take all sessions with it. A sample of 257 to
// 4097 tokens takes 1 to 4 microseconds more than from a mapping (Intel Xeon, Emerald Rapids); a
// training step takes milliseconds.
class ShardBytes {
 public:
  explicit ShardBytes(std::string path) : path_(std::move(path)) {}
  ~ShardBytes() {
    if (fd_ < 0) return;
    ::close(fd_);
    n_kept_open.fetch_sub(1);
  }
  ShardBytes(const ShardBytes&) = delete;
  ShardBytes& operator=(const ShardBytes&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return static_cast<std::uint64_t>(info_.st_size); }

  Status Open() {
    Descriptor fd(OpenFile());
    if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot open ", path_));
    if (::fstat(fd.get(), &info_) != 0) return ErrnoStatus(errno, Str("cannot look at ", path_));
    if (!S_ISREG(info_.st_mode)) {
      return Status(Code::kDataLoss, Str(path_, " is not a regular file"));
    }
    if (n_kept_open.fetch_add(1) < KeptOpenMax()) {
      fd_ = fd.Release();
    } else {
      n_kept_open.fetch_sub(1);
    }
    return Status();
  }

  // Reads out.size() bytes; kDataLoss if the file does not have them or its disk fails.
  Status Read(std::uint64_t offset, std::span<std::byte> out) const {
    if (fd_ >= 0) return ReadFrom(fd_, offset, out);
    const Descriptor fd(OpenFile());
    if (!fd.is_open() && errno != ENOENT) return ErrnoStatus(errno, Str("cannot open ", path_));
    struct stat info {};
    // An automounter may mount the same file system again with another st_dev.
    const bool is_same = fd.is_open() && ::fstat(fd.get(), &info) == 0 &&
                         info.st_ino == info_.st_ino && info.st_size == info_.st_size;
    if (!is_same) {
      return Unreadable(offset, out.size(), "the file was removed, replaced or resized");
    }
    return ReadFrom(fd.get(), offset, out);
  }

 private:
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  int OpenFile() const {
    int fd = -1;
    do {
      fd = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    return fd;
  }

  Status ReadFrom(int fd, std::uint64_t offset, std::span<std::byte> out) const {
    while (!out.empty()) {
      const ssize_t n = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Unreadable(offset, out.size(), std::generic_category().message(errno));
      if (n == 0) return Unreadable(offset, out.size(), "the file has become shorter");
      offset += static_cast<std::uint64_t>(n);
      out = out.subspan(static_cast<std::size_t>(n));
    }
    return Status();
  }

  Status Unreadable(std::uint64_t offset, std::size_t n_bytes, std::string_view why) const {
    return Status(
        Code::kDataLoss,
        Str("token shard ", path_, ": cannot read bytes ", offset, " to ", offset + n_bytes - 1,
            ": ", why, ": check its disk, and restore the file or import the dataset again"));
  }

  std::string path_;
  struct stat info_ {};  // of the file that was opened first
  int fd_ = -1;          // -1: the file is opened for each read
};

// Checks each piece before it reads the next one: the table that a header announces may be larger
// than the memory, in a sparse file.
Status ReadDocumentStarts(const ShardBytes& file, const ShardHeader& header,
                          std::vector<std::uint64_t>& starts) {
  constexpr std::uint64_t kPiece = 65536;
  const std::uint64_t n_starts = header.n_documents + 1;
  while (starts.size() < n_starts) {
    const std::size_t begin = starts.size();
    starts.resize(begin + std::min(kPiece, n_starts - begin));
    RETURN_IF_ERROR(file.Read(header.document_offset + 8 * begin,
                              std::as_writable_bytes(std::span(starts).subspan(begin))));
    if (starts[0] != 0) return Broken(file.path(), "doc_start[0]", Str(starts[0]), "0");
    for (std::size_t i = std::max<std::size_t>(begin, 1); i < starts.size(); ++i) {
      if (starts[i] > starts[i - 1]) continue;
      return Broken(file.path(), Str("doc_start[", i, "]"), Str(starts[i]),
                    Str("more than ", starts[i - 1]));
    }
  }
  if (starts.back() == header.n_tokens) return Status();
  return Broken(file.path(), Str("doc_start[", header.n_documents, "]"), Str(starts.back()),
                Str("n_tokens, ", header.n_tokens));
}

Status ReadDocuments(const ShardBytes& file, const ShardHeader& header,
                     std::vector<ShardDocument>& documents) {
  documents.resize(header.n_documents);
  RETURN_IF_ERROR(
      file.Read(header.document_meta_offset, std::as_writable_bytes(std::span(documents))));
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const bool first = i == 0, last = i + 1 == documents.size();
    const std::uint32_t allowed =
        (first ? kShardDocumentContinued : 0u) | (last ? kShardDocumentContinues : 0u);
    if ((documents[i].flags & ~allowed) != 0) {
      return Broken(file.path(), Str("flags of document ", i), Str(documents[i].flags),
                    Str("none but the bits of ", allowed));
    }
  }
  return Status();
}

}  // namespace

struct ShardReader::Impl {
  explicit Impl(const std::string& path) : file(path) {}

  ShardBytes file;
  ShardHeader header;
  std::vector<std::uint64_t> starts;
  std::vector<ShardDocument> documents;
  // Blocks whose hash has been verified. Two threads may verify the same block,
  // with the same result.
  mutable std::vector<std::atomic<bool>> block_verified;

  Status VerifyBlock(std::size_t block) const {
    const std::uint64_t begin = block * kShardBlockBytes;
    const std::uint64_t n_bytes = std::min(kShardBlockBytes, header.tokens_bytes - begin);
    const auto data = std::make_unique_for_overwrite<std::byte[]>(n_bytes);
    RETURN_IF_ERROR(file.Read(header.tokens_offset + begin, {data.get(), n_bytes}));
    std::uint64_t expected = 0;
    RETURN_IF_ERROR(file.Read(header.block_hash_offset + 8 * block,
                              std::as_writable_bytes(std::span(&expected, 1))));
    const std::uint64_t found = BlockHash(data.get(), n_bytes);
    if (found != expected) {
      return Broken(file.path(),
                    Str("XXH3 of token block ", block, " (bytes ", header.tokens_offset + begin,
                        " to ", header.tokens_offset + begin + n_bytes - 1, ")"),
                    Str(found), Str(expected));
    }
    // Intact bytes may still not be valid ids: an embedding has vocab_size
    // rows.
    std::vector<std::int32_t> ids(n_bytes / header.token_bytes);
    WidenTokens(header.token_bytes, data.get(), ids);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0 || static_cast<std::uint32_t>(ids[i]) >= header.vocab_size) {
        return Broken(file.path(), Str("token ", begin / header.token_bytes + i),
                      Str(static_cast<std::uint32_t>(ids[i])),
                      Str("an id below vocab_size, ", header.vocab_size));
      }
    }
    block_verified[block].store(true, std::memory_order_relaxed);
    return Status();
  }
};

ShardReader::ShardReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ShardReader::~ShardReader() = default;
ShardReader::ShardReader(ShardReader&&) noexcept = default;
ShardReader& ShardReader::operator=(ShardReader&&) noexcept = default;

Result<ShardReader> ShardReader::Open(const std::string& path) {
  auto impl = std::make_unique<Impl>(path);
  ShardBytes& file = impl->file;
  RETURN_IF_ERROR(file.Open());
  if (file.size() < kShardAlign) {
    return Broken(path, "file size", Str(file.size()),
                  Str("at least the header's ", kShardAlign, " bytes"));
  }
  ShardHeader& header = impl->header;
  RETURN_IF_ERROR(file.Read(0, std::as_writable_bytes(std::span(&header, 1))));
  RETURN_IF_ERROR(CheckHeader(path, header, file.size()));
  impl->block_verified = std::vector<std::atomic<bool>>(BlockCount(header.tokens_bytes));
  RETURN_IF_ERROR(ReadDocumentStarts(file, header, impl->starts));
  RETURN_IF_ERROR(ReadDocuments(file, header, impl->documents));
  return ShardReader(std::move(impl));
}

const std::string& ShardReader::path() const { return impl_->file.path(); }
const ShardHeader& ShardReader::header() const { return impl_->header; }
std::int64_t ShardReader::file_bytes() const {
  return static_cast<std::int64_t>(impl_->file.size());
}

std::span<const std::uint64_t> ShardReader::document_starts() const { return impl_->starts; }
std::span<const ShardDocument> ShardReader::documents() const { return impl_->documents; }
void ShardReader::ForgetDocuments() {
  impl_->starts = {};
  impl_->documents = {};
}

Status ShardReader::Read(std::int64_t begin, std::span<std::int32_t> out) const {
  const ShardHeader& header = impl_->header;
  LR_CHECK(begin >= 0 && static_cast<std::uint64_t>(begin) <= header.n_tokens &&
           out.size() <= header.n_tokens - static_cast<std::uint64_t>(begin));
  if (out.empty()) return Status();
  const std::uint64_t first_byte = static_cast<std::uint64_t>(begin) * header.token_bytes;
  const std::uint64_t last_byte = first_byte + out.size() * header.token_bytes - 1;
  for (std::uint64_t block = first_byte / kShardBlockBytes; block <= last_byte / kShardBlockBytes;
       ++block) {
    if (!impl_->block_verified[block].load(std::memory_order_relaxed)) {
      RETURN_IF_ERROR(impl_->VerifyBlock(block));
    }
  }
  const std::size_t n_piece = std::min(out.size(), kReadTokens);
  const auto piece = std::make_unique_for_overwrite<std::byte[]>(n_piece * header.token_bytes);
  std::uint64_t offset = header.tokens_offset + first_byte;
  while (!out.empty()) {
    const std::size_t n = std::min(out.size(), n_piece);
    const std::span<std::byte> bytes(piece.get(), n * header.token_bytes);
    RETURN_IF_ERROR(impl_->file.Read(offset, bytes));
    WidenTokens(header.token_bytes, bytes.data(), out.first(n));
    offset += bytes.size();
    out = out.subspan(n);
  }
  return Status();
}

Status ShardReader::Verify() const {
  for (std::size_t block = 0; block < impl_->block_verified.size(); ++block) {
    RETURN_IF_ERROR(impl_->VerifyBlock(block));
  }
  return Status();
}

}  // namespace longrun
