// The results that an evaluate task's earlier attempts measured before they ended. The next attempt
// takes them over, instead of measuring them again, if it would get the same bits.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// One number: the body of its `result` record (record.h), and the bodies of the `artifact` records
// on whose files it rests: those between it and the result before it in its journal.
struct EarlierResult {
  Json row;
  std::vector<Json> artifacts = {};

  bool operator==(const EarlierResult&) const = default;
  Json ToJson() const;
  static Result<EarlierResult> FromJson(const Json& json);
};

// Of one attempt.
struct EarlierResults {
  std::string attempt;  // ULID
  Json measured_with;   // MeasuredWith() of its `started` record
  std::vector<EarlierResult> results = {};

  bool operator==(const EarlierResults&) const = default;
  Json ToJson() const;
  static Result<EarlierResults> FromJson(const Json& json);
};

// The members of the body of a `started` record that decide what an evaluation measures, and its
// bits. Attempts of a task for which they are equal give the same rows.
Json MeasuredWith(const Json& started);

// The member of a result's body that names the attempt which measured it, where another attempt
// took it over.
inline constexpr const char* kMeasuredBy = "measured_by";

}  // namespace longrun
