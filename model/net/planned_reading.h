// A reading (model/extension/reading.h) in the form in which attention computes it: with one table
// of the rotation's angles for all rows that it uses.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/json.h"
#include "model/extension/extension.h"
#include "model/extension/reading.h"

namespace longrun {

struct PlannedReading {
  Stretch stretch;
  std::int64_t keys_from = 0;  // the first key with planned rows
  Reading reading;             // its rows are indices into `position`
  std::vector<double> position;
};

// keys_from: keys before it were rotated in earlier calls.
PlannedReading PlanReading(Reading reading, const Stretch& stretch, std::int64_t keys_from);

// Makes the plans of an extension for the layers of a network. Each layer asks for the same plan in
// turn, so the last one is kept.
class ReadingPlanner {
 public:
  // `params` are resolved.
  ReadingPlanner(const Extension& extension, Json params)
      : extension_(&extension), params_(std::move(params)) {}

  // The pieces in which n_query tokens after the first q_begin ones are read, in order. n_to_come
  // more tokens follow; they are known to exist but are read later.
  std::vector<Stretch> Pieces(std::int64_t q_begin, std::int64_t n_query, std::int64_t n_to_come,
                              const HeldKeys& held) const;
  // Of every text.
  KeysSeen Seen() const;
  std::shared_ptr<const PlannedReading> Plan(const Stretch& stretch);
  // For a single token after cached keys: keys_from as in PlanReading().
  std::shared_ptr<const PlannedReading> PlanToken(const Stretch& token, std::int64_t keys_from);
  // When a text grows from n_before to n_now tokens by single tokens: the number of leading keys
  // that keep their rows in the plans of PlanToken().
  std::int64_t KeysKept(std::int64_t n_before, std::int64_t n_now) const;

 private:
  const Extension* extension_;
  Json params_;
  std::shared_ptr<const PlannedReading> last_, last_token_;
};

}  // namespace longrun
