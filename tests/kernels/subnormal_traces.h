// Whether a kernel met subnormal numbers: what costs an Intel processor a hundred cycles each.
// Counted, where a stopwatch could only guess:
//
//   operands   parts of the kernel's work in which an operation had a subnormal operand, as the
//              processor notes it (DE of MXCSR; with denormals-are-zero it never does); x86 alone
//   results    subnormal numbers among what the kernel wrote
//
// The threads of the kernel keep subnormals, each by its own mode: what flushes them is the kernel.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/subnormals.h"
#include "kernels/attention.h"  // ParallelFor

namespace longrun::testing {

#if defined(__x86_64__)
inline constexpr bool kNotesOperands = true;
inline void ForgetOperands() { _mm_setcsr(_mm_getcsr() & ~0x3fU); }
inline bool HadSubnormalOperand() { return (_mm_getcsr() & 0x2U) != 0; }
#else
inline constexpr bool kNotesOperands = false;
inline void ForgetOperands() {}
inline bool HadSubnormalOperand() { return false; }
#endif

class SubnormalTraces {
 public:
  // The calling thread's part of the work.
  template <typename Work>
  void Watch(const Work& work) {
    const ScopedSubnormals mode(Subnormals::kKept);
    ForgetOperands();
    work();
    if (HadSubnormalOperand()) ++n_operands_;
  }
  // `n` threads that keep subnormals, each watched.
  ParallelFor Threads(std::int64_t n) {
    return [this, n](std::int64_t n_item,
                     const std::function<void(std::int64_t, std::int64_t)>& body) {
      const std::int64_t part = (n_item + n - 1) / n;
      std::vector<std::thread> threads;
      for (std::int64_t begin = 0; begin < n_item; begin += part) {
        threads.emplace_back(
            [=, this, &body] { Watch([&] { body(begin, std::min(n_item, begin + part)); }); });
      }
      for (std::thread& thread : threads) thread.join();
    };
  }
  // Of numbers that an element type of fp32's range holds.
  void CountResults(std::span<const double> results) {
    for (const double x : results) {
      if (x != 0.0 && std::abs(x) < double{std::numeric_limits<float>::min()}) ++n_results_;
    }
  }

  std::int64_t n_operands() const { return n_operands_; }
  std::int64_t n_results() const { return n_results_; }
  std::int64_t n() const { return n_operands_ + n_results_; }

 private:
  std::atomic<std::int64_t> n_operands_ = 0, n_results_ = 0;
};

}  // namespace longrun::testing
