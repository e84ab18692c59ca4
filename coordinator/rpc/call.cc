// See call.h.
#include "coordinator/rpc/call.h"

#include <cctype>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/method_rules.h"
#include "sweeps/protocol.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kDeadlineMsDefault = 60'000;
constexpr auto kDeadlineMax = std::chrono::hours(1);

// A worker on this machine has no certificate, and its word is enough: whoever can open the unix
// socket can also write the database that has the log.
bool IsWorker(const Principal& caller, const grpc::CallbackServerContext& context) {
  if (caller.kind == Principal::Kind::kLocal) {
    return context.client_metadata().contains(kWorkerMetadata);
  }
  return caller.kind == Principal::Kind::kWorker;
}

void NoteIfChanges(const CoordinatorParts& parts, const std::string& method, const Status& status,
                   const RpcError& error, const grpc::CallbackServerContext& context) {
  const MethodRule* const rule = FindRuleOfMethod(method);
  if (rule == nullptr || !rule->changes) return;
  const Result<Principal> caller = CallerOf(parts.access, context);
  // A worker stores bytes all the time, and joins seldom.
  const bool is_traffic = rule->people && rule->workers && !rule->anyone;
  if (is_traffic && caller.ok() && IsWorker(*caller, context)) return;
  NoteChange(parts, method, status, error, context);
}

// For callers on other machines. The folder of a dataset is called by the dataset's name, and the
// state folder as in "STATE/pki/key.pem".
Status WithoutOurPaths(const CoordinatorParts& parts, const Status& status) {
  std::string text = status.message();
  if (text.find('/') == std::string::npos) return status;
  const std::shared_ptr<const std::vector<DatasetRow>> datasets = parts.core.shared_datasets();
  for (const DatasetRow& row : *datasets) {
    text = WithOtherName(std::move(text), row.folder, row.info.name);
  }
  const std::string& state = parts.core.store().folder();
  text = WithOtherName(std::move(text), Str("the state folder ", state),
                       "the coordinator's state folder");
  return Status(status.code(), WithOtherName(std::move(text), state, "STATE"));
}

}  // namespace

void NoteChange(const CoordinatorParts& parts, const std::string& method, const Status& status,
                const RpcError& error, const grpc::CallbackServerContext& context) {
  const Result<Principal> caller = CallerOf(parts.access, context);
  AuditRow entry{.principal = caller.ok() ? caller->Name() : "nobody",
                 .role = caller.ok() ? caller->RoleText() : "",
                 .peer = context.peer(),
                 .method = method,
                 .subject = error.subject == method ? "" : error.subject,
                 .outcome = std::string(CodeName(status.code())),
                 .message = status.message()};
  // Anybody may try to join, as often as the limits allow.
  if (!caller.ok() && !status.ok()) return parts.audit.NoteRefusal(std::move(entry));
  parts.audit.Note(std::move(entry));
}

Result<bool> IsRemote(const CoordinatorParts& parts, const grpc::CallbackServerContext& context) {
  ASSIGN_OR_RETURN(const Principal caller, CallerOf(parts.access, context));
  return caller.kind != Principal::Kind::kLocal;
}

Result<bool> IsRemote(const Call& call) { return IsRemote(call.parts, *call.context); }

Status CheckService(const CoordinatorParts& parts) {
  if (!parts.core.store().is_momentary()) return Status();
  return Status(Code::kUnavailable, "no service is running, only a command: try again later");
}

std::string WithOtherName(std::string text, std::string_view name, std::string_view instead) {
  const auto goes_on = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  };
  std::size_t at = 0;
  while ((at = text.find(name, at)) != std::string::npos) {
    const std::size_t end = at + name.size();
    // Not the end or the beginning of another path's name.
    const bool is_whole = (at == 0 || (!goes_on(text[at - 1]) && text[at - 1] != '/')) &&
                          (end == text.size() || !goes_on(text[end]));
    if (is_whole) text.replace(at, name.size(), instead);
    at += is_whole ? instead.size() : 1;
  }
  return text;
}

Status NoteKnownDamage(CoordinatorParts& parts, StoreReader& reader,
                       const std::set<std::string>& tables) {
  std::set<std::string> damaged;
  for (const DamagedRow& row : parts.core.store().damaged()) {
    if (tables.contains(row.table)) damaged.insert(row.table);
  }
  return reader.NoteDamagedOf(damaged);
}

