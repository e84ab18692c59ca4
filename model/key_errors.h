// Configuration errors that carry their keys. A sweep file, a run's file and config.json each have
// their own name and place for a key. Their readers find these from KeyError::key, and never search
// a message for the key.
//
//   KeyErrors errors;
//   errors.Take("model.n_layer", GetInt(json, "n_layer", "model"), config.n_layer);
//   errors.Add("model.d_model", CheckHeads(config), {"model.n_head"});
//   RETURN_IF_ERROR(errors.First());
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace longrun {

struct KeyError {
  std::string key;                       // "model.d_model", "position.variant", "train.validate"
  Status status;                         // its message begins with the key and ": "
  std::vector<std::string> others = {};  // the other keys that the message names, in full
  bool is_word = false;                  // an unknown word of an enum, found while reading
};

class KeyErrors {
 public:
  // Returns true if `status` is ok; otherwise adds it.
  bool Add(std::string_view key, Status status, std::vector<std::string> others = {}) {
    if (status.ok()) return true;
    errors_.push_back(
        {.key = std::string(key), .status = std::move(status), .others = std::move(others)});
    return false;
  }
  void AddWord(std::string_view key, Status status) {
    errors_.push_back({.key = std::string(key), .status = std::move(status), .is_word = true});
  }
  // Stores the value in `out`. An error leaves `out` unchanged and returns false.
  template <typename T>
  bool Take(std::string_view key, Result<T> result, T& out) {
    if (!result.ok()) return Add(key, std::move(result).status());
    out = std::move(result).value();
    return true;
  }
  // Returns true if `others` is empty.
  bool AddAll(const KeyErrors& others) {
    errors_.insert(errors_.end(), others.errors_.begin(), others.errors_.end());
    return others.empty();
  }

  bool empty() const { return errors_.empty(); }
  Status First() const { return errors_.empty() ? Status() : errors_.front().status; }
  const std::vector<KeyError>& all() const { return errors_; }

 private:
  std::vector<KeyError> errors_;
};

}  // namespace longrun
