#include "model/data/source/text_check.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/str.h"

namespace longrun {
namespace {

struct Beginning {
  std::string_view bytes;
  std::string_view what;
  std::string_view remedy;
};

using namespace std::string_view_literals;

// Beginnings of files that are not text. Pickles: protocols 2 to 5.
constexpr std::array kBeginnings = {
    Beginning{"%PDF-"sv, "a PDF", "extract its text (pdftotext)"},
    Beginning{"PK\x03\x04"sv, "a ZIP archive (.docx, .odt and .npz are some)", "unpack it"},
    Beginning{"\x7f"
              "ELF"sv,
              "a program (ELF)", "name the text"},
    Beginning{"\x89PNG"sv, "a picture (PNG)", "name the text"},
    Beginning{"\xff\xd8\xff"sv, "a picture (JPEG)", "name the text"},
    Beginning{"\x93NUMPY"sv, "a NumPy array", "read its token ids with --format npy"},
    Beginning{"MMIDIDX\0"sv, "a Megatron index", "read it with --format megatron"},
    Beginning{"PAR1"sv, "Parquet", "read it with --format parquet"},
    Beginning{"\x1f\x8b"sv, "gzip", "give it a name that ends in .gz, and longrun unpacks it"},
    Beginning{"\x28\xb5\x2f\xfd"sv, "Zstandard",
              "give it a name that ends in .zst, and longrun unpacks it"},
    Beginning{"\xfd"
              "7zXZ\0"sv,
              "xz", "unpack it (unxz)"},
    Beginning{"SQLite format 3\0"sv, "a SQLite database", "export its text"},
    Beginning{"\x80\x02"sv, "a Python pickle", "convert it in Python"},
    Beginning{"\x80\x03"sv, "a Python pickle", "convert it in Python"},
    Beginning{"\x80\x04"sv, "a Python pickle", "convert it in Python"},
    Beginning{"\x80\x05"sv, "a Python pickle", "convert it in Python"},
    Beginning{"\xff\xfe"sv, "text in UTF-16", "convert it (iconv -f UTF-16 -t UTF-8)"},
    Beginning{"\xfe\xff"sv, "text in UTF-16", "convert it (iconv -f UTF-16 -t UTF-8)"},
};
constexpr std::size_t kBeginningBytesMax = 16;

constexpr std::string_view kAsTheyAre = "or accept any bytes with --any-bytes or source.any_bytes";

Status CheckBeginning(std::string_view bytes, bool may_be_taken) {
  for (const Beginning& known : kBeginnings) {
    if (!bytes.starts_with(known.bytes)) continue;
    return Status(Code::kInvalidArgument,
                  Str("byte 0: it begins like ", known.what, ", which is not text: ", known.remedy,
                      may_be_taken ? Str(", ", kAsTheyAre) : ""));
  }
  return Status();
}

// Checks the first kBeginningBytesMax bytes of a stream, or all that it has.
class BeginningChecker {
 public:
  explicit BeginningChecker(bool may_be_taken) : may_be_taken_(may_be_taken) {}

  // Reports a beginning as soon as it is seen: the bytes after it might be refused with
  // a vaguer message.
  Status Add(std::string_view piece) {
    if (held_.size() == kBeginningBytesMax) return Status();
    held_.append(piece.substr(0, kBeginningBytesMax - held_.size()));
    return CheckBeginning(held_, may_be_taken_);
  }

 private:
  std::string held_;
  bool may_be_taken_;
};

class BeginningStream final : public ByteStream {
 public:
  explicit BeginningStream(std::unique_ptr<ByteStream> stream) : stream_(std::move(stream)) {}

  Result<std::size_t> Read(std::span<char> out) override {
    ASSIGN_OR_RETURN(const std::size_t n, stream_->Read(out));
    RETURN_IF_ERROR(checker_.Add({out.data(), n}));
    return n;
  }

 private:
  std::unique_ptr<ByteStream> stream_;
  BeginningChecker checker_{/*may_be_taken=*/false};
};

// Whether the eight bytes at `at` are all ASCII and not NUL. (x - 1) & ~x & 0x80 detects a zero
// byte: for bytes below 0x80, only zero sets the bit.
bool EightOfAscii(const char* at) {
  constexpr std::uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return ((word | ((word - kOnes) & ~word)) & kHigh) == 0;
}

// Checks for UTF-8 by the Unicode standard's table 3-7: no surrogates,
// nothing overlong, up to U+10FFFF.
class TextStream final : public ByteStream {
 public:
  TextStream(std::unique_ptr<ByteStream> stream, std::string path, std::string_view separator)
      : stream_(std::move(stream)), path_(std::move(path)) {
    if (separator.find('\0') == std::string_view::npos && IsUtf8(separator)) return;
    for (const char c : separator) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte == 0 || byte >= 0x80) passed_.set(byte);
    }
  }

