// From SweepSpec to runs: the cross product in the file's order; each point is resolved, and
// checked by the code that the trainer runs.
#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/check.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/version.h"
#include "model/architecture/parameters.h"
#include "model/config_errors.h"
#include "model/data/tokenizer.h"
#include "model/evaluation/evaluation.h"
#include "model/evaluation/params.h"
#include "model/evaluation/split.h"
#include "model/extension/extension.h"
#include "model/fields.h"
#include "model/position/method.h"
#include "model/position_schedule/schedule.h"
#include "model/sample_source/document_check.h"
#include "model/train_config_errors.h"
#include "model/train_fields.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/exclusion.h"
#include "sweeps/extended.h"
#include "sweeps/limits.h"
#include "sweeps/run_errors.h"
#include "sweeps/schema.h"
#include "sweeps/spec.h"
#include "sweeps/window_baseline.h"

namespace longrun {
namespace {

bool KeysGrow(const ModelConfig& model) {
  const auto method = FindPositionMethod(model.position.method);
  if (!method.ok()) return false;
  const ParamResult<TermSpec> terms =
      (*method)->terms(model.position.params, model.attention_shape());
  return terms.ok() && terms->rotation && !terms->rotation->growth.empty();
}

constexpr std::size_t kDigitsShown = 8;  // of a fingerprint

// A value for each axis.
using Point = std::vector<const AxisValue*>;

// A run from whose weights others start.
struct Base {
  KnownRun known;
  ModelInfo info;  // the run as a model to start from

  const Run& run() const { return known.run; }
};

Base MakeBase(KnownRun known) {
  const Run& run = known.run;
  ModelInfo info = {.name = Str("run ", known.key.substr(0, 8)),
                    .digest = "",
                    .model = run.model,
                    .extension = known.extension,
                    .trained_length = run.train.train_length,
                    .mask_token = run.train.is_masked() ? run.train.mask.token : -1};
  return {.known = std::move(known), .info = std::move(info)};
}

// For messages: `model "llama"`, `run 9f7ec0de`.
std::string InitText(const ModelInfo& init) {
  return init.digest.empty() ? init.name : Str("model \"", init.name, "\"");
}

// For messages about a model that has an extension.
std::string OwnExtensionText(const ModelInfo& init) {
  const std::string method = init.extension.at("method").get<std::string>();
  if (!init.digest.empty()) {
    return Str("config.json of ", InitText(init), " already extends the model with ", method);
  }
  return Str(InitText(init), " began with an imported model that config.json already extends with ",
             method);
}

// The position in PATH of "spec.matrix.PATH" or "spec.PATH"; npos: it is neither.
std::size_t BelowSpec(std::string_view path) {
  for (const std::string_view prefix : {"spec.matrix.", "spec."}) {
    if (path.starts_with(prefix)) return prefix.size();
  }
  return std::string_view::npos;
}

// An evaluation on one dataset: what all its runs share.
struct ResolvedEvaluation {
  const EvaluationSpec* block = nullptr;  // the first that asks for it
  Json evaluation;                        // {"perplexity": {no lengths, score_tokens explicit}}
  std::vector<std::int64_t> context_lengths;
  std::vector<RowName> rows;  // of each cell
  bool variants_are_models = false;
  bool has_window_baseline = false;
};

// x / 10 as a person would write it: 6e-05 for 6e-04, where binary division gives
// 5.9999999999999995e-05, which would change the run key.
double TenthOf(double x) {
  char digits[64] = {};  // ends in NUL
  const auto shortest =
      std::to_chars(digits, digits + sizeof digits - 1, x, std::chars_format::scientific);
  LR_CHECK(shortest.ec == std::errc());
  const std::string_view text(digits, static_cast<std::size_t>(shortest.ptr - digits));
  const std::size_t e = text.find('e');
  LR_CHECK(e != std::string_view::npos);
  const std::string tenth = Str(text.substr(0, e), "e", std::atoi(digits + e + 1) - 1);
  double value = 0;
  const auto parsed = std::from_chars(tenth.data(), tenth.data() + tenth.size(), value);
  LR_CHECK(parsed.ec == std::errc());
  return value;
}

// Sets the settings of a struct (model/fields.h) that the file gives; null counts as not given.
class GivenTaker {
 public:
  explicit GivenTaker(const Json& given) : given_(given) {}

  template <typename T>
  void operator()(T& member, const ParamSpec& spec, const SettingUse& = {}) {
    if (const Json& value = given_.at(std::string(spec.name)); !value.is_null()) {
      value.get_to(member);
    }
  }

 private:
  const Json& given_;
};

// Collects which of n_layer, n_head and d_model are not given: without them no run can be resolved.
class MissingShape {
 public:
  void operator()(std::int64_t size, const ParamSpec& spec, const SettingUse& use) {
    if (use.shape && !use.of_body && size == 0) names.push_back(spec.name);
  }
  void operator()(const auto&, const ParamSpec&, const SettingUse& = {}) {}

  std::vector<std::string_view> names;
};

// Calls each(name, value as JSON) for the settings of a model.
template <typename Each>
class EachValue {
 public:
  explicit EachValue(const Each& each) : each_(each) {}

  void operator()(const auto& member, const ParamSpec& spec, const SettingUse& use = {}) {
    Json value = member;
    if (use.where_zero && value == 0) value = use.where_zero();
    each_(std::string(spec.name), value);
  }

 private:
  const Each& each_;
};

// Names of the settings that a run must share with the run that it continues.
class KeptNames {
 public:
  void operator()(const auto&, const ParamSpec& spec, const SettingUse& use = {}) {
    if (use.kept) names.emplace_back(spec.name);
  }
  void Group(const auto&, const ParamSpec& spec, const SettingUse& use = {}) {
    if (use.kept) names.emplace_back(spec.name);
  }

  std::vector<std::string> names;
};

class Expander {
 public:
  Expander(const SweepSpec& spec, std::vector<Problem>& problems, std::vector<Problem>& notes)
      : spec_(spec),
        of_every_run_(OfEveryRun(spec)),
        problems_(problems),
        notes_(notes),
        seen_(problems.begin(), problems.end()) {}

  std::vector<PlannedRun> Expand() {
    if (!CountPoints()) return {};
    Point point(spec_.axes.size());
    std::vector<std::size_t> index(spec_.axes.size(), 0);
    const Exclusion exclusion(spec_.axes, spec_.exclude);
    bool more = true;
    while (more && problems_.size() <= kErrorsMax) {
      for (std::size_t a = 0; a < point.size(); ++a) point[a] = &spec_.axes[a].values[index[a]];
      if (!exclusion.Excludes(index)) AddRun(point);
      more = Advance(index);
    }
    for (const std::vector<AxisValue>& included : spec_.include) {
      for (std::size_t a = 0; a < point.size(); ++a) point[a] = &included[a];
      // A point that the product has already made is not added twice, but stages may start from it.
      const auto made = points_.find(NameOf(point));
      if (made == points_.end()) {
        AddRun(point);
      } else if (!spec_.stages.empty() && StageOf(point) == nullptr) {
        stage_ = nullptr;
        base_ = MakeBase(AsKnown(point, runs_[made->second]));
      }
    }
    if (runs_.empty() && problems_.empty()) {
      Report(PlaceOf("spec.exclude"), "spec.exclude: excludes every run: keep at least one");
    }
    return std::move(runs_);
  }

