// The conformance suite on a GPU, and what only a GPU can show: that the same call gives the same
// bits each time, in whatever order its blocks run.
//
// Without a GPU there is nothing to test; with LONGRUN_GPU_TESTS=1 (set by tools/gpu.sh) that is a
// failure, so that a GPU run cannot pass by skipping.
#include <gtest/gtest.h>

#include "base/process.h"
#include "kernels/cuda_attention.h"
#include "tests/commit_seed.h"
#include "tests/kernels/attention_problem.h"
#include "tests/kernels/cuda_device.h"
#include "tests/kernels/cuda_memory.h"
#include "tests/kernels/kernels_under_test.h"

namespace longrun {
namespace testing {

std::vector<KernelUnderTest> KernelsUnderTest() {
  const Result<AttentionKernel> kernel = KernelOnGpu();
  if (!kernel) return {};
  return {{.kernel = *kernel, .skips = true, .writes_fp32_numbers = true}};
}

}  // namespace testing

namespace {

using testing::Outcome;
using testing::Problem;

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kernel_) return;
    if (GetEnv("LONGRUN_GPU_TESTS") == "1") {
      FAIL() << "LONGRUN_GPU_TESTS=1 asks for a GPU: " << kernel_.status().message();
    }
    GTEST_SKIP() << kernel_.status().message();
  }
  void ExpectTheSameBits(const Problem& problem) const {
    const Outcome first = RunKernel(*kernel_, problem);
    for (int repetition = 1; repetition < 20; ++repetition) {
      const Outcome again = RunKernel(*kernel_, problem);
      EXPECT_EQ(again.o, first.o);
      EXPECT_EQ(again.lse, first.lse);
      EXPECT_EQ(again.dq, first.dq);
      EXPECT_EQ(again.dk, first.dk);
      EXPECT_EQ(again.dv, first.dv);
      EXPECT_EQ(again.d_key_bias, first.d_key_bias);
      EXPECT_EQ(again.d_distance_table, first.d_distance_table);
      EXPECT_EQ(again.d_slope, first.d_slope);
      EXPECT_EQ(again.d_intercept, first.d_intercept);
      EXPECT_EQ(again.d_psi, first.d_psi);
      EXPECT_EQ(again.d_row_factor, first.d_row_factor);
    }
  }
  const Result<AttentionKernel> kernel_ = testing::KernelOnGpu();
  SeededRandom random_{testing::CommitSeed()};
};

// For filters (tools/gpu_tests.py): without a GPU, the suite of the back-ends has no test at all.
TEST_F(GpuTest, ThereIsAGpu) { EXPECT_TRUE(kernel_.ok()); }

TEST_F(GpuTest, TheSameCallGivesTheSameBitsEachTime) {
  for (const Scalar scalar : testing::kTypes) {
    for (const std::int64_t head_dim : {64, 128, 256}) {
      const testing::ProblemShape shape = {
          .n_head = 4, .n_kv_head = 2, .n_query = 350, .n_key = 400, .head_dim = head_dim};
      Problem few(shape, scalar, random_);  // which bf16 has other kernels for
      few.terms.visibility.q_offset = 50;
      few.AddKeyBias(random_);
      ExpectTheSameBits(few);
      Problem problem(shape, scalar, random_);
      problem.terms.visibility = {.q_offset = 50, .window = 300, .n_sink = 5};
      problem.AddKeyBias(random_);
      problem.AddDistanceTable(random_, 60, 0);
      problem.AddPiecewise(random_);
      problem.AddRotation(true, 16);
      problem.terms.dropout = Dropout{.probability = 0.1, .seed = 5};
      ExpectTheSameBits(problem);
    }
  }
}

// So a benchmark measures a kernel that computes what it says.
TEST_F(GpuTest, BackwardThatAddsInAnyOrderAgreesWithTheOthers) {
  const Result<AttentionKernel> unordered = testing::UnorderedKernelOnGpu();
  ASSERT_TRUE(unordered.ok()) << unordered.status().message();
  for (const std::int64_t head_dim : {64, 128}) {
    for (const bool has_key_bias : {false, true}) {
      Problem problem(
          {.n_head = 4, .n_kv_head = 2, .n_query = 350, .n_key = 400, .head_dim = head_dim},
          Scalar::kBf16, random_);
      problem.terms.visibility.q_offset = 50;
      if (has_key_bias) problem.AddKeyBias(random_);
      const Outcome expected = RunKernel(*kernel_, problem);
      const Outcome found = RunKernel(*unordered, problem);
      EXPECT_TRUE(found.guards_hold);
      EXPECT_EQ(found.dk, expected.dk);
      EXPECT_EQ(found.dv, expected.dv);
      EXPECT_EQ(found.d_key_bias, expected.d_key_bias);
      EXPECT_LT(testing::RelativeError(found.dq, expected.dq), 2e-3);
    }
  }
}

}  // namespace
}  // namespace longrun
