// Inputs with known outputs, and the digest they are compared by (their numbers come
// from an fp64 numpy script).
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/reference/attention.h"

namespace longrun::testing {

// G(n, a, b): the element with flat index i is sin(a i + b).
inline std::vector<double> Wave(std::int64_t n_elements, double a, double b) {
  std::vector<double> x;
  for (std::int64_t i = 0; i < n_elements; ++i)
    x.push_back(std::sin(a * static_cast<double>(i) + b));
  return x;
}

// D(x): the sum of x[i] cos(0.05 i + 0.3).
inline double DigestWeight(std::size_t i) { return std::cos(0.05 * static_cast<double>(i) + 0.3); }
inline double Digest(std::span<const double> x) {
  double sum = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * DigestWeight(i);
  return sum;
}
// dD/dx.
inline std::vector<double> DigestGradient(std::size_t n_elements) {
  std::vector<double> weights;
  for (std::size_t i = 0; i < n_elements; ++i) weights.push_back(DigestWeight(i));
  return weights;
}

// FX(H, T, d): one sequence, queries at every key.
struct Fixture {
  Fixture(std::int64_t n_head, std::int64_t length, std::int64_t head_dim)
      : size{.n_head = n_head,
             .n_kv_head = n_head,
             .n_query = length,
             .n_key = length,
             .head_dim = head_dim},
        q(Wave(n_head * length * head_dim, 0.37, 0.11)),
        k(Wave(n_head * length * head_dim, 0.53, 0.29)),
        v(Wave(n_head * length * head_dim, 0.71, 0.05)) {}

  AttentionInput Input() const { return {.size = size, .q = q, .k = k, .v = v}; }

  AttentionSize size;
  std::vector<double> q, k, v;
};

// The bound of the listed vectors, unless a test has a reason for another.
inline void ExpectNear(std::span<const double> found, std::span<const double> expected,
                       double bound = 1e-6) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], bound) << "element " << i;
  }
}

// (f(x + h) - f(x - h)) / 2h in each element of x, one after the other.
template <typename Function>
std::vector<double> CentralDifferences(std::vector<double>& x, Function&& f) {
  constexpr double kStep = 1e-5;  // error: about kStep^2 of the third derivative, and 1e-16 / kStep
  std::vector<double> gradient;
  for (double& element : x) {
    const double kept = element;
    element = kept + kStep;
    const double above = f();
    element = kept - kStep;
    const double below = f();
    element = kept;
    gradient.push_back((above - below) / (2 * kStep));
  }
  return gradient;
}

}  // namespace longrun::testing