 private:
  void Report(Place place, std::string message) {
    message = InStage(std::move(message));
    Problem problem = {.place = place, .message = std::move(message)};
    if (seen_.insert(problem).second) problems_.push_back(std::move(problem));
  }
  void Note(Place place, std::string message) {
    Problem note = {.place = place, .message = std::move(message)};
    if (seen_.insert(note).second) notes_.push_back(std::move(note));
  }

  // A message about a key that the stage replaces: "spec.stages[0].train.tokens: ...".
  std::string InStage(std::string message) const {
    if (stage_ == nullptr) return message;
    const std::size_t begin = BelowSpec(message);
    if (begin == std::string::npos) return message;
    const std::string path = message.substr(begin, message.find_first_of(": (", begin) - begin);
    const bool is_of_stage = std::ranges::any_of(stage_->settings, [&](const auto& setting) {
      return path == setting.first || path.starts_with(Str(setting.first, "."));
    });
    if (!is_of_stage) return message;
    return Str("spec.stages[", stage_->index, "].", message.substr(begin));
  }

  // The place where the current stage gives a key below spec; nullopt: it does not.
  std::optional<Place> PlaceInStage(const std::string& key) const {
    if (stage_ == nullptr) return std::nullopt;
    const auto place =
        stage_->places.find(key == "train.train_length" ? std::string("train_length") : key);
    return place == stage_->places.end() ? std::nullopt : std::optional(place->second);
  }

  // The place of the key if the file gives it, else of the nearest map around it.
  Place PlaceOf(std::string path) const {
    if (const std::size_t begin = BelowSpec(path); begin != std::string::npos) {
      if (const std::optional<Place> place = PlaceInStage(path.substr(begin))) return *place;
    }
    while (true) {
      const auto place = spec_.places.find(path);
      if (place != spec_.places.end()) return place->second;
      const std::size_t dot = path.rfind('.');
      if (dot == std::string::npos) return {.source = 0, .line = 1, .column = 1};
      path.resize(dot);
    }
  }

  // What every run starts from. The matrix is left out: it grows with the number of runs, so
  // copying it for each run would be quadratic.
  static Json OfEveryRun(const SweepSpec& spec) {
    Json body = Json::object();
    for (const auto& [key, value] : spec.document.at("spec").items()) {
      if (key == "matrix" || key == "include" || key == "exclude" || key == "stages") continue;
      body[key] = value;
    }
    return body;
  }

  // ---- the product -----------------------------------------------------------------------------

  bool CountPoints() {
    std::int64_t count = 1;
    for (const Axis& axis : spec_.axes) {
      const auto n = static_cast<std::int64_t>(axis.values.size());
      if (n == 0) return false;
      count = count > kRunsMax / n ? kRunsMax + 1 : count * n;
    }
    if (count + static_cast<std::int64_t>(spec_.include.size()) <= kRunsMax) return true;
    std::vector<std::string> factors;
    for (const Axis& axis : spec_.axes) factors.push_back(Str(axis.values.size()));
    Report(PlaceOf("spec.matrix"),
           Str("spec.matrix: ", Join(factors, " x "), " points",
               spec_.include.empty() ? "" : " and those of include", " are more than the ",
               kRunsMax, " that a sweep may have; split the sweep into several"));
    return false;
  }

  // The last axis is the fastest.
  bool Advance(std::vector<std::size_t>& index) const {
    for (std::size_t a = index.size(); a-- > 0;) {
      if (++index[a] < spec_.axes[a].values.size()) return true;
      index[a] = 0;
    }
    return false;
  }

  std::string NameOf(const Point& point) const {
    Json name = Json::array();
    for (const AxisValue* const value : point) name.push_back(value->value);
    return CanonicalJson(name);
  }

  // ---- one run ---------------------------------------------------------------------------------

  // That of the current stage, if it replaces the axis' value.
  const AxisValue& Value(const Point& point, std::string_view axis) const {
    if (stage_ != nullptr) {
      const auto setting = stage_->settings.find(std::string(axis));
      if (setting != stage_->settings.end()) return setting->second;
    }
    for (std::size_t a = 0; a < point.size(); ++a) {
      if (spec_.axes[a].name == axis) return *point[a];
    }
    LR_CHECK(false);
  }

  // The stage of a point; null: the point is of the base.
  const StageSpec* StageOf(const Point& point) const {
    if (spec_.stages.empty()) return nullptr;
    const auto stage = std::ranges::find(
        spec_.stages, point.back()->value.get_ref<const std::string&>(), &StageSpec::name);
    return stage == spec_.stages.end() ? nullptr : &*stage;
  }

  void AddRun(const Point& point) {
    stage_ = StageOf(point);
    if (stage_ == nullptr) base_.reset();
    // Its base has an error of its own, from which more would follow.
    if (stage_ != nullptr && !base_) return;
    const std::string& dataset_name = Value(point, "dataset").value.get_ref<const std::string&>();
    const DatasetInfo& dataset = spec_.datasets.at(dataset_name);
    const std::size_t n_problems = problems_.size();
    const bool is_like_last = IsLastButForSeed(point);
    Run run = is_like_last ? last_run_ : Resolve(point, dataset);
    run.seed = Value(point, "seed").value.get<std::int64_t>();
    const std::vector<ResolvedEvaluation>& evaluations = EvaluationsOn(point, dataset);
    std::set<std::string> trained_before = TrainedBefore(point);
    CheckTrainedText(trained_before, dataset);
    CheckPrecisions(run.model);
    // Extensions are checked for every run, so that each model that they do not fit is named. With
    // any other problem, what they are checked against may be wrong.
    if (problems_.size() > n_problems || problems_.size() > n_of_extensions_) return;
    // A parent depends on the seed, so a run that continues another cannot be reused
    // with another seed.
    if (!is_like_last && run.parent.empty() && stage_ == nullptr) {
      last_point_ = point;
      last_run_ = run;
    }

    PlannedRun planned = {.run = std::move(run),
                          .run_key = {},
                          .dataset_name = dataset_name,
                          .trained_before = std::move(trained_before),
                          .axes = Json::object(),
                          .evaluations = {}};
    planned.run_key = planned.run.Key();
    for (std::size_t a = 0; a < point.size(); ++a) {
      planned.axes[spec_.axes[a].name] = point[a]->shown;
    }
    // Where the file does not say, the axes show the checkpoint's own values.
    if (planned.axes["position"].is_null()) {
      planned.axes["position"] = planned.run.model.position.method;
    }
    if (planned.axes["train_length"].is_null()) {
      planned.axes["train_length"] = planned.run.train.train_length;
    }
    if (problems_.empty()) {  // then every earlier run is in runs_
      const auto [twin, is_new] = keys_.emplace(planned.run_key, runs_.size());
      if (!is_new) {
        return Report(
            stage_ != nullptr ? stage_->place : point[0]->place,
            Str("spec.matrix: ", planned.axes.dump(), " and ", runs_[twin->second].axes.dump(),
                " are the same run", "; remove one of them"));
      }
    }
    std::int64_t n_longest = 0;
    for (const ResolvedEvaluation& resolved : evaluations) {
      for (const std::int64_t n : resolved.context_lengths) n_longest = std::max(n_longest, n);
    }
    const std::vector<Json> extensions = ExtensionsOf(point, planned.run, n_longest);
    n_of_extensions_ += problems_.size() - n_problems;
    if (!problems_.empty()) return;
    for (const ResolvedEvaluation& resolved : evaluations) {
      for (const Json& extension : extensions) {
        planned.evaluations.push_back(PlanEvaluation(resolved, extension, planned.run_key));
      }
      // Its baseline is not under any of them.
      const bool has_plain = std::ranges::find(extensions, Json()) != extensions.end();
      if (!has_plain && resolved.variants_are_models && resolved.rows.size() > 1) {
        PlannedEvaluation plain = PlanEvaluation(resolved, Json(), planned.run_key);
        DropCells(plain, [](const ExpectedCell& cell) { return cell.variant.empty(); });
        planned.evaluations.push_back(std::move(plain));
      }
      AddWindowBaseline(point, resolved, extensions, planned);
    }
    if (!spec_.include.empty()) points_.emplace(NameOf(point), runs_.size());
    if (!spec_.stages.empty() && stage_ == nullptr) base_ = MakeBase(AsKnown(point, planned));
    runs_.push_back(std::move(planned));
  }

