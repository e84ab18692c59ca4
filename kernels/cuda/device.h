// How the kernels of this folder are written: as templates over a Layer, the little that they need
// of a GPU. gpu_layer.h is the layer of an NVIDIA GPU. tests/kernels/cuda_host.h is one of the
// host, where each thread of a block is a fibre, so that tests run the same code without a GPU.
//
//   Thread(), Block()      the number of the thread in its block, and of the block in the grid
//   Barrier(), WarpSync()  of a block's threads, of a warp's
//   Shared<T>, Arena       arrays in shared memory; T is float, double, int or std::uint16_t (the
//                          bits of bf16 or fp16)
//   CopyAsync, CommitCopies, WaitCopies<N>
//                          copies of 16 bytes from global to shared memory, which arrive later: a
//                          thread waits for all groups that it has committed but its newest N, and
//                          a barrier then shows them to the other threads
//   LoadA, LoadATransposed, LoadB, LoadBTransposed, Mma
//                          the product of m16n8k16: c += a b, with sums in fp32; the type of a and
//                          b (kScalarBf16, kScalarFp16) is a parameter, and so is a tile's layout
//                          (PaddedRows, SwizzledRows) of its loads
//   QuadMax, QuadSum, WarpAny, WarpCount, WarpSum, WarpMin, WarpMax
//                          over the 4 lanes that share a row of c, or over a warp
//   LoadEight, StorePair, StoreWords
//                          of global memory: eight elements, 4 bytes, 16 bytes; 4 bytes at a
//                          multiple of 4 bytes, the others at a multiple of 16
//   AtomicAdd(to, x), AtomicOr(to, bits)
//                          to += x, and to |= bits, in global memory, where other threads and
//                          blocks may do the same at the same time; x is a 64-bit integer, or an
//                          fp32 number, whose sum depends on the order (a GPU keeps no subnormal
//                          one)
//   PackBf16, PackFp16     two numbers, rounded, as 4 bytes
//   Exp2                   in fp32
//   Exp, Log, Log1p        in fp64
//   Pow                    x^y, in fp32
//   RoundedProduct(x, y)   x y, rounded before anything is added to it
//   Reciprocal             1 / x, with an error of one unit in the last place
//   RoundedToInt           the nearest 64-bit integer; any one for x that has none
//   Opaque(x)              x, of which the compiler knows nothing: what a loop computes from it is
//                          not computed before the loop, and kept in registers that it needs
//   OpaqueBefore90(x), SettleBefore90()
//                          on GPUs before compute capability 9.0 only, whose code would spill
//                          registers: Opaque(x), and a place that no load of a warp moves across
//   kIsFrom100             whether the code is for GPUs of compute capability 10.0 or more, which
//                          has fewer registers to spare
//
// The layout of c, which the products of both types share: with g = lane / 4 and t = lane % 4,
// c[n][e] is the element in row g + 8 (e / 2) and column 8 n + 2 t + e % 2.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define LR_DEVICE __device__ __forceinline__
#define LR_BOTH __host__ __device__ __forceinline__
#define LR_UNROLL _Pragma("unroll")
#define LR_UNROLL_BY_FOUR _Pragma("unroll 4")
#define LR_ROLL _Pragma("unroll 1")
#else
#define LR_DEVICE inline
#define LR_BOTH inline
#define LR_UNROLL
#define LR_UNROLL_BY_FOUR
#define LR_ROLL
#endif

