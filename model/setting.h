// How a setting of a model (fields.h) or a recipe (train_fields.h) is declared, once. A declaration
// gives the JSON form, its strict reading and its range (config.cc, train_config.cc). It also gives
// the key of a sweep file, its default, and its lines in the reference and in the JSON Schema
// (sweeps/schema.cc). It says whether a run that starts from an imported model or continues another
// run must have the same value (sweeps/expand.cc).
// A new setting needs a member of its struct, its declaration, and the code that uses it:
//
//   v(optimizer.lr, {.name = "lr", .min = 1e-12, .max = 10, .meaning = "largest learning rate"});
//
// A visitor has these functions, where T is std::int64_t, double, bool, std::string or an enum with
// words (base/enum_names.h), const if the visitor only reads; SettingUse is optional:
//
//   v(T& member, const ParamSpec&, const SettingUse&)
//   v(double& first, double& second, const ParamSpec&, const SettingUse&)      a pair of numbers
//   v.Group(Config& member, const ParamSpec&, const SettingUse&)
//       Fields(member) below a name
//
// Only for .cc files; other headers see only the structs. A member's default is the setting's
// default, and its C++ type decides the type of the value (TypeOf); only an integer that is not a
// count must be declared as kInt. The choices of an enum are its words (ChoicesOf), unless the
// declaration lists fewer.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/enum_names.h"
#include "model/param.h"

namespace longrun {

struct SettingUse {
  // In a sweep file: `required` settings must be given. `derived` ones, if left out, get the value
  // that their meaning states; all others get the member's default.
  bool required = false;
  bool derived = false;
  bool axis = true;
  bool in_matrix = false;  // its key belongs in spec.matrix
  // A run that continues another must have the same value.
  bool kept = false;
  // Present in the JSON. A setting can be left out there so that it does not change the
  // keys of older runs.
  bool in_json = true;
  bool of_body = false;  // only in the JSON of architectures other than kBodyless
  bool shape = false;    // the body is built from it, so it is read and checked first
  // Its range here applies only to sweep files: config.cc checks the value in its context.
  bool own_check = false;
  // The value that 0 stands for.
  std::function<std::int64_t()> where_zero = {};
  // Further choices that imported models may have, but sweep files may not.
  std::vector<std::string> choices_imported = {};
};

template <typename T>
ParamSpec::Type TypeOf(const ParamSpec& spec) {
  using Value = std::remove_const_t<T>;
  if constexpr (std::same_as<Value, bool>) return ParamSpec::Type::kBool;
  if constexpr (std::same_as<Value, std::string>) return ParamSpec::Type::kChoice;
  if constexpr (NamedEnum<Value>) return ParamSpec::Type::kChoice;
  if constexpr (std::same_as<Value, double>) return ParamSpec::Type::kNumber;
  if constexpr (std::same_as<Value, std::int64_t>) {
    return spec.type == ParamSpec::Type::kInt ? spec.type : ParamSpec::Type::kCount;
  }
}

template <typename T>
std::vector<std::string> ChoicesOf(const ParamSpec& spec) {
  using Value = std::remove_const_t<T>;
  if constexpr (NamedEnum<Value>) {
    if (spec.choices.empty()) return EnumChoices<Value>();
  }
  return spec.choices;
}

// `Config`, or a const one.
template <typename T, typename Config>
concept Of = std::same_as<std::remove_const_t<T>, Config>;

}  // namespace longrun
