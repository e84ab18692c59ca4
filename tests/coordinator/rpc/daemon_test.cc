// The daemon as a process, on a socket in a folder of the test's own.
#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/exit_code.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "base/version.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"
#include "longrun/v1/identity.grpc.pb.h"
#include "longrun/v1/session.grpc.pb.h"
#include "longrun/v1/sweeps.grpc.pb.h"
#include "metrics/table.h"
#include "model/data/dataset.h"
#include "sweeps/coordinator_address.h"
#include "sweeps/coordinator_lock.h"
#include "tests/children.h"
#include "tests/coordinator/sample.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kProgram = LONGRUN_BIN_DIR "/longrun-coordinator";
constexpr std::int64_t kEndMsMax = DeadlineMs(30'000);

class DaemonTest : public testing::Test {
 protected:
  ~DaemonTest() override {
    if (pid > 0) End(SIGKILL);
  }

  Result<int> Launch(const std::vector<std::string>& arguments) {
    SpawnOptions options;
    options.argv = through;
    options.argv.insert(options.argv.end(), {kProgram, "--state", state});
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.env = {"PATH=/usr/bin:/bin"};
    options.env.insert(options.env.end(), environment.begin(), environment.end());
    if (!failpoints.empty()) options.env.push_back("LONGRUN_FAILPOINTS=" + failpoints);
    options.stderr_path = log;
    options.stdout_path = log;
    options.die_with_parent = true;
    return Spawn(options);
  }
  // Until it answers; its address file is written when it serves.
  void Start(const std::vector<std::string>& arguments = {}) {
    (void)RemoveAll(JoinPath(state, "coordinator.address"));
    pid = Launch(arguments).value();
    while (!PathExists(JoinPath(state, "coordinator.address"))) {
      const auto ended = WaitFor(pid, 10);
      ASSERT_TRUE(ended.ok() && !*ended) << ReadFile(log).value();
    }
    const std::string address = ReadCoordinatorAddress(state).value();
    // Not the connection to a daemon of before at the same address.
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel =
        grpc::CreateCustomChannel(GrpcTarget(address), grpc::InsecureChannelCredentials(), own);
    ASSERT_TRUE(
        channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30)));
    sweeps = v1::SweepService::NewStub(channel);
  }
  ExitInfo End(int signal_number) { return End(pid, signal_number); }
  static ExitInfo End(int& of, int signal_number) {
    kill(of, signal_number);
    const auto ended = WaitFor(of, kEndMsMax);
    of = -1;
    return ended.ok() && *ended ? **ended : ExitInfo{.code = -1};
  }
  // The exit code of a daemon that should not come up, and what it said.
  int RefusedWith(const std::vector<std::string>& arguments, std::string* said) {
    (void)RemoveAll(log);
    const auto ended = WaitFor(Launch(arguments).value(), kEndMsMax);
    *said = ReadFile(log).value();
    return ended.ok() && *ended ? (*ended)->code : -1;
  }
  static void SetDeadline(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  }
  v1::GetServerInfoResponse Info() {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::GetServerInfoResponse info;
    const grpc::Status status = sweeps->GetServerInfo(&context, {}, &info);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return info;
  }
  std::string MetricsPage() {
    const std::string address(Trim(ReadFile(JoinPath(state, "coordinator.metrics")).value()));
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer.sin_port =
        htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer), 0);
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    std::string page;
    char part[4096];
    for (ssize_t n = 0; (n = read(fd, part, sizeof part)) > 0;) {
      page.append(part, static_cast<std::size_t>(n));
    }
    close(fd);
    return page;
  }

  TempFolder folder;
  std::string state = JoinPath(folder.path(), "state");
  std::string log = JoinPath(folder.path(), "log");
  std::string failpoints;
  std::vector<std::string> environment;
  std::vector<std::string> through = {};  // a program that runs the coordinator in its place
  int pid = -1;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::SweepService::Stub> sweeps;
};

