#include "client/tables/pivot_evaluations.h"

#include <algorithm>

#include "base/str.h"
#include "client/words/render.h"
#include "model/evaluation/input_file.h"

namespace longrun::client {
namespace {

// Of the one evaluation that a row is of, without what has an axis of its own.
Json ParamsOf(const Json& evaluation) {
  if (!evaluation.is_object() || evaluation.empty()) return Json::object();
  Json params = evaluation.begin().value();
  for (const char* key :
       {"split", "protocol", "baseline", "context_lengths", "extension", "dataset"}) {
    params.erase(key);
  }
  return params;
}

// A file's content by a few digits: its name is not what was measured.
std::string ShownParam(const Json& value) {
  const std::string text = AxisText(value);
  return IsInputFileId(text) ? ShortInputFileId(text) : text;
}

}  // namespace

Evaluations::Known& Evaluations::Find(const ResultRow& row, const std::string& dataset) {
  const RowBody& body = row.body;
  const auto is_of_row = [&](const Known* known) {
    return known != nullptr && known->dataset == dataset && known->metric == body.metric &&
           known->split == body.split && known->protocol == body.protocol &&
           known->evaluation == row.evaluation;
  };
  if (is_of_row(last_)) return *last_;
  // Runs have their evaluations in the same order.
  if (last_ != nullptr && is_of_row(last_->next)) {
    last_ = last_->next;
    return *last_;
  }
  Known known{.dataset = dataset,
              .metric = body.metric,
              .split = body.split,
              .protocol = body.protocol,
              .evaluation = row.evaluation,
              .group = CanonicalJson(
                  {dataset, body.metric, AxisValue(body.split), AxisValue(body.protocol)})};
  std::string key = Str(known.group, CanonicalJson(known.evaluation));
  const auto [found, is_new] = known_.try_emplace(std::move(key), std::move(known));
  if (is_new) found->second.params = ParamsOf(found->second.evaluation);
  if (last_ != nullptr) last_->next = &found->second;
  last_ = &found->second;
  return *last_;
}

void Evaluations::Add(const ResultRow& row, const std::string& dataset) {
  const std::size_t n_known = known_.size();
  const Known& known = Find(row, dataset);
  if (known_.size() == n_known) return;
  ++n_in_group_[known.group];
  for (const auto& [key, value] : known.params.items()) {
    Values& values = values_[{known.group, key}];
    ++values.n_evaluations;
    std::vector<Json>& different = values.different;
    if (std::ranges::find(different, value) == different.end()) different.push_back(value);
  }
}

const Json& Evaluations::TextOf(const ResultRow& row, const std::string& dataset) {
  Known& known = Find(row, dataset);
  if (known.text) return *known.text;
  std::vector<std::string> parts;
  for (const auto& [key, value] : known.params.items()) {
    const Values& values = values_.at({known.group, key});
    const bool all_have_it = values.n_evaluations == n_in_group_.at(known.group);
    if (all_have_it && values.different.size() <= 1) continue;
    // A stride of 0 stands for the longest there is.
    const bool is_unset = key == "stride" && value == 0;
    parts.push_back(Str(key, "=", is_unset ? "L-1" : ShownParam(value)));
  }
  known.text = parts.empty() ? Json() : Json(Join(parts, ", "));
  return *known.text;
}

std::string RestOfEvaluation(const std::string& name, const std::string& text) {
  std::vector<std::string> parts;
  for (const std::string& part : Split(text, ',')) {
    const std::string_view trimmed = Trim(part);
    if (name.find(trimmed) == std::string::npos) parts.emplace_back(trimmed);
  }
  return Join(parts, ", ");
}

std::string TitleOfEvaluation(const std::string& name, const Json& text) {
  const std::string rest = text.is_null() ? "" : RestOfEvaluation(name, AxisText(text));
  return rest.empty() ? name : Str(name, ", ", rest);
}

}  // namespace longrun::client
