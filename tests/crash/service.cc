// See service.h.
#include "tests/crash/service.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "coordinator/store/sqlite.h"
#include "tests/children.h"
#include "tests/deadline.h"
#include "tests/replaced.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kStartMs = DeadlineMs(60'000);
constexpr std::int64_t kEndMs = DeadlineMs(60'000);
constexpr std::int64_t kClientMs = DeadlineMs(90'000);

// Takes the next fate that lies there for its kind of task, as its failpoints. `mv` gives a fate to
// one trainer only; the name under which it ends tells which one took it ($$ is kept by exec).
constexpr const char* kTrainerScript = R"(#!/bin/sh
unset LONGRUN_FAILPOINTS
kind=train
grep -q '"kind":"evaluate"' "$2" && kind=evaluate
for fate in %FATES%/$kind.[0-9]* %FATES%/$kind.default; do
  case $fate in
    *.default) cp "$fate" "%FATES%/taken.$$" 2>/dev/null || continue ;;
    *) mv "$fate" "%FATES%/taken.$$" 2>/dev/null || continue ;;
  esac
  read -r LONGRUN_FAILPOINTS < "%FATES%/taken.$$"
  export LONGRUN_FAILPOINTS
  break
done
exec %TRAINER% "$@"
)";

}  // namespace

bool IsStopped(int pid) {
  const Result<std::string> stat = ReadFile(Str("/proc/", pid, "/stat"));
  if (!stat) return false;
  const std::size_t bracket = stat->rfind(')');  // behind the name, which may hold anything
  return bracket != std::string::npos && stat->substr(bracket, 3) == ") T";
}

std::string WordSalad(std::uint64_t seed, std::size_t n_bytes) {
  SeededRandom random(seed);
  std::vector<std::string> words;
  for (int i = 0; i < 200; ++i) {
    std::string word;
    const std::uint64_t n_letters = 2 + random.Below(6);
    for (std::uint64_t k = 0; k < n_letters; ++k) {
      word += static_cast<char>('a' + random.Below(26));
    }
    words.push_back(std::move(word));
  }
  std::string text;
  while (text.size() < n_bytes) {
    text += words[random.Below(1 + random.Below(words.size()))];
    text += random.Chance(0.1) ? ".\n" : " ";
  }
  return text;
}

std::string SmallSweep(const std::string& name, const SweepSize& size) {
  return Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata: {name: ", name,
             "}\n"
             "spec:\n"
             "  model: {architecture: ",
             size.tuned ? "llama" : "gpt2",
             ", n_layer: 1, n_head: 2, d_model: 32, causal: ", size.encoder ? "false" : "true",
             "}\n"
             "  matrix:\n"
             "    position: [",
             Join(size.positions, ", "),
             "]\n"
             "    train_length: [32]\n"
             "    dataset: [words]\n"
             "    seed: [1]\n"
             "  train:\n"
             "    tokens: ",
             size.steps * kSmallSweepBatchTokens, "\n    batch_tokens: ", kSmallSweepBatchTokens,
             "\n"
             "    objective: ",
             size.encoder ? "masked_lm" : "causal_lm",
             "\n"
             "    optimizer: {name: adamw, lr: 3.0e-3}\n"
             "    schedule: {name: cosine, warmup_tokens: 2560}\n"
             // Each best validation writes a checkpoint, beside those by the clock.
             "    validate: {every: 6400, tokens: 1024}\n"
             "    checkpoint: {every: 1s, keep: 2}\n",
             size.tuned ? "  stages:\n"
                          "    - name: pose\n"
                          "      train:\n"
                          "        positions: {method: pose, target_length: 128}\n"
                          "        extend: {method: pi, factor: 4}\n"
                          "        optimizer: {lr: 1.0e-3}\n"
                        : "",
             "  evaluate:\n"
             "    - ",
             size.encoder
                 ? "pseudo_perplexity: {context_lengths: [32, 128], score_tokens: 256, "
                   "baseline: unigram}\n"
                 : "perplexity: {context_lengths: [32, 64, 128], split: validation, protocol: "
                   "nonoverlap, score_tokens: 4096, baseline: unigram}\n",
             "  retry: {failures_max: 100, losses_max: 1000}\n");
}

Service::Service(std::string folder) : folder_(std::move(folder)) {
  for (const char* const name : {"state", "fates"}) {
    LR_CHECK(MakeFolders(At(name), 0700).ok());
  }
  const std::string script = Replaced(Replaced(kTrainerScript, "%FATES%", At("fates")), "%TRAINER%",
                                      LONGRUN_BIN_DIR "/longrun-trainer");
  LR_CHECK(WriteFileAtomic(At("trainer"), script, 0755).ok());
}

