// q, k and v of one product: the numbers are those of views, and no way copies where it need not.
#include "model/net/packed_heads.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>

namespace longrun {
namespace {

constexpr std::int64_t kBatch = 2, kLength = 5, kHeads = 3, kHeadDim = 4;
constexpr std::int64_t kChannels = 3 * kHeads * kHeadDim;

at::Tensor Numbers(std::int64_t from) {
  return at::arange(from, from + kBatch * kLength * kChannels, at::kFloat)
      .view({kBatch, kLength, kChannels});
}

// (3, B, H, T, D), by views and a permutation.
at::Tensor ByViews(const at::Tensor& qkv_BTC, bool heads_first) {
  return heads_first
             ? qkv_BTC.view({kBatch, kLength, kHeads, 3, kHeadDim}).permute({3, 0, 2, 1, 4})
             : qkv_BTC.view({kBatch, kLength, 3, kHeads, kHeadDim}).permute({2, 0, 3, 1, 4});
}

// Of three parts gives three tensors, which take gradients that lie as EmptyGradients lays them.
class TwiceFunction : public torch::autograd::Function<TwiceFunction> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& q, const at::Tensor& k,
                                                const at::Tensor& v) {
    context->save_for_backward({q, k, v});
    return {2.0 * q, 2.0 * k, 2.0 * v};
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const std::array<at::Tensor, 3> to = EmptyGradients(saved[0], saved[1], saved[2]);
    for (std::size_t i = 0; i < 3; ++i) to[i].copy_(2.0 * gradients[i]);
    written_at = to[0].storage().data();
    return {to[0], to[1], to[2]};
  }
  static const void* written_at;
};
const void* TwiceFunction::written_at = nullptr;

class PackedHeadsTest : public ::testing::TestWithParam<bool> {};

TEST_P(PackedHeadsTest, PartsAreThoseOfViewsInTheSameMemory) {
  const at::Tensor qkv = Numbers(0);
  const std::array<at::Tensor, 3> parts = UnpackHeads(qkv, kHeads, GetParam());
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(parts[i].equal(ByViews(qkv, GetParam())[static_cast<std::int64_t>(i)]));
    EXPECT_TRUE(parts[i].is_alias_of(qkv));
  }
}

TEST_P(PackedHeadsTest, GradientsThatLieTogetherAreNotCopied) {
  const at::Tensor qkv = Numbers(0).requires_grad_(true);
  const std::array<at::Tensor, 3> parts = UnpackHeads(qkv, kHeads, GetParam());
  const torch::autograd::variable_list twice = TwiceFunction::apply(parts[0], parts[1], parts[2]);
  const at::Tensor weight = ByViews(Numbers(7), GetParam());
  ((twice[0] * weight[0]).sum() + (twice[1] * weight[1]).sum() + (twice[2] * weight[2]).sum())
      .backward();
  EXPECT_TRUE(qkv.grad().equal(2.0 * Numbers(7)));
  EXPECT_EQ(qkv.grad().storage().data(), TwiceFunction::written_at);
}

// Order, type of memory and part: whatever the gradients are, they come to where they belong.
TEST_P(PackedHeadsTest, GradientsThatLieElsewhereAreCopied) {
  const at::Tensor qkv = Numbers(0).requires_grad_(true);
  const std::array<at::Tensor, 3> parts = UnpackHeads(qkv, kHeads, GetParam());
  // Swapped: each is a part of one tensor, but not of its own.
  const torch::autograd::variable_list twice = TwiceFunction::apply(parts[1], parts[0], parts[2]);
  const at::Tensor weight = ByViews(Numbers(7), GetParam());
  const at::Tensor once = parts[0] * weight[0];
  ((twice[1] * weight[0]).sum() + (twice[0] * weight[1]).sum() + (twice[2] * weight[2]).sum() +
   once.sum())
      .backward();
  at::Tensor expected = 2.0 * Numbers(7);
  ByViews(expected, GetParam())[0].add_(weight[0]);
  EXPECT_TRUE(qkv.grad().equal(expected));
}

INSTANTIATE_TEST_SUITE_P(, PackedHeadsTest, ::testing::Bool(), [](const auto& which) {
  return which.param ? "HeadsFirst" : "PartsFirst";
});

TEST(EmptyGradientsTest, GradientsOfOthersLieByRowsOfAllHeads) {
  const at::Tensor q = at::empty({kBatch, kHeads, kLength, kHeadDim});
  for (const at::Tensor& gradient : EmptyGradients(q, at::empty_like(q), at::empty_like(q))) {
    EXPECT_EQ(gradient.sizes(), q.sizes());
    EXPECT_TRUE(gradient.transpose(1, 2).is_contiguous());
  }
  // The same tensor three times must not be written over itself.
  const std::array<at::Tensor, 3> apart = EmptyGradients(q, q, q);
  EXPECT_FALSE(apart[0].is_alias_of(apart[1]));
}

}  // namespace
}  // namespace longrun
