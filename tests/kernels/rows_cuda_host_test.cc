// The host's model of a GPU finds errors that are planted in the kernels over rows, so that the
// tests beside this one mean something. And what only the host can compare to the bit.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/cuda/activation-inl.h"
#include "kernels/cuda/cross_entropy-inl.h"
#include "kernels/cuda/key_bias-inl.h"
#include "kernels/cuda/norm-inl.h"
#include "tests/kernels/cuda_host.h"
#include "tests/kernels/row_kernels.h"
#include "tests/kernels/rows.h"

namespace longrun::testing {
namespace {

const char* const kRace =
    "two threads access the same element of shared memory without a barrier between them";

// Barriers that are not there.
struct WithoutBarriers : HostLayer {
  static void Barrier() {}
};
// One barrier in n is not there.
template <int kNth>
struct WithoutABarrier : HostLayer {
  static inline int n_barrier[gpu::kThreads] = {};
  static void Barrier() {
    if (++n_barrier[Thread()] != kNth) HostLayer::Barrier();
  }
};
template <typename Kernel>
std::string ErrorOf(const typename Kernel::Params& p) {
  HostDevice device;
  const char* const error = device.Launch<Kernel>(Kernel::Blocks(p), Kernel::SharedBytes(p), p);
  return error == nullptr ? "" : error;
}

struct Arrays {
  explicit Arrays(int n_channel) : n(n_channel) {}
  int n;
  std::vector<float> x = std::vector<float>(20000, 1.0F);
  std::vector<float> gamma = std::vector<float>(20000, 1.0F);
  std::vector<float> dy = std::vector<float>(20000, 1.0F);
  std::vector<float> y = std::vector<float>(20000);
  std::vector<float> sums = std::vector<float>(20000);
  std::vector<float> mean = std::vector<float>(100), rstd = std::vector<float>(100, 1.0F);
  std::vector<std::int64_t> targets = std::vector<std::int64_t>(100, 7);
  std::vector<double> doubles = std::vector<double>(20000, 1.0);

