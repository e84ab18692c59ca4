// How a worker joins a coordinator that has no room for it at first. The coordinator is a TLS
// server that only lets workers join, with certificates of a real authority.
#include "worker/agent/membership.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "longrun/v1/identity.grpc.pb.h"
#include "pki/certificate.h"
#include "pki/files.h"
#include "pki/token.h"
#include "tests/deadline.h"

namespace longrun::agent {
namespace {

// Refuses the first calls with these codes, and lets the next one join.
class Door final : public v1::IdentityService::Service {
 public:
  Door(std::string state, std::vector<grpc::StatusCode> refusals)
      : state_(std::move(state)), refusals_(std::move(refusals)) {}

  grpc::Status JoinWorker(grpc::ServerContext* context, const v1::JoinWorkerRequest* request,
                          v1::JoinWorkerResponse* response) override {
    const std::scoped_lock lock(mutex_);
    const auto [begin, end] = context->client_metadata().equal_range(kJoinTokenMetadata);
    std::string presented;
    for (auto one = begin; one != end; ++one) {
      presented += std::string(one->second.data(), one->second.size());
    }
    n_calls_ += 1;
    if (presented != request->token()) n_without_token_ += 1;
    if (is_always_refusing || n_calls_ <= refusals_.size()) {
      const grpc::StatusCode code =
          is_always_refusing ? grpc::StatusCode::RESOURCE_EXHAUSTED : refusals_[n_calls_ - 1];
      return grpc::Status(code, "too many calls: try again in 10 ms");
    }
    const Authority authority = ReadAuthority(state_).value();
    response->set_certificate(IssueForWorker(authority, request->signing_request(),
                                             request->worker_id(),
                                             {.now_ms = WallMs(), .valid_ms = 3'600'000})
                                  .value());
    response->set_valid_ms(3'600'000);
    return grpc::Status::OK;
  }

  std::size_t n_calls() {
    const std::scoped_lock lock(mutex_);
    return n_calls_;
  }
  std::size_t n_without_token() {
    const std::scoped_lock lock(mutex_);
    return n_without_token_;
  }

  bool is_always_refusing = false;  // set it before the first call

 private:
  const std::string state_;
  const std::vector<grpc::StatusCode> refusals_;
  std::mutex mutex_;  // guards everything below
  std::size_t n_calls_ = 0;
  std::size_t n_without_token_ = 0;
};

class MembershipTest : public testing::Test {
 protected:
  MembershipTest() {
    EXPECT_TRUE(InitPki(state_, {"127.0.0.1"}, WallMs()).ok());
    EXPECT_TRUE(WriteFileAtomic(options_.token_file, MakeToken().value().text, 0600).ok());
    const std::string authority = ReadFile(PkiPathsOf(state_).authority).value();
    options_.ca_fingerprint = ReadCertificate(authority).value().fingerprint;
  }
  ~MembershipTest() override {
    if (server_) server_->Shutdown();
  }

  void Serve(Door& door) {
    const PkiPaths paths = PkiPathsOf(state_);
    grpc::SslServerCredentialsOptions tls(GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
    tls.pem_key_cert_pairs = {{ReadFile(paths.key).value(), ReadFile(paths.chain).value()}};
    grpc::ServerBuilder builder;
    builder.AddListeningPort(place_.Text(), grpc::SslServerCredentials(tls), &place_.port);
    builder.RegisterService(&door);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  // What the worker logs goes to standard error.
  Result<std::unique_ptr<Membership>> Enter() {
    testing::internal::CaptureStderr();
    auto membership =
        Membership::Enter(JoinPath(folder_.path(), "worker"), place_, "gpu-1", options_);
    log_ = testing::internal::GetCapturedStderr();
    return membership;
  }
  std::size_t CountInLog(std::string_view what) const {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = log_.find(what, at)) != std::string::npos; ++at) ++n;
    return n;
  }

