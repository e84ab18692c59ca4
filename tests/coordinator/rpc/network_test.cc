// The coordinator's port for other machines: certificates, tokens, roles, the audit log, workers
// that join.
#include "tests/coordinator/rpc/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/failpoint.h"
#include "base/json.h"
#include "base/random.h"
#include "base/version.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "longrun/v1/identity.grpc.pb.h"
#include "longrun/v1/session.grpc.pb.h"
#include "longrun/v1/sweeps.grpc.pb.h"
#include "pki/presented.h"
#include "pki/token.h"
#include "tests/hosts/proxy.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {
namespace {

TEST_F(NetworkTest, PortIsRefusedWithoutCertificatesAndWithoutTokens) {
  std::string said;
  for (const char* const address : {"127.0.0.1:0", "0.0.0.0:0"}) {
    EXPECT_EQ(RefusedWith({"--listen", address}, &said), 78);
    EXPECT_NE(said.find("longrun admin pki init"), std::string::npos) << said;
  }
  InitPki();
  EXPECT_EQ(RefusedWith({"--listen", "127.0.0.1:0"}, &said), 78);
  EXPECT_NE(said.find("longrun admin token create"), std::string::npos) << said;
  (void)NewToken("viewer");
  Start();
}

TEST_F(NetworkTest, WrongPlacesToListenAreNamed) {
  InitAndStart();
  const TempFolder other;
  const std::string first_state = std::exchange(state, JoinPath(other.path(), "state"));
  InitPki();
  (void)NewToken("viewer");
  std::string said;
  EXPECT_EQ(RefusedWith({"--listen", place.Text()}, &said), 69);
  EXPECT_NE(said.find("another program listens on"), std::string::npos) << said;
  EXPECT_EQ(RefusedWith({"--listen", "nowhere.invalid:7443"}, &said), 64);
  EXPECT_NE(said.find("cannot be resolved"), std::string::npos) << said;
  EXPECT_EQ(RefusedWith({"--listen", "192.0.2.1:7443"}, &said), 64);
  EXPECT_NE(said.find("no address of this machine"), std::string::npos) << said;
  EXPECT_EQ(RefusedWith({"--listen", "here"}, &said), 64);
  EXPECT_NE(said.find("expected HOST:PORT"), std::string::npos) << said;
  state = first_state;
}

// The newest version that a client of OpenSSL and this server agree on, or 0.
int AgreedVersion(const HostPort& place, int version_max) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(place.port));
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
  SSL_CTX_set_max_proto_version(context, version_max);
  SSL* const session = SSL_new(context);
  constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(session, kHttp2, sizeof kHttp2);
  SSL_set_fd(session, fd);
  const int version = SSL_connect(session) == 1 ? SSL_version(session) : 0;
  SSL_free(session);
  SSL_CTX_free(context);
  close(fd);
  return version;
}

TEST_F(NetworkTest, OnlyTls13IsSpoken) {
  signal(SIGPIPE, SIG_IGN);
  InitAndStart();
  EXPECT_EQ(AgreedVersion(place, TLS1_3_VERSION), TLS1_3_VERSION);
  EXPECT_EQ(AgreedVersion(place, TLS1_2_VERSION), 0);
  EXPECT_EQ(AgreedVersion(place, TLS1_1_VERSION), 0);
}

