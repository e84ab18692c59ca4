// Which part of a split a training sample is: a pure function of (order, seed, global sample
// index), so that a resumed run needs only {step, seed}.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/enum_names.h"
#include "base/status.h"

namespace longrun {

// The image of i under a permutation of [0, n) chosen by key: a 6-round Feistel network over the
// next power of four, applied again until the result is below n.
std::uint64_t Permute(std::uint64_t i, std::uint64_t n, std::uint64_t key);

// Which of n items sample g is.
enum class OrderKind {
  kRandom,    // item Sm64(StreamKey(seed, 0, 2) ^ g) mod n
  kShuffled,  // item Permute(g mod n, n, StreamKey(seed, g div n, 0)): each once per epoch
  kStream,    // item g mod n
};
template <>
struct EnumNames<OrderKind> {
  static constexpr std::array<std::string_view, 3> kNames = {"random", "shuffled", "stream"};
};

std::int64_t ItemOf(OrderKind kind, std::uint64_t seed, std::int64_t n, std::int64_t g);

// Windows of a split. With kRandom, the items are the n_tokens - T places at which a window may
// start; else the n = floor((n_tokens - 1) / T) slices, of which slice i is the tokens
// [i T, i T + T + 1).
struct SampleOrder {
  OrderKind kind = OrderKind::kRandom;
  std::uint64_t seed = 0;
  std::int64_t n_tokens = 0;
  std::int64_t train_length = 0;

  // kInvalidArgument when the split is too short for one sequence of train_length + 1 tokens.
  Status Check() const;
  // First token of sample g; the sample is tokens [start, start + train_length + 1).
  std::int64_t Start(std::int64_t g) const;
};

}  // namespace longrun
