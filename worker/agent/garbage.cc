#include "worker/agent/garbage.h"

#include "base/files.h"
#include "base/folder_size.h"
#include "base/hash.h"
#include "base/str.h"
#include "worker/agent/attempt_folder.h"

namespace longrun::agent {
namespace {

struct Candidate {
  std::string kind, name, path, reason;
};

bool IsReported(const AttemptFolder& folder) {
  const Result<AckedRecord> acked = ReadAcked(folder);
  return acked.ok() && acked->ended && !FileLock::IsHeld(folder.ShimLock());
}

Result<std::vector<std::string>> NamesIn(const std::string& folder) {
  if (!IsFolder(folder)) return std::vector<std::string>();
  return ListFolder(folder);
}

Result<std::vector<Candidate>> Candidates(const std::string& state) {
  std::vector<Candidate> found;
  bool cache_in_use = false;
  const std::string attempts = JoinPath(state, "attempts");
  ASSIGN_OR_RETURN(const std::vector<std::string> ids, NamesIn(attempts));
  for (const std::string& id : ids) {
    const AttemptFolder folder{.path = JoinPath(attempts, id)};
    if (!IsReported(folder)) {
      cache_in_use = true;
      continue;
    }
    found.push_back({.kind = "attempt",
                     .name = id,
                     .path = folder.path,
                     .reason = "its end is stored by the coordinator"});
  }
  if (cache_in_use) return found;
  const std::string cache = JoinPath(state, "cache");
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(cache));
  for (const std::string& name : names) {
    if (!IsSha256Hex(name)) continue;
    found.push_back({.kind = "cache",
                     .name = name,
                     .path = JoinPath(cache, name),
                     .reason = "a fetched checkpoint: it is fetched again when it is needed"});
  }
  return found;
}

}  // namespace

Result<Json> CollectWorkerGarbage(const std::string& folder, bool dry_run) {
  Json items = Json::array();
  const std::string lock_path = JoinPath(folder, "lock");
  if (!PathExists(lock_path)) return Json{{"busy", false}, {"items", items}};
  const Result<FileLock> lock = FileLock::Acquire(lock_path, "a worker");
  if (!lock.ok()) {
    if (lock.status().code() != Code::kUnavailable) return lock.status();
    return Json{{"busy", true}, {"items", items}};
  }
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, Candidates(folder));
  for (const Candidate& candidate : candidates) {
    const std::int64_t n_bytes = BytesBelow(candidate.path);
    if (!dry_run) RETURN_IF_ERROR(RemoveAll(candidate.path));
    items.push_back({{"kind", candidate.kind},
                     {"name", candidate.name},
                     {"reason", candidate.reason},
                     {"bytes", n_bytes}});
  }
  return Json{{"busy", false}, {"items", items}};
}

}  // namespace longrun::agent
