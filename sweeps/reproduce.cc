#include "sweeps/reproduce.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/str.h"
#include "base/version.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/params.h"
#include "model/extension/extension.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"
#include "sweeps/limits.h"
#include "sweeps/schema.h"
#include "sweeps/stored_sweep.h"
#include "sweeps/sweep.h"
#include "sweeps/window_baseline.h"

namespace longrun {
namespace {

// Size of the stand-in dataset that the check resolves against: larger than any context length.
constexpr std::int64_t kSplitTokens = 1'000'000'000'000'000;

constexpr const char* kLengths = "context_lengths";

// YAML on one line; text is in double quotes, which JSON and YAML read alike.
std::string Flow(const Json& value) {
  if (value.is_array()) {
    std::vector<std::string> items;
    for (const Json& item : value) items.push_back(Flow(item));
    return Str("[", Join(items, ", "), "]");
  }
  if (value.is_object()) {
    std::vector<std::string> members;
    for (const auto& [name, member] : value.items()) {
      members.push_back(Str(name, ": ", Flow(member)));
    }
    return Str("{", Join(members, ", "), "}");
  }
  return CanonicalJson(value);
}

const Json* Find(const Json& tree, std::string_view path) {
  const Json* node = &tree;
  for (const std::string& step : Split(path, '.')) {
    const auto member = node->find(step);
    if (member == node->end()) return nullptr;
    node = &*member;
  }
  return node;
}

// Writes the run's values for the keys below `path`, in the table's order,
// and adds their paths to `done`.
std::string Block(const Json& body, std::string_view path, const std::string& indent,
                  std::set<std::string>& done) {
  std::string text;
  for (const std::string& name : NamesBelow(Str("spec.", path))) {
    const std::string below = Str(path, ".", name);
    const Json* const value = Find(body, below);
    if (value == nullptr) continue;
    if (value->is_object() && FindKey(Str("spec.", below))->kind == KeyRow::Kind::kMap) {
      text += Str(indent, name, ":\n", Block(body, below, indent + "  ", done));
    } else {
      text += Str(indent, name, ": ", Flow(*value), "\n");
      done.insert(below);
    }
  }
  return text;
}

// An error if the run has a value that the file does not contain.
Status CheckAllSaid(const Json& tree, const std::string& path, const std::set<std::string>& done) {
  for (const auto& [name, value] : tree.items()) {
    const std::string below = path.empty() ? name : Str(path, ".", name);
    if (done.contains(below)) continue;
    if (value.is_object()) {
      RETURN_IF_ERROR(CheckAllSaid(value, below, done));
    } else {
      return {Code::kUnimplemented, Str("no key of a sweep file can give this run's ", below, " (",
                                        CanonicalJson(value), ")")};
    }
  }
  return {};
}

// The evaluations without their extensions, each once with the lengths of all: a file asks for each
// under every extension.
std::vector<Json> PlainEvaluations(const std::vector<Json>& evaluations) {
  std::vector<Json> plain;
  std::map<std::string, std::size_t> index_of;  // by the evaluation without its lengths
  for (const Json& evaluation : evaluations) {
    Json one = WithoutExtension(evaluation);
    Json without = one;
    without.begin()->erase(kLengths);
    const auto [found, is_new] = index_of.try_emplace(CanonicalJson(without), plain.size());
    if (is_new) {
      plain.push_back(std::move(one));
      continue;
    }
    std::set<std::int64_t> lengths;
    Json& known = plain[found->second].begin()->at(kLengths);
    for (const Json* const list : {&known, &one.begin()->at(kLengths)}) {
      for (const Json& length : *list) lengths.insert(length.get<std::int64_t>());
    }
    known = lengths;
  }
  return plain;
}

// The plain window that a file's evaluations that write have as their baseline.
class FileWindow {
 public:
  explicit FileWindow(const Reproduction& wanted)
      : original_(wanted.run.train.train_length), is_needless_(true) {
    const bool is_extended = wanted.init && !wanted.init->extension.is_null();
    if (!is_extended) window_ = WindowBaseline(wanted.run);
    bool has_others = false;
    for (const Json& evaluation : wanted.evaluations) {
      if (!IsUnderIt(evaluation)) {
        has_others = true;
        continue;
      }
      const Json& lengths = evaluation.begin()->at(kLengths);
      const bool is_beyond = std::ranges::none_of(
          lengths, [&](const Json& length) { return length.get<std::int64_t>() <= original_; });
      is_needless_ = is_needless_ && EvaluationWrites(evaluation) && is_beyond;
      measured_.insert(WithoutLengths(WithoutExtension(evaluation)));
    }
    is_needless_ = is_needless_ && has_others;
  }

