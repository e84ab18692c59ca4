// A coordinator that serves other machines, with real processes: the daemon, the command line of a
// "laptop" that cannot read the state folder, and workers.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/host_port.h"
#include "base/process.h"
#include "base/str.h"
#include "pki/certificate.h"
#include "pki/files.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {

inline constexpr const char* kCoordinator = LONGRUN_BIN_DIR "/longrun-coordinator";
inline constexpr const char* kWorker = LONGRUN_BIN_DIR "/longrun-worker";
inline constexpr const char* kClient = LONGRUN_BIN_DIR "/longrun";
inline constexpr const char* kTrainer = LONGRUN_BIN_DIR "/longrun-fake-trainer";
inline constexpr std::int64_t kPatienceMs = DeadlineMs(60'000);

// Reads the dataset tiny.
inline constexpr const char* kTinySweep = R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, size: micro}
  matrix: {position: [alibi], train_length: [64], dataset: [tiny], seed: [1]}
  train: {tokens: 20480, batch_tokens: 1024}
  evaluate:
    - perplexity: {context_lengths: [64, 128], split: validation, protocol: nonoverlap, score_tokens: 2048}
)";

// A port of the loopback interface on which nobody listens, below those that the kernel gives to
// outgoing connections: a coordinator that is started again would not get such a port back while a
// connection has it, which may even be a client's that tries to reach that coordinator.
inline int FreePort() {
  constexpr int kLowest = 20'000, kFirstOfKernel = 32'768;
  // Programs that run at the same time begin at different ports.
  for (std::int64_t n = std::int64_t{getpid()} * 37;; ++n) {
    const int port = kLowest + static_cast<int>(n % (kFirstOfKernel - kLowest));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    const bool is_free = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    if (is_free) return port;
  }
}

inline std::chrono::system_clock::time_point After(std::int64_t ms) {
  return std::chrono::system_clock::now() + std::chrono::milliseconds(ms);
}

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

class NetworkTest : public ::testing::Test {
 protected:
  ~NetworkTest() override {
    for (int* const pid : {&worker, &coordinator}) Kill(*pid);
  }

  static void Kill(int& pid) {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    (void)WaitFor(pid, kPatienceMs);
    pid = 0;
  }

  std::string At(const std::string& name) const { return JoinPath(folder.path(), name); }

  // `longrun ARGUMENTS` on a machine with a home of its own, whose standard input is `input`.
  Ran Longrun(std::vector<std::string> arguments, const std::string& input = "",
              const std::string& failpoints = "") {
    const int pid = SpawnLongrun(std::move(arguments), input, failpoints);
    return EndOf(pid);
  }
  // The same, in the background: one at a time.
  int SpawnLongrun(std::vector<std::string> arguments, const std::string& input = "",
                   const std::string& failpoints = "") {
    const std::string in = At("in"), out = At("out"), err = At("err");
    for (const std::string& path : {out, err}) EXPECT_TRUE(RemoveAll(path).ok());
    EXPECT_TRUE(WriteFileAtomic(in, input).ok());
    SpawnOptions options;
    options.argv = {"/bin/sh", "-c", "exec \"$0\" \"$@\" < \"$STDIN\"", kClient};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.env = {"PATH=/usr/bin:/bin", Str("HOME=", laptop), Str("STDIN=", in)};
    options.env.insert(options.env.end(), laptop_env.begin(), laptop_env.end());
    if (!failpoints.empty()) options.env.push_back("LONGRUN_FAILPOINTS=" + failpoints);
    options.cwd = laptop;
    options.stdout_path = out;
    options.stderr_path = err;
    options.die_with_parent = true;
    return Spawn(options).value();
  }
  Ran EndOf(int pid) {
    const std::string out = At("out"), err = At("err");
    const auto ended = WaitFor(pid, kPatienceMs);
    Ran ran;
    if (ended.ok() && *ended) ran.code = (*ended)->code;
    ran.out = ReadFile(out).ok() ? ReadFile(out).value() : "";
    ran.err = ReadFile(err).ok() ? ReadFile(err).value() : "";
    return ran;
  }
  // The same on the coordinator's machine.
  Ran Here(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--state", state});
    return Longrun(std::move(arguments));
  }
  std::string NewToken(const std::string& role) {
    const Ran ran = Here({"admin", "token", "create", "--role", role});
    EXPECT_EQ(ran.code, 0) << ran.err;
    return std::string(Trim(ran.out));
  }
  std::string NewJoinToken(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"admin", "join-token", "create"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ran ran = Here(arguments);
    EXPECT_EQ(ran.code, 0) << ran.err;
    return std::string(Trim(ran.out));
  }
  void InitPki() {
    const Ran ran = Here({"admin", "pki", "init", "--name", "localhost", "--name", "127.0.0.1"});
    ASSERT_EQ(ran.code, 0) << ran.err;
    authority = ReadFile(PkiPathsOf(state).authority).value();
    fingerprint = ReadCertificate(authority).value().fingerprint;
  }

