// What the tests of the kernels over rows share: buffers between guard bands, random numbers, the
// error beside the reference, and every way in which this machine can carry out a kernel.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "kernels/elements.h"
#include "kernels/simd.h"
#include "tests/commit_seed.h"

namespace longrun::testing {

template <typename T>
inline constexpr bool kHasTwoBytes = std::is_same_v<T, Bf16> || std::is_same_v<T, Fp16>;
template <typename T>
inline constexpr Scalar kScalarOf = std::is_same_v<T, Bf16>   ? Scalar::kBf16
                                    : std::is_same_v<T, Fp16> ? Scalar::kFp16
                                                              : Scalar::kFp32;

// Normally distributed numbers, rounded to T.
template <typename T>
std::vector<T> Draw(std::int64_t n, std::uint64_t stream, double deviation = 1.0) {
  constexpr double kTwoPi = 6.283185307179586;
  SeededRandom random(Sm64(CommitSeed() ^ stream));
  std::vector<T> x;
  for (std::int64_t i = 0; i < n; ++i) {
    const double u = 1.0 - random.Uniform();
    const double value =
        deviation * std::sqrt(-2.0 * std::log(u)) * std::cos(kTwoPi * random.Uniform());
    if constexpr (std::is_same_v<T, Bf16>) {
      x.push_back(RoundedToBf16(static_cast<float>(value)));
    } else if constexpr (std::is_same_v<T, Fp16>) {
      x.push_back(RoundedToFp16(static_cast<float>(value)));
    } else {
      x.push_back(static_cast<T>(value));
    }
  }
  return x;
}

template <typename T>
std::vector<double> ToDoubles(std::span<const T> x) {
  std::vector<double> y;
  for (const T one : x) {
    if constexpr (kHasTwoBytes<T>) {
      y.push_back(static_cast<double>(ToFloat(one)));
    } else {
      y.push_back(static_cast<double>(one));
    }
  }
  return y;
}
template <typename T>
std::vector<double> ToDoubles(const std::vector<T>& x) {
  return ToDoubles(std::span<const T>(x));
}

// n elements that are NaN, between bands that must stay as they are.
template <typename T>
class Guarded {
 public:
  explicit Guarded(std::int64_t n) : n_(n), all_(static_cast<std::size_t>(n + 2 * kBand), Nan()) {
    for (std::int64_t i = 0; i < kBand; ++i) Band(i) = Band(kBand + n_ + i) = Mark();
  }
  explicit Guarded(const std::vector<T>& values)
      : Guarded(static_cast<std::int64_t>(values.size())) {
    std::copy(values.begin(), values.end(), data());
  }

  T* data() { return all_.data() + kBand; }
  std::span<const T> values() const {
    return std::span<const T>(all_).subspan(static_cast<std::size_t>(kBand),
                                            static_cast<std::size_t>(n_));
  }
  std::vector<double> doubles() const { return ToDoubles(values()); }
  void ExpectBandsWhole() {
    for (std::int64_t i = 0; i < kBand; ++i) {
      ASSERT_TRUE(IsMark(Band(i)) && IsMark(Band(kBand + n_ + i))) << "written beside a buffer";
    }
  }

 private:
  static constexpr std::int64_t kBand = 64;
  static T Nan() {
    if constexpr (kHasTwoBytes<T>)
      return {0x7fc0};  // of bf16 and of fp16
    else
      return std::numeric_limits<T>::quiet_NaN();
  }
  static T Mark() {
    if constexpr (kHasTwoBytes<T>)
      return {0x4242};
    else
      return static_cast<T>(12345.0);
  }
  static bool IsMark(T x) {
    if constexpr (kHasTwoBytes<T>)
      return x.bits == 0x4242;
    else
      return x == Mark();
  }
  T& Band(std::int64_t i) { return all_[static_cast<std::size_t>(i)]; }

  std::int64_t n_ = 0;
  std::vector<T> all_;
};

template <typename T>
bool SameBits(std::span<const T> a, std::span<const T> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}
template <typename T>
bool SameBits(const Guarded<T>& a, const Guarded<T>& b) {
  return SameBits(a.values(), b.values());
}

// |found - expected| over |size|, in the Frobenius norm, and no element by more than that of
// itself, or by 20 times that of an element of mean size: a single wrong one is seen (the rule of
// kernels/README.md). `size` is of the terms that an element is the sum of: rounding goes by them,
// and what is left where they cancel has no relative error of its own.
inline void ExpectClose(std::span<const double> found, std::span<const double> expected,
                        std::span<const double> size, double bound, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  ASSERT_EQ(size.size(), expected.size()) << what;
  if (found.empty()) return;
  double error = 0.0, all = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_TRUE(std::isfinite(found[i])) << what << ": element " << i << " is " << found[i];
    ASSERT_GE(size[i] * (1.0 + 1e-12), std::abs(expected[i])) << what << ": element " << i;
    error += (found[i] - expected[i]) * (found[i] - expected[i]);
    all += size[i] * size[i];
  }
  EXPECT_LE(std::sqrt(error), bound * std::sqrt(all)) << what;
  const double mean_size = std::sqrt(all / static_cast<double>(found.size()));
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_LE(std::abs(found[i] - expected[i]), bound * std::max(size[i], 20.0 * mean_size))
        << what << ": element " << i;
  }
}

// Where nothing cancels.
inline void ExpectClose(std::span<const double> found, std::span<const double> expected,
                        double bound, const std::string& what) {
  std::vector<double> size;
  for (const double one : expected) size.push_back(std::abs(one));
  ExpectClose(found, expected, size, bound, what);
}

// Relative errors beside the fp64 reference on the same rounded inputs: fp32 sums of some hundred
// elements, and the rounding of a result to bf16 (2^-9 at most, 2^-10 in the mean) or to fp16,
// which has three more bits.
inline double Bound(Scalar type) {
  return type == Scalar::kBf16 ? 4e-3 : type == Scalar::kFp16 ? 5e-4 : 2e-6;
}

// Threads that take parts in an order of their own.
inline ParallelFor OnThreads(std::int64_t n_threads) {
  return [n_threads](std::int64_t n, const std::function<void(std::int64_t, std::int64_t)>& body) {
    const std::int64_t part = (n + n_threads - 1) / n_threads;
    std::vector<std::thread> threads;
    for (std::int64_t begin = (n - 1) / part * part; begin >= 0; begin -= part) {
      threads.emplace_back([=, &body] { body(begin, std::min(n, begin + part)); });
    }
    for (std::thread& thread : threads) thread.join();
  };
}

// A test over every instruction set that this machine runs.
class SimdTest : public ::testing::TestWithParam<Simd> {
 protected:
  SimdTest() : trace_(__FILE__, __LINE__, "seed " + std::to_string(CommitSeed())) {}
  KernelOptions options() const { return {.simd = GetParam()}; }
  KernelOptions options(std::int64_t n_threads) const {
    return {.simd = GetParam(), .parallel_for = OnThreads(n_threads)};
  }

 private:
  ::testing::ScopedTrace trace_;
};

inline std::string SimdTestName(const ::testing::TestParamInfo<Simd>& info) {
  return std::string(SimdName(info.param));
}

#define LONGRUN_FOR_EVERY_SIMD(Test)                                                            \
  INSTANTIATE_TEST_SUITE_P(Every, Test,                                                         \
                           ::testing::ValuesIn(RunnableSimds().begin(), RunnableSimds().end()), \
                           ::longrun::testing::SimdTestName)

}  // namespace longrun::testing
