// The output formats of a table: `-o NAME`. One format is one file, table_NAME, and one line in
// table_format.cc; what they share is in table_parts.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/tables/pivot.h"

namespace longrun::client {

struct TableFormat {
  std::string name;
  std::string (*render)(const std::vector<PivotTable>& tables);
  bool is_for_people = true;  // else for programs
};

// The number of columns by position for which a table for people has room.
inline constexpr std::int64_t kBucketsShown = 8;

const std::vector<TableFormat>& TableFormats();
std::vector<std::string> TableFormatNames();
// `name` is one of TableFormatNames().
bool IsForPeople(const std::string& name);
// What people see of the results unless they ask for more, in a format.
PivotRequest ShownRequest(const std::string& format);
// Where the depths are that such tables leave out; "": they leave out none.
std::string LeftOutDepthsNote(const std::vector<PivotTable>& tables, std::string_view sweeps);
// "" unless baselines are left out.
std::string LeftOutBaselinesNote(const std::vector<PivotTable>& tables, std::string_view sweeps);
std::string RenderTables(const std::vector<PivotTable>& tables, const std::string& name);
// Writes them to stdout.
void PrintTables(const std::vector<PivotTable>& tables, const std::string& name);

}  // namespace longrun::client
