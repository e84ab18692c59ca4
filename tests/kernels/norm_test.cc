// Residual addition and normalisation beside the reference, and the reference beside central
// differences.
#include "kernels/norm.h"

#include <gtest/gtest.h>

#include "kernels/reference/rows.h"
#include "tests/kernels/fixture.h"
#include "tests/kernels/row_kernels.h"
#include "tests/kernels/rows.h"

namespace longrun {
namespace {

using testing::Bound;
using testing::CentralDifferences;
using testing::Draw;
using testing::ExpectClose;
using testing::ExpectNear;
using testing::Guarded;
using testing::SameBits;
using testing::ToDoubles;

// Rows and channels: none, one, tails of every vector length, more than a block of rows; on a GPU
// also rows of a warp (up to 768, up to 1,024), of a block (up to 4,096), and longer ones.
constexpr std::int64_t kShapes[][2] = {{0, 5},    {1, 1},   {3, 7},    {2, 16},    {5, 33},
                                       {4, 64},   {65, 31}, {130, 48}, {7, 300},   {129, 257},
                                       {37, 768}, {5, 776}, {3, 1024}, {18, 1032}, {1, 4096},
                                       {3, 4104}, {2, 4099}};

struct Inputs {
  Inputs(const NormShape& shape, std::uint64_t stream)
      : x(Draw<float>(shape.n_row * shape.n_channel, stream, 2.0)),
        a(Draw<float>(shape.n_row * shape.n_channel, stream + 1)),
        a_bf16(Draw<Bf16>(shape.n_row * shape.n_channel, stream + 1)),
        a_fp16(Draw<Fp16>(shape.n_row * shape.n_channel, stream + 1)),
        gamma(Draw<float>(shape.n_channel, stream + 2)),
        beta(Draw<float>(shape.n_channel, stream + 3)),
        dy(Draw<float>(shape.n_row * shape.n_channel, stream + 4)),
        dy_bf16(Draw<Bf16>(shape.n_row * shape.n_channel, stream + 4)),
        d_sum(Draw<float>(shape.n_row * shape.n_channel, stream + 5)) {}
  std::vector<float> x, a;
  std::vector<Bf16> a_bf16;
  std::vector<Fp16> a_fp16;
  std::vector<float> gamma, beta, dy;
  std::vector<Bf16> dy_bf16;
  std::vector<float> d_sum;
};

struct Outputs {
  explicit Outputs(const NormShape& shape)
      : sum(shape.n_row * shape.n_channel),
        y(shape.n_row * shape.n_channel),
        y_bf16(shape.n_row * shape.n_channel),
        y_fp16(shape.n_row * shape.n_channel),
        mean(shape.n_row),
        rstd(shape.n_row) {}
  void ExpectBandsWhole() {
    sum.ExpectBandsWhole();
    y.ExpectBandsWhole();
    y_bf16.ExpectBandsWhole();
    y_fp16.ExpectBandsWhole();
    mean.ExpectBandsWhole();
    rstd.ExpectBandsWhole();
  }
  Guarded<float> sum, y;
  Guarded<Bf16> y_bf16;
  Guarded<Fp16> y_fp16;
  Guarded<float> mean, rstd;
};

// What the results are sums of, term by term by their sizes (tests/kernels/rows.h, ExpectClose).
struct ForwardSize {
  std::vector<double> mean, normed, y;
};
ForwardSize SizeOf(const NormShape& shape, const ReferenceNorm& forward,
                   const std::vector<double>& gamma, const std::vector<double>& beta) {
  ForwardSize size;
  const std::size_t n = gamma.size();
  for (std::size_t i = 0; i < forward.sum.size(); ++i) {
    if (i % n == 0) {
      double all = 0.0;
      for (std::size_t c = 0; c < n; ++c) all += std::abs(forward.sum[i + c]);
      size.mean.push_back(all / static_cast<double>(n));
    }
    const double centre = shape.centred ? size.mean[i / n] : 0.0;
    size.normed.push_back(forward.rstd[i / n] * (std::abs(forward.sum[i]) + centre));
    size.y.push_back(size.normed[i] * std::abs(gamma[i % n]) +
                     (beta.empty() ? 0.0 : std::abs(beta[i % n])));
  }
  return size;
}

struct BackwardSize {
  std::vector<double> dx, d_gamma, d_beta;
};
BackwardSize SizeOfGradient(const NormShape& shape, const ReferenceNorm& forward,
                            const std::vector<double>& gamma, const std::vector<double>& dy,
                            const std::vector<double>& d_sum) {
  const std::size_t n = gamma.size();
  const std::vector<double> normed = SizeOf(shape, forward, gamma, {}).normed;
  BackwardSize size = {
      .dx = {}, .d_gamma = std::vector<double>(n), .d_beta = std::vector<double>(n)};
  for (std::size_t row = 0; row < forward.rstd.size(); ++row) {
    double mean_g = 0.0, mean_gn = 0.0;
    for (std::size_t c = 0; c < n; ++c) {
      const std::size_t i = row * n + c;
      mean_g += std::abs(dy[i] * gamma[c]) / static_cast<double>(n);
      mean_gn += std::abs(dy[i] * gamma[c]) * normed[i] / static_cast<double>(n);
      size.d_gamma[c] += std::abs(dy[i]) * normed[i];
      size.d_beta[c] += std::abs(dy[i]);
    }
    for (std::size_t c = 0; c < n; ++c) {
      const std::size_t i = row * n + c;
      const double g = std::abs(dy[i] * gamma[c]) + (shape.centred ? mean_g : 0.0);
      size.dx.push_back(forward.rstd[row] * (g + normed[i] * mean_gn) +
                        (d_sum.empty() ? 0.0 : std::abs(d_sum[i])));
    }
  }
  return size;
}

class NormTest : public testing::RowKernelsTest {};

TEST_P(NormTest, ForwardIsTheReferenceForEveryShapeAndType) {
  for (const auto& [n_row, n_channel] : kShapes) {
    const Inputs in({.n_row = n_row, .n_channel = n_channel}, 10);
    for (int variant = 0; variant < 24; ++variant) {
      const bool centred = (variant & 1) != 0, adds = (variant & 2) != 0;
      const bool biased = (variant & 4) != 0;
      constexpr Scalar kTypes[] = {Scalar::kFp32, Scalar::kBf16, Scalar::kFp16};
      const Scalar type = kTypes[variant / 8];
      const bool bf16 = type == Scalar::kBf16, fp16 = type == Scalar::kFp16;
      const NormShape shape = {.n_row = n_row, .n_channel = n_channel, .centred = centred};
      SCOPED_TRACE("rows " + std::to_string(n_row) + ", channels " + std::to_string(n_channel) +
                   ", variant " + std::to_string(variant));
      Outputs out(shape);
      NormForwardCall call = {.shape = shape, .x = in.x.data(), .gamma = in.gamma.data()};
      if (adds) {
        call.addend = bf16   ? ConstElements(in.a_bf16.data())
                      : fp16 ? ConstElements(in.a_fp16.data())
                             : ConstElements(in.a.data());
        call.sum = out.sum.data();
      }
      if (biased) call.beta = in.beta.data();
      if (centred) call.mean = out.mean.data();
      call.y = bf16   ? Elements(out.y_bf16.data())
               : fp16 ? Elements(out.y_fp16.data())
                      : Elements(out.y.data());
      call.rstd = out.rstd.data();
      NormForward(call);

      const auto addend = !adds  ? std::vector<double>()
                          : bf16 ? ToDoubles(in.a_bf16)
                          : fp16 ? ToDoubles(in.a_fp16)
                                 : ToDoubles(in.a);
      const auto beta = biased ? ToDoubles(in.beta) : std::vector<double>();
      const ReferenceNorm expected =
          ReferenceNormForward(shape, ToDoubles(in.x), addend, ToDoubles(in.gamma), beta);
      const ForwardSize size = SizeOf(shape, expected, ToDoubles(in.gamma), beta);
      if (adds) ExpectClose(out.sum.doubles(), expected.sum, Bound(Scalar::kFp32), "s");
      ExpectClose(bf16   ? out.y_bf16.doubles()
                  : fp16 ? out.y_fp16.doubles()
                         : out.y.doubles(),
                  expected.y, size.y, Bound(type), "y");
      if (centred) {
        ExpectClose(out.mean.doubles(), expected.mean, size.mean, Bound(Scalar::kFp32), "mean");
      }
      ExpectClose(out.rstd.doubles(), expected.rstd, Bound(Scalar::kFp32), "rstd");
      out.ExpectBandsWhole();
    }
  }
}

TEST_P(NormTest, BackwardIsTheReferenceForEveryShapeAndType) {
  for (const auto& [n_row, n_channel] : kShapes) {
    const Inputs in({.n_row = n_row, .n_channel = n_channel}, 20);
    for (int variant = 0; variant < 8; ++variant) {
      const bool centred = (variant & 1) != 0, read = (variant & 2) != 0, bf16 = (variant & 4) != 0;
      const NormShape shape = {.n_row = n_row, .n_channel = n_channel, .centred = centred};
      SCOPED_TRACE("rows " + std::to_string(n_row) + ", channels " + std::to_string(n_channel) +
                   ", variant " + std::to_string(variant));
      Outputs out(shape);
      NormForward({.shape = shape,
                   .x = in.x.data(),
                   .gamma = in.gamma.data(),
                   .y = out.y.data(),
                   .mean = centred ? out.mean.data() : nullptr,
                   .rstd = out.rstd.data()});
      Guarded<float> dx(n_row * n_channel), d_gamma(n_channel), d_beta(n_channel);
      Guarded<Bf16> da(n_row * n_channel);
      NormBackward({.shape = shape,
                    .dy = bf16 ? ConstElements(in.dy_bf16.data()) : ConstElements(in.dy.data()),
                    .sum = in.x.data(),
                    .gamma = in.gamma.data(),
                    .mean = centred ? out.mean.data() : nullptr,
                    .rstd = out.rstd.data(),
                    .d_sum = read ? in.d_sum.data() : nullptr,
                    .dx = dx.data(),
                    .d_addend = bf16 ? da.data() : nullptr,
                    .d_gamma = d_gamma.data(),
                    .d_beta = d_beta.data()});

      const std::vector<double> x = ToDoubles(in.x), gamma = ToDoubles(in.gamma);
      const auto dy = bf16 ? ToDoubles(in.dy_bf16) : ToDoubles(in.dy);
      const auto d_sum = read ? ToDoubles(in.d_sum) : std::vector<double>();
      const ReferenceNormGradient expected = ReferenceNormBackward(shape, x, gamma, dy, d_sum);
      const BackwardSize size =
          SizeOfGradient(shape, ReferenceNormForward(shape, x, {}, gamma, {}), gamma, dy, d_sum);
      ExpectClose(dx.doubles(), expected.x, size.dx, 5e-6, "dx");
      if (bf16) ExpectClose(da.doubles(), expected.x, size.dx, Bound(Scalar::kBf16), "da");
      ExpectClose(d_gamma.doubles(), expected.gamma, size.d_gamma, 5e-6, "dgamma");
      ExpectClose(d_beta.doubles(), expected.beta, size.d_beta, 5e-6, "dbeta");
      dx.ExpectBandsWhole();
      da.ExpectBandsWhole();
      d_gamma.ExpectBandsWhole();
      d_beta.ExpectBandsWhole();
    }
  }
}

TEST_P(NormTest, ARowOfOneNumberIsItsBias) {
  const NormShape shape = {.n_row = 1, .n_channel = 19};
  const std::vector<float> x(19, 3.0F), gamma(19, 2.0F), beta = Draw<float>(19, 1);
  Outputs out(shape);
  NormForward({.shape = shape,
               .x = x.data(),
               .gamma = gamma.data(),
               .beta = beta.data(),
               .y = out.y.data(),
               .mean = out.mean.data(),
               .rstd = out.rstd.data()});
  ExpectNear(out.y.doubles(), ToDoubles(beta),
             1e-4);  // 1 / sqrt(epsilon) times the mean's rounding
}

TEST_P(NormTest, BitsDependOnNeitherThreadsNorOtherRows) {
  const NormShape shape = {.n_row = 200, .n_channel = 37};
  const NormShape alone = {.n_row = 1, .n_channel = 37};
  const Inputs in(shape, 30);
  Outputs one(shape), three(shape), row(alone);
  Guarded<float> dx[2] = {Guarded<float>(200 * 37), Guarded<float>(200 * 37)};
  Guarded<float> d_gamma[2] = {Guarded<float>(37), Guarded<float>(37)};
  Guarded<float> d_beta[2] = {Guarded<float>(37), Guarded<float>(37)};
  for (int i = 0; i < 2; ++i) {
    Outputs& out = i == 0 ? one : three;
    const int n_threads = i == 0 ? 1 : 3;
    NormForward({.shape = shape,
                 .x = in.x.data(),
                 .addend = in.a.data(),
                 .gamma = in.gamma.data(),
                 .sum = out.sum.data(),
                 .y = out.y.data(),
                 .mean = out.mean.data(),
                 .rstd = out.rstd.data()},
                n_threads);
    NormBackward({.shape = shape,
                  .dy = in.dy.data(),
                  .sum = out.sum.data(),
                  .gamma = in.gamma.data(),
                  .mean = out.mean.data(),
                  .rstd = out.rstd.data(),
                  .dx = dx[i].data(),
                  .d_gamma = d_gamma[i].data(),
                  .d_beta = d_beta[i].data()},
                 n_threads);
  }
  EXPECT_TRUE(SameBits(one.y, three.y) && SameBits(dx[0], dx[1]));
  EXPECT_TRUE(SameBits(d_gamma[0], d_gamma[1]) && SameBits(d_beta[0], d_beta[1]));
  constexpr std::int64_t kRow = 131;
  NormForward({.shape = alone,
               .x = in.x.data() + kRow * 37,
               .addend = in.a.data() + kRow * 37,
               .gamma = in.gamma.data(),
               .sum = row.sum.data(),
               .y = row.y.data(),
               .mean = row.mean.data(),
               .rstd = row.rstd.data()});
  EXPECT_TRUE(SameBits(row.y.values(), one.y.values().subspan(kRow * 37, 37)));
}

LONGRUN_FOR_EVERY_ROW_KERNEL(NormTest);

TEST(ReferenceNormTest, GradientsMatchCentralDifferences) {
  for (const bool centred : {true, false}) {
    const NormShape shape = {.n_row = 3, .n_channel = 5, .centred = centred};
    std::vector<double> x = Draw<double>(15, 1), gamma = Draw<double>(5, 2),
                        beta = Draw<double>(5, 3);
    const std::vector<double> dy = Draw<double>(15, 4), d_sum = Draw<double>(15, 5);
    const auto loss = [&] {
      const ReferenceNorm out = ReferenceNormForward(shape, x, {}, gamma, beta);
      double sum = 0.0;
      for (std::size_t i = 0; i < dy.size(); ++i) sum += dy[i] * out.y[i] + d_sum[i] * out.sum[i];
      return sum;
    };
    const ReferenceNormGradient gradient = ReferenceNormBackward(shape, x, gamma, dy, d_sum);
    ExpectNear(gradient.x, CentralDifferences(x, loss), 1e-7);
    ExpectNear(gradient.gamma, CentralDifferences(gamma, loss), 1e-7);
    ExpectNear(gradient.beta, CentralDifferences(beta, loss), 1e-7);
  }
}

}  // namespace
}  // namespace longrun
