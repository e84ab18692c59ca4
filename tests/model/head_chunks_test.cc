#include "model/head_chunks.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace longrun {
namespace {

using enum HeadChunks;

ModelConfig Wide(std::int64_t vocab_size, std::int64_t d_model) {
  ModelConfig model;
  model.vocab_size = vocab_size;
  model.d_model = d_model;
  return model;
}

TEST(HeadChunksTest, AChunkHas32MibOfLogitsOrOneRow) {
  EXPECT_EQ(HeadChunkRows(kByLogits, 50257, 768), 166);
  EXPECT_EQ(HeadChunkRows(kByLogits, 257, 768), 32640);
  EXPECT_EQ(HeadChunkRows(kByLogits, 1 << 24, 768), 1);
}

TEST(HeadChunksTest, AWideChunkTakesAsMuchMemoryAsTheWeight) {
  EXPECT_EQ(HeadChunkRows(kByWidth, 50257, 768), 768);
  EXPECT_EQ(HeadChunkRows(kByWidth, 50257, 100), 166);
  EXPECT_EQ(HeadChunkRows(kByWidth, 257, 768), 32640);
}

TEST(HeadChunksTest, ANewRunIsCutByWidthWhereThatMakesChunksLarger) {
  EXPECT_EQ(HeadChunksFor(Wide(50257, 768), DeviceKind::kCpu), kByWidth);
  EXPECT_EQ(HeadChunksFor(Wide(50257, 167), DeviceKind::kCpu), kByWidth);
  EXPECT_EQ(HeadChunksFor(Wide(50257, 166), DeviceKind::kCpu), kByLogits);
  EXPECT_EQ(HeadChunksFor(Wide(257, 4096), DeviceKind::kCpu), kByLogits);
  EXPECT_EQ(HeadChunksFor(Wide(50257, 768), DeviceKind::kGpu), kByLogits);
}

}  // namespace
}  // namespace longrun
