// Reads a JSON object member by member and refuses all other members: content-addressed data must
// not contain more than what is understood.
//
//   JsonFields fields(json, "run");
//   fields.Int("seed", run.seed).String("name", run.name);
//   RETURN_IF_ERROR(fields.Done());
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// The first error is kept, and nothing is read after it. `json` must outlive the reader.
class JsonFields {
 public:
  JsonFields(const Json& json, std::string_view path);

  JsonFields& Int(std::string_view key, std::int64_t& out);
  JsonFields& Double(std::string_view key, double& out);
  JsonFields& Bool(std::string_view key, bool& out);
  JsonFields& String(std::string_view key, std::string& out);
  JsonFields& Member(std::string_view key, Json& out);  // of any type, including null
  // Through T::FromJson.
  template <typename T>
  JsonFields& Object(std::string_view key, T& out) {
    Json member;
    if (!Member(key, member).error_.ok()) return *this;
    Take(key, T::FromJson(member), out);
    return *this;
  }
  // A member that is null gives nullopt.
  template <typename T>
  JsonFields& Optional(std::string_view key, std::optional<T>& out) {
    Json member;
    if (!Member(key, member).error_.ok() || member.is_null()) return *this;
    Take(key, T::FromJson(member), out);
    return *this;
  }

  const Status& status() const { return error_; }  // so far
  // The first error; otherwise an error if there is a member that was not read.
  Status Done();

 private:
  template <typename T, typename Out>
  void Take(std::string_view key, Result<T> value, Out& out) {
    if (value.ok()) {
      out = std::move(value).value();
    } else {
      error_ = std::move(value).status().In(Name(key));
    }
  }
  bool Ask(std::string_view key);  // false after an error
  std::string Name(std::string_view key) const;

  const Json& json_;
  std::string path_;
  std::set<std::string, std::less<>> asked_;
  Status error_;
};

}  // namespace longrun
