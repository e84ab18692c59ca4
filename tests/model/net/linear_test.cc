// Both matrix paths beside the same product in fp64, values and gradients.
#include "model/net/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>

#include "base/str.h"

namespace longrun {
namespace {

struct Case {
  std::int64_t n, i, o;
  MatrixPath path;
};
std::string NameOfCase(const testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return Str(c.path == MatrixPath::kOneDnn ? "OneDnn" : "Aten", "_", c.n, "x", c.i, "x", c.o);
}

class LinearTest : public testing::TestWithParam<Case> {
 protected:
  static at::Tensor Random(std::initializer_list<std::int64_t> shape) {
    return at::randn(shape, at::kFloat);
  }
  // Of a sum of k products of unit normals, a rounding error of fp32 each.
  static void ExpectClose(const at::Tensor& found, const at::Tensor& exact, std::int64_t k,
                          const char* what) {
    ASSERT_EQ(found.sizes(), exact.sizes()) << what;
    const double worst = (found.to(at::kDouble) - exact).abs().max().item<double>();
    EXPECT_LT(worst, 4e-7 * static_cast<double>(k)) << what;
  }
};

TEST_P(LinearTest, ValueAndGradientsAreThoseOfFp64) {
  const auto [n, i, o, path] = GetParam();
  const at::Tensor x = Random({n, i}).requires_grad_(true);
  const at::Tensor w = Random({i, o}).requires_grad_(true);
  const at::Tensor b = Random({o}).requires_grad_(true);
  const at::Tensor dy = Random({n, o});
  const auto exact = [](const at::Tensor& t) { return t.detach().to(at::kDouble); };

  const at::Tensor y = Linear(x, w, b, path);
  y.backward(dy);

  ExpectClose(y.detach(), at::addmm(exact(b), exact(x), exact(w)), i, "y");
  ExpectClose(x.grad(), at::mm(exact(dy), exact(w).t()), o, "dx");
  ExpectClose(w.grad(), at::mm(exact(x).t(), exact(dy)), n, "dw");
  ExpectClose(b.grad(), exact(dy).sum(0), n, "db");
}

TEST_P(LinearTest, WithoutABiasAndWithAWeightThatIsAView) {
  const auto [n, i, o, path] = GetParam();
  const at::Tensor x = Random({n, i}).requires_grad_(true);
  const at::Tensor w = Random({o, i}).requires_grad_(true);
  const at::Tensor dy = Random({n, o});
  const auto exact = [](const at::Tensor& t) { return t.detach().to(at::kDouble); };

  const at::Tensor y = Linear(x, w.t(), {}, path);
  y.backward(dy);

  ExpectClose(y.detach(), at::mm(exact(x), exact(w).t()), i, "y");
  ExpectClose(x.grad(), at::mm(exact(dy), exact(w)), o, "dx");
  ExpectClose(w.grad(), at::mm(exact(dy).t(), exact(x)), n, "dw");
  ExpectClose(Linear(x.detach(), w.detach().t(), {}, path), exact(y), i, "without gradients");
}

TEST_P(LinearTest, FactorsMayBeViews) {
  const auto [n, i, o, path] = GetParam();
  const at::Tensor a = Random({i, n}).t();
  const at::Tensor b = Random({o, i}).t();
  const at::Tensor rows = Random({2 * n, i}).narrow(0, n, n);
  const at::Tensor exact_b = b.to(at::kDouble);
  ExpectClose(MatrixProduct(a, b, path), at::mm(a.to(at::kDouble), exact_b), i, "a b");
  ExpectClose(MatrixProduct(rows, b, path), at::mm(rows.to(at::kDouble), exact_b), i, "rows b");
}

TEST_P(LinearTest, AWeightsGradientLiesAsTheWeight) {
  const auto [n, i, o, path] = GetParam();
  const at::Tensor x = Random({n, i}), dy = Random({n, o});
  const at::Tensor exact = at::mm(x.to(at::kDouble).t(), dy.to(at::kDouble));
  const at::Tensor dw = WeightGradient(x, dy, path);
  ExpectClose(dw, exact, n, "dw");
  EXPECT_TRUE(dw.is_contiguous());
  // Of a type that is not oneDNN's.
  const at::Tensor in_fp64 = WeightGradient(x.to(at::kDouble), dy.to(at::kDouble), path);
  EXPECT_TRUE(in_fp64.is_contiguous());
  EXPECT_TRUE(in_fp64.equal(exact));
}

TEST_P(LinearTest, TheSameProductHasTheSameBits) {
  const auto [n, i, o, path] = GetParam();
  const at::Tensor a = Random({n, i}), b = Random({i, o});
  EXPECT_TRUE(MatrixProduct(a, b, path).equal(MatrixProduct(a, b, path)));
}

TEST_P(LinearTest, OnlyWhatIsAskedForHasAGradient) {
  const auto [n, i, o, path] = GetParam();
  const at::Tensor x = Random({n, i}), w = Random({i, o}).requires_grad_(true), b = Random({o});
  Linear(x, w, b, path).sum().backward();
  EXPECT_FALSE(x.grad().defined());
  ExpectClose(w.grad(), x.to(at::kDouble).sum(0).unsqueeze(1).expand({i, o}), n, "dw");
}

// Below and above the work from which oneDNN is taken; odd sizes; narrower on either side.
INSTANTIATE_TEST_SUITE_P(Shapes, LinearTest,
                         testing::Values(Case{3, 5, 7, MatrixPath::kOneDnn},
                                         Case{256, 64, 192, MatrixPath::kOneDnn},
                                         Case{333, 257, 65, MatrixPath::kOneDnn},
                                         Case{65, 129, 257, MatrixPath::kOneDnn},
                                         Case{333, 257, 65, MatrixPath::kAten}),
                         NameOfCase);

// A run that began when each product was a tensor of its own, added to zeros at first, goes on with
// the same bits. The first two sums are of the size from which memory is kept; another shape, and
// then the first again.
TEST(WeightGradientTest, AddsToASumAsItsProductWould) {
  GradientRoom room;
  for (const MatrixPath path : {MatrixPath::kAten, MatrixPath::kOneDnn}) {
    for (const auto& [rows, i, o] : {std::array<std::int64_t, 3>{166, 8192, 1025},
                                     {3, 8192, 1025},
                                     {1, 9000, 1000},
                                     {166, 8192, 1025},
                                     {333, 257, 65}}) {
      const at::Tensor x = at::randn({rows, i}), dy = at::randn({rows, o});
      const at::Tensor product = WeightGradient(x, dy, path), more = at::randn({rows, o});
      at::Tensor sum;
      AddWeightGradient(x, dy, path, at::kFloat, &sum, &room);
      EXPECT_TRUE(sum.equal(at::zeros({i, o}).add_(product))) << rows << " x " << i;
      AddWeightGradient(x, more, path, at::kFloat, &sum, &room);
      EXPECT_TRUE(sum.equal(product + WeightGradient(x, more, path))) << rows << " x " << i;
      room.sum = sum;
    }
  }
  const at::Tensor x = at::randn({5, 8}, at::kDouble);
  at::Tensor sum = at::ones({8, 8}, at::kDouble);
  AddWeightGradient(x, x, MatrixPath::kAten, at::kDouble, &sum, &room);
  EXPECT_TRUE(sum.equal(at::mm(x.t(), x) + 1.0));
}

TEST(WeightGradientTest, OfBf16IsSummedInTheTypeOfTheWeight) {
  const at::Tensor x = at::randn({40, 24}).to(at::kBFloat16), dy = at::randn({40, 16}).to(x);
  const at::Tensor product = WeightGradient(x, dy, MatrixPath::kAten).to(at::kFloat);
  GradientRoom room;
  at::Tensor sum;
  for (int n = 1; n <= 2; ++n) {
    AddWeightGradient(x, dy, MatrixPath::kAten, at::kFloat, &sum, &room);
    EXPECT_EQ(sum.scalar_type(), at::kFloat);
    EXPECT_TRUE(sum.equal(product * n));
  }
}

// The memory of a step's large gradient serves the next step.
TEST(WeightGradientTest, ALargeSumTakesTheMemoryOfAnEarlierOne) {
  GradientRoom room;
  const at::Tensor x = at::randn({3, 8192}), dy = at::randn({3, 1025});
  at::Tensor sum;
  AddWeightGradient(x, dy, MatrixPath::kAten, at::kFloat, &sum, &room);
  const void* const memory = sum.const_data_ptr();
  room.sum = std::exchange(sum, at::Tensor());
  AddWeightGradient(x, dy, MatrixPath::kAten, at::kFloat, &sum, &room);
  EXPECT_EQ(sum.const_data_ptr(), memory);
  EXPECT_FALSE(room.sum.defined());
}

TEST(LinearInFp64Test, IsNeverRounded) {
  const at::Tensor x = at::randn({256, 128}, at::kDouble), w = at::randn({128, 64}, at::kDouble);
  EXPECT_TRUE(MatrixProduct(x, w, MatrixPath::kOneDnn).equal(at::mm(x, w)));
}

}  // namespace
}  // namespace longrun
