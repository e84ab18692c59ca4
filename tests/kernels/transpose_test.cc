// A transposed copy: every element is where it belongs, and nothing beside.
#include "kernels/transpose.h"

#include <gtest/gtest.h>

#include "tests/kernels/rows.h"

namespace longrun {
namespace {

using testing::Draw;
using testing::Guarded;

class TransposeTest : public testing::SimdTest {};

TEST_P(TransposeTest, EveryElementIsChangedOver) {
  for (const std::int64_t n_row : {0, 1, 15, 16, 17, 33, 64, 100}) {
    for (const std::int64_t n_column : {0, 1, 3, 4, 7, 24, 65}) {
      for (const std::int64_t beside : {0, 5}) {
        const std::int64_t step = n_column + beside;
        const std::vector<float> from = Draw<float>(n_row * step, 1);
        Guarded<float> to(n_row * n_column);
        Transpose({.n_row = n_row,
                   .n_column = n_column,
                   .from = from.data(),
                   .from_step = step,
                   .to = to.data()},
                  options(3));
        for (std::int64_t r = 0; r < n_row; ++r) {
          for (std::int64_t c = 0; c < n_column; ++c) {
            ASSERT_EQ(to.data()[c * n_row + r], from[static_cast<std::size_t>(r * step + c)])
                << n_row << " x " << n_column << ", row " << r << ", column " << c;
          }
        }
        to.ExpectBandsWhole();
      }
    }
  }
}

TEST_P(TransposeTest, WhatHasNoMemoryIsABug) {
  EXPECT_DEATH(Transpose({.n_row = 2, .n_column = 3, .from_step = 3}, options()), "from");
  const std::vector<float> from(6);
  std::vector<float> to(6);
  EXPECT_DEATH(
      Transpose({.n_row = 2, .n_column = 3, .from = from.data(), .from_step = 2, .to = to.data()},
                options()),
      "from_step");
}

INSTANTIATE_TEST_SUITE_P(, TransposeTest,
                         ::testing::ValuesIn(RunnableSimds().begin(), RunnableSimds().end()),
                         testing::SimdTestName);

}  // namespace
}  // namespace longrun