grpc::Status EndCall(CoordinatorParts& parts, const char* method, const Status& status,
                     const RpcError& error, grpc::CallbackServerContext* context, bool changes) {
  parts.metrics.CountCall(method, CodeName(status.code()));
  if (changes) NoteIfChanges(parts, method, status, error, *context);
  if (status.ok()) return ToRpc(status, error, context);
  // A caller who is not known is not on this machine.
  const Result<bool> is_remote = IsRemote(parts, *context);
  if (is_remote.ok() && !*is_remote) return ToRpc(status, error, context);
  return ToRpc(WithoutOurPaths(parts, status), error, context);
}

grpc::ServerUnaryReactor* Handle(CoordinatorParts& parts, grpc::CallbackServerContext* context,
                                 const char* method, CallBody body) {
  return Handle(parts, parts.executor, context, method, std::move(body));
}

namespace {

// A unary call between its arrival and its end.
struct Unary {
  CoordinatorParts& parts;
  grpc::CallbackServerContext* context;
  const char* method;
  grpc::ServerUnaryReactor* reactor;
  bool has_deadline;
  std::int64_t begun_ms = BootMs();
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();

  void End(const Status& status, const RpcError& error, bool changes = true) const {
    reactor->Finish(EndCall(parts, method, status, error, context, changes));
  }
};

// Runs `work` on `executor`; if it ends the call, so that `rest` is not needed, ends the call.
void Run(const Unary& unary, Executor& executor, CallCheck work, std::function<void()> rest) {
  auto job = [unary, work = std::move(work), rest = std::move(rest)](StoreReader& reader) {
    Call call{.parts = unary.parts,
              .reader = reader,
              .context = unary.context,
              .error = {.reason = "", .subject = unary.method}};
    std::optional<Status> status;
    if (unary.context->IsCancelled()) {
      status = Status(Code::kCancelled, "the client disconnected");
    } else if (!unary.has_deadline && BootMs() - unary.begun_ms > kDeadlineMsDefault) {
      status = Status(Code::kDeadlineExceeded, "the call waited for more than a minute");
    } else {
      status = work(call);
    }
    if (!status) return rest();
    const auto took = std::chrono::steady_clock::now() - unary.begun;
    unary.parts.metrics.ObserveCall(unary.method, std::chrono::duration<double>(took).count());
    AddDamage(reader.TakeDamaged(), unary.context);
    unary.End(*status, call.error, call.changes);
  };
  auto failed = [unary](const Status& why) {
    unary.End(why, {.reason = "", .subject = unary.method});
  };
  std::string caller;
  if (executor.takes_turns()) {
    const Result<Principal> of_call = CallerOf(unary.parts.access, *unary.context);
    if (of_call.ok()) caller = of_call->Name();
  }
  if (executor.Post(std::move(job), std::move(failed), caller)) return;
  const bool stopping = unary.parts.stopping;
  unary.End(stopping ? Status(Code::kUnavailable, "the coordinator is stopping")
                     : Status(Code::kResourceExhausted,
                              "too many calls are waiting: try again in a moment"),
            {.reason = stopping ? "STOPPING" : "TOO_MANY_CALLS", .subject = unary.method});
}

// False if the call has been refused.
bool Begin(const Unary& unary) {
  const bool is_too_far = unary.has_deadline && unary.context->deadline() >
                                                    std::chrono::system_clock::now() + kDeadlineMax;
  if (!is_too_far) return true;
  unary.End(Status(Code::kInvalidArgument,
                   "the call's deadline is more than an hour away: at most one hour is allowed"),
            {.reason = "DEADLINE_TOO_LONG", .subject = unary.method});
  return false;
}

Unary UnaryOf(CoordinatorParts& parts, grpc::CallbackServerContext* context, const char* method) {
  return {.parts = parts,
          .context = context,
          .method = method,
          .reactor = context->DefaultReactor(),
          .has_deadline = context->deadline() != std::chrono::system_clock::time_point::max()};
}

}  // namespace

grpc::ServerUnaryReactor* Handle(CoordinatorParts& parts, Executor& executor,
                                 grpc::CallbackServerContext* context, const char* method,
                                 CallBody body) {
  const Unary unary = UnaryOf(parts, context, method);
  if (!Begin(unary)) return unary.reactor;
  Run(
      unary, executor, [body = std::move(body)](Call& call) { return body(call); }, nullptr);
  return unary.reactor;
}

grpc::ServerUnaryReactor* HandleChecked(CoordinatorParts& parts, Executor& executor,
                                        grpc::CallbackServerContext* context, const char* method,
                                        CallCheck check, CallBody body) {
  const Unary unary = UnaryOf(parts, context, method);
  if (!Begin(unary)) return unary.reactor;
  Run(unary, parts.executor, std::move(check), [unary, &executor, body = std::move(body)] {
    Run(
        unary, executor, [body](Call& call) { return body(call); }, nullptr);
  });
  return unary.reactor;
}

}  // namespace longrun::coordinator
