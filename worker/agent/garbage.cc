#include "worker/agent/garbage.h"

#include <sys/stat.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/files.h"
#include "base/folder_size.h"
#include "base/hash.h"
#include "base/log.h"
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

struct Cached {
  std::string name, path;
};
Result<std::vector<Cached>> CachedCheckpoints(const std::string& state) {
  const std::string cache = JoinPath(state, "cache");
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(cache));
  std::vector<Cached> found;
  for (const std::string& name : names) {
    if (IsSha256Hex(name)) found.push_back({.name = name, .path = JoinPath(cache, name)});
  }
  return found;
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
  ASSIGN_OR_RETURN(const std::vector<Cached> cached, CachedCheckpoints(state));
  for (const Cached& checkpoint : cached) {
    found.push_back({.kind = "cache",
                     .name = checkpoint.name,
                     .path = checkpoint.path,
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

std::vector<std::string> RemoveOldAttempts(std::vector<KeptAttempt> kept, std::int64_t wall_ms,
                                           std::int64_t bytes_max) {
  std::ranges::sort(kept, {}, &KeptAttempt::ended_wall_ms);
  std::vector<std::int64_t> sizes;
  for (const KeptAttempt& attempt : kept) sizes.push_back(BytesBelow(attempt.path));
  std::int64_t total_bytes = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  std::vector<std::string> removed;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (kept[i].ended_wall_ms >= wall_ms && total_bytes <= bytes_max) break;
    total_bytes -= sizes[i];
    Remove(kept[i].path);
    removed.push_back(kept[i].id);
  }
  return removed;
}

void TrimCache(const std::string& state, std::int64_t bytes_max) {
  struct Aged {
    std::int64_t fetched_s = 0;
    std::string path;
    std::int64_t n_bytes = 0;
  };
  const Result<std::vector<Cached>> cached = CachedCheckpoints(state);
  if (!cached) return;
  std::vector<Aged> aged;
  std::int64_t total_bytes = 0;
  for (const Cached& checkpoint : *cached) {
    struct stat about = {};
    if (stat(checkpoint.path.c_str(), &about) != 0) continue;
    aged.push_back({.fetched_s = about.st_mtim.tv_sec,
                    .path = checkpoint.path,
                    .n_bytes = BytesBelow(checkpoint.path)});
    total_bytes += aged.back().n_bytes;
  }
  std::ranges::sort(aged, {}, &Aged::fetched_s);
  for (const Aged& checkpoint : aged) {
    if (total_bytes <= bytes_max) break;
    total_bytes -= checkpoint.n_bytes;
    Remove(checkpoint.path);
  }
}

}  // namespace longrun::agent
