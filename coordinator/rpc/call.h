// What the handlers share: the parts of the daemon, and how a unary call is carried out.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <set>
#include <string>

#include "coordinator/core.h"
#include "coordinator/metrics.h"
#include "coordinator/rpc/error.h"
#include "coordinator/rpc/executor.h"
#include "coordinator/rpc/ticker.h"
#include "coordinator/store/artifacts.h"
#include "coordinator/store/logs.h"

namespace longrun {

// The parts of the daemon, which outlive every handler.
struct Parts {
  Core& core;
  ArtifactStore& artifacts;
  LogStore& logs;
  Metrics& metrics;
  Executor& executor;
  Executor& submitter;   // one thread: sweep files, which may take seconds, delay nobody else
  Executor& log_writer;  // one thread: chunks of a log stay in order
  Executor& querier;     // users' SQL, which may take its time, delays nobody else
  Ticker& ticker;
  std::string metrics_address;
  std::atomic<bool> stopping = false;  // streams end
};

// Runs `body` on `executor` and ends the call with its status. A call without a deadline gets one
// of a minute; one above an hour is refused.
using CallBody = std::function<Status(StoreReader& reader, RpcError& error)>;
grpc::ServerUnaryReactor* Handle(Parts& parts, Executor& executor,
                                 grpc::CallbackServerContext* context, const char* method,
                                 CallBody body);
// On parts.executor.
grpc::ServerUnaryReactor* Handle(Parts& parts, grpc::CallbackServerContext* context,
                                 const char* method, CallBody body);

// An answer rests on these tables. What the start found damaged in them, the answer lacks, whether it has met
// it or not; unless it has been mended since.
Status NoteKnownDamage(Parts& parts, StoreReader& reader, const std::set<std::string>& tables);

// Counts the call and makes gRPC's status of ours.
grpc::Status EndCall(Parts& parts, const char* method, const Status& status, const RpcError& error,
                     grpc::CallbackServerContext* context);

}  // namespace longrun