TEST_F(DaemonTest, ItServesInAPrivateFolderAndStopsInOrder) {
  Start();

  EXPECT_EQ(Info().protocol_version(), kProtocolNewest);
  EXPECT_EQ(Info().protocol_oldest(), kProtocolOldest);
  struct stat info {};
  ASSERT_EQ(stat(state.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);

  EXPECT_EQ(End(SIGTERM).code, 0) << ReadFile(log).value();
  EXPECT_FALSE(PathExists(JoinPath(state, "coordinator.address")));
}

TEST_F(DaemonTest, ATerminalThatClosesEndsItInOrderUnlessItWasStartedWithNohup) {
  Start();
  EXPECT_EQ(End(SIGHUP).code, 0) << ReadFile(log).value();
  EXPECT_FALSE(PathExists(JoinPath(state, "coordinator.address")));

  log = JoinPath(folder.path(), "log of the other one");
  through = {"/usr/bin/nohup"};
  Start();
  EXPECT_EQ(kill(pid, SIGHUP), 0);
  EXPECT_EQ(Info().pid(), pid);
  // Of two signals that wait, the lower number would come first.
  EXPECT_EQ(End(SIGTERM).code, 0);
  const std::string said = ReadFile(log).value();
  EXPECT_NE(said.find(Str("stopping signal=", SIGTERM)), std::string::npos) << said;
}

TEST_F(DaemonTest, KilledItComesBackAsTheSameCoordinator) {
  Start();
  const std::string id = Info().coordinator_id();
  EXPECT_EQ(End(SIGKILL).signal, SIGKILL);

  Start();

  EXPECT_EQ(Info().coordinator_id(), id);
  EXPECT_EQ(Info().boot_epoch(), 2);
}

TEST_F(DaemonTest, WithoutItsSocketItEndsInOrderAndANewStartMakesOne) {
  Start();
  const std::string id = Info().coordinator_id();
  ASSERT_TRUE(RemoveAll(JoinPath(state, "coordinator.sock")).ok());

  const auto ended = WaitFor(pid, kEndMsMax);
  ASSERT_TRUE(ended.ok() && *ended);
  pid = -1;
  EXPECT_EQ((*ended)->code, kExitStorage);
  EXPECT_NE(ReadFile(log).value().find("coordinator.sock was removed"), std::string::npos);
  EXPECT_FALSE(PathExists(JoinPath(state, "coordinator.address")));

  Start();
  EXPECT_EQ(Info().coordinator_id(), id);
}

TEST_F(DaemonTest, CheckHealthSaysWhetherItServes) {
  std::string said;
  EXPECT_EQ(RefusedWith({"--check-health"}, &said), 69);
  EXPECT_NE(said.find(Str("no coordinator serves ", state)), std::string::npos) << said;

  Start();
  EXPECT_EQ(RefusedWith({"--check-health"}, &said), 0) << said;
  EXPECT_EQ(said, "");

  // It accepts connections, but does not answer.
  kill(pid, SIGSTOP);
  EXPECT_EQ(RefusedWith({"--check-health"}, &said), 69);
  EXPECT_NE(said.find("does not answer"), std::string::npos) << said;
  kill(pid, SIGCONT);
  EXPECT_EQ(RefusedWith({"--check-health"}, &said), 0) << said;

  // Its address stays behind.
  EXPECT_EQ(End(SIGKILL).signal, SIGKILL);
  EXPECT_EQ(RefusedWith({"--check-health"}, &said), 69);
  EXPECT_NE(said.find("does not answer"), std::string::npos) << said;
}

TEST_F(DaemonTest, ASecondOneOnTheSameFolderIsRefused) {
  Start();
  std::string said;

  EXPECT_EQ(RefusedWith({}, &said), 69);
  EXPECT_NE(said.find(Str("another coordinator (pid ", pid, ")")), std::string::npos) << said;
}

TEST_F(DaemonTest, AFolderThatCannotBeIsAWrongConfiguration) {
  for (const char* const place : {"/dev/null", "/proc/none"}) {
    state = place;
    std::string said;
    EXPECT_EQ(RefusedWith({}, &said), 78) << said;
    EXPECT_NE(said.find(Str("cannot make folder ", place)), std::string::npos) << said;
  }
}

// It serves by then, so what it has begun ends in order.
TEST_F(DaemonTest, OneThatCannotWriteItsAddressesEndsWithTheReason) {
  const std::string file = JoinPath(state, "coordinator.metrics");
  ASSERT_TRUE(MakeFolders(file, 0700).ok());
  std::string said;
  EXPECT_GT(RefusedWith({}, &said), 0) << said;
  EXPECT_NE(said.find("cannot_serve"), std::string::npos) << said;
  EXPECT_NE(said.find(file), std::string::npos) << said;
  ASSERT_TRUE(RemoveAll(file).ok());
  Start();
  EXPECT_EQ(End(SIGTERM).code, 0);
}

// Beside a momentary coordinator, which ends with its command.
class WaitingDaemonTest : public DaemonTest {
 protected:
  ~WaitingDaemonTest() override {
    if (waiting > 0) End(waiting, SIGKILL);
  }
  void StartBesideACommand() {
    Start({"--momentary"});
    log = JoinPath(folder.path(), "log of the waiting one");
    waiting = Launch({}).value();
    const std::string line = Str("waits_for_command pid=", pid, " meaning=\"a command uses ");
    ASSERT_TRUE(WaitUntil(kEndMsMax, [&] {
      const Result<std::string> text = ReadFile(log);
      return HasEnded(waiting) || (text.ok() && text->find(line) != std::string::npos);
    }));
    ASSERT_FALSE(HasEnded(waiting)) << ReadFile(log).value();
  }

  int waiting = -1;
};

TEST_F(WaitingDaemonTest, ServesOnceTheCommandHasEnded) {
  StartBesideACommand();
  EXPECT_EQ(End(SIGTERM).code, 0);

  EXPECT_TRUE(WaitUntil(kEndMsMax, [&] {
    const std::optional<CoordinatorHolder> holder = ReadCoordinatorLock(state);
    return holder && holder->pid == waiting && !holder->is_momentary;
  })) << ReadFile(log).value();
  EXPECT_EQ(End(waiting, SIGTERM).code, 0) << ReadFile(log).value();
}

TEST_F(WaitingDaemonTest, EndsWhenItIsAskedTo) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    StartBesideACommand();
    const ExitInfo ended = End(waiting, signal);
    EXPECT_EQ(ended.signal, 0);
    EXPECT_EQ(ended.code, 0) << ReadFile(log).value();
    EXPECT_TRUE(Info().pid() == pid) << "the command's coordinator has gone";
    EXPECT_EQ(End(SIGTERM).code, 0);
  }
}

