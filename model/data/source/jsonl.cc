// JSON lines: one object per line, with its text at `field`; with `filter`, only objects with the
// given value. Lines of white space are skipped. A line is held in memory, up to
// LineReader::kLineBytesMax, but of its values only those that are asked for.
#include <utility>

#include "base/str.h"
#include "model/data/source/field.h"
#include "model/data/source/formats.h"
#include "model/data/source/text_check.h"

namespace longrun {
namespace {

constexpr std::string_view kDefaultField = "text";

// The parser sees only one line, and would number each as the first.
Status WithoutLine(const Status& status) {
  constexpr std::string_view kLine = "at line 1, ";
  std::string message = status.message();
  const std::size_t at = message.find(kLine);
  if (at != std::string::npos) message.replace(at, kLine.size(), "at ");
  return Status(status.code(), message);
}

Status ReadJsonl(SourceInput& input, const SourceOptions& options, DocumentSink& sink) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteStream> opened, input.Open());
  const std::unique_ptr<ByteStream> stream = CheckedBeginning(std::move(opened));
  const std::string field = options.field.value_or(std::string(kDefaultField));
  std::vector<std::vector<std::string>> paths(1);
  ASSIGN_OR_RETURN(paths[0], ParseFieldPath("field", field));
  std::optional<FieldFilter> filter;
  if (options.filter) {
    ASSIGN_OR_RETURN(filter, ParseFieldFilter(*options.filter));
    paths.push_back(filter->path);
  }
  LineReader lines(*stream);
  std::string line;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, lines.Next(line));
    if (!more) return Status();
    if (Trim(line).empty()) continue;
    const auto at_line = [&](Status status) {
      return std::move(status).In(Str("line ", lines.number()));
    };
    Result<FoundFields> fields = ReadFields(line, paths, {.bytes_max = LineReader::kLineBytesMax});
    if (!fields.ok()) return at_line(WithoutLine(fields.status()));
    if (filter && !Matches(*filter, fields->back())) continue;
    const std::optional<FoundField>& text = fields->front();
    if (!text || text->type != Json::value_t::string) {
      return at_line(Status(
          Code::kInvalidArgument,
          Str("expected text at field \"", field, "\", found ", text ? text->TypeName() : "nothing",
              "; use --field or source.field to name another field")));
    }
    const auto& bytes = text->value.get_ref<const std::string&>();
    RETURN_IF_ERROR(sink.Text(options.universal_newlines ? UniversalNewlines(bytes) : bytes));
    RETURN_IF_ERROR(sink.EndDocument());
  }
}

}  // namespace

const SourceFormat& JsonlFormat() {
  static const SourceFormat format = {
      .name = "jsonl",
      .meaning = "one JSON object per line, with the text in a field",
      .gives = SourceFormat::Gives::kText,
      .takes = {"field", "filter"},
      .check = &CheckFieldOptions,
      .read = &ReadJsonl,
  };
  return format;
}

}  // namespace longrun
