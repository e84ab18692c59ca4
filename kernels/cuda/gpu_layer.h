// The layer (device.h) of an NVIDIA GPU, from compute capability 8.0.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/device.h"

// c[n] += a b[n], for inputs of this type.
#define LR_MMA(type)                                                                  \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                 \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])           \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[n][0]), "r"(b[n][1]))

// Where a lane's row lies, of a load that begins at row `first`. Which registers the compiler takes
// depends on the order of these sums, which a function would change.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define LR_PLACE(first, of_lane, column) At<Layout>({first, of_lane}, column)
#else
#define LR_PLACE(first, of_lane, column) Layout::At(first + of_lane, column)
#endif

namespace longrun {
namespace gpu {

struct GpuLayer {
  static __device__ __forceinline__ int Thread() { return static_cast<int>(threadIdx.x); }
  static __device__ __forceinline__ std::int64_t Block() { return blockIdx.x; }
  static __device__ __forceinline__ void Barrier() { __syncthreads(); }
  static __device__ __forceinline__ void WarpSync() { __syncwarp(); }

  template <typename T>
  struct Shared {
    T* data = nullptr;
    __device__ __forceinline__ T Get(int at) const { return data[at]; }
    __device__ __forceinline__ void Set(int at, T x) const { data[at] = x; }
    __device__ __forceinline__ void GetFour(int at, float (&x)[4]) const {
      const float4 four = *reinterpret_cast<const float4*>(data + at);
      x[0] = four.x;
      x[1] = four.y;
      x[2] = four.z;
      x[3] = four.w;
    }
    __device__ __forceinline__ void GetTwo(int at, float (&x)[2]) const {
      const float2 two = *reinterpret_cast<const float2*>(data + at);
      x[0] = two.x;
      x[1] = two.y;
    }
    // Two elements of 2 bytes; `at` is even.
    __device__ __forceinline__ void SetPair(int at, std::uint32_t pair) const {
      *reinterpret_cast<std::uint32_t*>(data + at) = pair;
    }
    __device__ __forceinline__ void SetEight(int at, const T (&x)[kChunk]) const {
      constexpr int kWords = kChunk * static_cast<int>(sizeof(T)) / 16;
      LR_UNROLL
      for (int w = 0; w < kWords; ++w) {
        reinterpret_cast<uint4*>(data + at)[w] = reinterpret_cast<const uint4*>(x)[w];
      }
    }
  };

  struct Arena {
    int used = 0;
    template <typename T>
    __device__ __forceinline__ Shared<T> Take(int n) {
      extern __shared__ __align__(16) unsigned char shared_memory[];
      T* const data = reinterpret_cast<T*>(shared_memory + used);
      used += (n * static_cast<int>(sizeof(T)) + 15) / 16 * 16;
      return {data};
    }
  };

