// The kernels that a program of the tests of kernels/norm.h, activation.h, cross_entropy.h and
// key_bias.h tests: those of the CPU for each instruction set, those of kernels/cuda on the host,
// or on a GPU. Each program links one definition of RowKernelsUnderTest.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/activation.h"
#include "kernels/cross_entropy.h"
#include "kernels/cuda_rows.h"
#include "kernels/key_bias.h"
#include "kernels/norm.h"
#include "tests/commit_seed.h"

namespace longrun::testing {

class RowKernels {
 public:
  RowKernels() = default;
  RowKernels(const RowKernels&) = delete;
  RowKernels& operator=(const RowKernels&) = delete;
  virtual ~RowKernels() = default;

  virtual std::string name() const = 0;
  // With this many threads, if they run on a CPU. Every call sees other blocks and threads first
  // where their order is not fixed.
  virtual void Run(const NormForwardCall& call, int n_threads) const = 0;
  virtual void Run(const NormBackwardCall& call, int n_threads) const = 0;
  virtual void Run(const ActivationForwardCall& call, int n_threads) const = 0;
  virtual void Run(const ActivationBackwardCall& call, int n_threads) const = 0;
  virtual void Run(const GatedForwardCall& call, int n_threads) const = 0;
  virtual void Run(const GatedBackwardCall& call, int n_threads) const = 0;
  virtual void Run(const CrossEntropyCall& call, int n_threads) const = 0;
  virtual void Run(const KeyBiasForwardCall& call, int n_threads) const = 0;
  virtual void Run(const KeyBiasBackwardCall& call, int n_threads) const = 0;
  // The CPU has no kernels with these two calls.
  virtual void Run(const ColumnSumCall& call) const = 0;
  virtual void Run(const CudaAdamWCall& call) const = 0;
};

// They live as long as the program.
std::vector<const RowKernels*> RowKernelsUnderTest();

class RowKernelsTest : public ::testing::TestWithParam<const RowKernels*> {
 protected:
  RowKernelsTest() : trace_(__FILE__, __LINE__, "seed " + std::to_string(CommitSeed())) {}

  static void NormForward(const NormForwardCall& call, int n_threads = 1) {
    GetParam()->Run(call, n_threads);
  }
  static void NormBackward(const NormBackwardCall& call, int n_threads = 1) {
    GetParam()->Run(call, n_threads);
  }
  static void ActivationForward(const ActivationForwardCall& call, int n_threads = 1) {
    GetParam()->Run(call, n_threads);
  }
  static void ActivationBackward(const ActivationBackwardCall& call, int n_threads = 1) {
    GetParam()->Run(call, n_threads);
  }
  static void GatedForward(const GatedForwardCall& call) { GetParam()->Run(call, 1); }
  static void GatedBackward(const GatedBackwardCall& call) { GetParam()->Run(call, 1); }
  static void CrossEntropy(const CrossEntropyCall& call, int n_threads = 1) {
    GetParam()->Run(call, n_threads);
  }
  static void KeyBiasForward(const KeyBiasForwardCall& call, int n_threads = 1) {
    GetParam()->Run(call, n_threads);
  }
  static void KeyBiasBackward(const KeyBiasBackwardCall& call) { GetParam()->Run(call, 1); }

 private:
  ::testing::ScopedTrace trace_;
};

// A program may have no kernels on this machine (rows_cuda.cc).
#define LONGRUN_FOR_EVERY_ROW_KERNEL(Test)                                            \
  GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Test);                                \
  INSTANTIATE_TEST_SUITE_P(                                                           \
      Every, Test, ::testing::ValuesIn(::longrun::testing::RowKernelsUnderTest()),    \
      [](const ::testing::TestParamInfo<const ::longrun::testing::RowKernels*>& of) { \
        return of.param->name();                                                      \
      })

}  // namespace longrun::testing
