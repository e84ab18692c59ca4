// See shared_store.h.
#include "coordinator/store/shared_store.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/shared_objects.h"
#include "base/str.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kChallengeBytesMax = 4096;

// Whether the folder has an artifact, finished or not.
bool HasArtifacts(const std::string& folder) {
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_regular_file(error)) return true;
  }
  return false;
}

}  // namespace

Result<std::string> LinkSharedStore(const std::string& state_folder, const std::string& shared,
                                    const std::string& coordinator_id) {
  const std::string store = JoinPath(state_folder, "artifacts");
  std::error_code error;
  const bool is_link = std::filesystem::is_symlink(store, error);
  const std::string leads_to =
      is_link ? std::filesystem::read_symlink(store, error).string() : std::string();
  if (is_link && !IsFolder(leads_to)) {
    return Status(Code::kFailedPrecondition,
                  Str(store, " leads to ", leads_to,
                      ", which is not there: is the shared file system mounted?"));
  }
  if (shared.empty()) return leads_to;
  ASSIGN_OR_RETURN(const std::string folder, AbsolutePath(shared));
  if (!IsFolder(folder)) {
    return Status(Code::kFailedPrecondition,
                  Str("--shared-artifacts ", folder,
                      " is not a folder: create it on the shared "
                      "file system, and give the folder that this machine sees"));
  }
  const std::string own = JoinPath(folder, coordinator_id);
  if (leads_to == own) return own;
  if (is_link) {
    return Status(
        Code::kFailedPrecondition,
        Str(store, " leads to ", leads_to, ", not to ", own,
            ": give the folder as before, or move its content there and remove the link"));
  }
  if (PathExists(store) && HasArtifacts(store)) {
    return Status(Code::kFailedPrecondition,
                  Str(store, " has artifacts of this coordinator already: copy them with `cp -a ",
                      store, " ", own, "`, rename ", store, ", and start again"));
  }
  RETURN_IF_ERROR(MakeFolders(own, 0700));
  RETURN_IF_ERROR(RemoveAll(store));
  if (symlink(own.c_str(), store.c_str()) != 0) {
    return ErrnoStatus(errno, Str("cannot make the link ", store));
  }
  RETURN_IF_ERROR(SyncFolder(state_folder));
  return own;
}

Result<SharedChallenge> SharedChallenge::Begin(const std::string& folder) {
  SeededRandom random(EntropySeed());
  const std::string text = Sha256Hex(Str(random.Next(), " ", random.Next(), " ", random.Next()));
  RETURN_IF_ERROR(MakeFolders(JoinPath(folder, kSharedSeen), 0700));
  RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, kSharedChallenge), text, 0600));
  return SharedChallenge(folder, text);
}

Status SharedChallenge::Check(const std::string& read, const std::string& name,
                              const std::string& wrote) const {
  if (read != text_) {
    return Status(Code::kFailedPrecondition,
                  "the worker's folder is not the coordinator's, or an old copy of it: what the "
                  "coordinator wrote there at its start is not what the worker read");
  }
  if (!IsSafeName(name)) {
    return Status(Code::kInvalidArgument, Str("\"", name, "\" is not the name of a file"));
  }
  const std::string path = JoinPath(JoinPath(folder_, kSharedSeen), name);
  const Result<std::string> seen = ReadSharedFile(path, kChallengeBytesMax);
  if (!seen.ok()) {
    return Status(Code::kFailedPrecondition,
                  Str("the coordinator does not see what the worker wrote into its folder (",
                      CodeName(seen.status().code()), ")"));
  }
  (void)unlink(path.c_str());
  if (*seen == wrote) return Status();
  return Status(Code::kFailedPrecondition,
                "the coordinator reads something else than the worker wrote into its folder");
}

}  // namespace longrun::coordinator
