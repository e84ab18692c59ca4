// The gradient of an embedding beside the reference.
#include "kernels/embedding.h"

#include <gtest/gtest.h>

#include "kernels/reference/rows.h"
#include "tests/kernels/fixture.h"
#include "tests/kernels/rows.h"

namespace longrun {
namespace {

using testing::Draw;
using testing::ExpectClose;
using testing::Guarded;
using testing::SameBits;
using testing::ToDoubles;

std::vector<std::int64_t> Ids(std::int64_t n, std::int64_t n_vocab) {
  SeededRandom random(testing::CommitSeed() ^ 77);
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < n; ++i) {
    ids.push_back(static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(n_vocab))));
  }
  return ids;
}

class EmbeddingTest : public testing::SimdTest {};

// Vocabularies of one digit of the sort, of two, and of one word; most ids many times, or none.
TEST_P(EmbeddingTest, IsTheReferenceForEveryShape) {
  struct Case {
    std::int64_t n, n_vocab, n_channel;
  };
  for (const Case& one : {Case{0, 5, 3}, Case{7, 1, 5}, Case{1, 9, 1}, Case{200, 13, 33},
                          Case{50, 5000, 16}, Case{300, 70000, 7}}) {
    for (const std::int64_t padding_id : {std::int64_t{-1}, std::int64_t{0}}) {
      const std::vector<std::int64_t> ids = Ids(one.n, one.n_vocab);
      const std::vector<float> dy = Draw<float>(one.n * one.n_channel, 1);
      Guarded<float> d_weight(
          std::vector<float>(static_cast<std::size_t>(one.n_vocab * one.n_channel)));
      EmbeddingGradient({.n_channel = one.n_channel,
                         .n_vocab = one.n_vocab,
                         .ids = ids,
                         .dy = dy.data(),
                         .d_weight = d_weight.data(),
                         .padding_id = padding_id},
                        options());
      ExpectClose(
          d_weight.doubles(),
          ReferenceEmbeddingGradient(one.n_vocab, one.n_channel, ids, ToDoubles(dy), padding_id),
          2e-6, "dW");
      d_weight.ExpectBandsWhole();
    }
  }
}

TEST_P(EmbeddingTest, AddsToWhatIsThere) {
  const std::vector<std::int64_t> ids = {2, 0, 2};
  const std::vector<float> dy = {1.0F, 2.0F, 10.0F, 20.0F, 100.0F, 200.0F};
  Guarded<float> d_weight(std::vector<float>{0.5F, 0.5F, 0.25F, 0.25F, 4.0F, 8.0F});
  EmbeddingGradient(
      {.n_channel = 2, .n_vocab = 3, .ids = ids, .dy = dy.data(), .d_weight = d_weight.data()},
      options());
  testing::ExpectNear(d_weight.doubles(), std::vector<double>{10.5, 20.5, 0.25, 0.25, 105.0, 210.0},
                      0.0);
}

TEST_P(EmbeddingTest, BitsDependOnNeitherThreadsNorOtherIds) {
  const std::vector<std::int64_t> ids = Ids(500, 40);
  const std::vector<float> dy = Draw<float>(500 * 19, 1);
  Guarded<float> one(std::vector<float>(40 * 19)), three(std::vector<float>(40 * 19)),
      alone(std::vector<float>(40 * 19));
  const auto call = [&](const std::vector<std::int64_t>& of, const std::vector<float>& rows,
                        Guarded<float>& to) -> EmbeddingGradientCall {
    return {.n_channel = 19, .n_vocab = 40, .ids = of, .dy = rows.data(), .d_weight = to.data()};
  };
  EmbeddingGradient(call(ids, dy, one), options());
  EmbeddingGradient(call(ids, dy, three), options(3));
  EXPECT_TRUE(SameBits(one, three));
  std::vector<std::int64_t> of_17;
  std::vector<float> rows_of_17;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != 17) continue;
    of_17.push_back(17);
    rows_of_17.insert(rows_of_17.end(), dy.begin() + static_cast<std::ptrdiff_t>(i * 19),
                      dy.begin() + static_cast<std::ptrdiff_t>((i + 1) * 19));
  }
  EmbeddingGradient(call(of_17, rows_of_17, alone), options());
  EXPECT_TRUE(SameBits(alone.values().subspan(17 * 19, 19), one.values().subspan(17 * 19, 19)));
}

LONGRUN_FOR_EVERY_SIMD(EmbeddingTest);

TEST(ReferenceEmbeddingTest, AChosenRowHasTheSumOfItsGradients) {
  testing::ExpectNear(ReferenceEmbeddingGradient(2, 1, std::vector<std::int64_t>{1, 0, 1},
                                                 std::vector<double>{1.0, 2.0, 4.0}, -1),
                      std::vector<double>{2.0, 5.0}, 0.0);
}

}  // namespace
}  // namespace longrun