TEST_F(NetworkTest, PlainTextAndForeignCertificatesAreRefused) {
  InitAndStart();
  const auto plain = grpc::CreateChannel(place.Text(), grpc::InsecureChannelCredentials());
  EXPECT_EQ(Call(plain, "/longrun.v1.SweepService/ListSweeps", admin, 5'000).error_code(),
            grpc::StatusCode::UNAVAILABLE);

  const std::int64_t now_ms = WallMs();
  Authority foreign{.key = NewPrivateKey().value(), .certificate = ""};
  foreign.certificate =
      NewAuthority(foreign.key, "another", {.now_ms = now_ms, .valid_ms = 86'400'000}).value();
  const std::string key = NewPrivateKey().value();
  const std::string certificate =
      IssueForWorker(foreign, NewSigningRequest(key, "gpu-1").value(), "gpu-1",
                     {.now_ms = now_ms, .valid_ms = 86'400'000})
          .value();
  const auto channel =
      Channel({.pem_root_certs = authority, .pem_private_key = key, .pem_cert_chain = certificate});
  EXPECT_EQ(Call(channel, "/longrun.v1.SweepService/ListSweeps", "", 5'000).error_code(),
            grpc::StatusCode::UNAVAILABLE);

  // A worker's certificate of our own authority that was never given out.
  const Authority own = ReadAuthority(state).value();
  const std::string unknown = IssueForWorker(own, NewSigningRequest(key, "gpu-1").value(), "gpu-1",
                                             {.now_ms = now_ms, .valid_ms = 86'400'000})
                                  .value();
  const auto stranger =
      Channel({.pem_root_certs = authority, .pem_private_key = key, .pem_cert_chain = unknown});
  const grpc::Status status = Call(stranger, "/longrun.v1.WorkerSessionService/Session", "");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_NE(status.error_message().find("no worker \"gpu-1\" has joined"), std::string::npos);
}

// The methods of every service that the port has, each with the least role that may call it. This
// table is the test's own: the coordinator's is compared with it.
std::map<std::string, std::string> MethodsWithRole() {
  const std::map<std::string, std::string> known = {
      {"GetServerInfo", "viewer"},     {"PlanSweep", "viewer"},
      {"SubmitSweep", "submitter"},    {"ListSweeps", "viewer"},
      {"GetSweep", "viewer"},          {"GetRun", "viewer"},
      {"WatchSweep", "viewer"},        {"GetResults", "viewer"},
      {"GetSeries", "viewer"},         {"CancelSweep", "submitter"},
      {"RemoveSweep", "submitter"},    {"AnnotateSweep", "submitter"},
      {"PauseSweep", "submitter"},     {"ResumeSweep", "submitter"},
      {"RetryTasks", "submitter"},     {"CollectGarbage", "operator"},
      {"DrainWorker", "operator"},     {"UndrainWorker", "operator"},
      {"RemoveWorker", "operator"},    {"ReleaseSlots", "operator"},
      {"ReportPilot", "admin"},        {"GetLogs", "viewer"},
      {"ListWorkers", "viewer"},       {"RegisterDataset", "nobody"},
      {"StoreDataset", "submitter"},   {"ListDatasets", "viewer"},
      {"RemoveDataset", "submitter"},  {"RegisterModel", "submitter"},
      {"ListModels", "viewer"},        {"RemoveModel", "submitter"},
      {"FindCheckpoint", "viewer"},    {"Query", "viewer"},
      {"ListViews", "viewer"},         {"HasArtifacts", "viewer"},
      {"UploadArtifact", "submitter"}, {"DownloadArtifact", "viewer"},
      {"Session", "worker"},           {"GetCaller", "viewer"},
      {"CreateToken", "admin"},        {"ListTokens", "admin"},
      {"RevokeToken", "admin"},        {"ListAudit", "admin"},
      {"JoinWorker", "anyone"},        {"RenewWorker", "worker"},
      {"AdoptArtifacts", "worker"},    {"GetReasons", "viewer"}};
  std::map<std::string, std::string> methods = {
      {"/grpc.health.v1.Health/Check", "viewer"},
      {"/grpc.health.v1.Health/Watch", "viewer"},
      {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "viewer"},
      {"/longrun.v1.SweepService/NoSuchMethod", "nobody"},
      {"/grpc.channelz.v1.Channelz/GetServers", "nobody"}};
  for (const google::protobuf::FileDescriptor* const file :
       {v1::GetServerInfoRequest::descriptor()->file(), v1::Hello::descriptor()->file(),
        v1::HasArtifactsRequest::descriptor()->file(),
        v1::GetCallerRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        const google::protobuf::MethodDescriptor& method = *file->service(s)->method(m);
        const auto found = known.find(method.name());
        EXPECT_NE(found, known.end()) << method.full_name() << " is not in this test's table";
        methods[Str("/", file->service(s)->full_name(), "/", method.name())] =
            found == known.end() ? "nobody" : found->second;
      }
    }
  }
  return methods;
}

// Whether the caller was refused because of its role, with the whole message of that, apart from
// the words for what the method does. `least`: the role that a person needs; any other text if no
// person may call it.
bool IsRefused(const grpc::Status& status, const std::string& caller, const std::string& role,
               const std::string& path, const std::string& least) {
  const std::string& message = status.error_message();
  if (status.error_code() != grpc::StatusCode::PERMISSION_DENIED) return false;
  const std::string begin = Str(caller, " has the role ", role, ", and may not ");
  static const std::set<std::string> kRoles = {"viewer", "submitter", "operator", "admin"};
  if (!kRoles.contains(least)) return message == Str(begin, "call ", path);
  return message.starts_with(begin) &&
         message.ends_with(Str(": that needs the role ", least,
                               "; `longrun admin token create --role ", least,
                               "` on the coordinator's machine makes a token with it"));
}

TEST_F(NetworkTest, EveryMethodIsOpenToItsRolesAndToNobodyElse) {
  InitAndStart();
  const std::vector<std::string> roles = {"viewer", "submitter", "operator", "admin"};
  std::map<std::string, std::string> tokens = {{"admin", admin}};
  for (const char* const role : {"viewer", "submitter", "operator"}) tokens[role] = NewToken(role);
  const auto channel = Channel();
  for (const auto& [path, least] : MethodsWithRole()) {
    const auto rank = std::ranges::find(roles, least) - roles.begin();
    // An endless stream ends by the deadline; a call without a token by the refusal.
    const bool is_endless = path.ends_with("Health/Watch");
    for (std::size_t i = 0; i < roles.size(); ++i) {
      const grpc::Status status =
          Call(channel, path, tokens[roles[i]], is_endless ? 1'000 : kPatienceMs);
      const std::string caller = Str("token ", tokens[roles[i]].substr(3, 16));
      const bool is_refused = IsRefused(status, caller, roles[i], path, least);
      // What a person may not do is said in words.
      if (is_refused && rank < std::ssize(roles)) {
        EXPECT_EQ(status.error_message().find("/longrun.v1"), std::string::npos)
            << status.error_message();
      }
      const bool may = least == "anyone" || static_cast<std::ptrdiff_t>(i) >= rank;
      EXPECT_EQ(!is_refused, may) << path << " by " << roles[i] << ": " << status.error_code()
                                  << " " << status.error_message();
      EXPECT_NE(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    }
    const grpc::Status without = Call(channel, path, "");
    if (least == "anyone") {
      EXPECT_NE(without.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    } else {
      EXPECT_EQ(without.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    }
  }
}

// A machine with workers must not be able to read or change what people do.
TEST_F(NetworkTest, AWorkersCertificateOpensOnlyTheMethodsOfWorkers) {
  InitAndStart();
  JoinWorker("gpu-1");
  const std::set<std::string> of_workers = {"/grpc.health.v1.Health/Check",
                                            "/grpc.health.v1.Health/Watch",
                                            "/longrun.v1.ArtifactService/AdoptArtifacts",
                                            "/longrun.v1.ArtifactService/DownloadArtifact",
                                            "/longrun.v1.ArtifactService/HasArtifacts",
                                            "/longrun.v1.ArtifactService/UploadArtifact",
                                            "/longrun.v1.IdentityService/GetCaller",
                                            "/longrun.v1.IdentityService/JoinWorker",
                                            "/longrun.v1.IdentityService/RenewWorker",
                                            "/longrun.v1.WorkerSessionService/Session"};
  const auto channel = ChannelOf(At("gpu-1"));
  std::size_t n_open = 0;
  for (const auto& [path, least] : MethodsWithRole()) {
    const bool is_endless = path.ends_with("Health/Watch");
    const grpc::Status status = Call(channel, path, "", is_endless ? 1'000 : kPatienceMs);
    const bool is_refused = IsRefused(status, "worker gpu-1", "worker", path, least);
    EXPECT_EQ(!is_refused, of_workers.contains(path))
        << path << ": " << status.error_code() << " " << status.error_message();
    EXPECT_NE(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    n_open += is_refused ? 0 : 1;
  }
  EXPECT_EQ(n_open, of_workers.size());
}

TEST_F(NetworkTest, WrongTokensAreRefusedWithTheRemedy) {
  InitAndStart();
  const auto channel = Channel();
  const std::string path = "/longrun.v1.SweepService/ListSweeps";
  const auto refusal = [&](const std::string& token) {
    const grpc::Status status = Call(channel, path, token);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
    return status.error_message();
  };
  std::string guessed = admin;
  guessed.back() = guessed.back() == '0' ? '1' : '0';
  EXPECT_NE(refusal(guessed).find("does not know this access token"), std::string::npos);
  EXPECT_NE(refusal("x").find("does not know this access token"), std::string::npos);
  EXPECT_NE(refusal(NewJoinToken()).find("is a join token"), std::string::npos);
  const std::string viewer = NewToken("viewer");
  EXPECT_TRUE(Call(channel, path, viewer).ok());
  ASSERT_EQ(Here({"admin", "token", "revoke", viewer.substr(3, 16)}).code, 0);
  EXPECT_NE(refusal(viewer).find("was revoked at"), std::string::npos);

  const std::string database = ReadFile(JoinPath(state, "longrun.db")).value() +
                               ReadFile(JoinPath(state, "longrun.db-wal")).value();
  EXPECT_NE(database.find(admin.substr(3, 16)), std::string::npos);
  EXPECT_EQ(database.find(admin.substr(20)), std::string::npos);  // the secret is nowhere
}

// An endless stream, with an empty request.
class LiveStream {
 public:
  LiveStream(const std::shared_ptr<grpc::Channel>& channel, const std::string& token)
      : stub_(channel) {
    context_.set_deadline(After(kPatienceMs));
    context_.AddMetadata("authorization", "Bearer " + token);
    call_ = stub_.PrepareCall(&context_, "/grpc.health.v1.Health/Watch", &queue_);
    call_->StartCall(nullptr);
    if (!Next()) return;
    const grpc::Slice empty("");
    call_->WriteLast(grpc::ByteBuffer(&empty, 1), grpc::WriteOptions(), nullptr);
    Next();
  }
  ~LiveStream() {
    if (call_ == nullptr) return;
    context_.TryCancel();
    End();
  }
  LiveStream(const LiveStream&) = delete;
  LiveStream& operator=(const LiveStream&) = delete;

  // Waits for the next message: false if there will be none.
  bool Read() {
    grpc::ByteBuffer answer;
    call_->Read(&answer, nullptr);
    return Next();
  }
  // Once there are no more messages.
  grpc::Status End() {
    grpc::Status status;
    call_->Finish(&status, nullptr);
    Next();
    call_.reset();
    return status;
  }

 private:
  bool Next() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

TEST_F(NetworkTest, RevokedTokenEndsItsLiveStreamsWithinASecond) {
  InitAndStart();
  const std::string viewer = NewToken("viewer");
  const auto channel = Channel();
  LiveStream stream(channel, viewer);
  ASSERT_TRUE(stream.Read());  // it is live

  const auto identity = v1::IdentityService::NewStub(channel);
  grpc::ClientContext revoking;
  revoking.AddMetadata("authorization", "Bearer " + admin);
  v1::RevokeTokenRequest request;
  request.set_id(viewer.substr(3, 16));
  v1::RevokeTokenResponse ended;
  const grpc::Status revoked = identity->RevokeToken(&revoking, request, &ended);
  ASSERT_TRUE(revoked.ok()) << revoked.error_message();
  const std::int64_t begin_ms = BootMs();
  EXPECT_FALSE(stream.Read());
  EXPECT_LT(BootMs() - begin_ms, DeadlineMs(1'000));
  EXPECT_EQ(stream.End().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(NetworkTest, FloodOfOneCallerHarmsOnlyItself) {
  InitAndStart();
  const std::string viewer = NewToken("viewer");
  const auto channel = Channel();
  const std::string path = "/longrun.v1.IdentityService/GetCaller";
  grpc::Status refused;
  for (int i = 0; i < 5'000 && refused.ok(); ++i) refused = Call(channel, path, viewer);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(refused.error_message().find("try again in "), std::string::npos)
      << refused.error_message();
  EXPECT_TRUE(Call(channel, path, admin).ok());
}

// A connection to `place` from an address of the loopback network, on which nothing is sent.
std::unique_ptr<Descriptor> SilentConnection(const char* from, const HostPort& place) {
  auto fd = std::make_unique<Descriptor>(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, from, &address.sin_addr);
  EXPECT_EQ(bind(fd->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  inet_pton(AF_INET, place.host.c_str(), &address.sin_addr);
  address.sin_port = htons(static_cast<std::uint16_t>(place.port));
  EXPECT_EQ(connect(fd->get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

bool IsClosedByPeer(const Descriptor& fd) {
  char byte = 0;
  const ssize_t n = recv(fd.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

// With 300 files, a coordinator that accepted all of them could not go on.
TEST_F(NetworkTest, ConnectionsOfStrangersAreFewAndEndAndWorkGoesOn) {
  constexpr int kFiles = 300, kSilent = 400, kEncrypted = 20;
  InitPki();
  admin = NewToken("admin");
  launcher = {"/usr/bin/prlimit", Str("--nofile=", kFiles, ":", kFiles)};
  Start({"--connection-idle-ms", "3000"});
  ASSERT_TRUE(WriteFileAtomic(At("a.txt"), std::string(20'000, 'a')).ok());
  ASSERT_TRUE(WriteFileAtomic(At("b.txt"), std::string(5'000, 'b')).ok());
  const Ran imported =
      Here({"data", "import", "tiny", "--train", At("a.txt"), "--validation", At("b.txt")});
  ASSERT_EQ(imported.code, 0) << imported.err;
  JoinWorker("gpu-1");
  const std::string submitter = NewToken("submitter");
  ASSERT_EQ(Longrun({"login", place.Text(), "--ca-fingerprint", fingerprint}, submitter).code, 0);
  const std::string sweep = JoinPath(laptop, "a.yaml");
  ASSERT_TRUE(WriteFileAtomic(sweep, kTinySweep).ok());

  const auto n_files = [&] {
    return std::ssize(ListFolder(Str("/proc/", coordinator, "/fd")).value());
  };
  const std::ptrdiff_t n_before = n_files();
  std::vector<std::unique_ptr<Descriptor>> silent;
  for (int i = 0; i < kSilent; ++i) silent.push_back(SilentConnection("127.0.0.2", place));
  std::vector<std::shared_ptr<grpc::Channel>> encrypted;
  for (int i = 0; i < kEncrypted; ++i) {
    encrypted.push_back(Channel());
    EXPECT_TRUE(encrypted.back()->WaitForConnected(After(kPatienceMs))) << i;
  }
  EXPECT_GE(n_files(), n_before + kEncrypted);
  const Ran run = Longrun({"run", sweep});
  EXPECT_EQ(run.code, 0) << run.err << ReadFile(At("gpu-1.log")).value();

  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return std::ranges::all_of(silent, [](const auto& fd) { return IsClosedByPeer(*fd); });
  }));
  // Those whose handshake was complete, too: clients of gRPC would see it only when they call.
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return n_files() < n_before + kEncrypted / 2; }))
      << n_files() << " files are open, and were " << n_before;
  // Its session was in use all the time.
  EXPECT_EQ(CountInLog("gpu-1.log", "session_welcomed"), 1u);
  EXPECT_EQ(CountInLog("log", " serving "), 1u) << "the coordinator was started again";
  EXPECT_GE(CountInLog("log", " connections_refused "), 1u);
  EXPECT_EQ(kill(coordinator, 0), 0);
  EXPECT_TRUE(Call(Channel(), "/longrun.v1.SweepService/ListSweeps", admin).ok());
}

TEST_F(NetworkTest, OneCallerHasAtMost64CallsInProgress) {
  InitAndStart();
  const std::string viewer = NewToken("viewer");
  const auto channel = Channel();
  const std::string path = "/longrun.v1.IdentityService/GetCaller";
  std::vector<std::unique_ptr<LiveStream>> streams;
  for (int i = 0; i < 64; ++i) {
    streams.push_back(std::make_unique<LiveStream>(channel, viewer));
    ASSERT_TRUE(streams.back()->Read()) << i;
  }
  const grpc::Status refused = Call(channel, path, viewer);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(refused.error_message().find("64 calls in progress"), std::string::npos)
      << refused.error_message();
  EXPECT_TRUE(Call(channel, path, admin).ok());

  streams.pop_back();
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return Call(channel, path, viewer).ok(); }));
}

TEST_F(NetworkTest, NewCertificateIsUsedWithoutARestart) {
  InitAndStart();
  const auto serial = [&] {
    const auto chain = PresentedCertificates(place, kPatienceMs);
    return chain.ok() ? ReadCertificate(chain->front()).value().serial : "";
  };
  const std::string before = serial();
  ASSERT_NE(before, "");
  ASSERT_EQ(Here({"admin", "pki", "renew"}).code, 0);
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return serial() != before && !serial().empty(); }));
  EXPECT_TRUE(Call(Channel(), "/longrun.v1.SweepService/ListSweeps", admin).ok());
}

TEST_F(NetworkTest, LaptopLogsInAndUsesTheCoordinator) {
  InitAndStart();
  const std::string submitter = NewToken("submitter");
  Ran ran = Longrun({"login", place.Text(), "--name", "gpu"}, submitter);
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find(fingerprint), std::string::npos) << ran.err;
  ran = Longrun({"login", place.Text(), "--ca-fingerprint", std::string(64, 'a')}, submitter);
  EXPECT_EQ(ran.code, 4);
  EXPECT_NE(ran.err.find("somebody may stand in between"), std::string::npos) << ran.err;
  ran = Longrun({"login", place.Text(), "--ca-fingerprint", fingerprint}, "nonsense");
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("this is not an access token"), std::string::npos) << ran.err;
  ran = Longrun({"login", place.Text(), "--ca-fingerprint", fingerprint});
  EXPECT_EQ(ran.code, 2);
  EXPECT_NE(ran.err.find("read from standard input"), std::string::npos) << ran.err;
  std::string guessed = submitter;
  guessed.back() = guessed.back() == '0' ? '1' : '0';
  ran = Longrun({"login", place.Text(), "--ca-fingerprint", fingerprint}, guessed);
  EXPECT_EQ(ran.code, 5) << ran.err;
  ran = Longrun({"login", "nowhere.invalid", "--ca-fingerprint", fingerprint}, submitter);
  EXPECT_EQ(ran.code, 6);
  EXPECT_NE(ran.err.find("cannot be resolved"), std::string::npos) << ran.err;
  EXPECT_EQ(Trim(Longrun({"context", "list", "-o", "json"}).out), "[]");

  ran = Longrun({"login", place.Text(), "--name", "gpu", "--ca-fingerprint", fingerprint},
                submitter + "\n");
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("(submitter)"), std::string::npos) << ran.out;
  EXPECT_EQ(Longrun({"ls"}).code, 0);
  EXPECT_EQ(Longrun({"--context", "gpu", "workers"}).code, 0);
  ran = Longrun({"--context", "cpu", "ls"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_NE(ran.err.find("there are gpu"), std::string::npos) << ran.err;
  ran = Longrun({"admin", "token", "list"});
  EXPECT_EQ(ran.code, 5);
  EXPECT_NE(ran.err.find("that needs the role admin"), std::string::npos) << ran.err;
  ran = Longrun({"gc"});
  EXPECT_EQ(ran.code, 4);
  EXPECT_NE(ran.err.find("works only on the coordinator's machine"), std::string::npos) << ran.err;
  const std::string backup = At("backup.tar");
  ASSERT_EQ(Here({"admin", "backup", backup}).code, 0);
  const std::string context = JoinPath(laptop, ".config/longrun/contexts/gpu");
  const std::vector<std::string> before = ListFolder(context).value();
  for (const char* const verb : {"backup", "check", "restore"}) {
    ran = Longrun({"admin", verb, backup});
    EXPECT_EQ(ran.code, 4) << ran.err;
    EXPECT_NE(
        ran.err.find(Str("`longrun admin ", verb, "` works only on the coordinator's machine")),
        std::string::npos)
        << ran.err;
  }
  EXPECT_EQ(ListFolder(context).value(), before);

  ASSERT_EQ(Here({"admin", "token", "revoke", submitter.substr(3, 16)}).code, 0);
  ran = Longrun({"ls"});
  EXPECT_EQ(ran.code, 5);
  EXPECT_NE(ran.err.find("was revoked at"), std::string::npos) << ran.err;
  EXPECT_EQ(Longrun({"context", "rm", "gpu"}).code, 0);
  EXPECT_FALSE(PathExists(JoinPath(laptop, ".config/longrun/contexts/gpu")));
}

// Certificates are valid from a day before they are made, so two days are too many.
TEST_F(NetworkTest, AClockThatIsOffIsNamedWithTheRemedy) {
  InitAndStart();
  JoinWorker("gpu-1");
  ASSERT_EQ(Longrun({"login", place.Text(), "--ca-fingerprint", fingerprint}, admin).code, 0);
  Kill(worker);
  const std::string clock = At("clock"), remedy = "set the clock or, if it is right, join again";
  const auto set_clock = [&](std::int64_t off_ms) {
    ASSERT_TRUE(WriteFileAtomic(clock, Str(off_ms)).ok());
  };
  worker_env = {Str("LD_PRELOAD=", LONGRUN_SHIFTED_CLOCK), Str("LONGRUN_TEST_CLOCK=", clock)};
  laptop_env = worker_env;

  set_clock(-2 * 86'400'000);
  const Ran ran = Longrun({"ls"});
  EXPECT_EQ(ran.code, 4) << ran.err;
  EXPECT_NE(ran.err.find("but this machine's clock says"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("set the clock"), std::string::npos) << ran.err;

  const std::size_t n_welcomed = CountInLog("gpu-1.log", "session_welcomed");
  worker = SpawnWorker("gpu-1", At("join-token"));
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return CountInLog("gpu-1.log", "coordinator_not_trusted") > 0;
  })) << ReadFile(At("gpu-1.log")).value();
  EXPECT_GT(CountInLog("gpu-1.log", "the certificate of worker gpu-1 is valid from"), 0u);
  EXPECT_GT(CountInLog("gpu-1.log", remedy), 0u);

  // It needs no new start.
  set_clock(0);
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return CountInLog("gpu-1.log", "session_welcomed") > n_welcomed;
  })) << ReadFile(At("gpu-1.log")).value();
  Kill(worker);

  // Later than the worker's own certificate: it asks to join again, and its token has been used.
  set_clock(8 * 86'400'000);
  const std::size_t n_named = CountInLog("gpu-1.log", remedy);
  worker = SpawnWorker("gpu-1", At("join-token"));
  const auto ended = WaitFor(worker, kPatienceMs);
  ASSERT_TRUE(ended.ok() && *ended);
  worker = 0;
  EXPECT_EQ((*ended)->code, 77);
  EXPECT_GT(CountInLog("gpu-1.log", remedy), n_named) << ReadFile(At("gpu-1.log")).value();
}

TEST_F(NetworkTest, ChangesAndRefusalsAreInTheAuditLog) {
  InitAndStart();
  const auto channel = Channel();
  const std::string viewer = NewToken("viewer");
  EXPECT_FALSE(Call(channel, "/longrun.v1.SweepService/CancelSweep", viewer).ok());
  EXPECT_FALSE(Call(channel, "/longrun.v1.SweepService/CancelSweep", "").ok());
  EXPECT_FALSE(Call(channel, "/longrun.v1.SweepService/CancelSweep", admin).ok());  // no such sweep
  EXPECT_TRUE(Call(channel, "/longrun.v1.SweepService/ListSweeps", viewer).ok());
  std::map<std::string, int> seen;
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    const Ran ran = Here({"admin", "audit", "--since", "1h", "-o", "json"});
    const Result<Json> entries = ParseJson(ran.out);
    if (!entries.ok()) return false;
    seen.clear();
    for (const Json& entry : *entries) {
      seen[Str(entry["principal"].get<std::string>(), " ", entry["method"].get<std::string>(), " ",
               entry["outcome"].get<std::string>())] += 1;
    }
    return seen.contains("nobody CancelSweep UNAUTHENTICATED");
  }));
  const std::string admin_name = "token " + admin.substr(3, 16);
  const std::string viewer_name = "token " + viewer.substr(3, 16);
  EXPECT_EQ(seen[viewer_name + " CancelSweep PERMISSION_DENIED"], 1);
  EXPECT_EQ(seen[admin_name + " CancelSweep NOT_FOUND"], 1);
  EXPECT_EQ(seen["local CreateToken OK"], 2);
  for (const auto& [entry, n] : seen) EXPECT_EQ(entry.find("ListSweeps"), std::string::npos) << n;
}

TEST_F(NetworkTest, WorkerJoinsRenewsItsCertificateAndIsRevoked) {
  InitAndStart({"--worker-certificate-ms", "4000"});
  JoinWorker("gpu-1");
  EXPECT_TRUE(
      WaitUntil(kPatienceMs, [&] { return CountInLog("gpu-1.log", "certificate_renewed") >= 3; }));
  // The certificate with which the session began has ended by now; the session has not.
  EXPECT_EQ(CountInLog("gpu-1.log", "session_ended"), 0u) << ReadFile(At("gpu-1.log")).value();

  // The token has been used.
  const int replay = SpawnWorker("gpu-2", At("join-token"));
  const auto ended = WaitFor(replay, kPatienceMs);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, 77);
  EXPECT_EQ(CountInLog("gpu-2.log", "has been used by worker gpu-1"), 1u)
      << ReadFile(At("gpu-2.log")).value();

  // A new token does not let another machine take the name.
  const std::string file = At("other-token");
  ASSERT_TRUE(WriteFileAtomic(file, NewJoinToken(), 0600).ok());
  const auto thief = WaitFor(SpawnThief("gpu-1", file), kPatienceMs);
  ASSERT_TRUE(thief.ok() && *thief);
  EXPECT_EQ((*thief)->code, 77);
  EXPECT_EQ(CountInLog("thief.log", "there is a worker \\\"gpu-1\\\" already"), 1u)
      << ReadFile(At("thief.log")).value();

  // A worker speaks only for itself.
  const auto session = v1::WorkerSessionService::NewStub(ChannelOf(At("gpu-1")));
  grpc::ClientContext context;
  context.set_deadline(After(kPatienceMs));
  const auto stream = session->Session(&context);
  v1::WorkerMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_protocol_version(kProtocolOldest);
  hello.set_protocol_newest(kProtocolNewest);
  hello.set_worker_id("gpu-9");
  SeededRandom random(1);
  hello.set_incarnation(MakeUlid(WallMs(), random));
  hello.set_host("here");
  stream->Write(message);
  v1::CoordinatorMessage answer;
  while (stream->Read(&answer)) {
  }
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << status.error_message();
  EXPECT_NE(status.error_message().find("certificate is that of worker gpu-1"), std::string::npos);

  ASSERT_EQ(Here({"admin", "token", "revoke", "gpu-1"}).code, 0);
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return CountInLog("gpu-1.log", "was revoked at") > 0; }))
      << ReadFile(At("gpu-1.log")).value();
  const auto workers = Here({"workers"});
  EXPECT_NE(Str(workers.out, workers.err).find("worker gpu-1 is refused: the certificate of"),
            std::string::npos)
      << workers.out << workers.err;

  // The remedy that this message names: a token for its name, and the worker started again. It
  // trusts the authority that it has joined before.
  Kill(worker);
  fingerprint.clear();
  ASSERT_TRUE(WriteFileAtomic(At("join-token"), NewJoinToken({"--worker", "gpu-1"}), 0600).ok());
  const std::size_t n_welcomed = CountInLog("gpu-1.log", "session_welcomed");
  worker = SpawnWorker("gpu-1", At("join-token"));
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return CountInLog("gpu-1.log", "session_welcomed") > n_welcomed;
  })) << ReadFile(At("gpu-1.log")).value();
  EXPECT_EQ(CountInLog("gpu-1.log", "worker_joined"), 2u);

  // Started again with the same token, it does not join again.
  Kill(worker);
  worker = SpawnWorker("gpu-1", At("join-token"));
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return CountInLog("gpu-1.log", "session_welcomed") > n_welcomed + 1;
  })) << ReadFile(At("gpu-1.log")).value();
  EXPECT_EQ(CountInLog("gpu-1.log", "worker_joined"), 2u);
  EXPECT_EQ(CountInLog("gpu-1.log", "not_joined_again"), 0u);
}

