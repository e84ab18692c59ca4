// The calls in progress over the network, by caller: so that a revoked token ends its streams, and
// no caller has too many.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "coordinator/access.h"

namespace longrun::coordinator {

class LiveCalls {
 public:
  LiveCalls(const Access& access, std::int64_t n_calls_max)
      : access_(access), n_calls_max_(n_calls_max) {}

  // For the server: notes each call while it lives.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeInterceptors();

  // kResourceExhausted if the caller has as many calls in progress as it may have.
  Status CheckRoom(const Principal& caller) const;
  // Cancels the calls whose caller has been revoked, or has expired.
  void EndInvalid();

  void Add(grpc::ServerContextBase* call, const Principal& caller);
  void Remove(grpc::ServerContextBase* call);

 private:
  const Access& access_;
  const std::int64_t n_calls_max_;
  // Guards everything below, and keeps a call alive while it is being cancelled. Recursive: gRPC
  // may end a call, and so remove it, inside TryCancel.
  mutable std::recursive_mutex mutex_;
  std::map<grpc::ServerContextBase*, Principal> calls_;
  std::map<std::string, std::int64_t> n_calls_;  // by caller
};

}  // namespace longrun::coordinator
