// longrun-journal-bench: records per second through the journal, compared with the simplest program
// that puts the same bytes on the same disk. Prints one JSON line per measurement:
//
//   {"name","unit","ours":[rounds],"baseline":[rounds],"what_baseline"}
//
// Rounds alternate; the caller computes medians of them (tools/bench.py).
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/program.h"
#include "base/str.h"
#include "sweeps/event.h"

namespace longrun {
namespace {

constexpr int kRounds = 7;
constexpr std::int64_t kSyncEveryMs = 200;  // as JournalWriter does
constexpr int kSeriesRecords = 20'000;
constexpr int kResultRecords = 100;  // each waits for the disk

Json SeriesBody(int step) {
  return {{"loss", 2.0 + 1.0 / (step + 1)},
          {"lr", 1e-3 / (step + 1)},
          {"grad_norm", 0.123456789 * step},
          {"tokens_per_s", 12345.678}};
}

Json ResultBody(int n) {
  return {{"cell", std::string(64, 'c')},
          {"metric", "nll"},
          {"context_length", 1024},
          {"value", 1.0 / (n + 3)},
          {"se", 0.01},
          {"n", 16384},
          {"status", "ok"}};
}

void Append(const std::string& path, RecordKind kind, int n_records) {
  Result<JournalWriter> writer = JournalWriter::Create(path);
  LR_CHECK(writer.ok());
  for (int i = 0; i < n_records; ++i) {
    const Json body = kind == RecordKind::kSeries ? SeriesBody(i) : ResultBody(i);
    LR_CHECK(writer->Append(kind, body, i).ok());
  }
  LR_CHECK(writer->Sync().ok());
}

std::vector<std::string> Lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(line + "\n");
  return lines;
}

// The same bytes, each line written at once, and synced as often.
void WritePlain(const std::string& path, const std::vector<std::string>& lines,
                std::int64_t sync_every_ms) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  LR_CHECK(fd >= 0);
  std::int64_t synced_ms = BootMs();
  for (const std::string& line : lines) {
    LR_CHECK(::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    if (BootMs() - synced_ms < sync_every_ms) continue;
    LR_CHECK(::fdatasync(fd) == 0);
    synced_ms = BootMs();
  }
  LR_CHECK(::fdatasync(fd) == 0);
  LR_CHECK(::close(fd) == 0);
}

int ReadChecked(const std::string& path) {
  JournalReader reader(path);
  int n_records = 0;
  while (true) {
    const auto lines = reader.Next(1000, 1 << 20);
    LR_CHECK(lines.ok());
    if (lines->empty()) return n_records;
    n_records += static_cast<int>(lines->size());
  }
}

double PerSecond(int n, const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return n / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void Print(const std::string& name, const std::string& what_baseline, int n,
           const std::function<void(int round)>& ours,
           const std::function<void(int round)>& baseline) {
  Json measured = {{"name", name},
                   {"unit", "records/s"},
                   {"what_baseline", what_baseline},
                   {"ours", Json::array()},
                   {"baseline", Json::array()}};
  ours(-1);  // warm-up: the first file is not measured
  for (int round = 0; round < kRounds; ++round) {
    measured["ours"].push_back(PerSecond(n, [&] { ours(round); }));
    measured["baseline"].push_back(PerSecond(n, [&] { baseline(round); }));
  }
  std::printf("%s\n", measured.dump().c_str());
}

void BenchAppend(RecordKind kind, int n, std::int64_t sync_every_ms,
                 const std::string& what_baseline) {
  const TempFolder folder;
  const auto path = [&](const std::string& name, int round) {
    return JoinPath(folder.path(), Str(name, round));
  };
  Append(path("lines", 0), kind, n);
  const std::vector<std::string> lines = Lines(path("lines", 0));
  Print(
      Str("journal: append ", EnumName(kind)), what_baseline, n,
      [&](int round) { Append(path("ours", round), kind, n); },
      [&](int round) { WritePlain(path("baseline", round), lines, sync_every_ms); });
}

void BenchRead() {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "journal");
  Append(path, RecordKind::kSeries, kSeriesRecords);
  Print(
      "journal: read, checked", "getline", kSeriesRecords,
      [&](int) { LR_CHECK(ReadChecked(path) == kSeriesRecords); },
      [&](int) { LR_CHECK(static_cast<int>(Lines(path).size()) == kSeriesRecords); });
}

int Main(int /*argc*/, char** /*argv*/) {
  BenchAppend(RecordKind::kSeries, kSeriesRecords, kSyncEveryMs, "write, fdatasync every 200 ms");
  BenchAppend(RecordKind::kResult, kResultRecords, 0, "write, fdatasync each");
  BenchRead();
  return 0;
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) {
  return longrun::RunMain("journal_bench", longrun::Main, argc, argv);
}