  template <typename T>
  static __device__ __forceinline__ void LoadEight(const void* from, T (&x)[kChunk]) {
    constexpr int kWords = kChunk * static_cast<int>(sizeof(T)) / 16;
    LR_UNROLL
    for (int w = 0; w < kWords; ++w) {
      reinterpret_cast<uint4*>(x)[w] = static_cast<const uint4*>(from)[w];
    }
  }
  // If the source does not exist, its address is not read, and the place becomes 0.
  template <typename T>
  static __device__ __forceinline__ void CopyAsync(const void* from, const Shared<T>& to, int at,
                                                   bool exists) {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to.data + at));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(address), "l"(__cvta_generic_to_global(from)), "r"(exists ? 16 : 0)
                 : "memory");
  }
  static __device__ __forceinline__ void CommitCopies() {
    asm volatile("cp.async.commit_group;" : : : "memory");
  }
  template <int kNewest>
  static __device__ __forceinline__ void WaitCopies() {
    asm volatile("cp.async.wait_group %0;" : : "n"(kNewest) : "memory");
  }
  static __device__ __forceinline__ void StorePair(void* to, std::uint32_t pair) {
    *static_cast<std::uint32_t*>(to) = pair;
  }
  static __device__ __forceinline__ void StoreWords(void* to, const std::uint32_t (&words)[4]) {
    // The compiler splits an assignment into words, and does not always join them again.
    __stcg(static_cast<uint4*>(to), make_uint4(words[0], words[1], words[2], words[3]));
  }

  static __device__ __forceinline__ void AtomicAdd(std::int64_t* to, std::int64_t x) {
    asm volatile("red.global.add.u64 [%0], %1;"
                 :
                 : "l"(__cvta_generic_to_global(to)), "l"(x)
                 : "memory");
  }
  static __device__ __forceinline__ void AtomicAdd(float* to, float x) {
    asm volatile("red.global.add.f32 [%0], %1;"
                 :
                 : "l"(__cvta_generic_to_global(to)), "f"(x)
                 : "memory");
  }

  static __device__ __forceinline__ void AtomicOr(std::int32_t* to, std::int32_t bits) {
    asm volatile("red.global.or.b32 [%0], %1;"
                 :
                 : "l"(__cvta_generic_to_global(to)), "r"(bits)
                 : "memory");
  }

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
  static constexpr bool kIsFrom100 = true;
#else
  static constexpr bool kIsFrom100 = false;
