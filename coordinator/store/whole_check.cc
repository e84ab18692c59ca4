// See whole_check.h.
#include "coordinator/store/whole_check.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/str.h"
#include "coordinator/store/damage.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {
namespace {

// Tables whose rows a command of users rewrites; the others can only be restored from a backup.
constexpr std::string_view kWrittenAnew[] = {"sweep",      "sweep_run",   "sweep_cell",
                                             "sweep_task", "sweep_label", "run",
                                             "task",       "cell",        "model"};

Result<std::optional<Flaw>> FindDamagedRow(Connection& connection, const SummedTable& table) {
  ASSIGN_OR_RETURN(const std::int64_t n_damaged,
                   connection.ReadInt(Str("SELECT count(*) FROM main.", table.name,
                                          " NOT INDEXED WHERE NOT ", RowSums::HoldsCall(table))));
  if (n_damaged == 0) return std::optional<Flaw>();
  Flaw flaw = {.object = Str("a row of table ", table.name),
               .how = "does not match its stored checksum",
               .remedy = std::string(kRestoreRemedy)};
  const std::vector<DamagedRow> rows = connection.row_sums().TakeDamaged();
  const auto row = std::ranges::find(rows, table.name, &DamagedRow::table);
  if (row != rows.end()) {
    flaw.object = row->object;
    if (std::ranges::find(kWrittenAnew, table.name) != std::end(kWrittenAnew)) {
      flaw.remedy += Str(", or ", row->remedy);
    }
  }
  for (const DamagedRow& one : rows) connection.row_sums().NoteDamaged(one);
  return std::optional<Flaw>(std::move(flaw));
}

Result<std::optional<Flaw>> FindDisorder(Connection& connection, const std::string& table) {
  ASSIGN_OR_RETURN(const std::vector<std::string> lines,
                   connection.ReadTexts(Str("PRAGMA main.integrity_check(", table, ")")));
  for (const std::string& line : lines) {
    // The checksum, not SQLite, decides about the content of a row.
    if (line == "ok" || ComplaintOf(line) == Complaint::kRow) continue;
    const bool is_index = ComplaintOf(line) == Complaint::kIndex;
    const bool is_order = ComplaintOf(line) == Complaint::kOrder;
    const std::string_view part = is_index ? "an index" : is_order ? "the order" : "the form";
    return std::optional<Flaw>(Flaw{.object = Str(part, " of the database's table ", table),
                                    .how = Str("is damaged (SQLite: ", PlainComplaint(line), ")"),
                                    .remedy = is_index || is_order
                                                  ? Str(kRestoreRemedy, ", or ", kRepairRemedy)
                                                  : std::string(kRestoreRemedy)});
  }
  return std::optional<Flaw>();
}

Result<std::optional<Flaw>> FindLostRow(Connection& connection, const std::string& table) {
  ASSIGN_OR_RETURN(
      const std::vector<std::string> parents,
      connection.ReadTexts(Str("SELECT DISTINCT \"parent\" FROM pragma_foreign_key_check('", table,
                               "', 'main') ORDER BY 1")));
  if (parents.empty()) return std::optional<Flaw>();
  return std::optional<Flaw>(
      Flaw{.object = Str("table ", table, " refers to a row of table ", parents.front()),
           .how = "that is missing",
           .remedy = std::string(kRestoreRemedy)});
}

Complaint OfLine(std::string_view line) {
  const auto has = [&](std::string_view part) { return line.find(part) != std::string_view::npos; };
  if (has(" value in ") || line.starts_with("CHECK constraint failed")) return Complaint::kRow;
  if (has(" missing from index ") || has(" of entries in index ") ||
      has(" values differ from index ") || has("non-unique entry in index ")) {
    return Complaint::kIndex;
  }
  if (line.starts_with("row not in PRIMARY KEY order for ") ||
      (has("Rowid ") && line.ends_with(" out of order"))) {
    return Complaint::kOrder;
  }
  return Complaint::kStructure;
}

std::pair<Complaint, std::string> WorstLine(std::string_view row) {
  std::pair<Complaint, std::string> worst = {Complaint::kRow, ""};
  for (std::string& line : Split(row, '\n')) {
    if (line.empty() || line.starts_with("*** in database ")) continue;
    const Complaint complaint = OfLine(line);
    if (worst.second.empty() || complaint > worst.first) worst = {complaint, std::move(line)};
  }
  return worst;
}

}  // namespace

Complaint ComplaintOf(std::string_view row) { return WorstLine(row).first; }

std::string PlainComplaint(std::string_view row) {
  constexpr std::string_view kAuto = "index sqlite_autoindex_";
  std::string line = WorstLine(row).second;
  const std::size_t begin = line.find(kAuto);
  if (begin == std::string::npos) return line;
  const std::size_t name = begin + kAuto.size();
  const std::size_t end = std::min(line.find(' ', name), line.size());
  const std::size_t number = line.rfind('_', end);
  if (number <= name || number == std::string::npos) return line;
  const std::string table = line.substr(name, number - name);
  const std::string which = line.substr(number + 1, end - number - 1);
  return line.replace(begin, end - begin, Str("index ", which, " of table ", table));
}

Result<std::pair<Complaint, std::string>> WorstComplaint(Connection& connection,
                                                         const std::string& table) {
  const std::string of = table.empty() ? "" : Str("(", table, ")");
  ASSIGN_OR_RETURN(const std::vector<std::string> rows,
                   connection.ReadTexts(Str("PRAGMA main.integrity_check", of)));
  std::pair<Complaint, std::string> worst = {Complaint::kRow, ""};
  for (const std::string& row : rows) {
    if (row == "ok") continue;
    const Complaint complaint = ComplaintOf(row);
    if (complaint > worst.first) worst = {complaint, PlainComplaint(row)};
  }
  return worst;
}

Result<std::optional<Flaw>> FindFlaw(Connection& connection,
                                     std::span<const std::string_view> tables,
                                     std::int64_t limit_ms) {
  for (const std::string_view name : tables) {
    connection.SetTimeLimit(limit_ms);
    const auto& known = connection.row_sums().tables();
    const auto found = std::ranges::find(known, name, &SummedTable::name);
    if (found == known.end()) {
      return std::optional<Flaw>(Flaw{.object = Str("the definition of table ", name),
                                      .how = "differs from the one that longrun writes",
                                      .remedy = std::string(kRestoreRemedy)});
    }
    const SummedTable& table = *found;
    ASSIGN_OR_RETURN(std::optional<Flaw> flaw, FindDamagedRow(connection, table));
    if (!flaw) {
      ASSIGN_OR_RETURN(flaw, FindDisorder(connection, table.name));
    }
    if (flaw) return flaw;
  }
  // Last of all: a row that a damaged index hides is not lost.
  for (const std::string_view name : tables) {
    connection.SetTimeLimit(limit_ms);
    ASSIGN_OR_RETURN(std::optional<Flaw> flaw, FindLostRow(connection, std::string(name)));
    if (flaw) return flaw;
  }
  return std::optional<Flaw>();
}

}  // namespace longrun::coordinator
