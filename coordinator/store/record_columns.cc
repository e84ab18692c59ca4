// See record_columns.h.
#include "coordinator/store/record_columns.h"

namespace longrun::coordinator {

const Json* RecordColumns::Find(const char* key) const {
  if (!body_.is_object()) return nullptr;
  const auto it = body_.find(key);
  return it == body_.end() || it->is_null() ? nullptr : &*it;
}

template <typename T>
std::optional<T> RecordColumns::Get(const char* key, bool (Json::*is)() const noexcept) {
  const Json* member = Find(key);
  if (member == nullptr) return {};
  if (!(member->*is)()) {
    fits_ = false;
    return {};
  }
  return member->get<T>();
}

std::optional<std::string> RecordColumns::TextOf(const char* key) {
  return Get<std::string>(key, &Json::is_string);
}

std::optional<double> RecordColumns::RealOf(const char* key) {
  return Get<double>(key, &Json::is_number);
}

std::optional<std::int64_t> RecordColumns::IntOf(const char* key) {
  const Json* member = Find(key);
  if (member == nullptr) return {};
  const bool is_too_large =
      member->is_number_unsigned() && member->get<std::uint64_t>() > INT64_MAX;
  if (is_too_large || !member->is_number_integer()) {
    fits_ = false;
    return {};
  }
  return member->get<std::int64_t>();
}

bool RecordColumns::BoolOf(const char* key) {
  return Get<bool>(key, &Json::is_boolean).value_or(false);
}

std::optional<ResultColumns> ResultColumnsOf(const Json& body) {
  RecordColumns columns(body);
  ResultColumns out;
  out.cell = columns.Must(columns.TextOf("cell"));
  out.metric = columns.Must(columns.TextOf("metric"));
  out.status = columns.Must(columns.TextOf("status"));
  out.context_length = columns.IntOf("context_length");
  out.split = columns.TextOf("split");
  out.protocol = columns.TextOf("protocol");
  out.averaging = columns.TextOf("averaging");
  out.variant = columns.TextOf("variant");
  out.depth = columns.RealOf("depth");
  out.value = columns.RealOf("value");
  out.se = columns.RealOf("se");
  out.nll_sum = columns.RealOf("nll_sum");
  out.n = columns.IntOf("n");
  out.n_bytes = columns.IntOf("bytes");
  if (!columns.fits()) return std::nullopt;
  const auto extra = body.find("extra");
  out.extra = extra == body.end() ? "{}" : CanonicalJson(*extra);
  return out;
}

}  // namespace longrun::coordinator
