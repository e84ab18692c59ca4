// The points of a matrix that entries of spec.exclude leave out, without a comparison of each entry
// with each point.
#pragma once

#include <bitset>
#include <cstddef>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "sweeps/limits.h"
#include "sweeps/spec.h"

namespace longrun {

// Equal values have equal hashes, also 1 and 1.0.
struct JsonHash {
  std::size_t operator()(const Json& value) const;
};

// Finds whether an entry excludes some value of an axis. With --set, the axis may have fewer values
// than the file: then any entry may.
class ExcludableValues {
 public:
  explicit ExcludableValues(const Axis& axis);
  ExcludableValues(const ExcludableValues&) = delete;  // maps_ points into all_
  ExcludableValues& operator=(const ExcludableValues&) = delete;

  bool Has(const Json& wanted) const;  // as IsExcluded() says it

 private:
  bool is_set_ = false;
  std::unordered_set<Json, JsonHash> all_;
  std::vector<const Json*> maps_;
};

class Exclusion {
 public:
  // Patterns: at most kExcludesMax.
  Exclusion(const std::vector<Axis>& axes, const std::vector<PointPattern>& patterns);

  // `index`: for each axis, which of its values the point has.
  bool Excludes(const std::vector<std::size_t>& index) const;

 private:
  using Patterns = std::bitset<kExcludesMax>;

  // What patterns want of one axis.
  struct Wanted {
    Patterns anything;
    std::unordered_map<Json, Patterns, JsonHash> values;
    // Maps with the same keys; of a value, only these keys count.
    std::map<std::vector<std::string>, std::unordered_map<Json, Patterns, JsonHash>> maps;

    void Add(const Json& wanted, std::size_t pattern);
    Patterns Matching(const Json& value) const;
  };

  std::vector<std::vector<Patterns>> matching_;  // by axis and value; empty: there are no patterns
};

}  // namespace longrun
