// The values of a stored row by column name, whatever their stored types are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace longrun::coordinator {

class RowValues {
 public:
  virtual ~RowValues() = default;
  virtual std::string Text(
      std::string_view column) const = 0;  // "" for NULL and for an unknown column
  virtual std::optional<std::int64_t> Int(std::string_view column) const = 0;  // else nullopt
  virtual std::optional<double> Real(std::string_view column) const = 0;
  virtual bool IsNull(std::string_view column) const = 0;
};

}  // namespace longrun::coordinator
