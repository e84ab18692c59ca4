// Who may call the coordinator over the network: roles, access tokens and workers' certificates, as
// they are stored, and how fast each caller may call. Knows nothing of gRPC.
//
//   person   a bearer token with a role: viewer < submitter < operator < admin
//   worker   a certificate of our authority, whose common name is the worker's id
//   local    whoever can open the unix socket, which lies in a private folder: all rights
//
// A change is committed before its caller hears of it, and holds at once. May be called from any
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "coordinator/core.h"
#include "coordinator/store/identity.h"

namespace longrun::coordinator {

// The roles of people, each with all rights of those before it.
enum class Role { kViewer, kSubmitter, kOperator, kAdmin };
inline constexpr Role kRoles[] = {Role::kViewer, Role::kSubmitter, Role::kOperator, Role::kAdmin};
std::string_view RoleName(Role role);
std::optional<Role> FindRole(std::string_view name);

struct Principal {
  enum class Kind { kLocal, kPerson, kWorker };
  Kind kind = Kind::kLocal;
  std::string id = {};       // of the token, or of the worker; "" if local
  Role role = Role::kAdmin;  // of a person; local has them all
  std::string key = {};      // of a worker: the SHA-256 of its public key

  std::string Name() const;      // "local", "token 3f2a91c0d4e5b6a7", "worker gpu-7"
  std::string RoleText() const;  // "admin", ..., "worker"
};

struct AccessLimits {
  double calls_per_s = 100;
  double calls_burst = 200;
  std::int64_t worker_certificate_ms = 7 * 86'400'000LL;
};

struct CreatedToken {
  std::string text;  // shown once
  TokenRow row;
};

// Why a worker is refused, and what lets it work again.
struct WorkerRefusal {
  std::string cause;
  std::string remedy;
};
using RefusedWorkers = std::map<std::string, WorkerRefusal>;  // by worker

class Access {
 public:
  Access(Core& core, IdentityRows rows, AccessLimits limits);
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

  // The caller whom a token's text or a certificate stands for (`key`: the SHA-256 of its public
  // key). kPermissionDenied with the remedy if it is unknown, expired, revoked, replaced by a later
  // join, or a join token.
  Result<Principal> OfToken(std::string_view text, std::int64_t now_ms) const;
  Result<Principal> OfWorker(const std::string& worker, const std::string& key,
                             std::int64_t now_ms) const;
  // The workers whose certificates are revoked, and those that were refused in the last minutes.
  RefusedWorkers RefusedAt(std::int64_t now_ms) const;
  // Why a call of this principal must end now, or ok: asked about live streams.
  Status StillHolds(const Principal& principal, std::int64_t now_ms) const;

  // The name under which TakeCall counts a call that shows this join token: the token's own if the
  // coordinator has made it, and it has neither expired nor been revoked; else one that all others
  // share. A used token has its own, too: the answer to its worker may have been lost, and workers
  // that share a folder of tokens try the used ones of the others. Looks at memory, and hashes only
  // texts that begin with the id of a token.
  std::string CallerWhoJoins(std::string_view token, std::int64_t now_ms) const;
  // kResourceExhausted, with the time to wait, if `caller` calls too often. `now_ms`: BootMs().
  Status TakeCall(const std::string& caller, std::int64_t now_ms);

  // The role is a person's, or "worker" for a join token, which may be bound to one worker's id.
  Result<CreatedToken> CreateToken(const std::string& role, const std::string& note,
                                   const std::string& worker, std::int64_t valid_ms,
                                   std::int64_t now_ms);
  // Ends a token, or the certificates of a worker, by its id or an unambiguous beginning of 4 or
  // more characters. Returns the name of what has ended. kNotFound, kFailedPrecondition (it has
  // ended already).
  Result<std::string> Revoke(const std::string& id, const std::string& by, std::int64_t now_ms);

  // Uses up a join token: `issue` makes the worker's certificate, and both are stored at once.
  // kPermissionDenied if the token does not let this worker join; `is_known` says that a worker of
  // this id exists already, so that only a token bound to its id may replace it. A worker that did
  // not get the answer may ask again with the same key (`key` gives its SHA-256, under the lock of
  // this class), until it has renewed its certificate.
  struct Joined {
    std::string certificate;
    WorkerCertificateRow row;
  };
  using Issue = std::function<Result<Joined>()>;
  using Key = std::function<Result<std::string>()>;
  Result<Joined> Join(std::string_view token, const std::string& worker, const Key& key,
                      bool is_known, std::int64_t now_ms, const Issue& issue);
  // Another certificate, for the same key, for a worker that has a valid one.
  Result<Joined> Renew(const Principal& worker, std::int64_t now_ms, const Issue& issue);

  std::vector<TokenRow> tokens() const;
  std::vector<WorkerCertificateRow> certificates() const;
  // Whether an access token was ever made here.
  bool has_tokens() const;
  const AccessLimits& limits() const { return limits_; }

 private:
  struct Bucket {
    double calls = 0;
    std::int64_t at_ms = 0;
  };
  Status CheckToken(const TokenRow& token, std::int64_t now_ms) const;
  bool MayAskAgain(const TokenRow& token, const std::string& worker, const std::string& key,
                   std::int64_t now_ms) const;
  // The same: mutex_ is held.
  Status CheckWorker(const std::string& worker, const std::string& key, std::int64_t now_ms) const;
  // Why the worker is refused; "" if it is not. mutex_ is held.
  std::string CauseOfRefusal(const std::string& worker, const std::string& key,
                             std::int64_t now_ms) const;

  Core& core_;
  const AccessLimits limits_;
  std::mutex changing_;       // held over a change and its COMMIT
  mutable std::mutex mutex_;  // guards everything below
  std::map<std::string, TokenRow, std::less<>> tokens_;
  std::map<std::string, WorkerCertificateRow, std::less<>> certificates_;
  std::map<std::string, Bucket, std::less<>> buckets_;
  struct Refusal {
    std::string cause;
    std::int64_t at_ms = 0;
  };
  mutable std::map<std::string, Refusal, std::less<>> refusals_;  // the newest of each worker
};

}  // namespace longrun::coordinator
