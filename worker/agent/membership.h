// A worker's membership of a coordinator on another machine: its own private key, and a certificate
// that names the worker. In the worker's folder, each file of mode 0600:
//
//   STATE/membership/authority.pem     the coordinator's authority (CA)
//   STATE/membership/key.pem           never leaves this machine
//   STATE/membership/certificate.pem   for days; renewed after half of its time
//   STATE/membership/joined-by         the public part of the join token that was used
//   STATE/membership/*.new             of a join that is not complete; the next start goes on
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/host_port.h"
#include "base/status.h"
#include "worker/agent/session.h"

namespace longrun::agent {

struct JoinOptions {
  // A file with a join token, or a folder of such files, of which one must let this worker join;
  // "": the worker has joined before.
  std::string token_file;
  // Of the authority to trust; "": of the one that the worker has joined before.
  std::string ca_fingerprint;
  // How long to try with one token while the coordinator is not reached, or has too many calls.
  std::int64_t patience_ms = 20'000;
};

// Whether a worker with this folder has joined a coordinator.
bool HasJoined(const std::string& state);

class Membership {
 public:
  // Uses the certificate in the folder if it is valid, else joins with the token. Joins again if
  // the token is a new one. The errors name the remedy: kInvalidArgument, kPermissionDenied (the
  // coordinator refuses the token), kFailedPrecondition (another authority, a clock that is off),
  // kNotFound (name or file), kUnavailable (the coordinator is not reached, or had too many calls
  // whenever this worker tried).
  static Result<std::unique_ptr<Membership>> Enter(const std::string& state, const HostPort& place,
                                                   const std::string& worker_id,
                                                   const JoinOptions& options);
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // Its new connections use the newest certificate.
  const CoordinatorChannel& coordinator() const { return coordinator_; }

  // Why the coordinator is not reached, as far as the certificates say: kFailedPrecondition with
  // the remedy for a clock that is off, or another authority. Connects to the coordinator: blocks.
  Status WhyUnreached() const;
  // Looks for that cause soon, and logs it. Does not block; for any thread.
  void LookWhyUnreached();

 private:
  Membership(MemberFiles files, HostPort place, std::string worker_id,
             CoordinatorChannel coordinator);
  void Run();
  std::int64_t RenewOrTell(std::int64_t& end_ms);  // returns when to renew again, by BootMs()
  Result<std::int64_t> Renew();                    // returns how long the new certificate is valid

  const MemberFiles files_;
  const HostPort place_;
  const std::string worker_id_;
  const CoordinatorChannel coordinator_;
  std::mutex mutex_;  // guards the two below
  bool stopping_ = false;
  bool unreached_ = false;  // to look why
  std::condition_variable stop_;
  std::thread thread_;
};

}  // namespace longrun::agent