#endif
  static __device__ __forceinline__ int Opaque(int x) {
    asm volatile("" : "+r"(x));
    return x;
  }
  // Code for compute capability 9.0 has no need of these, and with them some kernels for 10.0 spill
  // more registers than without.
  static __device__ __forceinline__ int OpaqueBefore90(int x) {
    return kIsBefore90 ? Opaque(x) : x;
  }
  static __device__ __forceinline__ void SettleBefore90() {
    if constexpr (kIsBefore90) WarpSync();
  }
  static __device__ __forceinline__ std::uint32_t PackBf16(float low, float high) {
    std::uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
  }
  static __device__ __forceinline__ std::uint32_t PackFp16(float low, float high) {
    std::uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
  }
  // exp2f takes four instructions to keep results below 2^-126, which are 0 here.
  static __device__ __forceinline__ float Exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
  static __device__ __forceinline__ double Exp(double x) { return exp(x); }
  static __device__ __forceinline__ double Log(double x) { return log(x); }
  static __device__ __forceinline__ double Log1p(double x) { return log1p(x); }
  static __device__ __forceinline__ float Pow(float x, float y) { return powf(x, y); }
  static __device__ __forceinline__ float RoundedProduct(float x, float y) {
    return __fmul_rn(x, y);
  }
  static __device__ __forceinline__ float Reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }

  static __device__ __forceinline__ std::int64_t RoundedToInt(float x) { return __float2ll_rn(x); }

  template <typename Layout>
  static __device__ __forceinline__ void LoadA(const Shared<std::uint16_t>& tile, int row, int k,
                                               std::uint32_t (&a)[4]) {
    const int lane = Lane();
    LoadMatrices(tile.data + LR_PLACE(row, (lane & 15), k + (lane >> 4) * 8), a);
  }
  // Of the tile's rows k, and columns `row`.
  template <typename Layout>
  static __device__ __forceinline__ void LoadATransposed(const Shared<std::uint16_t>& tile, int k,
                                                         int row, std::uint32_t (&a)[4]) {
    const int lane = Lane();
    LoadTransposed(tile.data + LR_PLACE(k, (lane & 7) + (lane >> 4) * 8, row + (lane >> 3 & 1) * 8),
                   a);
  }
  // Of the tile's rows n and columns k; b[i] is the operand for columns n + 8 i of c.
  template <typename Layout>
  static __device__ __forceinline__ void LoadB(const Shared<std::uint16_t>& tile, int n, int k,
                                               std::uint32_t (&b)[2][2]) {
    const int lane = Lane();
    std::uint32_t x[4];
    LoadMatrices(tile.data + LR_PLACE(n, (lane & 7) + (lane >> 4) * 8, k + (lane >> 3 & 1) * 8), x);
    b[0][0] = x[0];
    b[0][1] = x[1];
    b[1][0] = x[2];
    b[1][1] = x[3];
  }
  // Of the tile's rows k and columns n.
  template <typename Layout>
  static __device__ __forceinline__ void LoadBTransposed(const Shared<std::uint16_t>& tile, int k,
                                                         int n, std::uint32_t (&b)[2][2]) {
    const int lane = Lane();
    std::uint32_t x[4];
    LoadTransposed(tile.data + LR_PLACE(k, (lane & 15), n + (lane >> 4) * 8), x);
    b[0][0] = x[0];
    b[0][1] = x[1];
    b[1][0] = x[2];
    b[1][1] = x[3];
  }
  template <int kScalar, int kCount>
  static __device__ __forceinline__ void Mma(float (*c)[4], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[kCount][2]) {
    LR_UNROLL
    for (int n = 0; n < kCount; ++n) {
      if constexpr (kScalar == kScalarFp16) {
        LR_MMA("f16");
      } else {
        LR_MMA("bf16");
      }
    }
  }

  static __device__ __forceinline__ void QuadMax(float (&x)[2]) {
    LR_UNROLL
    for (int mask = 1; mask <= 2; mask *= 2) {
      x[0] = fmaxf(x[0], __shfl_xor_sync(kAll, x[0], mask));
      x[1] = fmaxf(x[1], __shfl_xor_sync(kAll, x[1], mask));
    }
  }
  template <typename T>
  static __device__ __forceinline__ void QuadSum(T (&x)[2]) {
    LR_UNROLL
    for (int mask = 1; mask <= 2; mask *= 2) {
      x[0] += __shfl_xor_sync(kAll, x[0], mask);
      x[1] += __shfl_xor_sync(kAll, x[1], mask);
    }
  }
  static __device__ __forceinline__ bool WarpAny(bool x) { return __any_sync(kAll, x) != 0; }
  static __device__ __forceinline__ int WarpCount(bool x) { return __popc(__ballot_sync(kAll, x)); }
  static __device__ __forceinline__ float WarpSum(float x) {
    LR_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) x += __shfl_xor_sync(kAll, x, mask);
    return x;
  }
  static __device__ __forceinline__ int WarpMin(int x) { return __reduce_min_sync(kAll, x); }
  static __device__ __forceinline__ int WarpMax(int x) { return __reduce_max_sync(kAll, x); }

 private:
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  static constexpr bool kIsBefore90 = true;
#else
  static constexpr bool kIsBefore90 = false;
#endif
  // The row of a lane, of a load that begins at row `first`.
  struct LaneRow {
    int first, of_lane, row;
    __device__ __forceinline__ LaneRow(int its_first, int its_lane)
        : first(its_first), of_lane(its_lane), row(its_first + its_lane) {}
  };
  template <typename Layout>
  static __device__ __forceinline__ int At(const LaneRow& at, int column) {
    if constexpr (kIsBefore90 && Layout::kSplits) {
      return Layout::AtSplit(at.first, at.of_lane, column);
    } else {
      return Layout::At(at.row, column);
    }
  }
  static constexpr unsigned kAll = 0xffffffffU;
  static __device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) & 31; }
  static __device__ __forceinline__ void LoadMatrices(const std::uint16_t* row,
                                                      std::uint32_t (&x)[4]) {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address)
                 : "memory");
  }
  static __device__ __forceinline__ void LoadTransposed(const std::uint16_t* row,
                                                        std::uint32_t (&x)[4]) {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address)
                 : "memory");
  }
};

}  // namespace gpu
}  // namespace longrun

#undef LR_PLACE
#undef LR_MMA
