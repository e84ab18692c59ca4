#include "client/words/evaluation_of.h"

#include <algorithm>
#include <vector>

#include "base/str.h"
#include "client/words/render.h"
#include "sweeps/evaluation_name.h"

namespace longrun::client {

std::string EvaluationOf(const v1::TaskInfo& task) {
  const Json evaluation = JsonIn(task.evaluation_json());
  if (!evaluation.is_object() || evaluation.empty()) return "";
  const std::string& name = evaluation.begin().key();
  const std::string protocol = EvaluationName(evaluation, /*whole=*/false);
  std::vector<std::string> parts = {name};
  // Without a protocol, it begins with the name.
  if (protocol.starts_with(Str(name, " "))) parts = {};
  if (protocol != name) parts.push_back(protocol);
  const Json& params = evaluation.begin().value();
  if (params.is_object() && params.contains("split")) {
    parts.push_back(AxisText(params.at("split")));
  }
  std::vector<std::string> lengths;
  for (const std::int64_t length : task.context_lengths()) lengths.push_back(Str(length));
  return Str(Join(parts, " "), lengths.empty() ? "" : " at ", Join(lengths, ", "));
}

bool HasSeveralEvaluations(const v1::RunInfo& run) {
  return std::ranges::count_if(
             run.tasks(), [](const v1::TaskInfo& task) { return task.kind() == "evaluate"; }) > 1;
}

}  // namespace longrun::client
