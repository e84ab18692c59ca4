#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/str.h"
#include "model/data/synthetic/rule.h"
#include "model/data/synthetic/rules.h"

namespace longrun {
namespace {

constexpr const char* kName = "rule";
// One of the streams of a seed's random numbers (model/data/order.cc).
constexpr std::uint64_t kDocumentStream = 5;
constexpr std::int64_t kLengthMax = 1 << 20;

}  // namespace

// One line for each rule.
std::span<const SyntheticRule* const> SyntheticRules() {
  static const std::array rules = {
      &UniformRule(),   &MarkovRule(),        &CopyRule(),
      &InductionRule(), &PasskeyTokensRule(), &PasskeyRule(),
  };
  return rules;
}

std::vector<std::string> SyntheticRuleNames() {
  std::vector<std::string> names;
  for (const SyntheticRule* const rule : SyntheticRules()) names.emplace_back(rule->name);
  return names;
}

Result<ResolvedRule> ResolvedRule::Resolve(const Json& given) {
  const std::vector<std::string> names = SyntheticRuleNames();
  const auto refused = [](const std::string& message) {
    return Status(Code::kInvalidArgument, message);
  };
  if (!given.is_object() || !given.contains(kName) || !given.at(kName).is_string()) {
    return refused(Str("expected {\"rule\": NAME, ...}, where NAME is one of ", Join(names, ", ")));
  }
  const auto& name = given.at(kName).get_ref<const std::string&>();
  const auto found = std::ranges::find(SyntheticRules(), name, &SyntheticRule::name);
  if (found == SyntheticRules().end()) {
    const std::string nearest = Nearest(name, names);
    return refused(Str("unknown rule \"", name, "\"",
                       nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?"),
                       " (choose one of ", Join(names, ", "), ")"));
  }
  const SyntheticRule& rule = **found;
  Json params = given;
  params.erase(kName);
  ASSIGN_OR_RETURN(params, ResolveParams(rule.params, params, rule.name));
  if (rule.check != nullptr) {
    if (const std::optional<ParamError> error = rule.check(params)) {
      return refused(ShowErrors(rule.name, std::span(&*error, 1)));
    }
  }
  return ResolvedRule(rule, std::move(params));
}

Json ResolvedRule::ToJson() const {
  Json json = params_;
  json[kName] = rule_->name;
  return json;
}

Result<std::string> ResolvedRule::Document(const RuleSetting& setting, std::uint64_t g) const {
  SeededRandom random(StreamKey(setting.seed, g, kDocumentStream));
  return rule_->write(params_, setting, random);
}

std::optional<RuleBound> ResolvedRule::Bound() const {
  if (rule_->bound == nullptr) return std::nullopt;
  return rule_->bound(params_);
}

ParamSpec AlphabetParam(std::int64_t default_value) {
  return {.name = "alphabet",
          .type = ParamSpec::Type::kCount,
          .default_value = default_value,
          .min = 2,
          .max = kSymbols,
          .meaning = "number of different symbols"};
}

ParamSpec LengthParam(std::string_view name, std::int64_t default_value, std::string_view meaning) {
  return {.name = name,
          .type = ParamSpec::Type::kCount,
          .default_value = default_value,
          .min = 1,
          .max = kLengthMax,
          .meaning = meaning};
}

char Symbol(std::int64_t i) {
  constexpr std::string_view kAll =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  static_assert(kAll.size() == kSymbols);
  LR_CHECK(i >= 0 && i < kSymbols);
  return kAll[static_cast<std::size_t>(i)];
}

std::string RandomSymbols(std::int64_t n, std::int64_t alphabet, SeededRandom& random) {
  std::string text;
  text.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    text += Symbol(static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(alphabet))));
  }
  return text;
}

}  // namespace longrun
