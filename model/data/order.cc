// The permutation is a Feistel network, which is a bijection for any round function. Applying it
// again until the image is below n keeps it a bijection on [0, n). The network's domain is less
// than 4 n (16 n for n <= 4), so few repetitions are needed.
#include "model/data/order.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/random.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr int kRounds = 6;
// Streams of a seed's random numbers (StreamKey); 3 decides splits (packing.cc), 4 numbers the
// tokens of samples (model/position_schedule/registry.cc).
constexpr std::uint64_t kShuffleStream = 0;
constexpr std::uint64_t kStartStream = 2;

}  // namespace

std::uint64_t Permute(std::uint64_t i, std::uint64_t n, std::uint64_t key) {
  if (n <= 1) return 0;
  LR_CHECK(i < n);
  const int half_bits = std::max(1, (static_cast<int>(std::bit_width(n - 1)) + 1) / 2);
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  do {
    std::uint64_t left = i >> half_bits;
    std::uint64_t right = i & mask;
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      const std::uint64_t mixed = left ^ (Sm64(Sm64(key ^ round) ^ right) & mask);
      left = right;
      right = mixed;
    }
    i = (left << half_bits) | right;
  } while (i >= n);
  return i;
}

std::int64_t ItemOf(OrderKind kind, std::uint64_t seed, std::int64_t n, std::int64_t g) {
  LR_CHECK(g >= 0 && n > 0);
  const auto index = static_cast<std::uint64_t>(g), n_items = static_cast<std::uint64_t>(n);
  switch (kind) {
    case OrderKind::kStream:
      return static_cast<std::int64_t>(index % n_items);
    case OrderKind::kShuffled: {
      const std::uint64_t key = StreamKey(seed, index / n_items, kShuffleStream);
      return static_cast<std::int64_t>(Permute(index % n_items, n_items, key));
    }
    case OrderKind::kRandom:
      return static_cast<std::int64_t>(Sm64(StreamKey(seed, 0, kStartStream) ^ index) % n_items);
  }
  LR_CHECK(false);
}

Status SampleOrder::Check() const {
  if (train_length <= 0) {
    return Status(Code::kInvalidArgument, Str("train_length ", train_length, " must be positive"));
  }
  if (n_tokens - 1 < train_length) {
    return Status(Code::kInvalidArgument,
                  Str("the split has ", n_tokens, n_tokens == 1 ? " token" : " tokens",
                      ", but a sequence of train_length ", train_length,
                      " needs one more than its length: lower train_length, or import more text"));
  }
  return Status();
}

std::int64_t SampleOrder::Start(std::int64_t g) const {
  LR_CHECK(g >= 0 && train_length > 0 && n_tokens > train_length);
  if (kind == OrderKind::kRandom) return ItemOf(kind, seed, n_tokens - train_length, g);
  return ItemOf(kind, seed, (n_tokens - 1) / train_length, g) * train_length;
}

}  // namespace longrun