  gpu::NormForwardParams Forward() {
    gpu::NormForwardParams p;
    p.n_row = 4;
    p.n_channel = n;
    p.scale = 1.0F / static_cast<float>(n);
    p.x = x.data();
    p.gamma = gamma.data();
    p.y = y.data();
    p.mean = mean.data();
    p.rstd = rstd.data();
    return p;
  }
  gpu::NormBackwardParams Backward() {
    gpu::NormBackwardParams p;
    p.n_row = 4;
    p.rows_of_range = 16;
    p.n_channel = n;
    p.scale = 1.0F / static_cast<float>(n);
    p.dy = dy.data();
    p.sum = x.data();
    p.gamma = gamma.data();
    p.mean = mean.data();
    p.rstd = rstd.data();
    p.dx = y.data();
    p.gamma_sums = sums.data();
    p.beta_sums = sums.data() + n;
    return p;
  }
  gpu::CrossEntropyParams Loss() {
    gpu::CrossEntropyParams p;
    p.n_row = 4;
    p.n_vocab = n;
    p.logits = x.data();
    p.targets = targets.data();
    p.nll = mean.data();
    p.d_logits = y.data();
    return p;
  }
  // Of n keys in one range.
  gpu::KeyBiasSums KeyBias() {
    gpu::KeyBiasSums p;
    p.batch = 1;
    p.n_head = 8;
    p.n_key = n;
    p.n_range = 1;
    p.keys_of_range = 256;
    p.a = x.data();
    p.r = doubles.data();
    p.range_sums = doubles.data();
    p.dr = doubles.data();
    p.da = y.data();
    return p;
  }
  gpu::ElementParams Backward(int n_row) {
    gpu::ElementParams p;
    p.n_row = n_row;
    p.rows_of_range = 64;
    p.n_channel = n;
    p.in[0] = x.data();
    p.in[1] = dy.data();
    p.out[0] = y.data();
    p.sums = sums.data();
    return p;
  }
};

TEST(RowsOnHostTest, TheKernelsAsTheyAreHaveNoError) {
  Arrays wide(1032), narrow(40);
  EXPECT_EQ((ErrorOf<gpu::NormForwardKernel<HostLayer, gpu::NoAddend, float, gpu::LongRows>>(
                wide.Forward())),
            "");
  EXPECT_EQ((ErrorOf<gpu::NormBackwardKernel<HostLayer, float, gpu::LongRows>>(wide.Backward())),
            "");
  EXPECT_EQ((ErrorOf<gpu::NormBackwardKernel<HostLayer, float, gpu::ShortRows>>(narrow.Backward())),
            "");
  EXPECT_EQ((ErrorOf<gpu::ElementKernel<HostLayer, float, gpu::ActivateBackward, true>>(
                narrow.Backward(70))),
            "");
  EXPECT_EQ((ErrorOf<gpu::CrossEntropyKernel<HostLayer, float, true>>(wide.Loss())), "");
  Arrays two_tiles(200);
  EXPECT_EQ((ErrorOf<gpu::KeyBiasRangesKernel<HostLayer, true>>(two_tiles.KeyBias())), "");
  EXPECT_EQ((ErrorOf<gpu::KeyBiasKernel<HostLayer, false>>(two_tiles.KeyBias())), "");
  EXPECT_EQ((ErrorOf<gpu::KeyBiasKernel<HostLayer, true>>(two_tiles.KeyBias())), "");
}

#ifdef __SANITIZE_THREAD__  // accesses to global memory are seen
TEST(RowsOnHostTest, ABlockThatReadsWhatAnotherWritesIsFound) {
  Arrays wide(1032);
  gpu::NormForwardParams p = wide.Forward();
  p.n_row = 16;
  p.gamma = wide.y.data();
  EXPECT_EQ((ErrorOf<gpu::NormForwardKernel<HostLayer, gpu::NoAddend, float, gpu::LongRows>>(p)),
            "two blocks access the same element of global memory, and one of them writes it");
}
#endif

TEST(RowsOnHostTest, AForgottenBarrierIsFound) {
  Arrays wide(1032), narrow(40);
  EXPECT_EQ((ErrorOf<gpu::NormForwardKernel<WithoutBarriers, gpu::NoAddend, float, gpu::LongRows>>(
                wide.Forward())),
            kRace);
  EXPECT_EQ(
      (ErrorOf<gpu::NormBackwardKernel<WithoutBarriers, float, gpu::ShortRows>>(narrow.Backward())),
      kRace);
  EXPECT_EQ((ErrorOf<gpu::ElementKernel<WithoutBarriers, float, gpu::ActivateBackward, true>>(
                narrow.Backward(70))),
            kRace);
  EXPECT_EQ((ErrorOf<gpu::CrossEntropyKernel<WithoutABarrier<1>, float, true>>(wide.Loss())),
            kRace);
  gpu::PartialSums sums;
  sums.partial[0] = wide.x.data();
  sums.total[0] = wide.y.data();
  sums.n_part = 30;
  sums.n_channel = 8;
  EXPECT_EQ((ErrorOf<gpu::PartialSumKernel<WithoutBarriers>>(sums)), kRace);
}

static_assert(gpu::KeyBiasTile<HostLayer, false>::kKeys == kKeyBiasBlock);

// Of 200 keys: one before the tiles, and four for each of the two.
template <bool kIsBackward, int kNth>
void ExpectKeyBiasNeedsBarrier() {
  Arrays two_tiles(200);
  const std::string error =
      ErrorOf<gpu::KeyBiasKernel<WithoutABarrier<kNth>, kIsBackward>>(two_tiles.KeyBias());
  EXPECT_EQ(error, kRace) << "without barrier " << kNth;
}
template <bool kIsBackward>
void ExpectKeyBiasNeedsBarriers() {
  ExpectKeyBiasNeedsBarrier<kIsBackward, 1>();
  ExpectKeyBiasNeedsBarrier<kIsBackward, 3>();
  ExpectKeyBiasNeedsBarrier<kIsBackward, 4>();
  ExpectKeyBiasNeedsBarrier<kIsBackward, 5>();
  ExpectKeyBiasNeedsBarrier<kIsBackward, 6>();
}
TEST(RowsOnHostTest, AForgottenBarrierOfAKeyBiasIsFound) {
  ExpectKeyBiasNeedsBarriers<false>();
  ExpectKeyBiasNeedsBarriers<true>();
}

// Between the sums of gamma and of beta, which take the same shared memory.
TEST(RowsOnHostTest, AForgottenSecondBarrierIsFound) {
  Arrays narrow(40);
  EXPECT_EQ((ErrorOf<gpu::NormBackwardKernel<WithoutABarrier<2>, float, gpu::ShortRows>>(
                narrow.Backward())),
            kRace);
}

TEST(RowsOnHostTest, AForgottenSecondBarrierOfALossIsFound) {
  Arrays wide(1032);
  EXPECT_EQ((ErrorOf<gpu::CrossEntropyKernel<WithoutABarrier<2>, float, true>>(wide.Loss())),
            kRace);
}

// ATen/native/cuda/fused_adam_utils.cuh of LibTorch 2.11, in which one multiplication and one
// subtraction become a fused multiply-add (FFMA in the machine code of libtorch_cuda.so).
TEST(RowsOnHostTest, AdamWRoundsAsLibTorchsFusedOperator) {
  constexpr std::int64_t kN = 5000;
  std::vector<float> g = Draw<float>(kN, 1), theta = Draw<float>(kN, 2), m = Draw<float>(kN, 3),
                     v = Draw<float>(kN, 4);
  for (float& one : v) one *= one;
  const std::vector<float> before = theta, m_before = m, v_before = v;
  const float t = 7.0F, lr = 3e-4F, decay = 0.1F, beta1 = 0.9F, beta2 = 0.95F, eps = 1e-8F;
  const double clip = 0.83;
  const AdamWTensor tensors[] = {{.n = kN,
                                  .gradient = g.data(),
                                  .parameter = theta.data(),
                                  .m = m.data(),
                                  .v = v.data(),
                                  .weight_decay = 0.1}};
  RowKernelsUnderTest().front()->Run(CudaAdamWCall{
      .tensors = tensors, .beta1 = 0.9, .beta2 = 0.95, .t = &t, .lr = &lr, .clip = &clip});
  const float correction1 = 1 - std::pow(beta1, t);
  const float correction2_sqrt = std::sqrt(1 - std::pow(beta2, t));
  for (std::size_t i = 0; i < g.size(); ++i) {
    const float grad = g[i] * static_cast<float>(clip), square = grad * grad;
    const float exp_avg = std::fma(beta1, m_before[i], std::fma(-beta1, grad, grad));
    const float exp_avg_sq = std::fma(beta2, v_before[i], std::fma(-beta2, square, square));
    const float lr_decay = lr * decay, step_size = lr / correction1;
    float param = std::fma(-lr_decay, before[i], before[i]);
    const float denom = (std::sqrt(exp_avg_sq) / correction2_sqrt) + eps;
    param -= step_size * exp_avg / denom;
    ASSERT_EQ(theta[i], param) << i;
    ASSERT_EQ(m[i], exp_avg) << i;
    ASSERT_EQ(v[i], exp_avg_sq) << i;
  }
}

// sweeps/cost.cc relies on it.
TEST(RowsOnHostTest, PartialSumsAreFewBesideTheirRows) {
  for (const std::int64_t n_row : {0, 1, 15, 16, 17, 1000, 16384, 16385, 1 << 20, (1 << 24) + 3}) {
    for (const std::int64_t least : {16, 64}) {
      const std::int64_t rows_of_range = gpu::RowsOfRange(n_row, least);
      const std::int64_t n_range = gpu::RangesOf(n_row, rows_of_range);
      EXPECT_LE(n_range, 1024) << n_row;
      EXPECT_LE(n_range, (n_row + least - 1) / least) << n_row;
      EXPECT_EQ(rows_of_range % least, 0) << n_row;
      EXPECT_GE(n_range * rows_of_range, n_row);
    }
  }
}

// As if 41 channels were taken for whole chunks.
TEST(RowsOnHostTest, ChunksThatAreNotAlignedAreFound) {
  Arrays odd(41);
  const std::string unaligned = "a vector in global memory that is not aligned";
  EXPECT_EQ((ErrorOf<gpu::NormForwardKernel<HostLayer, gpu::NoAddend, float, gpu::ShortRows>>(
                odd.Forward())),
            unaligned);
  EXPECT_EQ((ErrorOf<gpu::ElementKernel<HostLayer, float, gpu::ActivateBackward, true>>(
                odd.Backward(70))),
            unaligned);
}

// As if one row more fitted into shared memory than was asked for.
TEST(RowsOnHostTest, SharedMemoryThatWasNotAskedForIsFound) {
  using Kernel = gpu::NormBackwardKernel<HostLayer, float, gpu::ShortRows>;
  Arrays narrow(40);
  const gpu::NormBackwardParams p = narrow.Backward();
  HostDevice device;
  EXPECT_STREQ(device.Launch<Kernel>(Kernel::Blocks(p), Kernel::SharedBytes(p) - 16, p),
               "a kernel needs more shared memory than it asks for");
}

}  // namespace
}  // namespace longrun::testing
