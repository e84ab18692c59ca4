// longrun-service-bench [PART]: the coordinator under the load of many workers and of a large
// sweep, each number beside a ceiling of the same run. Without PART all parts run:
//
//   submit   100,000 runs in one submission, and what other callers wait for meanwhile. Ceiling:
//            the same rows copied by SQLite alone into an empty database with the same schema
//   tasks    2,000 workers connect; 200 of them finish tasks that do nothing. Ceiling: gRPC alone,
//            a service that gives the same answers, but decides and stores nothing
//   rows     200 workers send records at 200,000 rows/s in all, and wait for acknowledgements.
//            Ceiling: gRPC alone
//   tls      1,000 workers with certificates come back after the coordinator was killed. Ceiling:
//            gRPC alone with the same certificates
//
// The workers are in this process and share its processors with the coordinator
// (fake_workers.h). Prints one JSON line per measurement (measurement.h).
#include <grpcpp/grpcpp.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/measurement.h"
#include "base/program.h"
#include "base/str.h"
#include "coordinator/bench/daemon.h"
#include "coordinator/bench/fake_workers.h"
#include "coordinator/bench/filler.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "longrun/v1/identity.grpc.pb.h"
#include "longrun/v1/sweeps.grpc.pb.h"
#include "pki/certificate.h"
#include "pki/files.h"
#include "sweeps/coordinator_address.h"

namespace longrun::coordinator {
namespace {

constexpr int kRuns = 100'000;
constexpr int kRunsPerSeed = 4;  // position methods of the sweep (filler.cc)
constexpr int kSubmitRounds = 3;
constexpr int kWorkers = 2'000;
constexpr int kBusy = 200;
constexpr int kTasksPerRound = 3'000;
constexpr int kTaskRounds = 5;
constexpr int kRecordsOfBatch = 64;
constexpr std::int64_t kBatchPeriodMs = 256;  // 200 workers, 256 rows each: 200,000 rows/s
constexpr std::int64_t kLoadMs = 5'000;
constexpr int kLoadRounds = 5;
constexpr int kTlsWorkers = 1'000;
constexpr int kTlsRounds = 3;
constexpr std::int64_t kHourMs = 3'600'000;

double Percentile99(std::vector<double> values) {
  LR_CHECK(!values.empty());
  std::ranges::sort(values);
  return values[values.size() * 99 / 100];
}

void Check(const grpc::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error_message().c_str());
  LR_CHECK(status.ok());
}

std::shared_ptr<grpc::Channel> OwnChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, credentials, own);
}

void Submit(const Daemon& daemon, int n_runs) {
  const auto stub = v1::SweepService::NewStub(daemon.channel());
  v1::SubmitSweepRequest request;
  request.set_yaml(YamlOf(
      {.name = "bench", .first_seed = 1, .n_seeds = n_runs / kRunsPerSeed, .lengths = {64}}));
  request.set_file_name("bench.yaml");
  v1::SubmitSweepResponse response;
  grpc::ClientContext context;
  Check(stub->SubmitSweep(&context, request, &response));
  LR_CHECK(response.created());
}

// ---- submit -------------------------------------------------------------------------------------

// How long a caller waits who asks for the sweeps and the workers again and again, until `over`.
std::vector<double> AskUntil(const Daemon& daemon, const std::function<bool()>& over) {
  constexpr auto kPause = std::chrono::milliseconds(2);
  const auto stub = v1::SweepService::NewStub(daemon.channel());
  std::vector<double> ms;
  do {
    {
      v1::ListSweepsResponse response;
      grpc::ClientContext context;
      const Stopwatch stopwatch;
      Check(stub->ListSweeps(&context, {}, &response));
      ms.push_back(1e3 * stopwatch.Seconds());
    }
    v1::ListWorkersResponse response;
    grpc::ClientContext context;
    const Stopwatch stopwatch;
    Check(stub->ListWorkers(&context, {}, &response));
    ms.push_back(1e3 * stopwatch.Seconds());
    std::this_thread::sleep_for(kPause);
  } while (!over());
  return ms;
}

