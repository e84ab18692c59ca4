// Derives from a struct's declared fields (fields.h) its JSON, strict reading and range checks.
// Only for .cc files.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "base/str.h"
#include "model/key_errors.h"
#include "model/setting.h"

namespace longrun {

inline Status Invalid(std::string_view message) { return Status(Code::kInvalidArgument, message); }

inline std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string nearest = Nearest(word, candidates);
  return nearest.empty() ? "" : Str("; did you mean \"", nearest, "\"?");
}

inline Status OneOf(std::string_view path, const std::string& value,
                    const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return Status();
  return Invalid(Str(path, ": expected one of ", Join(choices, ", "), ", found \"", value, "\"",
                     DidYouMean(value, choices)));
}

template <typename Number>
Status InRange(std::string_view path, Number value, Number min, Number max) {
  if (value >= min && value <= max) return Status();  // false for NaN
  return Invalid(Str(path, ": expected ", min, " to ", max, ", found ", value));
}

// Returns false if it is not an object, so that nothing can be read from it.
inline bool RefuseUnknownKeys(const Json& object, std::string_view path,
                              const std::vector<std::string>& known, KeyErrors& errors) {
  if (!object.is_object()) return errors.Add(path, Invalid(Str(path, ": expected a map")));
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string unknown = Str(path, ".", key);
    errors.Add(unknown, Invalid(Str(unknown, ": unknown key", DidYouMean(key, known))));
  }
  return true;
}

// Writes the JSON of a struct.
class FieldWriter {
 public:
  FieldWriter(Json& json, bool with_body) : json_(json), with_body_(with_body) {
    json_ = Json::object();
  }

  template <typename T>
  void operator()(const T& member, const ParamSpec& spec, const SettingUse& use = {}) {
    if (!use.in_json || (use.of_body && !with_body_)) return;
    Json& written = json_[std::string(spec.name)] = member;
    if (use.where_zero && written == 0) written = use.where_zero();
  }
  void operator()(double first, double second, const ParamSpec& spec, const SettingUse& = {}) {
    json_[std::string(spec.name)] = Json::array({first, second});
  }
  template <typename Config>
  void Group(const Config& config, const ParamSpec& spec, const SettingUse& use = {}) {
    if (!use.in_json) return;
    FieldWriter below(json_[std::string(spec.name)], with_body_);
    Fields(config, below);
  }

 private:
  Json& json_;
  bool with_body_;
};

// Collects the keys that a struct's JSON may have.
class FieldNames {
 public:
  explicit FieldNames(bool with_body) : with_body_(with_body) {}

  template <typename T>
  void operator()(const T&, const ParamSpec& spec, const SettingUse& use = {}) {
    if (!use.of_body || with_body_) names.emplace_back(spec.name);
  }
  void operator()(double, double, const ParamSpec& spec, const SettingUse& = {}) {
    names.emplace_back(spec.name);
  }
  template <typename Config>
  void Group(const Config&, const ParamSpec& spec, const SettingUse& = {}) {
    names.emplace_back(spec.name);
  }

  std::vector<std::string> names;

 private:
  bool with_body_;
};

template <typename Config>
bool RefuseUnknownFields(const Json& json, std::string_view path, bool with_body,
                         KeyErrors& errors) {
  FieldNames known(with_body);
  const Config config;
  Fields(config, known);
  return RefuseUnknownKeys(json, path, known.names, errors);
}

// Reads a struct from its JSON and checks only types, and that an enum has the word. A member with
// an error keeps its default, but a floating-point number becomes NaN, so that it passes no check
// and its consequences are not reported.
class FieldReader {
 public:
  enum class Part { kAll, kShape, kButShape };

  FieldReader(const Json& json, std::string path, KeyErrors& errors, Part part = Part::kAll,
              bool with_body = false)
      : json_(json), path_(std::move(path)), errors_(errors), part_(part), with_body_(with_body) {}

