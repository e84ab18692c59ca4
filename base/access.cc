// See access.h.
#include "base/access.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

struct Denial {
  std::string path;
  std::string words;
};

std::string NameOfUser(uid_t uid) {
  const passwd* const user = getpwuid(uid);
  return user == nullptr ? Str("user ", uid) : std::string(user->pw_name);
}

std::string Octal(mode_t mode) {
  char digits[8];
  std::snprintf(digits, sizeof digits, "%04o", static_cast<unsigned>(mode & 07777));
  return digits;
}

// `wanted` is a mode as for access(2).
std::optional<Denial> DenialOf(const std::string& path, int wanted) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return std::nullopt;
  if (faccessat(AT_FDCWD, path.c_str(), wanted, AT_EACCESS) == 0) return std::nullopt;
  if (info.st_uid != geteuid()) {
    const std::string owner = NameOfUser(info.st_uid);
    return Denial{.path = path,
                  .words = Str(path, " belongs to ", owner, ": run as ", owner,
                               ", or have it given to you with chown")};
  }
  return Denial{
      .path = path,
      .words = Str(path, ": no permission to read and write it (mode ", Octal(info.st_mode),
                   "): run chmod ", S_ISDIR(info.st_mode) ? "700 " : "600 ", path)};
}

// Denials at the folders above, from the root down (below one that may not be entered nothing is
// visible), then at the folder, then at its direct entries.
std::vector<Denial> DenialsAt(const std::string& folder) {
  std::vector<std::string> above;
  for (std::string at = folder; at != FolderOf(at); at = FolderOf(at)) {
    above.insert(above.begin(), FolderOf(at));
  }
  std::vector<Denial> denials;
  const auto add = [&](const std::string& path, int wanted) {
    if (std::optional<Denial> denial = DenialOf(path, wanted))
      denials.push_back(*std::move(denial));
  };
  for (const std::string& path : above) add(path, X_OK);
  add(folder, R_OK | W_OK | X_OK);
  const Result<std::vector<std::string>> names = ListFolder(folder);
  if (!names) return denials;
  for (const std::string& name : *names) {
    const std::string path = JoinPath(folder, name);
    add(path, IsFolder(path) ? R_OK | W_OK | X_OK : R_OK | W_OK);
  }
  return denials;
}

}  // namespace

Status NamingDenied(Status status, const std::string& folder) {
  if (status.code() != Code::kPermissionDenied) return status;
  const std::vector<Denial> denials = DenialsAt(folder);
  if (denials.empty()) return status;
  // Prefer the path that the message names to others that may be unwritable on purpose.
  const auto named = std::ranges::find_if(denials, [&](const Denial& denial) {
    return denial.path != folder && status.message().find(denial.path) != std::string::npos;
  });
  const Denial& denial = named == denials.end() ? denials.front() : *named;
  return Status(Code::kPermissionDenied, Str(denial.words, " (", status.message(), ")"));
}

const std::string& OwnUserName() {
  static const std::string name = NameOfUser(geteuid());
  return name;
}

}  // namespace longrun
