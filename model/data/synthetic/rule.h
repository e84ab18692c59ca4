// Documents by rule: texts that need no file, and of which it is known how well the best model
// predicts them. One file and one line of registry.cc each.
//
// Document g is a pure function of (parameters, seed, g). A dataset may consist of such documents
// (`longrun data synthesize`), or they may be mixed into real text (model/data/mix.h).
//
// Random symbols are the first `alphabet` of 0..9 a..z A..Z. With the tokenizer `bytes` each is a
// token, and all documents of a rule with a bound have the same length.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "base/status.h"
#include "model/param.h"

namespace longrun {

// What the best possible model reaches, which knows the rule and its parameters.
struct RuleBound {
  double document_nats = 0;         // the entropy of a document: no model's mean nll is lower
  std::int64_t document_bytes = 0;  // without the end of text
  std::int64_t answer_bytes = 0;    // the last bytes, which follow from those before: accuracy 1

  double NatsPerByte() const { return document_nats / static_cast<double>(document_bytes); }
};

// What a rule may use besides its parameters.
struct RuleSetting {
  // Of the whole dataset. For what its documents have in common, such as the rows of a chain.
  std::uint64_t seed = 0;
  // The number of tokens of a text, without an end of text.
  std::function<std::int64_t(std::string_view)> n_tokens;
  std::string_view text = "";  // real text for filler; empty: there is none
};

struct SyntheticRule {
  std::string_view name;
  std::string_view source;
  std::string_view meaning;
  std::vector<ParamSpec> params;
  // Checks relations between parameters. Null: there are none.
  std::optional<ParamError> (*check)(const Json& params) = nullptr;
  // `random` is the stream of document g.
  Result<std::string> (*write)(const Json& params, const RuleSetting& setting,
                               SeededRandom& random) = nullptr;
  // Null: the entropy has no closed form.
  RuleBound (*bound)(const Json& params) = nullptr;
};

// All rules, in listing order.
std::span<const SyntheticRule* const> SyntheticRules();
std::vector<std::string> SyntheticRuleNames();

// A rule with all its parameters.
class ResolvedRule {
 public:
  // `given` is {"rule": NAME, and parameters}. Errors name the key.
  static Result<ResolvedRule> Resolve(const Json& given);

  const SyntheticRule& rule() const { return *rule_; }
  Json ToJson() const;  // complete, with "rule"
  // Document g. Errors say which parameter does not fit the setting.
  Result<std::string> Document(const RuleSetting& setting, std::uint64_t g) const;
  std::optional<RuleBound> Bound() const;

 private:
  ResolvedRule(const SyntheticRule& rule, Json params) : rule_(&rule), params_(std::move(params)) {}

  const SyntheticRule* rule_;
  Json params_;
};

// ---- for the files of rules --------------------------------------------------------------------

inline constexpr std::int64_t kSymbols = 62;

ParamSpec AlphabetParam(std::int64_t default_value);
ParamSpec LengthParam(std::string_view name, std::int64_t default_value, std::string_view meaning);
char Symbol(std::int64_t i);  // 0 <= i < kSymbols
// n symbols, each uniform among the first `alphabet`.
std::string RandomSymbols(std::int64_t n, std::int64_t alphabet, SeededRandom& random);

}  // namespace longrun