  // Whether this point differs from the last resolved one only in the seed, on which nothing else
  // of a run depends.
  bool IsLastButForSeed(const Point& point) const {
    if (last_point_.size() != point.size() || stage_ != nullptr) return false;
    for (std::size_t a = 0; a < point.size(); ++a) {
      if (point[a] != last_point_[a] && spec_.axes[a].name != "seed") return false;
    }
    return true;
  }

  // The run of a point; reports its errors.
  Run Resolve(const Point& point, const DatasetInfo& dataset) {
    Json body = of_every_run_;
    for (std::size_t a = 0; a < point.size(); ++a) {
      const std::string& axis = spec_.axes[a].name;
      if (axis.find('.') != std::string::npos) SetPath(body, axis, point[a]->value);
    }
    if (stage_ != nullptr) {
      for (const auto& [key, value] : stage_->settings) {
        if (key.starts_with("train.")) SetPath(body, key, value.value);
      }
      body["train"]["continue_from"] = nullptr;
    }
    Run run;
    run.dataset_digest = dataset.digest;
    run.tokenizer_fingerprint = dataset.tokenizer_fingerprint;
    run.seed = Value(point, "seed").value.get<std::int64_t>();  // ResolveParent compares it
    run.numerics = kNumericsVersion;
    if (!FindBase(point)) return run;
    const Base* const base = BaseOf(point);
    const ModelInfo* const init = InitOf(point);
    ResolveTrain(point, body["train"], init, dataset, run.train);
    if (base != nullptr) {
      ResolveOfBase(point, body["model"], *base, dataset, run);
    } else if (init != nullptr) {
      ResolveImported(point, body["model"], *init, dataset, run);
    } else {
      ResolveModel(point, body["model"], dataset, run);
    }
    CheckEvaluations(init != nullptr ? run.model.causal : body["model"]["causal"].get<bool>());
    if (!spec_.trains && init != nullptr) CheckMaskToken(*init, dataset);
    const Json& parent = body["train"]["continue_from"];
    // If the run is refused anyway, its differences from the parent would only be noise.
    if (parent.is_string() && run.train.Check().ok() && run.model.Check().ok()) {
      ResolveParent(point, parent.get<std::string>(), run);
    }
    if (run.trains()) CheckData(point, dataset, run.train);
    return run;
  }

  // The value of model.init_from at a point.
  const Json& InitName(const Point& point) const {
    for (std::size_t a = 0; a < point.size(); ++a) {
      if (spec_.axes[a].name == "model.init_from") return point[a]->value;
    }
    return of_every_run_.at("model").at("init_from");
  }

  // Looks up the run from which the runs of a point start, if they start from one. Returns false,
  // after a report, if there is no such run.
  bool FindBase(const Point& point) {
    const Json& name = InitName(point);
    if (stage_ != nullptr || !name.is_object()) return true;
    const auto wanted = name.at("run").get<std::string>();
    if (bases_.contains(wanted)) return true;
    const auto refuse = [&](const std::string& why) {
      Report(PlaceOfInit(point), Str("spec.model.init_from.run: ", why));
      return false;
    };
    if (!spec_.trains) {
      return refuse(
          "a sweep with \"train: none\" can only measure imported models; to measure a run again, "
          "add evaluations to its own sweep (`longrun reproduce` prints one)");
    }
    if (!spec_.find_run) return refuse("no runs are known here");
    auto found = spec_.find_run(wanted);
    if (!found.ok()) return refuse(std::string(found.status().message()));
    bases_.emplace(wanted, MakeBase(std::move(found).value()));
    return true;
  }

  // The run from whose weights the run of a point starts; null: none.
  const Base* BaseOf(const Point& point) const {
    if (stage_ != nullptr) return &*base_;
    const Json& name = InitName(point);
    if (!name.is_object()) return nullptr;
    const auto base = bases_.find(name.at("run").get<std::string>());
    return base == bases_.end() ? nullptr : &base->second;  // absent: FindBase has reported it
  }

  // Digests of the datasets on which the base of a point was trained.
  std::set<std::string> TrainedBefore(const Point& point) const {
    const Base* const base = BaseOf(point);
    if (base == nullptr) return {};
    std::set<std::string> digests = base->known.trained_before;
    digests.insert(base->run().dataset_digest);
    return digests;
  }

  // A planned run as one to start from.
  KnownRun AsKnown(const Point& point, const PlannedRun& planned) const {
    KnownRun known = {
        .key = planned.run_key, .run = planned.run, .trained_before = planned.trained_before};
    const ModelInfo* const init = InitOf(point);
    if (init != nullptr && KeepsImportedExtension(planned.run)) known.extension = init->extension;
    return known;
  }

  // What the runs of a point start from, as a model; null: from random weights.
  const ModelInfo* InitOf(const Point& point) const {
    if (const Base* const base = BaseOf(point)) return &base->info;
    const Json& name = InitName(point);
    return name.is_string() ? &spec_.models.at(name.get<std::string>()) : nullptr;
  }

  static void SetPath(Json& body, const std::string& path, const Json& value) {
    Json* node = &body;
    for (const std::string& step : Split(path, '.')) node = &(*node)[step];
    *node = value;
  }

  void ResolveTrain(const Point& point, Json given, const ModelInfo* init,
                    const DatasetInfo& dataset, TrainConfig& train) {
    if (!spec_.trains) {
      const Json& length = Value(point, "train_length").value;
      train.train_length = length.is_null() ? init->trained_length : length.get<std::int64_t>();
      if (train.train_length > 0) return;
      return Report(PlaceOf("spec.matrix"),
                    Str("spec.matrix.train_length: must be given: config.json of model \"",
                        init->name, "\" does not say for which length it was made"));
    }
    given.erase("checkpoint");
    given.erase("activation_checkpointing");
    given.erase("continue_from");
    ResolveObjective(point, dataset, init, given);
    given["train_length"] = Value(point, "train_length").value;
    // The run of plain positions has no `positions`.
    if (given["positions"] == kPlainPositions) given.erase("positions");
    ResolveTrainedExtension(point, init, given);
    ResolveValidation(point, given);
    Json& optimizer = given["optimizer"];
    if (optimizer["min_lr"].is_null()) optimizer["min_lr"] = TenthOf(optimizer["lr"].get<double>());
    Result<TrainConfig> config = TrainConfig::FromJson(given);
    // The table of keys has typed everything that FromJson looks at.
    LR_CHECK(config.ok());
    train = std::move(config).value();
    // Both give the same run.
    if (train.validate.length == train.train_length) train.validate.length = 0;
    KeyErrors errors;
    CheckTrain(train, errors);
    if (errors.empty()) return;
    KeyErrors advised;
    for (const KeyError& error : errors.all()) {
      const bool is_batch = error.key == "train.batch_tokens";
      const std::string advice = is_batch ? CommonBatches(train.batch_tokens) : "";
      advised.Add(error.key, Status(error.status.code(), Str(error.status.message(), advice)),
                  error.others);
    }
    ReportErrors(point, advised);
  }