// Nobody has a certificate or a token here, and metrics are refused beyond loopback: a service with
// this environment cannot start.
TEST_F(DaemonTest, ThatOfACommandServesNeitherOtherMachinesNorMetrics) {
  const std::vector<std::pair<std::string, int>> variables = {{"LONGRUN_LISTEN=127.0.0.1:0", 78},
                                                              {"LONGRUN_LISTEN=nowhere", 64},
                                                              {"LONGRUN_METRICS=0.0.0.0:0", 64}};
  for (const auto& [variable, code] : variables) {
    environment = {variable};
    std::string said;
    EXPECT_EQ(RefusedWith({}, &said), code) << variable;

    Start({"--momentary"});
    EXPECT_EQ(Info().metrics_address(), "") << variable;
    EXPECT_FALSE(PathExists(JoinPath(state, "coordinator.network"))) << variable;
    EXPECT_FALSE(PathExists(JoinPath(state, "coordinator.metrics"))) << variable;
    EXPECT_EQ(End(SIGTERM).code, 0) << variable;
  }
}

TEST_F(DaemonTest, ARepairDoesNotWaitForACommand) {
  Start({"--momentary"});
  const int command = pid;
  std::string said;

  EXPECT_EQ(RefusedWith({"--repair"}, &said), 69);
  EXPECT_NE(said.find(Str("a command uses the state folder ", state, " (its coordinator has pid ",
                          command, "): try again once that command has ended")),
            std::string::npos)
      << said;
}

TEST_F(DaemonTest, TwoPlacesOfOneKindAreRefused) {
  std::string said;

  EXPECT_EQ(RefusedWith({"--listen", "unix:/a", "--listen", "unix:/b"}, &said), 64);
  EXPECT_NE(said.find("give at most one unix:PATH and one HOST:PORT"), std::string::npos) << said;
}

TEST_F(DaemonTest, AFirstBackOffLongerThanTheLimitIsRefused) {
  std::string said;

  EXPECT_EQ(RefusedWith({"--back-off-base-ms", "200", "--back-off-limit-ms", "100"}, &said), 64);
  EXPECT_NE(said.find("--back-off-base-ms 200 is more than --back-off-limit-ms 100"),
            std::string::npos)
      << said;
}

TEST_F(DaemonTest, MetricsAreRefusedBeyondLoopbackAndOnAPortInUse) {
  std::string said;
  EXPECT_EQ(RefusedWith({"--metrics", "0.0.0.0:0"}, &said), 64);
  EXPECT_NE(said.find("loopback"), std::string::npos) << said;
  Start();
  const std::string taken(Trim(ReadFile(JoinPath(state, "coordinator.metrics")).value()));
  state = JoinPath(folder.path(), "other");

  EXPECT_EQ(RefusedWith({"--metrics", taken}, &said), 69);
  EXPECT_NE(said.find("the port is in use"), std::string::npos) << said;
}

TEST_F(DaemonTest, ThePageHasEachMetricFromTheStart) {
  Start();

  const std::string page = MetricsPage();

  // Of workers, sweeps and results there are none yet.
  const std::set<Metric> later = {Metric::kAttemptFailures, Metric::kJournalBacklogBytes,
                                  Metric::kSweepTasks, Metric::kResultPpl,
                                  Metric::kResultPseudoPpl};
  for (const MetricRow& row : MetricTable()) {
    if (row.owner == MetricOwner::kWorker) continue;
    const std::string name =
        Str("\n", row.name, row.type == MetricType::kHistogram ? "_count" : "");
    const bool there =
        page.find(name + "{") != std::string::npos || page.find(name + " ") != std::string::npos;
    EXPECT_NE(there, later.contains(row.metric)) << row.name;
  }
  for (const char* call : {"GetSweep", "Session", "UploadArtifact"}) {
    const std::string line =
        Str("\nlongrun_grpc_server_handled_total{code=\"INTERNAL\",method=\"", call, "\"} 0\n");
    EXPECT_NE(page.find(line), std::string::npos) << line;
  }
}

