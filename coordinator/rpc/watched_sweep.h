// What the watchers of a sweep are shown. They share one view of it, since a look at a sweep of
// many thousand runs takes a large part of a second, on the core's thread too, and much memory.
//
// A watcher comes by four times a second, or once a second while nothing is stored. The state is
// then looked at as a whole only if the answer may differ from the last one: something was stored,
// or one of the things has changed that change by themselves, such as a worker's silence or a
// countdown. And the more time a look takes, the longer the view rests: looks take at most a tenth
// of the time while things are stored, and a 21st part while time only passes. If reading the
// database takes too long, as on a busy machine, watchers keep the newest view, or wait for the
// first one; only if no look has succeeded for five minutes, they are told the error.
#pragma once

#include <grpcpp/support/slice.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "coordinator/core.h"
#include "coordinator/rpc/views.h"
#include "coordinator/store/reader.h"

namespace longrun::coordinator {

// What a look found; never changed.
struct SweepSight {
  std::int64_t n = 0;  // the same only for the same bytes, among the sights of one WatchedSweep
  grpc::Slice bytes;   // of a WatchSweepResponse; all watchers send these, without a copy
  // The parts of it that a watcher needs itself.
  bool finished = false;
  bool is_running = false;  // any task
  Notices notices = {};
};

// Why the sweep would be looked at again.
enum class LookCause {
  kNone,
  kTimePassed,
  kStored,
};
// Whether it is, so long after the end of a look that took `took_ms`.
bool IsLookDue(LookCause cause, std::int64_t since_ms, std::int64_t took_ms);

// Any thread.
class WatchedSweep {
 public:
  struct Limits {
    std::int64_t passing_ms = 750;  // what changes by itself is looked for at most so often
    // For so long, no look may succeed because the database takes too long.
    std::int64_t too_long_ms = 300'000;
  };
  WatchedSweep(Core& core, std::string sweep_id, Limits limits)
      : core_(core), sweep_id_(std::move(sweep_id)), limits_(limits) {}
  virtual ~WatchedSweep() = default;
  WatchedSweep(const WatchedSweep&) = delete;
  WatchedSweep& operator=(const WatchedSweep&) = delete;

  // For each new watcher, which is shown only what is looked at from now on, all of it anew: then
  // it is told of damaged rows like any other reader. Returns the number of the first look that
  // counts for it.
  std::int64_t Join(SweepRow sweep);

  struct Seen {
    std::shared_ptr<const SweepSight> sight;  // null: another thread is still looking
    std::int64_t version = -1;                // the core's, which `sight` shows at least
  };
  // Looks at the sweep if that is due, and no other thread is doing so. An error is that of this
  // caller's own look.
  Result<Seen> See(StoreReader& reader, std::int64_t first_look);

  // The damaged rows that looks have met, from this one on.
  std::set<DamagedRow> DamagedSince(std::int64_t first_look) const;

  // NoticeOfWaiting(), which is asked at most every ten seconds. While another thread asks, the
  // last answer, or nullopt if that is old.
  Result<std::optional<v1::Notice>> Waiting(CoordinatorParts& parts, const SweepRow& sweep,
                                            bool is_remote, const Notices& notices);

  std::int64_t n_looks() const;

 protected:
  // What a look reads; tests have it fail.
  virtual Status Fill(SweepView& view, StoreReader& reader, v1::WatchSweepResponse* message);

 private:
  // What is told to one kind of caller.
  struct Told {
    bool is_asking = false;
    std::optional<std::int64_t> asked_at = {};
    std::optional<v1::Notice> notice = {};
  };
  struct Found {
    std::shared_ptr<const SweepSight> sight;
    bool counts_down = false;
  };

  Seen Newest(std::int64_t first_look) const;  // under the lock, or by the thread that looks
  Result<Seen> LookIfDue(StoreReader& reader, std::int64_t first_look);
  Status NoteTooLong(std::int64_t begun_at, const Status& why);
  Result<std::string> WhatPasses() const;
  Result<Found> Look(StoreReader& reader);

  Core& core_;
  const std::string sweep_id_;
  const Limits limits_;

  mutable std::mutex mutex_;        // guards what follows, up to `told_`
  bool is_looking_ = false;         // a thread; it may read all of this without the lock
  std::optional<SweepRow> joined_;  // the newest watcher's, for a new view
  std::int64_t n_looks_ = 0;        // begun
  std::int64_t n_seen_ = 0;         // the newest look that has succeeded
  std::shared_ptr<const SweepSight> newest_;
  std::int64_t version_ = -1;
  std::map<DamagedRow, std::int64_t> damaged_;  // by the newest look that met them
  std::array<Told, 2> told_;                    // to local and remote callers

  // Of the thread that looks. The times are on the boot clock.
  std::unique_ptr<SweepView> view_;
  std::string passing_;                       // WhatPasses() before the newest look
  bool counts_down_ = false;                  // the newest sight shows a countdown
  std::int64_t passing_at_ = 0;               // when WhatPasses() was last called
  std::int64_t stored_at_ = 0;                // when version_ was first seen
  std::int64_t begun_at_ = 0, ended_at_ = 0;  // of the newest look
  // If that took too long: when the first one began that did, of those since one succeeded.
  std::optional<std::int64_t> too_long_since_;
};

// The sweeps that are watched. Any thread; must outlive what it returns.
class WatchedSweeps {
 public:
  // The same for all watchers of a sweep; gone once the last of them has dropped it.
  std::shared_ptr<WatchedSweep> Of(Core& core, const std::string& sweep_id);
  std::size_t n() const;

 private:
  mutable std::mutex mutex_;  // guards by_id_
  std::map<std::string, std::weak_ptr<WatchedSweep>> by_id_;
};

}  // namespace longrun::coordinator
