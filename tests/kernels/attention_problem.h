// A random call of fused attention with the storage behind its views, and what a kernel made of it,
// for the conformance suite: buffers are poisoned and stand between guards, inputs are rounded to
// their type before the reference sees them.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "kernels/attention.h"
#include "kernels/scalar.h"
#include "tests/kernels/subnormal_traces.h"

namespace longrun::testing {

// The types of a call that every back-end supports.
inline constexpr Scalar kTypes[] = {Scalar::kFp32, Scalar::kBf16, Scalar::kFp16};

double Gaussian(SeededRandom& random);
std::vector<double> Gaussians(SeededRandom& random, std::int64_t n, double scale = 1.0);

struct ProblemShape {
  std::int64_t batch = 2, n_head = 2, n_kv_head = 2;
  std::int64_t n_query = 65, n_key = 65, head_dim = 32;
};

// (B, T, H, D) of one type, rows with a gap behind each, all of it between guards. What no element
// lies on is NaN and must stay so.
class HeadsTensor {
 public:
  HeadsTensor(Scalar scalar, std::int64_t batch, std::int64_t n_row, std::int64_t n_head,
              std::int64_t head_dim, std::int64_t gap = 0);
  void Fill(std::span<const double> dense);  // rounds
  std::vector<double> Read() const;
  HeadsView View() const;
  HeadsBuffer Buffer();
  bool GuardsHold() const;

 private:
  template <typename Visit>
  void ForEach(Visit&& visit) const;
  HeadsBuffer layout_;
  std::vector<std::uint8_t> bytes_;
};

// Dense numbers of one type between guards, poisoned like a HeadsTensor.
class NumbersTensor {
 public:
  NumbersTensor(Scalar scalar, std::size_t n);
  void Fill(std::span<const double> numbers);  // rounds
  std::vector<double> Read() const;
  NumbersView View() const;
  NumbersBuffer Buffer();
  bool GuardsHold() const;

 private:
  HeadsTensor storage_;
};

struct Problem {
  Problem(const ProblemShape& the_shape, Scalar the_scalar, SeededRandom& random,
          double magnitude = 1.0);

  // Terms with random numbers.
  void AddKeyBias(SeededRandom& random, bool two_sided = false, double drift = -0.3);
  void AddSlopes();
  void AddDistanceTable(SeededRandom& random, std::int64_t n_distance, std::int64_t n_ahead);
  void AddPiecewise(SeededRandom& random, int n_knot = 4);
  // `spare` times as many rows as positions need.
  void AddRotation(bool half, std::int64_t n_rotary, bool grows = false, std::int64_t spare = 1);
  // Random rows for each sequence (after AddRotation).
  void AddRotationRows(SeededRandom& random);
  // Of random rows (after AddRotation); the second of three shares the first's keys. Begins are
  // random too, not only where methods have them.
  void AddRegions(SeededRandom& random, std::size_t n_region, bool blended = false);
  void SetDocuments(std::vector<std::int32_t> cu_seqlens);
  // Makes one element in ten of q, k, v and o's gradient subnormal.
  void AddSubnormals(SeededRandom& random);
  std::string Name() const;

  ProblemShape shape;
  Scalar scalar;
  Scalar o_scalar;  // backward is given o rounded to this; fp32 beside bf16: forward writes it so
  Scalar lse_scalar = Scalar::kFp64, gradient_scalar = Scalar::kFp64;  // gradients of numbers
  std::int64_t gap = 0;
  std::vector<double> q, k, v, o_gradient;  // (B, T, H, D), rounded to `scalar`
  AttentionTerms terms;
  std::vector<double> key_bias, slopes, table, psi, row_factor, knots, slope, intercept;
  std::vector<double> cos, sin, growth;
  std::vector<std::int32_t> rotation_rows;
  std::vector<std::vector<std::int32_t>> region_numbers;
  std::vector<std::vector<double>> blended_weights;
  std::vector<Region> regions;
  std::vector<std::int32_t> documents;
};

struct Outcome {
  std::vector<double> o, lse, dq, dk, dv;
  std::vector<double> d_key_bias, d_distance_table, d_slope, d_intercept, d_psi, d_row_factor;
  std::vector<std::int32_t> first_key;
  std::int64_t n_tiles = 0;
  bool guards_hold = true;
};

// Forward and, where there are no regions, backward. Stops the test program where the kernel
// refuses. `traces` watches the two calls, and what they write in the problem's type.
Outcome RunKernel(const AttentionKernel& kernel, const Problem& problem,
                  const AttentionKernelOptions& options = {}, SubnormalTraces* traces = nullptr);
// The same with the keys divided at `cuts` (ascending), one call for each part. Their o is in fp32
// beside bf16; the merged o and lse are the outcome's, and what each part's backward is given.
Outcome RunParts(const AttentionKernel& kernel, const Problem& problem,
                 std::span<const std::int64_t> cuts);
// The reference in fp64, on the numbers as they were rounded; among them, backward, the o of the
// type: where gradients nearly cancel (a row of two keys) its rounding is all that would be left.
Outcome RunReference(const Problem& problem);
// Of the same: what its gradients are sums of (kernels/reference/attention.h, GradientSums).
Outcome RunMagnitudes(const Problem& problem);

// ||found - expected|| / ||expected||; 0 for equal ones; where all that is expected is 0, beside
// numbers of order 1. Infinite where a number is NaN, or infinite
// other than expected.
double RelativeError(std::span<const double> found, std::span<const double> expected);
// ||found - expected|| / ||size||, NaN and infinity as there.
double ErrorBeside(std::span<const double> found, std::span<const double> expected,
                   std::span<const double> size);
// The largest error beside the largest number.
double RelativeMaxError(std::span<const double> found, std::span<const double> expected);

// Runs parts of a loop on `n` threads, in no order.
ParallelFor Threads(int n);

}  // namespace longrun::testing