  Result<std::size_t> Read(std::span<char> out) override {
    ASSIGN_OR_RETURN(const std::size_t n, stream_->Read(out));
    const std::string_view piece(out.data(), n);
    RETURN_IF_ERROR(beginning_.Add(piece));
    RETURN_IF_ERROR(n == 0 ? End() : Check(piece));
    n_newlines_ += std::ranges::count(piece, '\n');
    offset_ += static_cast<std::int64_t>(n);
    return n;
  }

 private:
  Status Check(std::string_view piece) {
    std::size_t i = 0;
    while (i < piece.size()) {
      if (left_ == 0 && i + 8 <= piece.size() && EightOfAscii(piece.data() + i)) {
        i += 8;
        continue;
      }
      const auto byte = static_cast<unsigned char>(piece[i]);
      if (Take(byte)) {
        i += 1;
        continue;
      }
      const bool is_cut = left_ > 0;  // a character that this byte does not continue
      if (!passed_[is_cut ? lead_ : byte]) return Refuse(piece, i, is_cut ? lead_ : byte);
      if (!is_cut) i += 1;
      left_ = n_taken_ = 0;
    }
    return Status();
  }

  // Takes the next byte of a character; false if it is not valid there.
  bool Take(unsigned char byte) {
    if (left_ > 0) {
      if (byte < low_ || byte > high_) return false;
      left_ -= 1;
      n_taken_ += 1;
      low_ = 0x80;
      high_ = 0xbf;
      return true;
    }
    n_taken_ = 0;
    if (byte != 0 && byte < 0x80) return true;
    if (byte < 0xc2 || byte > 0xf4) return false;
    lead_ = byte;
    n_taken_ = 1;
    left_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    low_ = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    high_ = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return true;
  }

  std::string Place(std::string_view piece, std::size_t i) const {
    const auto newlines = n_newlines_ + std::ranges::count(piece.substr(0, i), '\n');
    return Str("byte ", offset_ + static_cast<std::int64_t>(i) - (left_ > 0 ? n_taken_ : 0),
               " (line ", newlines + 1, ")");
  }

  // Nothing in the file hints at its format; a shard without a header ends in ".bin".
  std::string Remedy(std::string_view other) const {
    return Str(WithoutCompression(path_).ends_with(".bin")
                   ? "if these are token ids, read them with --format raw --dtype u16 (or u32)"sv
                   : other,
               ", ", kAsTheyAre);
  }

  // Reports the error at piece[i], or at the start of the character that is cut there.
  Status Refuse(std::string_view piece, std::size_t i, unsigned char byte) const {
    if (byte == 0) {
      return Status(
          Code::kInvalidArgument,
          Str(Place(piece, i), " is NUL, which text does not contain: ",
              Remedy("if these are token ids, read them with --format raw --dtype u16 (or u32)")));
    }
    constexpr std::string_view kHex = "0123456789abcdef";
    return Status(Code::kInvalidArgument,
                  Str(Place(piece, i), " is \\x", kHex[byte / 16], kHex[byte % 16],
                      ", which does not start a valid UTF-8 character: ",
                      Remedy("convert the file (iconv -f LATIN1 -t UTF-8)")));
  }

  Status End() const { return left_ == 0 || passed_[lead_] ? Status() : Refuse("", 0, lead_); }

  std::unique_ptr<ByteStream> stream_;
  std::string path_;
  std::bitset<256> passed_;
  BeginningChecker beginning_{/*may_be_taken=*/true};
  std::int64_t offset_ = 0;                 // place of the next piece in the file
  std::int64_t n_newlines_ = 0;             // newlines before it
  unsigned char lead_ = 0;                  // first byte of the current character
  int n_taken_ = 0;                         // its bytes so far
  int left_ = 0;                            // its bytes still to come
  unsigned char low_ = 0x80, high_ = 0xbf;  // bounds of the next of them
};

}  // namespace

std::unique_ptr<ByteStream> CheckedText(std::unique_ptr<ByteStream> stream, std::string path,
                                        std::string_view separator) {
  return std::make_unique<TextStream>(std::move(stream), std::move(path), separator);
}

std::unique_ptr<ByteStream> CheckedBeginning(std::unique_ptr<ByteStream> stream) {
  return std::make_unique<BeginningStream>(std::move(stream));
}

}  // namespace longrun
