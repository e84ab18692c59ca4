// See audit_log.h.
#include "coordinator/audit_log.h"

#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kRefusalsPerSecond = 20;
constexpr std::size_t kTextBytesMax = 300;

}  // namespace

void AuditLog::Note(AuditRow entry) {
  entry.at_ms = WallMs();
  Put(std::move(entry));
}

void AuditLog::NoteRefusal(AuditRow entry) {
  entry.at_ms = WallMs();
  const std::lock_guard lock(mutex_);
  const auto key_of = [](const AuditRow& row) {
    return std::tuple(row.principal, row.method, row.message);
  };
  if (refusals_.size() >= kRefusalsPerSecond && !refusals_.contains(key_of(entry))) {
    entry.principal = "nobody";
    entry.role = "";
    entry.peer = "";
    entry.method = "*";
    entry.subject = "";
    entry.message = "further refusals in the same second";
  }
  const auto [at, added] = refusals_.try_emplace(key_of(entry), entry);
  if (!added) at->second.repeats += 1;
}

void AuditLog::StoreRefusals() {
  std::map<std::tuple<std::string, std::string, std::string>, AuditRow> refusals;
  {
    const std::lock_guard lock(mutex_);
    refusals.swap(refusals_);
  }
  for (auto& [key, entry] : refusals) Put(std::move(entry));
}

void AuditLog::Put(AuditRow entry) {
  for (std::string* const text : {&entry.peer, &entry.method, &entry.subject, &entry.message}) {
    *text = Shortened(Printable(*text), kTextBytesMax);
  }
  // On a full disk, a transaction would fail and end the process: then the log is all there is.
  if (!core_.CheckDiskSpaceIfLow().ok()) {
    LogWarning("audit", {{"principal", entry.principal},
                         {"method", entry.method},
                         {"subject", entry.subject},
                         {"outcome", entry.outcome}});
    return;
  }
  core_.PostWrite(
      [entry = std::move(entry)](Store& store) { return store.AddAudit(entry, kAuditRowsMax); });
}

}  // namespace longrun::coordinator
