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
  std::string key;     // columns of its primary key with their values, as they can be read
  std::string object;  // for people: "the result nll at 128 of run 3f2a91c0 (task 5b0c77aa)"
  std::string remedy;  // for people: "`longrun retry 3f2a91c0...` measures it again"
  auto operator<=>(const DamagedRow&) const = default;
};

// "OBJECT is damaged: ... ; it is left out, all else stands. Restore a backup (...), or ..."
std::string DamageText(const DamagedRow& row);

// The object and the remedy of a row, of whose values some are damaged.
DamagedRow DescribeDamage(const std::string& table, const std::vector<std::string>& key_columns,
                          const RowValues& row);

// A number, a run or a task that something refers to and that is not there: its row, or the way to it, is
// damaged beyond its name.
DamagedRow DescribeLostResult(const std::string& run_key, const std::string& task,
                              const std::string& metric, std::int64_t context_length,
                              const std::string& variant);
DamagedRow DescribeLostObject(const std::string& table, const std::string& id);

// What restores everything: the same words in every message.
inline constexpr std::string_view kRestoreRemedy = "restore a backup (docs/operating.md)";

}  // namespace longrun
