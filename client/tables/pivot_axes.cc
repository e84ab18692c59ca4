#include "client/tables/pivot_axes.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "base/str.h"
#include "base/utf8.h"
#include "client/tables/by_position.h"
#include "client/tables/comparison.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

// The names of values in the resolved run, by their paths: "model.n_layer", "position.base".
void CollectPaths(const Json& value, const std::string& path, std::vector<std::string>& paths) {
  for (const auto& [key, member] : value.items()) {
    const std::string at = path.empty() ? key : Str(path, ".", key);
    if (member.is_object()) {
      CollectPaths(member, at, paths);
    } else if (std::ranges::find(paths, at) == paths.end()) {
      paths.push_back(at);
    }
  }
}

std::vector<std::string> WithLastPart(const std::vector<std::string>& axes,
                                      const std::string& name) {
  std::vector<std::string> found;
  std::ranges::copy_if(axes, std::back_inserter(found),
                       [&](const std::string& axis) { return ShortAxis(axis) == name; });
  return found;
}

std::string WithoutSpaces(std::string text) {
  std::erase(text, ' ');
  return text;
}

// The run's ancestor under a link, without seeds; "" if it has none, or an unknown one.
std::string AncestorText(const RunRef& run, const AncestorLink& link) {
  const Json& json = run.run->ancestry.run;
  if (!json.contains(link.at) || !json.at(link.at).is_object()) return "";
  return CanonicalJson(json.at(link.at));
}

// Whether all runs with this axis have known ancestors under the link, and each key of these has
// the same value everywhere, or that of the run itself.
bool Follows(const AncestorLink& link, const std::vector<RunRef>& runs) {
  std::vector<Leaves> ancestors;
  std::set<std::string> not_inherited, seen;
  for (const RunRef& run : runs) {
    if (!run.run->axes.contains(link.axis)) continue;
    if (!run.starts_from.contains(link.path)) return false;
    if (!seen.insert(run.folded).second) continue;
    const Json& json = run.run->ancestry.run;
    for (const auto& [path, value] : LeavesOf(WithoutInherited(json).at(link.at))) {
      not_inherited.insert(path);
    }
    ancestors.push_back(LeavesOf(json.at(link.at)));
  }
  return std::ranges::all_of(not_inherited, [&](const std::string& path) {
    std::set<Json> values;
    for (const Leaves& leaves : ancestors) {
      const auto leaf = leaves.find(path);
      values.insert(leaf == leaves.end() ? Json() : leaf->second);
    }
    return values.size() == 1;
  });
}

}  // namespace

RunRef MakeRunRef(std::string sweep, const ResultRun& run) {
  const Json& resolved = run.resolved;
  const Json& axes = run.axes;
  RunRef ref{.sweep = std::move(sweep), .run = &run};
  ref.seed = axes.contains("seed") ? axes.at("seed") : resolved.at("seed");
  ref.train_length = resolved.at("train").at("train_length").get<std::int64_t>();
  const Ancestry& ancestry = run.ancestry;
  const Json& seedless = ancestry.run.is_null() ? resolved : ancestry.run;
  for (const auto& [key, value] : seedless.items()) {
    if (key != "seed") StrAppend(ref.folded, Str(key, ":", CanonicalJson(value), ","));
  }
  ref.seeds = ref.seed;
  const auto is_other = [&ref](const Json& seed) { return seed != ref.seed; };
  if (std::ranges::any_of(ancestry.seeds, is_other)) {
    ref.seeds = Json::array({ref.seed});
    for (const Json& seed : ancestry.seeds) ref.seeds.push_back(seed);
  }
  return ref;
}