// As of a machine that was suspended.
TEST_F(NetworkTest, AWorkerWhoseCertificateHasEndedSaysSoAndHowToGoOn) {
  InitAndStart({"--worker-certificate-ms", "4000"});
  JoinWorker("gpu-1");
  ASSERT_EQ(kill(worker, SIGSTOP), 0);
  const std::int64_t stopped_ms = BootMs();
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return BootMs() > stopped_ms + 4'500; }));
  ASSERT_EQ(kill(worker, SIGCONT), 0);
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] {
    return CountInLog("gpu-1.log", "certificate_not_renewed") > 0;
  })) << ReadFile(At("gpu-1.log")).value();
  const std::string log = ReadFile(At("gpu-1.log")).value();
  EXPECT_NE(log.find("join again with a new token (--join)", log.find("certificate_not_renewed")),
            std::string::npos)
      << log;
  EXPECT_FALSE(WaitUntil(2'000, [&] {
    return CountInLog("gpu-1.log", "certificate_not_renewed") > 1;
  })) << "it tries many times, although the coordinator refuses it";
}

// Many more wrong tokens than the limit lets through, all the time.
TEST_F(NetworkTest, FloodOfWrongJoinTokensKeepsNoWorkerFromJoining) {
  InitAndStart();
  std::atomic<bool> is_over = false;
  std::atomic<int> n_refused = 0;
  std::vector<std::thread> flood;
  for (int i = 0; i < 4; ++i) {
    flood.emplace_back([&] {
      const auto stub = v1::IdentityService::NewStub(Channel());
      v1::JoinWorkerRequest request;
      request.set_token(MakeToken().value().text);
      request.set_worker_id("gpu-1");
      while (!is_over) {
        grpc::ClientContext context;
        context.set_deadline(After(kPatienceMs));
        context.AddMetadata(kJoinTokenMetadata, request.token());
        v1::JoinWorkerResponse answer;
        const grpc::Status status = stub->JoinWorker(&context, request, &answer);
        if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) n_refused += 1;
      }
    });
  }
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return n_refused > 0; }));
  const int n_before = n_refused;
  JoinWorker("gpu-1");
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return n_refused > n_before; }));  // the flood went on
  is_over = true;
  for (std::thread& one : flood) one.join();
  EXPECT_EQ(CountInLog("gpu-1.log", "worker_joined"), 1u);
  EXPECT_EQ(CountInLog("gpu-1.log", "not_joined_yet"), 0u) << ReadFile(At("gpu-1.log")).value();
}

