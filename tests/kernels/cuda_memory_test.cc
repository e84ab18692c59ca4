// The memory of a GPU for tests (cuda_memory.h) over a CUDA runtime that is made here: its stream
// does its work when it is waited for, and not before.
#include "tests/kernels/cuda_memory.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/str.h"

namespace longrun::testing {
namespace {

constexpr std::size_t kPoolBytes = 1 << 16;
constexpr unsigned char kUnwritten = 0x55, kPoison = 0xff;
constexpr std::size_t kAlignment = 256;  // as cudaMalloc's

struct AlignedFree {
  void operator()(void* address) const { std::free(address); }
};
struct Allocation {
  std::unique_ptr<void, AlignedFree> address;
  std::size_t n = 0;
};

struct FakeRuntime {
  std::map<void*, Allocation> live;
  std::vector<std::size_t> sizes;  // of all allocations
  std::vector<std::function<void()>> work;
  bool freed_while_working = false;
  int failing_copies = 0;  // so many fail
};
FakeRuntime* fake = nullptr;

int CountDevices(int* count) {
  *count = 1;
  return 0;
}
int Allocate(void** address, std::size_t n) {
  *address = std::aligned_alloc(kAlignment, (n + kAlignment - 1) / kAlignment * kAlignment);
  std::memset(*address, kUnwritten, n);
  fake->live[*address] = {.address = std::unique_ptr<void, AlignedFree>(*address), .n = n};
  fake->sizes.push_back(n);
  return 0;
}
int Release(void* address) {
  fake->freed_while_working |= !fake->work.empty();
  return fake->live.erase(address) == 1 ? 0 : 1;
}
int CreateStream(void** stream, unsigned) {
  *stream = nullptr;
  return 0;
}
int CopyLater(void* to, const void* from, std::size_t n, int, void*) {
  if (fake->failing_copies > 0) {
    --fake->failing_copies;
    return 700;
  }
  fake->work.emplace_back([=] { std::memcpy(to, from, n); });
  return 0;
}
int SetLater(void* to, int byte, std::size_t n, void*) {
  fake->work.emplace_back([=] { std::memset(to, byte, n); });
  return 0;
}
int Synchronize(void*) {
  for (const auto& one : std::exchange(fake->work, {})) one();
  return 0;
}
const char* ErrorText(int) { return "an imagined error"; }

class CudaMemoryTest : public ::testing::Test {
 protected:
  CudaMemoryTest() { fake = &runtime_; }
  ~CudaMemoryTest() override { fake = nullptr; }

  void Open(GpuPieces pieces) {
    const Status status = OpenTestGpuWith({.get_device_count = &CountDevices,
                                           .allocate = &Allocate,
                                           .release = &Release,
                                           .create_stream = &CreateStream,
                                           .copy = &CopyLater,
                                           .set = &SetLater,
                                           .synchronize = &Synchronize,
                                           .error_text = &ErrorText},
                                          {.pieces = pieces, .pool_bytes = kPoolBytes});
    ASSERT_TRUE(status.ok()) << status.message();
  }

  // What a kernel would find in working memory of n bytes, which it then gives back.
  std::vector<unsigned char> FoundInWorkingMemory(std::size_t n) {
    const WorkingMemory memory = TestGpuMemory();
    void* const address =
        memory.allocate(memory.context, static_cast<std::int64_t>(n), TestGpuStream());
    EXPECT_NE(address, nullptr);
    std::vector<unsigned char> found(n);
    CopyLater(found.data(), address, n, 0, nullptr);  // ends after the memory is given back
    memory.release(memory.context, address, TestGpuStream());
    Synchronize(nullptr);
    return found;
  }

