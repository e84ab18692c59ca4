#include "sweeps/extended.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "model/extension/extension.h"

namespace longrun {
namespace {

constexpr const char* kExtension = "extension";
constexpr const char* kNone = "none";

bool HasParams(const Json& evaluation) {
  return evaluation.is_object() && !evaluation.empty() && evaluation.begin()->is_object();
}

}  // namespace

Json ExtensionOf(const Json& evaluation) {
  return HasParams(evaluation) ? evaluation.begin()->value(kExtension, Json()) : Json();
}

Json WithExtension(Json evaluation, const Json& extension) {
  if (!extension.is_null()) (*evaluation.begin())[kExtension] = extension;
  return evaluation;
}

Json WithoutExtension(Json evaluation) {
  if (HasParams(evaluation)) evaluation.begin()->erase(kExtension);
  return evaluation;
}

Json ExtensionName(const Json& evaluation, std::int64_t trained_length) {
  return NameOfExtension(ExtensionOf(evaluation), trained_length);
}

Json NameOfExtension(const Json& extension, std::int64_t trained_length) {
  if (extension.is_null()) return kNone;
  // Of another release, it is shown as it stands.
  const bool is_known = ExtensionErrors(extension).empty();
  return is_known ? AsGiven(extension, trained_length) : extension;
}

bool IsExtensionBefore(const Json& a, const Json& b) {
  const auto place = [](const Json& name) {
    std::vector<std::string> names = {kNone};
    for (std::string& method : ExtensionNames()) names.push_back(std::move(method));
    const Json& method = name.is_object() ? name.at("method") : name;
    return std::ranges::find(names, method.get<std::string>()) - names.begin();
  };
  return std::pair(place(a), a) < std::pair(place(b), b);
}

}  // namespace longrun