  // What fits one train length of the matrix may not fit another: the nearest multiples of all.
  std::string CommonBatches(std::int64_t batch_tokens) const {
    constexpr std::int64_t kMax = std::int64_t{1} << 40;
    std::set<std::int64_t> lengths;
    for (const Axis& axis : spec_.axes) {
      if (axis.name != "train_length") continue;
      for (const AxisValue& value : axis.values) {
        if (!value.value.is_number_integer()) continue;
        const auto length = value.value.get<std::int64_t>();
        if (length > 0) lengths.insert(length);
      }
    }
    if (lengths.size() < 2) return "";
    std::int64_t common = 1;
    for (const std::int64_t length : lengths) {
      const std::int64_t factor = length / std::gcd(common, length);
      if (factor > kMax / common) return "";
      common *= factor;
    }
    std::vector<std::string> names;
    for (const std::int64_t length : lengths) names.push_back(Str(length));
    const std::int64_t below = batch_tokens / common * common;
    return Str("; of all train lengths (", Join(names, ", "), "), the nearest multiple",
               below == 0 ? Str(" is ", common) : Str("s are ", below, " and ", below + common));
  }

  // A run counts what a validation scores in tokens, so it is the same run however a file says it.
  void ResolveValidation(const Point& point, Json& train) {
    Json& validate = train["validate"];
    const auto windows = validate["windows"].get<std::int64_t>();
    validate.erase("windows");
    if (windows == 0) return;
    if (validate["tokens"] != 0) {
      ReportCause(point, {"train.validate.windows", "train.validate.tokens"},
                  "train.validate: \"tokens\" and \"windows\" say the same in two ways; leave one "
                  "of them out (in a stage, set it to 0)");
    }
    const auto length = validate["length"].get<std::int64_t>();
    validate["tokens"] =
        windows * (length > 0 ? length : train["train_length"].get<std::int64_t>());
  }

  // The run of a model that is trained without an extension has no `extend`.
  void ResolveTrainedExtension(const Point& point, const ModelInfo* init, Json& train) {
    const Json given = train["extend"];
    train.erase("extend");
    const Base* const base = BaseOf(point);
    const Json& of_base = base != nullptr ? base->run().train.extension : Json();
    if (given == kNoExtension && !of_base.is_null()) {
      // The trainer could not tell it from an extension of the imported model's own.
      return ReportCause(point, {"train.extend", "model.init_from"},
                         Str("train.extend: must be given, since ", base->info.name,
                             " was trained under ", of_base.at("method").get<std::string>(),
                             ": write that again, another extension, or {method: pi, factor: 1}, "
                             "which changes nothing"));
    }
    if (given == kNoExtension) return;
    const auto report = [&](const std::string& key, const std::string& message) {
      ReportCause(point, {Str("train.extend.", key)}, Str("train.extend.", key, ": ", message));
    };
    // A run that starts from another run or from an imported model extends the length that this one
    // was made for, which not every extension and not every config.json names.
    std::int64_t original_length = of_base.is_null() ? 0 : of_base.value("original_length", 0);
    if (original_length == 0) {
      original_length = base != nullptr   ? base->run().train.train_length
                        : init != nullptr ? init->trained_length
                                          : 0;
    }
    if (original_length == 0) {
      original_length = Value(point, "train_length").value.get<std::int64_t>();
    }
    const Json whole = WithOriginalLength(given, original_length);
    const std::vector<ParamError> errors = ExtensionErrors(whole);
    for (const ParamError& error : errors) report(error.key, error.message);
    if (!errors.empty()) return;
    if (init != nullptr && !init->extension.is_null()) {
      return report("method", Str(OwnExtensionText(*init),
                                  ", and training uses this extension; leave out train.extend"));
    }
    train["extend"] = *ResolveExtension(whole);
  }

  // The run of a causal model has no `objective` and no `mask`.
  void ResolveObjective(const Point& point, const DatasetInfo& dataset, const ModelInfo* init,
                        Json& train) {
    Json& mask = train["mask"];
    if (train["objective"] == Objective::kMaskedLm) {
      if (mask["token"].is_null()) mask["token"] = MaskToken(point, dataset, init);
      return;
    }
    // If the objective varies, the mask is for the points with masked_lm.
    const bool varies = std::ranges::any_of(
        spec_.axes, [](const Axis& axis) { return axis.name == "train.objective"; });
    for (const std::string& name : NamesBelow("spec.train.mask")) {
      const std::string path = Str("train.mask.", name);
      if (const std::optional<Place> place = PlaceGiven(point, path); place && !varies) {
        Report(*place,
               Str("spec.", path,
                   ": belongs to train.objective: masked_lm, but the objective is causal_lm: "
                   "remove it, or choose that objective"));
      }
    }
    train.erase("objective");
    train.erase("mask");
  }

  // The mask token if the file gives none: the one that the imported model was trained with, else
  // that of the dataset's tokenizer, else an additional row of the embedding.
  std::int64_t MaskToken(const Point& point, const DatasetInfo& dataset, const ModelInfo* init) {
    if (init != nullptr && init->mask_token >= 0) return init->mask_token;
    if (dataset.mask_token >= 0) return dataset.mask_token;
    // A run that starts from a causal one is refused for that.
    if (init == nullptr || BaseOf(point) != nullptr) return dataset.vocab_size;
    Report(PlaceOfInit(point),
           Str("spec.train.mask.token: must be given: config.json of model \"", init->name,
               "\" has no mask_token_id, and ", NoMaskToken(dataset)));
    return 0;
  }

  static std::string NoMaskToken(const DatasetInfo& dataset) {
    std::vector<std::string> names;
    for (const std::string_view name : MaskTokenNames()) names.emplace_back(name);
    return Str("the tokenizer of dataset \"", dataset.name, "\" has no mask token (",
               Join(names, ", "), ")");
  }

  // The place in the file or on an axis that gives a key below spec; nullopt if it has its default.
  std::optional<Place> PlaceGiven(const Point& point, const std::string& path) const {
    if (const std::optional<Place> place = PlaceInStage(path)) return place;
    for (std::size_t a = 0; a < point.size(); ++a) {
      if (spec_.axes[a].name == path) return point[a]->place;
    }
    const auto place = spec_.places.find(Str("spec.", path));
    return place == spec_.places.end() ? std::nullopt : std::optional(place->second);
  }

