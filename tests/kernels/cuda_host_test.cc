// The host's layer of the CUDA kernels (cuda_host.h) finds the errors that a GPU passes over.
#include "tests/kernels/cuda_host.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longrun::testing {
namespace {

// What a kernel whose threads do `Work` on 256 floats of shared memory ends with.
template <void (*kWork)(const HostLayer::Shared<float>&, float*)>
std::string ErrorOf(float* out = nullptr) {
  struct Params {
    float* out;
  };
  struct Kernel {
    using Params = struct Params;
    static void Run(const Params& params) {
      HostLayer::Arena arena;
      kWork(arena.Take<float>(256), params.out);
    }
  };
  HostDevice device;
  const char* const error = device.Launch<Kernel>(3, 1024, Params{out});
  return error == nullptr ? "" : error;
}

using Array = HostLayer::Shared<float>;

void Reverse(const Array& x, float* out) {
  x.Set(HostLayer::Thread(), static_cast<float>(HostLayer::Thread()));
  HostLayer::Barrier();
  out[HostLayer::Thread()] = x.Get(gpu::kThreads - 1 - HostLayer::Thread());
}
void ReverseWithoutBarrier(const Array& x, float* out) {
  x.Set(HostLayer::Thread(), 1.0F);
  HostLayer::WarpSync();
  out[HostLayer::Thread()] = x.Get(gpu::kThreads - 1 - HostLayer::Thread());
}
void ReverseInWarp(const Array& x, float* out) {
  x.Set(HostLayer::Thread(), static_cast<float>(HostLayer::Thread()));
  HostLayer::WarpSync();
  out[HostLayer::Thread()] = x.Get(HostLayer::Thread() ^ 31);
}
void ReverseInWarpWithoutSync(const Array& x, float* out) {
  x.Set(HostLayer::Thread(), 1.0F);
  HostLayer::WarpMax(0);  // exchanges registers, and orders no memory
  out[HostLayer::Thread()] = x.Get(HostLayer::Thread() ^ 31);
}
void WriteAfterRead(const Array& x, float* out) {
  out[HostLayer::Thread()] = x.Get(0);
  if (HostLayer::Thread() == 77) x.Set(0, 1.0F);
}
void ReadBeyond(const Array& x, float* out) {
  out[HostLayer::Thread()] = x.Get(256 + HostLayer::Thread());
}
void MissBarrier(const Array&, float*) {
  if (HostLayer::Thread() != 5) HostLayer::Barrier();
}
void MissExchange(const Array&, float*) {
  if (HostLayer::Thread() != 5) HostLayer::WarpMin(0);
}
void Diverge(const Array&, float*) {
  if (HostLayer::Thread() % 2 == 0) {
    HostLayer::WarpMin(0);
  } else {
    HostLayer::WarpMax(0);
  }
}
void ReadUnaligned(const Array& x, float* out) {
  float four[4];
  x.GetFour(2, four);
  out[0] = four[0];
}

TEST(CudaHost, ThreadsExchangeNumbersThroughSharedMemory) {
  std::vector<float> out(gpu::kThreads);
  EXPECT_EQ(ErrorOf<&Reverse>(out.data()), "");
  for (int at = 0; at < gpu::kThreads; ++at) {
    EXPECT_EQ(out[static_cast<std::size_t>(at)], static_cast<float>(gpu::kThreads - 1 - at));
  }
  EXPECT_EQ(ErrorOf<&ReverseInWarp>(out.data()), "");
  for (int at = 0; at < gpu::kThreads; ++at) {
    EXPECT_EQ(out[static_cast<std::size_t>(at)], static_cast<float>(at ^ 31));
  }
}

TEST(CudaHost, AForgottenBarrierIsAnError) {
  std::vector<float> out(gpu::kThreads);
  const std::string race =
      "two threads access the same element of shared memory without a barrier between them";
  EXPECT_EQ(ErrorOf<&ReverseWithoutBarrier>(out.data()), race);
  EXPECT_EQ(ErrorOf<&ReverseInWarpWithoutSync>(out.data()), race);
  EXPECT_EQ(ErrorOf<&WriteAfterRead>(out.data()), race);
}

TEST(CudaHost, AWaitThatSomeThreadsDoNotReachIsAnError) {
  EXPECT_EQ(ErrorOf<&MissBarrier>(), "a barrier that some threads of the block do not reach");
  EXPECT_EQ(ErrorOf<&MissExchange>(),
            "a warp whose lanes do not all reach a product or an exchange");
  EXPECT_EQ(ErrorOf<&Diverge>(), "lanes of a warp wait for different things");
}

TEST(CudaHost, AnAccessOutsideAnArrayIsAnError) {
  std::vector<float> out(gpu::kThreads);
  EXPECT_EQ(ErrorOf<&ReadBeyond>(out.data()), "an access beyond an array in shared memory");
  EXPECT_EQ(ErrorOf<&ReadUnaligned>(out.data()), "a vector in shared memory that is not aligned");
}

}  // namespace
}  // namespace longrun::testing
