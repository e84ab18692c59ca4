// See watch.h.
#include "coordinator/rpc/watch.h"

#include <array>
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
#include "coordinator/rpc/views.h"
#include "coordinator/rpc/watched_sweep.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {
namespace {

// For so long, a sweep may run nothing before the watcher is told why: its worker may be starting.
constexpr std::int64_t kIdleMs = 30'000;

// Nullopt: these bytes are none.
std::optional<v1::WatchSweepRequest> RequestIn(const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  v1::WatchSweepRequest request;
  if (!bytes.DumpToSingleSlice(&slice).ok() ||
      !request.ParseFromArray(slice.begin(), static_cast<int>(slice.size()))) {
    return std::nullopt;
  }
  return request;
}

// Streams a sweep's state each time it changes. At most one of three is in progress: a wait for the
// ticker, a job, a write.
class Watch final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  Watch(CoordinatorParts& parts, WatchedSweeps& all, grpc::CallbackServerContext* context,
        const std::optional<v1::WatchSweepRequest>& request)
      : parts_(parts),
        all_(all),
        context_(context),
        reference_(request ? request->sweep() : ""),
        first_(request && request->first()) {
    if (request) {
      Work();
    } else {
      End(Status(Code::kInvalidArgument, "the request cannot be read"));
    }
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
    if (watched_ == nullptr) {
      Result<SweepRow> sweep = reader.FindSweep(reference_);
      for (DamagedRow& row : reader.TakeDamaged()) damaged_.insert(std::move(row));
      if (!sweep.ok()) return End(sweep.status());
      if (first_) {
        const Status moved = MoveAhead(sweep->id);
        NoteChange(parts_, "WatchSweep", moved, {.reason = "", .subject = reference_}, *context_);
        if (!moved.ok()) return End(moved);
      }
      sweep_ = std::move(sweep).value();
      watched_ = all_.Of(parts_.core, sweep_.id);
      first_look_ = watched_->Join(sweep_);
    }
    const Result<WatchedSweep::Seen> seen = watched_->See(reader, first_look_);
    if (!seen.ok()) return End(seen.status());
    seen_version_ = seen->version;
    if (seen->sight == nullptr) return Wait();
    const SweepSight& sight = *seen->sight;
    const Result<bool> is_remote = IsRemote(parts_, *context_);
    if (!is_remote.ok()) return End(is_remote.status());
    v1::WatchSweepResponse own;
    AddFullDisk(parts_, *is_remote, own.mutable_notices());
    AddPilotNotices(parts_.pilots, own.mutable_notices());
    const Status told = TellWaiting(sight, *is_remote, own.mutable_notices());
    if (!told.ok()) return End(told);
    std::string own_bytes = own.SerializeAsString();
    if (sight.n == sent_ && own_bytes == sent_own_) return Wait();
    sent_ = sight.n;
    sent_own_ = std::move(own_bytes);
    is_last_ = sight.finished;
    // The bytes of two messages, one after the other, are those of one message with the notices of
    // both.
    const std::array<grpc::Slice, 2> parts = {sight.bytes, grpc::Slice(sent_own_)};
    bytes_ = grpc::ByteBuffer(parts.data(), parts.size());
    StartWrite(&bytes_);
  }

  Status TellWaiting(const SweepSight& sight, bool is_remote, Notices* own) {
    const std::int64_t now = BootMs();
    if (sight.finished || sight.is_running) {
      idle_since_.reset();
      return Status();
    }
    if (!idle_since_) idle_since_ = now;
    if (now - *idle_since_ < kIdleMs) return Status();
    Notices shown = sight.notices;
    shown.MergeFrom(*own);
    ASSIGN_OR_RETURN(const std::optional<v1::Notice> waiting,
                     watched_->Waiting(parts_, sweep_, is_remote, shown));
    if (waiting) *own->Add() = *waiting;
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

  void OnWriteDone(bool ok) override {
    bytes_.Clear();
    if (!ok) return End(Status(Code::kCancelled, "the client disconnected"));
    if (is_last_) return End(Status());
    Wait();
  }

  void End(const Status& status) {
    if (watched_ != nullptr) damaged_.merge(watched_->DamagedSince(first_look_));
    AddDamage({damaged_.begin(), damaged_.end()}, context_);
    Finish(EndCall(parts_, "WatchSweep", status,
                   {.reason = status.code() == Code::kNotFound ? "SWEEP_NOT_FOUND" : "",
                    .subject = reference_},
                   context_));
  }

  void OnDone() override { delete this; }

  CoordinatorParts& parts_;
  WatchedSweeps& all_;
  grpc::CallbackServerContext* context_;
  const std::string reference_;
  const bool first_;
  SweepRow sweep_;
  std::shared_ptr<WatchedSweep> watched_;  // null until `sweep_` is found
  std::int64_t first_look_ = 0;
  grpc::ByteBuffer bytes_;  // being written
  // What was sent last: the shared part by its number, and our own notices.
  std::int64_t sent_ = 0;
  std::string sent_own_;
  bool is_last_ = false;
  std::set<DamagedRow> damaged_;
  std::optional<std::int64_t> idle_since_;  // on the boot clock; unset while a task runs
  std::int64_t seen_version_ = -1;
  int n_quiet_ = 0;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchSweep(CoordinatorParts& parts, WatchedSweeps& all,
                                                       grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) {
  return new Watch(parts, all, context, RequestIn(*request));
}

}  // namespace longrun::coordinator
