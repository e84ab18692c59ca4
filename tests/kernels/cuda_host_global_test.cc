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
std::string ErrorOf(T* x, const GlobalRegions* regions) {
  struct Kernel {
    using Params = OneArray<T>;
    static void Run(const Params& params) { kWork(params.x); }
  };
  HostDevice device;
  device.regions = regions;
  for (int launch = 0; launch < 2; ++launch) {  // one may read what the one before wrote
    const char* const error = device.Launch<Kernel>(kBlocks, 1024, {x});
    if (error != nullptr) return error;
  }
  return "";
}
template <typename T, void (*kWork)(T*)>
std::string ErrorOf() {
  std::vector<T> x(kBlocks * kThreads, T(1));
  return ErrorOf<T, kWork>(x.data(), nullptr);
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

constexpr const char* kBeyond = "an access to memory that the call neither views nor asked for";

void ReadBeyond(float* x) { HostLayer::WarpAny(x[kBlocks * kThreads] > 0.0F); }
void WriteBeyond(float* x) {
  if (Block() == kBlocks - 1) OfBlock(x, Block())[Thread() + 1] = 2.0F;
}
void StoreBeyond(float* x) {
  if (Thread() % 4 != 0 || Block() != kBlocks - 1) return;
  HostLayer::StoreWords(OfBlock(x, Block()) + Thread() + 4, {1, 2, 3, 4});
}
void CopyFromBefore(float* x) {
  HostLayer::Arena arena;
  const HostLayer::Shared<float> shared = arena.Take<float>(kThreads);
  if (Thread() < kThreads / 4) {
    HostLayer::CopyAsync(x + 4 * (Thread() - 1), shared, 4 * Thread(), true);
  }
  HostLayer::CommitCopies();
  HostLayer::WaitCopies<0>();
}
TEST(CudaHostGlobal, OnlyWhatACallViewsMayBeAccessed) {
  constexpr int kGuard = 16, kCount = kBlocks * kThreads;
  std::vector<float> x(kCount + 2 * kGuard, 1.0F);
  float* const viewed = x.data() + kGuard;
  GlobalRegions regions;
  regions.AddBytes(viewed, 4 * kCount);
  EXPECT_EQ((ErrorOf<float, &WriteOwn>(viewed, &regions)), "");
  EXPECT_EQ((ErrorOf<float, &ReadAll>(viewed, &regions)), "");
  EXPECT_EQ((ErrorOf<float, &ReadBeyond>(viewed, &regions)), kBeyond);
  EXPECT_EQ((ErrorOf<float, &WriteBeyond>(viewed, &regions)), kBeyond);
  EXPECT_EQ((ErrorOf<float, &StoreBeyond>(viewed, &regions)), kBeyond);
  EXPECT_EQ((ErrorOf<float, &CopyFromBefore>(viewed, &regions)), kBeyond);
  // A piece more, and the same accesses are in order.
  regions.AddBytes(viewed + kCount, 4 * kGuard);
  EXPECT_EQ((ErrorOf<float, &ReadBeyond>(viewed, &regions)), "");
}

TEST(CudaHostGlobal, WorkingMemoryMayBeAccessedUntilItIsReleased) {
  const WorkingMemory memory = HostMemory();
  constexpr std::int64_t kBytes = 4 * kBlocks * kThreads;
  auto* const x = static_cast<float*>(memory.allocate(nullptr, kBytes, nullptr));
  const GlobalRegions none;
  EXPECT_EQ((ErrorOf<float, &WriteOwn>(x, &none)), "");
  EXPECT_EQ((ErrorOf<float, &WriteBeyond>(x, &none)), kBeyond);
  memory.release(nullptr, x, nullptr);
  std::vector<float> other(kBlocks * kThreads);
  EXPECT_EQ((ErrorOf<float, &WriteOwn>(other.data(), &none)), kBeyond);
}

// Of heads with a gap behind each row, and between sequences; with the heads' rows in either order.
TEST(CudaHostGlobal, GapsBetweenRowsAreNotViewed) {
  constexpr std::int64_t kBatch = 2, kRow = 3, kHead = 2, kDim = 8;
  struct Steps {
    std::int64_t batch, row, head;
  };
  for (const Steps& steps : {Steps{80, 24, 10}, Steps{80, 10, 36}, Steps{8, 40, 16}}) {
    std::vector<std::uint16_t> x(300);
    LongrunAttentionForwardCall call = {};
    call.q = {.data = x.data() + 20,
              .scalar = static_cast<std::int32_t>(Scalar::kBf16),
              .batch = kBatch,
              .n_row = kRow,
              .n_head = kHead,
              .head_dim = kDim,
              .batch_step = steps.batch,
              .row_step = steps.row,
              .head_step = steps.head,
              .memory = {}};
    const GlobalRegions regions(call);
    std::vector<bool> is_viewed(x.size());
    for (std::int64_t b = 0; b < kBatch; ++b) {
      for (std::int64_t t = 0; t < kRow; ++t) {
        for (std::int64_t h = 0; h < kHead; ++h) {
          for (std::int64_t c = 0; c < kDim; ++c) {
            is_viewed[static_cast<std::size_t>(20 + b * steps.batch + t * steps.row +
                                               h * steps.head + c)] = true;
          }
        }
      }
    }
    for (std::size_t at = 0; at < x.size(); ++at) {
      EXPECT_EQ(regions.Contain(reinterpret_cast<std::uintptr_t>(&x[at]), 2), is_viewed[at])
          << at << " with steps " << steps.batch << ", " << steps.row << ", " << steps.head;
    }
    EXPECT_FALSE(regions.Contain(reinterpret_cast<std::uintptr_t>(&x[20]), 2 * kDim + 2));
  }
}

}  // namespace
}  // namespace longrun::testing
