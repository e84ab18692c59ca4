// Reads member by member; the functions of base/json.h put the path,
// the expectation and the value in errors.
#include "sweeps/fields.h"

#include "base/str.h"

namespace longrun {

JsonFields::JsonFields(const Json& json, std::string_view path) : json_(json), path_(path) {
  if (!json_.is_object()) {
    error_ = Status(Code::kInvalidArgument,
                    Str(path_, ": expected an object, found ", json_.type_name()));
  }
}

std::string JsonFields::Name(std::string_view key) const {
  return path_.empty() ? std::string(key) : Str(path_, ".", key);
}

bool JsonFields::Ask(std::string_view key) {
  asked_.emplace(key);
  return error_.ok();
}

JsonFields& JsonFields::Int(std::string_view key, std::int64_t& out) {
  if (!Ask(key)) return *this;
  Result<std::int64_t> value = GetInt(json_, key, path_);
  if (value.ok()) {
    out = *value;
  } else {
    error_ = value.status();
  }
  return *this;
}

JsonFields& JsonFields::Double(std::string_view key, double& out) {
  if (!Ask(key)) return *this;
  Result<double> value = GetDouble(json_, key, path_);
  if (value.ok()) {
    out = *value;
  } else {
    error_ = value.status();
  }
  return *this;
}

JsonFields& JsonFields::Bool(std::string_view key, bool& out) {
  if (!Ask(key)) return *this;
  const Result<bool> value = GetBool(json_, key, path_);
  if (value.ok()) {
    out = *value;
  } else {
    error_ = value.status();
  }
  return *this;
}

JsonFields& JsonFields::String(std::string_view key, std::string& out) {
  if (!Ask(key)) return *this;
  Result<std::string> value = GetString(json_, key, path_);
  if (value.ok()) {
    out = std::move(value).value();
  } else {
    error_ = value.status();
  }
  return *this;
}

JsonFields& JsonFields::Member(std::string_view key, Json& out) {
  if (!Ask(key)) return *this;
  Result<Json> value = GetMember(json_, key, path_);
  if (value.ok()) {
    out = std::move(value).value();
  } else {
    error_ = value.status();
  }
  return *this;
}

Status JsonFields::Done() {
  RETURN_IF_ERROR(error_);
  for (const auto& [key, value] : json_.items()) {
    if (!asked_.contains(key)) {
      return Status(Code::kInvalidArgument, Str(Name(key), ": unknown member"));
    }
  }
  return Status();
}

}  // namespace longrun