  void ResolveModel(const Point& point, const Json& given, const DatasetInfo& dataset, Run& run) {
    ModelConfig model;
    if (!given["size"].is_null()) {
      Result<ModelConfig> preset = ModelConfig::Preset(given["size"].get<std::string>());
      LR_CHECK(preset.ok());
      model = std::move(preset).value();
    }
    GivenTaker taker(given);
    Fields(model, taker);
    MissingShape missing;
    Fields(std::as_const(model), missing);
    for (const std::string_view name : missing.names) {
      const std::string path = Str("spec.model.", name);
      // The unknown key or the value has an error.
      if (spec_.meant.contains(path) || spec_.broken.contains(path)) continue;
      Report(PlaceOf("spec.model"),
             Str(path, ": must be given, since spec.model.size is not given"));
    }
    if (!missing.names.empty()) return;
    const Status known = model.SetArchitecture(given["architecture"].get<std::string>());
    LR_CHECK(known.ok());
    model.vocab_size = dataset.vocab_size;
    if (run.train.is_masked()) {
      model.vocab_size = std::max(model.vocab_size, run.train.mask.token + 1);
    }
    Fields(model, taker);
    if (!given["qkv_bias"].is_null()) model.SetAttentionBias(model.body.qkv_bias);
    if (model.vocab_size < dataset.n_ids()) {
      return ReportCause(
          point, {"model.vocab_size", "dataset"},
          Str("model.vocab_size: ", model.vocab_size, " is less than the ", dataset.n_ids(),
              " ids of dataset \"", dataset.name, "\"; leave vocab_size out to use the dataset's"));
    }
    Result<PositionConfig> position = ResolvePosition(Value(point, "position").value);
    LR_CHECK(position.ok());
    model.position = std::move(position).value();
    const Result<const PositionMethod*> method = FindPositionMethod(model.position.method);
    LR_CHECK(method.ok());
    if ((*method)->has_position_table) model.n_positions = run.train.train_length;
    KeyErrors errors;
    CheckModel(model, errors);
    const bool lacks_mask_row = run.train.is_masked() && dataset.mask_token < 0 &&
                                !PlaceGiven(point, "train.mask.token") &&
                                model.vocab_size <= run.train.mask.token;
    if (lacks_mask_row) {
      ReportCause(point, {"model.vocab_size", "dataset"},
                  Str("model.vocab_size: ", model.vocab_size,
                      " leaves no row for a mask token, and ", NoMaskToken(dataset),
                      "; leave out vocab_size to get such a row, or give the token's id as "
                      "spec.train.mask.token"));
    } else {
      CheckModelAndTrain(model, run.train, errors);
    }
    ReportErrors(point, errors);
    run.model = std::move(model);
  }

  // ---- an imported model -----------------------------------------------------------------------

  Place PlaceOfInit(const Point& point) const {
    if (stage_ != nullptr) return stage_->place;
    for (std::size_t a = 0; a < point.size(); ++a) {
      if (spec_.axes[a].name == "model.init_from") return point[a]->place;
    }
    return PlaceOf("spec.model.init_from");
  }

  // Whether the file gives the key; otherwise its value is the table's default.
  bool IsGiven(std::string_view key) const {
    const std::string axis = Str("model.", key);
    return spec_.places.contains(Str("spec.", axis)) ||
           std::ranges::any_of(spec_.axes, [&](const Axis& one) { return one.name == axis; });
  }

  // Everything comes from config.json; where the file gives a value too, it must be the same.
  void ResolveImported(const Point& point, const Json& given, const ModelInfo& init,
                       const DatasetInfo& dataset, Run& run) {
    ModelConfig model = init.model;
    CheckAgreement(point, given, init, model);
    if (model.vocab_size < dataset.n_ids()) {
      return Report(PlaceOfInit(point),
                    Str("spec.model.init_from: ", InitText(init), " has ", model.vocab_size,
                        " ids, but dataset \"", dataset.name, "\" has ", dataset.n_ids(),
                        "; import the text with the model's own tokenizer.json "
                        "(`longrun data import --tokenizer`)"));
    }
    if (!ResolveImportedPosition(point, init, run, model)) return;
    if (run.trains()) {
      KeyErrors errors;
      CheckModelAndTrain(model, run.train, errors);
      ReportErrors(point, errors);
    }
    run.init = {.sha256 = init.digest, .n_positions = model.n_positions};
    run.model = std::move(model);
  }

  // ---- a run that starts from another ----------------------------------------------------------

  // Shape and position method are those of the base; where the file gives a value too, it must be
  // the same. A stage is of the same file.
  void ResolveOfBase(const Point& point, const Json& given, const Base& base,
                     const DatasetInfo& dataset, Run& run) {
    const ModelConfig& model = base.run().model;
    if (base.run().tokenizer_fingerprint != dataset.tokenizer_fingerprint) {
      return Report(
          Value(point, "dataset").place,
          Str("spec.matrix.dataset: dataset \"", dataset.name,
              "\" has another tokenizer than the text of ", base.info.name,
              ", from whose weights this run starts; import the text with that tokenizer"));
    }
    if (stage_ == nullptr) {
      CheckAgreement(point, given, base.info, model);
      CheckSamePosition(point, base);
    }
    if (model.n_positions > 0 && run.train.train_length > model.n_positions) {
      Report(Value(point, "train_length").place,
             Str("spec.matrix.train_length: ", run.train.train_length, " is more than the ",
                 model.n_positions, " positions of ", base.info.name,
                 ", from whose weights this run starts"));
    }
    KeyErrors errors;
    CheckModelAndTrain(model, run.train, errors);
    ReportErrors(point, errors);
    run.init = RunInit{.n_positions = model.n_positions, .run = base.known.key};
    run.model = model;
  }

  void CheckSamePosition(const Point& point, const Base& base) {
    const AxisValue& asked = Value(point, "position");
    if (asked.value.is_null()) return;
    const Json own = base.run().model.position.ToJson();
    if (asked.value.at("method") == own.at("method")) {
      Json merged = own;
      if (asked.shown.is_object()) merged.update(asked.shown);
      if (merged == own) return;
    }
    Report(asked.place, Str("spec.matrix.position: ", base.info.name, " has ", CanonicalJson(own),
                            ", and a run that starts from it has the same; leave position out"));
  }

  void CheckAgreement(const Point& point, const Json& given, const ModelInfo& init,
                      const ModelConfig& model) {
    const auto compare = [&](const std::string& key, const Json& ours) {
      if (!IsGiven(key) || given.at(key).is_null() || given.at(key) == ours) return;
      ReportCause(point, {Str("model.", key)},
                  Str("model.", key, ": ", CanonicalJson(given.at(key)), ", but ", InitText(init),
                      " has ", CanonicalJson(ours), "; leave it out"));
    };
    EachValue each(compare);
    Fields(model, each);
    if (given.at("size").is_null()) return;
    const Result<ModelConfig> preset = ModelConfig::Preset(given.at("size").get<std::string>());
    LR_CHECK(preset.ok());
    if (preset->n_layer == model.n_layer && preset->n_head == model.n_head &&
        preset->d_model == model.d_model) {
      return;
    }
    ReportCause(point, {"model.size"},
                Str("model.size: ", given.at("size").get<std::string>(), " has ", preset->n_layer,
                    " layers, ", preset->n_head, " heads and d_model ", preset->d_model, ", but ",
                    InitText(init), " has ", model.n_layer, ", ", model.n_head, " and ",
                    model.d_model, "; leave it out"));
  }