void Execute(sqlite3* db, const std::string& sql) {
  LR_CHECK(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
}

// Seconds in which SQLite copies all rows of the database into an empty one.
double CopySeconds(const std::string& full_path, const std::string& empty_folder) {
  std::string path;
  {
    const auto store = Store::Open(empty_folder);
    LR_CHECK(store.ok());
    path = (*store)->database_path();
  }
  sqlite3* db = nullptr;
  LR_CHECK(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
  Execute(db, Str("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF;"
                  "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -65536; ATTACH '",
                  full_path, "' AS full_one"));
  std::string copies;
  const auto add = [](void* text, int, char** columns, char**) {
    *static_cast<std::string*>(text) +=
        Str("INSERT OR IGNORE INTO main.", columns[0], " SELECT * FROM full_one.", columns[0], ";");
    return 0;
  };
  LR_CHECK(sqlite3_exec(db,
                        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND "
                        "name NOT LIKE 'sqlite_%'",
                        add, &copies, nullptr) == SQLITE_OK);
  const Stopwatch stopwatch;
  Execute(db, Str("BEGIN IMMEDIATE;", copies, "COMMIT"));
  const double seconds = stopwatch.Seconds();
  sqlite3_close(db);
  return seconds;
}

void MeasureSubmit() {
  Measurement submission = {.name = Str("service: submission of ", kRuns, " runs"),
                            .unit = "s",
                            .what_baseline = "SQLite alone, the same rows",
                            .target = "<= 5"};
  Measurement others = {.name = "service: another caller's wait meanwhile, p99",
                        .unit = "ms",
                        .what_baseline = "an idle coordinator",
                        .target = "<= 100"};
  for (int round = 0; round < kSubmitRounds; ++round) {
    const TempFolder folder;
    const std::string state = JoinPath(folder.path(), "state");
    std::string database;
    { Filler filler(state); }  // registers the dataset
    {
      Daemon daemon(state);
      const Stopwatch idle;
      others.baseline.push_back(
          Percentile99(AskUntil(daemon, [&] { return idle.Seconds() > 1.0; })));
      std::atomic<bool> submitted = false;
      double seconds = 0;
      std::thread submitter([&] {
        const Stopwatch stopwatch;
        Submit(daemon, kRuns);
        seconds = stopwatch.Seconds();
        submitted = true;
      });
      others.ours.push_back(Percentile99(AskUntil(daemon, [&] { return submitted.load(); })));
      submitter.join();
      submission.ours.push_back(seconds);
    }
    {
      const auto store = Store::Open(state);
      LR_CHECK(store.ok());
      database = (*store)->database_path();
    }
    submission.baseline.push_back(CopySeconds(database, JoinPath(folder.path(), "plain")));
  }
  Print(submission);
  Print(others);
}

// ---- tasks and rows -----------------------------------------------------------------------------

// The checkpoint that every training of FakeWorker reports.
void UploadCheckpoint(const Daemon& daemon) {
  const auto stub = v1::ArtifactService::NewStub(daemon.channel());
  grpc::ClientContext context;
  v1::UploadArtifactResponse response;
  const auto upload = stub->UploadArtifact(&context, &response);
  const std::string bytes = FakeCheckpoint();
  v1::UploadArtifactRequest request;
  request.set_sha256(Sha256Hex(bytes));
  request.set_total_bytes(static_cast<std::int64_t>(bytes.size()));
  request.set_data(bytes);
  LR_CHECK(upload->Write(request) && upload->WritesDone());
  Check(upload->Finish());
}

class Echo {
 public:
  Echo(const std::string& address, const std::shared_ptr<grpc::ServerCredentials>& credentials,
       v1::Start offer)
      : service_(MakeEchoCoordinator(std::move(offer))) {
    grpc::ServerBuilder builder;
    builder.RegisterService(service_.get());
    builder.AddListeningPort(address, credentials, &port_);
    server_ = builder.BuildAndStart();
    LR_CHECK(server_ != nullptr);
  }
  ~Echo() { server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1)); }
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;
  int port() const { return port_; }

 private:
  std::unique_ptr<grpc::Service> service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// A coordinator with work for `n_runs`, its ceiling, and a fleet for each.
struct World {
  World(int n_runs, int n_workers, int n_busy) {
    { Filler filler(state); }
    daemon.emplace(state);
    UploadCheckpoint(*daemon);
    Submit(*daemon, n_runs);
    const auto connect = [&](const std::string& address, double* seconds) {
      auto fleet = std::make_unique<Fleet>(
          FleetOptions{.n_workers = n_workers, .n_busy = n_busy, .channel = [address](int) {
                         return OwnChannel(address, grpc::InsecureChannelCredentials());
                       }});
      const Stopwatch stopwatch;
      fleet->Connect();
      fleet->AwaitWelcomes(1);
      *seconds = stopwatch.Seconds();
      return fleet;
    };
    const auto address = ReadCoordinatorAddress(state);
    LR_CHECK(address.ok());
    ours = connect(*address, &connected_s);
    v1::Start offer;
    const Stopwatch waiting;
    while ((offer = ours->offer()).attempt().empty()) {
      LR_CHECK(waiting.Seconds() < 60.0);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const std::string socket = Str("unix:", JoinPath(folder.path(), "echo"));
    echo.emplace(socket, grpc::InsecureServerCredentials(), std::move(offer));
    ceiling = connect(socket, &echo_connected_s);
  }
  ~World() {
    ceiling.reset();
    echo.reset();
    ours.reset();
  }

  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "state");
  std::optional<Daemon> daemon;
  std::optional<Echo> echo;
  std::unique_ptr<Fleet> ours, ceiling;
  double connected_s = 0, echo_connected_s = 0;
};

void MeasureTasks() {
  Measurement connecting = {.name = Str("service: ", kWorkers, " workers connect"),
                            .unit = "s",
                            .what_baseline = "gRPC alone"};
  Measurement tasks = {
      .name = Str("service: tasks that do nothing, ", kBusy, " of ", kWorkers, " workers busy"),
      .unit = "tasks/s",
      .what_baseline = "gRPC alone",
      .target = ">= 1,500"};
  Measurement cpu = {.name = "service: the same, per processor second of the coordinator",
                     .unit = "tasks/s"};
  Measurement idle = {.name = Str("service: processor time for ", kWorkers, " idle workers"),
                      .unit = "ms/s"};
  const int n_tasks = kTasksPerRound * (kTaskRounds + 1);
  World world(n_tasks, kWorkers, kBusy);
  connecting.ours.push_back(world.connected_s);
  connecting.baseline.push_back(world.echo_connected_s);
  for (int round = -1; round < kTaskRounds; ++round) {  // round -1: warm-up
    const double cpu_before = world.daemon->CpuSeconds();
    const Stopwatch stopwatch;
    world.ours->FinishAttempts(kTasksPerRound);
    const double seconds = stopwatch.Seconds(), cpu_s = world.daemon->CpuSeconds() - cpu_before;
    const Stopwatch plain;
    world.ceiling->FinishAttempts(kTasksPerRound);
    const double plain_s = plain.Seconds();
    const double idle_before = world.daemon->CpuSeconds();
    const Stopwatch quiet;
    std::this_thread::sleep_for(std::chrono::seconds(2));
    const double idle_s = world.daemon->CpuSeconds() - idle_before, quiet_s = quiet.Seconds();
    if (round < 0) continue;
    tasks.ours.push_back(kTasksPerRound / seconds);
    tasks.baseline.push_back(kTasksPerRound / plain_s);
    cpu.ours.push_back(kTasksPerRound / cpu_s);
    idle.ours.push_back(1e3 * idle_s / quiet_s);
  }
  for (const Measurement& one : {connecting, tasks, cpu, idle}) Print(one);
}

void MeasureRows() {
  Measurement rows = {.name = Str("service: rows of ", kBusy, " workers"),
                      .unit = "rows/s",
                      .what_baseline = "gRPC alone",
                      .target = ">= 200,000"};
  Measurement wait = {.name = "service: their wait for an acknowledgement, p99",
                      .unit = "ms",
                      .what_baseline = "gRPC alone",
                      .target = "<= 100"};
  World world(kBusy, kBusy, kBusy);
  for (int round = -1; round < kLoadRounds; ++round) {
    const Fleet::Load load = world.ours->SendSeries(kRecordsOfBatch, kBatchPeriodMs, kLoadMs);
    const Fleet::Load plain = world.ceiling->SendSeries(kRecordsOfBatch, kBatchPeriodMs, kLoadMs);
    if (round < 0) continue;
    rows.ours.push_back(load.rows_per_s);
    rows.baseline.push_back(plain.rows_per_s);
    wait.ours.push_back(Percentile99(load.ack_ms));
    wait.baseline.push_back(Percentile99(plain.ack_ms));
  }
  Print(rows);
  Print(wait);
}

// ---- tls ----------------------------------------------------------------------------------------

struct Member {
  std::string key, certificate;
};

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

// Joins worker `id` with a token made for it.
Member Join(v1::IdentityService::Stub& stub, const std::string& id) {
  Result<std::string> key = NewPrivateKey();
  LR_CHECK(key.ok());
  const Result<std::string> signing_request = NewSigningRequest(*key, id);
  LR_CHECK(signing_request.ok());
  v1::JoinWorkerRequest request;
  request.set_token(NewToken(stub, "worker"));
  request.set_worker_id(id);
  request.set_signing_request(*signing_request);
  v1::JoinWorkerResponse response;
  grpc::ClientContext joining;
  Check(stub.JoinWorker(&joining, request, &response));
  return {.key = std::move(key).value(), .certificate = response.certificate()};
}

void MeasureTls() {
  Measurement back = {
      .name = Str("service: ", kTlsWorkers, " workers with certificates come back after a kill"),
      .unit = "s",
      .what_baseline = "gRPC alone, connecting",
      .target = "<= 5"};
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "state");
  { Filler filler(state); }
  LR_CHECK(InitPki(state, {"localhost"}, WallMs()).ok());
  const PkiPaths paths = PkiPathsOf(state);
  const std::string authority = ReadOrDie(paths.authority);
  std::vector<Member> members;
  {
    Daemon local(state);
    const auto stub = v1::IdentityService::NewStub(local.channel());
    (void)NewToken(*stub, "admin");  // without one, no coordinator listens on a network
    for (int i = 0; i < kTlsWorkers; ++i) members.push_back(Join(*stub, Str("w-", i)));
  }
  std::optional<Daemon> daemon;
  daemon.emplace(state, "127.0.0.1:0");
  const int port = daemon->port();
  const auto options = [&](int to_port) {
    return FleetOptions{.n_workers = kTlsWorkers,
                        .channel =
                            [&, to_port](int i) {
                              const Member& member = members[static_cast<std::size_t>(i)];
                              return OwnChannel(
                                  Str("localhost:", to_port),
                                  grpc::SslCredentials({.pem_root_certs = authority,
                                                        .pem_private_key = member.key,
                                                        .pem_cert_chain = member.certificate}));
                            },
                        .reconnects = true};
  };
  Fleet fleet(options(port));
  fleet.Connect();
  fleet.AwaitWelcomes(1);
  for (int round = 0; round < kTlsRounds; ++round) {
    daemon->Kill();
    const Stopwatch stopwatch;
    daemon.emplace(state, Str("127.0.0.1:", port));
    fleet.AwaitWelcomes(round + 2);
    back.ours.push_back(stopwatch.Seconds());

    grpc::SslServerCredentialsOptions tls(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = authority;
    tls.pem_key_cert_pairs = {{ReadOrDie(paths.key), ReadOrDie(paths.chain)}};
    Echo echo("127.0.0.1:0", grpc::SslServerCredentials(tls), {});
    Fleet plain(options(echo.port()));
    const Stopwatch connecting;
    plain.Connect();
    plain.AwaitWelcomes(1);
    back.baseline.push_back(connecting.Seconds());
  }
  Print(back);
}

int Main(int argc, char** argv) {
  const std::vector<std::pair<std::string_view, void (*)()>> parts = {{"submit", MeasureSubmit},
                                                                      {"tasks", MeasureTasks},
                                                                      {"rows", MeasureRows},
                                                                      {"tls", MeasureTls}};
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  bool is_known = wanted.empty();
  for (const auto& [name, measure] : parts) {
    if (!wanted.empty() && wanted != name) continue;
    is_known = true;
    measure();
  }
  if (is_known) return 0;
  std::fprintf(stderr, "longrun-service-bench: there is no part \"%s\"\n", argv[1]);
  return 64;
}

}  // namespace
}  // namespace longrun::coordinator

int main(int argc, char** argv) {
  return longrun::RunMain("longrun-service-bench", longrun::coordinator::Main, argc, argv);
}
