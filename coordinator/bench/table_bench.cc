// longrun-table-bench [ROWS [ROUNDS [RUNS]]]: requests one sweep's table while the database holds
// ROWS result rows of other sweeps (default a million), compared with the same table in a database
// that holds nothing else. Requests it in two ways: over the socket as the command line does
// (GetResults), and with the complete `longrun table`. Then requests table and report of a sweep of
// RUNS runs (default 3,000). Prints one JSON line per measurement (measurement.h).
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/measurement.h"
#include "base/process.h"
#include "base/program.h"
#include "base/str.h"
#include "coordinator/bench/daemon.h"
#include "coordinator/bench/filler.h"
#include "longrun/v1/sweeps.grpc.pb.h"

namespace longrun::coordinator {
namespace {

constexpr int kRows = 1'000'000;
constexpr int kRounds = 15;
constexpr int kOthersSeeds = 50;  // of a sweep: 4 methods of 64 lengths
constexpr int kOthersLengths = 64;
constexpr int kMeasuredSeeds = 3;
constexpr int kMethods = 4;
constexpr int kMeasuredLengths = 5;
constexpr int kMeasuredRows = kMethods * kMeasuredSeeds * kMeasuredLengths;
constexpr int kLargeRuns = 3'000;
constexpr const char* kName = "measured";

void FillMeasured(Filler& filler, int n_seeds) {
  filler.Submit(
      {.name = kName, .first_seed = 1, .n_seeds = n_seeds, .lengths = {64, 128, 256, 512, 1024}});
  filler.Run();
  LR_CHECK(filler.n_results() == std::int64_t{kMethods} * n_seeds * kMeasuredLengths);
}

// Fills the database and returns the number of rows of other sweeps.
std::int64_t FillWith(Filler& filler, int n_rows) {
  filler.Connect();
  FillMeasured(filler, kMeasuredSeeds);
  std::vector<int> lengths;
  for (int i = 1; i <= kOthersLengths; ++i) lengths.push_back(64 * i);
  int seed = 1 + kMeasuredSeeds;
  while (filler.n_results() < kMeasuredRows + n_rows) {
    const auto left = kMeasuredRows + n_rows - filler.n_results();
    const int n_seeds = static_cast<int>(std::clamp<std::int64_t>(
        left / (std::int64_t{kMethods} * kOthersLengths), 1, kOthersSeeds));
    filler.Submit(
        {.name = Str("other-", seed), .first_seed = seed, .n_seeds = n_seeds, .lengths = lengths});
    filler.Run();
    seed += n_seeds;
  }
  return filler.n_results() - kMeasuredRows;
}

std::int64_t Fill(const std::string& folder, int n_rows) {
  std::int64_t n_others = 0;
  {
    Filler filler(folder);
    n_others = FillWith(filler, n_rows);
  }
  // The state of a million rows is freed, but each fork would still copy the tables of its pages,
  // and we would measure our own size instead of the client's cost.
  malloc_trim(0);
  return n_others;
}

struct Cost {
  double ms = 0;
  double cpu_ms = 0;  // processor time of the coordinator
};

Cost AskResults(Daemon& daemon) {
  const auto stub = v1::SweepService::NewStub(daemon.channel());
  grpc::ClientContext context;
  v1::GetResultsRequest request;
  request.set_sweep(kName);
  v1::GetResultsResponse response;
  const double cpu = daemon.CpuSeconds();
  const Stopwatch watch;
  const grpc::Status status = stub->GetResults(&context, request, &response);
  const Cost cost = {.ms = 1e3 * watch.Seconds(), .cpu_ms = 1e3 * (daemon.CpuSeconds() - cpu)};
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error_message().c_str());
  LR_CHECK(status.ok() && response.rows_size() == kMeasuredRows);
  return cost;
}

// Here the processor time is that of the client.
Cost RunClient(const Daemon& daemon, std::vector<std::string> arguments) {
  SpawnOptions options;
  options.argv = {JoinPath(ProgramFolder(), "longrun")};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.env = {"PATH=/usr/bin:/bin", Str("LONGRUN_HOME=", daemon.state_folder())};
  const Stopwatch watch;
  const Result<int> pid = Spawn(options);
  LR_CHECK(pid.ok());
  const auto ended = WaitFor(*pid, -1);
  LR_CHECK(ended.ok() && ended->has_value() && (*ended)->code == 0);
  const rusage& used = (*ended)->usage;
  const auto ms = [](const timeval& time) {
    return 1e3 * static_cast<double>(time.tv_sec) + 1e-3 * static_cast<double>(time.tv_usec);
  };
  return {.ms = 1e3 * watch.Seconds(), .cpu_ms = ms(used.ru_utime) + ms(used.ru_stime)};
}

Cost RunTable(Daemon& daemon) { return RunClient(daemon, {"table", kName}); }
Cost RunPairedTable(Daemon& daemon) {
  return RunClient(daemon, {"table", kName, "--against", "position=alibi"});
}
Cost RunReport(Daemon& daemon) {
  const TempFolder folder;
  return RunClient(daemon, {"report", kName, "-o", JoinPath(folder.path(), "report")});
}

void Measure(const std::string& name, const std::string& whose_cpu, int n_rounds, Daemon& full,
             Daemon& alone, Cost (*ask)(Daemon&)) {
  const char* const beside = "a database of this sweep alone";
  Measurement wall = {.name = name, .unit = "ms", .what_baseline = beside, .target = "<= 50"};
  Measurement cpu = {.name = Str(name, ", ", whose_cpu), .unit = "ms", .what_baseline = beside};
  (void)ask(full);  // warm-up
  (void)ask(alone);
  for (int round = 0; round < n_rounds; ++round) {
    const Cost ours = ask(full);
    const Cost baseline = ask(alone);
    wall.ours.push_back(ours.ms);
    wall.baseline.push_back(baseline.ms);
    cpu.ours.push_back(ours.cpu_ms);
    cpu.baseline.push_back(baseline.cpu_ms);
  }
  Print(wall);
  Print(cpu);
}

void MeasureLarge(const std::string& folder, int n_runs, int n_rounds) {
  {
    Filler filler(folder);
    filler.Connect();
    FillMeasured(filler, std::max(1, n_runs / kMethods));
  }
  Daemon daemon(folder);
  const auto measure = [&](const std::string& command, Cost (*ask)(Daemon&)) {
    const std::string name = Str("table: longrun ", command, " of ", n_runs, " runs");
    Measurement wall = {.name = name, .unit = "ms"};
    Measurement client = {.name = Str(name, ", client's processor time"), .unit = "ms"};
    Measurement coordinator = {.name = Str(name, ", coordinator's processor time"), .unit = "ms"};
    (void)ask(daemon);  // warm-up
    for (int round = 0; round < n_rounds; ++round) {
      const double before = daemon.CpuSeconds();
      const Cost cost = ask(daemon);
      wall.ours.push_back(cost.ms);
      client.ours.push_back(cost.cpu_ms);
      coordinator.ours.push_back(1e3 * (daemon.CpuSeconds() - before));
    }
    Print(wall);
    Print(client);
    Print(coordinator);
  };
  measure("table", &RunTable);
  measure("table --against", &RunPairedTable);
  measure("report", &RunReport);
}

int Main(int argc, char** argv) {
  const int n_rows = IntArgument(argc, argv, 1, kRows, 10 * kRows);
  const int n_rounds = IntArgument(argc, argv, 2, kRounds, 1000);
  const int n_runs = IntArgument(argc, argv, 3, kLargeRuns, 100'000);
  const TempFolder folder;
  const std::string full_folder = JoinPath(folder.path(), "full");
  const std::string alone_folder = JoinPath(folder.path(), "alone");
  const Stopwatch fill;
  const std::int64_t n_others = Fill(full_folder, n_rows);
  Print({.name = Str("table: filling with ", n_others, " rows"),
         .unit = "s",
         .ours = {fill.Seconds()}});
  (void)Fill(alone_folder, 0);
  const Stopwatch start;
  Daemon full(full_folder);
  Print({.name = Str("table: coordinator's start with ", n_others, " rows"),
         .unit = "ms",
         .ours = {1e3 * start.Seconds()}});
  Daemon alone(alone_folder);
  const std::string what = Str(" of ", kMeasuredRows, " rows among ", n_others + kMeasuredRows);
  Measure(Str("table: GetResults", what), "coordinator's processor time", n_rounds, full, alone,
          &AskResults);
  Measure(Str("table: longrun table", what), "client's processor time", n_rounds, full, alone,
          &RunTable);
  MeasureLarge(JoinPath(folder.path(), "large"), n_runs, n_rounds);
  return 0;
}

}  // namespace
}  // namespace longrun::coordinator

int main(int argc, char** argv) {
  return longrun::RunMain("longrun-table-bench", longrun::coordinator::Main, argc, argv);
}
