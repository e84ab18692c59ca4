#include "client/words/position_range.h"

#include <cmath>

namespace longrun::client {

Json PositionRange::ToJson() const { return {{"from", from}, {"to", to}}; }

bool IsPositionRange(const Json& value) {
  return value.is_object() && value.size() == 2 && value.contains("from") && value.contains("to");
}

double MiddleOf(const Json& range) {
  return std::sqrt(range.at("from").get<double>() * range.at("to").get<double>());
}

bool Holds(const Json& range, std::int64_t tokens) {
  return range.at("from").get<std::int64_t>() <= tokens &&
         tokens <= range.at("to").get<std::int64_t>();
}

}  // namespace longrun::client