// They come from anybody, as the calls that the coordinator refuses before a handler sees them.
TEST_F(NetworkTest, JoinsThatFailShareEntriesOfTheAuditLog) {
  InitAndStart();
  const auto stub = v1::IdentityService::NewStub(Channel());
  v1::JoinWorkerRequest request;
  request.set_token(MakeToken().value().text);
  request.set_worker_id("gpu-1");
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    for (int i = 0; i < 20; ++i) {
      grpc::ClientContext context;
      context.set_deadline(After(kPatienceMs));
      v1::JoinWorkerResponse answer;
      EXPECT_FALSE(stub->JoinWorker(&context, request, &answer).ok());
    }
    const Ran ran = Here({"admin", "audit", "-o", "json"});
    const Result<Json> entries = ParseJson(ran.out);
    return entries.ok() && std::ranges::any_of(*entries, [](const Json& entry) {
             return entry["method"] == "JoinWorker" && entry["outcome"] == "PERMISSION_DENIED" &&
                    entry["repeats"].get<std::int64_t>() > 1;
           });
  })) << Here({"admin", "audit", "-o", "json"}).out;
  const Ran changes = Here({"admin", "audit", "--changes"});
  EXPECT_EQ(changes.code, 0) << changes.err;
  EXPECT_NE(changes.out.find("CreateToken"), std::string::npos) << changes.out;
  EXPECT_EQ(changes.out.find("JoinWorker"), std::string::npos) << changes.out;
}

