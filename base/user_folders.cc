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
constexpr const char* kRuntimeFolder = "XDG_RUNTIME_DIR";

std::string Absolute(const char* variable) {
  std::string value = GetEnv(variable).value_or("");
  return value.starts_with('/') ? value : "";
}

Status CheckVariable(const char* variable, const std::string& value, std::string_view remedy) {
  return CheckUtf8(value, Str("the environment variable ", variable), remedy);
}

}  // namespace

Result<std::string> DataHome() {
  constexpr std::string_view kRemedy = "name the state folder by --state or LONGRUN_HOME";
  if (std::string data = Absolute(kDataHome); !data.empty()) {
    RETURN_IF_ERROR(CheckVariable(kDataHome, data, kRemedy));
    return data;
  }
  const std::string home = GetEnv("HOME").value_or("");
  if (home.empty()) return std::string();
  RETURN_IF_ERROR(CheckVariable("HOME", home, kRemedy));
  return JoinPath(home, ".local/share");
}

Result<std::string> ConfigHome() {
  constexpr std::string_view kRemedy = "set it to another folder";
  if (std::string config = Absolute(kConfigHome); !config.empty()) {
    RETURN_IF_ERROR(CheckVariable(kConfigHome, config, kRemedy));
    return config;
  }
  const std::string home = GetEnv("HOME").value_or("");
  if (home.empty()) return std::string();
  RETURN_IF_ERROR(CheckVariable("HOME", home, kRemedy));
  return JoinPath(home, ".config");
}

Result<std::string> RuntimeFolder() {
  std::string folder = Absolute(kRuntimeFolder);
  RETURN_IF_ERROR(CheckVariable(kRuntimeFolder, folder, "set it to another folder"));
  return folder;
}

std::vector<std::string> IgnoredFolderVariables() {
  std::vector<std::string> ignored;
  for (const char* const variable : {kDataHome, kConfigHome, kRuntimeFolder}) {
    const std::string value = GetEnv(variable).value_or("");
    if (!value.empty() && !value.starts_with('/'))
      ignored.push_back(Str(variable, "=", ToUtf8(value)));
  }
  return ignored;
}

}  // namespace longrun
