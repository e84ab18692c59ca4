// The rows that say who may call the coordinator over the network, and what they did
// (migrations/0016_identity.sql has the meaning of the columns).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace longrun::coordinator {

class Connection;

inline constexpr std::string_view kWorkerRole = "worker";  // of a join token, and of a worker

struct TokenRow {
  std::string id;
  std::string hash;
  std::string role;
  std::string note = {};
  std::string worker = {};
  std::int64_t created_ms = 0;
  std::int64_t expires_ms = 0;
  std::optional<std::int64_t> ended_ms = {};
  std::string ended_by = {};

  // A join token that a worker used up, in contrast to one that was revoked.
  bool IsUsed() const;
};

struct WorkerCertificateRow {
  std::string worker;
  std::string serial;
  std::int64_t issued_ms = 0;
  std::int64_t expires_ms = 0;
  std::optional<std::int64_t> revoked_ms = {};
  std::string key = {};
};

struct IdentityRows {
  std::vector<TokenRow> tokens;                    // by id
  std::vector<WorkerCertificateRow> certificates;  // by worker
};

// The rows as the connection sees them. A database of an older release may have none.
Result<IdentityRows> ReadIdentity(Connection& connection);

struct AuditRow {
  std::int64_t seq = 0;  // 0: not stored yet
  std::int64_t at_ms = 0;
  std::string principal = {};
  std::string role = {};
  std::string peer = {};
  std::string method = {};
  std::string subject = {};
  std::string outcome = {};
  std::string message = {};
  std::int64_t repeats = 1;
};

}  // namespace longrun::coordinator
