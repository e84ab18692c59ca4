// Reading config.json: every key is honoured, known to be harmless, or refused by name.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "model/config.h"

namespace longrun {

// Reads members, each with what transformers takes where it is absent. A null is an absent key, but
// where Has and IsNull are asked.
class ConfigReader {
 public:
  explicit ConfigReader(const Json& config) : config_(config) {}

  bool Has(std::string_view key) const { return config_.contains(key) && !config_[key].is_null(); }
  bool IsNull(std::string_view key) const {
    return config_.contains(key) && config_[key].is_null();
  }
  const Json& config() const { return config_; }
  const Json& operator[](std::string_view key) const { return config_[key]; }  // which it Has
  Result<std::int64_t> Int(std::string_view key, std::int64_t absent) const;
  Result<double> Double(std::string_view key, double absent) const;
  Result<bool> Bool(std::string_view key, bool absent) const;
  Result<std::string> String(std::string_view key, std::string_view absent) const;

 private:
  const Json& config_;
};

// Refuses by name every key that is not among `honoured` (those that the architecture reads), not
// among those that every architecture has, and not known to change nothing in a forward pass.
// Refuses what those of all architectures can ask for and is not built (quantization_config, …).
Status CheckConfigKeys(const Json& config, std::span<const std::string_view> honoured);

// The value of `key` as one of ours; transformers has several names for the same functions.
Result<std::string> ReadActivation(const ConfigReader& read, std::string_view key,
                                   std::string_view absent);

// tie_word_embeddings, causal and initializer_range, which all architectures have.
Status ReadCommon(const ConfigReader& read, bool tied_where_absent, ModelConfig& model);

// A key of the file that says what a parameter of rope is: {"base", "rope_theta"}.
struct RopeKey {
  std::string_view param, key;
};

// `rope`, which the file's own keys describe, or the key "position" where there is one:
// kInvalidArgument where that is rope as well and a key contradicts it.
Status ReadPosition(const ConfigReader& read, const Json& rope,
                    std::initializer_list<RopeKey> rope_keys, ModelConfig& model);

// What every architecture writes: tie_word_embeddings, initializer_range, position, causal.
Json CommonConfigJson(const ModelConfig& model, std::string_view class_name);

}  // namespace longrun