  // Without a given method, the checkpoint's own; if the given method is the checkpoint's,
  // parameters that are not given keep the checkpoint's values. Another method may need new
  // tensors, which must be trained.
  bool ResolveImportedPosition(const Point& point, const ModelInfo& init, const Run& run,
                               ModelConfig& model) {
    const PositionConfig own = model.position;
    const AxisValue& asked = Value(point, "position");
    if (!asked.value.is_null() && asked.value.at("method") == own.method) {
      Json merged = own.ToJson();
      if (asked.shown.is_object()) merged.update(asked.shown);
      KeyErrors errors;
      if (!CheckGivenPosition(merged, errors)) return ReportErrors(point, errors), false;
      model.position = *ResolvePosition(merged);
    } else if (!asked.value.is_null()) {
      Result<PositionConfig> position = ResolvePosition(asked.value);
      LR_CHECK(position.ok());
      model.position = std::move(position).value();
    }
    const Result<const PositionMethod*> method = FindPositionMethod(model.position.method);
    LR_CHECK(method.ok());
    const bool is_own = model.position.method == own.method;
    if (!(*method)->has_position_table) {
      model.n_positions = 0;
    } else if (!is_own) {
      model.n_positions = run.train.train_length;
    } else if (run.train.train_length > model.n_positions) {
      Report(Value(point, "train_length").place,
             Str("spec.matrix.train_length: ", run.train.train_length, " is more than the ",
                 model.n_positions, " positions of model \"", init.name, "\"; choose ",
                 model.n_positions, " or less, or another position method"));
      return false;
    }
    KeyErrors errors;
    CheckModel(model, errors);
    if (!errors.empty()) return ReportErrors(point, errors), false;
    if (spec_.trains) return true;
    const std::vector<std::string> untrained = NewPositionTensors(init.model, model);
    if (untrained.empty()) return true;
    Report(asked.place, Str("spec.matrix.position: ", model.position.method, " learns ",
                            untrained[0], ", which model \"", init.name,
                            "\" does not have, and nothing is trained "
                            "(train: none): choose a method that learns nothing, or train"));
    return false;
  }

  // A continued run takes over the checkpoint and the order of its data; only settings of how the
  // weights change from here on may differ.
  void ResolveParent(const Point& point, const std::string& wanted, Run& run) {
    const auto refuse = [&](const std::string& why) {
      const std::optional<Place> given = PlaceGiven(point, "train.continue_from");
      Report(given ? *given : PlaceOf("spec.train.continue_from"),
             Str("spec.train.continue_from: ", why));
    };
    if (!spec_.find_run) return refuse("no runs are known here");
    const auto found = spec_.find_run(wanted);
    if (!found.ok()) return refuse(found.status().message());
    const Run& parent = found->run;
    const std::string differs = FirstDifference(run.ToJson(), parent.ToJson());
    const std::string name = Str("run ", found->key.substr(0, 8));
    if (!differs.empty()) {
      return refuse(Str(name, " has another ", differs,
                        "; a run continues with the same model, position, dataset, seed, "
                        "train_length, batch_tokens, precision, skip_epsilon, order, samples, "
                        "positions and extend"));
    }
    if (run.train.steps() <= parent.train.steps()) {
      return refuse(Str(name, " was trained on ", parent.train.tokens,
                        " tokens already; train.tokens must be more, found ", run.train.tokens));
    }
    run.parent = found->key;
  }

  // What prevents a run from continuing the other: "model", "train_length", ...;
  // "" if nothing does.
  static std::string FirstDifference(const Json& ours, const Json& theirs) {
    for (const char* part : {"model", "position", "dataset", "tokenizer", "seed", "numerics"}) {
      if (ours.at(part) != theirs.at(part)) return part;
    }
    if (ours.value("init", Json()) != theirs.value("init", Json())) return "model.init_from";
    if (!theirs.at("train").contains("tokens")) return "recipe (train: none)";
    const TrainConfig defaults;
    KeptNames kept;
    Fields(defaults, kept);
    for (const char* const name : {"positions", "extend"}) kept.names.emplace_back(name);
    for (const std::string& part : kept.names) {
      // Some parts are present only in some runs.
      if (ours.at("train").value(part, Json()) != theirs.at("train").value(part, Json())) {
        return part;
      }
    }
    return "";
  }

  // Whether a key of a configuration is the axis, or a parameter of its values.
  static bool IsOfAxis(std::string_view key, std::string_view axis) {
    if (key == "train.train_length") return axis == "train_length";
    return key == axis ||
           (key.size() > axis.size() && key.starts_with(axis) && key[axis.size()] == '.');
  }

  // The place of the value on the axis that one of `keys` names; `varies`:
  // only if the axis has several values.
  std::optional<Place> PlaceOnAxis(const Point& point, const std::vector<std::string>& keys,
                                   bool varies) const {
    for (const std::string& key : keys) {
      if (const std::optional<Place> place = PlaceInStage(key)) return place;
    }
    for (std::size_t a = 0; a < point.size(); ++a) {
      if (varies && spec_.axes[a].values.size() < 2) continue;
      const bool is_named = std::ranges::any_of(
          keys, [&](const std::string& key) { return IsOfAxis(key, spec_.axes[a].name); });
      if (is_named) return point[a]->place;
    }
    return std::nullopt;
  }

  // Reports an error that `keys` cause together, the first of which is at fault. The place is a
  // value of an axis that varies, else the first key that is given, else any axis's value or the
  // map around the first key.
  void ReportCause(const Point& point, const std::vector<std::string>& keys,
                   const std::string& message) {
    std::optional<Place> given;
    for (const std::string& key : keys) {
      const std::string path = Str("spec.", key);
      if (spec_.broken.contains(path)) return;  // already has an error of its own
      const auto place = spec_.places.find(path);
      if (!given && place != spec_.places.end()) given = place->second;
    }
    std::optional<Place> place = PlaceOnAxis(point, keys, /*varies=*/true);
    if (!place) place = given;
    if (!place) place = PlaceOnAxis(point, keys, /*varies=*/false);
    const std::string_view map = IsOfAxis(keys[0], "position") ? "spec.matrix" : "spec";
    Report(place ? *place : PlaceOf(Str(map, ".", keys[0])), Str(map, ".", message));
  }

  void ReportErrors(const Point& point, const KeyErrors& errors) {
    for (const KeyError& error : errors.all()) {
      std::vector<std::string> keys = {error.key};
      keys.insert(keys.end(), error.others.begin(), error.others.end());
      ReportCause(point, keys, error.status.message());
    }
  }

  // ---- data ------------------------------------------------------------------------------------

  void CheckData(const Point& point, const DatasetInfo& dataset, const TrainConfig& train) {
    if (train.takes_documents()) {
      CheckSplit(point, dataset, "train", 0);
      CheckTrainDocuments(point, dataset, train);
    } else {
      CheckSplit(point, dataset, "train", train.train_length);
      CheckAlignedText(point, dataset, train);
    }
    if (train.validate.every == 0) return;
    CheckSplit(point, dataset, "validation", train.validation_length());
    KeyErrors errors;
    CheckValidation(train, errors);
    ReportErrors(point, errors);
  }

  // Numbers that are not known here are checked by the trainer.
  void CheckTrainDocuments(const Point& point, const DatasetInfo& dataset,
                           const TrainConfig& train) {
    const auto tokens = dataset.split_tokens.find("train");
    const auto documents = dataset.split_documents.find("train");
    if (tokens == dataset.split_tokens.end() || documents == dataset.split_documents.end()) return;
    const Status status = CheckDocuments(
        train.samples, {.n_documents = documents->second, .n_tokens = tokens->second});
    if (status.ok()) return;
    ReportCause(point, {"train.samples", "dataset"},
                Str("train.samples: dataset \"", dataset.name, "\": ", status.message()));
  }

  // Chunks of aligned content stand as far apart in the text as their positions.
  void CheckAlignedText(const Point& point, const DatasetInfo& dataset, const TrainConfig& train) {
    if (train.positions.is_null() || train.positions.value("content", "") != "aligned") return;
    const auto tokens = dataset.split_tokens.find("train");
    const std::int64_t target = NumberOfPositions(train.positions);
    if (tokens == dataset.split_tokens.end() || tokens->second > target) return;
    ReportCause(point, {"train.positions.content", "train.positions.target_length", "dataset"},
                Str("train.positions.content: aligned needs texts of target_length ", target,
                    " + 1 tokens, but split train of dataset \"", dataset.name, "\" has ",
                    tokens->second, "; choose contiguous or random, or import more text"));
  }

