// See server.h.
#include "coordinator/server.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/service_type.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/access.h"
#include "base/clock.h"
#include "base/end_signals.h"
#include "base/exit_code.h"
#include "base/file_room.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/held_file.h"
#include "base/host_port.h"
#include "base/log.h"
#include "base/process.h"
#include "base/random.h"
#include "base/shortage.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/user_folders.h"
#include "base/utf8.h"
#include "base/version.h"
#include "coordinator/core.h"
#include "coordinator/exports.h"
#include "coordinator/rpc/artifacts.h"
#include "coordinator/rpc/authenticator.h"
#include "coordinator/rpc/call.h"
#include "coordinator/rpc/identity.h"
#include "coordinator/rpc/listener.h"
#include "coordinator/rpc/live_calls.h"
#include "coordinator/rpc/network.h"
#include "coordinator/rpc/pilots.h"
#include "coordinator/rpc/session.h"
#include "coordinator/rpc/session_memory.h"
#include "coordinator/rpc/sweep_service.h"
#include "coordinator/scrubber.h"
#include "pki/files.h"
#include "sweeps/coordinator_address.h"
#include "sweeps/message_size.h"

namespace longrun::coordinator {
namespace {

constexpr int kExecutorThreads = 4;
constexpr int kTransferThreads = 4;
constexpr std::size_t kJobsMax = 10'000;
constexpr std::size_t kSubmitJobsMax = 100;  // each holds a sweep file
constexpr std::size_t kPlanJobsMax = 100;    // the same
constexpr std::size_t kReceiveJobsMax = 20;
constexpr std::size_t kLogJobsMax = 1'000;
constexpr int kQuerierThreads = 2;
constexpr std::size_t kQueryJobsMax = 100;
// Our threads, the metrics server's and gRPC's together, on a machine with few cores.
constexpr int kThreadsMax = 41;
// The database on each thread that reads it, the two servers, and a few callers. With fewer, gRPC
// aborts or never accepts a call.
constexpr int kFilesMax = 68;
// Streams end within a tick and calls within moments; we do not wait for a client that sits on an
// idle connection without looking at it.
constexpr auto kShutdownGrace = std::chrono::seconds(1);
constexpr std::string_view kUnix = "unix:";
constexpr std::int64_t kCallsMax = 64;  // in progress, of one caller
// From the first byte of a connection to the end of its TLS handshake and gRPC's settings.
constexpr int kHandshakeMs = 10'000;

int ExitCode(const Status& status) {
  switch (status.code()) {
    case Code::kDataLoss:
      return kExitDamaged;
    case Code::kUnavailable:
      return kExitTaken;
    case Code::kResourceExhausted:
      return IsProcessLimit(status) ? kExitLimit : kExitStorage;
    case Code::kPermissionDenied:
      return kExitNoPermission;
    case Code::kInvalidArgument:
      return kExitBadUsage;
    case Code::kFailedPrecondition:
    case Code::kNotFound:
    case Code::kAlreadyExists:
      return kExitConfiguration;
    default:
      return kExitSoftware;
  }
}

// ---- the socket ---------------------------------------------------------------------------------

// Makes a folder and checks that it is ours and private: nobody else can have put it there.
Status MakePrivateFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, Str("cannot make ", path));
  }
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return ErrnoStatus(errno, Str("cannot look at ", path));
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 0077) != 0) {
    return Status(Code::kPermissionDenied, Str(path,
                                               " is not a private folder of this user: remove it, "
                                               "or name another socket with --listen unix:PATH"));
  }
  return Status();
}

