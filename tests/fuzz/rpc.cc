// See rpc.h.
#include "tests/fuzz/rpc.h"

#include <google/protobuf/message.h>

#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "base/str.h"
#include "tests/fuzz/target.h"

namespace grpc::testing {

// A friend of gRPC's contexts, for tests.
class InteropServerContextInspector {
 public:
  static void Set(grpc::CallbackServerContext& context,
                  std::shared_ptr<const grpc::AuthContext> connection,
                  const std::string& authorization) {
    context.auth_context_ = std::move(connection);
    if (!authorization.empty()) {
      context.client_metadata_.map()->emplace("authorization", authorization);
    }
  }
  static void Cancel(grpc::CallbackServerContext& context) { context.marked_cancelled_ = true; }
};

}  // namespace grpc::testing

// gRPC's own two need a connection: these take their place in this program.
std::string grpc::ServerContextBase::peer() const {
  const auto* const context = dynamic_cast<const longrun::FuzzContext*>(this);
  LR_CHECK(context != nullptr);
  return context->address();
}

void grpc::ServerContextBase::TryCancel() const {
  auto* const context = dynamic_cast<longrun::FuzzContext*>(const_cast<ServerContextBase*>(this));
  LR_CHECK(context != nullptr);
  context->Cancel();
}

namespace longrun {
namespace {

class Connection final : public grpc::AuthContext {
 public:
  Connection(std::string common_name, std::string certificate)
      : common_name_(std::move(common_name)), certificate_(std::move(certificate)) {}
  bool IsPeerAuthenticated() const override { return !common_name_.empty(); }
  std::vector<grpc::string_ref> GetPeerIdentity() const override {
    return FindPropertyValues("x509_common_name");
  }
  std::string GetPeerIdentityPropertyName() const override { return "x509_common_name"; }
  std::vector<grpc::string_ref> FindPropertyValues(const std::string& name) const override {
    if (common_name_.empty()) return {};
    if (name == "x509_common_name") return {common_name_};
    if (name == "x509_pem_cert") return {certificate_};
    return {};
  }
  grpc::AuthPropertyIterator begin() const override { return end(); }
  grpc::AuthPropertyIterator end() const override { LR_CHECK(false); }
  void AddProperty(const std::string&, const grpc::string_ref&) override {}
  bool SetPeerIdentityPropertyName(const std::string&) override { return false; }

 private:
  const std::string common_name_;
  const std::string certificate_;
};

}  // namespace

FuzzContext::FuzzContext(const RpcPeer& peer)
    : address_(peer.is_local ? "unix:" : "ipv4:192.0.2.1:50000"),
      authorization_(peer.token.empty() ? "" : Str("Bearer ", peer.token)),
      connection_(std::make_shared<Connection>(peer.common_name, peer.certificate)) {
  grpc::testing::InteropServerContextInspector::Set(*this, connection_, authorization_);
}

void FuzzContext::Cancel() { grpc::testing::InteropServerContextInspector::Cancel(*this); }

void CheckEnd(const grpc::Status& status) {
  if (status.ok()) return;
  const grpc::StatusCode code = status.error_code();
  const bool is_ours = code == grpc::StatusCode::UNKNOWN || code == grpc::StatusCode::INTERNAL;
  if (is_ours || code < grpc::StatusCode::OK || code > grpc::StatusCode::UNAUTHENTICATED) {
    std::fprintf(stderr, "a call ends with the code %d: %s\n", static_cast<int>(code),
                 status.error_message().c_str());
    LR_CHECK(false);
  }
  CheckRefusal(Status(Code::kInvalidArgument, status.error_message()));
}

void CheckReadable(const google::protobuf::Message& message) {
  const std::unique_ptr<google::protobuf::Message> copy(message.New());
  LR_CHECK(copy->ParseFromString(message.SerializeAsString()));
}

}  // namespace longrun