namespace longrun {
namespace gpu {

inline constexpr int kThreads = 128;  // of a block: 4 warps
inline constexpr int kWarps = kThreads / 32;
inline constexpr int kRows = 16 * kWarps;  // of a tile: 16 for each warp
inline constexpr int kChunk = 8;           // channels that are copied at once

// Where the elements of a tile lie in shared memory, of which 32 banks of 4 bytes serve a warp at
// once. Loads of fragments read 16 bytes of each of 8 rows. In both layouts these lie in different
// banks. Here, rows are 16 bytes longer than a multiple of 128 bytes.
template <int kStride>
struct PaddedRows {
  static constexpr bool kSplits = false;
  static LR_BOTH int At(int row, int column) { return row * kStride + column; }
};
// Here, the chunks of a row are permuted by the row's number.
template <int kWidth>
struct SwizzledRows {
  static_assert(kWidth % (8 * kChunk) == 0);
  static constexpr bool kSplits = false;
  static LR_BOTH int At(int row, int column) {
    return row * kWidth + (column ^ (row & 7) * kChunk);
  }
};
// The same layout, of tiles of which all loads begin at a row that is a multiple of 8. The
// permutation then is the same for all of them, which saves registers.
template <int kWidth>
struct SplitRows : SwizzledRows<kWidth> {
  static constexpr bool kSplits = true;
  static LR_BOTH int AtSplit(int first, int row, int column) {
    return first * kWidth + SwizzledRows<kWidth>::At(row, column);
  }
};

// The codes of Scalar in kernels/attention.h.
inline constexpr int kScalarFp32 = 0;
inline constexpr int kScalarBf16 = 1;
inline constexpr int kScalarFp64 = 2;
inline constexpr int kScalarFp16 = 3;
LR_BOTH bool HasTwoBytes(int scalar) { return scalar == kScalarBf16 || scalar == kScalarFp16; }

inline constexpr int kVisitedQueries = 32;  // VisitedKeys::kQueries
// The queries, and the keys, that are skipped together (skip-inl.h). Every tile of a kernel lies in
// one of them.
inline constexpr int kSkipTile = 128;
static_assert(kSkipTile % kRows == 0 && kSkipTile % kVisitedQueries == 0);
LR_BOTH int VisitedBlocks(int n_query) { return (n_query + kVisitedQueries - 1) / kVisitedQueries; }
LR_BOTH int SkipTiles(int n_row) { return (n_row + kSkipTile - 1) / kSkipTile; }

inline constexpr float kHidden = -__builtin_huge_valf();  // the score of a hidden key
inline constexpr double kLog2E = 1.4426950408889634074;
inline constexpr double kLn2 = 0.69314718055994530942;

// (B, T, H, D) in global memory. `low` is null, or has the same layout: x is data + low, then.
struct Rows {
  void* data = nullptr;
  void* low = nullptr;
  int scalar = kScalarFp32;
  int is_aligned = 0;  // every 8 channels begin at a multiple of 16 bytes
  std::int64_t batch_step = 0, row_step = 0, head_step = 0;

  LR_DEVICE std::int64_t At(int b, int h, std::int64_t t) const {
    return b * batch_step + t * row_step + h * head_step;
  }
};

struct Numbers {
  void* data = nullptr;
  int is_double = 0;
};

struct Region {
  const std::int32_t* key_begin = nullptr;
};

// The sizes and the terms of a call, as kernels read them. Biases are in base 2: they include the
// factor log2(e).
struct Params {
  int batch = 0, n_head = 0, n_kv_head = 0, group = 0;
  int n_query = 0, n_key = 0, head_dim = 0;
  int width = 0;  // head_dim rounded up: the channels of a tile; those beyond head_dim are 0
  int n_query_tile = 0, n_key_tile = 0;

  float scale = 0.0F;  // of the product, in base 2
  float product_scale = 0.0F;

  int causal = 0, q_offset = 0, k_offset = 0;
  int distance = 0;  // of query 0 from key 0: q_offset - k_offset
  int window = 0, n_sink = 0;
  const std::int32_t* document_begin = nullptr;
  int n_position = 0;

  int has_key_bias = 0, two_sided = 0;
  const double* key_values = nullptr;
  const float* key_local = nullptr;
  const double* key_anchor = nullptr;
  const double* key_slope = nullptr;

  const float* table = nullptr;  // (H, n_distance); null: none
  int n_distance = 0, n_ahead = 0;

  int has_piecewise = 0, n_knot = 0, n_psi = 0;
  const float *psi = nullptr, *row_factor = nullptr, *knots = nullptr;
  const float *slope = nullptr, *intercept = nullptr;  // (H, n_knot + 1)

  int has_dropout = 0;
  std::uint32_t seed_low = 0, seed_high = 0, dropout_offset = 0, dropout_threshold = 0;
  float dropout_factor = 1.0F;

  int n_region = 1;
  // Of a square; see Diagonals(). It stays here: elsewhere it shifts fields, and kernels spill.
  int diagonal_rows = kRows;
  Region regions[3];
  Rows q[3], k[3];  // by region, rotated
  Rows v, o;
  Numbers lse;
  // (B, H, VisitedKeys::Count(T_q)): keys before it are skipped. Null: none is.
  const std::int32_t* first_key = nullptr;

