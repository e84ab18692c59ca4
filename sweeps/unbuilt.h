// One table of everything that is planned and not built yet: names of the sweep language, which are
// refused as not built instead of as unknown, and other things that documents and messages mention.
// `longrun explain NAME` and the reference page print it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace longrun {

struct Unbuilt {
  std::string what;     // "key", "position method", "evaluation", "value", "verb", "service"
  std::string name;     // as a user writes it: "spec.extend", "pose", "drain"
  std::string path;     // for `explain`: "position.pose"; "" if the name is enough
  std::string meaning;  // what it will be
};

// First keys, then methods, evaluations and values, then things that are not in a sweep file.
const std::vector<Unbuilt>& UnbuiltTable();

// Finds an entry by its path or its name ("position.pose", "pose"); null if there is none.
const Unbuilt* FindUnbuilt(std::string_view name);
bool IsUnbuiltMethod(std::string_view method);
bool IsUnbuiltEvaluation(std::string_view evaluation);
bool IsUnbuiltVerb(std::string_view verb);

}  // namespace longrun
