// Many workers without trainers, in this process: each holds a session of its own and answers an
// offer at once, with a journal that it makes up. For programs that measure what the coordinator
// costs.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "longrun/v1/session.grpc.pb.h"

namespace longrun::coordinator {

class FakeWorker;

struct FleetOptions {
  int n_workers = 1;
  // The first ones get tasks; the others have no memory for any.
  int n_busy = 0;
  // A connection for worker number i (from 0), each time that it connects.
  std::function<std::shared_ptr<grpc::Channel>(int)> channel;
  bool reconnects = false;  // after its session has ended
};

class Fleet {
 public:
  explicit Fleet(FleetOptions options);
  ~Fleet();  // ends all sessions
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  void Connect();
  // Until all workers have been welcomed `n_times` in all; CHECKs that it does not take minutes.
  void AwaitWelcomes(int n_times);
  // Finishes `n` attempts, and waits until their ends are stored. Further offers wait.
  void FinishAttempts(std::int64_t n);

  struct Load {
    double rows_per_s = 0;
    std::vector<double> ack_ms;  // of each batch, from its write to its acknowledgement
  };
  // Each busy worker sends `n_records` records of `series`, of four metrics each, per period, to
  // the attempt that it has been offered. A worker leaves a batch out while its last one is not
  // acknowledged, which lowers `rows_per_s`.
  Load SendSeries(int n_records, std::int64_t period_ms, std::int64_t duration_ms);

  // The first offer, for EchoCoordinator.
  v1::Start offer() const;

 private:
  friend class FakeWorker;
  void Welcomed();
  bool TakePermit();
  void Ended();
  void Offered(const v1::Start& start);
  void Acknowledged(double ms, std::int64_t n_rows);
  void Beat();

  const FleetOptions options_;
  std::vector<std::unique_ptr<FakeWorker>> workers_;
  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  std::int64_t n_welcomes_ = 0;
  std::int64_t n_permits_ = 0;
  std::int64_t n_ended_ = 0;
  v1::Start offer_;
  Load load_;
  std::int64_t n_rows_ = 0;
  bool stopping_ = false;
  std::thread heart_;
};

// The manifest, and only file, of the checkpoint that each training reports: it must be in the
// artifact store before.
std::string FakeCheckpoint();

// The ceiling: a service that answers as a coordinator would, but decides and stores nothing. Each
// busy worker gets a copy of `offer` whenever it has nothing to do.
std::unique_ptr<grpc::Service> MakeEchoCoordinator(v1::Start offer);

}  // namespace longrun::coordinator
