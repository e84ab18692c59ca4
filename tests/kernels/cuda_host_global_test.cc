// The host's layer of the CUDA kernels (cuda_host.h) finds accesses to global memory that a GPU's
// blocks and threads would make in any order. This source is compiled like the kernels under test.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/kernels/cuda_host.h"

namespace longrun::testing {
namespace {

constexpr int kBlocks = 3, kThreads = gpu::kThreads;
constexpr const char* kBlocksRace =
    "two blocks access the same element of global memory, and one of them writes it";
constexpr const char* kThreadsRace =
    "two threads access the same element of global memory without a barrier between them";

template <typename T>
struct OneArray {
  T* x;
};
// What a kernel whose threads do `Work` on an array of global memory ends with.
template <typename T, void (*kWork)(T*)>
std::string ErrorOf() {
  struct Kernel {
    using Params = OneArray<T>;
    static void Run(const Params& params) { kWork(params.x); }
  };
  std::vector<T> x(kBlocks * kThreads, T(1));
  HostDevice device;
  for (int launch = 0; launch < 2; ++launch) {  // one may read what the one before wrote
    const char* const error = device.Launch<Kernel>(kBlocks, 1024, {x.data()});
    if (error != nullptr) return error;
  }
  return "";
}

int Thread() { return HostLayer::Thread(); }
int Block() { return static_cast<int>(HostLayer::Block()); }
float* OfBlock(float* x, int block) { return x + block % kBlocks * kThreads; }

void WriteOwn(float* x) { OfBlock(x, Block())[Thread()] = 2.0F; }
void ReadAll(float* x) {
  float sum = 0.0F;
  for (int at = 0; at < kBlocks * kThreads; ++at) sum += x[at];
  HostLayer::WarpAny(sum > 0.0F);
}
void WriteHalfWords(std::uint16_t* x) { x[Block() * kThreads + Thread()] = 3; }
void AddAll(std::int64_t* x) { HostLayer::AtomicAdd(x, 1); }
void SetAll(std::int32_t* x) { HostLayer::AtomicOr(x, 2); }
TEST(CudaHostGlobal, BlocksMayReadTheSameWriteTheirOwnAndAdd) {
  EXPECT_EQ((ErrorOf<float, &WriteOwn>()), "");
  EXPECT_EQ((ErrorOf<float, &ReadAll>()), "");
  EXPECT_EQ((ErrorOf<std::uint16_t, &WriteHalfWords>()), "");
  EXPECT_EQ((ErrorOf<std::int64_t, &AddAll>()), "");
  EXPECT_EQ((ErrorOf<std::int32_t, &SetAll>()), "");
}

void WriteTheSame(float* x) { x[Thread()] = 2.0F; }
void ReadOfTheNext(float* x) { OfBlock(x, Block())[Thread()] = OfBlock(x, Block() + 1)[Thread()]; }
void CopyOfTheNext(float* x) {
  HostLayer::Arena arena;
  const HostLayer::Shared<float> shared = arena.Take<float>(kThreads);
  if (Thread() < kThreads / 4) {
    HostLayer::CopyAsync(OfBlock(x, Block() + 1) + 4 * Thread(), shared, 4 * Thread(), true);
  }
  HostLayer::CommitCopies();
  HostLayer::WaitCopies<0>();
  OfBlock(x, Block())[Thread()] = 2.0F;
}
void StoreTheSame(std::uint32_t* x) { HostLayer::StorePair(x + Thread(), 5); }
TEST(CudaHostGlobal, AnElementThatABlockWritesBelongsToIt) {
  EXPECT_EQ((ErrorOf<float, &WriteTheSame>()), kBlocksRace);
  EXPECT_EQ((ErrorOf<float, &ReadOfTheNext>()), kBlocksRace);
  EXPECT_EQ((ErrorOf<float, &CopyOfTheNext>()), kBlocksRace);
  EXPECT_EQ((ErrorOf<std::uint32_t, &StoreTheSame>()), kBlocksRace);
}

// Reverses runs of kLength numbers, with a wait before they are read and before they are written.
template <int kLength, void (*kWait)()>
void Reverse(float* x) {
  float* const own = OfBlock(x, Block());
  own[Thread()] = static_cast<float>(Thread());
  kWait();
  const float other = own[Thread() ^ (kLength - 1)];
  kWait();
  own[Thread()] = other;
}
// What other threads add at the same time may be in it, or not.
void ReadWhatIsAdded(std::int64_t* x) {
  HostLayer::AtomicAdd(x + Block(), 1);
  HostLayer::WarpAny(x[Block()] > 0);
}
TEST(CudaHostGlobal, OnlyABarrierOrdersTheAccessesOfABlock) {
  EXPECT_EQ((ErrorOf<float, &Reverse<kThreads, &HostLayer::Barrier>>()), "");
  EXPECT_EQ((ErrorOf<float, &Reverse<32, &HostLayer::WarpSync>>()), "");
  EXPECT_EQ((ErrorOf<float, &Reverse<kThreads, &HostLayer::WarpSync>>()), kThreadsRace);
  EXPECT_EQ((ErrorOf<std::int64_t, &ReadWhatIsAdded>()), kThreadsRace);
}

}  // namespace
}  // namespace longrun::testing
