// See daemon.h.
#include "coordinator/bench/daemon.h"

#include <signal.h>
#include <time.h>

#include <chrono>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "sweeps/coordinator_address.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kLookMs = 10;
constexpr auto kConnectTime = std::chrono::seconds(60);

}  // namespace

Daemon::Daemon(std::string state_folder, const std::string& network)
    : state_folder_(std::move(state_folder)) {
  const std::string address_path = CoordinatorAddressPath(state_folder_);
  LR_CHECK(RemoveAll(address_path).ok() && RemoveAll(LogPath()).ok());
  SpawnOptions options;
  options.argv = {JoinPath(ProgramFolder(), "longrun-coordinator"), "--state", state_folder_};
  if (!network.empty()) {
    options.argv.insert(
        options.argv.end(),
        {"--listen", network, "--listen", "unix:" + JoinPath(state_folder_, "coordinator.sock")});
  }
  options.env = {"PATH=/usr/bin:/bin"};
  options.stderr_path = LogPath();
  options.die_with_parent = true;
  const Result<int> pid = Spawn(options);
  LR_CHECK(pid.ok());
  pid_ = *pid;
  while (!PathExists(address_path)) {
    const auto ended = WaitFor(pid_, kLookMs);
    LR_CHECK(ended.ok() && !ended->has_value());
  }
  const Result<std::string> address = ReadCoordinatorAddress(state_folder_);
  LR_CHECK(address.ok());
  grpc::ChannelArguments own;  // must not share another daemon's connection
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  own.SetMaxReceiveMessageSize(-1);
  channel_ =
      grpc::CreateCustomChannel(GrpcTarget(*address), grpc::InsecureChannelCredentials(), own);
  LR_CHECK(channel_->WaitForConnected(std::chrono::system_clock::now() + kConnectTime));
}

Daemon::~Daemon() { End(SIGTERM); }

void Daemon::Kill() { End(SIGKILL); }

void Daemon::End(int signal) {
  channel_.reset();
  if (pid_ <= 0) return;
  kill(pid_, signal);
  (void)WaitFor(std::exchange(pid_, -1), -1);
}

int Daemon::port() const {
  constexpr std::string_view kField = "network=127.0.0.1:";
  const Result<std::string> log = ReadFile(LogPath());
  LR_CHECK(log.ok());
  const std::size_t at = log->find(kField);
  LR_CHECK(at != std::string::npos);
  return std::stoi(log->substr(at + kField.size()));
}

std::string Daemon::LogPath() const { return JoinPath(state_folder_, "bench.log"); }

double Daemon::CpuSeconds() const {
  clockid_t clock{};
  LR_CHECK(clock_getcpuclockid(pid_, &clock) == 0);
  timespec used{};
  LR_CHECK(clock_gettime(clock, &used) == 0);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

}  // namespace longrun::coordinator