TEST_F(DaemonTest, AStateFolderTooDeepForASocketNamesWhereTheSocketIs) {
  state = JoinPath(folder.path(), std::string(120, 'd'));

  Start();

  EXPECT_EQ(Info().state_folder(), state);
  EXPECT_EQ(End(SIGTERM).code, 0);
}

TEST_F(DaemonTest, AStateFolderWithACommaNamesWhereTheSocketIs) {
  state = JoinPath(folder.path(), "a,b");

  Start();

  EXPECT_EQ(ReadCoordinatorAddress(state)->find(','), std::string::npos);
  EXPECT_EQ(Info().state_folder(), state);
  EXPECT_EQ(End(SIGTERM).code, 0);
}

TEST_F(DaemonTest, ASocketThatNobodyCouldReachIsRefused) {
  std::string said;

  EXPECT_EQ(RefusedWith({"--listen", "unix:/tmp/a,b"}, &said), 64);
  EXPECT_NE(said.find("--listen unix:/tmp/a,b: the path of the socket, /tmp/a,b, has a comma"),
            std::string::npos)
      << said;
  const std::string name(100, 'n');  // short enough until it is absolute
  EXPECT_EQ(RefusedWith({"--listen", "unix:" + name}, &said), 64);
  EXPECT_NE(said.find("bytes: expected 1 to 107"), std::string::npos) << said;
}

TEST_F(DaemonTest, AWorkerOutsideOfTheRangeOfProtocolsIsToldWhichSideToUpdate) {
  Start();
  const auto sessions = v1::WorkerSessionService::NewStub(channel);
  const auto refusal = [&](int oldest, int newest) {
    grpc::ClientContext context;
    SetDeadline(context);
    const auto stream = sessions->Session(&context);
    v1::WorkerMessage message;
    message.mutable_hello()->set_protocol_version(oldest);
    message.mutable_hello()->set_protocol_newest(newest);
    EXPECT_TRUE(stream->Write(message));
    return stream->Finish();
  };

  const grpc::Status newer = refusal(98, 99);
  const grpc::Status older = refusal(0, 0);

  EXPECT_EQ(newer.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(newer.error_message().find("versions 98 to 99"), std::string::npos);
  EXPECT_NE(newer.error_message().find("update the coordinator"), std::string::npos);
  EXPECT_EQ(older.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(older.error_message().find("version 0"), std::string::npos);
  EXPECT_NE(older.error_message().find("update the worker"), std::string::npos);
}

TEST_F(DaemonTest, AMomentaryCoordinatorServesNeitherWorkersNorPilotsNorWatchers) {
  Start({"--momentary"});
  EXPECT_TRUE(Info().is_momentary());
  const auto expect_refused = [](const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_NE(status.error_message().find("no service is running"), std::string::npos)
        << status.error_message();
  };
  {
    const auto sessions = v1::WorkerSessionService::NewStub(channel);
    grpc::ClientContext context;
    SetDeadline(context);
    const auto stream = sessions->Session(&context);
    v1::WorkerMessage message;
    message.mutable_hello()->set_protocol_version(kProtocolOldest);
    message.mutable_hello()->set_protocol_newest(kProtocolNewest);
    message.mutable_hello()->set_worker_id("box");
    EXPECT_TRUE(stream->Write(message));
    expect_refused(stream->Finish());
  }
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::ReportPilotResponse answer;
    expect_refused(sweeps->ReportPilot(&context, {}, &answer));
  }
  {
    grpc::ClientContext context;
    SetDeadline(context);
    const auto stream = sweeps->WatchSweep(&context, {});
    v1::WatchSweepResponse message;
    EXPECT_FALSE(stream->Read(&message));
    expect_refused(stream->Finish());
  }
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ListWorkersResponse workers;
  EXPECT_TRUE(sweeps->ListWorkers(&context, {}, &workers).ok());
  EXPECT_EQ(workers.workers_size(), 0);
}

TEST_F(DaemonTest, ABadSweepFileIsAnsweredWithItsPlaceForPeopleAndPrograms) {
  Start();
  grpc::ClientContext context;
  SetDeadline(context);
  v1::SubmitSweepRequest request;
  request.set_file_name("bad.yaml");
  request.set_yaml("apiVersion: longrun/v1\nkind: Swep\n");
  v1::SubmitSweepResponse response;

  const grpc::Status status = sweeps->SubmitSweep(&context, request, &response);

  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("bad.yaml:2:"), std::string::npos);
  const auto trailer = context.GetServerTrailingMetadata().find("longrun-error-bin");
  ASSERT_NE(trailer, context.GetServerTrailingMetadata().end());
  v1::ErrorDetail detail;
  ASSERT_TRUE(detail.ParseFromString(std::string(trailer->second.data(), trailer->second.size())));
  EXPECT_EQ(detail.reason(), "SWEEP_INVALID");
  EXPECT_GE(detail.violations_size(), 1);
}

