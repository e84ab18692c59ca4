#include "kernels/rotation.h"

#include <cmath>

#include "base/check.h"

namespace longrun {

RotationTableData MakeRotationTable(std::span<const double> frequency, std::int64_t n_positions) {
  LR_CHECK(n_positions >= 0);
  RotationTableData table;
  table.cos.reserve(frequency.size() * static_cast<std::size_t>(n_positions));
  table.sin.reserve(frequency.size() * static_cast<std::size_t>(n_positions));
  for (std::int64_t p = 0; p < n_positions; ++p) {
    for (const double f : frequency) {
      const double angle = static_cast<double>(p) * f;
      table.cos.push_back(std::cos(angle));
      table.sin.push_back(std::sin(angle));
    }
  }
  return table;
}

void RotateRow(const RotationTable& table, std::int64_t position, bool inverse,
               std::span<double> row) {
  LR_CHECK(position >= 0);
  LR_CHECK(table.n_rotary % 2 == 0);
  const auto n_pairs = static_cast<std::size_t>(table.n_rotary / 2);
  const std::size_t begin = static_cast<std::size_t>(position) * n_pairs;
  LR_CHECK(2 * n_pairs <= row.size());
  LR_CHECK(begin + n_pairs <= table.cos.size() && table.sin.size() == table.cos.size());

  const bool half = table.layout == RotationTable::Layout::kHalf;
  for (std::size_t c = 0; c < n_pairs; ++c) {
    double& x = row[half ? c : 2 * c];
    double& y = row[half ? c + n_pairs : 2 * c + 1];
    const double cos = table.cos[begin + c];
    const double sin = inverse ? -table.sin[begin + c] : table.sin[begin + c];
    const double x_turned = x * cos - y * sin;
    y = y * cos + x * sin;
    x = x_turned;
  }
}

}  // namespace longrun