// The socket's path: in the state folder, or, if that path is too long for a socket or has a comma,
// in the user's run-time folder or a private one under the temporary directory.
Result<std::string> SocketPath(const std::string& listen, const std::string& state_folder) {
  if (!listen.empty()) {
    std::string path = listen.substr(kUnix.size());
    if (!path.empty()) {
      ASSIGN_OR_RETURN(path, AbsolutePath(path));
    }
    RETURN_IF_ERROR(CheckSocketPath(path).In(Str("--listen ", listen)));
    return path;
  }
  const std::string path = JoinPath(state_folder, "coordinator.sock");
  if (CheckSocketPath(path).ok()) return path;
  const std::string name = Str("longrun-", Sha256Hex(state_folder).substr(0, 16));
  ASSIGN_OR_RETURN(const std::string run_time, RuntimeFolder());
  if (!run_time.empty() && IsFolder(run_time)) {
    const std::string short_path = JoinPath(run_time, name + ".sock");
    if (CheckSocketPath(short_path).ok()) return short_path;
  }
  std::string temporary = GetEnv("TMPDIR").value_or("/tmp");
  RETURN_IF_ERROR(
      CheckUtf8(temporary, "the environment variable TMPDIR", "set it to another folder"));
  if (temporary.size() > 40 || !CheckSocketPath(temporary).ok()) temporary = "/tmp";
  const std::string folder = JoinPath(temporary, Str(name, "-", geteuid()));
  RETURN_IF_ERROR(MakePrivateFolder(folder));
  return JoinPath(folder, "coordinator.sock");
}

// Removes a socket that nobody listens on any more. We hold the state folder's lock, so no other
// coordinator can be in it; a path that the user named may belong to somebody else.
Status ClearSocket(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? Status() : ErrnoStatus(errno, Str("cannot look at ", path));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return Status(
        Code::kFailedPrecondition,
        Str(path, " exists and is not a socket: give another path with --listen unix:PATH"));
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, "cannot make a socket");
  const bool answers =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  if (answers) {
    return Status(Code::kUnavailable,
                  Str("another process listens on ", path, ": stop it, or give another path"));
  }
  if (unlink(path.c_str()) != 0) return ErrnoStatus(errno, Str("cannot remove the stale ", path));
  return Status();
}

// ---- the places to listen -----------------------------------------------------------------------

struct ListenPlaces {
  std::string socket;               // "unix:PATH", or "": in the state folder
  std::optional<HostPort> network;  // for other machines
};

Result<ListenPlaces> PlacesOf(const std::vector<std::string>& listen) {
  ListenPlaces places;
  for (const std::string& one : listen) {
    const bool is_socket = one.starts_with(kUnix);
    if (is_socket ? !places.socket.empty() : places.network.has_value()) {
      return Status(Code::kInvalidArgument,
                    Str("--listen ", one,
                        ": there is one already; give at most one unix:PATH and "
                        "one HOST:PORT"));
    }
    if (is_socket) {
      places.socket = one;
    } else {
      ASSIGN_OR_RETURN(places.network, ParseHostPort(one));
    }
  }
  return places;
}

// Nothing but TLS, and nobody without a token or a certificate, whatever the address.
Status CheckNetwork(const HostPort& place, const ServerOptions& options, const Access& access) {
  if (Status pki = CheckPki(options.state_folder, WallMs()); !pki.ok()) {
    const std::string also = access.has_tokens()
                                 ? ""
                                 : "; nobody has an access token yet, either: `longrun admin token "
                                   "create --role admin` makes one";
    return Status(pki.code(), Str("cannot listen on ", place.Text(), ": ", pki.message(), also));
  }
  if (!access.has_tokens()) {
    return Status(Code::kFailedPrecondition,
                  Str("cannot listen on ", place.Text(),
                      ": nobody has an access token yet, so "
                      "nobody could call; `longrun admin token create --role admin` makes one"));
  }
  return CheckListenPlace(place);
}

struct Listening {
  std::unique_ptr<grpc::Server> server;
  std::string network = {};                 // "HOST:PORT" with the port that was bound, or ""
  std::unique_ptr<Listener> listener = {};  // of `network`
};

struct NetworkPort {
  HostPort place;
  std::shared_ptr<grpc::ServerCredentials> credentials;
};

