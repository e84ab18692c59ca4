// A value declared as data: a parameter of a position method or an evaluation, a key of the recipe
// (fields.h), a key of a sweep file. The sweep file's schema, its defaults and its messages are
// derived from these declarations.
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
  // The only list of value types; KeyRow::Kind adds kinds of sweep-file keys that are not values.
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
    kNumberList,  // at least one
    kCountList,   // integers, at least one, all different; or one of `choices`
    kChoiceList,  // from `choices`, at least one, all different
  };
  // Another parameter of the same table (a choice with a default), and some of its values.
  struct Condition {
    std::string_view name;
    std::vector<std::string> values;
  };
  std::string_view name = {};
  Type type = Type::kNumber;
  Json default_value = nullptr;  // null: must be given, unless is_optional
  // If it is not given, or given with its default, the resolved parameters do not have it.
  bool is_optional = false;
  double min = 0.0;  // of numbers and list items, inclusive; `max` of text, in bytes
  double max = 0.0;
  std::vector<std::string> choices = {};          // of kChoice, kChoiceList and kCountList
  std::vector<std::string> choices_unbuilt = {};  // known names, refused as not implemented
  // The choices that are our own mathematics, without a publication;
  // they are marked wherever they are listed.
  std::vector<std::string> experimental = {};
  std::string_view meaning = {};
  // Applies only with these values of another parameter. With any other value it is refused if
  // given, and the resolved parameters do not have it.
  std::optional<Condition> only_with = {};
};

// The choices for listings: "official", "bidirectional (experimental)".
std::vector<std::string> MarkedChoices(const ParamSpec& spec);
// The experimental values of parameters: "variant bidirectional".
std::vector<std::string> ExperimentalValues(std::span<const ParamSpec> specs);
// " (variant bidirectional is experimental)"; "" if there are none.
std::string ExperimentalNote(std::span<const std::string> values);

// A bound as people write it: 64, 1e-12.
std::string ShowNumber(double number);
// What a value must be: "an integer from 1 to 10".
std::string ExpectedValue(const ParamSpec& spec);

// An error in one parameter.
struct ParamError {
  std::string key;      // "context_lengths" or "context_lengths[2]"; "": all parameters
  std::string message;  // "expected an integer from 1 to 10, found 12"
  // The keys outside of the table that the message names: "model.causal".
  std::vector<std::string> others = {};
  Code code = Code::kInvalidArgument;
};

// "PATH.key: message", joined by "; ".
std::string ShowErrors(std::string_view path, std::span<const ParamError> errors);

// A result computed from parameters, or the error of one parameter.
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

// All errors of `given` (an object); empty if it is valid. An error for an unknown key suggests
// the nearest name.
std::vector<ParamError> CheckParams(std::span<const ParamSpec> specs, const Json& given);

// `given` with every default written in. The keys of the result are exactly the names of `specs`,
// without those whose condition does not hold and the optional ones that are not given.
// kInvalidArgument has every error as "PATH.key: message", joined by "; ".
Result<Json> ResolveParams(std::span<const ParamSpec> specs, const Json& given,
                           std::string_view path);

// The members of resolved parameters that depend on the value of another parameter (only_with).
Json ConditionalParams(std::span<const ParamSpec> specs, const Json& resolved);

}  // namespace longrun
