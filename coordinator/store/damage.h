// What is damaged in the database, in words: which object does not hold, what else stands, and what to
// do about it. The same form wherever a person meets it.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/row_values.h"

namespace longrun {

// A row that does not agree with what is stored with it.
struct DamagedRow {
  std::string table;
  std::string key;       // columns of its primary key with their values, as they can be read
  std::string object;    // for people: "the result nll at 128 of run 3f2a91c0 (task 5b0c77aa)"
  std::string remedy;    // for people: "`longrun retry 3f2a91c0...` measures it again"
  bool is_lost = false;  // it was not met: something else says that it should be there
  auto operator<=>(const DamagedRow&) const = default;
};

// "OBJECT is damaged: ...", or "OBJECT cannot be found: ...; it is left out, and all else stands: restore a
// backup (...), or ..."
std::string DamageText(const DamagedRow& row);

// The object and the remedy of a row, of whose values some are damaged.
DamagedRow DescribeDamage(const std::string& table, const std::vector<std::string>& key_columns,
                          const RowValues& row);

// What something refers to and is not there: its row, or the way to it, is damaged. `is_lost`: no damaged row
// was met that may be the number's.
DamagedRow DescribeLostResult(const std::string& run_key, const std::string& task,
                              const std::string& metric, std::int64_t context_length,
                              const std::string& variant, bool is_lost);
DamagedRow DescribeLostObject(const std::string& table, const std::string& id);  // a run or a task
DamagedRow DescribeLostMember(const std::string& table, const std::string& what);  // of a sweep

// Whether a number of a table rests on such rows; else "go on without it" is a remedy.
bool NumbersRestOn(std::string_view table);
// The rows on which numbers rest, and one that stands for all others.
std::vector<DamagedRow> InBrief(const std::vector<DamagedRow>& rows);

// What restores everything: the same words in every message.
inline constexpr std::string_view kRestoreRemedy = "restore a backup (docs/operating.md)";
// What mends indexes, and tables whose rows are out of order.
inline constexpr std::string_view kRepairRemedy =
    "stop the coordinator and run `longrun doctor --repair`, which writes damaged tables and "
    "indexes anew";

}  // namespace longrun
