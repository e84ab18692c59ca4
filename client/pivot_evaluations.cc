#include "client/pivot_evaluations.h"

#include <algorithm>

#include "base/str.h"
#include "client/render.h"
#include "model/evaluation/input_file.h"

namespace longrun {
namespace {

// Of the one evaluation that the row is of, without what has an axis of its own.
Json ParamsOf(const Json& row) {
  const auto found = row.find("evaluation");
  if (found == row.end() || !found->is_object() || found->empty()) return Json::object();
  Json params = found->begin().value();
  for (const char* key : {"split", "protocol", "baseline", "context_lengths"}) params.erase(key);
  return params;
}

// A file's content by a few digits: its name is not what was measured.
std::string ShownParam(const Json& value) {
  const std::string text = AxisText(value);
  return IsInputFileId(text) ? ShortInputFileId(text) : text;
}

std::string GroupOf(const Json& row, const std::string& dataset) {
  const Json& body = row.at("body");
  return CanonicalJson(
      {dataset, body.at("metric"), body.value("split", Json()), body.value("protocol", Json())});
}

}  // namespace

void Evaluations::Add(const Json& row, const std::string& dataset) {
  const Json params = ParamsOf(row);
  const std::string group = GroupOf(row, dataset);
  for (const auto& [key, value] : params.items()) {
    std::vector<Json>& values = values_[{group, key}];
    if (std::ranges::find(values, value) == values.end()) values.push_back(value);
  }
}

Json Evaluations::TextOf(const Json& row, const std::string& dataset) const {
  const Json params = ParamsOf(row);
  const std::string group = GroupOf(row, dataset);
  std::vector<std::string> parts;
  for (const auto& [key, value] : params.items()) {
    if (values_.at({group, key}).size() <= 1) continue;
    // A stride of 0 stands for the longest there is.
    const bool is_unset = key == "stride" && value == 0;
    parts.push_back(Str(key, "=", is_unset ? "L-1" : ShownParam(value)));
  }
  return parts.empty() ? Json() : Json(Join(parts, ", "));
}

}  // namespace longrun