  // Backward.
  const std::int32_t* query_end = nullptr;  // (B, H, tiles of kSkipTile keys), with first_key
  Rows o_gradient;
  Rows dq, dk, dv;
  const float* delta = nullptr;  // (B, H, T_q)
  Numbers d_key_bias;            // data null: not asked for; so are the following
  double* query_bias = nullptr;  // (B, H, T_q): a two-sided bias's sums over keys
  double* row_sums = nullptr;    // (B, H, T_q): of row factors
  // (B, H, Diagonals(), Distances()): sums over the pairs of each distance.
  double *distance_sums = nullptr, *psi_sums = nullptr;
  double* segment_sums = nullptr;  // (B, H, tiles of queries, n_knot + 1, 2): of ds u and ds

  // Diagonals of squares of diagonal_rows queries and as many keys, by the difference of their
  // numbers.
  LR_BOTH int Squares(int n_row) const { return (n_row + diagonal_rows - 1) / diagonal_rows; }
  LR_BOTH int Diagonals() const {
    return n_query == 0 || n_key == 0 ? 0 : Squares(n_query) + Squares(n_key) - 1;
  }
  // In a square, query minus key goes from -(diagonal_rows - 1) to diagonal_rows - 1.
  LR_BOTH int Distances() const { return 2 * diagonal_rows - 1; }

  // What the kinds of parameters below know better.
  static constexpr bool kCopiesRows = false;
  static constexpr bool kMayHaveLow = true;
  static constexpr bool kIsSplit = false;
  static constexpr bool kHasMask = false;
};

// A forward call of few queries: the keys are split into ranges of kSplitKeys, each of which has
// blocks of its own. What they find is merged afterwards (split-inl.h).
inline constexpr int kSplitKeys = 512;
struct SplitParams : Params {
  static constexpr bool kIsSplit = true;
  static constexpr const std::int32_t* first_key = nullptr;
  int n_split = 1;
  // (B, H, T_q, n_split, head_dim + 2): the row of o before it is divided, the largest score in
  // base 2, and the sum of the exponentials.
  float* parts = nullptr;

