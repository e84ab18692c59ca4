#include "kernels/merge.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace longrun {
namespace {

constexpr double kUnseen = -std::numeric_limits<double>::infinity();

// (1, 2, 1, 2): two queries of one head.
struct Rows {
  std::vector<double> o = std::vector<double>(4);
  std::vector<double> lse = std::vector<double>(2);
  template <typename Pointer>
  HeadsViewOf<Pointer> Heads(Pointer data) const {
    return {.data = data,
            .scalar = Scalar::kFp64,
            .batch = 1,
            .n_row = 2,
            .n_head = 1,
            .head_dim = 2,
            .batch_step = 4,
            .row_step = 2,
            .head_step = 2};
  }
  AttentionPart Part() const { return {.o = Heads<const void*>(o.data()), .lse = lse}; }
  Status Merge(std::span<const AttentionPart> parts) {
    return MergeAttention(parts, Heads<void*>(o.data()), lse);
  }
};

void ExpectNamed(const Status& status, std::string_view named) {
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_TRUE(status.message().find(named) != std::string::npos) << status.message();
}

TEST(MergeAttention, WeighsPartsByTheirSums) {
  const Rows a = {.o = {1, 2, 3, 4}, .lse = {std::log(3.0), 1000.0}};
  const Rows b = {.o = {5, 10, 7, 8}, .lse = {std::log(1.0), 1000.0 + std::log(3.0)}};
  Rows all;
  ASSERT_TRUE(all.Merge({{a.Part(), b.Part()}}).ok());
  const double expected[] = {2, 4, 6, 7};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(all.o[i], expected[i], 1e-12);
  EXPECT_NEAR(all.lse[0], std::log(4.0), 1e-14);
  EXPECT_NEAR(all.lse[1], 1000.0 + std::log(4.0), 1e-12);
}

TEST(MergeAttention, APartThatAQueryDoesNotSeeChangesNothing) {
  const Rows seen = {.o = {1, 2, 0, 0}, .lse = {-700.0, kUnseen}};
  const Rows unseen = {.o = {0, 0, 0, 0}, .lse = {kUnseen, kUnseen}};
  for (const std::vector<AttentionPart>& parts :
       {std::vector{seen.Part(), unseen.Part()}, std::vector{unseen.Part(), seen.Part()}}) {
    Rows all = {.o = {9, 9, 9, 9}, .lse = {9, 9}};
    ASSERT_TRUE(all.Merge(parts).ok());
    EXPECT_EQ(all.o, seen.o);
    EXPECT_EQ(all.lse, seen.lse);
  }
}

TEST(MergeAttention, ANaNIsNotLost) {
  const Rows a = {.o = {1, 2, 3, 4}, .lse = {0.0, 0.0}};
  const Rows b = {.o = {1, 2, 3, 4}, .lse = {std::nan(""), kUnseen}};
  Rows all;
  ASSERT_TRUE(all.Merge({{a.Part(), b.Part()}}).ok());
  EXPECT_TRUE(std::isnan(all.lse[0]));
  EXPECT_TRUE(std::isnan(all.o[0]));
  EXPECT_EQ(all.o[2], 3.0);
}

TEST(MergeAttention, WhatDoesNotFitIsRefusedByName) {
  const Rows a, b;
  Rows all;
  ExpectNamed(all.Merge({}), "parts: there is none");
  const auto merged = [&](auto&& change) {
    std::vector<AttentionPart> parts = {a.Part(), b.Part()};
    change(parts[1]);
    return all.Merge(parts);
  };
  ExpectNamed(merged([](AttentionPart& p) { p.o.n_row = 3; }), "parts[1].o: has another shape");
  ExpectNamed(merged([](AttentionPart& p) { p.lse.n = 3; }), "parts[1].lse: has 3 numbers");
  ExpectNamed(merged([](AttentionPart& p) { p.lse.scalar = Scalar::kBf16; }),
              "parts[1].lse: is bf16");
  const MemorySpace gpu = {.kind = MemorySpace::Kind::kCuda, .ordinal = 2};
  ExpectNamed(merged([&](AttentionPart& p) { p.o.memory = gpu; }),
              "parts[1].o: lies in the memory of GPU 2");
  ExpectNamed(merged([&](AttentionPart& p) { p.lse.memory = gpu; }),
              "parts[1].lse: lies in the memory of GPU 2");
  ExpectNamed(merged([](AttentionPart& p) { p.o.data = nullptr; }), "parts[1].o: is null");
}

}  // namespace
}  // namespace longrun
