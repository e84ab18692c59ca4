// Plain text: a file is a document, or documents are separated by
//
//   line          "\n"; the document is the line without it; a line of white space has no text
//   form_feed     "\f"
//   blank_lines   one empty line or more; the document keeps the end of its last line
//   bytes:BYTES   exactly these bytes
//   other bytes   taken literally, unless they look like a name:
//                 "blank-lines" is a typo and is refused
//
// A separator belongs to no document. Bytes are kept unchanged. A file that is not text
// (text_check.h) is refused unless any_bytes is set.
#include <algorithm>
#include <array>
#include <utility>

#include "base/str.h"
#include "model/data/source/formats.h"
#include "model/data/source/text_check.h"

namespace longrun {
namespace {

constexpr std::size_t kSeparatorBytesMax = 256;
constexpr std::string_view kLiteral = "bytes:";

struct NamedSeparator {
  std::string_view name;
  std::string_view bytes;  // "": has a rule of its own
};
constexpr std::array<NamedSeparator, 3> kNamedSeparators = {
    {{"line", "\n"}, {"form_feed", "\f"}, {"blank_lines", ""}}};

// A letter, then letters, digits, "_" and "-": this looks like a name, and hardly like a separator.
bool LooksLikeName(std::string_view text) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !text.empty() && is_letter(text.front()) && std::ranges::all_of(text, [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

// The bytes between documents; "" for blank lines.
Result<std::string> SeparatorBytes(const std::string& separator) {
  std::vector<std::string> names;
  for (const NamedSeparator& named : kNamedSeparators) {
    if (separator == named.name) return std::string(named.bytes);
    names.emplace_back(named.name);
  }
  const bool literal = separator.starts_with(kLiteral);
  std::string bytes = separator.substr(literal ? kLiteral.size() : 0);
  if (!literal && LooksLikeName(separator)) {
    const std::string nearest = Nearest(separator, names);
    return Status(
        Code::kInvalidArgument,
        Str("separator: unknown name \"", separator, "\"",
            nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?"), " (choose one of ",
            Join(names, ", "), "; to separate documents by this very word, write ", kLiteral,
            separator, ")"));
  }
  if (bytes.empty() || bytes.size() > kSeparatorBytesMax) {
    return Status(
        Code::kInvalidArgument,
        Str("separator: expected ", Join(names, ", "), " or 1 to ", kSeparatorBytesMax,
            " bytes, found ", bytes.size(), " bytes; leave it out if each file is one document"));
  }
  return bytes;
}

Status CheckText(const SourceOptions& options) {
  return options.separator ? SeparatorBytes(*options.separator).status() : Status();
}

Status ReadWhole(ByteStream& stream, DocumentSink& sink) {
  std::vector<char> chunk(kSourceChunkBytes);
  while (true) {
    ASSIGN_OR_RETURN(const std::size_t n, stream.Read(chunk));
    if (n == 0) return sink.EndDocument();
    RETURN_IF_ERROR(sink.Text({chunk.data(), n}));
  }
}

Status ReadSeparated(ByteStream& stream, const std::string& separator, DocumentSink& sink) {
  std::vector<char> chunk(kSourceChunkBytes);
  std::string pending;  // may end with the beginning of a separator
  bool open = false;    // text has come since the last separator
  while (true) {
    ASSIGN_OR_RETURN(const std::size_t n, stream.Read(chunk));
    pending.append(chunk.data(), n);
    std::size_t at = 0;
    for (std::size_t end = pending.find(separator); end != std::string::npos;
         end = pending.find(separator, at)) {
      RETURN_IF_ERROR(sink.Text(std::string_view(pending).substr(at, end - at)));
      RETURN_IF_ERROR(sink.EndDocument());
      open = false;
      at = end + separator.size();
    }
    const std::size_t kept = n == 0 ? 0 : std::min(separator.size() - 1, pending.size() - at);
    const std::string_view sure = std::string_view(pending).substr(at, pending.size() - kept - at);
    RETURN_IF_ERROR(sink.Text(sure));
    open = open || !sure.empty();
    pending.erase(0, pending.size() - kept);
    if (n == 0) return open ? sink.EndDocument() : Status();
  }
}

// Passes on documents that have more than white space. The others count as documents without text
// and are left out: the empty lines of WikiText contain a space.
class BlankSkipper final : public DocumentSink {
 public:
  explicit BlankSkipper(DocumentSink& sink) : sink_(sink) {}

  Status Text(std::string_view bytes) override {
    if (has_text_) return sink_.Text(bytes);
    blank_.append(bytes);
    // After too much white space, count what has come so far as text.
    if (Trim(bytes).empty() && blank_.size() < kSourceChunkBytes) return Status();
    has_text_ = true;
    return sink_.Text(std::exchange(blank_, {}));
  }
  Status Ids(std::span<const std::int32_t> ids) override { return sink_.Ids(ids); }
  Status EndDocument() override {
    has_text_ = false;
    blank_.clear();
    return sink_.EndDocument();
  }

 private:
  DocumentSink& sink_;
  std::string blank_;  // the beginning of a document while it is only white space
  bool has_text_ = false;
};

// Cuts at blank lines; a line may come in many pieces.
class BlankLineCutter {
 public:
  explicit BlankLineCutter(DocumentSink& sink) : sink_(sink) {}

  Status Add(std::string_view piece) {
    while (!piece.empty()) {
      const std::size_t newline = piece.find('\n');
      const std::size_t n = newline == std::string_view::npos ? piece.size() : newline + 1;
      RETURN_IF_ERROR(AddPart(piece.substr(0, n)));
      piece.remove_prefix(n);
    }
    return Status();
  }

  Status End() {
    if (held_return_) RETURN_IF_ERROR(Give("\r"));
    return open_ ? sink_.EndDocument() : Status();
  }

 private:
  // Adds part of one line, with its line end if that has come.
  Status AddPart(std::string_view part) {
    const bool ends = part.back() == '\n';
    if (at_line_start_ && (part == "\n" || part == "\r\n")) {
      held_return_ = false;
      if (!open_) return Status();
      open_ = false;
      return sink_.EndDocument();
    }
    if (at_line_start_ && part == "\r" && !held_return_) {  // possibly half of an empty line's end
      held_return_ = true;
      return Status();
    }
    if (held_return_) RETURN_IF_ERROR(Give("\r"));
    held_return_ = false;
    at_line_start_ = ends;
    return Give(part);
  }

  Status Give(std::string_view text) {
    open_ = true;
    return sink_.Text(text);
  }

  DocumentSink& sink_;
  bool at_line_start_ = true;
  bool held_return_ = false;
  bool open_ = false;
};

Status ReadBlankLines(ByteStream& stream, DocumentSink& sink) {
  std::vector<char> chunk(kSourceChunkBytes);
  BlankLineCutter cutter(sink);
  while (true) {
    ASSIGN_OR_RETURN(const std::size_t n, stream.Read(chunk));
    if (n == 0) return cutter.End();
    RETURN_IF_ERROR(cutter.Add({chunk.data(), n}));
  }
}

Status ReadText(SourceInput& input, const SourceOptions& options, DocumentSink& sink) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteStream> stream, input.Open());
  std::string separator;
  if (options.separator) {
    ASSIGN_OR_RETURN(separator, SeparatorBytes(*options.separator));
  }
  if (!options.any_bytes) stream = CheckedText(std::move(stream), input.path(), separator);
  if (options.universal_newlines) stream = UniversalNewlines(std::move(stream));
  if (!options.separator) return ReadWhole(*stream, sink);
  if (separator.empty()) return ReadBlankLines(*stream, sink);
  if (*options.separator != "line") return ReadSeparated(*stream, separator, sink);
  BlankSkipper with_text(sink);
  return ReadSeparated(*stream, separator, with_text);
}

}  // namespace

const SourceFormat& TextFormat() {
  static const SourceFormat format = {
      .name = "text",
      .meaning = "plain text: each file is one document, or a separator divides it into documents",
      .gives = SourceFormat::Gives::kText,
      .takes = {"separator", "any_bytes"},
      .check = &CheckText,
      .read = &ReadText,
  };
  return format;
}

}  // namespace longrun
