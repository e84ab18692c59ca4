// See watched_sweep.h.
#include "coordinator/rpc/watched_sweep.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "coordinator/rpc/reasons.h"
#include "coordinator/scheduler/unheard.h"

namespace longrun::coordinator {
namespace {

// For each millisecond of a look, the view rests for so many.
constexpr std::int64_t kRestWhenStored = 9;
constexpr std::int64_t kRestWhenTimePassed = 20;
// How often the reasons are looked up again: a sweep may have many tasks.
constexpr std::int64_t kWhyEachMs = 10'000;

bool CountsDown(const v1::WatchSweepResponse& message) {
  return std::ranges::any_of(message.runs(), [](const v1::RunInfo& run) {
    return std::ranges::any_of(
        run.tasks(), [](const v1::TaskInfo& task) { return task.not_before_in_ms() > 0; });
  });
}

Result<grpc::Slice> BytesOf(const v1::WatchSweepResponse& message) {
  const std::size_t n_bytes = message.ByteSizeLong();
  if (n_bytes > std::size_t{std::numeric_limits<std::int32_t>::max()}) {
    return Status(Code::kResourceExhausted,
                  Str("the state of sweep ", message.info().name(), " takes ", n_bytes,
                      " bytes, and a message may have 2 GiB: `longrun ls` shows its counts"));
  }
  grpc::Slice bytes(n_bytes);
  message.SerializeWithCachedSizesToArray(const_cast<std::uint8_t*>(bytes.begin()));
  return bytes;
}

bool AreSame(const grpc::Slice& a, const grpc::Slice& b) {
  return a.size() == b.size() && std::memcmp(a.begin(), b.begin(), a.size()) == 0;
}

}  // namespace

bool IsLookDue(LookCause cause, std::int64_t since_ms, std::int64_t took_ms) {
  switch (cause) {
    case LookCause::kNone:
      return false;
    case LookCause::kTimePassed:
      return since_ms >= kRestWhenTimePassed * took_ms;
    case LookCause::kStored:
      return since_ms >= kRestWhenStored * took_ms;
  }
  return true;
}

std::int64_t WatchedSweep::Join(SweepRow sweep) {
  const std::lock_guard lock(mutex_);
  joined_ = std::move(sweep);
  return n_looks_ + 1;
}

WatchedSweep::Seen WatchedSweep::Newest(std::int64_t first_look) const {
  if (n_seen_ < first_look) return {};
  return {.sight = newest_, .version = version_};
}

Result<WatchedSweep::Seen> WatchedSweep::See(StoreReader& reader, std::int64_t first_look) {
  {
    const std::lock_guard lock(mutex_);
    if (is_looking_) return Newest(first_look);
    is_looking_ = true;
  }
  Result<Seen> seen = LookIfDue(reader, first_look);
  const std::lock_guard lock(mutex_);
  is_looking_ = false;
  return seen;
}

// While is_looking_ is ours, others change only `joined_` and `told_` of what the lock guards.
Result<WatchedSweep::Seen> WatchedSweep::LookIfDue(StoreReader& reader, std::int64_t first_look) {
  const std::int64_t now = BootMs();
  // Before the look, which then shows at least this.
  const std::int64_t version = core_.version();
  const bool is_joining = n_seen_ < first_look;
  const bool is_stored = version != version_;
  if (!is_joining && !is_stored && now - passing_at_ < limits_.passing_ms) {
    return Newest(first_look);
  }
  const std::int64_t took_ms = ended_at_ - begun_at_;
  // Who joins need not wait, except after a look that took too long.
  const bool rests = too_long_since_.has_value() || (!is_joining && is_stored);
  if (rests && !IsLookDue(LookCause::kStored, now - ended_at_, took_ms)) {
    return Newest(first_look);
  }
  ASSIGN_OR_RETURN(std::string passing, WhatPasses());
  passing_at_ = now;
  if (!is_joining && !is_stored) {
    // The time left may rest on tasks that were read before something was stored.
    constexpr std::int64_t kSettledMs = TimeLeft::kMeasuredMsMax + 1'000;
    const bool settles = begun_at_ - stored_at_ < kSettledMs && now - stored_at_ >= kSettledMs;
    const bool differs =
        counts_down_ || settles || too_long_since_.has_value() || passing != passing_;
    const LookCause cause = differs ? LookCause::kTimePassed : LookCause::kNone;
    if (!IsLookDue(cause, now - ended_at_, took_ms)) return Newest(first_look);
  }
  {
    const std::lock_guard lock(mutex_);
    n_looks_ += 1;
    if (joined_) {
      view_ = std::make_unique<SweepView>(core_, *std::exchange(joined_, std::nullopt),
                                          SweepView::Durations::kOfEndedOnly,
                                          SweepView::Losses::kShown);
    }
  }
  Result<Found> found = Look(reader);
  const std::lock_guard lock(mutex_);
  // Before anybody can see the result, and leave.
  for (DamagedRow& row : reader.TakeDamaged()) damaged_[std::move(row)] = n_looks_;
  if (found.status().code() == Code::kDeadlineExceeded) {
    RETURN_IF_ERROR(NoteTooLong(now, found.status()));
    return Newest(first_look);
  }
  RETURN_IF_ERROR(found.status());
  too_long_since_.reset();
  newest_ = std::move(found->sight);
  n_seen_ = n_looks_;
  version_ = version;
  passing_ = std::move(passing);
  counts_down_ = found->counts_down;
  begun_at_ = now;
  ended_at_ = BootMs();
  if (is_stored) stored_at_ = now;
  return Newest(first_look);
}

// An error once that has been so for too long.
Status WatchedSweep::NoteTooLong(std::int64_t begun_at, const Status& why) {
  ended_at_ = BootMs();
  begun_at_ = begun_at;
  if (!too_long_since_) too_long_since_ = begun_at;
  if (ended_at_ - *too_long_since_ >= limits_.too_long_ms) return why;
  LogWarning("look_took_too_long", {{"sweep", sweep_id_}, {"error", why.message()}});
  return Status();
}

// All that a look may find changed although nothing was stored, except for countdowns and the time
// left of the sweep.
Result<std::string> WatchedSweep::WhatPasses() const {
  std::string passing;
  RETURN_IF_ERROR(core_.LookAndWait([&](const State& state) {
    const Instant now = BootMs();
    v1::WatchSweepResponse surroundings;
    FillSurroundings(state, sweep_id_, now, &surroundings);
    passing = surroundings.SerializeAsString();
    for (const std::string& id : state.index.live) {
      StrAppend(passing, Str("\n", id, WhyUnheard(state, state.attempts.at(id), now)));
    }
    // A submission in parts is stored with its last part.
    if (state.submitting != sweep_id_) return;
    const auto tasks = state.sweep_tasks.find(sweep_id_);
    const std::size_t n_tasks = tasks == state.sweep_tasks.end() ? 0 : tasks->second.size();
    StrAppend(passing, Str("\nsubmitted: ", n_tasks));
  }));
  return passing;
}

Status WatchedSweep::Fill(SweepView& view, StoreReader& reader, v1::WatchSweepResponse* message) {
  return view.Fill(reader, message);
}

Result<WatchedSweep::Found> WatchedSweep::Look(StoreReader& reader) {
  v1::WatchSweepResponse message;
  RETURN_IF_ERROR(Fill(*view_, reader, &message));
  view_->ForgetRunJson();
  Found found{.sight = newest_, .counts_down = CountsDown(message)};
  ASSIGN_OR_RETURN(grpc::Slice bytes, BytesOf(message));
  if (newest_ != nullptr && AreSame(newest_->bytes, bytes)) return found;
  found.sight = std::make_shared<const SweepSight>(
      SweepSight{.n = newest_ == nullptr ? 1 : newest_->n + 1,
                 .bytes = std::move(bytes),
                 .finished = message.finished(),
                 .is_running = message.info().tasks_running() > 0,
                 .notices = std::move(*message.mutable_notices())});
  return found;
}

std::set<DamagedRow> WatchedSweep::DamagedSince(std::int64_t first_look) const {
  std::set<DamagedRow> rows;
  const std::lock_guard lock(mutex_);
  for (const auto& [row, look] : damaged_) {
    if (look >= first_look) rows.insert(row);
  }
  return rows;
}

Result<std::optional<v1::Notice>> WatchedSweep::Waiting(CoordinatorParts& parts,
                                                        const SweepRow& sweep, bool is_remote,
                                                        const Notices& notices) {
  Told& told = told_.at(is_remote ? 1 : 0);
  const std::int64_t now = BootMs();
  {
    const std::lock_guard lock(mutex_);
    const auto is_younger = [&](std::int64_t ms) {
      return told.asked_at && now - *told.asked_at < ms;
    };
    if (is_younger(kWhyEachMs)) return told.notice;
    if (told.is_asking) return is_younger(2 * kWhyEachMs) ? told.notice : std::nullopt;
    told.is_asking = true;
  }
  Result<std::optional<v1::Notice>> notice = NoticeOfWaiting(parts, sweep, is_remote, notices);
  const std::lock_guard lock(mutex_);
  told.is_asking = false;
  if (!notice.ok()) return notice;
  told.asked_at = now;
  told.notice = *notice;
  return notice;
}

std::int64_t WatchedSweep::n_looks() const {
  const std::lock_guard lock(mutex_);
  return n_looks_;
}

std::shared_ptr<WatchedSweep> WatchedSweeps::Of(Core& core, const std::string& sweep_id) {
  const std::lock_guard lock(mutex_);
  std::weak_ptr<WatchedSweep>& known = by_id_[sweep_id];
  std::shared_ptr<WatchedSweep> sweep = known.lock();
  if (sweep != nullptr) return sweep;
  const auto drop = [this, sweep_id](WatchedSweep* gone) {
    delete gone;
    const std::lock_guard dropping(mutex_);
    const auto found = by_id_.find(sweep_id);
    // A new watcher may have come meanwhile.
    if (found != by_id_.end() && found->second.expired()) by_id_.erase(found);
  };
  sweep = std::shared_ptr<WatchedSweep>(new WatchedSweep(core, sweep_id, {}), drop);
  known = sweep;
  return sweep;
}

std::size_t WatchedSweeps::n() const {
  const std::lock_guard lock(mutex_);
  return by_id_.size();
}

}  // namespace longrun::coordinator