TEST_F(DaemonTest, WithoutRoomOnTheDiskASubmissionIsRefused) {
  Start({"--disk-low-water", "4611686018427387904"});  // 4 EiB
  grpc::ClientContext context;
  SetDeadline(context);
  v1::SubmitSweepResponse response;

  const grpc::Status status = sweeps->SubmitSweep(&context, {}, &response);

  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(status.error_message().find("make room"), std::string::npos);
}

// A submission of 1,200 runs, which are stored in several transactions.
class LargeSubmissionTest : public DaemonTest {
 protected:
  LargeSubmissionTest() {
    const auto store = Store::Open(state).value();
    EXPECT_TRUE(store->Begin().ok());
    EXPECT_TRUE(store->PutDataset({.info = SampleDataset(), .folder = folder.path()}).ok());
    EXPECT_TRUE(store->Commit().ok());
    request.set_file_name("sample.yaml");
    SetSeeds(600);
  }
  // The sweep has two runs for each.
  void SetSeeds(int n) {
    std::string seeds = "1";
    for (int seed = 2; seed <= n; ++seed) StrAppend(seeds, Str(", ", seed));
    request.set_yaml(std::regex_replace(std::string(kSampleYaml), std::regex("seed: \\[1\\]"),
                                        Str("seed: [", seeds, "]")));
  }
  grpc::Status Submit() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::milliseconds(4 * kEndMsMax));
    return sweeps->SubmitSweep(&context, request, &response);
  }

  // Another call, which is written to the audit log: the parts that are there are committed first.
  // It reads nothing of the database: a read at each commit would keep the write-ahead log long.
  void WriteSomething() {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::RevokeTokenRequest unknown;
    unknown.set_id("no-such-token");
    v1::RevokeTokenResponse none;
    EXPECT_FALSE(v1::IdentityService::NewStub(channel)->RevokeToken(&context, unknown, &none).ok());
  }
  static bool IsReady(const std::future<grpc::Status>& call) {
    return call.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

  v1::SubmitSweepRequest request;
  v1::SubmitSweepResponse response;
};

// Whoever may only read may ask for plans of the largest sweeps.
TEST_F(LargeSubmissionTest, DoesNotWaitForPlans) {
  failpoints = Str("plan_begins:delay_ms:", 100 * kEndMsMax);
  Start();
  SetSeeds(1);
  grpc::ClientContext context;
  auto planned = std::async(std::launch::async, [&] {
    v1::PlanSweepRequest plan;
    plan.set_file_name(request.file_name());
    plan.set_yaml(request.yaml());
    v1::PlanSweepResponse of_plan;
    return sweeps->PlanSweep(&context, plan, &of_plan);
  });
  const grpc::Status submitted = Submit();
  EXPECT_TRUE(submitted.ok()) << submitted.error_message();
  EXPECT_FALSE(IsReady(planned));
  EXPECT_EQ(End(SIGKILL).signal, SIGKILL);
  EXPECT_FALSE(planned.get().ok());
}

// The runs that are still to come are not listed as lost.
TEST_F(LargeSubmissionTest, MeanwhileThePartsAreListed) {
  failpoints = "part_stored:delay_ms:500";
  Start();
  auto submitted = std::async(std::launch::async, [this] { return Submit(); });
  bool is_last = false, saw_a_part = false;
  while (!is_last) {
    is_last = IsReady(submitted);
    WriteSomething();
    v1::ListSweepsResponse list;
    grpc::ClientContext context;
    SetDeadline(context);
    ASSERT_TRUE(sweeps->ListSweeps(&context, {}, &list).ok());
    EXPECT_TRUE(context.GetServerTrailingMetadata().empty());  // no damage
    if (list.sweeps_size() == 0) continue;
    EXPECT_EQ(list.sweeps(0).state(), "PENDING");
    saw_a_part = saw_a_part || list.sweeps(0).runs() < 1200;
    EXPECT_TRUE(!is_last || list.sweeps(0).runs() == 1200);
  }
  EXPECT_TRUE(submitted.get().ok());
  EXPECT_TRUE(saw_a_part);
}

