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
// The parameter on which Extension::piece depends.
constexpr const char* kChunk = "chunk";

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
  if (!ExtensionErrors(extension).empty()) return extension;
  Json name = AsGiven(extension, trained_length);
  const Extension& known = **FindExtension(extension.at("method").get<std::string>());
  if (known.piece == nullptr || !extension.contains(kChunk)) return name;
  if (name.is_string()) name = {{"method", name}};
  name[kChunk] = extension.at(kChunk);
  return name;
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
