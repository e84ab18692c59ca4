// Token ids in NumPy's format (build-nanogpt's and Cable's shards): .npy versions 1 and 2, one
// dimension, C order.
#include "model/data/source/npy.h"

#include <charconv>
#include <cstring>
#include <vector>

#include "base/str.h"
#include "model/data/source/formats.h"

namespace longrun {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kHeaderBytesMax = 65536;

Status Refused(const std::string& message) { return Status(Code::kDataLoss, message); }

std::string Shown(std::string_view text) { return Str('"', ToUtf8(text.substr(0, 60)), '"'); }

// Reads the few kinds of Python literals that the header's dictionary has.
class Literals {
 public:
  explicit Literals(std::string_view text) : rest_(text) {}

  bool Take(char c) {
    Skip();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool TakeText(std::string_view& out) {
    Skip();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return false;
    const std::size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) return false;
    out = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return true;
  }
  bool TakeWord(std::string_view& out) {
    Skip();
    std::size_t n = 0;
    while (n < rest_.size() &&
           ((rest_[n] >= 'A' && rest_[n] <= 'Z') || (rest_[n] >= 'a' && rest_[n] <= 'z'))) {
      ++n;
    }
    out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return n > 0;
  }
  bool TakeNumber(std::int64_t& out) {
    Skip();
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), out);
    if (error != std::errc() || out < 0) return false;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return true;
  }
  bool AtEnd() {
    Skip();
    return rest_.empty();
  }

 private:
  void Skip() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
  }
  std::string_view rest_;
};

struct Dictionary {
  bool has_type = false, has_order = false, has_shape = false;
  std::string_view type;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

bool TakeShape(Literals& in, std::vector<std::int64_t>& shape) {
  if (!in.Take('(')) return false;
  while (!in.Take(')')) {
    std::int64_t n = 0;
    if (shape.size() >= 32 || !in.TakeNumber(n)) return false;
    shape.push_back(n);
    if (!in.Take(',')) return in.Take(')');
  }
  return true;
}

bool TakeMember(Literals& in, Dictionary& out) {
  std::string_view key;
  if (!in.TakeText(key) || !in.Take(':')) return false;
  if (key == "descr" && !out.has_type) return out.has_type = in.TakeText(out.type);
  if (key == "shape" && !out.has_shape) return out.has_shape = TakeShape(in, out.shape);
  std::string_view word;
  if (key != "fortran_order" || out.has_order || !in.TakeWord(word)) return false;
  out.fortran_order = word == "True";
  return out.has_order = word == "True" || word == "False";
}

bool TakeDictionary(Literals& in, Dictionary& out) {
  if (!in.Take('{')) return false;
  while (!in.Take('}')) {
    if (!TakeMember(in, out)) return false;
    if (!in.Take(',')) return in.Take('}') && in.AtEnd();
  }
  return in.AtEnd();
}

Status ReadExactly(ByteStream& stream, std::span<char> out, std::string_view what) {
  while (!out.empty()) {
    ASSIGN_OR_RETURN(const std::size_t n, stream.Read(out));
    if (n == 0) return Refused(Str("it ends within the ", what, ": not a complete .npy file"));
    out = out.subspan(n);
  }
  return Status();
}

Result<NpyHeader> ReadHeader(ByteStream& stream) {
  std::array<char, 8> start{};
  RETURN_IF_ERROR(ReadExactly(stream, start, "first 8 bytes"));
  if (std::string_view(start.data(), kMagic.size()) != kMagic) {
    return Refused("it does not begin with \\x93NUMPY: not an .npy file");
  }
  const int version = static_cast<unsigned char>(start[6]);
  if (version != 1 && version != 2) {
    return Refused(Str(".npy version ", version, ", expected 1 or 2: save it with numpy.save"));
  }
  std::array<char, 4> length{};
  RETURN_IF_ERROR(ReadExactly(stream, std::span<char>(length).first(version == 1 ? 2 : 4),
                              "length of the header"));
  std::uint32_t n_bytes = 0;
  std::memcpy(&n_bytes, length.data(), sizeof n_bytes);
  if (n_bytes > kHeaderBytesMax) {
    return Refused(Str("the header has ", n_bytes, " bytes, expected at most ", kHeaderBytesMax));
  }
  std::string dictionary(n_bytes, '\0');
  RETURN_IF_ERROR(ReadExactly(stream, dictionary, "header"));
  return ParseNpyHeader(dictionary);
}

Status CheckNothing(const SourceOptions&) { return Status(); }

Status ReadNpy(SourceInput& input, const SourceOptions&, DocumentSink& sink) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, input.Open());
  ASSIGN_OR_RETURN(const NpyHeader header, ReadHeader(*stream));
  ASSIGN_OR_RETURN(const std::int64_t n, ReadIds(*stream, header.type, sink));
  if (n != header.n) {
    return Refused(Str("it holds ", n, " ids, but its header says ", header.n,
                       n < header.n ? ": it is cut short; fetch it again" : ""));
  }
  return Status();
}

}  // namespace

Result<NpyHeader> ParseNpyHeader(std::string_view text) {
  Dictionary dictionary;
  Literals in(text);
  if (!TakeDictionary(in, dictionary) || !dictionary.has_type || !dictionary.has_order ||
      !dictionary.has_shape) {
    return Refused(
        Str("the header is not a dictionary of descr, fortran_order and shape: ", Shown(text)));
  }
  NpyHeader header;
  if (dictionary.type == "<u2") {
    header.type = IdType::kU16;
  } else if (dictionary.type == "<u4") {
    header.type = IdType::kU32;
  } else if (dictionary.type == "<i4") {
    header.type = IdType::kI32;
  } else if (dictionary.type == "<i8") {
    header.type = IdType::kI64;
  } else {
    return Refused(Str("its dtype is ", Shown(dictionary.type),
                       ", expected <u2, <u4, <i4 or <i8: save it with .astype(\"uint32\")"));
  }
  if (dictionary.fortran_order || dictionary.shape.size() != 1) {
    return Refused(Str("it has ", dictionary.shape.size(), " dimensions in ",
                       dictionary.fortran_order ? "Fortran" : "C",
                       " order, expected one in C order: save it with .ravel()"));
  }
  header.n = dictionary.shape[0];
  return header;
}

const SourceFormat& NpyFormat() {
  static const SourceFormat format = {
      .name = "npy",
      .meaning = "token ids as NumPy saves them: one row of <u2, <u4, <i4 or <i8",
      .gives = SourceFormat::Gives::kTokenStream,
      .takes = {},
      .check = &CheckNothing,
      .read = &ReadNpy,
  };
  return format;
}

}  // namespace longrun
