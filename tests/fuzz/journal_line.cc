// A line of a journal: refused, or a record of a known kind whose canonical form is the line.
#include "base/check.h"
#include "sweeps/event.h"
#include "tests/fuzz/target.h"

namespace longrun {
namespace {

void CheckLine(std::string_view line) {
  const Result<JournalRecord> record = ParseJournalLine(line);
  if (!record.ok()) return CheckRefusal(record.status());
  LR_CHECK(record->seq >= 1);
  JournalTally tally;
  tally.Add(record->kind, line);
  LR_CHECK(tally.Final().counts->at(EnumName(record->kind)) == 1);
}

// The line with a crc that fits its bytes, so that a mutated body gets past the first check.
std::string WithCrc(std::string_view line) {
  return CloseJournalLine(line.substr(0, line.rfind(",\"crc\"")));
}

}  // namespace
}  // namespace longrun

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line = longrun::AsText(data, size);
  longrun::CheckLine(line);
  longrun::CheckLine(longrun::WithCrc(line));
  return 0;
}
