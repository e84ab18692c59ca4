#include "client/tables/pivot_evaluations.h"

#include <algorithm>

#include "base/str.h"
#include "client/words/render.h"
#include "model/evaluation/input_file.h"

namespace longrun::client {
namespace {

constexpr const char* kOfGroup[] = {"metric", "split", "protocol"};

const Json& MemberOf(const Json& object, const char* key) {
  static const Json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

// Of the one evaluation that a row is of, without what has an axis of its own.
Json ParamsOf(const Json& evaluation) {
  if (!evaluation.is_object() || evaluation.empty()) return Json::object();
  Json params = evaluation.begin().value();
  for (const char* key : {"split", "protocol", "baseline", "context_lengths"}) params.erase(key);
  return params;
}

// A file's content by a few digits: its name is not what was measured.
std::string ShownParam(const Json& value) {
  const std::string text = AxisText(value);
  return IsInputFileId(text) ? ShortInputFileId(text) : text;
}

}  // namespace

Evaluations::Known& Evaluations::Find(const ResultRow& row, const std::string& dataset) {
  const Json& body = row.body;
  const Json* parts[] = {&body.at(kOfGroup[0]), &MemberOf(body, kOfGroup[1]),
                         &MemberOf(body, kOfGroup[2]), &row.evaluation};
  const auto is_same = [](const Json* a, const Json& b) { return *a == b; };
  if (last_ != nullptr && last_->dataset == dataset &&
      std::ranges::equal(parts, last_->parts, is_same)) {
    return *last_;
  }
  Known known{.dataset = dataset,
              .parts = {*parts[0], *parts[1], *parts[2], *parts[3]},
              .group = CanonicalJson({dataset, *parts[0], *parts[1], *parts[2]})};
  std::string key = Str(known.group, CanonicalJson(known.parts.back()));
  const auto [found, is_new] = known_.try_emplace(std::move(key), std::move(known));
  if (is_new) found->second.params = ParamsOf(found->second.parts.back());
  last_ = &found->second;
  return *last_;
}

void Evaluations::Add(const ResultRow& row, const std::string& dataset) {
  const std::size_t n_known = known_.size();
  const Known& known = Find(row, dataset);
  if (known_.size() == n_known) return;
  for (const auto& [key, value] : known.params.items()) {
    std::vector<Json>& values = values_[{known.group, key}];
    if (std::ranges::find(values, value) == values.end()) values.push_back(value);
  }
}

const Json& Evaluations::TextOf(const ResultRow& row, const std::string& dataset) {
  Known& known = Find(row, dataset);
  if (known.text) return *known.text;
  std::vector<std::string> parts;
  for (const auto& [key, value] : known.params.items()) {
    if (values_.at({known.group, key}).size() <= 1) continue;
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