  void CheckSplit(const Point& point, const DatasetInfo& dataset, const std::string& split,
                  std::int64_t train_length) {
    const auto tokens = dataset.split_tokens.find(split);
    if (tokens == dataset.split_tokens.end()) {
      return Report(
          Value(point, "dataset").place,
          Str("spec.matrix.dataset: ", NoSplit(dataset.name, SplitNames(dataset), split)));
    }
    if (tokens->second > train_length) return;
    Report(Value(point, "train_length").place,
           Str("spec.matrix.train_length: ", train_length, " needs ", train_length,
               " + 1 tokens, but split ", split, " of dataset \"", dataset.name, "\" has ",
               tokens->second));
  }

  static std::vector<std::string> SplitNames(const DatasetInfo& dataset) {
    std::vector<std::string> names;
    for (const auto& [name, tokens] : dataset.split_tokens) names.push_back(name);
    return names;
  }

  // ---- evaluations -----------------------------------------------------------------------------

  const std::vector<ResolvedEvaluation>& EvaluationsOn(const Point& point,
                                                       const DatasetInfo& dataset) {
    const auto known = evaluations_.find(dataset.name);
    if (known != evaluations_.end()) return known->second;
    std::vector<ResolvedEvaluation> resolved;
    // By the evaluation: its block, and its place in `resolved`.
    std::map<std::string, std::pair<const EvaluationSpec*, std::size_t>> blocks;
    for (const EvaluationSpec& block : spec_.evaluations) {
      std::optional<ResolvedEvaluation> evaluation = ResolveEvaluation(point, block, dataset);
      if (!evaluation) continue;
      const auto [twin, is_new] =
          blocks.emplace(CanonicalJson(WithDigestOnly(evaluation->evaluation)),
                         std::pair(&block, resolved.size()));
      if (is_new) {
        resolved.push_back(std::move(*evaluation));
        continue;
      }
      const auto& [first, index] = twin->second;
      // They are the same only because of what the names mean now, or for these runs.
      if (first->dataset != block.dataset) {
        TakeLengths(evaluation->context_lengths, resolved[index].context_lengths);
        resolved[index].has_window_baseline |= evaluation->has_window_baseline;
        continue;
      }
      Report(block.place, Str(PathOf(block), ": measures the same as spec.evaluate[", first->index,
                              "]; put its context_lengths there"));
    }
    return evaluations_.emplace(dataset.name, std::move(resolved)).first->second;
  }

  static void TakeLengths(const std::vector<std::int64_t>& more, std::vector<std::int64_t>& all) {
    std::set<std::int64_t> lengths(all.begin(), all.end());
    lengths.insert(more.begin(), more.end());
    all.assign(lengths.begin(), lengths.end());
  }

  void CheckEvaluations(bool causal) {
    for (const EvaluationSpec& block : spec_.evaluations) {
      const std::string why = WhyUnsupported(*block.evaluation, causal);
      if (!why.empty()) Report(block.place, Str(PathOf(block), ": ", why));
    }
  }

  // Keys that grow with the text leave the range of fp16.
  void CheckPrecisions(const ModelConfig& model) {
    for (const EvaluationSpec& block : spec_.evaluations) {
      if (PrecisionOf(block.params) != Precision::kFp16 || !KeysGrow(model)) continue;
      Report(PlaceOf(block, "precision"),
             Str(PathOf(block), ".precision: the keys of position method \"", model.position.method,
                 "\" grow beyond the range of fp16: use fp32 or bf16, or measure this method in "
                 "another sweep"));
    }
  }

  // Checks that an encoder that is measured without training has a mask token.
  void CheckMaskToken(const ModelInfo& init, const DatasetInfo& dataset) {
    if (init.model.causal || init.mask_token >= 0 || dataset.mask_token >= 0) return;
    for (const EvaluationSpec& block : spec_.evaluations) {
      if (block.evaluation->reads != Evaluation::Reads::kBidirectional) continue;
      Report(block.place,
             Str(PathOf(block), ": there is no mask token: config.json of model \"", init.name,
                 "\" has no mask_token_id, and ", NoMaskToken(dataset),
                 "; add mask_token_id to that config.json, and import the model again"));
    }
  }

  static std::string PathOf(const EvaluationSpec& block) {
    return Str("spec.evaluate[", block.index, "].", block.evaluation->name);
  }

  static Place PlaceOf(const EvaluationSpec& block, const std::string& param) {
    const auto place = block.param_places.find(param);
    return place == block.param_places.end() ? block.place : place->second;
  }

  // The dataset that an evaluation of runs on `own` reads; null after a report.
  const DatasetInfo* TextOf(const EvaluationSpec& block, const DatasetInfo& own) {
    if (block.dataset.empty()) return &own;
    const DatasetInfo& text = spec_.datasets.at(block.dataset);
    if (text.tokenizer_fingerprint == own.tokenizer_fingerprint) return &text;
    Report(
        PlaceOf(block, "dataset"),
        Str(PathOf(block), ".dataset: dataset \"", text.name, "\" was made with tokenizer ",
            text.tokenizer_fingerprint.substr(0, kDigitsShown), ", but the models of dataset \"",
            own.name, "\" read tokenizer ", own.tokenizer_fingerprint.substr(0, kDigitsShown),
            ": import its text again with the tokenizer of \"", own.name, "\" (`longrun data ",
            "inspect ", own.name, "` names it; `longrun data import NAME --tokenizer TOKENIZER`)"));
    return nullptr;
  }

  // Refuses evaluations of a training split on which the run's weights were trained: its own, or
  // one of an earlier training run.
  void CheckTrainedText(const std::set<std::string>& trained_before, const DatasetInfo& own) {
    for (const EvaluationSpec& block : spec_.evaluations) {
      if (block.dataset.empty() || block.allows_train_overlap) continue;
      if (block.params.value("split", "") != "train") continue;
      const std::string& digest = spec_.datasets.at(block.dataset).digest;
      if (digest != own.digest && !trained_before.contains(digest)) continue;
      Report(PlaceOf(block, "split"), Str(PathOf(block), ".split: ", TrainOverlapError()));
    }
  }

  std::optional<ResolvedEvaluation> ResolveEvaluation(const Point& point,
                                                      const EvaluationSpec& block,
                                                      const DatasetInfo& own) {
    const DatasetInfo* const text = TextOf(block, own);
    if (text == nullptr) return std::nullopt;
    const DatasetInfo& dataset = *text;
    // Defaults that depend on the dataset are written out, so that a cell does not depend on the
    // other lengths of its sweep.
    Json params = block.params;
    const auto lengths = params.at("context_lengths").get<std::vector<std::int64_t>>();
    const std::optional<ParamError> error =
        block.evaluation->fit({.name = dataset.name,
                               .split_tokens = dataset.split_tokens,
                               .split_documents = dataset.split_documents,
                               .documents = dataset.documents},
                              params);
    if (error) {
      Report(PlaceOf(block, error->key), Str(PathOf(block), ".", error->key, ": ", error->message));
      return std::nullopt;
    }
    params.erase("context_lengths");
    const bool has_window_baseline =
        block.evaluation->writes && params.at(kBaselineParam) == kWindowBaseline;
    // It adds cells and changes none.
    if (block.evaluation->writes) params.erase(kBaselineParam);
    std::vector<RowName> rows = block.evaluation->rows(params);
    const bool has_baseline = block.evaluation->variants_are_models && rows.size() > 1;
    // A baseline counts the tokens of what the run is trained on.
    if (has_baseline && !own.split_tokens.contains("train")) {
      CheckSplit(point, own, "train", 0);
      return std::nullopt;
    }
    Json evaluation = {{std::string(block.evaluation->name), params}};
    if (dataset.digest != own.digest) {
      evaluation = WithEvaluatedDataset(std::move(evaluation),
                                        {.name = dataset.name, .digest = dataset.digest});
    }
    return ResolvedEvaluation{.block = &block,
                              .evaluation = std::move(evaluation),
                              .context_lengths = lengths,
                              .rows = std::move(rows),
                              .variants_are_models = block.evaluation->variants_are_models,
                              .has_window_baseline = has_window_baseline};
  }

