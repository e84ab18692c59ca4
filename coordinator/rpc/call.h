// Shared by the handlers: the parts of the daemon, and how a unary call is handled.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>

#include "coordinator/access.h"
#include "coordinator/audit_log.h"
#include "coordinator/core.h"
#include "coordinator/metrics.h"
#include "coordinator/overlap.h"
#include "coordinator/rpc/error.h"
#include "coordinator/rpc/executor.h"
#include "coordinator/rpc/held_names.h"
#include "coordinator/rpc/ticker.h"
#include "coordinator/store/artifacts.h"
#include "coordinator/store/logs.h"
#include "coordinator/store/shared_store.h"

namespace longrun::coordinator {

class PilotBoard;
class SessionMemory;

// The parts of the daemon, which outlive every handler.
struct CoordinatorParts {
  Core& core;
  ArtifactStore& artifacts;
  LogStore& logs;
  Metrics& metrics;
  Executor& executor;
  Executor& submitter;   // one separate thread, since a sweep file may take seconds
  Executor& planner;     // the same for plans, so that submissions do not wait for them
  Executor& receiver;    // one separate thread, which reads datasets as a whole
  Executor& transfers;   // separate threads for artifacts: a dataset's disk may not answer
  Executor& log_writer;  // one thread, so that chunks of a log stay in order
  Executor& querier;     // separate threads, which wait for users' SQL
  Ticker& ticker;
  OverlapSearch& overlaps;
  Access& access;
  AuditLog& audit;
  PilotBoard& pilots;
  SessionMemory& session_memory;
  // Of the files that tasks of one person on other machines read (kept_files.h).
  std::int64_t kept_file_bytes_max = std::numeric_limits<std::int64_t>::max();
  // Of the datasets and models of one person on other machines (store/owned.h).
  std::int64_t registered_bytes_max = kNoOwnedLimit;
  const SharedChallenge* challenge = nullptr;  // null: the artifact store is not shared
  std::string metrics_address;
  std::string query_program;           // answers users' SQL in a child: store/query_process.h
  std::atomic<bool> stopping = false;  // streams must end
  HeldNames dataset_names = {};        // of those being stored or removed
};

// A unary call in progress.
struct Call {
  CoordinatorParts& parts;
  StoreReader& reader;
  grpc::CallbackServerContext* context;
  RpcError error;       // for programs, if the call fails
  bool changes = true;  // false: it changes nothing, although other calls of its method do

  // Returns `result`, a Status or a Result. If `result` is an error, notes `reason` for programs.
  // An error that gets no reason in this way has only its code.
  template <typename T>
  T WithReason(const char* reason, T result) {
    if (!result.ok()) error.reason = reason;
    return result;
  }
};

// Whether the caller is on another machine, to which our paths mean nothing.
Result<bool> IsRemote(const CoordinatorParts& parts, const grpc::CallbackServerContext& context);
Result<bool> IsRemote(const Call& call);
// kUnavailable from a momentary coordinator, for what only a service does.
Status CheckService(const CoordinatorParts& parts);
// The text with another name for a folder or a sweep, wherever the whole path or id is in it.
std::string WithOtherName(std::string text, std::string_view name, std::string_view instead);

// Runs `body` on `executor` and ends the call with its status. A call without a deadline gets a
// deadline of one minute; a deadline more than an hour away is refused.
using CallBody = std::function<Status(Call& call)>;
grpc::ServerUnaryReactor* Handle(CoordinatorParts& parts, Executor& executor,
                                 grpc::CallbackServerContext* context, const char* method,
                                 CallBody body);
// The same in two steps: first `check` on parts.executor, which takes only a moment, and then,
// unless that has ended the call, `body` on `executor`, where it may have to wait for longer calls.
using CallCheck = std::function<std::optional<Status>(Call& call)>;  // nullopt: on with `body`
grpc::ServerUnaryReactor* HandleChecked(CoordinatorParts& parts, Executor& executor,
                                        grpc::CallbackServerContext* context, const char* method,
                                        CallCheck check, CallBody body);
// On parts.executor.
grpc::ServerUnaryReactor* Handle(CoordinatorParts& parts, grpc::CallbackServerContext* context,
                                 const char* method, CallBody body);

// Notes known damage in the tables on which an answer rests, even if the answer's reads did not
// meet this damage. Leaves out damage that has been repaired since.
Status NoteKnownDamage(CoordinatorParts& parts, StoreReader& reader,
                       const std::set<std::string>& tables);

// Writes the call to the audit log.
void NoteChange(const CoordinatorParts& parts, const std::string& method, const Status& status,
                const RpcError& error, const grpc::CallbackServerContext& context);

// Counts the call, writes it to the audit log if its method changes something, and turns our status
// into gRPC's. `changes`: false for a call that changes nothing, although others of its method do.
grpc::Status EndCall(CoordinatorParts& parts, const char* method, const Status& status,
                     const RpcError& error, grpc::CallbackServerContext* context,
                     bool changes = true);

}  // namespace longrun::coordinator
