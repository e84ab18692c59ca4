// A format that documents come in: one file of this folder and one line in registry.cc each. A
// reader gives what a file holds to a sink, document after document and in pieces, so that memory
// depends neither on the file's size nor on a document's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/data/source/stream.h"

namespace longrun {

// What a reader of text gives calls Text, a reader of tokens Ids.
class DocumentSink {
 public:
  virtual ~DocumentSink() = default;
  virtual Status Text(std::string_view bytes) = 0;
  virtual Status Ids(std::span<const std::int32_t> ids) = 0;  // none negative
  // Also of a document without text.
  virtual Status EndDocument() = 0;
};

// How the files of a dataset are to be read. Nothing: as the format's default is.
struct SourceOptions {
  std::string format = "text";
  std::optional<std::string> separator =
      std::nullopt;  // text: line, form_feed, blank_lines, bytes:BYTES, or bytes that are no word
  std::optional<std::string> field = std::nullopt;   // jsonl, parquet: path of the text, "text"
  std::optional<std::string> filter = std::nullopt;  // jsonl, parquet: "PATH==VALUE"
  std::optional<std::string> dtype = std::nullopt;   // raw: u16, u32
  bool any_bytes = false;                            // text: also what is none (text_check.h)
  bool universal_newlines = false;                   // of text, before it is cut into documents

  Json ToJson() const;  // what was given; for the manifest and for the identity of a part
};

struct SourceFormat {
  enum class Gives {
    kText,            // documents of text
    kTokenStream,     // ids in one stream; documents are recovered by the end-of-text token
    kTokenDocuments,  // ids, document by document
  };
  std::string_view name;
  std::string_view meaning;
  Gives gives = Gives::kText;
  std::vector<std::string_view> takes = {};  // names of the options it knows
  // Their values; names the option.
  Status (*check)(const SourceOptions& options) = nullptr;
  // Errors name line, token or offset; the caller names the file.
  Status (*read)(SourceInput& input, const SourceOptions& options, DocumentSink& sink) = nullptr;
  // The path of the file that goes with a listed one; null where a file stands alone.
  std::string (*sister)(const std::string& path) = nullptr;
};

std::span<const SourceFormat* const> SourceFormats();
std::vector<std::string> SourceFormatNames();
// kInvalidArgument with the nearest name and the list.
Result<const SourceFormat*> FindSourceFormat(std::string_view name);
// The format is known, takes every option that is given, and can do with its value.
Result<const SourceFormat*> CheckSourceOptions(const SourceOptions& options);
// By the ending of a file's name, packed or not: "jsonl" of "a.jsonl.gz"; "text" where none is told.
std::string_view GuessSourceFormat(std::string_view path);

}  // namespace longrun
