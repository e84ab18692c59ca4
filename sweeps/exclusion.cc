// See exclusion.h.
#include "sweeps/exclusion.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "base/check.h"

namespace longrun {
namespace {

std::size_t Mixed(std::size_t hash, std::size_t next) { return hash * 0x9e3779b97f4a7c15U + next; }

std::vector<std::string> KeysOf(const Json& map) {
  std::vector<std::string> keys;
  for (const auto& item : map.items()) keys.push_back(item.key());
  return keys;
}

// The map with only these keys; null if it lacks one.
Json WithOnly(const std::vector<std::string>& keys, const Json& map) {
  Json part = Json::object();
  for (const std::string& key : keys) {
    const auto value = map.find(key);
    if (value == map.end()) return nullptr;
    part[key] = *value;
  }
  return part;
}

}  // namespace

std::size_t JsonHash::operator()(const Json& value) const {
  if (value.is_number()) return std::hash<double>()(value.get<double>());
  if (value.is_string()) return std::hash<std::string>()(value.get_ref<const std::string&>());
  if (value.is_boolean()) return value.get<bool>() ? 1 : 2;
  std::size_t hash = value.size();
  if (value.is_object()) {
    for (const auto& item : value.items()) {
      hash = Mixed(Mixed(hash, std::hash<std::string>()(item.key())), (*this)(item.value()));
    }
  } else if (value.is_array()) {
    for (const Json& item : value) hash = Mixed(hash, (*this)(item));
  }
  return hash;
}

ExcludableValues::ExcludableValues(const Axis& axis) {
  for (const AxisValue& one : axis.values) {
    is_set_ = is_set_ || one.place.source != 0;
    const auto [value, is_new] = all_.insert(one.value);
    if (is_new && value->is_object()) maps_.push_back(&*value);
  }
}

bool ExcludableValues::Has(const Json& wanted) const {
  if (is_set_ || all_.contains(wanted)) return true;
  return wanted.is_object() &&
         std::ranges::any_of(maps_, [&](const Json* value) { return IsExcluded(*value, wanted); });
}

void Exclusion::Wanted::Add(const Json& wanted, std::size_t pattern) {
  auto& of_kind = wanted.is_object() ? maps[KeysOf(wanted)] : values;
  of_kind[wanted].set(pattern);
}

Exclusion::Patterns Exclusion::Wanted::Matching(const Json& value) const {
  Patterns matching = anything;
  const auto add = [&](const auto& of_kind, const Json& key) {
    if (const auto found = of_kind.find(key); found != of_kind.end()) matching |= found->second;
  };
  if (!value.is_object()) {
    add(values, value);
    return matching;
  }
  for (const auto& [keys, of_keys] : maps) {
    if (const Json part = WithOnly(keys, value); !part.is_null()) add(of_keys, part);
  }
  return matching;
}

Exclusion::Exclusion(const std::vector<Axis>& axes, const std::vector<PointPattern>& patterns) {
  LR_CHECK(patterns.size() <= kExcludesMax);
  if (patterns.empty()) return;
  for (std::size_t a = 0; a < axes.size(); ++a) {
    Wanted wanted;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      const auto value = patterns[i].find(a);
      if (value == patterns[i].end()) {
        wanted.anything.set(i);
      } else {
        wanted.Add(value->second, i);
      }
    }
    std::vector<Patterns>& matching = matching_.emplace_back();
    for (const AxisValue& one : axes[a].values) matching.push_back(wanted.Matching(one.value));
  }
}

bool Exclusion::Excludes(const std::vector<std::size_t>& index) const {
  if (matching_.empty()) return false;
  Patterns matching = matching_[0][index[0]];
  for (std::size_t a = 1; a < index.size(); ++a) matching &= matching_[a][index[a]];
  return matching.any();
}

}  // namespace longrun
