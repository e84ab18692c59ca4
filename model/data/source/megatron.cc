#include "model/data/source/megatron.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/files.h"
#include "base/str.h"
#include "model/data/source/formats.h"

namespace longrun {
namespace {

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr std::size_t kFixedBytes = 9 + 8 + 1 + 8;  // up to and including n_sequences

template <typename Word>
Word At(std::span<const std::byte> bytes, std::size_t offset) {
  Word word;
  std::memcpy(&word, bytes.data() + offset, sizeof word);
  return word;
}

Status Broken(std::string_view field, const std::string& found, const std::string& expected) {
  return Status(Code::kDataLoss, Str("index: ", field, " is ", found, ", expected ", expected));
}

Result<IdType> TypeOfCode(std::uint8_t code) {
  switch (code) {
    case 1:
      return IdType::kU8;
    case 2:
      return IdType::kI8;
    case 3:
      return IdType::kI16;
    case 4:
      return IdType::kI32;
    case 5:
      return IdType::kI64;
    case 8:
      return IdType::kU16;
    default:
      return Broken("type code", Str(static_cast<int>(code)),
                    "an integer type, 1 to 5 or 8 (6 and 7 are floating-point types)");
  }
}

Status CheckSequences(const MegatronIndex& index, std::int64_t bin_bytes) {
  const auto width = static_cast<std::int64_t>(IdBytes(index.type));
  for (std::int64_t i = 0; i < index.n_sequences; ++i) {
    const std::int64_t length = index.Length(i), pointer = index.Pointer(i);
    if (length < 0) return Broken(Str("length[", i, "]"), Str(length), "0 or more");
    if (pointer < 0 || pointer > bin_bytes || length * width > bin_bytes - pointer) {
      return Broken(Str("pointer[", i, "]"), Str(pointer, " (with ", length, " ids from there)"),
                    Str("a range within the ", bin_bytes, " bytes of the .bin file"));
    }
  }
  return Status();
}

Status CheckBoundaries(const MegatronIndex& index) {
  std::int64_t before = 0;
  for (std::int64_t i = 0; i < index.n_boundaries; ++i) {
    const std::int64_t boundary = index.Boundary(i);
    const bool first = i == 0, last = i + 1 == index.n_boundaries;
    if ((first && boundary != 0) || boundary < before || boundary > index.n_sequences ||
        (last && boundary != index.n_sequences)) {
      return Broken(Str("boundary[", i, "]"), Str(boundary),
                    first  ? "0"
                    : last ? Str("n_sequences, ", index.n_sequences)
                           : Str(before, " to ", index.n_sequences));
    }
    before = boundary;
  }
  return Status();
}

// ---- reading -----------------------------------------------------------------------------------

class BinFile {
 public:
  static Result<BinFile> Open(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return ErrnoStatus(errno, Str("cannot read ", path));
    return BinFile(path, fd);
  }
  ~BinFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  BinFile(BinFile&& other) noexcept : path_(std::move(other.path_)), fd_(other.fd_) {
    other.fd_ = -1;
  }
  BinFile& operator=(BinFile&&) = delete;

  Status Read(std::int64_t offset, std::span<char> out) const {
    while (!out.empty()) {
      const ssize_t n = ::pread(fd_, out.data(), out.size(), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, Str("cannot read ", path_));
      if (n == 0) return Status(Code::kDataLoss, Str(path_, " became shorter while it was read"));
      offset += n;
      out = out.subspan(static_cast<std::size_t>(n));
    }
    return Status();
  }

 private:
  BinFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::string path_;
  int fd_ = -1;
};

class MegatronReader {
 public:
  MegatronReader(const MegatronIndex& index, const BinFile& bin, DocumentSink& sink)
      : index_(index), bin_(bin), sink_(sink), chunk_(kSourceChunkBytes) {}

  Status Read() {
    if (index_.n_boundaries == 0) {
      for (std::int64_t i = 0; i < index_.n_sequences; ++i) RETURN_IF_ERROR(Document(i, i + 1));
    }
    for (std::int64_t i = 0; i + 1 < index_.n_boundaries; ++i) {
      RETURN_IF_ERROR(Document(index_.Boundary(i), index_.Boundary(i + 1)));
    }
    return Status();
  }

 private:
  Status Document(std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) RETURN_IF_ERROR(Sequence(i));
    return sink_.EndDocument();
  }

  Status Sequence(std::int64_t i) {
    const std::size_t width = IdBytes(index_.type);
    std::int64_t offset = index_.Pointer(i);
    auto left = static_cast<std::size_t>(index_.Length(i)) * width;
    while (left > 0) {
      const std::size_t n = std::min(left, chunk_.size());  // a multiple of every width
      RETURN_IF_ERROR(bin_.Read(offset, std::span<char>(chunk_).first(n)));
      ids_.clear();
      RETURN_IF_ERROR(DecodeIds(index_.type, std::span<const char>(chunk_).first(n), n_ids_, ids_));
      RETURN_IF_ERROR(sink_.Ids(ids_));
      n_ids_ += static_cast<std::int64_t>(ids_.size());
      offset += static_cast<std::int64_t>(n);
      left -= n;
    }
    return Status();
  }