TEST_F(NetworkTest, JoinOutlivesAConnectionThatBreaks) {
  InitAndStart();
  const std::unique_ptr<Proxy> proxy = Proxy::Listen("127.0.0.1", 1).value();
  proxy->SetTarget(place);
  // The first connection looks at the certificate, the second one would carry the token.
  proxy->Set({.cut_number = 2});
  place = proxy->place();
  JoinWorker("gpu-1");
  EXPECT_GE(proxy->traffic().n_cut, 1);
  EXPECT_GE(proxy->traffic().n_connections, 4);  // one for the session
  EXPECT_EQ(CountInLog("gpu-1.log", "worker_joined"), 1u);
}

// The token is used up, but the worker has nothing for it.
TEST_F(NetworkTest, JoinOutlivesACoordinatorThatDiesBeforeItAnswers) {
  InitPki();
  admin = NewToken("admin");
  Start({}, "join_before_answer:exit");
  const std::string file = At("join-token");
  ASSERT_TRUE(WriteFileAtomic(file, NewJoinToken() + "\n", 0600).ok());
  worker = SpawnWorker("gpu-1", file);
  const auto ended = WaitFor(coordinator, kPatienceMs);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, kFailpointExitCode);
  // The worker may end as well, and be started again by its supervisor.
  Kill(worker);
  Start();
  worker = SpawnWorker("gpu-1", file);
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return CountInLog("gpu-1.log", "session_welcomed") > 0;
  })) << ReadFile(At("gpu-1.log")).value();
  // On another machine, the token is worth nothing.
  const auto refused = WaitFor(SpawnThief("gpu-1", file), kPatienceMs);
  ASSERT_TRUE(refused.ok() && *refused);
  EXPECT_EQ((*refused)->code, 77);
  EXPECT_EQ(CountInLog("thief.log", "has been used by worker gpu-1"), 1u);
}

