// A coordinator in memory, for tests of the worker: it keeps the session's rules (order, gaps,
// acknowledgements, verdicts) and remembers everything. It can be stopped and started again on the
// same socket, as a process would be.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/version.h"
#include "longrun/v1/session.pb.h"

namespace longrun::agent {

class FakeCoordinator {
 public:
  // What is stored of an attempt.
  struct Stored {
    bool accepted = false;
    std::optional<std::string> rejected_class;
    std::string rejected_reason;
    std::int64_t rejected_cache_needed_bytes = 0;
    std::int64_t rejected_cache_limit_bytes = 0;
    bool rejected_lacks_disk = false;
    std::vector<std::string> lines;  // line i is record i + 1
    std::optional<v1::AttemptEnded> ended;
    std::string log;
    std::vector<std::int64_t> without_files;
    std::int64_t n_repeated = 0;  // records that came again after they were stored
  };

  explicit FakeCoordinator(std::string socket);
  ~FakeCoordinator();

  void Start();
  void Stop();  // every stream is cut

  // Until `condition` holds of the state, at most a minute; false then. Called under the lock.
  bool Await(const std::function<bool()>& condition);
  // As they came, under the lock.
  v1::Hello FirstHello();
  v1::Hello LastHello();
  // Sends down the present session; false without one.
  bool Send(const v1::CoordinatorMessage& message);

  // State; read it inside Await, or when nothing moves.
  std::map<std::string, Stored> attempts;
  std::map<std::string, std::string> artifacts;  // by SHA-256
  std::vector<v1::Hello> hellos;
  std::int64_t n_sessions = 0;  // welcomed
  std::int64_t n_heartbeats = 0;
  std::int64_t disk_wanted_bytes = 0;  // by the newest heartbeat
  std::int64_t n_drains = 0;           // a worker has said that it is leaving
  std::set<std::string> listed;        // attempts, by the newest heartbeat
  std::int64_t n_gaps = 0;             // batches that left records out
  std::vector<std::pair<std::string, std::int64_t>> downloads;  // digest, offset; in order
  std::optional<std::set<std::string>> held;  // datasets, by the newest DatasetsHeld

  // Settings; change them under Await, or before Start.
  std::map<std::string, v1::AttemptVerdict::Verdict> verdicts;  // else CONTINUE, or ENDED
  std::map<std::string, std::int64_t> forget_after;  // at the next Hello: keeps so many lines
  std::map<std::string, std::int64_t> nack_once_at;  // refuses the batch with this record once
  bool acknowledges = true;
  bool withholds_artifacts = false;  // a download waits
  int n_uploads_failing = 0;         // the next so many end as on a disk that cannot be written
  std::int64_t boot_epoch = 1;
  std::vector<std::string> capabilities;  // of the Welcome
  int protocol_version = kProtocolNewest;

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

}  // namespace longrun::agent
