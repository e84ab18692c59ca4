// The back-ends that a program of the conformance suite (conformance_test.cc) tests. Each program
// links one definition of KernelsUnderTest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/attention.h"

namespace longrun::testing {

struct KernelUnderTest {
  AttentionKernel kernel;
  // Computes in double and rounds its results alone.
  bool is_exact = false;
  // Runs on the threads of options.parallel_for, in the mode of options.subnormals.
  bool uses_host_threads = false;
  // Leaves out keys as skip_epsilon says, at least of causal calls of more than 64 queries and more
  // than 512 keys (in the window, too), without sinks, regions or growth.
  bool skips = false;
  // Leaves out keys of all calls of which the contract allows it, and counts its tiles.
  bool counts_tiles = false;
  // Writes the gradients of the terms' numbers in fp32 as well.
  bool writes_fp32_numbers = false;
};

std::vector<KernelUnderTest> KernelsUnderTest();

// For a test's parameter: names as GoogleTest takes them.
std::string TestName(const KernelUnderTest& tested);

}  // namespace longrun::testing
