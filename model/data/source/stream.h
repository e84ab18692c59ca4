// Bytes of a source file, in pieces: nothing here ever holds a whole file. What is read from the
// disk is hashed on its way; names that end in .gz or .zst are unpacked.
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

// What is read at a time.
inline constexpr std::size_t kSourceChunkBytes = std::size_t{1} << 18;

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Writes up to out.size() bytes; how many, 0 at the end alone.
  virtual Result<std::size_t> Read(std::span<char> out) = 0;
};

// A file as it lies on the disk, read to its end.
struct SourceFile {
  std::string path;
  std::int64_t bytes = 0;
  std::string sha256;
};

// Told how many more bytes were read from the disk; an error stops the reading and is its result.
using ReadProgress = std::function<Status(std::int64_t n_bytes)>;

// One source: the listed file, and its sisters where the format has some.
class SourceInput {
 public:
  SourceInput(std::string path, ReadProgress progress)
      : path_(std::move(path)), progress_(std::move(progress)) {}

  const std::string& path() const { return path_; }
  // The listed file, unpacked where its name says that it is packed.
  Result<std::unique_ptr<ByteStream>> Open();
  // A file that the format reads by other means, read once more for its hash.
  Status Hash(const std::string& path);
  // All that Open and Hash read; to its end, or a bug.
  std::vector<SourceFile> Files() const;

 private:
  struct Track;  // of one file: what was read so far
  class FileStream;
  Result<std::unique_ptr<ByteStream>> OpenPlain(const std::string& path);

  std::string path_;
  ReadProgress progress_;
  std::vector<std::shared_ptr<Track>> tracks_;
};

// Unpacks a stream: one entry for each ending. The order of the stream's bytes is the file's.
struct Compression {
  std::string_view ending;  // ".gz"
  Result<std::unique_ptr<ByteStream>> (*open)(std::unique_ptr<ByteStream> packed);
};
std::span<const Compression> Compressions();
// The name without the ending of a compression.
std::string_view WithoutCompression(std::string_view path);

// Errors do not name the file: who lists it does, with its split.
// The members of a gzip file one after the other, as `cat a.gz b.gz` makes them.
Result<std::unique_ptr<ByteStream>> OpenGzip(std::unique_ptr<ByteStream> packed);
// Frames with a window of up to 2^31 bytes (`zstd --long=31`).
Result<std::unique_ptr<ByteStream>> OpenZstd(std::unique_ptr<ByteStream> packed);

// "\r\n" and "\r" become "\n", as Python's text mode reads them.
std::unique_ptr<ByteStream> UniversalNewlines(std::unique_ptr<ByteStream> stream);
std::string UniversalNewlines(std::string_view text);

// Lines without their "\n"; the last may lack it. A line is held whole.
class LineReader {
 public:
  static constexpr std::size_t kLineBytesMax = std::size_t{256} << 20;

  explicit LineReader(ByteStream& stream) : stream_(stream) {}
  // False at the end. kInvalidArgument names a line that is too long.
  Result<bool> Next(std::string& line);
  std::int64_t number() const { return number_; }  // of the line given last, from 1

 private:
  ByteStream& stream_;
  std::vector<char> chunk_;
  std::size_t at_ = 0, end_ = 0;
  std::int64_t number_ = 0;
};

}  // namespace longrun
