#include "base/resident_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "tests/resident.h"

namespace longrun {
namespace {

constexpr std::int64_t kMib = 1 << 20;
constexpr std::int64_t kHeldMib = 192;
constexpr std::size_t kPieceBytes = 8000;  // below what the C library asks of the system by itself

// As a frame comes in: in small pieces, with something after each quarter that stays.
std::vector<std::unique_ptr<char[]>> FrameInPieces() {
  std::vector<std::unique_ptr<char[]>> pieces, stay;
  for (std::int64_t n = 0; n < kHeldMib * kMib; n += kPieceBytes) {
    pieces.push_back(std::make_unique<char[]>(kPieceBytes));  // written: zeros
    if (pieces.size() % 1000 == 0) stay.push_back(std::make_unique<char[]>(100));
  }
  stay.push_back(std::make_unique<char[]>(100));
  return stay;
}

// These pages are in no allocator, so this holds under a sanitizer, too. The bounds are half of the
// pages, since the kernel counts in batches, and the process has other memory.
TEST(ResidentMemoryTest, PagesCountFromTheFirstWriteUntilTheyAreUnmapped) {
  constexpr std::int64_t kMappedBytes = 64 * kMib;
  const std::int64_t before = ResidentBytes();
  EXPECT_GT(before, 0);
  void* const pages =
      mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  EXPECT_LT(ResidentBytes() - before, kMappedBytes / 2);

  std::memset(pages, 1, kMappedBytes);
  const std::int64_t written = ResidentBytes();
  EXPECT_GT(written - before, kMappedBytes / 2);

  ASSERT_EQ(munmap(pages, kMappedBytes), 0);
  EXPECT_GT(written - ResidentBytes(), kMappedBytes / 2);
}

// Under a sanitizer, this test and the next one only show that the calls do no harm, since the C
// library has nothing to give back there.
TEST(ResidentMemoryTest, WhatAThreadHeldInPiecesIsGivenBack) {
  ResidentMemory memory;
  memory.GiveBackWhenGrown();
  [[maybe_unused]] const std::int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<char[]>> stay;
  std::thread([&stay] { stay = FrameInPieces(); }).join();  // in an arena of its own

  memory.GiveBackWhenGrown();

  EXPECT_FALSE(stay.empty());
#ifndef LONGRUN_RESIDENT_IS_HELD_BACK
  EXPECT_LT((ResidentBytes() - before) / kMib, 32);
#endif
}

// As gRPC holds a frame until it has been refused: a first look comes too early.
TEST(ResidentMemoryTest, WhatWasStillInUseIsGivenBackLater) {
  ResidentMemory memory;
  memory.GiveBackWhenGrown();
  [[maybe_unused]] const std::int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<char[]>> pieces, stay;
  for (std::int64_t n = 0; n < kHeldMib * kMib; n += kPieceBytes) {
    pieces.push_back(std::make_unique<char[]>(kPieceBytes));
    if (pieces.size() % 1000 == 0) stay.push_back(std::make_unique<char[]>(100));
  }
  memory.GiveBackWhenGrown();
#ifndef LONGRUN_RESIDENT_IS_HELD_BACK
  EXPECT_GE((ResidentBytes() - before) / kMib, kHeldMib / 2);
#endif

  pieces.clear();
  for (int call = 0; call < 3; ++call) memory.GiveBackWhenGrown();

  EXPECT_FALSE(stay.empty());
#ifndef LONGRUN_RESIDENT_IS_HELD_BACK
  EXPECT_LT((ResidentBytes() - before) / kMib, 32);
#endif
}

}  // namespace
}  // namespace longrun
