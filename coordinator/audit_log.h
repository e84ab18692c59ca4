// The audit log: every call that changed something, and every refusal, with who made it. Kept in
// the database, the newest kAuditRowsMax entries; `longrun admin audit` shows them.
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

inline constexpr std::int64_t kAuditRowsMax = 100'000;

class AuditLog {
 public:
  explicit AuditLog(Core& core) : core_(core) {}

  // A call that changed something, or failed to.
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
