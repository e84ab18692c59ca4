// What a restore does with access that ended after the backup was taken.
//
// It takes the ends over from the replaced database into the restored one: tokens that were
// revoked, join tokens that were used, and workers' certificates that were revoked or replaced by
// those of a later join. Otherwise a restore would undo each of them, and nobody would notice.
//
// It takes nothing else over. The replaced database may be the reason for the restore, so it may
// end access, but not give any: whoever got access since then asks for it again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/store/identity.h"

namespace longrun::coordinator {

struct AccessSince {
  // Rows of the restored database that have ended since, with their ends.
  std::vector<TokenRow> tokens_ended;
  std::vector<WorkerCertificateRow> workers_revoked;   // revoked_ms: as in the replaced database
  std::vector<WorkerCertificateRow> workers_replaced;  // revoked_ms: now
  // Rows that are still valid, although they may have been revoked: the replaced database does not
  // have them, or could not be read.
  std::vector<TokenRow> tokens_unknown;
  std::vector<std::string> workers_unknown;
  // Workers that the replaced database accepts with keys that the restored one refuses.
  std::vector<std::string> workers_to_join;
};

// Changes `restored`. A certificate without a key (of an earlier release) fits every key, as it
// does when a worker calls (Access::OfWorker).
AccessSince EndAccess(const IdentityRows& replaced, IdentityRows& restored, std::int64_t now_ms);

}  // namespace longrun::coordinator
