#include "worker/agent/garbage.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/folder_size.h"
#include "base/log.h"
#include "base/str.h"
#include "worker/agent/attempt_folder.h"
#include "worker/agent/cache.h"

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

void Remove(const std::string& path) {
  const Status status = RemoveAll(path);
  if (!status.ok()) {
    LogWarning("folder_not_removed", {{"folder", path}, {"error", status.message()}});
  }
}

Result<std::vector<Candidate>> Candidates(const std::string& state) {
  std::vector<Candidate> found;
  bool cache_in_use = false;
  const std::string attempts = AttemptsFolder(state);
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
  ASSIGN_OR_RETURN(const std::vector<CachedPath> cached, ListCache(JoinPath(state, "cache")));
  for (const CachedPath& item : cached) {
    found.push_back({.kind = "cache", .name = item.name, .path = item.path, .reason = item.reason});
  }
  return found;
}

}  // namespace

Result<Json> CollectWorkerGarbage(const std::string& folder, bool dry_run) {
  Json items = Json::array();
  const std::string lock_path = WorkerLockPath(folder);
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

std::vector<std::string> RemoveOldAttempts(std::vector<KeptAttempt> kept, std::int64_t wall_ms,
                                           std::int64_t bytes_max) {
  std::ranges::sort(kept, {}, &KeptAttempt::ended_wall_ms);
  std::int64_t total_bytes = 0;
  for (const KeptAttempt& attempt : kept) total_bytes += attempt.n_bytes;
  std::vector<std::string> removed;
  for (KeptAttempt& attempt : kept) {
    if (attempt.ended_wall_ms >= wall_ms && total_bytes <= bytes_max) break;
    total_bytes -= attempt.n_bytes;
    Remove(attempt.path);
    removed.push_back(std::move(attempt.id));
  }
  return removed;
}

}  // namespace longrun::agent
