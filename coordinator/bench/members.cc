// See members.h.
#include "coordinator/bench/members.h"

#include <cstdio>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "coordinator/bench/daemon.h"
#include "longrun/v1/identity.grpc.pb.h"
#include "pki/certificate.h"
#include "pki/files.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kHourMs = 3'600'000;

std::string ReadOrDie(const std::string& path) {
  Result<std::string> text = ReadFile(path);
  LR_CHECK(text.ok());
  return std::move(text).value();
}

std::string NewToken(v1::IdentityService::Stub& stub, const std::string& role) {
  v1::CreateTokenRequest request;
  request.set_role(role);
  request.set_valid_ms(kHourMs);
  v1::CreateTokenResponse response;
  grpc::ClientContext context;
  Check(stub.CreateToken(&context, request, &response));
  return response.token();
}

}  // namespace

void Check(const grpc::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error_message().c_str());
  LR_CHECK(status.ok());
}

std::shared_ptr<grpc::Channel> OwnChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  own.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, credentials, own);
}

Members::Members(const std::string& state_folder, int n_workers) {
  LR_CHECK(InitPki(state_folder, {"localhost"}, WallMs()).ok());
  const PkiPaths paths = PkiPathsOf(state_folder);
  authority_ = ReadOrDie(paths.authority);
  server_ = {.key = paths.key, .chain = paths.chain};
  Daemon local(state_folder);
  const auto stub = v1::IdentityService::NewStub(local.channel());
  (void)NewToken(*stub, "admin");  // without one, no coordinator listens on a network
  for (int i = 0; i < n_workers; ++i) {
    const std::string id = Str("w-", i);
    Result<std::string> key = NewPrivateKey();
    LR_CHECK(key.ok());
    const Result<std::string> signing_request = NewSigningRequest(*key, id);
    LR_CHECK(signing_request.ok());
    v1::JoinWorkerRequest request;
    request.set_token(NewToken(*stub, "worker"));
    request.set_worker_id(id);
    request.set_signing_request(*signing_request);
    v1::JoinWorkerResponse response;
    grpc::ClientContext joining;
    Check(stub->JoinWorker(&joining, request, &response));
    members_.push_back({.key = std::move(key).value(), .certificate = response.certificate()});
  }
}

std::shared_ptr<grpc::ChannelCredentials> Members::CredentialsOf(int worker) const {
  const Member& member = members_.at(static_cast<std::size_t>(worker));
  return grpc::SslCredentials({.pem_root_certs = authority_,
                               .pem_private_key = member.key,
                               .pem_cert_chain = member.certificate});
}

std::shared_ptr<grpc::ServerCredentials> Members::ServerCredentials() const {
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = authority_;
  tls.pem_key_cert_pairs = {{ReadOrDie(server_.key), ReadOrDie(server_.chain)}};
  return grpc::SslServerCredentials(tls);
}

}  // namespace longrun::coordinator
