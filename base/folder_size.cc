#include "base/folder_size.h"

#include <filesystem>
#include <system_error>

namespace longrun {
namespace {

namespace fs = std::filesystem;

// The functions of fs::directory_entry describe what the link leads to.
bool IsLinkToFile(const fs::directory_entry& entry) {
  std::error_code error;
  return entry.is_symlink(error) && !entry.is_directory(error);
}

std::int64_t BytesOf(const fs::directory_entry& entry) {
  std::error_code error;
  if (IsLinkToFile(entry)) return 0;
  if (entry.is_regular_file(error)) {
    const auto n_bytes = entry.file_size(error);
    return error ? 0 : static_cast<std::int64_t>(n_bytes);
  }
  if (!entry.is_directory(error)) return 0;
  std::int64_t n_bytes = 0;
  for (fs::directory_iterator at(entry.path(), error), end; !error && at != end;
       at.increment(error)) {
    std::error_code gone;
    const bool is_linked_folder = at->is_symlink(gone) && at->is_directory(gone);
    if (!is_linked_folder) n_bytes += BytesOf(*at);
  }
  return n_bytes;
}

}  // namespace

std::int64_t BytesBelow(const std::string& path) {
  std::error_code gone;
  return BytesOf(fs::directory_entry(path, gone));
}

}  // namespace longrun
