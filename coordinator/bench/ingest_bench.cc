// longrun-ingest-bench [RECORDS [ROUNDS]]: from journal to acknowledged row. A simulated worker
// sends RECORDS `series` records of four metrics per round (default 20480) over a session of a real
// coordinator, which parses them, decides and commits with synchronous=FULL, until the last is
// acknowledged. The baselines, in the same rounds:
//
//   SQLite alone   the same rows into the same table, in transactions of as many records, on a
//                  connection of its own without foreign keys; no parsing, no acknowledgement
//   gRPC alone     the same bytes over the same kind of stream, each batch answered with an Ack
//
// Prints one JSON line per measurement (measurement.h).
#include <grpcpp/grpcpp.h>
#include <sqlite3.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/measurement.h"
#include "base/program.h"
#include "base/str.h"
#include "coordinator/bench/daemon.h"
#include "coordinator/bench/fake_workers.h"
#include "coordinator/bench/filler.h"
#include "coordinator/bench/worker_messages.h"
#include "longrun/v1/session.grpc.pb.h"

namespace longrun::coordinator {
namespace {

constexpr int kRecords = 40 * 512;
constexpr int kRounds = 9;
constexpr int kBatchRecords = 512;         // as a worker sends them
constexpr int kTransactionRecords = 2000;  // the most that the coordinator's core commits at once

// ---- a worker's side of a session ---------------------------------------------------------------

class Peer {
 public:
  explicit Peer(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::WorkerSessionService::NewStub(channel)), stream_(stub_->Session(&context_)) {}
  ~Peer() {
    stream_->WritesDone();
    v1::CoordinatorMessage rest;
    while (stream_->Read(&rest)) {
    }
    (void)stream_->Finish();
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void Write(const v1::WorkerMessage& message) { LR_CHECK(stream_->Write(message)); }
  v1::CoordinatorMessage Read() {
    v1::CoordinatorMessage message;
    LR_CHECK(stream_->Read(&message));
    return message;
  }
  // Sends all messages, and returns when `last_seq` is acknowledged.
  void SendAll(const std::vector<v1::WorkerMessage>& messages, std::int64_t last_seq) {
    std::thread acknowledged([&] {
      while (true) {
        const v1::CoordinatorMessage message = Read();
        LR_CHECK(!message.has_nack() && !message.has_fenced());
        if (message.has_ack() && message.ack().durable_seq() >= last_seq) return;
      }
    });
    for (const v1::WorkerMessage& message : messages) Write(message);
    acknowledged.join();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::WorkerSessionService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> stream_;
};

// Accepts the first task that the coordinator offers.
v1::Start Begin(Peer& peer) {
  peer.Write(HelloOf(BenchWorker(1)));
  while (true) {
    const v1::CoordinatorMessage message = peer.Read();
    if (!message.has_start()) continue;
    peer.Write(AcceptedOf(message.start()));
    return message.start();
  }
}

std::vector<v1::WorkerMessage> SeriesBatches(const v1::Start& start, std::int64_t first_seq,
                                             int n_records) {
  std::vector<v1::WorkerMessage> batches;
  for (int begin = 0; begin < n_records; begin += kBatchRecords) {
    std::vector<std::string> lines;
    for (int i = begin; i < std::min(n_records, begin + kBatchRecords); ++i) {
      lines.push_back(SeriesLine(first_seq + i));
    }
    batches.push_back(BatchOf(start, first_seq + begin, std::move(lines)));
  }
  return batches;
}

// ---- SQLite alone -------------------------------------------------------------------------------

class PlainSqlite {
 public:
  // A database with the coordinator's schema.
  explicit PlainSqlite(const std::string& folder) {
    std::string path;
    {
      const auto store = Store::Open(folder);
      LR_CHECK(store.ok());
      path = (*store)->database_path();
    }
    LR_CHECK(sqlite3_open(path.c_str(), &db_) == SQLITE_OK);
    // The coordinator's core, too, checkpoints the WAL only between its transactions.
    Execute(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF;"
        "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -65536");
    for (const char* metric : kMetrics) {
      Execute(Str("INSERT INTO metric_name (name) VALUES ('", metric, "')"));
    }
    const char* const insert =
        "INSERT INTO series (attempt, metric, step, value, t_ms, seq) VALUES (?, ?, ?, ?, ?, ?)";
    LR_CHECK(sqlite3_prepare_v2(db_, insert, -1, &insert_, nullptr) == SQLITE_OK);
  }
  ~PlainSqlite() {
    sqlite3_finalize(insert_);
    sqlite3_close(db_);
  }
  PlainSqlite(const PlainSqlite&) = delete;
  PlainSqlite& operator=(const PlainSqlite&) = delete;

  void Write(const std::string& attempt, std::int64_t first_seq, int n_records) {
    for (int begin = 0; begin < n_records; begin += kTransactionRecords) {
      Execute("BEGIN IMMEDIATE");
      for (int i = begin; i < std::min(n_records, begin + kTransactionRecords); ++i) {
        WriteRecord(attempt, first_seq + i);
      }
      Execute("COMMIT");
    }
  }

  // Called between rounds.
  void EmptyLog() { Execute("PRAGMA wal_checkpoint(TRUNCATE)"); }

 private:
  void WriteRecord(const std::string& attempt, std::int64_t seq) {
    for (std::size_t m = 0; m < kRowsOfRecord; ++m) {
      sqlite3_bind_text(insert_, 1, attempt.data(), static_cast<int>(attempt.size()),
                        SQLITE_STATIC);
      sqlite3_bind_int64(insert_, 2, static_cast<std::int64_t>(m) + 1);
      sqlite3_bind_int64(insert_, 3, seq);
      sqlite3_bind_double(insert_, 4, MetricOf(m, seq));
      sqlite3_bind_int64(insert_, 5, seq);
      sqlite3_bind_int64(insert_, 6, seq);
      LR_CHECK(sqlite3_step(insert_) == SQLITE_DONE);
      LR_CHECK(sqlite3_reset(insert_) == SQLITE_OK);
    }
  }
  void Execute(const std::string& sql) {
    LR_CHECK(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  }

  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
};

// ---- rounds -------------------------------------------------------------------------------------

void SubmitOneSweep(const std::string& folder) {
  Filler filler(folder);
  filler.Submit({.name = "bench", .first_seed = 1, .n_seeds = 1, .lengths = {64}});
}

int Main(int argc, char** argv) {
  const int n_records = IntArgument(argc, argv, 1, kRecords, 10'000'000);
  const int n_rounds = IntArgument(argc, argv, 2, kRounds, 1000);
  const double n_rows = static_cast<double>(n_records) * kRowsOfRecord;
  const TempFolder folder;
  const std::string state = JoinPath(folder.path(), "state");
  SubmitOneSweep(state);
  Daemon daemon(state);
  Peer worker(daemon.channel());
  const v1::Start start = Begin(worker);
  worker.SendAll({BatchOf(start, 1, FirstLines(start.attempt()))}, 2);

  const std::unique_ptr<grpc::Service> service = MakeEchoCoordinator(start);
  grpc::ServerBuilder builder;
  builder.RegisterService(service.get());
  const std::string address = Str("unix:", JoinPath(folder.path(), "echo"));
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.SetMaxReceiveMessageSize(-1);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  LR_CHECK(server != nullptr);
  auto echo =
      std::make_unique<Peer>(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  PlainSqlite sqlite(JoinPath(folder.path(), "plain"));

  Measurement wall = {.name = "ingest: journal to acknowledged row",
                      .unit = "rows/s",
                      .what_baseline = "SQLite alone",
                      .target = ">= 100,000"};
  Measurement cpu = {.name = "ingest: rows per processor second of the coordinator",
                     .unit = "rows/s",
                     .what_baseline = "SQLite alone"};
  Measurement grpc = {.name = "ingest: journal to acknowledged row, beside gRPC",
                      .unit = "rows/s",
                      .what_baseline = "gRPC alone"};
  std::int64_t seq = 3;
  for (int round = -1; round < n_rounds; ++round) {  // round -1: warm-up
    const std::vector<v1::WorkerMessage> batches = SeriesBatches(start, seq, n_records);
    const std::int64_t last_seq = seq + n_records - 1;
    const double cpu_before = daemon.CpuSeconds();
    const Stopwatch ours;
    worker.SendAll(batches, last_seq);
    const double ours_s = ours.Seconds();
    const double ours_cpu_s = daemon.CpuSeconds() - cpu_before;

    const double sqlite_before = ThreadCpuSeconds();
    const Stopwatch plain;
    sqlite.Write(start.attempt(), seq, n_records);
    const double plain_s = plain.Seconds();
    const double plain_cpu_s = ThreadCpuSeconds() - sqlite_before;

    const Stopwatch wire;
    echo->SendAll(batches, last_seq);
    const double wire_s = wire.Seconds();
    sqlite.EmptyLog();
    seq += n_records;
    if (round < 0) continue;
    wall.ours.push_back(n_rows / ours_s);
    wall.baseline.push_back(n_rows / plain_s);
    cpu.ours.push_back(n_rows / ours_cpu_s);
    cpu.baseline.push_back(n_rows / plain_cpu_s);
    grpc.ours.push_back(n_rows / ours_s);
    grpc.baseline.push_back(n_rows / wire_s);
  }
  Print(wall);
  Print(cpu);
  Print(grpc);
  echo.reset();
  server->Shutdown();
  return 0;
}

}  // namespace
}  // namespace longrun::coordinator

int main(int argc, char** argv) {
  return longrun::RunMain("longrun-ingest-bench", longrun::coordinator::Main, argc, argv);
}
