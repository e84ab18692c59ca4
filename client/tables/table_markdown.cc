#include "client/tables/table_markdown.h"

#include "base/str.h"
#include "client/tables/table_parts.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

std::string CellText(const PivotTable& table, const PivotCell& cell) {
  const CellParts parts = PartsOf(table, cell);
  std::string text = ValueText(parts, " ± ");
  if (!parts.note.empty()) StrAppend(text, Str(text.empty() ? "" : " ", MarkdownCell(parts.note)));
  if (IsMarked(table, cell)) text = Str("**", text, "**");
  if (cell.is_like_window) text += "\\~";
  if (cell.lacks_window) text += "?";
  if (cell.at_train_length && !text.empty()) text = Str("\\[", text, "\\]");
  return text;
}

std::string Line(const std::vector<std::string>& fields) {
  return Str("| ", Join(fields, " | "), " |\n");
}

}  // namespace

std::string RenderTablesMarkdown(const std::vector<PivotTable>& tables) {
  std::string out;
  for (const PivotTable& table : tables) {
    if (!out.empty()) out += "\n";
    std::vector<std::string> header;
    for (const std::string& axis : table.row_axes) header.push_back(MarkdownCell(ShortAxis(axis)));
    std::vector<std::string> rule(header.size(), "---");
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      header.push_back(MarkdownCell(ColumnHead(table, c)));
    }
    rule.resize(header.size(), "---:");
    out += Str("**", MarkdownCell(TableTitle(table)), "**\n\n", Line(header), Line(rule));
    for (const PivotRow& row : table.rows) {
      std::vector<std::string> fields;
      for (const std::string& head : RowHead(table, row)) fields.push_back(MarkdownCell(head));
      for (const PivotCell& cell : row.cells) fields.push_back(CellText(table, cell));
      out += Line(fields);
    }
    const std::string legend = Join(
        MarksLegend(table, {.train_length = "\\[ \\] ", .marked = "**bold** ", .window = "\\~ "},
                    CellLegend(table)),
        ", ");
    const std::string notes = Notes(table);
    if (legend.empty() && notes.empty()) continue;
    out += Str("\n", legend, legend.empty() || notes.empty() ? "" : "; ", notes, "\n");
  }
  return out;
}

}  // namespace longrun::client
