// A journal record's body as the columns of its rows. Trainers' records are not trusted to
// have the right form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"

namespace longrun::coordinator {

// Members as columns: null and absent members are NULL; a member of another type makes the
// whole body unfit.
class RecordColumns {
 public:
  explicit RecordColumns(const Json& body) : body_(body) { fits_ = body.is_object(); }

  std::optional<std::string> TextOf(const char* key);
  std::optional<double> RealOf(const char* key);
  std::optional<std::int64_t> IntOf(const char* key);
  bool BoolOf(const char* key);
  template <typename T>
  T Must(std::optional<T> value) {
    if (!value) fits_ = false;
    return value.value_or(T{});
  }
  bool fits() const { return fits_; }

 private:
  const Json* Find(const char* key) const;
  template <typename T>
  std::optional<T> Get(const char* key, bool (Json::*is)() const noexcept);

  const Json& body_;
  bool fits_ = true;
};

// The content of a `result` record. The row is made from it, and compared with it.
struct ResultColumns {
  std::string cell;
  std::string metric;
  std::optional<std::int64_t> context_length;
  std::optional<std::string> split, protocol, averaging, variant;
  std::optional<double> depth, value, se, nll_sum;
  std::optional<std::int64_t> n, n_bytes;
  std::string status;
  std::string extra;  // canonical JSON
};
// Nothing if the body does not have the form of a row.
std::optional<ResultColumns> ResultColumnsOf(const Json& body);

}  // namespace longrun::coordinator