Result<Listening> StartServer(const std::string& socket_path, std::optional<NetworkPort> network,
                              std::int64_t idle_ms, LiveCalls& calls,
                              const std::vector<grpc::Service*>& services) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int bound = 0;
  builder.AddListeningPort(GrpcTarget(Str(kUnix, socket_path)), grpc::InsecureServerCredentials(),
                           &bound);
  std::unique_ptr<Listener> listener;
  std::unique_ptr<ConnectionAcceptor> acceptor;
  if (network) {
    ASSIGN_OR_RETURN(listener, Listener::Open(network->place));
    acceptor = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        network->credentials);
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> all;
    all.push_back(calls.MakeInterceptors());
    builder.experimental().SetInterceptorCreators(std::move(all));
  }
  builder.SetMaxReceiveMessageSize(kSessionMessageBytesMax);
  // Peers may ping every 10 s, also without a call, so that a dead peer is found within 30 s.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 256);
  // Who connects and does nothing takes a file. A connection with a call in progress, such as a
  // worker's session or a watched sweep, is not idle.
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, static_cast<int>(idle_ms));
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server || bound == 0) {
    return Status(Code::kUnavailable, Str("cannot listen on unix:", socket_path));
  }
  if (!network) return Listening{.server = std::move(server)};
  listener->Start(std::move(acceptor));
  return Listening{.server = std::move(server),
                   .network = network->place.Text(),
                   .listener = std::move(listener)};
}

// Every call of our services starts with a count of 0.
void PreregisterCalls(Metrics& metrics) {
  for (const char* name :
       {"SweepService", "WorkerSessionService", "ArtifactService", "IdentityService"}) {
    const google::protobuf::ServiceDescriptor* const service =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
            Str("longrun.v1.", name));
    LR_CHECK(service != nullptr);
    for (int i = 0; i < service->method_count(); ++i) {
      const google::protobuf::MethodDescriptor& method = *service->method(i);
      metrics.KnowCall(method.name(), !method.client_streaming() && !method.server_streaming());
    }
  }
}

// Each tick, ends the calls of callers that have lost their right; once a second, stores refusals;
// once an hour, removes the uploads that nobody goes on with.
void LookAfterCallers(CoordinatorParts& parts, LiveCalls& calls, int n_ticks) {
  constexpr int kTicksPerSecond = 4, kOldUploadsEveryS = 3'600;
  parts.ticker.Add([&parts, &calls, n_ticks] {
    if (parts.stopping) return;
    calls.EndInvalid();
    if (n_ticks % kTicksPerSecond == 0) parts.audit.StoreRefusals();
    if (n_ticks % (kTicksPerSecond * kOldUploadsEveryS) == 0) {
      parts.executor.PostWithoutReader([&parts] { parts.artifacts.RemoveOldUploads(); });
    }
    LookAfterCallers(parts, calls, n_ticks + 1);
  });
}

// The files of the state folder that say where the coordinator serves.
class AddressFiles {
 public:
  explicit AddressFiles(const std::string& state_folder)
      : state_folder_(state_folder),
        metrics_(JoinPath(state_folder, "coordinator.metrics")),
        network_(JoinPath(state_folder, "coordinator.network")) {}

  // An address of "" removes its file, which a coordinator that was killed may have left.
  Status Write(const std::string& address, const std::string& metrics,
               const std::string& network) const {
    RETURN_IF_ERROR(WriteOne(metrics_, metrics));
    RETURN_IF_ERROR(WriteOne(network_, network));
    return WriteCoordinatorAddress(state_folder_, address);
  }
  Status Remove() const {
    RETURN_IF_ERROR(RemoveAll(CoordinatorAddressPath(state_folder_)));
    RETURN_IF_ERROR(RemoveAll(metrics_));
    return RemoveAll(network_);
  }

 private:
  static Status WriteOne(const std::string& path, const std::string& address) {
    return address.empty() ? RemoveAll(path) : WriteFileAtomic(path, address + "\n", 0600);
  }

  std::string state_folder_, metrics_, network_;
};

// `wanted`, or a quarter of the state folder's disk.
std::int64_t BytesOfOnePerson(std::int64_t wanted, const ServerOptions& options) {
  if (wanted > 0) return wanted;
  const Result<std::int64_t> n_bytes = DiskBytes(options.state_folder);
  return n_bytes.ok() && *n_bytes > 0 ? *n_bytes / 4 : std::numeric_limits<std::int64_t>::max();
}