  FakeRuntime runtime_;
  std::vector<float> input_ = std::vector<float>(40, 2.0f);
  std::vector<float> result_ = std::vector<float>(40, 1.0f);
};

// Adds 1 to each of the n numbers, as a kernel on the stream.
void AddOne(void* numbers, std::size_t n) {
  fake->work.emplace_back([=] {
    auto* const x = static_cast<float*>(numbers);
    for (std::size_t i = 0; i < n; ++i) x[i] += 1.0f;
  });
}

TEST_F(CudaMemoryTest, ResultsComeBack) {
  for (const GpuPieces pieces : {GpuPieces::kPool, GpuPieces::kOwn, GpuPieces::kUnwritten}) {
    Open(pieces);
    for (int call = 0; call < 2; ++call) {
      CudaCopies copies;
      const auto* const input = static_cast<const float*>(copies.Copy(input_.data(), 160, nullptr));
      void* const result = copies.Copy(result_.data(), 160, result_.data());
      fake->work.emplace_back([=] { EXPECT_EQ(input[39], 2.0f); });
      AddOne(result, 40);
      const Status status = copies.Finish();
      EXPECT_TRUE(status.ok()) << status.message();
      EXPECT_EQ(result_, std::vector<float>(40, 2.0f + static_cast<float>(call)));
    }
    result_.assign(40, 1.0f);
    EXPECT_FALSE(runtime_.freed_while_working);
  }
}

TEST_F(CudaMemoryTest, APoolIsOneAllocationThatBeginsAsNaN) {
  Open(GpuPieces::kPool);
  CudaCopies copies;
  copies.Copy(input_.data(), 160, nullptr);
  EXPECT_EQ(FoundInWorkingMemory(100), std::vector<unsigned char>(100, kPoison));
  EXPECT_TRUE(copies.Finish().ok());
  EXPECT_EQ(runtime_.sizes, std::vector<std::size_t>{kPoolBytes});
}

// Of exactly the size that is asked for, so that memcheck sees the first byte beyond it.
TEST_F(CudaMemoryTest, EachPieceIsAnAllocationOfItsOwn) {
  for (const GpuPieces pieces : {GpuPieces::kOwn, GpuPieces::kUnwritten}) {
    Open(pieces);
    runtime_.sizes.clear();
    CudaCopies copies;
    const std::size_t beyond = reinterpret_cast<std::uintptr_t>(input_.data() + 1) % 16;
    const auto at = reinterpret_cast<std::uintptr_t>(copies.Copy(input_.data() + 1, 156, nullptr));
    EXPECT_EQ(at % kAlignment, beyond);
    copies.Copy(result_.data(), 7, result_.data());
    FoundInWorkingMemory(100);
    const std::size_t of_result = reinterpret_cast<std::uintptr_t>(result_.data()) % 16 + 7;
    EXPECT_EQ(runtime_.sizes, (std::vector<std::size_t>{beyond + 156, of_result, 100}));
    EXPECT_EQ(runtime_.live.size(), 2u) << "working memory that was given back";
    EXPECT_TRUE(copies.Finish().ok());
    EXPECT_TRUE(runtime_.live.empty());
    EXPECT_FALSE(runtime_.freed_while_working);
  }
}

TEST_F(CudaMemoryTest, OnlyUnwrittenPiecesAreUnwritten) {
  Open(GpuPieces::kOwn);
  {
    CudaCopies copies;
    EXPECT_EQ(FoundInWorkingMemory(100), std::vector<unsigned char>(100, kPoison));
    EXPECT_TRUE(copies.Finish().ok());
  }
  Open(GpuPieces::kUnwritten);
  CudaCopies copies;
  EXPECT_EQ(FoundInWorkingMemory(100), std::vector<unsigned char>(100, kUnwritten));
  EXPECT_TRUE(copies.Finish().ok());
}

TEST_F(CudaMemoryTest, PiecesOfACallThatFailedAreFreedByTheNext) {
  Open(GpuPieces::kOwn);
  {
    CudaCopies copies;
    runtime_.failing_copies = 1;
    copies.Copy(input_.data(), 160, nullptr);
    EXPECT_EQ(copies.status().message(), "inputs: an imagined error");
    AddOne(copies.Copy(result_.data(), 160, result_.data()), 40);
  }
  EXPECT_EQ(runtime_.live.size(), 2u);
  CudaCopies copies;
  EXPECT_TRUE(runtime_.live.empty());
  EXPECT_FALSE(runtime_.freed_while_working);
  EXPECT_TRUE(copies.Finish().ok());
}

TEST_F(CudaMemoryTest, AByteBesideAPieceOfThePoolIsFound) {
  Open(GpuPieces::kPool);
  CudaCopies copies;
  auto* const numbers = static_cast<float*>(copies.Copy(result_.data(), 160, result_.data()));
  fake->work.emplace_back([=] { numbers[40] = 3.0f; });
  EXPECT_EQ(copies.Finish().message(), "a kernel wrote beside what a call views");
}

TEST(CudaRuntimeTest, TheFirstOfTheNamesIsTheBuilds) {
  const std::vector<std::string> names = CudaRuntimeNames();
  ASSERT_GE(names.size(), 2u);
#ifdef LONGRUN_TEST_CUDA_MAJOR
  EXPECT_EQ(names.front(), Str("libcudart.so.", LONGRUN_TEST_CUDA_MAJOR));
#endif
  std::vector<std::string> sorted = names;
  std::ranges::sort(sorted);
  EXPECT_TRUE(std::ranges::adjacent_find(sorted) == sorted.end()) << "a name is listed twice";
}

TEST(CudaRuntimeTest, WhatIsLoadedIsFoundByAnyName) {
  const Result<void*> found = LoadedLibrary({"libcudart.so.1", "libc.so.6"});
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_NE(dlsym(*found, "malloc"), nullptr);
}

TEST(CudaRuntimeTest, TheErrorSaysWhichNamesWereTried) {
  EXPECT_EQ(LoadedLibrary({"libcudart.so.2", "libcudart.so.1"}).status().message(),
            "none of these CUDA runtimes is loaded: libcudart.so.2, libcudart.so.1; build the "
            "plug-in and the tests with the same toolkit");
}

TEST(CudaMemoryOptionsTest, UnknownPiecesAreAnError) {
  ASSERT_EQ(setenv("LONGRUN_TEST_GPU_PIECES", "ownn", 1), 0);
  EXPECT_EQ(OpenTestGpu().message(),
            "LONGRUN_TEST_GPU_PIECES is \"ownn\": expected pool, own or unwritten");
  unsetenv("LONGRUN_TEST_GPU_PIECES");
}

}  // namespace
}  // namespace longrun::testing