std::vector<RunRef> RunRefsOf(const std::vector<SweepResults>& results) {
  std::vector<RunRef> runs;
  for (std::size_t s = 0; s < results.size(); ++s) {
    const SweepResults& result = results[s];
    const std::string sweep = result.name.empty() ? Str("sweep ", s + 1) : result.name;
    for (const ResultRun& run : result.runs) runs.push_back(MakeRunRef(sweep, run));
  }
  for (const AncestorLink& link : AncestorLinks()) {
    std::map<std::string, std::vector<std::string>> ids;  // by ancestor without its seed
    for (const RunRef& run : runs) {
      const std::string ancestor = AncestorText(run, link);
      if (ancestor.empty()) continue;
      std::string id = ShortId(run.run->resolved.at(link.at).get<std::string>());
      std::vector<std::string>& list = ids[ancestor];
      if (std::ranges::find(list, id) == list.end()) list.push_back(std::move(id));
    }
    for (RunRef& run : runs) {
      const auto found = ids.find(AncestorText(run, link));
      if (found != ids.end()) run.starts_from[std::string(link.path)] = Join(found->second, "+");
    }
  }
  return runs;
}

std::vector<std::string> MatrixAxes(const std::vector<SweepResults>& results,
                                    const std::vector<RunRef>& runs) {
  std::vector<std::string> axes;
  for (const SweepResults& result : results) {
    for (const std::string& axis : result.axes) {
      if (std::ranges::find(axes, axis) == axes.end()) axes.push_back(axis);
    }
  }
  for (const AncestorLink& link : AncestorLinks()) {
    const auto found = std::ranges::find(axes, link.axis);
    if (found != axes.end() && Follows(link, runs)) axes.erase(found);
  }
  if (results.size() > 1) axes.insert(axes.begin(), "sweep");
  return axes;
}

const std::vector<std::string>& EvaluationAxes() {
  static const std::vector<std::string> axes = {"metric",        std::string(kEvaluatedDatasetAxis),
                                                "split",         "protocol",
                                                "evaluation",    "averaging",
                                                "extension",     "variant",
                                                "depth",         std::string(kPositionAxis),
                                                "context_length"};
  return axes;
}

bool IsEvaluationAxis(std::string_view axis) {
  return std::ranges::find(EvaluationAxes(), axis) != EvaluationAxes().end();
}

Json RunValue(const RunRef& run, const std::string& axis) {
  if (axis == "sweep") return run.sweep;
  if (axis == "seed") return run.seed;
  if (axis == "dataset") return run.dataset();
  if (const AncestorLink* const link = FindAncestorLink(axis); link != nullptr) {
    const auto ids = run.starts_from.find(link->path);
    const bool is_named = ids != run.starts_from.end();
    if (is_named && axis == "model.init_from") return {{"run", ids->second}};
    if (is_named) return ids->second;
  }
  const Json& axes = run.run->axes;
  if (const auto found = axes.find(axis); found != axes.end()) return *found;
  if (axis == "train_length") return run.train_length;
  const Json& ancestry = run.run->ancestry.run;
  const Json* value = ancestry.is_null() ? &run.run->resolved : &ancestry;
  for (const std::string& part : Split(axis, '.')) {
    if (!value->is_object() || !value->contains(part)) return nullptr;
    value = &value->at(part);
  }
  return *value;
}

std::vector<Json> ValuesInOrder(const std::vector<RunRef>& runs,
                                const std::vector<std::string>& axes, const std::string& axis) {
  std::vector<Json> values;  // as they are met
  std::map<Json, std::size_t> index_of;
  std::vector<std::set<std::size_t>> before;  // of each value those that the file has before it
  // Runs that differ on this axis only stand in its order.
  std::map<std::string, std::size_t> last_of;
  for (const RunRef& run : runs) {
    const auto [at, is_new] = index_of.try_emplace(RunValue(run, axis), values.size());
    if (is_new) {
      values.push_back(at->first);
      before.emplace_back();
    }
    Json others = {run.sweep};
    for (const std::string& other : axes) {
      if (other != axis) others.push_back(RunValue(run, other));
    }
    const std::size_t value = at->second;
    const auto [last, is_first] = last_of.try_emplace(CanonicalJson(others), value);
    if (!is_first && last->second != value) before[value].insert(last->second);
    last->second = value;
  }
  std::vector<Json> ordered;
  std::vector<bool> is_placed(values.size(), false);
  const auto can_follow = [&](std::size_t i) {
    return !is_placed[i] &&
           std::ranges::all_of(before[i], [&](std::size_t b) { return is_placed[b]; });
  };
  while (ordered.size() < values.size()) {
    std::size_t next = 0;
    while (next < values.size() && !can_follow(next)) ++next;
    // Points of `include` may stand in any order: then as they are met.
    if (next == values.size()) {
      next = static_cast<std::size_t>(std::ranges::find(is_placed, false) - is_placed.begin());
    }
    is_placed[next] = true;
    ordered.push_back(values[next]);
  }
  return ordered;
}