// Whatever of its files it had written.
TEST_F(NetworkTest, JoinGoesOnWhereTheWorkerDied) {
  InitAndStart();
  for (const char* const at : {"worker_before_joined", "worker_after_joined"}) {
    const std::string name = Str("gpu-", at);
    const std::string file = At(Str("token-", at));
    ASSERT_TRUE(WriteFileAtomic(file, NewJoinToken() + "\n", 0600).ok());
    worker_env = {Str("LONGRUN_FAILPOINTS=", at, ":exit")};
    const auto ended = WaitFor(SpawnWorker(name, file), kPatienceMs);
    ASSERT_TRUE(ended.ok() && *ended);
    EXPECT_EQ((*ended)->code, kFailpointExitCode);
    worker_env.clear();
    for (int start = 1; start <= 2; ++start) {
      worker = SpawnWorker(name, file);
      EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
        return CountInLog(name + ".log", "session_welcomed") == static_cast<std::size_t>(start);
      })) << ReadFile(At(name + ".log")).value();
      Kill(worker);
    }
    EXPECT_EQ(CountInLog(name + ".log", "not_joined_again"), 0u);
    const std::vector<std::string> files = ListFolder(At(name + "/membership")).value();
    EXPECT_EQ(files, (std::vector<std::string>{"authority.pem", "certificate.pem", "joined-by",
                                               "key.pem"}));
  }
}

