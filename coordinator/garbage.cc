// See garbage.h.
#include "coordinator/garbage.h"

#include <algorithm>
#include <chrono>
#include <utility>

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
                               std::function<bool(const std::string& sha256)> is_kept)
    : artifacts_(artifacts), reader_(std::move(reader)), is_kept_(std::move(is_kept)) {}

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

void GarbageRemover::Add(const std::vector<std::string>& digests) {
  AddAs(Kind::kUnused, digests);
}

void GarbageRemover::AddDropped(const std::vector<std::string>& digests) {
  AddAs(Kind::kDropped, digests);
}

void GarbageRemover::AddAs(Kind kind, const std::vector<std::string>& digests) {
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& sha256 : digests) candidates_.insert_or_assign(sha256, kind);
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
  std::map<Kind, std::vector<std::string>> candidates;
  bool in_need = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [sha256, kind] : candidates_) candidates[kind].push_back(sha256);
    candidates_.clear();
    added_ = false;
    in_need = std::exchange(in_need_, false);
  }
  std::int64_t next_ms = -1;
  for (const auto& [kind, digests] : candidates) {
    const std::int64_t wait_ms = Remove(kind, digests, in_need && kind == Kind::kDropped);
    if (wait_ms >= 0) next_ms = next_ms < 0 ? wait_ms : std::min(next_ms, wait_ms);
  }
  if (reader_->files_flaw() != told_flaw_) {
    told_flaw_ = reader_->files_flaw();
    if (!told_flaw_.empty()) LogWarning("all_bytes_stay", {{"damaged", told_flaw_}});
  }
  return next_ms;
}

std::int64_t GarbageRemover::Remove(Kind kind, const std::vector<std::string>& candidates,
                                    bool in_need) {
  std::int64_t next_ms = -1;
  for (std::size_t begin = 0; begin < candidates.size(); begin += kSlice) {
    const auto first = candidates.begin() + static_cast<std::ptrdiff_t>(begin);
    const std::size_t n = std::min(kSlice, candidates.size() - begin);
    const std::vector<ArtifactStore::Young> young =
        artifacts_.RemoveUnreferenced({first, first + static_cast<std::ptrdiff_t>(n)},
                                      [&](const std::string& sha256) -> Result<bool> {
                                        if (is_kept_(sha256)) return true;
                                        return reader_->IsReferenced(sha256);
                                      },
                                      in_need);
    const std::lock_guard lock(mutex_);
    for (const ArtifactStore::Young& one : young) {
      candidates_.emplace(one.sha256, kind);
      const std::int64_t due_ms = one.may_go_at_ms - artifacts_.NowMs();
      const std::int64_t wait_ms =
          due_ms <= 0 ? kAgainMs : std::clamp(due_ms, kWaitMsMin, kWaitMsMax);
      next_ms = next_ms < 0 ? wait_ms : std::min(next_ms, wait_ms);
    }
    if (stopping_) break;  // `longrun gc` finds them again
  }
  return next_ms;
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
    if (stopping_) return;
  }
}

}  // namespace longrun::coordinator
