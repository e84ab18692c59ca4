#include "client/tables/table_text.h"

#include <cmath>
#include <set>

#include "base/str.h"
#include "client/tables/table_parts.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr int kWideDigits = 3;  // beyond those of the narrow form

// "6.69", "[6.69]" at the train length, "6.69*" for the best; "±" where it is known; "0.10~" where
// a plain window does as well, "0.10?" where that is not known.
std::string CellText(const PivotTable& table, const PivotCell& cell, bool is_wide) {
  const CellParts parts =
      PartsOf(table, cell, is_wide ? kWideDigits : 0, is_wide && table.has_two_errors);
  std::string text = ValueText(parts, "±");
  if (is_wide && cell.quantiles) {
    StrAppend(text, Str(" (", std::llround(cell.quantiles->front()), " to ",
                        std::llround(cell.quantiles->back()), ")"));
  }
  if (!parts.note.empty()) StrAppend(text, Str(text.empty() ? "" : " ", parts.note));
  if (cell.at_train_length && !text.empty()) text = Str("[", text, "]");
  if (cell.is_like_window) text += "~";
  if (cell.lacks_window) text += "?";
  if (IsMarked(table, cell)) text += "*";
  return text;
}

std::vector<std::string> Fields(const PivotTable& table, const PivotRow& row, bool is_wide) {
  std::vector<std::string> fields = RowHead(table, row);
  if (is_wide) {
    std::vector<std::string> seeds;
    for (const Json& seed : row.seeds) seeds.push_back(AxisText(seed));
    std::vector<std::string> runs;
    for (const std::string& run_key : row.run_keys) runs.push_back(ShortId(run_key));
    fields.push_back(Join(seeds, ","));
    fields.push_back(Join(runs, ","));
  }
  for (const PivotCell& cell : row.cells) {
    fields.push_back(CellText(table, cell, is_wide));
  }
  return fields;
}

// "`longrun retry a` continues it"
std::string RetryText(const std::set<std::string>& sweeps) {
  std::vector<std::string> commands;
  for (const std::string& sweep : sweeps) commands.push_back(Str("`longrun retry ", sweep, "`"));
  return Str(Join(commands, ", "), commands.size() == 1 ? " continues it" : " continue them");
}

std::string TableText(const PivotTable& table, bool is_wide) {
  std::vector<std::string> header;
  for (const std::string& axis : table.row_axes) header.push_back(ShortAxis(axis));
  if (is_wide) header.insert(header.end(), {"seeds", "runs"});
  std::vector<Align> align(header.size(), Align::kLeft);
  for (std::size_t c = 0; c < table.columns.size(); ++c) header.push_back(ColumnHead(table, c));
  align.resize(header.size(), Align::kRight);
  std::vector<std::vector<std::string>> rows;
  rows.reserve(table.rows.size());
  bool is_partial = false;
  std::set<std::string> cancelled;  // names of sweeps
  bool has_quantiles = false, is_outside = false;
  for (const PivotRow& row : table.rows) {
    rows.push_back(Fields(table, row, is_wide));
    for (const PivotCell& cell : row.cells) {
      is_partial = is_partial || (cell.n_ok > 0 && cell.n_ok < cell.n_wanted);
      if (cell.status == "cancelled" && !cell.sweeps.empty()) cancelled.insert(cell.sweeps.front());
      if (!is_wide || !cell.quantiles) continue;
      has_quantiles = true;
      is_outside = is_outside || *cell.value < cell.quantiles->front() ||
                   *cell.value > cell.quantiles->back();
    }
  }
  std::vector<std::string> legend =
      MarksLegend(table, {.train_length = "[ ] ", .marked = "* ", .window = "~ "},
                  is_wide ? ErrorLegend(table, table.has_two_errors) : CellLegend(table));
  if (has_quantiles) {
    legend.push_back(Str("( to ) 10th and 90th percentile of the timed steps",
                         is_outside ? "; a number outside is over their total time, in which a few "
                                      "slow steps weigh more"
                                    : ""));
  }
  if (is_partial) legend.emplace_back("n/N: n of N requested seeds have a number");
  if (!cancelled.empty()) legend.push_back(Str("cancelled: ", RetryText(cancelled)));
  std::string text = Str(TableTitle(table), "\n", RenderColumns(header, align, rows));
  if (!legend.empty()) text += Str(Join(legend, "   "), "\n");
  const std::string prompts = PromptsNote(table);
  if (!prompts.empty()) text += Str(prompts, "\n");
  const std::string few_seeds = FewSeedsNote(table);
  if (!few_seeds.empty()) text += Str(few_seeds, "\n");
  for (const std::string& note : ReasonNotes(table)) text += Str(note, "\n");
  return text;
}

std::string Render(const std::vector<PivotTable>& tables, bool is_wide) {
  std::string out;
  for (const PivotTable& table : tables) {
    if (!out.empty()) out += "\n";
    out += TableText(table, is_wide);
  }
  return out;
}

}  // namespace

std::string RenderTablesText(const std::vector<PivotTable>& tables) {
  return Render(tables, false);
}

std::string RenderTablesWide(const std::vector<PivotTable>& tables) { return Render(tables, true); }

}  // namespace longrun::client