  bool IsUnderIt(const Json& evaluation) const {
    return !window_.is_null() && ExtensionOf(evaluation) == window_;
  }
  // Whether `extend` of the file need not name it, since all that was measured under it is the
  // baseline of an evaluation.
  bool is_needless() const { return is_needless_; }
  // Whether the file would measure it for an evaluation for which it was not measured.
  bool IsTooMuchFor(const Json& evaluation) const {
    const Json& lengths = evaluation.begin()->at(kLengths);
    const bool is_beyond = std::ranges::any_of(
        lengths, [&](const Json& length) { return length.get<std::int64_t>() > original_; });
    return !window_.is_null() && is_needless_ && is_beyond && EvaluationWrites(evaluation) &&
           !measured_.contains(WithoutLengths(evaluation));
  }

 private:
  static std::string WithoutLengths(Json evaluation) {
    evaluation.begin()->erase(kLengths);
    return CanonicalJson(evaluation);
  }

  std::int64_t original_;
  Json window_ = nullptr;
  bool is_needless_;
  std::set<std::string> measured_;
};

struct FileExtensions {
  std::vector<Json> names;         // as a file has them; empty: no evaluation has one
  std::vector<std::string> notes;  // about those that the file cannot have
};

// A file asks for every evaluation under each extension, but one that was measured on shorter texts
// only may be undefined on the longest.
FileExtensions ExtensionsOf(const Reproduction& wanted, const FileWindow& window) {
  std::int64_t n_longest = 0;
  for (const Json& evaluation : wanted.evaluations) {
    for (const std::int64_t length : evaluation.begin()->at(kLengths)) {
      n_longest = std::max(n_longest, length);
    }
  }
  FileExtensions of_file;
  std::set<Json> left_out;
  bool has_any = false;
  for (const Json& evaluation : wanted.evaluations) {
    if (window.is_needless() && window.IsUnderIt(evaluation)) continue;
    const Json extension = ExtensionOf(evaluation);
    Json name = ExtensionName(evaluation, wanted.run.train.train_length);
    if (!extension.is_null() && WhyTooLong(extension, n_longest)) {
      if (!left_out.insert(name).second) continue;
      of_file.notes.push_back(
          Str("extension ", ExtensionText(name),
              " is left out: it was measured only at shorter context lengths, and cannot read ",
              n_longest, " tokens; to measure it, use another sweep with those lengths"));
      continue;
    }
    has_any = has_any || !extension.is_null();
    if (std::ranges::find(of_file.names, name) == of_file.names.end()) {
      of_file.names.push_back(std::move(name));
    }
  }
  if (!has_any) of_file.names.clear();
  return of_file;
}

Result<std::string> Written(const Reproduction& wanted) {
  const Run& run = wanted.run;
  const Json whole = run.ToJson();
  Json body = {{"model", whole.at("model")}, {"train", whole.at("train")}};
  // Everything else about the model comes from the checkpoint.
  if (wanted.init) body["model"] = {{"init_from", wanted.init->name}};
  if (run.init && !run.init->is_imported()) {
    body["model"] = {{"init_from", {{"run", run.init->run}}}};
  }
  if (!run.parent.empty()) body["train"]["continue_from"] = run.parent;
  std::set<std::string> done = {"train.train_length"};
  std::string text;
  const FileWindow window(wanted);
  const FileExtensions extensions = ExtensionsOf(wanted, window);
  for (const auto* const notes : {&wanted.notes, &extensions.notes}) {
    for (const std::string& note : *notes) text += Str("# ", note, "\n");
  }
  text += Str("apiVersion: longrun/v1\nkind: Sweep\nmetadata:\n  name: ", Flow(wanted.sweep_name),
              "\nspec:\n");
  text += Str("  model:\n", Block(body, "model", "    ", done));
  text += Str("  matrix:\n    position: [", Flow(whole.at("position")), "]\n    train_length: [",
              run.train.train_length, "]\n    dataset: [", Flow(wanted.dataset_name),
              "]\n    seed: [", run.seed, "]\n");
  text += run.trains() ? Str("  train:\n", Block(body, "train", "    ", done))
                       : std::string("  train: none\n");
  if (!wanted.evaluations.empty()) text += "  evaluate:\n";
  for (const Json& evaluation : PlainEvaluations(wanted.evaluations)) {
    for (const auto& [name, params] : evaluation.items()) {
      ASSIGN_OR_RETURN(const Evaluation* const what, FindEvaluation(name));
      Json written = what->as_given != nullptr ? what->as_given(params) : params;
      const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(evaluation);
      if (read) written[EvaluatedDatasetKey().path] = read->name;
      // It changes no number, so the stored evaluation does not contain it.
      if (!read && params.value("split", "") == "train") written[TrainOverlapKey().path] = true;
      if (window.IsTooMuchFor(evaluation)) written[kBaselineParam] = kNoBaseline;
      text += Str("    - ", name, ": ", Flow(written), "\n");
    }
  }
  if (!extensions.names.empty()) text += Str("  extend: ", Flow(extensions.names), "\n");
  if (!wanted.device_kind.empty()) {
    text += Str("  resources:\n    kind: ", wanted.device_kind, "\n");
  }
  RETURN_IF_ERROR(CheckAllSaid(body, "", done));
  return text;
}

// The file's only run, resolved with a dataset like the run's.
Result<PlannedRun> RunOf(const std::string& yaml, const Reproduction& wanted) {
  DatasetInfo dataset = {.name = wanted.dataset_name,
                         .digest = wanted.run.dataset_digest,
                         .tokenizer_fingerprint = wanted.run.tokenizer_fingerprint,
                         .vocab_size = wanted.run.model.vocab_size,
                         .split_tokens = {{"train", kSplitTokens}, {"validation", kSplitTokens}},
                         .mask_token = 0};       // the file or the model says which
  std::map<std::string, std::string> evaluated;  // names and digests
  for (const Json& evaluation : wanted.evaluations) {
    for (const auto& [name, params] : evaluation.items()) {
      if (params.contains("split")) dataset.split_tokens[params.at("split")] = kSplitTokens;
    }
    const std::optional<EvaluatedDataset> read = EvaluatedDatasetOf(evaluation);
    if (read) evaluated.emplace(read->name, read->digest);
  }
  const auto find = [&](const std::string& name) -> std::optional<DatasetInfo> {
    DatasetInfo info = dataset;
    info.name = name;
    const auto other = evaluated.find(name);
    if (name != wanted.dataset_name && other != evaluated.end()) info.digest = other->second;
    return info;
  };
  // Stand in for runs that only a coordinator knows: the parent is the run itself after one step,
  // and the base has its model.
  Run parent = wanted.run;
  parent.parent.clear();
  parent.train.tokens = parent.train.batch_tokens;
  Run base = parent;
  base.init.reset();
  base.train.extension = Json();
  const DatasetCatalogue catalogue = {.find = find,
                                      .names = {wanted.dataset_name},
                                      .find_run = [&](const std::string& key) -> Result<KnownRun> {
                                        const bool is_base =
                                            wanted.run.init && key == wanted.run.init->run;
                                        return KnownRun{.key = key, .run = is_base ? base : parent};
                                      },
                                      .find_model = [&](const std::string&) { return wanted.init; },
                                      .model_names = {}};
  ASSIGN_OR_RETURN(Sweep sweep, ParseStoredSweep(yaml, "reproduction", {}, catalogue));
  LR_CHECK(sweep.runs.size() == 1);  // every axis has one value
  return std::move(sweep.runs.front());
}

// Comment lines about evaluations that an earlier release accepted.
std::string NotesOnLimits(const PlannedRun& planned) {
  std::string notes;
  for (const PlannedEvaluation& one : planned.evaluations) {
    if (std::ssize(one.cells) <= kTaskResultsMax) continue;
    notes += Str("# ", one.evaluation.begin().key(), " has ", one.cells.size(),
                 " results, but this release accepts at most ", kTaskResultsMax,
                 " of one evaluation of a run: divide its context lengths among several sweeps\n");
  }
  return notes;
}

}  // namespace

Result<std::string> SweepYaml(const Reproduction& reproduction) {
  const Run& run = reproduction.run;
  if (run.numerics != kNumericsVersion) {
    return Status(Code::kFailedPrecondition,
                  Str("the run was made with numerics ", run.numerics, ", but this release has ",
                      kNumericsVersion,
                      ": its results cannot be mixed with new ones; use the release that made it"));
  }
  if (run.init && run.init->is_imported() && !reproduction.init) {
    return Status(Code::kFailedPrecondition,
                  Str("the run starts from an imported model with digest ", run.init->sha256,
                      ", but no model with this digest is registered here: import it again "
                      "(`longrun import NAME FOLDER`)"));
  }
  ASSIGN_OR_RETURN(const std::string yaml, Written(reproduction));
  const Result<PlannedRun> given = RunOf(yaml, reproduction);
  if (!given.ok()) return Status(given.status()).In("the file that would reproduce the run");
  if (given->run_key != run.Key()) {
    return Status(Code::kUnimplemented,
                  Str("no sweep file gives run ", run.Key(),
                      ": something in the run has no key in a sweep file; the nearest file gives ",
                      given->run_key));
  }
  return NotesOnLimits(*given) + yaml;
}

}  // namespace longrun
