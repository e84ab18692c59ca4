#include "sweeps/unbuilt.h"

#include <algorithm>
#include <iterator>

#include "base/str.h"
#include "model/evaluation/evaluation.h"
#include "sweeps/schema.h"

namespace longrun {
namespace {

constexpr std::string_view kMethod = "position method";
constexpr std::string_view kEvaluation = "evaluation";
constexpr std::string_view kVerb = "verb";

struct Planned {
  std::string_view what;
  std::string_view name;
  std::string_view meaning;
};

constexpr Planned kInSweeps[] = {
    {kMethod, "sandwich", "a bias by the inner product of sinusoids (arXiv:2212.10356)"},
    {kEvaluation, "longbench", "the tasks of LongBench (arXiv:2308.14508)"},
    {kEvaluation, "leval", "the closed-ended tasks of L-Eval (arXiv:2307.11088)"},
    {kEvaluation, "retrieval", "looks up values in a long text"},
    {kEvaluation, "memory", "memory use by context length"},
};

constexpr Planned kElsewhere[] = {
    {"value", "spec.resources.devices: 2", "one run on several devices; today a run has at most 1"},
    {"service", "metrics over the network",
     "metrics pages that other machines can reach; today they are on loopback"},
    {"service", "gangs", "tasks that start at the same time on several workers"},
    {"service", "fair share", "slots divided between users"},
    {"service", "preemption", "a running task that gives its slot to a more urgent one"},
};

std::vector<Unbuilt> MakeTable() {
  std::vector<Unbuilt> table;
  for (const KeyRow& row : SweepKeys()) {
    if (row.kind != KeyRow::Kind::kUnbuilt) continue;
    table.push_back({.what = "key",
                     .name = std::string(row.path),
                     .path = std::string(row.path),
                     .meaning = std::string(row.spec.meaning)});
  }
  for (const auto& [what, name, meaning] : kInSweeps) {
    table.push_back({.what = std::string(what),
                     .name = std::string(name),
                     .path = Str(what == kMethod ? "position." : "evaluate.", name),
                     .meaning = std::string(meaning)});
  }
  for (const Evaluation* const evaluation : Evaluations()) {
    for (const ParamSpec& spec : evaluation->params) {
      for (const std::string& choice : spec.choices_unbuilt) {
        table.push_back(
            {.what = "value",
             .name = choice,
             .path = Str("evaluate.", evaluation->name, ".", spec.name, ".", choice),
             .meaning = Str("a `", spec.name, "` of the evaluation `", evaluation->name, "`")});
      }
    }
  }
  for (const auto& [what, name, meaning] : kElsewhere) {
    table.push_back({.what = std::string(what),
                     .name = std::string(name),
                     .path = "",
                     .meaning = std::string(meaning)});
  }
  return table;
}

bool Has(std::string_view what, std::string_view name) {
  return std::ranges::any_of(
      UnbuiltTable(), [&](const Unbuilt& one) { return one.what == what && one.name == name; });
}

}  // namespace

const std::vector<Unbuilt>& UnbuiltTable() {
  static const std::vector<Unbuilt> table = MakeTable();
  return table;
}

const Unbuilt* FindUnbuilt(std::string_view name) {
  const auto found = std::ranges::find_if(UnbuiltTable(), [&](const Unbuilt& one) {
    return one.name == name || (!one.path.empty() && one.path == name);
  });
  return found == UnbuiltTable().end() ? nullptr : &*found;
}

bool IsUnbuiltMethod(std::string_view method) { return Has(kMethod, method); }
bool IsUnbuiltEvaluation(std::string_view evaluation) { return Has(kEvaluation, evaluation); }
bool IsUnbuiltVerb(std::string_view verb) { return Has(kVerb, verb); }

}  // namespace longrun