TEST_F(LargeSubmissionTest, KilledInTheMiddleItHasNothingOfIt) {
  failpoints = "part_stored:delay_ms:500,parts_committed:exit";
  Start();
  auto submitted = std::async(std::launch::async, [this] { return Submit(); });
  while (!IsReady(submitted)) WriteSomething();
  EXPECT_EQ(submitted.get().error_code(), grpc::StatusCode::UNAVAILABLE);
  const auto ended = WaitFor(pid, kEndMsMax);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, kFailpointExitCode);

  failpoints.clear();
  Start();
  EXPECT_NE(ReadFile(log).value().find("submission_dropped"), std::string::npos);
  v1::ListSweepsResponse list;
  grpc::ClientContext context;
  SetDeadline(context);
  ASSERT_TRUE(sweeps->ListSweeps(&context, {}, &list).ok());
  EXPECT_EQ(list.sweeps_size(), 0);
  const grpc::Status again = Submit();
  ASSERT_TRUE(again.ok()) << again.error_message();
  EXPECT_EQ(response.counts().runs_new(), 1200);
  EXPECT_EQ(response.counts().train_tasks_new(), 1200);
  EXPECT_EQ(response.counts().evaluate_tasks_new(), 1200);
  EXPECT_EQ(End(SIGTERM).code, 0);
  // The row sums and the references hold.
  const auto store = Store::Open(state, {.checks_any_size = true}).value();
  EXPECT_TRUE(store->damaged().empty());
  const State loaded = store->Load().value();
  EXPECT_EQ(loaded.submitting, "");
  EXPECT_EQ(loaded.runs.size(), 1200u);
  EXPECT_EQ(loaded.tasks.size(), 2400u);
  EXPECT_EQ(loaded.sweep_tasks.at(response.sweep_id()).size(), 2400u);
}

// An order about the 2,400 tasks takes several steps.
class LargeOrderTest : public LargeSubmissionTest {
 protected:
  void StartWithTheSweep() {
    Start();
    const grpc::Status submitted = Submit();
    ASSERT_TRUE(submitted.ok()) << submitted.error_message();
  }
  std::future<grpc::Status> Cancel(v1::CancelSweepResponse* cancelled) {
    return std::async(std::launch::async, [this, cancelled] {
      grpc::ClientContext context;
      SetDeadline(context);
      v1::CancelSweepRequest cancel;
      cancel.set_sweep(response.sweep_id());
      return sweeps->CancelSweep(&context, cancel, cancelled);
    });
  }
  bool IsListedAs(const std::string& name) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::ListSweepsResponse list;
    EXPECT_TRUE(sweeps->ListSweeps(&context, {}, &list).ok());
    return list.sweeps_size() == 1 && list.sweeps(0).state() == name;
  }
};

TEST_F(LargeOrderTest, OthersHaveTheirTurnBetweenItsSteps) {
  const std::string go_on = JoinPath(folder.path(), "go_on");
  failpoints = Str("order_step_committed:wait_for:", go_on);
  StartWithTheSweep();
  v1::CancelSweepResponse cancelled, again;
  auto first = Cancel(&cancelled);

  EXPECT_TRUE(WaitUntil(kEndMsMax, [&] { return IsListedAs("CANCELLED"); }));
  WriteSomething();
  grpc::ClientContext context;
  SetDeadline(context);
  v1::RemoveSweepRequest remove;
  remove.set_sweep(response.sweep_id());
  v1::RemoveSweepResponse none;
  const grpc::Status refused = sweeps->RemoveSweep(&context, remove, &none);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(refused.error_message().find("is still going through its tasks"), std::string::npos)
      << refused.error_message();
  auto second = Cancel(&again);
  EXPECT_FALSE(IsReady(first));
  EXPECT_FALSE(IsReady(second));

  ASSERT_TRUE(WriteFileAtomic(go_on, "").ok());
  EXPECT_TRUE(first.get().ok());
  EXPECT_EQ(cancelled.tasks_cancelled(), 2400);
  EXPECT_TRUE(second.get().ok());
  EXPECT_EQ(again.tasks_cancelled(), 0);
}

TEST_F(LargeOrderTest, KilledInTheMiddleItIsCarriedOutByTheNextStart) {
  failpoints = "order_step_committed:exit@2";
  StartWithTheSweep();
  v1::CancelSweepResponse cancelled;
  EXPECT_EQ(Cancel(&cancelled).get().error_code(), grpc::StatusCode::UNAVAILABLE);
  const auto ended = WaitFor(pid, kEndMsMax);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, kFailpointExitCode);
  const auto n_cancelled = [](const State& loaded) {
    return std::ranges::count_if(
        loaded.tasks, [](const auto& one) { return one.second.state == TaskState::kCancelled; });
  };
  {
    const State loaded = Store::Open(state).value()->Load().value();
    ASSERT_TRUE(loaded.order.has_value());
    EXPECT_EQ(loaded.order->kind, OrderKind::kCancel);
    EXPECT_EQ(loaded.order->sweep_id, response.sweep_id());
    EXPECT_GT(n_cancelled(loaded), 0);
    EXPECT_LT(n_cancelled(loaded), 2400);
  }

  failpoints.clear();
  Start();
  EXPECT_NE(ReadFile(log).value().find("order_continued order=cancel"), std::string::npos);
  EXPECT_EQ(End(SIGTERM).code, 0);
  const State loaded = Store::Open(state).value()->Load().value();
  EXPECT_FALSE(loaded.order.has_value());
  EXPECT_EQ(n_cancelled(loaded), 2400);
}

