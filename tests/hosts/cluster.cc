// See cluster.h.
#include "tests/hosts/cluster.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "coordinator/store/sqlite.h"
#include "pki/certificate.h"
#include "pki/files.h"
#include "tests/children.h"
#include "tests/crash/service.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

constexpr std::int64_t kPatienceMs = DeadlineMs(120'000);
constexpr const char* kCoordinatorProgram = "longrun-coordinator";
constexpr const char* kWorkerProgram = "longrun-worker";

std::string ReadOr(const std::string& path) {
  const Result<std::string> text = ReadFile(path);
  return text ? *text : std::string();
}

}  // namespace

Cluster::Cluster(std::string folder, ClusterOptions options)
    : folder_(std::move(folder)), options_(std::move(options)) {
  coordinator_host_ =
      std::make_unique<Host>(folder_, "coordinator", 1, options_.coordinator_disk_bytes);
  laptop_ = std::make_unique<Host>(folder_, "laptop", 2, std::int64_t{64} << 20);
  for (Host* const host : {coordinator_host_.get(), laptop_.get()}) {
    const Status on = host->PowerOn();
    LR_CHECK(on.ok());
  }
}

Cluster::~Cluster() {
  for (const auto& worker : workers_) {
    worker->host->PowerOff();
    Reap(worker->pid);
  }
  coordinator_host_->PowerOff();
  Reap(coordinator_);
}

std::string Cluster::At(const std::string& name) const { return JoinPath(folder_, name); }

void Cluster::Reap(int& pid) {
  if (pid <= 0) return;
  kill(pid, SIGCONT);  // nsenter stops together with its child
  const auto ended = WaitFor(pid, kPatienceMs);
  EXPECT_TRUE(ended.ok() && *ended);
  pid = 0;
}

std::optional<int> Cluster::CodeIfEnded(int& pid) {
  if (pid <= 0) return std::nullopt;
  const auto ended = WaitFor(pid, 0);
  if (!ended.ok() || !*ended) return std::nullopt;
  pid = 0;
  return (*ended)->code;
}
std::optional<int> Cluster::CoordinatorHasEnded() { return CodeIfEnded(coordinator_); }
std::optional<int> Cluster::HasEnded(Worker& worker) { return CodeIfEnded(worker.pid); }

void Cluster::Signal(const Host& host, const std::string& program, int pid, int number) {
  // A program that has only now been started has no name yet. One may also have ended by itself: a
  // worker does if a restored coordinator does not know it.
  std::vector<Host::Process> running;
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    running = host.Running(program);
    return !running.empty() || longrun::HasEnded(pid);
  }));
  SendSignal(running, number);
}

int Cluster::Stop(const Host& host, const std::string& program, int& pid) {
  Signal(host, program, pid, SIGTERM);
  const auto ended = WaitFor(std::exchange(pid, 0), kPatienceMs);
  return ended.ok() && *ended ? (*ended)->code : -1;
}

void Cluster::Start() {
  const Ran init = Here({"admin", "pki", "init", "--name", WorldAddress(), "--name", "localhost"});
  ASSERT_EQ(init.code, 0) << init.err;
  const std::string authority = ReadOr(PkiPathsOf(coordinator_host_->Outside("state")).authority);
  fingerprint_ = ReadCertificate(authority).value().fingerprint;
  const Ran token = Here({"admin", "token", "create", "--role", "submitter"});
  ASSERT_EQ(token.code, 0) << token.err;
  StartCoordinator();
  laptop_proxy_ = Proxy::Listen(WorldAddress(), options_.seed).value();
  laptop_proxy_->SetTarget(place_);
  const Ran login = Client(*laptop_,
                           {"login", laptop_proxy_->place().Text(), "--name", "cluster",
                            "--ca-fingerprint", fingerprint_},
                           std::string(Trim(token.out)));
  ASSERT_EQ(login.code, 0) << login.err << Logs();
}

void Cluster::LaunchCoordinator() {
  LR_CHECK(coordinator_ == 0);
  n_coordinators_ += 1;
  const Host& host = *coordinator_host_;
  // Any free port, which it then keeps.
  std::vector<std::string> argv = {host.Program(kCoordinatorProgram),
                                   "--state",
                                   host.Inside("state"),
                                   "--listen",
                                   Str(host.address(), ":", place_.port),
                                   "--listen",
                                   Str("unix:", host.Inside("state/coordinator.sock"))};
  argv.insert(argv.end(), options_.coordinator.begin(), options_.coordinator.end());
  const std::string log = At(Str("coordinator-", n_coordinators_, ".log"));
  coordinator_ = host.Start(argv, {}, log, log);
}

bool Cluster::CoordinatorServes() {
  const std::string log = ReadOr(At(Str("coordinator-", n_coordinators_, ".log")));
  const std::string field = Str("network=", coordinator_host_->address(), ":");
  const std::size_t at = log.find(field);
  if (at == std::string::npos || log.find('\n', at) == std::string::npos) return false;
  place_ = {.host = coordinator_host_->address(), .port = std::stoi(log.substr(at + field.size()))};
  return true;
}

void Cluster::StartCoordinator() {
  LaunchCoordinator();
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return CoordinatorServes(); })) << Logs();
}

void Cluster::KillCoordinator() {
  Signal(*coordinator_host_, kCoordinatorProgram, coordinator_, SIGKILL);
  Reap(coordinator_);
}
int Cluster::StopCoordinator() {
  return Stop(*coordinator_host_, kCoordinatorProgram, coordinator_);
}

