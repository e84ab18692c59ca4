// Errors that are told together: what is wrong with a file in several places is mended at once.
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
  // True: it was no error.
  bool Add(Status status) {
    if (status.ok()) return true;
    errors_.push_back(std::move(status));
    return false;
  }
  // Its value goes to `out`, which an error leaves as it is.
  template <typename T>
  bool Take(Result<T> result, T& out) {
    if (!result.ok()) return Add(std::move(result).status());
    out = std::move(result).value();
    return true;
  }

  // True: there were none.
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
