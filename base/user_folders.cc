#include "base/user_folders.h"

#include <string_view>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun {
namespace {

constexpr const char* kDataHome = "XDG_DATA_HOME";
constexpr const char* kConfigHome = "XDG_CONFIG_HOME";
constexpr const char* kCacheHome = "XDG_CACHE_HOME";
constexpr const char* kRuntimeFolder = "XDG_RUNTIME_DIR";

std::string Absolute(const char* variable) {
  std::string value = GetEnv(variable).value_or("");
  return value.starts_with('/') ? value : "";
}

Status CheckVariable(const char* variable, const std::string& value, std::string_view remedy) {
  return CheckUtf8(value, Str("the environment variable ", variable), remedy);
}

// The variable's folder, else `in_home` in $HOME; "" if neither is set.
Result<std::string> HomeOf(const char* variable, const char* in_home, std::string_view remedy) {
  if (std::string folder = Absolute(variable); !folder.empty()) {
    RETURN_IF_ERROR(CheckVariable(variable, folder, remedy));
    return folder;
  }
  const std::string home = GetEnv("HOME").value_or("");
  if (home.empty()) return std::string();
  RETURN_IF_ERROR(CheckVariable("HOME", home, remedy));
  if (!home.starts_with('/')) {
    return Status(Code::kInvalidArgument,
                  Str("the environment variable HOME (", Quoted(home),
                      ") is not an absolute path, so it would mean another folder in each "
                      "directory: make it absolute, or ",
                      remedy));
  }
  return JoinPath(home, in_home);
}

}  // namespace

Result<std::string> DataHome() {
  return HomeOf(kDataHome, ".local/share", "name the state folder by --state or LONGRUN_HOME");
}

Result<std::string> ConfigHome() {
  return HomeOf(kConfigHome, ".config", "set it to another folder");
}

Result<std::string> CacheHome() { return HomeOf(kCacheHome, ".cache", "set it to another folder"); }

Result<std::string> RuntimeFolder() {
  std::string folder = Absolute(kRuntimeFolder);
  RETURN_IF_ERROR(CheckVariable(kRuntimeFolder, folder, "set it to another folder"));
  return folder;
}

std::vector<std::string> IgnoredFolderVariables() {
  std::vector<std::string> ignored;
  for (const char* const variable : {kDataHome, kConfigHome, kCacheHome, kRuntimeFolder}) {
    const std::string value = GetEnv(variable).value_or("");
    if (!value.empty() && !value.starts_with('/'))
      ignored.push_back(Str(variable, "=", ToUtf8(value)));
  }
  return ignored;
}

}  // namespace longrun
