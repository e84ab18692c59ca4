// The words that stand for the values of an enum in files, messages, the database and on the wire.
// They are listed once:
//
//   enum class NormKind { kLayerNorm, kRmsNorm };
//   template <>
//   struct EnumNames<NormKind> {
//     static constexpr std::array<std::string_view, 2> kNames = {"layer_norm", "rms_norm"};
//   };
//
// The values are 0, 1, 2, ... in the order of the words.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "base/json.h"

namespace longrun {

template <typename Enum>
struct EnumNames;

template <typename T>
concept NamedEnum = std::is_enum_v<T> && requires {
  EnumNames<T>::kNames;
};

template <NamedEnum Enum>
constexpr std::string_view EnumName(Enum value) {
  const auto at = static_cast<std::size_t>(value);
  LR_CHECK(at < EnumNames<Enum>::kNames.size());
  return EnumNames<Enum>::kNames[at];
}

// nullopt: unknown.
template <NamedEnum Enum>
constexpr std::optional<Enum> FindEnum(std::string_view name) {
  const auto& names = EnumNames<Enum>::kNames;
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

// All words, for the choices of a ParamSpec.
template <NamedEnum Enum>
std::vector<std::string> EnumChoices() {
  return {EnumNames<Enum>::kNames.begin(), EnumNames<Enum>::kNames.end()};
}

}  // namespace longrun

// nlohmann-json itself writes an enum as a number. A word that is read has been checked before.
template <longrun::NamedEnum Enum>
struct nlohmann::adl_serializer<Enum, void> {
  static void to_json(longrun::Json& json, Enum value) {  // NOLINT(readability-identifier-naming)
    json = longrun::EnumName(value);
  }
  static void from_json(const longrun::Json& json,  // NOLINT(readability-identifier-naming)
                        Enum& value) {
    const auto found = longrun::FindEnum<Enum>(json.get_ref<const std::string&>());
    LR_CHECK(found.has_value());
    value = *found;
  }
};