  Result<int> Launch(std::vector<std::string> arguments, const std::string& failpoints = "") {
    SpawnOptions options;
    options.argv = launcher;
    options.argv.insert(options.argv.end(), {kCoordinator, "--state", state});
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.env = {"PATH=/usr/bin:/bin"};
    if (!failpoints.empty()) options.env.push_back("LONGRUN_FAILPOINTS=" + failpoints);
    options.stdout_path = At("log");
    options.stderr_path = At("log");
    options.die_with_parent = true;
    return Spawn(options);
  }
  int RefusedWith(const std::vector<std::string>& arguments, std::string* said) {
    EXPECT_TRUE(RemoveAll(At("log")).ok());
    const auto ended = WaitFor(Launch(arguments).value(), kPatienceMs);
    *said = ReadFile(At("log")).value();
    return ended.ok() && *ended ? (*ended)->code : -1;
  }
  // On a free port of the loopback interface, or again on the one that it had before.
  void Start(std::vector<std::string> more = {}, const std::string& failpoints = "") {
    if (place.port == 0) place.port = FreePort();
    std::vector<std::string> arguments = {"--listen", Str("127.0.0.1:", place.port)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result<std::int64_t> log_begin = FileBytes(At("log"));
    const std::size_t begin = log_begin.ok() ? static_cast<std::size_t>(*log_begin) : 0;
    coordinator = Launch(arguments, failpoints).value();
    constexpr std::string_view kField = "network=127.0.0.1:";
    const bool serves = WaitUntil(kPatienceMs, [&] {
      const Result<std::string> log = ReadFile(At("log"));
      const std::size_t at = log.ok() ? log->find(kField, begin) : std::string::npos;
      if (at == std::string::npos || log->find('\n', at) == std::string::npos) return false;
      place = {.host = "127.0.0.1", .port = std::stoi(log->substr(at + kField.size()))};
      return true;
    });
    ASSERT_TRUE(serves) << ReadFile(At("log")).value();
  }
  void InitAndStart(std::vector<std::string> more = {}) {
    InitPki();
    admin = NewToken("admin");
    Start(std::move(more));
  }

  std::shared_ptr<grpc::Channel> Channel(const grpc::SslCredentialsOptions& tls) const {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(place.Text(), grpc::SslCredentials(tls), own);
  }
  std::shared_ptr<grpc::Channel> Channel() const {
    return Channel({.pem_root_certs = authority, .pem_private_key = "", .pem_cert_chain = ""});
  }
  // As the worker whose folder this is.
  std::shared_ptr<grpc::Channel> ChannelOf(const std::string& worker_folder) const {
    const std::string membership = JoinPath(worker_folder, "membership");
    return Channel({.pem_root_certs = authority,
                    .pem_private_key = ReadFile(JoinPath(membership, "key.pem")).value(),
                    .pem_cert_chain = ReadFile(JoinPath(membership, "certificate.pem")).value()});
  }

  // Calls a method with an empty request, whatever its kind.
  static grpc::Status Call(const std::shared_ptr<grpc::Channel>& channel, const std::string& path,
                           const std::string& token, std::int64_t wait_ms = kPatienceMs) {
    grpc::GenericStub stub(channel);
    grpc::ClientContext context;
    context.set_deadline(After(wait_ms));
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    grpc::CompletionQueue queue;
    const grpc::Slice empty("");
    const grpc::ByteBuffer bytes(&empty, 1);
    const auto call = stub.PrepareCall(&context, path, &queue);
    const auto next = [&] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    call->StartCall(nullptr);
    if (next()) {
      call->WriteLast(bytes, grpc::WriteOptions(), nullptr);
      next();
      grpc::ByteBuffer answer;
      bool more = true;
      while (more) {
        call->Read(&answer, nullptr);
        more = next();
      }
    }
    grpc::Status status;
    call->Finish(&status, nullptr);
    next();
    return status;
  }

  // With `trainer`, `more_arguments` and `worker_env`.
  int SpawnWorker(const std::string& name, const std::string& token_file) {
    SpawnOptions options;
    options.argv = {
        kWorker, "--state",     At(name),   "--coordinator",         place.Text(), "--id",
        name,    "--join",      token_file, "--ca-fingerprint",      fingerprint,  "--trainer",
        trainer, "--cpu-slots", "1",        "--disk-free-bytes-min", "0"};
    options.argv.insert(options.argv.end(), more_arguments.begin(), more_arguments.end());
    options.env = {"PATH=/usr/bin:/bin"};
    options.env.insert(options.env.end(), worker_env.begin(), worker_env.end());
    options.stdout_path = At(name + ".log");
    options.stderr_path = At(name + ".log");
    options.die_with_parent = true;
    return Spawn(options).value();
  }
  // A worker of that name on another machine.
  int SpawnThief(const std::string& name, const std::string& token_file) {
    SpawnOptions options;
    options.argv = {kWorker,     "--state",   At("thief"), "--coordinator", place.Text(),
                    "--id",      name,        "--join",    token_file,      "--ca-fingerprint",
                    fingerprint, "--trainer", kTrainer};
    options.stderr_path = At("thief.log");
    options.die_with_parent = true;
    return Spawn(options).value();
  }
  std::size_t CountInLog(const std::string& name, const std::string& what) const {
    const Result<std::string> log = ReadFile(At(name));
    std::size_t n = 0;
    for (std::size_t at = 0; log.ok() && (at = log->find(what, at)) != std::string::npos; ++at) ++n;
    return n;
  }
  void JoinWorker(const std::string& name) {
    const std::string file = At("join-token");
    ASSERT_TRUE(WriteFileAtomic(file, NewJoinToken() + "\n", 0600).ok());
    worker = SpawnWorker(name, file);
    ASSERT_TRUE(WaitUntil(kPatienceMs, [&] {
      return CountInLog(name + ".log", "session_welcomed") > 0;
    })) << ReadFile(At(name + ".log")).value();
  }

  TempFolder folder;
  std::string state = JoinPath(folder.path(), "state");
  std::string laptop = [this] {
    const std::string path = JoinPath(folder.path(), "laptop");
    EXPECT_TRUE(MakeFolders(path).ok());
    return path;
  }();
  std::string authority, fingerprint, admin;
  std::string trainer = kTrainer;
  std::vector<std::string> launcher;  // of the coordinator: a program with its arguments
  std::vector<std::string> more_arguments, worker_env, laptop_env;
  HostPort place;
  int coordinator = 0;
  int worker = 0;
};

}  // namespace longrun::coordinator