Result<std::string> ResolveAxis(const std::string& name, const std::vector<std::string>& axes,
                                const std::vector<RunRef>& runs) {
  std::vector<std::string> known = axes;
  for (const char* own : {"sweep", "seed", "dataset", "position", "train_length"}) {
    if (std::ranges::find(known, own) == known.end()) known.emplace_back(own);
  }
  for (const AncestorLink& link : AncestorLinks()) {
    const auto has = [&](const RunRef& run) { return run.run->axes.contains(link.axis); };
    const bool is_left_out = std::ranges::find(known, link.axis) == known.end();
    if (is_left_out && std::ranges::any_of(runs, has)) known.emplace_back(link.axis);
  }
  known.insert(known.end(), EvaluationAxes().begin(), EvaluationAxes().end());
  if (std::ranges::find(known, name) != known.end()) return name;
  std::vector<std::string> paths, of_ancestors;
  for (const RunRef& run : runs) {
    CollectPaths(run.run->resolved, "", paths);
    if (!run.run->ancestry.run.is_null()) CollectPaths(run.run->ancestry.run, "", of_ancestors);
  }
  // The last part of a path means a key of the run itself.
  if (std::ranges::find(of_ancestors, name) != of_ancestors.end()) return name;
  for (const auto* list : {&known, &paths}) {
    if (std::ranges::find(*list, name) != list->end()) return name;
    const std::vector<std::string> found = WithLastPart(*list, name);
    if (found.size() == 1) return found.front();
    if (found.size() > 1) {
      return Status(Code::kInvalidArgument, Str("the axis ", Quoted(name), " can be ",
                                                Join(found, " or "), ": give its full name"));
    }
  }
  std::string message = Str("there is no axis ", Quoted(name));
  std::vector<std::string> all = known;
  all.insert(all.end(), paths.begin(), paths.end());
  all.insert(all.end(), of_ancestors.begin(), of_ancestors.end());
  for (const std::string& axis : axes) all.push_back(ShortAxis(axis));
  if (const std::string near = Nearest(name, all); !near.empty()) {
    StrAppend(message, Str("; did you mean \"", near, "\"?"));
  } else {
    StrAppend(message, Str("; the axes are ", Join(known, ", "), ", and the keys of a run"));
  }
  return Status(Code::kInvalidArgument, message);
}

bool IsWholeName(const Json& value, const std::string& text) {
  if (AxisText(value) == text || AxisName(value) == text || CanonicalJson(value) == text) {
    return true;
  }
  // Other verbs write parameters without a space between them: "self_extend(group=8,window=32)".
  return value.is_object() && WithoutSpaces(AxisName(value)) == WithoutSpaces(text);
}

bool IsWritten(const Json& value, const std::string& text) {
  if (IsWholeName(value, text)) return true;
  if (value.is_null()) return text.empty() || text == "none";  // as messages name it
  if (value.is_object() && value.contains("method")) return value.at("method") == text;
  // "mybook" is each dataset of that name.
  if (value.is_string()) return DatasetName(value.get_ref<const std::string&>()) == text;
  if (!value.is_number()) return false;
  double number = 0.0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  return end.ec == std::errc() && end.ptr == text.data() + text.size() &&
         number == value.get<double>();
}

}  // namespace longrun::client
