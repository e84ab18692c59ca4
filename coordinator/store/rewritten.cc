// See rewritten.h.
#include "coordinator/store/rewritten.h"

#include <vector>

#include "base/str.h"
#include "coordinator/store/one_bit.h"
#include "coordinator/store/row_sum.h"

namespace longrun::coordinator {
namespace {

struct KeyedTable {
  const char* name;
  const char* key;        // a digest or a ULID: no two are one bit apart by chance
  const char* same_rest;  // that the rest of the primary key equals that of `sound`
  const char* unused;     // that no row refers to this one
};
constexpr KeyedTable kTables[] = {
    {.name = "sweep_run",
     .key = "sweep",
     .same_rest = " AND sound.ordinal = sweep_run.ordinal AND sound.run_key = sweep_run.run_key",
     .unused = ""},
    {.name = "sweep_cell",
     .key = "sweep",
     .same_rest = " AND sound.ordinal = sweep_cell.ordinal AND sound.cell = sweep_cell.cell",
     .unused = ""},
    {.name = "sweep_task",
     .key = "sweep",
     .same_rest = " AND sound.task = sweep_task.task",
     .unused = ""},
    {.name = "sweep_label",
     .key = "sweep",
     .same_rest = " AND sound.key = sweep_label.key",
     .unused = ""},
    {.name = "cell", .key = "cell", .same_rest = "", .unused = ""},
    // After the tables that refer to them.
    {.name = "sweep",
     .key = "id",
     .same_rest = "",
     .unused = " AND NOT EXISTS (SELECT 1 FROM sweep_run WHERE sweep_run.sweep = sweep.id)"},
    {.name = "task",
     .key = "id",
     .same_rest = " AND sound.run_key = task.run_key",
     .unused = " AND NOT EXISTS (SELECT 1 FROM sweep_task WHERE sweep_task.task = task.id)"},
    {.name = "run",
     .key = "run_key",
     .same_rest = "",
     .unused = " AND NOT EXISTS (SELECT 1 FROM sweep_run WHERE sweep_run.run_key = run.run_key)"},
};

// An SQL literal for any bytes.
std::string Literal(const std::string& text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return Str("CAST(x'", hex, "' AS TEXT)");
}

// SQL that tells whether the row's checksum holds if `column` has this value.
std::string HoldsWith(const SummedTable& table, const std::string& column,
                      const std::string& value) {
  std::vector<std::string> values;
  for (const std::string& one : table.columns) {
    values.push_back(one == column ? Literal(value) : one);
  }
  return Str("row_sum(", Join(values, ", "), ") = sum");
}

Status DropFrom(Connection& connection, const KeyedTable& of) {
  const SummedTable& summed = connection.row_sums().table(of.name);
  const std::string damaged = Str("NOT ", RowSums::HoldsCall(summed));
  ASSIGN_OR_RETURN(const std::vector<std::string> keys,
                   connection.ReadTexts(Str("SELECT DISTINCT ", of.key, " FROM main.", of.name,
                                            " NOT INDEXED WHERE ", damaged)));
  if (keys.empty()) return Status();
  // A row was written again as it had been, whatever has happened to the damaged one since, if a
  // sound row has the checksum that the damaged one was stored with.
  ASSIGN_OR_RETURN(
      const std::vector<std::string> known_sums,
      connection.ReadTexts(Str("SELECT DISTINCT sum FROM main.", of.name, " NOT INDEXED WHERE ",
                               damaged, " AND sum IN (SELECT sum FROM main.", of.name,
                               " NOT INDEXED WHERE ", RowSums::HoldsCall(summed), ")")));
  const std::string is_again = Str("sum IN (", Join(known_sums, ", "), ")");
  const std::string find =
      Str("SELECT DISTINCT ", of.key, " FROM main.", of.name, " WHERE ", of.key);
  for (const std::string& key : keys) {
    ASSIGN_OR_RETURN(const std::vector<std::string> met,
                     connection.ReadTexts(Str(find, " = ", Literal(key))));
    if (met.empty()) continue;  // no index leads to it, so SQLite could not delete it
    RETURN_IF_ERROR(
        connection.Execute(Str("DELETE FROM main.", of.name, " WHERE ", of.key, " = ", Literal(key),
                               " AND ", damaged, " AND ", is_again, of.unused)));
    std::vector<std::string> others;
    for (std::size_t bit = 0; bit < 8 * key.size(); ++bit) {
      std::string other = key;
      other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << (bit % 8)));
      others.push_back(Literal(other));
    }
    if (others.empty()) continue;
    ASSIGN_OR_RETURN(const std::vector<std::string> beside,
                     connection.ReadTexts(Str(find, " IN (", Join(others, ", "), ")")));
    for (const std::string& other : beside) {
      RETURN_IF_ERROR(connection.Execute(
          Str("DELETE FROM main.", of.name, " WHERE ", of.key, " = ", Literal(key), " AND ",
              damaged, " AND EXISTS (SELECT 1 FROM main.", of.name, " AS sound WHERE sound.",
              of.key, " = ", Literal(other), of.same_rest, " AND ",
              RowSums::HoldsCall(summed, "sound"), ")", of.unused)));
    }
  }
  return Status();
}

}  // namespace

Result<std::string> NoteOfDamaged(Connection& connection, const std::string& sweep_id,
                                  const std::map<std::string, std::string>& known) {
  constexpr const char* kRemark = " (its row was damaged: a character may be another)";
  const SummedTable& table = connection.row_sums().table("sweep");
  const std::string damaged =
      Str("FROM main.sweep NOT INDEXED WHERE NOT ", RowSums::HoldsCall(table));
  ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                   connection.ReadTexts(Str("SELECT id ", damaged)));
  for (const std::string& id : ids) {
    if (id != sweep_id && !IsOneBitOff(id, sweep_id)) continue;
    const std::string of_row = Str(" ", damaged, " AND id = ", Literal(id));
    ASSIGN_OR_RETURN(const std::string note, connection.ReadText(Str("SELECT note", of_row)));
    if (note.empty()) return note;
    std::vector<std::string> causes = {HoldsWith(table, "id", sweep_id)};
    for (const auto& [column, value] : known) causes.push_back(HoldsWith(table, column, value));
    ASSIGN_OR_RETURN(const std::int64_t is_sound,
                     connection.ReadInt(Str("SELECT ", Join(causes, " OR "), of_row)));
    return is_sound != 0 ? note : ToUtf8(note) + kRemark;
  }
  return std::string();
}

Status DropDisplaced(Connection& connection, const std::set<std::string>& tables) {
  for (const KeyedTable& table : kTables) {
    if (tables.contains(table.name)) RETURN_IF_ERROR(DropFrom(connection, table));
  }
  return Status();
}

}  // namespace longrun::coordinator
