// A reading (model/extension/reading.h) as attention computes it: with one table of the rotation's
// angles for all rows that it uses.
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
  std::int64_t keys_from = 0;  // rows of earlier keys are not planned
  Reading reading;             // its rows are indices into `position`
  std::vector<double> position;
};

// keys_from: the rotated keys before are known from earlier calls.
PlannedReading PlanReading(Reading reading, const Stretch& stretch, std::int64_t keys_from);

// The plans of an extension that has them, for the layers of a network: all ask for the same ones
// in turn, and the last one is kept.
class ReadingPlanner {
 public:
  // `params` are resolved.
  ReadingPlanner(const Extension& extension, Json params)
      : extension_(&extension), params_(std::move(params)) {}

  // The pieces in which n_query tokens behind q_begin others are read, in order; the n_to_come
  // tokens behind them are there too and are read later.
  std::vector<Stretch> Pieces(std::int64_t q_begin, std::int64_t n_query,
                              std::int64_t n_to_come) const;
  std::shared_ptr<const PlannedReading> Plan(const Stretch& stretch, std::int64_t keys_from);
  // How many of the first keys stand in a text of n_now tokens as in one of n_before.
  std::int64_t KeysKept(std::int64_t n_before, std::int64_t n_now) const;

 private:
  const Extension* extension_;
  Json params_;
  std::shared_ptr<const PlannedReading> last_;
};

}  // namespace longrun
