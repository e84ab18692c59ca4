// Reads config.json: every key is used, known to have no effect, or refused by name.
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

// Reads members, with the default of transformers for an absent key. A null counts as absent,
// except in Has and IsNull.
class ConfigReader {
 public:
  explicit ConfigReader(const Json& config) : config_(config) {}

  bool Has(std::string_view key) const { return config_.contains(key) && !config_[key].is_null(); }
  bool IsNull(std::string_view key) const {
    return config_.contains(key) && config_[key].is_null();
  }
  const Json& config() const { return config_; }
  const Json& operator[](std::string_view key) const { return config_[key]; }  // only if Has(key)
  Result<std::int64_t> Int(std::string_view key, std::int64_t absent) const;
  Result<double> Double(std::string_view key, double absent) const;
  Result<bool> Bool(std::string_view key, bool absent) const;
  Result<std::string> String(std::string_view key, std::string_view absent) const;

 private:
  const Json& config_;
};

// Refuses every key by name, except those in `honoured` (which the architecture reads), those that
// all architectures have, and those known to change nothing in a forward pass.
// Also refuses features of the common keys that are not implemented (quantization_config, …).
Status CheckConfigKeys(const Json& config, std::span<const std::string_view> honoured);

// The value of `key` under our name; transformers has several names for the same function.
Result<MlpActivation> ReadActivation(const ConfigReader& read, std::string_view key,
                                     MlpActivation absent);

// tie_word_embeddings, causal and initializer_range, which all architectures have.
Status ReadCommon(const ConfigReader& read, bool tied_where_absent, ModelConfig& model);

// The key of the file for a parameter of rope: {"base", "rope_theta"}.
struct RopeKey {
  std::string_view param, key;
};

// Sets the position to the key "position" if present, else to `rope`, which the file's own keys
// describe. kInvalidArgument if "position" is also rope and contradicts one of the file's keys.
Status ReadPosition(const ConfigReader& read, const Json& rope,
                    std::initializer_list<RopeKey> rope_keys, ModelConfig& model);

// The keys that every architecture writes: architectures, model_type, vocab_size,
// tie_word_embeddings, initializer_range, position, causal, and n_positions for a position table.
Json CommonConfigJson(const ModelConfig& model, std::string_view class_name);

}  // namespace longrun
