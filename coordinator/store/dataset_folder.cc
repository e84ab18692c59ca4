// See dataset_folder.h.
#include "coordinator/store/dataset_folder.h"

#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/files.h"
#include "base/str.h"
#include "model/data/manifest.h"

namespace longrun::coordinator {
namespace {

// The rest of the path behind `state`; "" if it is not within it.
std::string WithinState(const std::filesystem::path& state, const std::filesystem::path& folder) {
  const std::string relative =
      folder.lexically_normal().lexically_relative(state.lexically_normal()).string();
  const bool is_outside = relative.empty() || relative == "." || relative == ".." ||
                          relative.starts_with("../") || relative.starts_with('/');
  return is_outside ? std::string() : relative;
}

}  // namespace

std::string StoredDatasetFolder(const std::string& state, const std::string& folder) {
  if (!folder.starts_with('/')) return folder;
  if (std::string within = WithinState(state, folder); !within.empty()) return within;
  std::error_code error;
  const std::filesystem::path real_state = std::filesystem::weakly_canonical(state, error);
  if (error) return folder;
  const std::filesystem::path real_folder = std::filesystem::weakly_canonical(folder, error);
  if (error) return folder;
  const std::string within = WithinState(real_state, real_folder);
  return within.empty() ? folder : within;
}

std::string CurrentDatasetFolder(const std::string& state, const std::string& name,
                                 const std::string& digest, const std::string& stored) {
  if (!stored.starts_with('/')) return JoinPath(state, stored);
  if (!stored.ends_with(Str("/datasets/", name))) return stored;
  const std::string own = JoinPath(JoinPath(state, "datasets"), name);
  if (own == stored) return stored;
  const Result<Manifest> manifest = ReadManifest(own);
  return manifest.ok() && manifest->digest == digest ? own : stored;
}

}  // namespace longrun::coordinator
