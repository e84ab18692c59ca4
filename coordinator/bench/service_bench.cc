// longrun-service-bench [PART]: the coordinator under the load of many workers and of a large
// sweep, each number beside a ceiling of the same run. Without PART all parts run:
//
//   submit   100,000 runs in one submission, and what other callers wait for meanwhile. Ceiling:
//            the same rows copied by SQLite alone into an empty database with the same schema
//   orders   a sweep of 36,000 tasks is paused, resumed, cancelled and tried again, and what other
//            callers wait for meanwhile. Baseline: an idle coordinator
//   tasks    2,000 workers connect; 200 of them finish tasks that do nothing. The same with 1,000
//            workers over TLS. Ceiling: gRPC alone, a service that gives the same answers, but
//            decides and stores nothing
//   rows     200 workers send records at 204,800 rows/s in all, and wait for acknowledgements.
//            Ceiling: gRPC alone
//   tls      1,000 workers with certificates come back after the coordinator was killed. Ceiling:
//            gRPC alone with the same certificates
//   artifact a worker sends a file of 1 GB over TLS, and fetches it. Ceiling: the same bytes
//            through a TLS socket, which neither checks nor stores them
//   start    the coordinator starts with 10 million rows, none of them in memory. Ceiling: the
//            start with an empty database
//
// The workers are in this process and share its processors with the coordinator
// (fake_workers.h). Prints one JSON line per measurement (measurement.h).
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/measurement.h"
#include "base/program.h"
#include "base/random.h"
#include "base/str.h"
#include "coordinator/bench/daemon.h"
#include "coordinator/bench/fake_workers.h"
#include "coordinator/bench/filler.h"
#include "coordinator/bench/members.h"
#include "coordinator/bench/tls_socket.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "longrun/v1/sweeps.grpc.pb.h"
#include "proto/artifact_transfer.h"
#include "sweeps/coordinator_address.h"

