// 2^x on vectors of this compilation target, and the blocked product on which all other products
// are built. Included once for each target (attention.cc).
#if defined(LONGRUN_KERNELS_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGRUN_KERNELS_CPU_VECTOR_INL_H_
#undef LONGRUN_KERNELS_CPU_VECTOR_INL_H_
#else
#define LONGRUN_KERNELS_CPU_VECTOR_INL_H_
#endif

#include <cstdint>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/cpu/plan.h"
#include "kernels/cpu/row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longrun {
namespace HWY_NAMESPACE {

// Vectors side by side in a product: as many as leave enough registers for six rows of sums.
#if HWY_TARGET == HWY_AVX3
inline constexpr int kColumnVectors = 4;
#else
inline constexpr int kColumnVectors = 2;
#endif

// 2^x for x <= 0 or slightly above; 0 if 2^x is below 2^-126, NaN for NaN. On [-1/2, 1/2] it is a
// polynomial of degree 6 through the Chebyshev nodes: relative error 3e-9, below fp32's rounding.
HWY_INLINE V Exp2(V x) {
  const F f;
#if HWY_TARGET == HWY_AVX3
  x = hn::Max(hn::Set(f, -200.0F), x);  // the fraction of -inf would be NaN
#else
  const V given = x;
  const auto kept = hn::Not(hn::Lt(x, hn::Set(f, -126.0F)));
  x = hn::Max(hn::Set(f, -126.0F), x);
#endif
  const V whole = hn::Round(x);
  const V r = hn::Sub(x, whole);
  V y = hn::Set(f, 1.5461444696e-4F);
  y = hn::MulAdd(y, r, hn::Set(f, 1.3400428177e-3F));
  y = hn::MulAdd(y, r, hn::Set(f, 9.6180566785e-3F));
  y = hn::MulAdd(y, r, hn::Set(f, 5.5503272267e-2F));
  y = hn::MulAdd(y, r, hn::Set(f, 2.4022650922e-1F));
  y = hn::MulAdd(y, r, hn::Set(f, 6.9314720670e-1F));
  y = hn::MulAdd(y, r, hn::Set(f, 1.0F));
#if HWY_TARGET == HWY_AVX3
  return V{_mm512_scalef_ps(y.raw, whole.raw)};
#else
  const hn::RebindToSigned<F> i;
  const auto exponent = hn::ShiftLeft<23>(hn::ConvertTo(i, whole));
  const V scaled = hn::BitCast(f, hn::Add(hn::BitCast(i, y), exponent));
  return hn::IfThenElse(hn::IsNaN(given), given, hn::IfThenElseZero(kept, scaled));
#endif
}

// The sum of all lanes, in double.
HWY_INLINE double SumOf(V x) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  HWY_ALIGN float lanes[kLanes];
  hn::Store(x, F(), lanes);
  auto sum = hn::PromoteTo(d, hn::Load(half, lanes));
  for (auto lane = static_cast<std::int64_t>(hn::MaxLanes(d)); lane < kLanes;
       lane += static_cast<std::int64_t>(hn::MaxLanes(d))) {
    sum = hn::Add(sum, hn::PromoteTo(d, hn::Load(half, lanes + lane)));
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// The sum over c < n of x[c] y[c], n a multiple of kLanes, in double: the products are exact.
HWY_INLINE double DotOf(const float* HWY_RESTRICT x, const float* HWY_RESTRICT y, std::int64_t n) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  constexpr auto kStep = static_cast<std::int64_t>(hn::MaxLanes(d));
  auto sum = hn::Zero(d);
  for (std::int64_t c = 0; c < n; c += kStep) {
    sum = hn::MulAdd(hn::PromoteTo(d, hn::Load(half, x + c)),
                     hn::PromoteTo(d, hn::Load(half, y + c)), sum);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

inline constexpr std::int64_t kLineFloats = 64 / sizeof(float);
inline constexpr std::int64_t kRowBlocks = kQueryTile / kRowBlock;

// One block of C += A B (or C = A B): kRows rows by kVectors vectors of columns, whose sums stay in
// registers. The product is summed by itself and added to C at the end: over many tiles of keys, an
// element takes one rounding at C's size for each tile, instead of one for each key.
// Element (r, k) of A is a[r * a_row + k * a_k]. With kFetches, cache lines from `next` on are
// fetched, one by one, since all at once would stop the product.
template <int kRows, int kVectors, bool kFetches>
HWY_INLINE void ProductBlock(const float* HWY_RESTRICT a, std::int64_t a_row, std::int64_t a_k,
                             const float* HWY_RESTRICT b, std::int64_t b_k, std::int64_t n_k,
                             float* HWY_RESTRICT c, std::int64_t c_row, bool add,
                             const float* next) {
  constexpr std::int64_t kStep = (kLineFloats * kRowBlocks + kVectors * kLanes - 1) /
                                 (kVectors * kLanes);  // a block fetches its share (Product::next)
  const F f;
  Kept sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(f);
  }
  for (std::int64_t k = 0; k < n_k; ++k) {
    Kept column[kVectors];
    for (int v = 0; v < kVectors; ++v) column[v] = hn::LoadU(f, b + v * kLanes);
    if constexpr (kFetches) {
      if (k % kStep == kStep - 1) hwy::Prefetch(next + k / kStep * kLineFloats);
    }
    for (int r = 0; r < kRows; ++r) {
      const V factor = hn::Set(f, a[r * a_row]);
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(factor, column[v], sum[r][v]);
    }
    a += a_k;
    b += b_k;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      float* const to = c + r * c_row + v * kLanes;
      hn::StoreU(add ? hn::Add(hn::LoadU(f, to), sum[r][v]) : V(sum[r][v]), f, to);
    }
  }
}

struct Product {
  const float* a;
  std::int64_t a_row, a_k;
  const float* b;
  std::int64_t b_k;
  float* c;
  std::int64_t c_row;
  std::int64_t n_row, n_k;  // rows: a multiple of kRowBlock, or 4 more
  bool add;
  // If parts of `a` are known to be zeros: the range of k for each block of rows, instead of all k.
  const Span* k_of_rows = nullptr;
  // What is read after the product: as many floats as B has. Each of the kRowBlocks blocks of rows
  // fetches its share into the cache while it is computed. Null: nothing is fetched.
  const float* next = nullptr;
  std::int64_t n_column = 0;  // of B; only with `next`
};

template <int kRows, int kVectors, bool kFetches>
HWY_INLINE void ProductRows(const Product& p, std::int64_t row, std::int64_t column) {
  const std::int64_t k = p.k_of_rows == nullptr ? 0 : p.k_of_rows[row / kRowBlock].begin;
  const std::int64_t k_end = p.k_of_rows == nullptr ? p.n_k : p.k_of_rows[row / kRowBlock].end;
  const float* next = nullptr;
  if constexpr (kFetches) {
    next = p.next + (row / kRowBlock * p.n_column + column) * p.n_k / kRowBlocks;
  }
  ProductBlock<kRows, kVectors, kFetches>(p.a + row * p.a_row + k * p.a_k, p.a_row, p.a_k,
                                          p.b + k * p.b_k + column, p.b_k, k_end - k,
                                          p.c + row * p.c_row + column, p.c_row, p.add, next);
}

template <int kVectors, bool kFetches>
HWY_NOINLINE void ProductColumns(const Product& p, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + kRowBlock <= p.n_row; row += kRowBlock) {
    ProductRows<kRowBlock, kVectors, kFetches>(p, row, column);
  }
  if (row < p.n_row) ProductRows<4, kVectors, kFetches>(p, row, column);
}

