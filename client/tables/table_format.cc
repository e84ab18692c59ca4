#include "client/tables/table_format.h"

#include <algorithm>

#include "base/check.h"
#include "base/str.h"
#include "client/console/output.h"
#include "client/tables/table_csv.h"
#include "client/tables/table_json.h"
#include "client/tables/table_latex.h"
#include "client/tables/table_markdown.h"
#include "client/tables/table_text.h"
#include "client/words/signs.h"

namespace longrun::client {

const std::vector<TableFormat>& TableFormats() {
  static const std::vector<TableFormat> formats = {
      {.name = "table", .render = RenderTablesText},
      {.name = "wide", .render = RenderTablesWide},
      {.name = "json", .render = RenderTablesJson, .is_for_people = false},
      {.name = "jsonl", .render = RenderTablesJsonl, .is_for_people = false},
      {.name = "csv", .render = RenderTablesCsv, .is_for_people = false},
      {.name = "markdown", .render = RenderTablesMarkdown},
      {.name = "latex", .render = RenderTablesLatex},
  };
  return formats;
}

std::vector<std::string> TableFormatNames() {
  std::vector<std::string> names;
  for (const TableFormat& format : TableFormats()) names.push_back(format.name);
  return names;
}

namespace {

const TableFormat& FindFormat(const std::string& name) {
  const auto found = std::ranges::find(TableFormats(), name, &TableFormat::name);
  LR_CHECK(found != TableFormats().end());
  return *found;
}

}  // namespace

bool IsForPeople(const std::string& name) { return FindFormat(name).is_for_people; }

PivotRequest ShownRequest(const std::string& format) {
  PivotRequest request;
  if (!IsForPeople(format)) return request;
  request.buckets_max = kBucketsShown;
  request.over_all_depths = true;
  return request;
}

std::string LeftOutDepthsNote(const std::vector<PivotTable>& tables, std::string_view sweeps) {
  if (std::ranges::none_of(tables, &PivotTable::leaves_out_depths)) return "";
  return Str("also measured by depth: `longrun table ", sweeps, " --rows depth` or `longrun plot ",
             sweeps, " --what depth` shows it");
}

std::string LeftOutBaselinesNote(const std::vector<PivotTable>& tables, std::string_view sweeps) {
  if (std::ranges::none_of(tables, &PivotTable::leaves_out_baselines)) return "";
  return Str("the baseline is left out, since it has no model and no train length: `longrun table ",
             sweeps, " --cols context_length` shows it");
}

std::string RenderTables(const std::vector<PivotTable>& tables, const std::string& name) {
  return FindFormat(name).render(tables);
}

void PrintTables(const std::vector<PivotTable>& tables, const std::string& name) {
  const bool is_text = name == "table" || name == "wide";
  const std::string text = RenderTables(tables, name);
  if (is_text) PrintText(ForTerminal(text));
  if (!is_text) Print(text);
}

}  // namespace longrun::client
