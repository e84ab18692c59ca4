#include "base/resident_memory.h"

#include <gtest/gtest.h>

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

TEST(ResidentMemoryTest, WhatAThreadHeldInPiecesIsGivenBack) {
  ResidentMemory memory;
  memory.GiveBackWhenGrown();
  const std::int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<char[]>> stay;
  std::thread([&stay] { stay = FrameInPieces(); }).join();  // in an arena of its own

  memory.GiveBackWhenGrown();

  EXPECT_FALSE(stay.empty());
#ifndef LONGRUN_RESIDENT_IS_HELD_BACK
  EXPECT_LT((ResidentBytes() - before) / kMib, 32);
#else
  EXPECT_GT(before, 0);
#endif
}

// As gRPC holds a frame until it has been refused: a first look comes too early.
TEST(ResidentMemoryTest, WhatWasStillInUseIsGivenBackLater) {
  ResidentMemory memory;
  memory.GiveBackWhenGrown();
  const std::int64_t before = ResidentBytes();
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
#else
  EXPECT_GT(before, 0);
#endif
}

}  // namespace
}  // namespace longrun
