#include "client/wire/messages.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace longrun::client {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::string_view kJsonSuffix = "_json";

Json NumberOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// One value of a field; `index` < 0 for a field that is not repeated.
Json ValueToJson(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* r = message.GetReflection();
  const bool repeated = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return repeated ? r->GetRepeatedInt32(message, field, index) : r->GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return repeated ? r->GetRepeatedInt64(message, field, index) : r->GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return repeated ? r->GetRepeatedUInt32(message, field, index) : r->GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return repeated ? r->GetRepeatedUInt64(message, field, index) : r->GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return NumberOrNull(repeated ? r->GetRepeatedDouble(message, field, index)
                                   : r->GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return NumberOrNull(static_cast<double>(repeated ? r->GetRepeatedFloat(message, field, index)
                                                       : r->GetFloat(message, field)));
    case FieldDescriptor::CPPTYPE_BOOL:
      return repeated ? r->GetRepeatedBool(message, field, index) : r->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return repeated ? r->GetRepeatedEnum(message, field, index)->name()
                      : r->GetEnum(message, field)->name();
    case FieldDescriptor::CPPTYPE_STRING:
      return repeated ? r->GetRepeatedString(message, field, index) : r->GetString(message, field);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(repeated ? r->GetRepeatedMessage(message, field, index)
                             : r->GetMessage(message, field));
  }
  return nullptr;
}

// A map field arrives as a list of {key, value} messages.
Json MapToJson(const Message& message, const FieldDescriptor* field) {
  Json object = Json::object();
  const Reflection* r = message.GetReflection();
  for (int i = 0; i < r->FieldSize(message, field); ++i) {
    const Json entry = ToJson(r->GetRepeatedMessage(message, field, i));
    object[entry.at("key").get<std::string>()] = entry.at("value");
  }
  return object;
}

Json FieldToJson(const Message& message, const FieldDescriptor* field) {
  if (field->is_map()) return MapToJson(message, field);
  if (field->has_optional_keyword() && !message.GetReflection()->HasField(message, field)) {
    return nullptr;
  }
  if (!field->is_repeated()) return ValueToJson(message, field, -1);
  Json list = Json::array();
  for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
    list.push_back(ValueToJson(message, field, i));
  }
  return list;
}

// A field and its name in the JSON.
struct NamedField {
  std::string name;
  const FieldDescriptor* field = nullptr;
  bool is_json = false;  // text that contains JSON, and is parsed
};

// The fields of a message type, cached: a message about thousands of runs has few types.
const std::vector<NamedField>& FieldsOf(const Descriptor* descriptor) {
  thread_local std::unordered_map<const Descriptor*, std::vector<NamedField>> all;
  const auto [known, is_new] = all.try_emplace(descriptor);
  std::vector<NamedField>& fields = known->second;
  if (!is_new) return fields;
  for (int i = 0; i < descriptor->field_count(); ++i) {
    std::string name = descriptor->field(i)->name();
    const bool is_json = std::string_view(name).ends_with(kJsonSuffix);
    if (is_json) name.resize(name.size() - kJsonSuffix.size());
    fields.push_back({.name = std::move(name), .field = descriptor->field(i), .is_json = is_json});
  }
  std::ranges::sort(fields, {}, &NamedField::name);
  return fields;
}

}  // namespace

Json JsonIn(const std::string& member) {
  if (member.empty()) return nullptr;
  Result<Json> parsed = ParseJson(member);
  return parsed.ok() ? std::move(parsed).value() : Json(member);
}

Json ToJson(const Message& message) {
  Json object = Json::object();
  auto& members = *object.get_ptr<Json::object_t*>();
  for (const NamedField& one : FieldsOf(message.GetDescriptor())) {
    Json value = FieldToJson(message, one.field);
    if (one.is_json) value = JsonIn(value.get_ref<const std::string&>());
    members.emplace_hint(members.end(), one.name, std::move(value));
  }
  return object;
}

}  // namespace longrun::client
