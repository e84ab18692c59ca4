#include "model/evaluation/input_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::string_view kScheme = "sha256:";
constexpr std::size_t kDigitsShown = 8;

std::string DigestOf(std::string_view id) {
  LR_CHECK(IsInputFileId(id));
  return std::string(id.substr(kScheme.size()));
}

}  // namespace

bool IsInputFileId(std::string_view text) {
  return text.starts_with(kScheme) && IsSha256Hex(text.substr(kScheme.size()));
}

std::string ShortInputFileId(std::string_view id) { return DigestOf(id).substr(0, kDigitsShown); }

std::set<std::string> InputFileIdsIn(std::string_view evaluation_json) {
  constexpr std::string_view kPrefix = "\"sha256:";
  constexpr std::size_t kDigestBytes = 64;
  std::set<std::string> ids;
  for (std::size_t at = evaluation_json.find(kPrefix); at != std::string_view::npos;
       at = evaluation_json.find(kPrefix, at + 1)) {
    std::string id(evaluation_json.substr(at + 1, kPrefix.size() - 1 + kDigestBytes));
    if (IsInputFileId(id)) ids.insert(std::move(id));
  }
  return ids;
}

std::string KeptFilePath(std::string_view id, std::string_view folder) {
  return JoinPath(folder, DigestOf(id));
}

std::string InputFileIdOf(std::string_view kept_path) { return Str(kScheme, BaseName(kept_path)); }

Result<InputFile> ReadInputFile(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot read ", path));
  if (!S_ISREG(info.st_mode)) {
    return Status(Code::kInvalidArgument, Str(path, " is not a regular file"));
  }
  ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, kInputFileBytesMax));
  return InputFile{.id = Str(kScheme, Sha256Hex(bytes)), .bytes = std::move(bytes)};
}

Status KeepInputFile(const InputFile& file, const std::string& folder) {
  const std::string digest = DigestOf(file.id);
  const std::string path = JoinPath(folder, digest);
  if (PathExists(path)) {
    const Result<std::string> found = Sha256OfFile(path);
    if (found.ok() && *found == digest) return Status();
  }
  RETURN_IF_ERROR(MakeFolders(folder));
  return WriteFileAtomic(path, file.bytes);
}

Result<InputFile> ReadKeptFile(const std::string& id, const std::string& folder) {
  const std::string digest = DigestOf(id);
  const std::string path = JoinPath(folder, digest);
  if (!PathExists(path)) {
    return Status(Code::kNotFound, Str("no file with SHA-256 ", digest, " is kept in ", folder,
                                       ": give the path of the file instead of its SHA-256"));
  }
  ASSIGN_OR_RETURN(InputFile file, ReadInputFile(path));
  if (file.id != id) {
    return Status(Code::kDataLoss,
                  Str(path, " does not have the content that its name says (found ", file.id,
                      "): submit the sweep again with the original file"));
  }
  return file;
}

}  // namespace longrun
