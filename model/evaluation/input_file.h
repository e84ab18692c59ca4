// A file that a parameter of an evaluation names (Evaluation::files). The evaluation depends
// on the content, so the resolved parameter is "sha256:HEX": the same questions are the same cell
// wherever the file is, and other questions are another cell. The bytes are kept under that name,
// even if the file changes or disappears:
//
//   FOLDER/HEX
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

inline constexpr std::size_t kInputFileBytesMax = std::size_t{256} << 20;

struct InputFile {
  std::string id;  // "sha256:HEX"
  std::string bytes;
};

bool IsInputFileId(std::string_view text);
// "4f1c22aa" from "sha256:4f1c22aa...": enough for people to tell two files apart.
std::string ShortInputFileId(std::string_view id);

// The ids in the JSON of an evaluation, which this build need not know.
std::set<std::string> InputFileIdsIn(std::string_view evaluation_json);

// From "sha256:HEX" to FOLDER/HEX, and back.
std::string KeptFilePath(std::string_view id, std::string_view folder);
std::string InputFileIdOf(std::string_view kept_path);

// Reads only regular files (a pipe would block its reader) of at most kInputFileBytesMax.
Result<InputFile> ReadInputFile(const std::string& path);
// Stores the file in `folder`; an existing file with these bytes stays.
Status KeepInputFile(const InputFile& file, const std::string& folder);
// kNotFound, or kDataLoss if the stored bytes do not match the id.
Result<InputFile> ReadKeptFile(const std::string& id, const std::string& folder);

}  // namespace longrun
