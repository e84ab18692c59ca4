// Carries a method's symbolic terms out on the reference kernels, in double. What model/net does
// with tensors, for one sequence.
#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "kernels/reference/attention.h"
#include "kernels/reference/key_bias.h"
#include "kernels/rotation.h"
#include "model/position/method.h"
#include "tests/kernels/fixture.h"

namespace longrun::testing {

// The terms of a method as a user writes it; the test fails when they are refused.
inline TermSpec TermsOf(const Json& given, const AttentionShape& shape) {
  const auto position = ResolvePosition(given);
  EXPECT_TRUE(position.ok()) << position.status().message();
  const auto method = FindPositionMethod(position->method);
  const auto terms = (*method)->terms(position->params, shape);
  EXPECT_TRUE(terms.ok()) << terms.status("position").message();
  return *terms;
}

// The message of the refusal.
inline std::string RefusalOf(const Json& given, const AttentionShape& shape = {
                                                    .n_head = 4, .head_dim = 8, .d_model = 32}) {
  const auto position = ResolvePosition(given);
  if (!position.ok()) return position.status().message();
  return (*FindPositionMethod(position->method).value())
      .terms(position->params, shape)
      .status("position")
      .message();
}

// AttentionTerms with the numbers that they view.
class CarriedOut {
 public:
  // `gates` (T, H): x W^T + beta, for a method with a gate.
  CarriedOut(const TermSpec& spec, bool causal, std::int64_t n_head, std::int64_t length,
             std::span<const double> gates = {})
      : table_(spec.rotation ? MakeRotationTable(spec.rotation->frequency, length)
                             : RotationTableData{}) {
    terms_.scale = spec.scale;
    terms_.visibility.causal = causal;
    if (spec.rotation) {
      terms_.rotation = table_.View(spec.rotation->layout == Rotation::Layout::kHalf
                                        ? RotationTable::Layout::kHalf
                                        : RotationTable::Layout::kInterleaved,
                                    2 * static_cast<std::int64_t>(spec.rotation->frequency.size()));
    }
    if (spec.key_bias_slope) {
      const KeyBiasSlope& slope = *spec.key_bias_slope;
      for (const double m : slope.slope) {
        for (std::int64_t j = 0; j < length; ++j) {
          // Two-sided, -m |i - j| is r_i - r_j to the left: r falls.
          bias_.push_back((slope.two_sided ? -m : m) * static_cast<double>(j));
        }
      }
      terms_.key_bias = KeyBias{.values = bias_, .two_sided = slope.two_sided};
    }
    if (spec.key_bias_gate) {
      const bool two_sided = spec.key_bias_gate->two_sided;
      bias_ = ReferenceKeyBiasForward({.n_head = n_head, .n_key = length}, gates);
      for (double& b : bias_) b = two_sided ? b : -b;
      terms_.key_bias = KeyBias{.values = bias_, .two_sided = two_sided};
    }
  }
  CarriedOut(const CarriedOut&) = delete;
  CarriedOut& operator=(const CarriedOut&) = delete;

  const AttentionTerms& terms() const { return terms_; }

 private:
  RotationTableData table_;
  std::vector<double> bias_;
  AttentionTerms terms_;
};

// D(o) and o[1][5][0..4) of FX(n_head, 6, 8).
struct Digested {
  double digest = 0.0;
  std::vector<double> last;
};
inline Digested AttendFixture(const TermSpec& spec, bool causal, std::int64_t n_head = 2,
                              std::span<const double> gates = {}) {
  const Fixture fixture(n_head, 6, 8);
  const CarriedOut carried(spec, causal, n_head, 6, gates);
  const auto out = ReferenceAttentionForward(fixture.Input(), carried.terms());
  return {.digest = Digest(out.o), .last = {out.o.begin() + 88, out.o.begin() + 92}};
}

}  // namespace longrun::testing
