// Collects errors to report them together, so that a user can correct all faults of a file at once.
//
//   ErrorList errors;
//   errors.Take(GetInt(json, "n_layer", "model"), config.n_layer);
//   errors.Add(CheckHeads(config));
//   RETURN_IF_ERROR(errors.First());
#pragma once

#include <utility>
#include <vector>

#include "base/status.h"

namespace longrun {

class ErrorList {
 public:
  // Returns true if `status` is ok.
  bool Add(Status status) {
    if (status.ok()) return true;
    errors_.push_back(std::move(status));
    return false;
  }
  // Stores the value in `out`. An error leaves `out` unchanged and returns false.
  template <typename T>
  bool Take(Result<T> result, T& out) {
    if (!result.ok()) return Add(std::move(result).status());
    out = std::move(result).value();
    return true;
  }

  // Returns true if `others` is empty.
  bool AddAll(const ErrorList& others) {
    errors_.insert(errors_.end(), others.errors_.begin(), others.errors_.end());
    return others.empty();
  }

  bool empty() const { return errors_.empty(); }
  Status First() const { return errors_.empty() ? Status() : errors_.front(); }
  const std::vector<Status>& all() const { return errors_; }

 private:
  std::vector<Status> errors_;
};

}  // namespace longrun
