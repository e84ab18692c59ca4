#include "client/tables/hidden_keys.h"

#include <cmath>

#include "base/str.h"
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
  if (path == "init.sha256") return "init";
  return path;
}

}  // namespace

Json WithoutDerivedKeys(const ResultRun& run) {
  Json json = run.resolved;
  json.erase("seed");
  const Json::json_pointer at("/train/optimizer");
  if (!json.contains(at)) return json;
  Json& optimizer = json[at];
  const double lr = optimizer.value("lr", 0.0), min_lr = optimizer.value("min_lr", -1.0);
  // The tenth that the sweep language takes may differ from ours in its last digit.
  if (std::abs(min_lr - lr / 10) <= 1e-12 * lr) optimizer.erase("min_lr");
  return json;
}

std::string PathOfAxis(const std::string& axis) {
  return axis == "train_length" ? "train.train_length" : axis;
}

std::vector<std::string> KeysThatDiffer(const ResultRun& a, const ResultRun& b,
                                        const std::string& except) {
  std::vector<std::string> keys;
  for (const Difference& difference :
       DifferencesOf(WithoutDerivedKeys(a), WithoutDerivedKeys(b))) {
    const bool is_except = !except.empty() && IsAtOrBelow(difference.path, PathOfAxis(except));
    if (!is_except) keys.push_back(NameOf(difference.path));
  }
  return keys;
}

}  // namespace longrun::client