  LR_BOTH std::int64_t PartStep() const { return head_dim + 2; }
};
// Such a call of at most kFewRows queries (few_queries-inl.h), and one with low parts of q and k.
inline constexpr int kFewRows = 16;
struct FewQueriesParams : SplitParams {
  static constexpr bool kHasLow = false;
};
struct RotatedFewQueriesParams : SplitParams {
  static constexpr bool kHasLow = true;
};

// Parameters of calls with few terms, which hide what is known of them. A kernel for all terms has
// 5,000 to 12,000 instructions: most calls skip most of them, but they take registers, and room in
// the instruction cache.
//
// Rows have the kernel's own type and are aligned; there is at most one kind of bias.
struct FewParams : Params {
  static constexpr bool kCopiesRows = true, kMayHaveLow = false;
  static constexpr bool kHasKeyBias = false, kHasTable = false, kHasPieces = false;
  static constexpr bool kIsTwoSided = false;
  static constexpr bool kHasLow = false;
  static constexpr bool kSkips = false, kAddsQueries = false, kAddsIntegers = false;
  static constexpr int window = 0, two_sided = 0, has_piecewise = 0, has_dropout = 0, n_region = 1;
  static constexpr const std::int32_t* document_begin = nullptr;
  static constexpr double *query_bias = nullptr, *row_sums = nullptr, *psi_sums = nullptr;
  static constexpr double* segment_sums = nullptr;
};
// None but a rotation.
struct PlainParams : FewParams {
  static constexpr int has_key_bias = 0;
  static constexpr const std::int32_t* first_key = nullptr;
  static constexpr const float* table = nullptr;
};
// A rotation, with the low parts of q and k.
struct RotatedParams : PlainParams {
  static constexpr bool kMayHaveLow = true, kHasLow = true;
};
// A one-sided key bias.
struct KeyBiasParams : FewParams {
  static constexpr bool kHasKeyBias = true;
  static constexpr const float* table = nullptr;
};
// A two-sided one, in kernels that are pipelined.
struct TwoSidedParams : FewParams {
  static constexpr bool kHasKeyBias = true, kIsTwoSided = true;
  static constexpr int has_key_bias = 1, two_sided = 1;
  static constexpr const std::int32_t* first_key = nullptr;
  static constexpr const float* table = nullptr;
  using Params::query_bias;
};
// A distance table.
struct TableParams : FewParams {
  static constexpr bool kHasTable = true;
  static constexpr int has_key_bias = 0;
};
// A piecewise linear function, in kernels that are pipelined.
struct PiecesParams : FewParams {
  static constexpr bool kHasPieces = true;
  static constexpr int has_key_bias = 0, has_piecewise = 1;
  static constexpr const std::int32_t* first_key = nullptr;
  static constexpr const float* table = nullptr;
  static constexpr double* distance_sums = nullptr;
  using Params::psi_sums;
  using Params::row_sums;
  using Params::segment_sums;
};
// With a window, documents or both.
template <typename Known>
struct MaskedParams : Known {
  static constexpr bool kHasMask = true;
  using Params::document_begin;
  using Params::window;
};
// Of a call that skips keys (skip-inl.h), for the kernel whose loop is another one then.
template <typename Known>
struct SkippingParams : Known {
  static constexpr bool kSkips = true;
};

// ---- numbers -----------------------------------------------------------------------------------

LR_DEVICE float FromBf16(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float x = 0.0F;
  __builtin_memcpy(&x, &wide, sizeof x);
  return x;
}
LR_DEVICE std::uint16_t ToBf16(float x) {
  std::uint32_t bits = 0;
  __builtin_memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

// As in kernels/scalar.h.
LR_DEVICE float FromFp16(std::uint16_t bits) {
  const std::uint32_t magnitude = bits & 0x7fffU, sign = (bits & 0x8000U) << 16;
  constexpr std::uint32_t kExponent = 112U << 23;
  const std::uint32_t wide = (magnitude << 13) + (magnitude < 0x7c00U ? kExponent : 2 * kExponent);
  float x = 0.0F;
  __builtin_memcpy(&x, &wide, sizeof x);
  if (magnitude < 0x400U) x = static_cast<float>(magnitude) * 0x1p-24F;
  return sign == 0 ? x : -x;
}
LR_DEVICE std::uint16_t ToFp16(float x) {
  std::uint32_t bits = 0;
  __builtin_memcpy(&bits, &x, sizeof bits);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  std::uint32_t half = ((magnitude + 0xfffU + (magnitude >> 13 & 1U)) >> 13) - (112U << 10);
  if (magnitude < 0x38800000U) {  // 2^-14
    const float sum = fabsf(x) + 0.5F;
    __builtin_memcpy(&half, &sum, sizeof half);
    half -= 0x3f000000U;
  }
  if (magnitude >= 0x477ff000U) half = 0x7c00U;  // 65,520 and more
  if (magnitude > 0x7f800000U) half = 0x7e00U;   // NaN
  return static_cast<std::uint16_t>((bits >> 16 & 0x8000U) | half);
}
LR_DEVICE float FromTwoBytes(int scalar, std::uint16_t bits) {
  return scalar == kScalarFp16 ? FromFp16(bits) : FromBf16(bits);
}
LR_DEVICE std::uint16_t ToTwoBytes(int scalar, float x) {
  return scalar == kScalarFp16 ? ToFp16(x) : ToBf16(x);
}
template <typename Layer>
LR_DEVICE std::uint32_t PackTwo(int scalar, float low, float high) {
  return scalar == kScalarFp16 ? Layer::PackFp16(low, high) : Layer::PackBf16(low, high);
}

LR_DEVICE float ReadNumber(int scalar, const void* data, std::int64_t at) {
  if (HasTwoBytes(scalar)) {
    return FromTwoBytes(scalar, static_cast<const std::uint16_t*>(data)[at]);
  }
  return static_cast<const float*>(data)[at];
}
LR_DEVICE void WriteNumber(int scalar, void* data, std::int64_t at, float x) {
  if (HasTwoBytes(scalar)) {
    static_cast<std::uint16_t*>(data)[at] = ToTwoBytes(scalar, x);
  } else {
    static_cast<float*>(data)[at] = x;
  }
}
LR_DEVICE double ReadNumber(const Numbers& from, std::int64_t at) {
  if (from.is_double != 0) return static_cast<const double*>(from.data)[at];
  return static_cast<double>(static_cast<const float*>(from.data)[at]);
}
LR_DEVICE void WriteNumber(const Numbers& to, std::int64_t at, double x) {
  if (to.is_double != 0) {
    static_cast<double*>(to.data)[at] = x;
  } else {
    static_cast<float*>(to.data)[at] = static_cast<float>(x);
  }
}

LR_BOTH int Min(int a, int b) { return a < b ? a : b; }
LR_BOTH int Max(int a, int b) { return a > b ? a : b; }
// The larger number; the other one if one is NaN.
LR_DEVICE float Larger(float a, float b) { return fmaxf(a, b); }

}  // namespace gpu
}  // namespace longrun
