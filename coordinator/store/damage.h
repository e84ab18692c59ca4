// Describes damage in the database: the damaged object, the consequences, and the remedy. The form
// is the same wherever a user meets it.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/row_values.h"

namespace longrun::coordinator {

// A row that does not match its checksum, or that is missing.
struct DamagedRow {
  std::string table;
  std::string key;       // columns of its primary key with their readable values
  std::string object;    // for people: "the result nll at 128 of run 3f2a91c0 (task 5b0c77aa)"
  std::string remedy;    // for people: "`longrun retry 3f2a91c0...` measures it again"
  bool is_lost = false;  // it was not found, although other data says it should exist
  auto operator<=>(const DamagedRow&) const = default;
};

// "OBJECT is damaged: ...", or "OBJECT cannot be found: ...; it is not used, and all other data
// stays as it is. You can restore a backup (...), or ..."
std::string DamageText(const DamagedRow& row);

// Describes the object and the remedy of a row with damaged values.
DamagedRow DescribeDamage(const std::string& table, const std::vector<std::string>& key_columns,
                          const RowValues& row);

// Describes an object that is referred to but missing, because its row, or the way to the row, is
// damaged. `is_lost`: no damaged row was found that could be this result.
DamagedRow DescribeLostResult(const std::string& run_key, const std::string& task,
                              const std::string& metric, std::int64_t context_length,
                              const std::string& variant, bool is_lost);
DamagedRow DescribeLostObject(const std::string& table, const std::string& id);  // a run or a task
DamagedRow DescribeLostMember(const std::string& table, const std::string& what);  // of a sweep
// Describes rows of a table that are missing although no remaining row is damaged.
DamagedRow DescribeMissing(const std::string& table, const std::string& what);

// Whether results depend on the rows of this table. If not, "go on without it" is a remedy.
bool NumbersRestOn(std::string_view table);
// Returns the rows on which results depend, and the others summed up in a single row.
std::vector<DamagedRow> InBrief(const std::vector<DamagedRow>& rows);

// The remedy that restores everything, in the same words in every message.
inline constexpr std::string_view kRestoreRemedy = "restore a backup (docs/operating.md)";
// The remedy for damaged indexes, and for tables whose rows are out of order.
inline constexpr std::string_view kRepairRemedy =
    "stop the coordinator and run `longrun doctor --repair`, which rebuilds damaged tables and "
    "indexes";

}  // namespace longrun::coordinator
