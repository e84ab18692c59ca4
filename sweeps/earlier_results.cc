#include "sweeps/earlier_results.h"

#include <string_view>
#include <utility>

#include "base/random.h"
#include "base/str.h"
#include "sweeps/fields.h"

namespace longrun {

namespace {

Status ExpectedObjects(std::string_view what) {
  return Status(Code::kInvalidArgument, Str(what, ": expected the bodies of records, objects"));
}

}  // namespace

Json EarlierResult::ToJson() const { return {{"row", row}, {"artifacts", artifacts}}; }

Result<EarlierResult> EarlierResult::FromJson(const Json& json) {
  EarlierResult result;
  Json artifacts;
  JsonFields fields(json, "earlier.results");
  fields.Member("row", result.row).Member("artifacts", artifacts);
  RETURN_IF_ERROR(fields.Done());
  if (!result.row.is_object()) return ExpectedObjects("earlier.results.row");
  if (!artifacts.is_array()) return ExpectedObjects("earlier.results.artifacts");
  for (Json& artifact : artifacts) {
    if (!artifact.is_object()) return ExpectedObjects("earlier.results.artifacts");
    result.artifacts.push_back(std::move(artifact));
  }
  return result;
}

Json EarlierResults::ToJson() const {
  Json list = Json::array();
  for (const EarlierResult& result : results) list.push_back(result.ToJson());
  return {{"attempt", attempt}, {"measured_with", measured_with}, {"results", std::move(list)}};
}

Result<EarlierResults> EarlierResults::FromJson(const Json& json) {
  EarlierResults earlier;
  Json results;
  JsonFields fields(json, "earlier");
  fields.String("attempt", earlier.attempt).Member("measured_with", earlier.measured_with);
  fields.Member("results", results);
  RETURN_IF_ERROR(fields.Done());
  if (!IsUlid(earlier.attempt)) {
    return Status(Code::kInvalidArgument,
                  Str("earlier.attempt: expected a ULID, found \"", earlier.attempt, "\""));
  }
  if (!results.is_array()) {
    return Status(Code::kInvalidArgument, "earlier.results: expected a list");
  }
  for (const Json& result : results) {
    ASSIGN_OR_RETURN(earlier.results.emplace_back(), EarlierResult::FromJson(result));
  }
  return earlier;
}

Json MeasuredWith(const Json& started) {
  Json with = Json::object();
  for (const char* const name :
       {"version", "commit", "numerics", "compiler", "torch", "cuda", "driver", "execution", "init"}) {
    if (started.contains(name)) with[name] = started.at(name);
  }
  return with;
}

}  // namespace longrun
