// The list of position schedules, the step from a user's text to complete parameters, and the
// random numbers of a sample.
#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "base/str.h"
#include "model/architecture/parameters.h"
#include "model/config.h"
#include "model/limits.h"
#include "model/position_schedule/schedule.h"

namespace longrun {

const PositionSchedule& PoseSchedule();
const PositionSchedule& RandposSchedule();

namespace {

constexpr const char* kTargetLength = "target_length";
// One of the streams of a seed's random numbers (model/data/order.cc).
constexpr std::uint64_t kPositionStream = 4;

const PositionSchedule& ScheduleOf(const Json& resolved) {
  const PositionSchedule* const schedule =
      FindPositionSchedule(resolved.at("method").get_ref<const std::string&>());
  LR_CHECK(schedule != nullptr);
  return *schedule;
}

Json WithoutMethod(Json given) {
  given.erase("method");
  return given;
}

std::optional<ParamError> CheckTarget(const Json& params, std::int64_t train_length) {
  const auto target = params.at(kTargetLength).get<std::int64_t>();
  if (target > train_length) return std::nullopt;
  return ParamError{
      .key = kTargetLength,
      .message = Str("expected more than train_length ", train_length, ", found ", target,
                     ": it is the length of the texts that the model is to read after training")};
}

}  // namespace

std::span<const PositionSchedule* const> PositionSchedules() {
  static const std::array schedules = {&PoseSchedule(), &RandposSchedule()};
  return schedules;
}

std::vector<std::string> PositionScheduleNames() {
  std::vector<std::string> names = {std::string(kPlainPositions)};
  for (const PositionSchedule* schedule : PositionSchedules()) names.emplace_back(schedule->name);
  return names;
}

const PositionSchedule* FindPositionSchedule(std::string_view name) {
  const auto found = std::ranges::find(PositionSchedules(), name, &PositionSchedule::name);
  return found == PositionSchedules().end() ? nullptr : *found;
}

std::vector<ParamError> PositionScheduleErrors(const Json& given) {
  if (!given.is_object()) return {{"", "expected a map with the key \"method\""}};
  const auto name = given.find("method");
  if (name == given.end()) return {{"method", "missing"}};
  if (!name->is_string()) {
    return {{"method", Str("expected the name of a position schedule, found ", name->type_name())}};
  }
  const PositionSchedule* const schedule =
      FindPositionSchedule(name->get_ref<const std::string&>());
  if (schedule == nullptr) {
    const std::vector<std::string> names = PositionScheduleNames();
    const std::string nearest = Nearest(name->get<std::string>(), names);
    return {{.key = "method",
             .message = Str("unknown position schedule ", name->dump(),
                            nearest.empty() ? Str("; expected one of ", Join(names, ", "))
                                            : Str("; did you mean \"", nearest, "\"?")),
             .code = Code::kNotFound}};
  }
  return CheckParams(schedule->params, WithoutMethod(given));
}

Result<Json> ResolvePositionSchedule(const Json& given, std::int64_t train_length) {
  const std::vector<ParamError> errors = PositionScheduleErrors(given);
  if (!errors.empty()) {
    return Status(errors.front().code, ShowErrors("train.positions", errors));
  }
  const PositionSchedule& schedule = ScheduleOf(given);
  Json params = *ResolveParams(schedule.params, WithoutMethod(given), "train.positions");
  if (schedule.refine_defaults != nullptr) schedule.refine_defaults(params, train_length);
  params["method"] = given["method"];
  return params;
}

std::vector<ParamError> CheckPositionSchedule(const Json& schedule, std::int64_t train_length) {
  std::vector<ParamError> errors;
  if (auto error = CheckTarget(schedule, train_length)) errors.push_back(std::move(*error));
  const PositionSchedule& known = ScheduleOf(schedule);
  if (known.check == nullptr) return errors;
  if (auto error = known.check(schedule, train_length)) errors.push_back(std::move(*error));
  return errors;
}

std::optional<ParamError> WhyNotScheduled(const Json& schedule, const ModelConfig& model) {
  const Result<TermSpec> terms = TermsOf(model);
  if (!terms.ok()) return std::nullopt;
  // As Transformer::CheckPositionIds: any other term counts the places of tokens.
  const bool only_rotates = terms->rotation && !terms->input_add && !terms->key_bias_slope &&
                            !terms->key_bias_gate && !terms->distance_bias &&
                            !terms->distance_network && !terms->content_position;
  if (only_rotates) return std::nullopt;
  return ParamError{
      .key = "method",
      .message =
          Str(schedule.at("method").get<std::string>(),
              " gives tokens positions of their own, but position method \"", model.position.method,
              "\" cannot use them; choose a method that only rotates, such as rope"),
      .others = {"position.method"}};
}

std::int64_t NumberOfPositions(const Json& schedule) {
  return schedule.at(kTargetLength).get<std::int64_t>();
}

std::int64_t ScheduleTextLength(const Json& schedule, std::int64_t train_length) {
  const PositionSchedule& known = ScheduleOf(schedule);
  return known.text_length == nullptr ? train_length : known.text_length(schedule, train_length);
}

NumberedSample NumberSample(const Json& schedule, std::int64_t train_length, std::int64_t n_text,
                            std::uint64_t seed, std::int64_t g) {
  LR_CHECK(g >= 0 && n_text >= train_length);
  const std::uint64_t key = StreamKey(seed, static_cast<std::uint64_t>(g), kPositionStream);
  std::uint64_t n_drawn = 0;
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    LR_CHECK(low <= high);
    const auto n = static_cast<std::uint64_t>(high - low) + 1;
    return low + static_cast<std::int64_t>(Sm64(key ^ n_drawn++) % n);
  };
  return ScheduleOf(schedule).number(schedule, train_length, n_text, draw);
}

ParamSpec TargetLengthParam() {
  return {.name = kTargetLength,
          .type = ParamSpec::Type::kCount,
          .min = 2,
          .max = static_cast<double>(kLengthMax),
          .meaning =
              "length of the texts that the model is to read after training, more than "
              "train_length; positions up to target_length - 1 occur"};
}

std::vector<std::int64_t> DrawDistinct(std::int64_t n, std::int64_t low, std::int64_t high,
                                       const UniformDraw& draw) {
  LR_CHECK(n >= 0 && n <= high - low + 1);
  std::set<std::int64_t> drawn;
  for (std::int64_t last = high - n + 1; last <= high; ++last) {
    if (!drawn.insert(draw(low, last)).second) drawn.insert(last);
  }
  return {drawn.begin(), drawn.end()};
}

}  // namespace longrun
