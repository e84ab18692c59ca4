#include <algorithm>
#include <array>

#include "base/str.h"
#include "model/data/source/formats.h"
#include "model/data/source/source.h"

namespace longrun {
namespace {

struct Given {
  std::string_view name;
  const std::optional<std::string>& value;
};

std::array<Given, 4> GivenOptions(const SourceOptions& options) {
  return {{{"separator", options.separator},
           {"field", options.field},
           {"filter", options.filter},
           {"dtype", options.dtype}}};
}

}  // namespace

Json SourceOptions::ToJson() const {
  Json json = {{"format", format}};
  for (const Given& given : GivenOptions(*this)) {
    // JSON cannot hold bytes that are not UTF-8, and a separator may have any bytes.
    if (given.value) json[std::string(given.name)] = ToUtf8(*given.value);
  }
  if (any_bytes) json["any_bytes"] = true;
  return json;
}

// One line for each format.
std::span<const SourceFormat* const> SourceFormats() {
  static const std::array formats = {
      &TextFormat(),     &JsonlFormat(),   &NpyFormat(),  &RawFormat(),
      &MegatronFormat(), &ParquetFormat(), &RuleFormat(),
  };
  return formats;
}

std::vector<std::string> SourceFormatNames() {
  std::vector<std::string> names;
  for (const SourceFormat* const format : SourceFormats()) names.emplace_back(format->name);
  return names;
}

Result<const SourceFormat*> FindSourceFormat(std::string_view name) {
  for (const SourceFormat* const format : SourceFormats()) {
    if (format->name == name) return format;
  }
  const std::string nearest = Nearest(name, SourceFormatNames());
  return Status(Code::kInvalidArgument,
                Str("unknown format \"", name, "\"",
                    nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?"),
                    " (choose one of ", Join(SourceFormatNames(), ", "), ")"));
}

Result<const SourceFormat*> CheckSourceOptions(const SourceOptions& options) {
  ASSIGN_OR_RETURN(const SourceFormat* const format, FindSourceFormat(options.format));
  for (const Given& given : GivenOptions(options)) {
    if (given.value && std::ranges::find(format->takes, given.name) == format->takes.end()) {
      return Status(Code::kInvalidArgument,
                    Str("format ", format->name, " has no key \"", given.name, "\": leave it out"));
    }
  }
  if (options.any_bytes && std::ranges::find(format->takes, "any_bytes") == format->takes.end()) {
    return Status(Code::kInvalidArgument,
                  Str("format ", format->name, " has no key \"any_bytes\": leave it out"));
  }
  if (options.universal_newlines && format->gives != SourceFormat::Gives::kText) {
    return Status(Code::kInvalidArgument,
                  Str("format ", format->name,
                      " gives tokens, but `newline: universal` is only for formats of text"));
  }
  RETURN_IF_ERROR(format->check(options));
  return format;
}

std::string_view NamedSourceFormat(std::string_view path) {
  struct Ending {
    std::string_view ending, format;
  };
  static constexpr std::array<Ending, 7> kEndings = {{{".txt", "text"},
                                                      {".jsonl", "jsonl"},
                                                      {".ndjson", "jsonl"},
                                                      {".npy", "npy"},
                                                      {".idx", "megatron"},
                                                      {".parquet", "parquet"},
                                                      {".rule", "rule"}}};
  const std::string_view name = WithoutCompression(path);
  for (const Ending& entry : kEndings) {
    if (name.ends_with(entry.ending)) return entry.format;
  }
  return "";
}

std::string_view GuessSourceFormat(std::string_view path) {
  const std::string_view named = NamedSourceFormat(path);
  return named.empty() ? "text" : named;
}

}  // namespace longrun
