// A value declared as data: a parameter of a position method or an evaluation, a key of the recipe
// (fields.h), a key of a sweep file. The file's schema, the defaults and the messages come from these
// tables.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/json.h"
#include "base/status.h"

namespace longrun {

struct ParamSpec {
  // The one list of value types: what a sweep file knows beyond them is what is no value (KeyRow::Kind).
  enum class Type {
    kInt,         // decimal digits
    kCount,       // an integer of 64 bits; a file may write 64K, 200M, 8Ki
    kNumber,      // finite
    kBool,        //
    kChoice,      // one of `choices`, a string
    kText,        // of at most `max` bytes
    kName,        // 1 to 128 letters, digits, '.', '_', '-'
    kDuration,    // milliseconds; a file writes 30s, 10min, 1h
    kNumberPair,  // [a, b]
    kCountList,   // integers, at least one, none twice; or one of `choices`, as a word for a list
    kChoiceList,  // of `choices`, at least one, none twice
  };
  // Another parameter of the table, a choice that has a default, and values of it.
  struct Condition {
    std::string_view name;
    std::vector<std::string> values;
  };
  std::string_view name = {};
  Type type = Type::kNumber;
  Json default_value = nullptr;  // null: must be given
  double min = 0.0;              // of numbers and list items, inclusive; `max` of text in bytes
  double max = 0.0;
  std::vector<std::string> choices = {};          // of kChoice, kChoiceList and kCountList
  std::vector<std::string> choices_unbuilt = {};  // known by name, refused as not built yet
  // Of `choices`: mathematics of our own, without a publication behind it; marked wherever it is listed.
  std::vector<std::string> experimental = {};
  std::string_view meaning = {};
  // Belongs to these values of another parameter alone: with any other it is refused where it is
  // given, and the resolved parameters lack it.
  std::optional<Condition> only_with = {};
};

// The choices for listings: "official", "bidirectional (experimental)".
std::vector<std::string> MarkedChoices(const ParamSpec& spec);
// "variant bidirectional", the experimental values of parameters, joined by ", "; "" where there are none.
std::string ExperimentalValues(std::span<const ParamSpec> specs);

// 64, 1e-12: a bound as people read it.
std::string ShowNumber(double number);
// "an integer from 1 to 10": what a value must be.
std::string ExpectedValue(const ParamSpec& spec);

// What is wrong with one parameter.
struct ParamError {
  std::string key;      // "context_lengths", or "context_lengths[2]"; "" for all of them together
  std::string message;  // "expected an integer from 1 to 10, found 12"
  // The keys outside the table that the message names: "model.causal".
  std::vector<std::string> others = {};
  Code code = Code::kInvalidArgument;
};

// "PATH.key: message", joined by "; ".
std::string ShowErrors(std::string_view path, std::span<const ParamError> errors);

// What parameters make, or the parameter that cannot make it.
template <typename T>
class ParamResult {
 public:
  ParamResult(T value) : state_(std::move(value)) {}           // NOLINT: implicit by intent
  ParamResult(ParamError error) : state_(std::move(error)) {}  // NOLINT: implicit by intent

  bool ok() const { return std::holds_alternative<T>(state_); }
  const T& value() const& {
    LR_CHECK(ok());
    return std::get<T>(state_);
  }
  T&& value() && {
    LR_CHECK(ok());
    return std::get<T>(std::move(state_));
  }
  const T& operator*() const& { return value(); }
  const T* operator->() const { return &value(); }
  const ParamError& error() const {
    LR_CHECK(!ok());
    return std::get<ParamError>(state_);
  }
  // The error as "PATH.key: message".
  Status status(std::string_view path) const {
    if (ok()) return Status();
    return Status(error().code, ShowErrors(path, std::span(&error(), 1)));
  }

 private:
  std::variant<T, ParamError> state_;
};

// The errors of `given` (an object), all of them; empty when it is right. Unknown keys carry the
// nearest name.
std::vector<ParamError> CheckParams(std::span<const ParamSpec> specs, const Json& given);

// `given` with every default written in; the keys of the result are exactly the names of `specs`,
// less those whose condition does not hold.
// kInvalidArgument holds every error as "PATH.key: message", joined by "; ".
Result<Json> ResolveParams(std::span<const ParamSpec> specs, const Json& given,
                           std::string_view path);

// The members of resolved parameters that belong to a value of another one.
Json ConditionalParams(std::span<const ParamSpec> specs, const Json& resolved);

}  // namespace longrun
