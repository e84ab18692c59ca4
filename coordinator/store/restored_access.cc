// See restored_access.h.
#include "coordinator/store/restored_access.h"

#include <map>

namespace longrun::coordinator {
namespace {

void EndTokens(const IdentityRows& replaced, IdentityRows& restored, std::int64_t now_ms,
               AccessSince& since) {
  std::map<std::string, const TokenRow*> known;
  for (const TokenRow& token : replaced.tokens) known.emplace(token.id, &token);
  for (TokenRow& token : restored.tokens) {
    if (token.ended_ms) continue;
    const auto found = known.find(token.id);
    if (found == known.end() || found->second->hash != token.hash) {
      if (now_ms <= token.expires_ms) since.tokens_unknown.push_back(token);
    } else if (found->second->ended_ms) {
      token.ended_ms = found->second->ended_ms;
      token.ended_by = found->second->ended_by;
      since.tokens_ended.push_back(token);
    }
  }
}

bool IsSameKey(const WorkerCertificateRow& one, const WorkerCertificateRow& other) {
  return one.key.empty() || other.key.empty() || one.key == other.key;
}

// The times tell which of the two databases is newer in what it says of a worker: the replaced one
// may itself be an older backup.
void RevokeCertificates(const IdentityRows& replaced, IdentityRows& restored, std::int64_t now_ms,
                        AccessSince& since) {
  std::map<std::string, const WorkerCertificateRow*> known;
  for (const WorkerCertificateRow& one : replaced.certificates) known.emplace(one.worker, &one);
  for (WorkerCertificateRow& one : restored.certificates) {
    if (one.revoked_ms) continue;
    const auto found = known.find(one.worker);
    if (found == known.end()) {
      since.workers_unknown.push_back(one.worker);
      continue;
    }
    const WorkerCertificateRow& there = *found->second;
    if (there.revoked_ms && *there.revoked_ms >= one.issued_ms) {
      one.revoked_ms = there.revoked_ms;
      since.workers_revoked.push_back(one);
    } else if (!IsSameKey(one, there) && there.issued_ms >= one.issued_ms) {
      one.revoked_ms = now_ms;
      since.workers_replaced.push_back(one);
    }
  }
}

void FindWorkersToJoin(const IdentityRows& replaced, const IdentityRows& restored,
                       AccessSince& since) {
  std::map<std::string, const WorkerCertificateRow*> known;
  for (const WorkerCertificateRow& one : restored.certificates) known.emplace(one.worker, &one);
  for (const WorkerCertificateRow& there : replaced.certificates) {
    if (there.revoked_ms) continue;
    const auto found = known.find(there.worker);
    const bool is_accepted =
        found != known.end() && !found->second->revoked_ms && IsSameKey(*found->second, there);
    if (!is_accepted) since.workers_to_join.push_back(there.worker);
  }
}

}  // namespace

AccessSince EndAccess(const IdentityRows& replaced, IdentityRows& restored, std::int64_t now_ms) {
  AccessSince since;
  EndTokens(replaced, restored, now_ms, since);
  RevokeCertificates(replaced, restored, now_ms, since);
  FindWorkersToJoin(replaced, restored, since);
  return since;
}

}  // namespace longrun::coordinator
