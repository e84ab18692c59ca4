// A format of source files: one file of this folder and one line in registry.cc each. A reader
// passes a file's contents to a sink, one document after the other and in pieces, so that memory
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

// Receives documents: readers of text call Text, readers of tokens Ids.
class DocumentSink {
 public:
  virtual ~DocumentSink() = default;
  virtual Status Text(std::string_view bytes) = 0;
  virtual Status Ids(std::span<const std::int32_t> ids) = 0;  // none negative
  // Also called for an empty document.
  virtual Status EndDocument() = 0;
};

// How to read the files of a dataset. Absent options have the format's defaults.
struct SourceOptions {
  std::string format = "text";
  std::optional<std::string> separator =
      std::nullopt;  // text: line, form_feed, blank_lines, bytes:BYTES, or other bytes
  std::optional<std::string> field = std::nullopt;   // jsonl, parquet: path of the text, "text"
  std::optional<std::string> filter = std::nullopt;  // jsonl, parquet: "PATH==VALUE"
  std::optional<std::string> dtype = std::nullopt;   // raw: u16, u32
  bool any_bytes = false;                            // text: accept other files (text_check.h)
  bool universal_newlines = false;                   // for text, before it is cut into documents

  Json ToJson() const;  // the given options; for the manifest and the identity of a part
};

struct SourceFormat {
  enum class Gives {
    kText,            // documents of text
    kTokenStream,     // ids in one stream; the end-of-text token separates documents
    kTokenDocuments,  // ids, document by document
  };
  std::string_view name;
  std::string_view meaning;
  Gives gives = Gives::kText;
  std::vector<std::string_view> takes = {};  // names of the options that it supports
  // Checks the values of options; errors name the option.
  Status (*check)(const SourceOptions& options) = nullptr;
  // Errors name line, token or offset; the caller names the file.
  Status (*read)(SourceInput& input, const SourceOptions& options, DocumentSink& sink) = nullptr;
  // The path of the second file that belongs to a listed one; null if there is none.
  std::string (*sister)(const std::string& path) = nullptr;
  // The size of the documents that are made from the file, which `read` reports as it makes them; 0
  // if it cannot be known. Null if the file holds its documents.
  std::int64_t (*made_bytes)(const std::string& path) = nullptr;
};

std::span<const SourceFormat* const> SourceFormats();
std::vector<std::string> SourceFormatNames();
// kInvalidArgument with the nearest name and the list.
Result<const SourceFormat*> FindSourceFormat(std::string_view name);
// Checks that the format is known, supports every given option, and accepts its value.
Result<const SourceFormat*> CheckSourceOptions(const SourceOptions& options);
// The format that the ending of a file's name means, compressed or not: "jsonl" for "a.jsonl.gz";
// "" if it means none.
std::string_view NamedSourceFormat(std::string_view path);
// The same; "text" by default.
std::string_view GuessSourceFormat(std::string_view path);

}  // namespace longrun
