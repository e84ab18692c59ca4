// JSON as events, one for each value, for readers that keep only parts of a text.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace longrun {

// Refuses what ParseJson() refuses, in its words, except for keys that occur twice and for nesting:
// the derived reader knows which containers are open, and calls FailTwice() and FailDeep().
class JsonEvents : public nlohmann::json_sax<Json> {
 public:
  explicit JsonEvents(const JsonLimits& limits) : limits_(limits) {}

  // Finite. `value` is an integer if it was written as one.
  virtual bool Number(Json value) = 0;

  bool number_integer(number_integer_t value) final { return Number(value); }
  bool number_unsigned(number_unsigned_t value) final { return Number(value); }
  bool number_float(number_float_t value, const string_t& text) final;
  bool binary(binary_t&) final { return Fail("binary values are not JSON"); }
  bool parse_error(std::size_t position, const std::string& token,
                   const Json::exception& thrown) final;

  const JsonLimits& limits() const { return limits_; }
  const std::string& error() const { return error_; }

 protected:
  // These return false, which ends the reading.
  bool Fail(std::string message);
  bool FailTwice(const std::string& key);
  bool FailDeep();

 private:
  const JsonLimits limits_;
  std::string error_;
};

// Reads the whole text, or up to its first error.
Status ReadJsonEvents(std::string_view text, JsonEvents& events);

}  // namespace longrun