Cluster::Worker& Cluster::AddWorker() {
  n_hosts_ += 1;
  workers_.push_back(std::make_unique<Worker>());
  Worker& worker = *workers_.back();
  worker.host = std::make_unique<Host>(folder_, Str("gpu-", n_hosts_ - 2), n_hosts_,
                                       options_.worker_disk_bytes);
  const Status on = worker.host->PowerOn();
  EXPECT_TRUE(on.ok()) << on.message();
  worker.proxy =
      Proxy::Listen(WorldAddress(), options_.seed + static_cast<std::uint64_t>(n_hosts_)).value();
  worker.proxy->SetTarget(place_);
  StartWorker(worker, true);
  return worker;
}

void Cluster::StartWorker(Worker& worker, bool rejoins) {
  LR_CHECK(worker.pid == 0);
  worker.n_lives += 1;
  const Host& host = *worker.host;
  std::vector<std::string> argv = {host.Program(kWorkerProgram),
                                   "--state",
                                   host.Inside("worker"),
                                   "--coordinator",
                                   worker.proxy->place().Text(),
                                   "--id",
                                   host.name(),
                                   "--trainer",
                                   host.Program("longrun-trainer"),
                                   "--cpu-slots",
                                   "1",
                                   "--disk-free-bytes-min",
                                   "0"};
  if (rejoins) {
    std::vector<std::string> create = {"admin", "join-token", "create"};
    if (worker.n_lives > 1) create.insert(create.end(), {"--worker", host.name()});
    const Ran token = Here(create);
    EXPECT_EQ(token.code, 0) << token.err;
    worker.host->FreeDisk();  // who lets a worker join makes room for the token
    EXPECT_TRUE(WriteFileAtomic(host.Outside("join-token"), token.out, 0600).ok());
  }
  if (PathExists(host.Outside("join-token"))) {
    argv.insert(argv.end(),
                {"--join", host.Inside("join-token"), "--ca-fingerprint", fingerprint_});
  }
  argv.insert(argv.end(), options_.worker.begin(), options_.worker.end());
  const std::string log = At(Str(host.name(), "-", worker.n_lives, ".log"));
  worker.pid = host.Start(argv, options_.worker_env, log, log);
}

void Cluster::KillWorker(Worker& worker) {
  Signal(*worker.host, kWorkerProgram, worker.pid, SIGKILL);
  Reap(worker.pid);
}
void Cluster::PowerOff(Worker& worker) {
  worker.host->PowerOff();
  Reap(worker.pid);
}
int Cluster::StopWorker(Worker& worker) { return Stop(*worker.host, kWorkerProgram, worker.pid); }

bool Cluster::IsWelcomed(const Worker& worker) const {
  return ReadOr(At(Str(worker.name(), "-", worker.n_lives, ".log"))).find("session_welcomed") !=
         std::string::npos;
}

std::string Cluster::LogOf(const Worker& worker) const {
  std::string text;
  for (int i = 1; i <= worker.n_lives; ++i) text += ReadOr(At(Str(worker.name(), "-", i, ".log")));
  return text;
}

std::vector<std::string> Cluster::AttemptFolders(const Worker& worker) const {
  const std::string attempts = worker.host->Outside("worker/attempts");
  const Result<std::vector<std::string>> names = ListFolder(attempts);
  std::vector<std::string> folders;
  if (!names) return folders;
  for (const std::string& name : *names) folders.push_back(JoinPath(attempts, name));
  return folders;
}

Ran Cluster::Client(const Host& host, std::vector<std::string> arguments,
                    const std::string& input) {
  const std::string number = Str("client-", n_clients_++);
  const std::string out = At(number + ".out"), err = At(number + ".err");
  EXPECT_TRUE(WriteFileAtomic(host.Outside("stdin"), input, 0600).ok());
  std::vector<std::string> argv = {"/bin/sh", "-c", "exec \"$0\" \"$@\" < \"$STDIN\"",
                                   host.Program("longrun")};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const int pid = host.Start(argv, {"STDIN=" + host.Inside("stdin")}, out, err);
  const auto ended = WaitFor(pid, kPatienceMs);
  Ran ran;
  if (ended.ok() && *ended) {
    ran.code = (*ended)->code;
  } else {
    kill(pid, SIGKILL);
  }
  ran.out = ReadOr(out);
  ran.err = ReadOr(err);
  EXPECT_TRUE(RemoveAll(out).ok() && RemoveAll(err).ok());
  return ran;
}

Ran Cluster::Here(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"--state", coordinator_host_->Inside("state")});
  return Client(*coordinator_host_, std::move(arguments));
}

std::string Cluster::Query(const std::string& sql) const {
  const auto database = coordinator::Connection::Open(
      coordinator_host_->Outside("state/longrun.db"), coordinator::Connection::Mode::kRead);
  if (!database.ok()) return "";
  const Result<std::string> text = (*database)->ReadText(sql);
  return text.ok() ? *text : "";
}

std::string Cluster::SweepState(const std::string& name) {
  const Ran ran = Here({"get", name, "-o", "json"});
  const Result<Json> json = ran.code == 0 ? ParseJson(ran.out) : Json();
  return json.ok() && json->is_object() ? json->at("info").at("state").get<std::string>() : "";
}

std::string Cluster::Logs() const {
  constexpr std::size_t kTail = 3000;
  std::string text;
  const auto add = [&](const std::string& name) {
    const std::string log = ReadOr(At(name));
    text += Str("\n---- ", name, "\n", log.substr(log.size() - std::min(kTail, log.size())));
  };
  add(Str("coordinator-", n_coordinators_, ".log"));
  for (const auto& worker : workers_) add(Str(worker->name(), "-", worker->n_lives, ".log"));
  return text;
}

}  // namespace longrun
