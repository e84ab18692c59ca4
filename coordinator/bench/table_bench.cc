// longrun-table-bench [ROWS [ROUNDS]]: requests one sweep's table while the database holds ROWS
// result rows of other sweeps (default a million), compared with the same table in a database that
// holds nothing else. Requests it in two ways: over the socket as the command line does
// (GetResults), and with the complete `longrun table`. Prints one JSON line per measurement
// (measurement.h).
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
constexpr int kMeasuredRows = 4 * kMeasuredSeeds * 5;
constexpr const char* kName = "measured";

// Fills the database and returns the number of rows of other sweeps.
std::int64_t FillWith(Filler& filler, int n_rows) {
  filler.Connect();
  filler.Submit({.name = kName,
                 .first_seed = 1,
                 .n_seeds = kMeasuredSeeds,
                 .lengths = {64, 128, 256, 512, 1024}});
  filler.Run();
  LR_CHECK(filler.n_results() == kMeasuredRows);
  std::vector<int> lengths;
  for (int i = 1; i <= kOthersLengths; ++i) lengths.push_back(64 * i);
  int seed = 1 + kMeasuredSeeds;
  while (filler.n_results() < kMeasuredRows + n_rows) {
    const auto left = kMeasuredRows + n_rows - filler.n_results();
    const int n_seeds = static_cast<int>(
        std::clamp<std::int64_t>(left / (std::int64_t{4} * kOthersLengths), 1, kOthersSeeds));
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
Cost RunTable(Daemon& daemon) {
  SpawnOptions options;
  options.argv = {JoinPath(ProgramFolder(), "longrun"), "table", kName};
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

int Main(int argc, char** argv) {
  const int n_rows = IntArgument(argc, argv, 1, kRows, 10 * kRows);
  const int n_rounds = IntArgument(argc, argv, 2, kRounds, 1000);
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
  return 0;
}

}  // namespace
}  // namespace longrun::coordinator

int main(int argc, char** argv) {
  return longrun::RunMain("longrun-table-bench", longrun::coordinator::Main, argc, argv);
}