  // The extensions of a run whose longest context is n_longest, resolved; null: none. Reports those
  // that it cannot be read under.
  std::vector<Json> ExtensionsOf(const Point& point, const Run& run, std::int64_t n_longest) {
    std::vector<Json> resolved;
    const bool has_own = stage_ != nullptr && stage_->extensions;
    for (const ExtensionSpec& spec : has_own ? *stage_->extensions : spec_.extensions) {
      if (spec.given.is_null()) {
        resolved.emplace_back();
        continue;
      }
      const Json given = WithOriginalLength(spec.given, run.train.train_length);
      std::vector<ParamError> errors = ExtensionErrors(given);
      if (errors.empty()) {
        Json extension = ResolveExtension(given).value();
        // For other train lengths, entries that are equal here may differ.
        if (std::ranges::find(resolved, extension) != resolved.end()) continue;
        resolved.push_back(std::move(extension));
        if (auto error = WhyNotExtended(resolved.back(), run.model)) {
          errors.push_back(std::move(*error));
        } else if (auto too_long = WhyTooLong(resolved.back(), n_longest)) {
          errors.push_back(std::move(*too_long));
        } else if (const std::string own = OwnExtension(point); !own.empty()) {
          errors.push_back({"method", own});
        } else if (const auto warning = WarningAt(resolved.back(), n_longest)) {
          Note(spec.PlaceOf(warning->key),
               Str(spec.path, ".", warning->key, ": ", warning->message));
        }
      }
      for (const ParamError& error : errors) {
        const bool is_method = error.key == "method";
        Report(
            spec.PlaceOf(error.key),
            Str(spec.path,
                is_method ? Str(" (", spec.given.at("method").get<std::string>(), ")")
                          : Str(".", error.key),
                ": ", error.message,
                is_method ? "; leave the extension out, or measure such models in a separate sweep"
                          : ""));
      }
    }
    return resolved;
  }

  // Why an imported model cannot be extended; "": it can.
  std::string OwnExtension(const Point& point) const {
    const ModelInfo* const init = InitOf(point);
    if (init == nullptr || init->extension.is_null()) return "";
    return OwnExtensionText(*init);
  }

  // Plans the evaluation under a plain window, at the context lengths that are longer than the
  // window: at the others the window hides nothing.
  void AddWindowBaseline(const Point& point, const ResolvedEvaluation& resolved,
                         const std::vector<Json>& extensions, PlannedRun& planned) {
    if (!resolved.has_window_baseline || !OwnExtension(point).empty()) return;
    const Json window = WindowBaseline(planned.run);
    if (window.is_null() || std::ranges::find(extensions, window) != extensions.end()) return;
    PlannedEvaluation baseline = PlanEvaluation(resolved, window, planned.run_key);
    DropCells(baseline, [&](const ExpectedCell& cell) {
      return cell.context_length <= planned.run.train.train_length;
    });
    if (!baseline.cells.empty()) planned.evaluations.push_back(std::move(baseline));
  }

  void DropCells(PlannedEvaluation& planned, const auto& is_dropped) {
    n_result_ -= static_cast<std::int64_t>(std::erase_if(planned.cells, is_dropped));
  }

  // Without cells after a report.
  PlannedEvaluation PlanEvaluation(const ResolvedEvaluation& resolved, const Json& extension,
                                   const std::string& run_key) {
    PlannedEvaluation planned = {.evaluation = WithExtension(resolved.evaluation, extension),
                                 .cells = {}};
    planned.text = EvaluationText(planned.evaluation);
    const std::int64_t n_lengths = std::ssize(resolved.context_lengths);
    const std::int64_t n_most = n_lengths * std::ssize(resolved.rows);
    if (n_most > kTaskResultsMax && spec_.origin == SweepOrigin::kSubmitted) {
      Report(PlaceOf(*resolved.block, "context_lengths"),
             Str(PathOf(*resolved.block), ": ", n_lengths, " context lengths with ",
                 resolved.rows.size(), resolved.rows.size() == 1 ? " result" : " results",
                 " each are ", n_most, " results; one evaluation of a run may have at most ",
                 kTaskResultsMax,
                 ": measure fewer context lengths or depths, or divide the context lengths among "
                 "several sweeps"));
      return planned;
    }
    if (n_result_ + n_most > kResultsMax) {
      Report(PlaceOf("spec.evaluate"),
             Str("spec.evaluate: this sweep asks for more than ", kResultsMax,
                 " results (runs x extensions x context lengths x rows of each length), which is "
                 "the most that a sweep may have; measure fewer context lengths or depths, or "
                 "split the sweep into several"));
      return planned;
    }
    for (const std::int64_t context_length : resolved.context_lengths) {
      const std::string cell = CellKey(run_key, planned.text, context_length);
      for (const RowName& row : resolved.rows) {
        // A baseline that is another model is measured once, without an extension.
        if (!extension.is_null() && resolved.variants_are_models && !row.variant.empty()) continue;
        planned.cells.push_back({.cell = cell,
                                 .metric = std::string(row.metric),
                                 .context_length = context_length,
                                 .variant = row.variant,
                                 .depth = row.depth});
      }
    }
    n_result_ += std::ssize(planned.cells);
    return planned;
  }

  const SweepSpec& spec_;
  const Json of_every_run_;  // the spec without its matrix
  std::vector<Problem>& problems_;
  std::vector<Problem>& notes_;
  std::set<Problem> seen_;           // of problems and notes
  std::size_t n_of_extensions_ = 0;  // of problems_, those that ExtensionsOf() has reported
  std::vector<PlannedRun> runs_;
  std::int64_t n_result_ = 0;                                           // planned so far
  std::map<std::string, std::size_t> keys_;                             // run key to index in runs_
  std::map<std::string, std::size_t> points_;                           // point to index in runs_
  std::map<std::string, std::vector<ResolvedEvaluation>> evaluations_;  // by dataset
  std::map<std::string, Base> bases_;  // by the value of model.init_from
  const StageSpec* stage_ = nullptr;   // of the point that is resolved; null: the base
  std::optional<Base> base_;           // of the last point without a stage, if it has no error
  Point last_point_;                   // of the last run resolved without a problem; empty: none
  Run last_run_;
};

}  // namespace

bool IsExcluded(const Json& value, const Json& wanted) {
  // Only methods with their parameters are maps.
  if (!wanted.is_object() || !value.is_object()) return value == wanted;
  return std::ranges::all_of(wanted.items(), [&](const auto& param) {
    return value.contains(param.key()) && value[param.key()] == param.value();
  });
}

std::vector<PlannedRun> ExpandSweep(const SweepSpec& spec, std::vector<Problem>& problems,
                                    std::vector<Problem>& notes) {
  return Expander(spec, problems, notes).Expand();
}

}  // namespace longrun