  const MegatronIndex& index_;
  const BinFile& bin_;
  DocumentSink& sink_;
  std::vector<char> chunk_;
  std::vector<std::int32_t> ids_;
  std::int64_t n_ids_ = 0;
};

Status CheckMegatron(const SourceOptions&) { return Status(); }

// The reader refuses a name that does not end in .idx.
std::string BinOf(const std::string& idx) {
  return idx.ends_with(".idx") ? Str(idx.substr(0, idx.size() - 4), ".bin") : idx;
}

Status ReadMegatron(SourceInput& input, const SourceOptions&, DocumentSink& sink) {
  const std::string& idx = input.path();
  if (!idx.ends_with(".idx")) {
    return Status(Code::kInvalidArgument,
                  "list the .idx file (uncompressed); the .bin file of the same name goes with it");
  }
  const std::string bin = BinOf(idx);
  RETURN_IF_ERROR(input.Hash(idx));
  RETURN_IF_ERROR(input.Hash(bin));
  ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Open(idx));
  ASSIGN_OR_RETURN(const std::int64_t bin_bytes, FileBytes(bin));
  ASSIGN_OR_RETURN(const MegatronIndex index, ParseMegatronIndex(mapped.bytes(), bin_bytes));
  ASSIGN_OR_RETURN(const BinFile file, BinFile::Open(bin));
  return MegatronReader(index, file, sink).Read();
}

}  // namespace

std::int32_t MegatronIndex::Length(std::int64_t sequence) const {
  return At<std::int32_t>(lengths, static_cast<std::size_t>(sequence) * 4);
}
std::int64_t MegatronIndex::Pointer(std::int64_t sequence) const {
  return At<std::int64_t>(pointers, static_cast<std::size_t>(sequence) * 8);
}
std::int64_t MegatronIndex::Boundary(std::int64_t i) const {
  return At<std::int64_t>(boundaries, static_cast<std::size_t>(i) * 8);
}

Result<MegatronIndex> ParseMegatronIndex(std::span<const std::byte> idx, std::int64_t bin_bytes) {
  if (idx.size() < kFixedBytes) {
    return Broken("file size", Str(idx.size()), Str("at least ", kFixedBytes, " bytes"));
  }
  if (std::memcmp(idx.data(), kMagic.data(), kMagic.size()) != 0) {
    return Status(Code::kDataLoss, "index: it does not begin with MMIDIDX: not a Megatron index");
  }
  if (const auto version = At<std::uint64_t>(idx, 9); version != 1) {
    return Broken("version", Str(version), "1");
  }
  MegatronIndex index;
  ASSIGN_OR_RETURN(index.type, TypeOfCode(At<std::uint8_t>(idx, 17)));
  const auto n = At<std::uint64_t>(idx, 18);
  if (n > idx.size() / 12) {
    return Broken("n_sequences", Str(n),
                  Str("at most ", idx.size() / 12, " in its ", idx.size(), " bytes"));
  }
  index.n_sequences = static_cast<std::int64_t>(n);
  std::size_t at = kFixedBytes;
  if (idx.size() != kFixedBytes + 12 * n) {  // it may be fairseq's format
    const std::uint64_t n_boundaries =
        idx.size() >= kFixedBytes + 8 ? At<std::uint64_t>(idx, kFixedBytes) : 0;
    at += 8;
    if (n_boundaries == 0 || n_boundaries > idx.size() / 8 ||
        idx.size() != at + 12 * n + 8 * n_boundaries) {
      return Broken("file size", Str(idx.size()),
                    Str(kFixedBytes + 12 * n, " (fairseq's format), or ", kFixedBytes + 8 + 12 * n,
                        " plus 8 for each document boundary"));
    }
    index.n_boundaries = static_cast<std::int64_t>(n_boundaries);
  }
  index.lengths = idx.subspan(at, 4 * n);
  index.pointers = idx.subspan(at + 4 * n, 8 * n);
  index.boundaries = idx.subspan(at + 12 * n);
  RETURN_IF_ERROR(CheckSequences(index, bin_bytes));
  RETURN_IF_ERROR(CheckBoundaries(index));
  return index;
}

const SourceFormat& MegatronFormat() {
  static const SourceFormat format = {
      .name = "megatron",
      .meaning = "token ids of Megatron, GPT-NeoX and fairseq: the .idx file, its .bin beside it",
      .gives = SourceFormat::Gives::kTokenDocuments,
      .takes = {},
      .check = &CheckMegatron,
      .read = &ReadMegatron,
      .sister = &BinOf,
  };
  return format;
}

}  // namespace longrun
