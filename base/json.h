// JSON that enters or leaves longrun: parsed with limits, and written canonically. Canonical text
// is UTF-8 with sorted keys, no insignificant space, numbers in shortest round-trip form, and no
// NaN or infinity. The same bytes are hashed, stored, sent and given to the trainer.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

using Json = nlohmann::json;  // objects are std::map: keys are sorted

struct JsonLimits {
  std::size_t bytes_max = 64u << 20;
  int depth_max = 64;
};

// Refuses duplicate keys, text after the value, invalid UTF-8, numbers that overflow, and input
// beyond the limits.
Result<Json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// Canonical bytes. A NaN or infinity inside is a bug (LR_CHECK): the caller must write null
// instead. A double with an integral value is written like an integer (2.0 and 2 are one number),
// so that a value keeps its hash through any reader.
std::string CanonicalJson(const Json& json);

// Typed access to a member, with an error that names the path: `train.lr: expected a number, found
// "fast"`. `path` is the name of `object` for messages ("" for the root).
Result<std::int64_t> GetInt(const Json& object, std::string_view key, std::string_view path = "");
Result<double> GetDouble(const Json& object, std::string_view key, std::string_view path = "");
Result<bool> GetBool(const Json& object, std::string_view key, std::string_view path = "");
Result<std::string> GetString(const Json& object, std::string_view key, std::string_view path = "");
// The member itself, of any type; kNotFound when absent.
Result<Json> GetMember(const Json& object, std::string_view key, std::string_view path = "");

}  // namespace longrun
