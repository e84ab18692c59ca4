#include "client/tables/pivot_filter.h"

#include <algorithm>
#include <utility>

#include "base/str.h"
#include "base/utf8.h"
#include "client/words/joined.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

// For texts with commas.
std::vector<std::string> AllQuoted(const std::set<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) quoted.push_back(Str("\"", text, "\""));
  return quoted;
}

}  // namespace

bool PivotFilter::Matches(const Json& value) const {
  return std::ranges::any_of(values, [&](const std::string& text) {
    return exact.contains(text) ? IsWholeName(value, text) : IsWritten(value, text);
  });
}

void NoteExact(const std::vector<Json>& there, PivotFilter& filter) {
  for (const std::string& text : filter.values) {
    const auto is_whole = [&text](const Json& value) { return IsWholeName(value, text); };
    if (std::ranges::any_of(there, is_whole)) filter.exact.insert(text);
  }
}

Status FitToValues(const std::vector<Json>& there, const std::set<std::string>& titles,
                   PivotFilter& filter) {
  const auto has = [&there, &titles](const std::string& text) {
    return titles.contains(text) || std::ranges::any_of(there, [&text](const Json& value) {
             return IsWritten(value, text);
           });
  };
  if (!filter.whole.empty() && has(filter.whole)) filter.values = {filter.whole};
  NoteExact(there, filter);
  for (const std::string& text : filter.values) {
    if (has(text)) continue;
    return {Code::kInvalidArgument,
            Str("--where ", filter.axis, ": ", NoValue(text, filter.axis, there, titles))};
  }
  return {};
}

std::string NameOf(const Json& value) { return value.is_null() ? "none" : AxisText(value); }

std::vector<std::string> NamesOf(const std::vector<Json>& values) {
  std::vector<std::string> names;
  for (const Json& value : values) names.push_back(NameOf(value));
  return names;
}

std::string NoValue(const std::string& text, const std::string& axis,
                    const std::vector<Json>& there, const std::set<std::string>& titles) {
  const std::string listed =
      titles.empty() ? JoinLabels(NamesOf(there)) : Join(AllQuoted(titles), ", ");
  return Str(Quoted(text), " is not a value of ", axis, "; its values are ", listed);
}

Result<std::vector<RunRef>> RunsWhere(const std::vector<RunRef>& runs,
                                      const std::vector<std::string>& axes,
                                      const std::vector<PivotFilter>& where) {
  std::vector<RunRef> kept = runs;
  for (PivotFilter filter : where) {
    ASSIGN_OR_RETURN(filter.axis, ResolveAxis(filter.axis, axes, runs));
    if (IsEvaluationAxis(filter.axis)) {
      return Status(Code::kInvalidArgument,
                    Str("--where ", filter.axis,
                        ": this is an axis of evaluations, which a training run does not have: "
                        "leave it out"));
    }
    std::vector<Json> there;
    for (const RunRef& run : runs) {
      Json value = RunValue(run, filter.axis);
      if (std::ranges::find(there, value) == there.end()) there.push_back(std::move(value));
    }
    if (!there.empty()) RETURN_IF_ERROR(FitToValues(there, {}, filter));
    std::erase_if(
        kept, [&filter](const RunRef& run) { return !filter.Matches(RunValue(run, filter.axis)); });
  }
  return kept;
}

}  // namespace longrun::client
