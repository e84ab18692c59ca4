// See call.h.
#include "coordinator/rpc/call.h"

#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/method_rules.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kDeadlineMsDefault = 60'000;
constexpr auto kDeadlineMax = std::chrono::hours(1);

void NoteChange(const CoordinatorParts& parts, const std::string& method, const Status& status,
                const RpcError& error, const grpc::CallbackServerContext& context) {
  const MethodRule* const rule = FindRuleOfMethod(method);
  if (rule == nullptr || !rule->changes) return;
  const Result<Principal> caller = CallerOf(parts.access, context);
  // A worker stores bytes all the time, and only that.
  const bool is_worker = caller.ok() && caller->kind == Principal::Kind::kWorker;
  if (is_worker && rule->people) return;
  parts.audit.Note({.principal = caller.ok() ? caller->Name() : "nobody",
                    .role = caller.ok() ? caller->RoleText() : "",
                    .peer = context.peer(),
                    .method = method,
                    .subject = error.subject == method ? "" : error.subject,
                    .outcome = std::string(CodeName(status.code())),
                    .message = status.message()});
}

}  // namespace

Status NoteKnownDamage(CoordinatorParts& parts, StoreReader& reader,
                       const std::set<std::string>& tables) {
  std::set<std::string> damaged;
  for (const DamagedRow& row : parts.core.store().damaged()) {
    if (tables.contains(row.table)) damaged.insert(row.table);
  }
  return reader.NoteDamagedOf(damaged);
}

grpc::Status EndCall(CoordinatorParts& parts, const char* method, const Status& status,
                     const RpcError& error, grpc::CallbackServerContext* context) {
  parts.metrics.CountCall(method, CodeName(status.code()));
  NoteChange(parts, method, status, error, *context);
  return ToRpc(status, error, context);
}

grpc::ServerUnaryReactor* Handle(CoordinatorParts& parts, grpc::CallbackServerContext* context,
                                 const char* method, CallBody body) {
  return Handle(parts, parts.executor, context, method, std::move(body));
}

grpc::ServerUnaryReactor* Handle(CoordinatorParts& parts, Executor& executor,
                                 grpc::CallbackServerContext* context, const char* method,
                                 CallBody body) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto deadline = context->deadline();
  const auto now = std::chrono::system_clock::now();
  const bool has_deadline = deadline != std::chrono::system_clock::time_point::max();
  if (has_deadline && deadline > now + kDeadlineMax) {
    reactor->Finish(EndCall(
        parts, method,
        Status(Code::kInvalidArgument,
               "the call's deadline is more than an hour away: at most one hour is allowed"),
        {.reason = "DEADLINE_TOO_LONG", .subject = method}, context));
    return reactor;
  }
  const std::int64_t begun_ms = BootMs();
  const auto begun = std::chrono::steady_clock::now();
  auto job = [&parts, context, method, reactor, has_deadline, begun_ms, begun,
              work = std::move(body)](StoreReader& reader) {
    Call call{.parts = parts,
              .reader = reader,
              .context = context,
              .error = {.reason = "", .subject = method}};
    Status status;
    if (context->IsCancelled()) {
      status = Status(Code::kCancelled, "the client disconnected");
    } else if (!has_deadline && BootMs() - begun_ms > kDeadlineMsDefault) {
      status = Status(Code::kDeadlineExceeded, "the call waited for more than a minute");
    } else {
      status = work(call);
    }
    parts.metrics.ObserveCall(
        method, std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    AddDamage(reader.TakeDamaged(), context);
    reactor->Finish(EndCall(parts, method, status, call.error, context));
  };
  auto failed = [&parts, context, method, reactor](const Status& why) {
    reactor->Finish(EndCall(parts, method, why, {.reason = "", .subject = method}, context));
  };
  if (!executor.Post(std::move(job), std::move(failed))) {
    reactor->Finish(EndCall(
        parts, method,
        parts.stopping
            ? Status(Code::kUnavailable, "the coordinator is stopping")
            : Status(Code::kResourceExhausted, "too many calls are waiting: try again in a moment"),
        {.reason = parts.stopping ? "STOPPING" : "TOO_MANY_CALLS", .subject = method}, context));
  }
  return reactor;
}

}  // namespace longrun::coordinator
