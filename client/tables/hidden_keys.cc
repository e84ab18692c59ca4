#include "client/tables/hidden_keys.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/str.h"
#include "client/tables/ancestry.h"
#include "client/tables/comparison.h"

namespace longrun::client {
namespace {

bool IsAtOrBelow(const std::string& path, const std::string& axis) {
  return path == axis || path.starts_with(Str(axis, "."));
}

// A hash below a key is the key's value for people.
std::string NameOf(const std::string& path) {
  if (path == "dataset.digest") return "dataset";
  if (path == "tokenizer.fingerprint") return "tokenizer";
  if (path == "init.sha256" || path == "init.run") return "init";
  return path;
}

// Whether an axis of the table decides the value at the path: it is the axis, or follows from it.
bool FollowsFrom(const std::string& path, const std::vector<std::string>& axes) {
  const auto shows = [&](const std::string& axis) {
    if (IsAtOrBelow(path, PathOfAxis(axis))) return true;
    if (axis == "dataset") return path == "tokenizer.fingerprint" || path == "model.vocab_size";
    if (axis == "model.size") {
      return path == "model.n_layer" || path == "model.n_head" || path == "model.d_model";
    }
    return false;
  };
  return std::ranges::any_of(axes, shows);
}

// The values of one key: by the values on the axes, and by the sweep.
struct ValuesOfKey {
  std::map<std::string, std::set<Json>> at_axes = {}, of_sweep = {};

  bool differs() const {
    const auto has_several = [](const auto& entry) { return entry.second.size() > 1; };
    if (std::ranges::any_of(at_axes, has_several)) return true;
    if (std::ranges::any_of(of_sweep, has_several)) return false;  // it follows from an axis
    return std::ranges::any_of(
        of_sweep, [&](const auto& entry) { return entry.second != of_sweep.begin()->second; });
  }
};

}  // namespace

Json WithoutDerivedKeys(const ResultRun& run) {
  if (!run.ancestry.run.is_null()) return WithoutInherited(run.ancestry.run);
  Json json = run.resolved;
  json.erase("seed");
  return WithoutInherited(json);
}

std::string PathOfAxis(const std::string& axis) {
  if (axis == "train_length") return "train.train_length";
  if (axis == "model.init_from") return "init";
  const AncestorLink* const link = FindAncestorLink(axis);
  return link != nullptr ? std::string(link->path) : axis;
}

std::vector<std::string> KeysThatDiffer(const ResultRun& a, const ResultRun& b,
                                        const std::string& except) {
  std::vector<std::string> keys;
  for (const Difference& difference : DifferencesOf(WithoutDerivedKeys(a), WithoutDerivedKeys(b))) {
    const bool is_except = !except.empty() && IsAtOrBelow(difference.path, PathOfAxis(except));
    if (!is_except) keys.push_back(NameOf(difference.path));
  }
  // Another method has other parameters.
  if (std::ranges::find(keys, "position.method") != keys.end()) {
    std::erase_if(keys, [](const std::string& key) { return IsAtOrBelow(key, "position"); });
    keys.emplace_back("position");
  }
  return keys;
}

std::vector<std::string> HiddenKeys(const std::vector<const RunRef*>& runs,
                                    const std::vector<std::string>& axes) {
  std::map<std::string, ValuesOfKey> keys;
  std::set<std::string> paths;
  std::set<std::pair<std::string, std::string>> seen;
  std::vector<std::pair<const RunRef*, Leaves>> distinct;  // without other seeds of the same run
  for (const RunRef* run : runs) {
    if (!seen.emplace(run->sweep, run->folded).second) continue;
    const Leaves& leaves =
        distinct.emplace_back(run, LeavesOf(WithoutDerivedKeys(*run->run))).second;
    for (const auto& [path, value] : leaves) paths.insert(path);
  }
  std::erase_if(paths, [&](const std::string& path) { return FollowsFrom(path, axes); });
  for (const auto& [run, leaves] : distinct) {
    Json at_axes = Json::array();
    for (const std::string& axis : axes) at_axes.push_back(RunValue(*run, axis));
    const std::string group = CanonicalJson(at_axes);
    for (const std::string& path : paths) {
      const auto found = leaves.find(path);
      const Json value = found == leaves.end() ? Json() : found->second;
      ValuesOfKey& of_key = keys[path];
      of_key.at_axes[group].insert(value);
      of_key.of_sweep[run->sweep].insert(value);
    }
  }
  std::vector<std::string> hidden;
  for (const auto& [path, values] : keys) {
    if (values.differs()) hidden.push_back(NameOf(path));
  }
  return hidden;
}

}  // namespace longrun::client
