// A file that a parameter of an evaluation names (Evaluation::file_param). What is asked is its
// content, so in resolved parameters it is "sha256:HEX": the same questions are the same cell
// wherever the file lies, and other questions are another cell. Its bytes are kept under that name,
// whatever becomes of the file:
//
//   FOLDER/HEX
#pragma once

#include <cstddef>
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
// "4f1c22aa" of "sha256:4f1c22aa...": enough for people to tell two files apart.
std::string ShortInputFileId(std::string_view id);

// FOLDER/HEX, and "sha256:HEX" of it.
std::string KeptFilePath(std::string_view id, std::string_view folder);
std::string InputFileIdOf(std::string_view kept_path);

// Only of a regular file (a pipe would keep its reader waiting), of at most kInputFileBytesMax.
Result<InputFile> ReadInputFile(const std::string& path);
// Makes `folder` hold the file; what is there already with these bytes stays.
Status KeepInputFile(const InputFile& file, const std::string& folder);
// kNotFound, or kDataLoss when the bytes kept are not those of the id.
Result<InputFile> ReadKeptFile(const std::string& id, const std::string& folder);

}  // namespace longrun
