// The bytes of a source file, in pieces: nothing here ever holds a whole file. Bytes are hashed as
// they are read from the disk; files whose names end in .gz or .zst are decompressed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/status.h"

namespace longrun {

// The number of bytes to read at a time.
inline constexpr std::size_t kSourceChunkBytes = std::size_t{1} << 18;

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Writes up to out.size() bytes and returns their number, 0 only at the end.
  virtual Result<std::size_t> Read(std::span<char> out) = 0;
};

// A file on the disk (not decompressed), read to its end.
struct SourceFile {
  std::string path;
  std::int64_t bytes = 0;
  std::string sha256;
};

// Called with the number of bytes just read from the disk, or made by rule.
// An error stops the reading and is its result.
using ReadProgress = std::function<Status(std::int64_t n_bytes)>;

// One source: the listed file and, for some formats, a second file.
class SourceInput {
 public:
  SourceInput(std::string path, ReadProgress progress)
      : path_(std::move(path)), progress_(std::move(progress)) {}

  const std::string& path() const { return path_; }
  // Opens the listed file, decompressed if its name says that it is compressed.
  Result<std::unique_ptr<ByteStream>> Open();
  // Reads once more, for its hash, a file that the format reads by other means.
  Status Hash(const std::string& path);
  // Counts bytes of documents that were made, not read.
  Status ReportMade(std::int64_t n_bytes) { return progress_(n_bytes); }
  // All files that Open and Hash read, which must be at their ends (else a bug).
  std::vector<SourceFile> Files() const;

 private:
  struct Track;  // of one file: what was read so far
  class FileStream;
  Result<std::unique_ptr<ByteStream>> OpenPlain(const std::string& path);

  std::string path_;
  ReadProgress progress_;
  std::vector<std::shared_ptr<Track>> tracks_;
};

// A compression, one entry for each ending. Decompressed bytes keep the file's order.
struct Compression {
  std::string_view ending;  // ".gz"
  Result<std::unique_ptr<ByteStream>> (*open)(std::unique_ptr<ByteStream> packed);
};
std::span<const Compression> Compressions();
// The name without a compression's ending.
std::string_view WithoutCompression(std::string_view path);

// The functions below do not name the file in errors: the caller does, with its split.
//
// Decompresses the members of a gzip file one after the other, as in `cat a.gz b.gz`.
Result<std::unique_ptr<ByteStream>> OpenGzip(std::unique_ptr<ByteStream> packed);
// Decompresses frames with a window of up to 2^31 bytes (`zstd --long=31`).
Result<std::unique_ptr<ByteStream>> OpenZstd(std::unique_ptr<ByteStream> packed);

// Turns "\r\n" and "\r" into "\n", as Python's text mode does.
std::unique_ptr<ByteStream> UniversalNewlines(std::unique_ptr<ByteStream> stream);
std::string UniversalNewlines(std::string_view text);

// Reads lines without their "\n", which the last line may lack. A line is held in memory.
class LineReader {
 public:
  static constexpr std::size_t kLineBytesMax = std::size_t{256} << 20;

  explicit LineReader(ByteStream& stream) : stream_(stream) {}
  // Returns false at the end. kInvalidArgument names a line that is too long.
  Result<bool> Next(std::string& line);
  std::int64_t number() const { return number_; }  // number of the last line returned, from 1

 private:
  ByteStream& stream_;
  std::vector<char> chunk_;
  std::size_t at_ = 0, end_ = 0;
  std::int64_t number_ = 0;
};

}  // namespace longrun
