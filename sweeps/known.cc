// See known.h.
#include "sweeps/known.h"

#include "base/str.h"
#include "model/architecture/architecture.h"
#include "model/evaluation/evaluation.h"
#include "model/position/method.h"

namespace longrun {
namespace {

// The text under object.member.name, or "".
std::string TextAt(const Json& object, const char* member, const char* name) {
  if (!object.is_object() || !object.contains(member)) return "";
  const Json& inner = object.at(member);
  if (!inner.is_object() || !inner.contains(name) || !inner.at(name).is_string()) return "";
  return inner.at(name).get<std::string>();
}

}  // namespace

std::string UnknownOfRun(const std::string& run_json) {
  const Result<Json> run = ParseJson(run_json);
  if (!run.ok()) return "";
  const std::string method = TextAt(*run, "position", "method");
  if (!method.empty() && !FindPositionMethod(method).ok()) {
    return Str("position method \"", method, "\"");
  }
  const std::string architecture = TextAt(*run, "model", "architecture");
  if (!architecture.empty() && !FindArchitecture(architecture).ok()) {
    return Str("architecture \"", architecture, "\"");
  }
  return "";
}

std::string UnknownOfEvaluation(const Json& evaluation) {
  if (!evaluation.is_object() || evaluation.size() != 1) return "";
  const std::string& name = evaluation.begin().key();
  return FindEvaluation(name).ok() ? "" : Str("evaluation \"", name, "\"");
}

}  // namespace longrun
