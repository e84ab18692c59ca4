// Rotary tables and the rotation of one row (Su et al. 2021, arXiv:2104.09864, section 3.4.2).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention_terms.h"

namespace longrun {

// cos and sin of p * frequency[c], (n_positions, R/2). The angle is computed in double: the fp32
// product p * frequency is off by 7e-3 rad at p = 131072.
struct RotationTableData {
  std::vector<double> cos, sin;

  RotationTable View(RotationTable::Layout layout, std::int64_t n_rotary) const {
    return {.cos = cos, .sin = sin, .n_rotary = n_rotary, .layout = layout};
  }
};
RotationTableData MakeRotationTable(std::span<const double> frequency, std::int64_t n_positions);

// Rotates a row of D channels in place to `position`, or back with `inverse` (the transpose, which
// is also the backward pass).
void RotateRow(const RotationTable& table, std::int64_t position, bool inverse,
               std::span<double> row);

}  // namespace longrun
