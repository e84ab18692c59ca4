// See live_calls.h.
#include "coordinator/rpc/live_calls.h"

#include <vector>

#include "base/clock.h"
#include "base/str.h"
#include "coordinator/rpc/caller.h"

namespace longrun::coordinator {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

// Lives as long as its call.
class Interceptor final : public grpc::experimental::Interceptor {
 public:
  Interceptor(LiveCalls& calls, const Access& access, grpc::ServerContextBase* call)
      : calls_(calls), access_(access), call_(call) {}
  ~Interceptor() override { calls_.Remove(call_); }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      const Result<Principal> caller = CallerOf(access_, *call_);
      if (caller.ok() && caller->kind != Principal::Kind::kLocal) calls_.Add(call_, *caller);
    }
    methods->Proceed();
  }

 private:
  LiveCalls& calls_;
  const Access& access_;
  grpc::ServerContextBase* call_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Factory(LiveCalls& calls, const Access& access) : calls_(calls), access_(access) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new Interceptor(calls_, access_, info->server_context());
  }

 private:
  LiveCalls& calls_;
  const Access& access_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>
LiveCalls::MakeInterceptors() {
  return std::make_unique<Factory>(*this, access_);
}

Status LiveCalls::CheckRoom(const Principal& caller) const {
  const std::lock_guard lock(mutex_);
  const auto found = n_calls_.find(caller.Name());
  if (found == n_calls_.end() || found->second < n_calls_max_) return Status();
  return Status(Code::kResourceExhausted,
                Str(caller.Name(), " has ", found->second,
                    " calls in progress, which is as many as allowed: try again in 1000 ms, or "
                    "end some"));
}

void LiveCalls::EndInvalid() {
  const std::int64_t now_ms = WallMs();
  const std::lock_guard lock(mutex_);
  std::vector<grpc::ServerContextBase*> ended;
  for (const auto& [call, caller] : calls_) {
    if (!access_.StillHolds(caller, now_ms).ok()) ended.push_back(call);
  }
  for (grpc::ServerContextBase* const call : ended) {
    if (calls_.contains(call)) call->TryCancel();
  }
}

void LiveCalls::Add(grpc::ServerContextBase* call, const Principal& caller) {
  const std::lock_guard lock(mutex_);
  if (calls_.emplace(call, caller).second) n_calls_[caller.Name()] += 1;
}

void LiveCalls::Remove(grpc::ServerContextBase* call) {
  const std::lock_guard lock(mutex_);
  const auto found = calls_.find(call);
  if (found == calls_.end()) return;
  const auto count = n_calls_.find(found->second.Name());
  if (--count->second == 0) n_calls_.erase(count);
  calls_.erase(found);
}

}  // namespace longrun::coordinator
