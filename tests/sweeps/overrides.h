// The overrides that a sweep file of the tests asks for in its first lines:
// "# --set train.tokens=1M".
#pragma once

#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/str.h"
#include "sweeps/spec.h"

namespace longrun {

inline Overrides OverridesOf(std::string_view yaml) {
  constexpr std::string_view kMark = "# --set ";
  Overrides overrides;
  for (const std::string& line : Split(yaml, '\n')) {
    if (!line.starts_with(kMark)) break;
    const std::size_t equals = line.find('=');
    overrides.emplace_back(line.substr(kMark.size(), equals - kMark.size()),
                           line.substr(equals + 1));
  }
  return overrides;
}

// The same, and the content of the questions that a preset names: HellaSwag's file is not shipped.
inline Overrides WithQuestions(std::string_view yaml) {
  Overrides overrides = OverridesOf(yaml);
  if (yaml.find("- multiple_choice: {file: data/hellaswag_val.jsonl") != std::string_view::npos) {
    overrides.emplace_back("evaluate[1].multiple_choice.file",
                           Str("sha256:", Sha256Hex("hellaswag_val.jsonl")));
  }
  return overrides;
}

}  // namespace longrun