  template <typename T>
  void operator()(T& member, const ParamSpec& spec, const SettingUse& use = {}) {
    if (!IsWanted(spec, use)) return;
    const std::string key = KeyOf(spec);
    if constexpr (std::same_as<T, double>) {
      if (errors_.Take(key, GetDouble(json_, spec.name, path_), member)) return;
      member = std::numeric_limits<double>::quiet_NaN();
    } else if constexpr (std::same_as<T, std::int64_t>) {
      errors_.Take(key, GetInt(json_, spec.name, path_), member);
    } else if constexpr (std::same_as<T, bool>) {
      errors_.Take(key, GetBool(json_, spec.name, path_), member);
    } else if constexpr (NamedEnum<T>) {
      std::string word;
      if (!errors_.Take(key, GetString(json_, spec.name, path_), word)) return;
      std::vector<std::string> choices = ChoicesOf<T>(spec);
      choices.insert(choices.end(), use.choices_imported.begin(), use.choices_imported.end());
      if (Status known = OneOf(key, word, choices); known.ok()) {
        member = *FindEnum<T>(word);
      } else {
        errors_.AddWord(key, std::move(known));
      }
    } else {
      errors_.Take(key, GetString(json_, spec.name, path_), member);
    }
  }
  void operator()(double& first, double& second, const ParamSpec& spec,
                  const SettingUse& use = {}) {
    if (!IsWanted(spec, use)) return;
    const std::string key = KeyOf(spec);
    Json pair;
    if (!errors_.Take(key, GetMember(json_, spec.name, path_), pair)) return;
    if (pair.is_array() && pair.size() == 2 && pair[0].is_number() && pair[1].is_number()) {
      first = pair[0].get<double>();
      second = pair[1].get<double>();
    } else {
      errors_.Add(key, Invalid(Str(key, ": expected a list of two numbers",
                                   pair.is_array() ? Str(", found a list of ", pair.size()) : "")));
    }
  }
  template <typename Config>
  void Group(Config& config, const ParamSpec& spec, const SettingUse& use = {}) {
    if (!IsWanted(spec, use)) return;
    const std::string key = KeyOf(spec);
    Json member;
    if (!errors_.Take(key, GetMember(json_, spec.name, path_), member)) return;
    if (!RefuseUnknownFields<Config>(member, key, with_body_, errors_)) return;
    FieldReader below(member, key, errors_);
    Fields(config, below);
  }

 private:
  std::string KeyOf(const ParamSpec& spec) const { return Str(path_, ".", spec.name); }

  bool IsWanted(const ParamSpec& spec, const SettingUse& use) const {
    if (use.of_body && !with_body_) return false;
    // A missing optional member keeps its default.
    if (!use.in_json && !json_.contains(spec.name)) return false;
    return part_ == Part::kAll || use.shape == (part_ == Part::kShape);
  }

  const Json& json_;
  std::string path_;
  KeyErrors& errors_;
  Part part_;
  bool with_body_;
};

// Checks every range of a struct. Relations between members are checked elsewhere. Unknown words
// among the errors of reading are reported again, so that all errors are in the order of the
// settings.
class FieldChecker {
 public:
  enum class Part { kAll, kShape };

  FieldChecker(std::string path, KeyErrors& errors, Part part = Part::kAll,
               const KeyErrors& read = {})
      : path_(std::move(path)), errors_(errors), part_(part), read_(read) {}

  template <typename T>
  void operator()(const T& member, const ParamSpec& spec, const SettingUse& use = {}) {
    if (use.shape != (part_ == Part::kShape)) return;
    const std::string path = Str(path_, ".", spec.name);
    if constexpr (NamedEnum<T>) {
      for (const KeyError& error : read_.all()) {
        if (error.is_word && error.key == path) Note(error.status, path);
      }
      return;
    }
    if (use.own_check) return;
    if constexpr (std::same_as<T, std::string>) {
      Note(OneOf(path, member, spec.choices), path);
    } else if constexpr (!std::same_as<T, bool> && !NamedEnum<T>) {
      // A zero that stands for another value has no range.
      if (use.where_zero && member == 0) return;
      Note(InRange(path, member, static_cast<T>(spec.min), static_cast<T>(spec.max)), path);
    }
  }
  void operator()(double first, double second, const ParamSpec& spec, const SettingUse& = {}) {
    const std::string path = Str(path_, ".", spec.name);
    Note(InRange(Str(path, "[0]"), first, spec.min, spec.max), path);
    Note(InRange(Str(path, "[1]"), second, spec.min, spec.max), path);
  }
  template <typename Config>
  void Group(const Config& config, const ParamSpec& spec, const SettingUse& use = {}) {
    if (!use.in_json) return;
    FieldChecker below(Str(path_, ".", spec.name), errors_, Part::kAll, read_);
    Fields(config, below);
    wrong_.insert(below.wrong_.begin(), below.wrong_.end());
  }

  // Whether the members at all of these paths are in their ranges.
  bool AreRight(std::initializer_list<std::string_view> paths) const {
    return std::ranges::none_of(paths,
                                [&](std::string_view path) { return wrong_.contains(path); });
  }

 private:
  void Note(Status status, const std::string& path) {
    if (!errors_.Add(path, std::move(status))) wrong_.insert(path);
  }

  std::string path_;
  KeyErrors& errors_;
  Part part_;
  KeyErrors read_;
  std::set<std::string, std::less<>> wrong_;
};

}  // namespace longrun
