// See authenticator.h.
#include "coordinator/rpc/authenticator.h"

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/str.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/method_rules.h"
#include "pki/token.h"

namespace longrun::coordinator {
namespace {

class Authenticator final : public grpc::AuthMetadataProcessor {
 public:
  Authenticator(Access& access, AuditLog& audit, const LiveCalls& calls)
      : access_(access), audit_(audit), calls_(calls) {}

  // On gRPC's thread: looks only at memory.
  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* connection,
                       OutputMetadata*, OutputMetadata*) override {
    const auto found = metadata.find(":path");
    const std::string path =
        found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
    const MethodRule* const rule = FindMethodRule(path);
    if (rule != nullptr && rule->anyone) {
      const auto token = metadata.find(kJoinTokenMetadata);
      const std::string joiner = access_.CallerWhoJoins(
          token == metadata.end() ? std::string_view()
                                  : std::string_view(token->second.data(), token->second.size()),
          WallMs());
      return Decided(access_.TakeCall(joiner, BootMs()), nullptr, path,
                     grpc::StatusCode::RESOURCE_EXHAUSTED);
    }
    const Result<Principal> caller = NetworkCaller(access_, *connection, metadata);
    if (!caller.ok()) {
      return Decided(caller.status(), nullptr, path, grpc::StatusCode::UNAUTHENTICATED);
    }
    if (rule == nullptr || !Allows(*rule, *caller)) {
      return Decided(Status(Code::kPermissionDenied, WhyNotAllowed(*caller, rule, path)), &*caller,
                     path, grpc::StatusCode::PERMISSION_DENIED);
    }
    Status room = calls_.CheckRoom(*caller);
    if (room.ok()) room = access_.TakeCall(caller->Name(), BootMs());
    return Decided(room, &*caller, path, grpc::StatusCode::RESOURCE_EXHAUSTED);
  }

 private:
  grpc::Status Decided(const Status& status, const Principal* caller, const std::string& path,
                       grpc::StatusCode code) {
    if (status.ok()) return grpc::Status::OK;
    const bool is_unknown = code == grpc::StatusCode::UNAUTHENTICATED;
    audit_.NoteRefusal(
        {.principal = caller == nullptr ? "nobody" : caller->Name(),
         .role = caller == nullptr ? "" : caller->RoleText(),
         .method = path.substr(path.rfind('/') + 1),
         .outcome = is_unknown ? "UNAUTHENTICATED" : std::string(CodeName(status.code())),
         .message = status.message()});
    return grpc::Status(code, status.message());
  }

  Access& access_;
  AuditLog& audit_;
  const LiveCalls& calls_;
};

}  // namespace

std::shared_ptr<grpc::AuthMetadataProcessor> MakeAuthenticator(Access& access, AuditLog& audit,
                                                               const LiveCalls& calls) {
  return std::make_shared<Authenticator>(access, audit, calls);
}

}  // namespace longrun::coordinator