// systemd does not start a worker again that ends with 64 (deploy/systemd/longrun-worker.service).
TEST_F(NetworkTest, AFirstJoinIsTriedAgainIfTheNameCannotBeResolvedUnlessItIsNone) {
  InitPki();
  const std::string token = At("join-token");
  ASSERT_TRUE(WriteFileAtomic(token, NewJoinToken() + "\n", 0600).ok());
  const auto code_at = [&](const std::string& host) {
    place = {.host = host, .port = 7443};
    const auto ended = WaitFor(SpawnWorker("gpu-1", token), kPatienceMs);
    return ended.ok() && *ended ? (*ended)->code : -1;
  };
  EXPECT_EQ(code_at("nowhere.invalid"), 75);
  EXPECT_EQ(CountInLog("gpu-1.log", "cannot be resolved"), 1u) << ReadFile(At("gpu-1.log")).value();
  EXPECT_EQ(code_at("no..where"), 64);
  EXPECT_EQ(CountInLog("gpu-1.log", "expected HOST:PORT"), 1u);
}

// As the pods of a Job do, into which a Secret is mounted.
TEST_F(NetworkTest, WorkersThatShareAFolderOfTokensUseOneEach) {
  InitAndStart();
  const std::string tokens = At("tokens");
  ASSERT_TRUE(MakeFolders(tokens).ok());
  int none = SpawnWorker("gpu-0", tokens);
  auto ended = WaitFor(none, kPatienceMs);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, 78);
  EXPECT_EQ(CountInLog("gpu-0.log", "has no file with a join token"), 1u);

  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(WriteFileAtomic(JoinPath(tokens, name), NewJoinToken() + "\n", 0600).ok());
  }
  ASSERT_TRUE(MakeFolders(JoinPath(tokens, "..2026_01_01")).ok());
  std::vector<int> pids;
  for (const char* name : {"gpu-1", "gpu-2", "gpu-3"}) pids.push_back(SpawnWorker(name, tokens));
  for (const char* name : {"gpu-1.log", "gpu-2.log", "gpu-3.log"}) {
    EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return CountInLog(name, "session_welcomed") > 0; }))
        << ReadFile(At(name)).value();
  }
  for (int& pid : pids) Kill(pid);

  none = SpawnWorker("gpu-4", tokens);
  ended = WaitFor(none, kPatienceMs);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, 77);
  EXPECT_EQ(CountInLog("gpu-4.log", "refuses all 3 tokens in "), 1u)
      << ReadFile(At("gpu-4.log")).value();
  // The folder of one that has joined needs no token any more.
  ASSERT_TRUE(RemoveAll(tokens).ok());
  worker = SpawnWorker("gpu-2", tokens);
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return CountInLog("gpu-2.log", "session_welcomed") > 0;
  })) << ReadFile(At("gpu-2.log")).value();
}

