// See watch.h.
#include "coordinator/rpc/watch.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/pilots.h"
#include "coordinator/rpc/reasons.h"
#include "coordinator/rpc/views.h"

namespace longrun::coordinator {
namespace {

// For so long, a sweep may run nothing before the watcher is told why: its worker may be starting.
constexpr std::int64_t kIdleMs = 30'000;
// How often the reasons are looked up again: a sweep may have many tasks.
constexpr std::int64_t kWhyEachMs = 10'000;

// Streams a sweep's state each time it changes. At most one of three is in progress: a wait for the
// ticker, a job, a write.
class Watch final : public grpc::ServerWriteReactor<v1::WatchSweepResponse> {
 public:
  Watch(CoordinatorParts& parts, grpc::CallbackServerContext* context,
        const v1::WatchSweepRequest* request)
      : parts_(parts), context_(context), reference_(request->sweep()), first_(request->first()) {
    Work();
  }

 private:
  void Work() {
    if (!parts_.executor.Post([this](StoreReader& reader) { Look(reader); },
                              [this](const Status& why) { End(why); })) {
      End(Status(Code::kUnavailable, "the coordinator is stopping, or busy: try again"));
    }
  }

  void Wait() {
    parts_.ticker.Add([this] {
      if (parts_.stopping) return End(Status(Code::kUnavailable, "the coordinator is stopping"));
      if (context_->IsCancelled()) return End(Status(Code::kCancelled, "the client disconnected"));
      // A worker's silence does not change the version, so look once a second anyway.
      if (parts_.core.version() == seen_version_ && ++n_quiet_ < 4) return Wait();
      Work();
    });
  }

  void Look(StoreReader& reader) {
    if (context_->IsCancelled()) return End(Status(Code::kCancelled, "the client disconnected"));
    if (Status served = CheckService(parts_); !served.ok()) return End(served);
    n_quiet_ = 0;
    seen_version_ = parts_.core.version();
    if (!view_) {
      auto sweep = reader.FindSweep(reference_);
      if (!sweep.ok()) {
        KeepDamage(reader);
        return End(sweep.status());
      }
      if (first_) {
        const Status moved = MoveAhead(sweep->id);
        NoteChange(parts_, "WatchSweep", moved, {.reason = "", .subject = reference_}, *context_);
        if (!moved.ok()) return End(moved);
      }
      view_ = std::make_unique<SweepView>(parts_.core, *sweep, SweepView::Durations::kOfEndedOnly,
                                          SweepView::Losses::kShown);
    }
    message_.Clear();
    const Status filled = view_->Fill(reader, &message_);
    KeepDamage(reader);
    if (!filled.ok()) return End(filled);
    const Result<bool> is_remote = IsRemote(parts_, *context_);
    if (!is_remote.ok()) return End(is_remote.status());
    AddFullDisk(parts_, *is_remote, message_.mutable_notices());
    AddPilotNotices(parts_.pilots, message_.mutable_notices());
    const Status told = TellWaiting(*is_remote);
    if (!told.ok()) return End(told);
    std::string bytes = message_.SerializeAsString();
    if (bytes == sent_) return Wait();
    sent_ = std::move(bytes);
    StartWrite(&message_);
  }

  Status TellWaiting(bool is_remote) {
    const std::int64_t now = BootMs();
    if (message_.finished() || message_.info().tasks_running() > 0) {
      idle_since_.reset();
      asked_at_.reset();
      return Status();
    }
    if (!idle_since_) idle_since_ = now;
    if (now - *idle_since_ < kIdleMs) return Status();
    if (!asked_at_ || now - *asked_at_ >= kWhyEachMs) {
      asked_at_ = now;
      ASSIGN_OR_RETURN(waiting_,
                       NoticeOfWaiting(parts_, view_->sweep(), is_remote, message_.notices()));
    }
    if (waiting_) *message_.add_notices() = *waiting_;
    return Status();
  }

  // A viewer may watch, but not change the order of the work.
  Status MoveAhead(const std::string& sweep_id) {
    ASSIGN_OR_RETURN(const Principal caller, CallerOf(parts_.access, *context_));
    if (caller.role < Role::kSubmitter) {
      return Status(Code::kPermissionDenied,
                    Str(caller.Name(), " has the role ", caller.RoleText(),
                        ", and moving a sweep ahead of others needs the role submitter"));
    }
    return parts_.core.PostAndWait(SweepPrioritized{.sweep_id = sweep_id}).status;
  }

  void KeepDamage(StoreReader& reader) {
    for (DamagedRow& row : reader.TakeDamaged()) damaged_.insert(std::move(row));
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End(Status(Code::kCancelled, "the client disconnected"));
    if (message_.finished()) return End(Status());
    Wait();
  }

  void End(const Status& status) {
    AddDamage({damaged_.begin(), damaged_.end()}, context_);
    Finish(EndCall(parts_, "WatchSweep", status,
                   {.reason = status.code() == Code::kNotFound ? "SWEEP_NOT_FOUND" : "",
                    .subject = reference_},
                   context_));
  }

  void OnDone() override { delete this; }

  CoordinatorParts& parts_;
  grpc::CallbackServerContext* context_;
  const std::string reference_;
  const bool first_;
  std::unique_ptr<SweepView> view_;
  v1::WatchSweepResponse message_;
  std::string sent_;
  std::set<DamagedRow> damaged_;
  std::optional<std::int64_t> idle_since_;  // on the boot clock; unset while a task runs
  std::optional<std::int64_t> asked_at_;    // when the reasons were last looked up
  std::optional<v1::Notice> waiting_;       // what was found then
  std::int64_t seen_version_ = -1;
  int n_quiet_ = 0;
};

}  // namespace

grpc::ServerWriteReactor<v1::WatchSweepResponse>* WatchSweep(CoordinatorParts& parts,
                                                             grpc::CallbackServerContext* context,
                                                             const v1::WatchSweepRequest* request) {
  return new Watch(parts, context, request);
}

}  // namespace longrun::coordinator