template <bool kFetches>
HWY_INLINE void AllColumns(const Product& p, std::int64_t n_column) {
  constexpr std::int64_t kStep = kColumnVectors * kLanes;
  std::int64_t column = 0;
  for (; column + kStep <= n_column; column += kStep) {
    ProductColumns<kColumnVectors, kFetches>(p, column);
  }
#if HWY_TARGET == HWY_AVX3
  if (column + 3 * kLanes <= n_column) {
    ProductColumns<3, kFetches>(p, column);
    column += 3 * kLanes;
  }
  if (column + 2 * kLanes <= n_column) {
    ProductColumns<2, kFetches>(p, column);
    column += 2 * kLanes;
  }
#endif
  if (column < n_column) ProductColumns<1, kFetches>(p, column);
}

// n_column is a multiple of kLanes.
HWY_INLINE void Multiply(const Product& p, std::int64_t n_column) {
  if (p.next != nullptr) return AllColumns<true>(p, n_column);
  AllColumns<false>(p, n_column);
}

template <bool kFetches>
HWY_NOINLINE void SomeColumns(const Product& p, const Span* columns_of_rows) {
  constexpr std::int64_t kStep = kColumnVectors * kLanes;
  for (std::int64_t row = 0; row < p.n_row; row += kRowBlock) {
    std::int64_t column = columns_of_rows[row / kRowBlock].begin;
    const std::int64_t end = columns_of_rows[row / kRowBlock].end;
    for (; column + kStep <= end; column += kStep) {
      ProductRows<kRowBlock, kColumnVectors, kFetches>(p, row, column);
    }
#if HWY_TARGET == HWY_AVX3
    if (end - column == 3 * kLanes) ProductRows<kRowBlock, 3, kFetches>(p, row, column);
    if (end - column == 2 * kLanes) ProductRows<kRowBlock, 2, kFetches>(p, row, column);
    if (end - column == kLanes) ProductRows<kRowBlock, 1, kFetches>(p, row, column);
#endif
  }
}
static_assert(kKeyBlock % kLanes == 0);

// Computes only the requested columns of each block of rows; n_row is a multiple of kRowBlock.
// Other columns stay unchanged.
HWY_INLINE void MultiplyColumns(const Product& p, const Span* columns_of_rows) {
  if (p.next != nullptr) return SomeColumns<true>(p, columns_of_rows);
  SomeColumns<false>(p, columns_of_rows);
}
#if HWY_TARGET != HWY_AVX3
static_assert(kKeyBlock % (kColumnVectors * kLanes) == 0);
#endif

}  // namespace HWY_NAMESPACE
}  // namespace longrun
HWY_AFTER_NAMESPACE();

#endif  // the include guard, which each target passes once