// Waits for a signal to stop. Returns false if the socket is not in its place any more: then no
// command and no worker of this machine finds the coordinator, and a new start makes a new socket.
bool WaitForStop(const HeldFile& socket) {
  constexpr timespec kLookEach = {.tv_sec = 2, .tv_nsec = 0};
  // If the whole state folder is gone, the store ends the process first, with its own error.
  constexpr int kLooksWithoutIt = 2;
  const sigset_t signals = EndSignals();
  for (int n_without = 0; n_without < kLooksWithoutIt;) {
    const int received = sigtimedwait(&signals, nullptr, &kLookEach);
    if (received > 0) {
      LogInfo("stopping", {{"signal", Str(received)}});
      return true;
    }
    if (errno != EAGAIN) continue;  // interrupted
    n_without = socket.IsInPlace() ? 0 : n_without + 1;
  }
  LogError("socket_lost",
           {{"error",
             Str("the socket ", socket.path(), " was removed while the coordinator was using it")},
            {"meaning",
             "the coordinator ends, since nobody on this machine can reach it; nothing is lost"},
            {"remedy", "start the coordinator again, which makes a new socket"}});
  return false;
}

bool StopIsRequested() {
  sigset_t pending;
  sigemptyset(&pending);
  sigpending(&pending);
  const sigset_t signals = EndSignals();
  sigset_t both;
  sigandset(&both, &signals, &pending);
  return sigisemptyset(&both) == 0;
}

// A command's coordinator ends with the command, so a lasting one waits for it, however long. Each
// command that it waits for is logged once.
std::function<bool(const CoordinatorHolder&)> WaitForCommands(const std::string& folder) {
  return [folder, logged_pid = 0](const CoordinatorHolder& holder) mutable {
    if (std::exchange(logged_pid, holder.pid) != holder.pid) {
      LogInfo("waits_for_command",
              {{"pid", Str(holder.pid)},
               {"meaning", Str("a command uses the state folder ", folder,
                               "; this coordinator starts once the command has ended")}});
    }
    return !StopIsRequested();
  };
}

