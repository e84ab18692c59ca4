#include "model/data/source/stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "base/units.h"

namespace longrun {

struct SourceInput::Track {
  std::string path;
  std::int64_t bytes = 0;
  bool ended = false;
  Sha256 hash{};
};

class SourceInput::FileStream final : public ByteStream {
 public:
  FileStream(int fd, std::shared_ptr<Track> track, const ReadProgress& progress)
      : fd_(fd), track_(std::move(track)), progress_(progress) {}
  ~FileStream() override { ::close(fd_); }
  FileStream(const FileStream&) = delete;
  FileStream& operator=(const FileStream&) = delete;

  Result<std::size_t> Read(std::span<char> out) override {
    LR_CHECK(!out.empty());
    ssize_t n = 0;
    do {
      n = ::read(fd_, out.data(), out.size());
    } while (n < 0 && errno == EINTR);
    if (n < 0) return ErrnoStatus(errno, Str("cannot read ", track_->path));
    if (n == 0) {
      track_->ended = true;
      return std::size_t{0};
    }
    track_->bytes += n;
    track_->hash.Update(out.data(), static_cast<std::size_t>(n));
    RETURN_IF_ERROR(progress_(n));
    return static_cast<std::size_t>(n);
  }

 private:
  int fd_;
  std::shared_ptr<Track> track_;
  const ReadProgress& progress_;
};

Result<std::unique_ptr<ByteStream>> SourceInput::OpenPlain(const std::string& path) {
  // Opening a pipe could block: O_NONBLOCK avoids that, and the check below refuses it.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(errno, Str("cannot read ", path));
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return Status(Code::kInvalidArgument, Str(path, " is not a regular file"));
  }
  tracks_.push_back(std::make_shared<Track>(Track{.path = path}));
  return std::unique_ptr<ByteStream>(std::make_unique<FileStream>(fd, tracks_.back(), progress_));
}

Result<std::unique_ptr<ByteStream>> SourceInput::Open() {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteStream> stream, OpenPlain(path_));
  for (const Compression& compression : Compressions()) {
    if (path_.ends_with(compression.ending)) return compression.open(std::move(stream));
  }
  return stream;
}

Status SourceInput::Hash(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, OpenPlain(path));
  std::vector<char> chunk(kSourceChunkBytes);
  while (true) {
    ASSIGN_OR_RETURN(const std::size_t n, stream->Read(chunk));
    if (n == 0) return Status();
  }
}

std::vector<SourceFile> SourceInput::Files() const {
  std::vector<SourceFile> files;
  files.reserve(tracks_.size());
  for (const auto& track : tracks_) {
    LR_CHECK(track->ended);
    Sha256 hash = track->hash;
    files.push_back({.path = track->path, .bytes = track->bytes, .sha256 = hash.FinishHex()});
  }
  return files;
}

std::span<const Compression> Compressions() {
  // One line for each ending.
  static constexpr std::array<Compression, 2> kCompressions = {{
      {".gz", &OpenGzip},
      {".zst", &OpenZstd},
  }};
  return kCompressions;
}

std::string_view WithoutCompression(std::string_view path) {
  for (const Compression& compression : Compressions()) {
    if (path.ends_with(compression.ending)) {
      return path.substr(0, path.size() - compression.ending.size());
    }
  }
  return path;
}

// ---- newlines ----------------------------------------------------------------------------------

namespace {

// Rewrites in place and returns the number of bytes left;
// `after_return` is kept from piece to piece.
std::size_t RewriteNewlines(std::span<char> bytes, bool& after_return) {
  std::size_t n = 0;
  for (const char c : bytes) {
    const bool second_half = after_return && c == '\n';
    after_return = c == '\r';
    if (!second_half) bytes[n++] = c == '\r' ? '\n' : c;
  }
  return n;
}

class NewlineStream final : public ByteStream {
 public:
  explicit NewlineStream(std::unique_ptr<ByteStream> stream) : stream_(std::move(stream)) {}

  Result<std::size_t> Read(std::span<char> out) override {
    while (true) {
      ASSIGN_OR_RETURN(const std::size_t n_read, stream_->Read(out));
      if (n_read == 0) return n_read;
      const std::size_t n = RewriteNewlines(out.first(n_read), after_return_);
      if (n > 0) return n;
    }
  }

 private:
  std::unique_ptr<ByteStream> stream_;
  bool after_return_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> UniversalNewlines(std::unique_ptr<ByteStream> stream) {
  return std::make_unique<NewlineStream>(std::move(stream));
}

std::string UniversalNewlines(std::string_view text) {
  std::string rewritten(text);
  bool after_return = false;
  rewritten.resize(RewriteNewlines(rewritten, after_return));
  return rewritten;
}

// ---- lines -------------------------------------------------------------------------------------

Result<bool> LineReader::Next(std::string& line) {
  line.clear();
  bool any = false;
  ++number_;
  chunk_.resize(kSourceChunkBytes);
  while (true) {
    if (at_ == end_) {
      at_ = 0;
      ASSIGN_OR_RETURN(end_, stream_.Read(chunk_));
      if (end_ == 0) return any;
    }
    any = true;
    const char* const begin = chunk_.data() + at_;
    const auto* const newline = static_cast<const char*>(std::memchr(begin, '\n', end_ - at_));
    const std::size_t n =
        newline == nullptr ? end_ - at_ : static_cast<std::size_t>(newline - begin);
    if (line.size() + n > kLineBytesMax) {
      return Status(Code::kInvalidArgument,
                    Str("line ", number_, " is longer than ",
                        FormatBytes(static_cast<std::int64_t>(kLineBytesMax)),
                        ", the most that a line may have: cut its text into several documents"));
    }
    line.append(begin, n);
    at_ += n;
    if (newline != nullptr) {
      ++at_;
      return true;
    }
  }
}

}  // namespace longrun
