// The conditions of `--where`: what a value on an axis must be, and which runs fulfil it.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "client/tables/pivot_axes.h"

namespace longrun::client {

// Keeps the rows with one of `values` on an axis. A value is text as a table shows it ("64",
// "cable", "rope(base=500000)"), or only a position's method. `whole` is the text before it was
// split at commas: if a row has this value on the axis, it replaces `values`.
struct PivotFilter {
  std::string axis;
  std::vector<std::string> values = {};
  std::string whole = {};
  // Those of `values` that are the whole name of a row's value, and so match only that value. Set
  // by FitToValues.
  std::set<std::string> exact = {};

  bool Matches(const Json& value) const;
};

// Sets `exact`.
void NoteExact(const std::vector<Json>& there, PivotFilter& filter);

// Reads the filter's text with the values `there` on its axis, or with further names of these:
// sets `values` and `exact`. A value that nothing has is a slip, and not a condition:
// kInvalidArgument lists the values.
Status FitToValues(const std::vector<Json>& there, const std::set<std::string>& titles,
                   PivotFilter& filter);

// A value on an axis as messages name it.
std::string NameOf(const Json& value);
std::vector<std::string> NamesOf(const std::vector<Json>& values);

// Why a text is no value of an axis that has the values `there`, or these further names of them.
std::string NoValue(const std::string& text, const std::string& axis,
                    const std::vector<Json>& there, const std::set<std::string>& titles);

// The runs that fulfil all conditions. `axes`: those of the sweeps' matrices. kInvalidArgument for
// an axis that runs do not have, or a value that no run has.
Result<std::vector<RunRef>> RunsWhere(const std::vector<RunRef>& runs,
                                      const std::vector<std::string>& axes,
                                      const std::vector<PivotFilter>& where);

}  // namespace longrun::client
