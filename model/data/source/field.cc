#include "model/data/source/field.h"

#include <utility>

#include "base/str.h"

namespace longrun {

Result<std::vector<std::string>> ParseFieldPath(std::string_view option, std::string_view text) {
  std::vector<std::string> path = Split(text, '.');
  for (const std::string& name : path) {
    if (name.empty()) {
      return Status(
          Code::kInvalidArgument,
          Str(option, ": expected names joined by dots, like meta.config, found \"", text, "\""));
    }
  }
  return path;
}

Result<FieldFilter> ParseFieldFilter(std::string_view text) {
  const std::size_t at = text.find("==");
  if (at == std::string_view::npos) {
    return Status(
        Code::kInvalidArgument,
        Str("filter: expected PATH==VALUE, like meta.config==arxiv, found \"", text, "\""));
  }
  FieldFilter filter;
  ASSIGN_OR_RETURN(filter.path, ParseFieldPath("filter", Trim(text.substr(0, at))));
  filter.value = std::string(Trim(text.substr(at + 2)));
  return filter;
}

Status CheckFieldOptions(const SourceOptions& options) {
  if (options.field) RETURN_IF_ERROR(ParseFieldPath("field", *options.field).status());
  if (options.filter) RETURN_IF_ERROR(ParseFieldFilter(*options.filter).status());
  return Status();
}

const Json* FindField(const Json& object, const std::vector<std::string>& path, Json& parsed) {
  const Json* at = &object;
  for (const std::string& name : path) {
    if (at->is_string()) {
      Result<Json> inner = ParseJson(at->get_ref<const std::string&>());
      if (!inner.ok()) return nullptr;
      Json held = std::move(inner).value();  // `at` may point into `parsed`
      parsed = std::move(held);
      at = &parsed;
    }
    if (!at->is_object()) return nullptr;
    const auto member = at->find(name);
    if (member == at->end()) return nullptr;
    at = &*member;
  }
  return at;
}

bool Matches(const FieldFilter& filter, const Json& object) {
  Json parsed;
  const Json* const found = FindField(object, filter.path, parsed);
  if (found == nullptr || found->is_object() || found->is_array()) return false;
  return (found->is_string() ? found->get_ref<const std::string&>() : CanonicalJson(*found)) ==
         filter.value;
}

}  // namespace longrun
