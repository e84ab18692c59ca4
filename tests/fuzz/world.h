// A coordinator in this process, for the fuzz targets of its services: the real core, store and
// services on a state folder in memory, without gRPC's server. It has a dataset, a model, tokens
// and workers' certificates, a sweep that has ended, and one whose tasks wait for workers.
//
// Making the folder takes a second, so each process makes it once, and copies it. Inputs share a
// copy, since taking another one for each would be most of the work. What one input leaves behind
// may matter to the next ones: the inputs since the last copy are in ROOT/inputs, and a program
// that ends abnormally leaves ROOT (ROOT is "longrun-fuzz-..." in /dev/shm or the folder for
// temporary files). Given to the program in their order, they are repeated.
//
// Every 10'000 inputs, a line on standard error says how many there were.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/impl/service_type.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "coordinator/access.h"
#include "coordinator/audit_log.h"
#include "coordinator/core.h"
#include "coordinator/metrics.h"
#include "coordinator/overlap.h"
#include "coordinator/rpc/authenticator.h"
#include "coordinator/rpc/call.h"
#include "coordinator/rpc/live_calls.h"
#include "coordinator/rpc/pilots.h"
#include "coordinator/rpc/session_memory.h"
#include "tests/fuzz/input.pb.h"
#include "tests/fuzz/rpc.h"

namespace longrun::coordinator {

// The parts of a daemon, as server.cc puts them together.
class LocalCoordinator {
 public:
  // With a ticker that has stopped, whoever waits for a tick goes on at once.
  LocalCoordinator(const std::string& state, bool ticks);
  ~LocalCoordinator();
  LocalCoordinator(const LocalCoordinator&) = delete;
  LocalCoordinator& operator=(const LocalCoordinator&) = delete;

  // Until everything that was posted has been done.
  void Settle();
  // What gRPC asks before it calls a service: `method` is "Service/Method".
  grpc::Status LetIn(FuzzContext& context, const RpcPeer& peer, const std::string& method);

 private:
  std::unique_ptr<Store> store_;
  std::unique_ptr<ArtifactStore> artifacts_;
  LogStore logs_;
  Metrics metrics_;
  std::unique_ptr<Core> core_;
  Access access_;
  AuditLog audit_;
  LiveCalls calls_;
  std::shared_ptr<grpc::AuthMetadataProcessor> authenticator_;
  std::unique_ptr<Executor> executor_;
  Ticker ticker_;
  OverlapSearch overlaps_;
  PilotBoard pilots_;
  SessionMemory session_memory_{std::int64_t{1} << 28};

 public:
  CoordinatorParts parts;
  const std::unique_ptr<grpc::Service> sweeps, sessions, artifact_service, identity;
};

class CoordinatorWorld {
 public:
  using Words = std::map<std::string, std::string, std::less<>>;

  explicit CoordinatorWorld(bool ticks);
  ~CoordinatorWorld();
  // The one of this process, made by the first call; LongrunFuzzFinish ends it. Otherwise it is
  // never destroyed: at the end of the process, the daemon could still use what is gone already.
  static CoordinatorWorld& Shared(bool ticks);

  // Before each input: takes a fresh copy if the last one is used up.
  void Begin(std::string_view input);
  // Puts the dataset and the model in their places, if they are gone.
  void RegisterData();
  // What inputs have paused, cancelled or let fail of the busy sweep is work again. Another sweep
  // or copy would cost more than all that an input does.
  void Renew();
  // Submits another sweep, which is then the busy one.
  void AddWork();
  // `sweep` has work, and is the busy one.
  void SetBusy(const std::string& sweep) { words_["@busy"] = sweep; }
  // After each input: checks what must always hold. `is_used_up`: the next one needs a fresh copy.
  void End(bool is_used_up);

  LocalCoordinator& daemon() { return *daemon_; }
  const std::string& root() const { return root_; }
  // The size of the artifact, for a request that leaves it out; 0 if it is not stored.
  std::int64_t BytesOf(const std::string& sha256) const;
  const std::string& busy_sweep() const { return words_.find("@busy")->second; }
  RpcPeer PeerOf(fuzz::Caller caller) const;
  // A peer of a stream of WorkerStep.
  RpcPeer PeerOfStream(std::uint32_t stream) const;

  // The same words in every text of the message:
  //   @root @state                    a folder around the state folder; the state folder
  //   @sweep @run @task @attempt      of the sweep that has ended
  //   @busy                           the sweep that has not
  //   @dataset @manifest @blob @file0 ... @file3   digests: of the dataset; of the model's
  //                                   manifest; of some bytes; of the dataset's files
  //   @join @csr @token @certificate  a join token, a signing request, an access token and its id
  // and those of `more`, which come first.
  void Expand(google::protobuf::Message& message, const Words& more = {}) const;
  std::string Expand(std::string_view text, const Words& more = {}) const;

 private:
  void MakeTemplate();
  void CarryOut(std::size_t n_tasks);
  void TakeCopy();
  void CheckCopy();
  void CheckFolders() const;
  void CheckNames();

  const bool ticks_;
  const std::string root_;
  std::string state_;
  std::unique_ptr<LocalCoordinator> daemon_;
  Words words_;
  std::map<fuzz::Caller, RpcPeer> peers_;
  std::map<std::uint32_t, RpcPeer> workers_;  // by stream; the other streams are local ones
  std::vector<std::string> entries_;          // of root_
  std::int64_t n_inputs_ = 0;                 // of the copy
  std::int64_t n_inputs_ever_ = 0;
  const std::int64_t began_at_ = BootMs();
  bool is_used_up_ = false;
  std::int64_t n_sweeps_ = 0;  // of those with work, in the copy
  std::string first_busy_;
};

// Texts that are worth a try in any field: names that lead elsewhere, control characters, and the
// words of CoordinatorWorld::Expand.
std::vector<std::string> HostileWords();

}  // namespace longrun::coordinator
