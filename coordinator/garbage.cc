// See garbage.h.
#include "coordinator/garbage.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/thread.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kSlice = 256;             // removed between two checks whether to stop
constexpr std::int64_t kWaitMsMin = 1'000;      // several become due together
constexpr std::int64_t kWaitMsMax = 3'600'000;  // in case the wall clock is set
constexpr std::int64_t kAgainMs = 60'000;       // retry after a failed removal

}  // namespace

GarbageRemover::GarbageRemover(ArtifactStore& artifacts, std::unique_ptr<StoreReader> reader,
                               Options options)
    : artifacts_(artifacts), reader_(std::move(reader)), options_(std::move(options)) {
  ReadList();
}

GarbageRemover::~GarbageRemover() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void GarbageRemover::Start() {
  thread_ = StartThread([this] { Run(); });
}

void GarbageRemover::Add(const std::vector<std::string>& digests) { AddAs(Kind::kUnused, digests); }

void GarbageRemover::AddDropped(const std::vector<std::string>& digests) {
  AddAs(Kind::kDropped, digests);
}

void GarbageRemover::AddAs(Kind kind, const std::vector<std::string>& digests) {
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& sha256 : digests) {
      Candidate& one = candidates_[sha256];
      one.kind = kind;
      if (kind == Kind::kDropped) one.first_may_go_at_ms.reset();
    }
    added_ = true;
  }
  wake_.notify_all();
}

void GarbageRemover::MakeRoom() {
  {
    const std::lock_guard lock(mutex_);
    in_need_ = true;
  }
  wake_.notify_all();
}

std::int64_t GarbageRemover::Look() {
  std::map<Kind, std::map<std::string, Candidate>> candidates;
  bool in_need = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [sha256, one] : candidates_) candidates[one.kind].emplace(sha256, one);
    candidates_.clear();
    added_ = false;
    in_need = std::exchange(in_need_, false);
  }
  std::int64_t next_ms = -1;
  std::map<std::string, std::int64_t> listed;
  for (const auto& [kind, of_kind] : candidates) {
    const std::int64_t wait_ms = Remove(of_kind, in_need && kind == Kind::kDropped, listed);
    if (wait_ms >= 0) next_ms = next_ms < 0 ? wait_ms : std::min(next_ms, wait_ms);
  }
  WriteList(std::move(listed));
  if (reader_->files_flaw() != told_flaw_) {
    told_flaw_ = reader_->files_flaw();
    if (!told_flaw_.empty()) LogWarning("all_bytes_stay", {{"damaged", told_flaw_}});
  }
  return next_ms;
}

std::int64_t GarbageRemover::Remove(const std::map<std::string, Candidate>& candidates,
                                    bool in_need, std::map<std::string, std::int64_t>& listed) {
  std::vector<std::string> digests;
  digests.reserve(candidates.size());
  for (const auto& [sha256, one] : candidates) digests.push_back(sha256);
  std::int64_t next_ms = -1;
  for (std::size_t begin = 0; begin < digests.size(); begin += kSlice) {
    const auto first = digests.begin() + static_cast<std::ptrdiff_t>(begin);
    const std::size_t n = std::min(kSlice, digests.size() - begin);
    const std::vector<ArtifactStore::Young> young = artifacts_.RemoveUnreferenced(
        {first, first + static_cast<std::ptrdiff_t>(n)},
        [&](const std::string& sha256) -> Result<bool> {
          if (options_.is_kept(sha256)) return true;
          return reader_->IsReferenced(sha256);
        },
        in_need);
    const std::lock_guard lock(mutex_);
    for (const ArtifactStore::Young& one : young) {
      Candidate candidate = candidates.at(one.sha256);
      std::optional<std::int64_t>& first_ms = candidate.first_may_go_at_ms;
      if (candidate.kind == Kind::kDropped && !first_ms) first_ms = one.may_go_at_ms;
      if (first_ms == one.may_go_at_ms) listed.emplace(one.sha256, one.may_go_at_ms);
      candidates_.emplace(one.sha256, candidate);
      const std::int64_t due_ms = one.may_go_at_ms - artifacts_.NowMs();
      const std::int64_t wait_ms =
          due_ms <= 0 ? kAgainMs : std::clamp(due_ms, kWaitMsMin, kWaitMsMax);
      next_ms = next_ms < 0 ? wait_ms : std::min(next_ms, wait_ms);
    }
    if (!stopping_) continue;
    // The next start finds these in the file, and `longrun gc` finds the others.
    listed.insert(listed_.begin(), listed_.end());
    break;
  }
  return next_ms;
}

void GarbageRemover::ReadList() {
  if (options_.list_path.empty()) return;
  const Result<std::string> text = ReadFile(options_.list_path);
  if (!text.ok()) return;
  const Result<Json> list = ParseJson(*text);
  if (!list.ok() || !list->is_object() || !list->contains("dropped")) return;
  const Json& dropped = list->at("dropped");
  if (!dropped.is_object() || list->value("database", Json()) != options_.database) return;
  for (const auto& [sha256, may_go_at_ms] : dropped.items()) {
    const Result<ArtifactStore::Found> found = artifacts_.Find(sha256);
    if (!found.ok() || may_go_at_ms != found->may_go_at_ms) continue;
    candidates_[sha256] = {.kind = Kind::kDropped, .first_may_go_at_ms = found->may_go_at_ms};
    listed_.emplace(sha256, found->may_go_at_ms);
  }
}

void GarbageRemover::WriteList(std::map<std::string, std::int64_t> dropped) {
  if (options_.list_path.empty() || dropped == listed_) return;
  const Json list = {{"database", options_.database}, {"dropped", dropped}};
  const Status written = dropped.empty()
                             ? RemoveAll(options_.list_path)
                             : WriteFileAtomic(options_.list_path, CanonicalJson(list), 0600);
  if (written.ok()) {
    listed_ = std::move(dropped);
    told_list_ = false;
  } else if (!std::exchange(told_list_, true)) {
    LogWarning("dropped_list_not_written", {{"error", written.message()}});
  }
}

void GarbageRemover::Run() {
  while (true) {
    const std::int64_t wait_ms = Look();
    std::unique_lock lock(mutex_);
    const auto is_wanted = [&] { return stopping_ || added_ || in_need_; };
    if (wait_ms < 0) {
      wake_.wait(lock, is_wanted);
    } else {
      wake_.wait_for(lock, std::chrono::milliseconds(wait_ms), is_wanted);
    }
    if (!stopping_) continue;
    const bool has_unlisted = added_;
    lock.unlock();
    if (has_unlisted) Look();
    return;
  }
}

}  // namespace longrun::coordinator