TEST_F(NetworkTest, SweepFromALaptopRunsOnAWorkerThatHasJoined) {
  InitAndStart();
  ASSERT_TRUE(WriteFileAtomic(At("a.txt"), std::string(20'000, 'a')).ok());
  ASSERT_TRUE(WriteFileAtomic(At("b.txt"), std::string(5'000, 'b')).ok());
  const Ran imported =
      Here({"data", "import", "tiny", "--train", At("a.txt"), "--validation", At("b.txt")});
  ASSERT_EQ(imported.code, 0) << imported.err;
  JoinWorker("gpu-1");
  const std::string submitter = NewToken("submitter");
  ASSERT_EQ(Longrun({"login", place.Text(), "--ca-fingerprint", fingerprint}, submitter).code, 0);
  const std::string sweep = JoinPath(laptop, "a.yaml");
  ASSERT_TRUE(WriteFileAtomic(sweep, kTinySweep).ok());
  const Ran run = Longrun({"run", sweep});
  EXPECT_EQ(run.code, 0) << run.err << ReadFile(At("gpu-1.log")).value();
  EXPECT_NE(run.err.find("a service runs on context "), std::string::npos) << run.err;
  const Ran table = Longrun({"table", "a", "-o", "json"});
  EXPECT_EQ(table.code, 0);
  const Ran here = Here({"table", "a", "-o", "json"});
  EXPECT_EQ(table.out, here.out);
  EXPECT_NE(table.out.find("128"), std::string::npos) << table.out;
}

}  // namespace
}  // namespace longrun::coordinator
