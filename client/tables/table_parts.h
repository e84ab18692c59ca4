// The parts that the output formats of a table share: titles, heads, legends, and parts of cells.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/tables/pivot.h"

namespace longrun::client {

// The head of a column: "64"; for several axes "train 32 / context 64".
std::string ColumnHead(const PivotTable& table, std::size_t column);
// "perplexity by context length (validation, nonoverlap)"
std::string TableTitle(const PivotTable& table);
// Says what ± means, and whether the errors are over seeds or over the text; "" if no number has an
// error. `with_both`: for cells that show both errors (PartsOf).
std::string ErrorLegend(const PivotTable& table, bool with_both = false);
// The same for a plot's band, which shows one error and has no marks.
std::string BandLegend(const PivotTable& table);
// ErrorLegend, and the meaning of the sign that short cells show instead of a huge number.
std::string CellLegend(const PivotTable& table);
// A row's axes as text; for a baseline, its name and dataset.
std::vector<std::string> RowHead(const PivotTable& table, const PivotRow& row);
// What sets a row apart from the others: "rope", or "rope" and "train length 64".
std::vector<std::string> RowName(const PivotTable& table, const PivotRow& row);

// Why cells have no number: "not_applicable: REASON", each reason once and only the first few.
std::vector<std::string> ReasonNotes(const PivotTable& table);

// How long the prompts are, if they are not as long as their context lengths: "tokens of the
// longest prompt: 32021 at context length 9000". "" if they are, or if there are none.
std::string PromptsNote(const PivotTable& table);

// The meaning of a mark on a cell (a star, bold type): "best of the column, or not separable from
// it".
std::string MarkLegend(const PivotTable& table);
// Why (almost) all numbers look alike: "with 2 seeds, almost no difference can be detected ...",
// and how many seeds would help. "" if the seeds are many enough.
std::string FewSeedsNote(const PivotTable& table);
// Both notes, for a format that has one line for them.
std::string Notes(const PivotTable& table);
// Whether any cell is marked.
bool HasMarks(const PivotTable& table);
bool IsMarked(const PivotTable& table, const PivotCell& cell);
// The meaning of the second mark, a tilde: "not separable from a plain window of 64 tokens". "" if
// no cell has it.
std::string WindowLegend(const PivotTable& table);
// The meaning of a question mark: "not compared with a plain window of 64 tokens, ...". "" if no
// cell has it.
std::string NoWindowLegend(const PivotTable& table);

// The legend of a table's marks in a format: "[ ] train length, **bold** best model of the column".
// Each mark ends with what separates it from its meaning. A mark that no cell has is left out.
// `errors`: the meaning of ±, which comes last; "": left out.
struct LegendMarks {
  std::string_view train_length;  // "[ ] "
  std::string_view marked;        // "* "
  std::string_view window;        // "~ "
};
std::vector<std::string> MarksLegend(const PivotTable& table, const LegendMarks& marks,
                                     const std::string& errors);

// A cell's parts, before a format adds its markup.
struct CellParts {
  std::string value = {};  // "6.69"; "" if there is none
  // Half of the 95 % interval, with the digits of the value: for the cell's error, or with
  // `with_both` for each of the two. If the table shows several sources, errors of only one have a
  // mark: "0.05s" over seeds, "0.05t" over the text. "°" is added if the text has few blocks.
  std::vector<std::string> errors = {};
  // Instead of `errors`, the interval's ends, "0.7864–0.9565", with the same marks: for a share,
  // and for a wide interval of a perplexity or a ratio. Neither is symmetric, so that ± half of it
  // could give impossible values.
  std::vector<std::string> intervals = {};
  std::string note = {};  // "2/3", "diverged", "1/3 diverged"; ""
};
// `more_digits`: digits beyond those for which a table has room.
CellParts PartsOf(const PivotTable& table, const PivotCell& cell, int more_digits = 0,
                  bool with_both = false);
// The value with its errors after `plus_minus`, "6.69±0.05", or "0.9000 (0.7864–0.9565)".
std::string ValueText(const CellParts& parts, std::string_view plus_minus);

// A standard error of the estimate on the value's scale (delta method).
std::optional<double> OnValueScale(const PivotTable& table, const PivotCell& cell,
                                   const std::optional<double>& error);
// The 95 % interval of the value, from its error.
// That of a share stays within 0 and 1.
std::optional<std::pair<double, double>> Interval95(const PivotTable& table, const PivotCell& cell);

// A cell that is a share itself, not its comparison with another one.
bool IsShare(const PivotTable& table, const PivotCell& cell);

// A cell whose estimate is a logarithm of its value.
bool IsLog(const PivotTable& table, const PivotCell& cell);

// A cell that is a ratio to another one.
bool IsRatio(const PivotTable& table, const PivotCell& cell);

}  // namespace longrun::client