// Without a checkpoint in between it would grow to some 200 MB.
TEST_F(LargeSubmissionTest, TheWriteAheadLogStaysSmallWhileOthersWrite) {
  SetSeeds(4000);
  failpoints = "part_stored:delay_ms:50";
  Start();
  auto submitted = std::async(std::launch::async, [this] { return Submit(); });
  std::int64_t n_bytes_most = 0;
  while (!IsReady(submitted)) {
    WriteSomething();
    n_bytes_most = std::max(n_bytes_most, FileBytes(JoinPath(state, "longrun.db-wal")).value());
  }
  EXPECT_TRUE(submitted.get().ok());
  EXPECT_GT(n_bytes_most, std::int64_t{1} << 20);
  EXPECT_LT(n_bytes_most, std::int64_t{64} << 20);
}

// ---- users' SQL, each in a child of the daemon --------------------------------------------------

constexpr const char* kEndless =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";

class DaemonQueryTest : public DaemonTest {
 protected:
  grpc::Status Ask(grpc::ClientContext& context, const std::string& sql, std::string* rows) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::milliseconds(2 * kEndMsMax));
    v1::QueryRequest request;
    request.set_sql(sql);
    request.set_timeout_ms(60'000);
    v1::QueryResponse response;
    const grpc::Status status = sweeps->Query(&context, request, &response);
    if (rows != nullptr) *rows = response.rows_json();
    return status;
  }
  std::string Rows(const std::string& sql) {
    grpc::ClientContext context;
    std::string rows;
    const grpc::Status status = Ask(context, sql, &rows);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return rows;
  }
  // The endless query, asked on another thread; returns when its process computes.
  std::future<grpc::Status> AskEndless(grpc::ClientContext& context) {
    auto status = std::async(std::launch::async,
                             [this, &context] { return Ask(context, kEndless, nullptr); });
    EXPECT_TRUE(WaitUntil(kEndMsMax, [this] { return HasWorked(pid); }));
    return status;
  }
};

// The same query may use rows of any sweep, or of one: then the others cost it nothing.
TEST_F(DaemonQueryTest, AMissingMemberIsLookedForInTheSweepThatTheQueryUses) {
  const std::string whole = "01BX5ZZKBKACTAV9WEVGEMMVRZ", lacking = "01BX5ZZKBKACTAV9WEVGEMMVS0";
  {
    const auto store = Store::Open(state).value();
    State stored = store->Load().value();
    AfterLoad(stored, 1000, 1);
    EXPECT_TRUE(store->Begin().ok());
    EXPECT_TRUE(store->PutDataset({.info = SampleDataset(), .folder = folder.path()}).ok());
    for (const std::string& id : {whole, lacking}) {
      const StepResult step = Step(stored, SampleSubmission(id), 1000, 1'700'000'000'000);
      ApplyCounts counts;
      EXPECT_TRUE(store->Apply(step.writes, 1'700'000'000'000, counts).ok());
    }
    EXPECT_TRUE(store->Commit().ok());
    const auto connection =
        Connection::Open(store->database_path(), Connection::Mode::kWrite).value();
    EXPECT_TRUE(
        connection
            ->Execute(Str("DELETE FROM sweep_run WHERE ordinal = 0 AND sweep = '", lacking, "'"))
            .ok());
  }
  Start();
  const auto damage_told = [this](const std::string& sweep_id) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::QueryRequest request;
    request.set_sql("SELECT count(*) FROM sweep_runs");
    request.set_sweep_id(sweep_id);
    v1::QueryResponse response;
    const grpc::Status status = sweeps->Query(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.rows_json(), "[[3]]");
    const auto& trailers = context.GetServerTrailingMetadata();
    const auto told = trailers.find("longrun-damaged-bin");
    return told == trailers.end() ? "" : std::string(told->second.data(), told->second.size());
  };

  EXPECT_EQ(damage_told(whole), "");
  EXPECT_NE(damage_told(lacking).find(Str("run number 1 of sweep ", lacking)), std::string::npos);
  EXPECT_NE(damage_told("").find(Str("run number 1 of sweep ", lacking)), std::string::npos);
}