Status Serve(const ServerOptions& options) {
  ASSIGN_OR_RETURN(const ListenPlaces places, PlacesOf(options.listen));
  if (places.network) AllowOnlyTls13();
  RETURN_IF_ERROR(CheckThreadRoom(kThreadsMax));
  RETURN_IF_ERROR(CheckFileRoom(kFilesMax, "the coordinator"));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Store> store,
      Store::Open(options.state_folder, {.is_momentary = options.is_momentary,
                                         .waits_for = WaitForCommands(options.state_folder)}));
  ASSIGN_OR_RETURN(
      const std::string shared,
      LinkSharedStore(options.state_folder, options.shared_artifacts, store->coordinator_id()));
  ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactStore> artifacts,
                   ArtifactStore::Open(
                       {.folder = JoinPath(options.state_folder, "artifacts"),
                        .disk_low_water_bytes = options.disk_low_water_bytes,
                        .unused_bytes_max = BytesOfOnePerson(options.unused_upload_bytes, options),
                        .is_shared = !shared.empty()}));
  std::optional<SharedChallenge> challenge;
  if (!shared.empty() && !options.is_momentary) {
    ASSIGN_OR_RETURN(challenge, SharedChallenge::Begin(shared));
    LogInfo("artifacts_shared", {{"folder", shared}});
  }
  LogStore logs(JoinPath(options.state_folder, "logs"));
  // Never destroyed: its listener wakes up only every two seconds, and an exit would wait for it.
  static Metrics& metrics = *new Metrics();
  metrics.BeforeEachScrape([exports = std::make_shared<ResultExports>(store->database_path())] {
    exports->Refresh(metrics);
  });
  // Never destroyed either: a scrape reads it, and the core's last answers.
  static SessionMemory& session_memory = *new SessionMemory(options.session_memory_bytes);
  metrics.BeforeEachScrape([] { metrics.SetSessionMemory(session_memory.n_bytes()); });
  metrics.ShowDisk(options.state_folder);
  PreregisterCalls(metrics);
  std::string metrics_address;
  if (!options.is_momentary) {
    ASSIGN_OR_RETURN(metrics_address, metrics.Expose(options.metrics));
  }
  ASSIGN_OR_RETURN(IdentityRows identity, store->LoadIdentity());
  ASSIGN_OR_RETURN(const std::unique_ptr<Core> core,
                   Core::Start(*store, *artifacts, metrics,
                               {.limits = options.limits,
                                .disk_low_water_bytes = options.disk_low_water_bytes,
                                .seed = EntropySeed(),
                                .shares_artifacts = challenge.has_value(),
                                .on_fatal = nullptr}));
  Access access(*core, std::move(identity), options.access);
  AuditLog audit(*core);
  LiveCalls calls(access, kCallsMax);
  std::optional<NetworkPort> network;
  if (places.network) {
    RETURN_IF_ERROR(CheckNetwork(*places.network, options, access));
    network = {.place = *places.network, .credentials = NetworkCredentials(options.state_folder)};
    network->credentials->SetAuthMetadataProcessor(MakeAuthenticator(access, audit, calls));
  }
  std::optional<Scrubber> scrubber;
  if (!options.is_momentary) {  // a momentary one ends long before it would begin
    ASSIGN_OR_RETURN(std::unique_ptr<Scrub> scrub, Scrub::Open(store->database_path()));
    scrubber.emplace(std::move(scrub),
                     [&](const std::vector<DamagedRow>& rows) { store->NoteDamaged(rows); });
  }
  const std::unique_ptr<Executor> executor = Executor::Start(*store, kExecutorThreads, kJobsMax);
  const std::unique_ptr<Executor> submitter =
      Executor::Start(*store, 1, kSubmitJobsMax, Executor::Order::kTurns);
  const std::unique_ptr<Executor> planner =
      Executor::Start(*store, 1, kPlanJobsMax, Executor::Order::kTurns);
  const std::unique_ptr<Executor> receiver = Executor::Start(*store, 1, kReceiveJobsMax);
  const std::unique_ptr<Executor> transfers = Executor::Start(*store, kTransferThreads, kJobsMax);
  const std::unique_ptr<Executor> log_writer = Executor::Start(*store, 1, kLogJobsMax);
  const std::unique_ptr<Executor> querier =
      Executor::Start(*store, kQuerierThreads, kQueryJobsMax, Executor::Order::kTurns);
  Ticker ticker;
  OverlapSearch overlaps;
  PilotBoard pilots;
  CoordinatorParts parts{
      .core = *core,
      .artifacts = *artifacts,
      .logs = logs,
      .metrics = metrics,
      .executor = *executor,
      .submitter = *submitter,
      .planner = *planner,
      .receiver = *receiver,
      .transfers = *transfers,
      .log_writer = *log_writer,
      .querier = *querier,
      .ticker = ticker,
      .overlaps = overlaps,
      .access = access,
      .audit = audit,
      .pilots = pilots,
      .session_memory = session_memory,
      .kept_file_bytes_max = BytesOfOnePerson(options.kept_file_bytes, options),
      .registered_bytes_max = BytesOfOnePerson(options.registered_bytes, options),
      .challenge = challenge ? &*challenge : nullptr,
      .metrics_address = metrics_address,
      .query_program = kOwnProgram};
  const auto sweeps = MakeSweepService(parts);
  const auto sessions = MakeWorkerSessionService(parts);
  const auto artifact_service = MakeArtifactService(parts);
  const auto identity_service = MakeIdentityService(parts);

  ASSIGN_OR_RETURN(const std::string socket_path, SocketPath(places.socket, options.state_folder));
  RETURN_IF_ERROR(ClearSocket(socket_path));
  ASSIGN_OR_RETURN(
      const Listening listening,
      StartServer(socket_path, std::move(network), options.connection_idle_ms, calls,
                  {sweeps.get(), sessions.get(), artifact_service.get(), identity_service.get()}));
  const Result<HeldFile> socket = HeldFile::Open(socket_path);
  const std::unique_ptr<grpc::Server>& server = listening.server;
  LookAfterCallers(parts, calls, 1);
  server->GetHealthCheckService()->SetServingStatus(true);
  const AddressFiles files(options.state_folder);
  const Status announced =
      socket.ok() ? files.Write(Str(kUnix, socket_path), metrics_address, listening.network)
                  : socket.status();
  bool has_socket = true;
  if (announced.ok()) {
    LogInfo("serving", {{"address", Str(kUnix, socket_path)},
                        {"network", listening.network},
                        {"metrics", metrics_address},
                        {"start", Str(store->boot_epoch())}});
    has_socket = WaitForStop(*socket);
  }

  // Accept nothing new and end the streams; what was posted is still committed and answered. If the
  // address could not be announced, callers may still have found it, so the end is the same.
  parts.stopping = true;
  if (listening.listener) listening.listener->Stop();
  server->GetHealthCheckService()->SetServingStatus(false);
  core->CloseSessions("the coordinator is stopping");
  server->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
  server->Wait();
  ticker.Stop();
  audit.StoreRefusals();
  executor->Stop();
  submitter->Stop();
  planner->Stop();
  receiver->Stop();
  transfers->Stop();
  querier->Stop();
  log_writer->Stop();
  core->Stop();
  RETURN_IF_ERROR(announced);
  RETURN_IF_ERROR(store->CheckpointWal(true));
  RETURN_IF_ERROR(files.Remove());
  if (has_socket) RETURN_IF_ERROR(RemoveAll(socket_path));
  store->RemoveHolderName();
  LogInfo("stopped");
  // Nothing is left to write, and destroying the metrics server takes up to 2 s, which every
  // command that starts a coordinator for the moment would have to wait.
  std::_Exit(has_socket ? 0 : kExitStorage);
}

}  // namespace