Service::~Service() {
  Kill(worker_);
  Kill(coordinator_);
  for (const int pid : Processes()) kill(pid, SIGKILL);
}

void Service::Kill(int& pid) {
  if (pid <= 0) return;
  kill(pid, SIGKILL);
  EXPECT_TRUE(WaitFor(pid, kEndMs).ok());
  pid = 0;
}

void Service::ImportWords() {
  ASSERT_TRUE(WriteFileAtomic(At("train.txt"), WordSalad(1, 200'000)).ok());
  ASSERT_TRUE(WriteFileAtomic(At("validation.txt"), WordSalad(1, 220'000).substr(200'000)).ok());
  ASSERT_EQ(Client({"data", "import", "words", "--tokenizer", "bytes", "--train", At("train.txt"),
                    "--validation", At("validation.txt")}),
            0)
      << Logs();
}

void Service::WriteSweep(const std::string& name, const SweepSize& size) {
  ASSERT_TRUE(WriteFileAtomic(At(name + ".yaml"), SmallSweep(name, size)).ok());
}

std::vector<std::string> Service::Environment(const std::string& failpoints) const {
  std::vector<std::string> env = {"PATH=/usr/bin:/bin", "HOME=" + folder_};
  for (const char* const name : {"LD_LIBRARY_PATH", "ASAN_OPTIONS", "TMPDIR"}) {
    if (const auto value = GetEnv(name)) env.push_back(Str(name, "=", *value));
  }
  if (!failpoints.empty()) env.push_back("LONGRUN_FAILPOINTS=" + failpoints);
  return env;
}

void Service::SpawnCoordinator(const std::string& failpoints,
                               const std::vector<std::string>& more_arguments) {
  LR_CHECK(coordinator_ == 0);
  LR_CHECK(RemoveAll(JoinPath(state(), "coordinator.address")).ok());
  const std::string log = At("coordinator.log");
  std::vector<std::string> argv = {LONGRUN_BIN_DIR "/longrun-coordinator",
                                   "--state",
                                   state(),
                                   "--heartbeat-ms",
                                   "200",
                                   "--suspect-ms",
                                   "2000",
                                   "--lease-ms",
                                   "6000",
                                   "--stop-grace-ms",
                                   "20000",
                                   "--back-off-base-ms",
                                   "50",
                                   "--back-off-limit-ms",
                                   "200"};
  argv.insert(argv.end(), more_arguments.begin(), more_arguments.end());
  coordinator_ = Spawn({.argv = std::move(argv),
                        .env = Environment(failpoints),
                        .stdout_path = log,
                        .stderr_path = log,
                        .own_group = true,
                        .die_with_parent = true})
                     .value();
}

void Service::SpawnWorker(const std::string& failpoints) {
  LR_CHECK(worker_ == 0);
  n_workers_ += 1;
  const std::string log = At(Str("worker-", n_workers_, ".log"));
  worker_ =
      Spawn({.argv = {LONGRUN_BIN_DIR "/longrun-worker", "--state", JoinPath(state(), "worker"),
                      "--coordinator", Str("unix:", JoinPath(state(), "coordinator.sock")),
                      "--cpu-slots", "2", "--trainer", At("trainer")},
             .env = Environment(failpoints),
             .stdout_path = log,
             .stderr_path = log,
             .own_group = true,
             .die_with_parent = true})
          .value();
}

bool Service::CoordinatorIsReady() const {
  return PathExists(JoinPath(state(), "coordinator.address"));
}

bool Service::WorkerIsReady() const {
  const Result<std::string> log = ReadFile(At(Str("worker-", n_workers_, ".log")));
  return log && log->find("session_welcomed") != std::string::npos;
}

void Service::Start() {
  SpawnCoordinator();
  ASSERT_TRUE(WaitUntil(kStartMs, [&] { return CoordinatorIsReady(); })) << Logs();
  SpawnWorker();
  ASSERT_TRUE(WaitUntil(kStartMs, [&] { return WorkerIsReady(); })) << Logs();
}

std::pair<int, int> Service::Stop() {
  const auto end = [](int& pid) {
    kill(pid, SIGTERM);
    const auto ended = WaitFor(std::exchange(pid, 0), kEndMs);
    return ended.ok() && *ended ? (*ended)->code : -1;
  };
  const int worker = end(worker_);
  return {worker, end(coordinator_)};
}

int Service::SpawnClient(std::vector<std::string> arguments, const std::string& failpoints) {
  std::vector<std::string> argv = {LONGRUN_BIN_DIR "/longrun", "--state", state()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return Spawn({.argv = std::move(argv),
                .env = Environment(failpoints),
                .stdout_path = At("client.out"),
                .stderr_path = At("client.log"),
                .own_group = true,
                .die_with_parent = true})
      .value();
}

int Service::Client(std::vector<std::string> arguments, std::string* output) {
  LR_CHECK(RemoveAll(At("client.out")).ok());
  const int pid = SpawnClient(std::move(arguments));
  const auto ended = WaitFor(pid, kClientMs);
  if (!ended.ok() || !*ended) {
    kill(pid, SIGKILL);
    return -1;
  }
  if (output != nullptr) *output = ReadFile(At("client.out")).value();
  return (*ended)->code;
}

std::string Service::SweepState(const std::string& name) {
  std::string text;
  if (Client({"get", name, "-o", "json"}, &text) != 0) return "";
  const Result<Json> json = ParseJson(text);
  return json ? json->at("info").at("state").get<std::string>() : "";
}

namespace {

// Which attempt a number came from is its history; the number must not depend on it.
void DropAttempts(Json& json) {
  if (json.is_object()) json.erase("attempt");
  if (json.is_object()) json.erase("measured_by");
  for (Json& part : json) {
    if (part.is_structured()) DropAttempts(part);
  }
}

}  // namespace

std::string Service::NumbersOf(const std::string& table) {
  Result<Json> numbers = ParseJson(table);
  EXPECT_TRUE(numbers.ok()) << numbers.status().message() << "\n" << table;
  if (!numbers.ok()) return table;
  DropAttempts(*numbers);
  return CanonicalJson(*numbers);
}

std::string Service::Table(const std::string& name) {
  std::string text;
  EXPECT_EQ(Client({"table", name, "-o", "json"}, &text), 0) << Logs();
  return NumbersOf(text);
}

std::vector<TrainerProcess> Service::Trainers() const {
  std::vector<TrainerProcess> trainers;
  const std::string attempts = JoinPath(state(), "worker/attempts/");
  for (const int pid : ProcessIds()) {
    // longrun-trainer task ATTEMPT_FOLDER/task.json
    const std::vector<std::string> words = CommandLine(pid);
    if (words.size() < 3 || words[1] != "task" || !words[0].ends_with("/longrun-trainer")) continue;
    if (!words[2].starts_with(attempts)) continue;
    trainers.push_back({.pid = pid, .attempt_folder = FolderOf(words[2])});
  }
  return trainers;
}

std::vector<int> Service::Processes() const {
  std::vector<int> ours;
  for (const int pid : ProcessIds()) {
    if (pid == getpid()) continue;
    for (const std::string& word : CommandLine(pid)) {
      if (word.find(folder_ + "/") == std::string::npos) continue;
      ours.push_back(pid);
      break;
    }
  }
  return ours;
}

std::vector<JsonRecord> Service::Journal(const std::string& attempt_folder) {
  return ReadJsonJournal(JoinPath(attempt_folder, kJournalName));
}

std::vector<std::string> Service::AttemptFolders() const {
  const std::string attempts = JoinPath(state(), "worker/attempts");
  std::vector<std::string> folders;
  const auto names = ListFolder(attempts);
  if (!names) return folders;
  for (const std::string& name : *names) folders.push_back(JoinPath(attempts, name));
  return folders;
}

std::string Service::Logs() const {
  constexpr std::size_t kTail = 3000;
  std::string text;
  for (const std::string& name :
       {std::string("coordinator.log"), Str("worker-", n_workers_, ".log"),
        std::string("client.log"), std::string("state/coordinator.log"),
        std::string("state/worker.log")}) {
    const Result<std::string> log = ReadFile(At(name));
    if (!log) continue;
    text += Str("\n---- ", name, "\n", log->substr(log->size() - std::min(kTail, log->size())));
  }
  return text;
}

std::string Query(const Service& service, const std::string& sql) {
  const auto database = coordinator::Connection::Open(JoinPath(service.state(), "longrun.db"),
                                                      coordinator::Connection::Mode::kRead);
  EXPECT_TRUE(database.ok()) << database.status().message();
  const Result<std::string> text = (*database)->ReadText(sql);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text.ok() ? *text : "";
}

}  // namespace longrun
