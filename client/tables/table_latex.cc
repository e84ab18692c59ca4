#include "client/tables/table_latex.h"

#include "base/str.h"
#include "client/tables/table_parts.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::string_view kDash = "–";

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '\\':
        out += "\\textbackslash{}";
        break;
      case '~':
        out += "\\textasciitilde{}";
        break;
      case '^':
        out += "\\textasciicircum{}";
        break;
      case '&':
      case '%':
      case '$':
      case '#':
      case '_':
      case '{':
      case '}':
        out += '\\';
        out += c;
        break;
      case '<':
      case '>':
        out += '$';
        out += c;
        out += '$';
        break;
      case '\n':
      case '\r':
        out += ' ';
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string CellText(const PivotTable& table, const PivotCell& cell) {
  const CellParts parts = PartsOf(table, cell);
  std::string text = Escaped(parts.value);
  for (const std::string& error : parts.errors) text += Str(" $\\pm$ ", error);
  std::vector<std::string> intervals;
  for (const std::string& interval : parts.intervals) {
    const std::size_t dash = interval.find(kDash);
    intervals.push_back(Str(interval.substr(0, dash), "--", interval.substr(dash + kDash.size())));
  }
  if (!intervals.empty()) text += Str(" (", Join(intervals, ", "), ")");
  if (parts.note == "–") {
    text = "--";
  } else if (!parts.note.empty()) {
    StrAppend(text, Str(text.empty() ? "" : " ", Escaped(parts.note)));
  }
  if (IsMarked(table, cell)) text = Str("\\textbf{", text, "}");
  if (cell.is_like_window) text += "$^{\\sim}$";
  if (cell.lacks_window) text += "$^{?}$";
  // In braces: a bracket behind \\ would be its argument.
  if (cell.at_train_length && !text.empty()) text = Str("{[}", text, "{]}");
  return text;
}

std::string Line(const std::vector<std::string>& fields) {
  const bool begins_argument =
      !fields.empty() && (fields.front().starts_with('[') || fields.front().starts_with('*'));
  // The \\ or \midrule of the line before would take a bracket or an asterisk as its argument.
  return Str("  ", begins_argument ? "{}" : "", Join(fields, " & "), " \\\\\n");
}

std::string TableText(const PivotTable& table) {
  std::vector<std::string> header;
  for (const std::string& axis : table.row_axes) header.push_back(Escaped(ShortAxis(axis)));
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    header.push_back(Escaped(ColumnHead(table, c)));
  }
  std::string out = Str("% ", Escaped(TableTitle(table)), "\n% needs \\usepackage{booktabs}\n",
                        "\\begin{tabular}{", std::string(table.row_axes.size(), 'l'),
                        std::string(table.columns.size(), 'r'), "}\n  \\toprule\n", Line(header),
                        "  \\midrule\n");
  bool in_baselines = false;
  for (const PivotRow& row : table.rows) {
    if (!row.baseline.empty() && !in_baselines) out += "  \\midrule\n";
    in_baselines = !row.baseline.empty();
    std::vector<std::string> fields;
    for (const std::string& head : RowHead(table, row)) fields.push_back(Escaped(head));
    for (const PivotCell& cell : row.cells) fields.push_back(CellText(table, cell));
    out += Line(fields);
  }
  out += "  \\bottomrule\n\\end{tabular}\n";
  const std::string legend =
      Join(MarksLegend(table, {.train_length = "[ ] ", .marked = "bold: ", .window = "~ "},
                       CellLegend(table)),
           ", ");
  const std::string notes = Notes(table);
  if (legend.empty() && notes.empty()) return out;
  return out + Str("% ", legend, legend.empty() || notes.empty() ? "" : "; ", notes, "\n");
}

}  // namespace

std::string RenderTablesLatex(const std::vector<PivotTable>& tables) {
  std::string out;
  for (const PivotTable& table : tables) {
    if (!out.empty()) out += "\n";
    out += TableText(table);
  }
  return out;
}

}  // namespace longrun::client