namespace longrun::coordinator {
namespace {

constexpr int kRuns = 100'000;
constexpr int kRunsPerSeed = 4;  // position methods of the sweep (filler.cc)
constexpr int kSubmitRounds = 3;
constexpr int kRunsOfOrders = 18'000;  // of two tasks each
constexpr int kWorkers = 2'000;
constexpr int kBusy = 200;
constexpr int kTasksPerRound = 3'000;
constexpr int kTaskRounds = 5;
constexpr int kRecordsOfBatch = 64;
constexpr std::int64_t kBatchPeriodMs = 250;  // 200 workers, 256 rows each: 204,800 rows/s
constexpr std::int64_t kLoadMs = 5'000;
constexpr int kLoadRounds = 5;
constexpr int kTlsWorkers = 1'000;
constexpr int kTlsRounds = 3;
constexpr std::size_t kArtifactBytes = 1'000'000'000;
constexpr int kArtifactRounds = 3;
constexpr std::int64_t kStoredRows = 10'000'000;
constexpr int kSeriesOfTraining = 1'000;
constexpr int kSeedsOfSweep = 250;  // 2 million rows a sweep
constexpr int kStartRounds = 5;

double Percentile99(std::vector<double> values) {
  LR_CHECK(!values.empty());
  std::ranges::sort(values);
  return values[values.size() * 99 / 100];
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
  // The caller starts no call while one waits: a long wait is one sample, and the p99 hides it.
  Measurement longest = others;
  longest.name = "service: another caller's longest wait meanwhile";
  longest.target = "";
  for (int round = 0; round < kSubmitRounds; ++round) {
    const TempFolder folder;
    const std::string state = JoinPath(folder.path(), "state");
    std::string database;
    { Filler filler(state); }  // registers the dataset
    {
      Daemon daemon(state);
      const Stopwatch idle;
      const std::vector<double> idle_ms = AskUntil(daemon, [&] { return idle.Seconds() > 1.0; });
      others.baseline.push_back(Percentile99(idle_ms));
      longest.baseline.push_back(std::ranges::max(idle_ms));
      std::atomic<bool> submitted = false;
      double seconds = 0;
      std::thread submitter([&] {
        const Stopwatch stopwatch;
        Submit(daemon, kRuns);
        seconds = stopwatch.Seconds();
        submitted = true;
      });
      const std::vector<double> ms = AskUntil(daemon, [&] { return submitted.load(); });
      others.ours.push_back(Percentile99(ms));
      longest.ours.push_back(std::ranges::max(ms));
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
  Print(longest);
}

// ---- orders -------------------------------------------------------------------------------------

void Pause(v1::SweepService::Stub& stub) {
  v1::PauseSweepRequest request;
  request.set_sweep("bench");
  v1::PauseSweepResponse response;
  grpc::ClientContext context;
  Check(stub.PauseSweep(&context, request, &response));
  LR_CHECK(response.tasks_waiting() == 2 * kRunsOfOrders);
}

void Resume(v1::SweepService::Stub& stub) {
  v1::ResumeSweepRequest request;
  request.set_sweep("bench");
  v1::ResumeSweepResponse response;
  grpc::ClientContext context;
  Check(stub.ResumeSweep(&context, request, &response));
  LR_CHECK(response.was_paused());
}

void Cancel(v1::SweepService::Stub& stub) {
  v1::CancelSweepRequest request;
  request.set_sweep("bench");
  v1::CancelSweepResponse response;
  grpc::ClientContext context;
  Check(stub.CancelSweep(&context, request, &response));
  LR_CHECK(response.tasks_cancelled() == 2 * kRunsOfOrders);
}

void Retry(v1::SweepService::Stub& stub) {
  v1::RetryTasksRequest request;
  request.set_target("bench");
  v1::RetryTasksResponse response;
  grpc::ClientContext context;
  Check(stub.RetryTasks(&context, request, &response));
  LR_CHECK(response.tasks_retried() == 2 * kRunsOfOrders);
}

void MeasureOrders() {
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "state");
  { Filler filler(state); }  // registers the dataset
  Daemon daemon(state);
  Submit(daemon, kRunsOfOrders);
  const Stopwatch idle;
  const std::vector<double> idle_ms = AskUntil(daemon, [&] { return idle.Seconds() > 1.0; });
  const std::vector<std::pair<std::string_view, void (*)(v1::SweepService::Stub&)>> orders = {
      {"pause", Pause}, {"resume", Resume}, {"cancel", Cancel}, {"retry", Retry}};
  for (const auto& [name, order] : orders) {
    std::atomic<bool> is_over = false;
    double seconds = 0;
    std::thread user([&] {
      const auto stub = v1::SweepService::NewStub(daemon.channel());
      const Stopwatch stopwatch;
      order(*stub);
      seconds = stopwatch.Seconds();
      is_over = true;
    });
    const std::vector<double> ms = AskUntil(daemon, [&] { return is_over.load(); });
    user.join();
    Print({.name = Str("service: ", name, " of ", 2 * kRunsOfOrders, " tasks"),
           .unit = "s",
           .ours = {seconds}});
    Print({.name = Str("service: another caller's longest wait during the ", name),
           .unit = "ms",
           .ours = {std::ranges::max(ms)},
           .baseline = {std::ranges::max(idle_ms)},
           .what_baseline = "an idle coordinator",
           .target = "<= 100"});
  }
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

enum class Wire { kUnixSocket, kTls };

// A coordinator with work for `n_runs`, its ceiling, and a fleet for each.
struct World {
  World(int n_runs, int n_workers, int n_busy, Wire wire) {
    { Filler filler(state); }
    const bool has_tls = wire == Wire::kTls;
    if (has_tls) members.emplace(state, n_workers);
    daemon.emplace(state, has_tls ? "127.0.0.1:0" : "");
    UploadCheckpoint(*daemon);
    Submit(*daemon, n_runs);
    const auto connect = [&](const std::string& address, double* seconds) {
      auto fleet = std::make_unique<Fleet>(
          FleetOptions{.n_workers = n_workers, .n_busy = n_busy, .channel = [this, address](int i) {
                         return OwnChannel(address, members ? members->CredentialsOf(i)
                                                            : grpc::InsecureChannelCredentials());
                       }});
      const Stopwatch stopwatch;
      fleet->Connect();
      fleet->AwaitWelcomes(1);
      *seconds = stopwatch.Seconds();
      return fleet;
    };
    const auto socket_of = ReadCoordinatorAddress(state);
    LR_CHECK(socket_of.ok());
    ours = connect(has_tls ? Str("localhost:", daemon->port()) : *socket_of, &connected_s);
    v1::Start offer;
    const Stopwatch waiting;
    while ((offer = ours->offer()).attempt().empty()) {
      LR_CHECK(waiting.Seconds() < 60.0);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const std::string place =
        has_tls ? std::string("127.0.0.1:0") : Str("unix:", JoinPath(folder.path(), "echo"));
    echo.emplace(place, members ? members->ServerCredentials() : grpc::InsecureServerCredentials(),
                 std::move(offer));
    ceiling = connect(has_tls ? Str("localhost:", echo->port()) : place, &echo_connected_s);
  }
  ~World() {
    ceiling.reset();
    echo.reset();
    ours.reset();
  }

  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "state");
  std::optional<Members> members;
  std::optional<Daemon> daemon;
  std::optional<Echo> echo;
  std::unique_ptr<Fleet> ours, ceiling;
  double connected_s = 0, echo_connected_s = 0;
};

void MeasureTasksOf(int n_workers, Wire wire) {
  const std::string who =
      Str(n_workers, wire == Wire::kTls ? " workers with certificates" : " workers");
  Measurement connecting = {
      .name = Str("service: ", who, " connect"), .unit = "s", .what_baseline = "gRPC alone"};
  Measurement tasks = {.name = Str("service: tasks that do nothing, ", kBusy, " of ", who, " busy"),
                       .unit = "tasks/s",
                       .what_baseline = "gRPC alone",
                       .target = ">= 1,500"};
  Measurement cpu = {.name = "service: the same, per processor second of the coordinator",
                     .unit = "tasks/s"};
  Measurement idle = {.name = Str("service: processor time for ", who, " that are idle"),
                      .unit = "ms/s"};
  const int n_tasks = kTasksPerRound * (kTaskRounds + 1);
  World world(n_tasks, n_workers, kBusy, wire);
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

void MeasureTasks() {
  MeasureTasksOf(kWorkers, Wire::kUnixSocket);
  MeasureTasksOf(kTlsWorkers, Wire::kTls);
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
  World world(kBusy, kBusy, kBusy, Wire::kUnixSocket);
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

void MeasureTls() {
  Measurement back = {
      .name = Str("service: ", kTlsWorkers, " workers with certificates come back after a kill"),
      .unit = "s",
      .what_baseline = "gRPC alone, connecting",
      .target = "<= 5"};
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "state");
  { Filler filler(state); }
  const Members members(state, kTlsWorkers);
  std::optional<Daemon> daemon;
  daemon.emplace(state, "127.0.0.1:0");
  const int port = daemon->port();
  const auto options = [&](int to_port) {
    return FleetOptions{.n_workers = kTlsWorkers,
                        .channel =
                            [&, to_port](int i) {
                              return OwnChannel(Str("localhost:", to_port),
                                                members.CredentialsOf(i));
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

    Echo echo("127.0.0.1:0", members.ServerCredentials(), {});
    Fleet plain(options(echo.port()));
    const Stopwatch connecting;
    plain.Connect();
    plain.AwaitWelcomes(1);
    back.baseline.push_back(connecting.Seconds());
  }
  Print(back);
}

// ---- artifact -----------------------------------------------------------------------------------

// A file of random bytes, as weights are; each has another digest.
LocalArtifact NewFile(const std::string& path, std::uint64_t seed) {
  SeededRandom random(seed);
  std::string bytes(kArtifactBytes, '\0');
  for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
    const std::uint64_t word = random.Next();
    std::memcpy(&bytes[i], &word, sizeof word);
  }
  LR_CHECK(WriteFileAtomic(path, bytes).ok());
  return {.path = path, .sha256 = Sha256Hex(bytes), .n_bytes = std::int64_t{kArtifactBytes}};
}

void Expect(const Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  LR_CHECK(status.ok());
}

void MeasureArtifact() {
  constexpr double kMegabytes = 1e-6 * kArtifactBytes;
  Measurement up = {.name = "service: a checkpoint of 1 GB to the coordinator, over TLS",
                    .unit = "MB/s",
                    .what_baseline = "a TLS socket alone",
                    .target = ">= 0.7 of the socket"};
  Measurement down = up;
  down.name = "service: the same from the coordinator";
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "state");
  { Filler filler(state); }
  const Members members(state, 1);
  const Daemon daemon(state, "127.0.0.1:0");
  const auto stub = v1::ArtifactService::NewStub(
      OwnChannel(Str("localhost:", daemon.port()), members.CredentialsOf(0)));
  for (int round = -1; round < kArtifactRounds; ++round) {
    const LocalArtifact file =
        NewFile(JoinPath(folder.path(), "weights"), static_cast<std::uint64_t>(round + 1));
    const Stopwatch sending;
    Expect(UploadFiles(*stub, {file},
                       {.new_context =
                            [](std::chrono::system_clock::duration deadline) {
                              auto context = std::make_shared<grpc::ClientContext>();
                              context->set_deadline(std::chrono::system_clock::now() + deadline);
                              return context;
                            },
                        .question_deadline = std::chrono::minutes(1),
                        .file_deadline = std::chrono::minutes(10)}));
    const double up_s = sending.Seconds();
    LocalArtifact copy = file;
    copy.path = JoinPath(folder.path(), "copy");
    grpc::ClientContext context;
    const Stopwatch receiving;
    Expect(DownloadFile(*stub, context, copy));
    const double down_s = receiving.Seconds();
    const double socket_s =
        TlsSocketSeconds(members.server().key, members.server().chain, file.path);
    LR_CHECK(RemoveAll(copy.path).ok());
    if (round < 0) continue;
    up.ours.push_back(kMegabytes / up_s);
    down.ours.push_back(kMegabytes / down_s);
    for (Measurement* const one : {&up, &down}) one->baseline.push_back(kMegabytes / socket_s);
  }
  Print(up);
  Print(down);
}

// ---- start --------------------------------------------------------------------------------------

// The operating system forgets the file's bytes, so that the next start reads them from the disk.
void Forget(const std::string& path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  LR_CHECK(file.is_open() && posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
}

void MeasureStart() {
  const TempFolder folder;
  const std::string full = JoinPath(folder.path(), "full"),
                    empty = JoinPath(folder.path(), "empty");
  std::int64_t n_rows = 0;
  {
    Filler filler(full);
    filler.Connect();
    for (int first_seed = 1; n_rows < kStoredRows; first_seed += kSeedsOfSweep) {
      filler.Submit({.name = Str("sweep-", first_seed),
                     .first_seed = first_seed,
                     .n_seeds = kSeedsOfSweep,
                     .lengths = {64, 128, 256, 512},
                     .n_series = kSeriesOfTraining});
      filler.Run();
      n_rows = filler.n_series() + filler.n_results();
    }
  }
  { Filler filler(empty); }
  Measurement start = {.name = Str("service: start with ", n_rows, " rows until it answers"),
                       .unit = "s",
                       .what_baseline = "an empty database",
                       .target = "<= 2"};
  for (int round = 0; round < kStartRounds; ++round) {
    const auto seconds = [](const std::string& state) {
      Forget(JoinPath(state, "longrun.db"));
      const Stopwatch stopwatch;
      const Daemon daemon(state);
      (void)AskUntil(daemon, [] { return true; });
      return stopwatch.Seconds();
    };
    start.ours.push_back(seconds(full));
    start.baseline.push_back(seconds(empty));
  }
  Print(start);
}

int Main(int argc, char** argv) {
  const std::vector<std::pair<std::string_view, void (*)()>> parts = {
      {"submit", MeasureSubmit}, {"orders", MeasureOrders}, {"tasks", MeasureTasks},
      {"rows", MeasureRows},     {"tls", MeasureTls},       {"artifact", MeasureArtifact},
      {"start", MeasureStart}};
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