int RunServer(const ServerOptions& options) {
  const auto of_person = [](std::int64_t n_bytes) {
    return n_bytes > 0 ? Str(n_bytes) : std::string("a quarter of the disk");
  };
  LogInfo("configuration", {{"version", std::string(kVersion)},
                            {"commit", std::string(BuildCommit())},
                            {"state", options.state_folder},
                            {"listen", options.listen.empty() ? "unix socket in the state folder"
                                                              : Join(options.listen, " and ")},
                            {"metrics", options.metrics},
                            {"heartbeat_ms", Str(options.limits.heartbeat_ms)},
                            {"suspect_ms", Str(options.limits.suspect_ms)},
                            {"lease_ms", Str(options.limits.lease_ms)},
                            {"offer_ms", Str(options.limits.offer_ms)},
                            {"stop_grace_ms", Str(options.limits.stop_grace_ms)},
                            {"back_off_base_ms", Str(options.limits.back_off.base_ms)},
                            {"back_off_limit_ms", Str(options.limits.back_off.limit_ms)},
                            {"disk_low_water_bytes", Str(options.disk_low_water_bytes)},
                            {"owner_tasks_max", Str(options.limits.owner_tasks_max)},
                            {"unused_upload_bytes", of_person(options.unused_upload_bytes)},
                            {"kept_file_bytes", of_person(options.kept_file_bytes)},
                            {"registered_bytes", of_person(options.registered_bytes)},
                            {"session_memory_bytes", Str(options.session_memory_bytes)},
                            {"connection_idle_ms", Str(options.connection_idle_ms)},
                            {"worker_certificate_ms", Str(options.access.worker_certificate_ms)}});
  const Status status = NamingDenied(Serve(options), options.state_folder);
  if (status.ok()) return 0;
  if (status.code() == Code::kCancelled) {
    LogInfo("stopped");
    return 0;
  }
  LogError("cannot_serve",
           {{"code", std::string(CodeName(status.code()))}, {"error", status.message()}});
  return ExitCode(status);
}

}  // namespace longrun::coordinator
