// The audit log: every call that changed something, and every refusal, with who made it, except for
// the bytes that workers store. Kept in the database; `longrun admin audit` shows it.
//
// The newest kAuditRowsMax entries of each kind are kept: calls that changed something; calls of
// known callers that failed or were refused; those of callers whom nobody knows. So whoever reaches
// the port can push out only entries of the last kind, and a person or worker only those of the
// last two, unless they change something, too.
//
// An entry is stored in the transaction that follows the call, so a kill -9 at that moment can lose
// it. A flood of refusals does not flood the log: equal ones within a second share one entry, and
// beyond kRefusalsPerSecond different ones, the rest share one entry too.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "coordinator/core.h"
#include "coordinator/store/identity.h"

namespace longrun::coordinator {

inline constexpr std::int64_t kAuditRowsMax = 100'000;  // of each kind

class AuditLog {
 public:
  explicit AuditLog(Core& core) : core_(core) {}

  // A call of a known caller that changed something or failed to, or a worker that joined.
  void Note(AuditRow entry);
  void NoteRefusal(AuditRow entry);
  // Stores the refusals of the last second; called by the ticker, and at the end.
  void StoreRefusals();

 private:
  void Put(AuditRow entry);

  Core& core_;
  std::mutex mutex_;  // guards everything below
  std::map<std::tuple<std::string, std::string, std::string>, AuditRow> refusals_;
};

}  // namespace longrun::coordinator