TEST_F(DaemonQueryTest, AKilledQueryIsAnErrorAndTheServiceGoesOn) {
  Start();
  grpc::ClientContext context;
  auto status = AskEndless(context);
  const std::vector<int> children = ChildrenOf(pid);
  ASSERT_EQ(children.size(), 1u);
  kill(children[0], SIGKILL);

  const grpc::Status told = status.get();
  EXPECT_EQ(told.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_NE(told.error_message().find("was killed by signal 9 before it had answered"),
            std::string::npos)
      << told.error_message();
  EXPECT_EQ(Rows("SELECT 7"), "[[7]]");
  EXPECT_EQ(End(SIGTERM).code, 0);
}

TEST_F(DaemonQueryTest, AQuerysProcessHasNothingOfTheDaemonsButItsOutput) {
  Start();
  grpc::ClientContext context;
  auto status = AskEndless(context);
  const std::vector<int> children = ChildrenOf(pid);
  ASSERT_EQ(children.size(), 1u);
  const std::string process = Str("/proc/", children[0]);

  EXPECT_EQ(ReadFile(process + "/comm").value(), "longrun-query\n");
  EXPECT_EQ(ReadFile(process + "/environ").value(), "");
  for (const auto& entry : std::filesystem::directory_iterator(process + "/fd")) {
    const std::string number = entry.path().filename().string();
    const std::string target = std::filesystem::read_symlink(entry.path()).string();
    if (number == "0" || number == "1") {
      EXPECT_TRUE(target.starts_with("socket:")) << target;
    } else {
      EXPECT_TRUE(number == "2" ? target == log : target.starts_with(state + "/longrun.db"))
          << number << " " << target;
    }
  }

  context.TryCancel();
  EXPECT_EQ(status.get().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(DaemonQueryTest, ACancelledQueryLeavesNoProcess) {
  Start();
  grpc::ClientContext context;
  auto status = AskEndless(context);
  context.TryCancel();

  EXPECT_EQ(status.get().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitUntil(kEndMsMax, [this] { return ChildrenOf(pid).empty(); }));
  EXPECT_EQ(Rows("SELECT 7"), "[[7]]");
}

TEST_F(DaemonQueryTest, AKilledDaemonLeavesNoQuery) {
  Start();
  grpc::ClientContext context;
  auto status = AskEndless(context);
  const std::vector<int> children = ChildrenOf(pid);
  ASSERT_EQ(children.size(), 1u);

  EXPECT_EQ(End(SIGKILL).signal, SIGKILL);

  EXPECT_TRUE(WaitUntil(kEndMsMax, [&] { return HasEnded(children[0]); }));
  EXPECT_FALSE(status.get().ok());
}

TEST_F(DaemonQueryTest, ADaemonThatStopsEndsItsQueries) {
  Start();
  grpc::ClientContext context;
  auto status = AskEndless(context);

  EXPECT_EQ(End(SIGTERM).code, 0) << ReadFile(log).value();
  EXPECT_FALSE(status.get().ok());
}

TEST_F(DaemonQueryTest, WritesGoOnWhileAQueryExhaustsItsMemory) {
  const std::string text = JoinPath(folder.path(), "a.txt");
  const std::string dataset = JoinPath(folder.path(), "toy");
  ASSERT_TRUE(WriteFileAtomic(text, "hello to the world").ok());
  ImportSpec spec;
  spec.splits = {{"train", {text}}};
  const Status imported = ImportText(spec, dataset);
  ASSERT_TRUE(imported.ok()) << imported.message();
  Start();
  grpc::ClientContext context;
  auto hungry = std::async(std::launch::async, [&] {
    return Ask(context,
               "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c "
               "ORDER BY x DESC",
               nullptr);
  });
  int n_written = 0;
  do {
    grpc::ClientContext own;
    SetDeadline(own);
    v1::RegisterDatasetRequest request;
    request.set_name(Str("toy-", n_written));
    request.set_folder(dataset);
    v1::RegisterDatasetResponse response;
    const grpc::Status written = sweeps->RegisterDataset(&own, request, &response);
    ASSERT_TRUE(written.ok()) << written.error_message();
    ++n_written;
  } while (hungry.wait_for(std::chrono::seconds(0)) != std::future_status::ready);

  const grpc::Status told = hungry.get();
  EXPECT_EQ(told.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(told.error_message().find("more than 128 MiB"), std::string::npos);
  EXPECT_EQ(Rows("SELECT count(*) FROM datasets"), Str("[[", n_written, "]]"));
}

TEST_F(DaemonQueryTest, QueriesBeyondTheThreadsWaitTheirTurn) {
  Start();
  std::vector<std::future<std::string>> rows;
  for (int i = 0; i < 8; ++i) {
    rows.push_back(std::async(std::launch::async, [this, i] { return Rows(Str("SELECT ", i)); }));
  }
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(rows[static_cast<std::size_t>(i)].get(), Str("[[", i, "]]"));
  }
}

}  // namespace
}  // namespace longrun::coordinator