  TempFolder folder_;
  std::string state_ = JoinPath(folder_.path(), "state");
  JoinOptions options_{.token_file = JoinPath(folder_.path(), "join-token"),
                       .ca_fingerprint = "",
                       .patience_ms = DeadlineMs(60'000)};
  HostPort place_{.host = "127.0.0.1", .port = 0};
  std::unique_ptr<grpc::Server> server_;
  std::string log_;
};

TEST_F(MembershipTest, WorkerTriesAgainWhileTheCoordinatorHasTooManyCalls) {
  Door door(state_, {grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::UNAVAILABLE,
                     grpc::StatusCode::RESOURCE_EXHAUSTED});
  Serve(door);
  const auto membership = Enter();
  ASSERT_TRUE(membership.ok()) << membership.status().message();
  EXPECT_EQ(door.n_calls(), 4u);
  EXPECT_EQ(door.n_without_token(), 0u);
  EXPECT_EQ(CountInLog("not_joined_yet why=\"too many calls: try again in 10 ms\" again_in_ms="),
            2u)
      << log_;
  EXPECT_EQ(CountInLog("worker_joined"), 1u) << log_;
}

// The worker's disk is not full: kUnavailable gives the exit code after which systemd and
// Kubernetes start it again.
TEST_F(MembershipTest, WorkerThatGivesUpSaysThatTheCoordinatorWasBusy) {
  Door door(state_, {});
  door.is_always_refusing = true;
  Serve(door);
  options_.patience_ms = DeadlineMs(2'000);
  const std::int64_t begin_ms = BootMs();
  const auto membership = Enter();
  EXPECT_LT(BootMs() - begin_ms, DeadlineMs(60'000));
  ASSERT_FALSE(membership.ok());
  const Status& status = membership.status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_TRUE(status.message().starts_with(
      Str("joining the coordinator at ", place_.Text(), ": it still refuses this after ")))
      << status.message();
  EXPECT_TRUE(status.message().ends_with(": too many calls: try again in 10 ms"))
      << status.message();
  EXPECT_GE(CountInLog("not_joined_yet"), 1u) << log_;
}

// The worker's own certificate is in time, so that only the coordinator's shows the clock.
TEST_F(MembershipTest, ACoordinatorsCertificateThatIsNotInTimeNamesTheClock) {
  Door door(state_, {});
  Serve(door);
  const auto membership = Enter();
  ASSERT_TRUE(membership.ok()) << membership.status().message();
  EXPECT_TRUE((*membership)->WhyUnreached().ok());

  server_->Shutdown();
  constexpr std::int64_t kYearMs = 365 * 86'400'000LL;
  for (const std::int64_t made_ms : {WallMs() - 20 * kYearMs, WallMs() + kYearMs}) {
    ASSERT_TRUE(RenewCoordinator(state_, {"127.0.0.1"}, made_ms).ok());
    Serve(door);
    const Status why = (*membership)->WhyUnreached();
    EXPECT_EQ(why.code(), Code::kFailedPrecondition);
    EXPECT_TRUE(
        why.message().starts_with(Str("the certificate of ", place_.Text(), " is valid from ")))
        << why.message();
    EXPECT_NE(why.message().find("but this machine's clock says"), std::string::npos);
    EXPECT_NE(why.message().find("set the clock"), std::string::npos);
    server_->Shutdown();
  }
  EXPECT_EQ((*membership)->WhyUnreached().code(), Code::kUnavailable);
}

TEST_F(MembershipTest, AnotherAuthorityOfTheCoordinatorIsNamed) {
  Door door(state_, {});
  Serve(door);
  const auto membership = Enter();
  ASSERT_TRUE(membership.ok()) << membership.status().message();

  server_->Shutdown();
  state_ = JoinPath(folder_.path(), "another");
  ASSERT_TRUE(InitPki(state_, {"127.0.0.1"}, WallMs()).ok());
  Serve(door);
  const Status why = (*membership)->WhyUnreached();
  EXPECT_EQ(why.code(), Code::kFailedPrecondition);
  EXPECT_NE(why.message().find("but this worker joined one with the authority"), std::string::npos)
      << why.message();
}

TEST_F(MembershipTest, WrongTokenIsNotTriedAgain) {
  Door door(state_, {grpc::StatusCode::PERMISSION_DENIED});
  Serve(door);
  EXPECT_EQ(Enter().status().code(), Code::kPermissionDenied);
  EXPECT_EQ(door.n_calls(), 1u);
  EXPECT_EQ(CountInLog("not_joined_yet"), 0u) << log_;
}

}  // namespace
}  // namespace longrun::agent
