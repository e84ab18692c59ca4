#include "model/net/attention_cache.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/check.h"

namespace longrun {
namespace {

// Keys in a tile of the kernels (kernels/cpu/plan.h).
constexpr std::int64_t kTile = 64;

std::int64_t RoundDown(std::int64_t n) { return n / kTile * kTile; }
std::int64_t RoundUp(std::int64_t n) { return RoundDown(n + kTile - 1); }

// Fewer keys are not forgotten: each token then copies at most four others, which is little beside
// the window that it reads.
std::int64_t ForgottenMin(const KeysSeen& seen) { return std::max(kTile, seen.window / 4); }

// The most keys that are held between two calls.
std::int64_t HeldMax(const KeysSeen& seen) {
  return RoundUp(seen.n_sink) + seen.window + ForgottenMin(seen) + kTile;
}

// Rows [begin, begin + n) of x and, before them, its first n_front, in a tensor with n_room rows.
at::Tensor Moved(const at::Tensor& x_BHT, std::int64_t n_room, std::int64_t n_front,
                 std::int64_t begin, std::int64_t n) {
  std::vector<std::int64_t> shape = x_BHT.sizes().vec();
  shape[2] = n_room;
  at::Tensor moved = at::empty(shape, x_BHT.options());
  moved.narrow(2, 0, n_front).copy_(x_BHT.narrow(2, 0, n_front));
  moved.narrow(2, n_front, n).copy_(x_BHT.narrow(2, begin, n));
  return moved;
}

// Calls move(tensor, rows in use) for all tensors of the cache.
template <typename Function>
void ForTensors(AttentionCache& cache, std::int64_t n_held, const Function& move) {
  move(cache.k_BHTD, n_held);
  move(cache.v_BHTD, n_held);
  for (at::Tensor& of_term : cache.of_terms_BHT) {
    if (of_term.defined()) move(of_term, n_held);
  }
  for (at::Tensor& keys : cache.key_sets) move(keys, cache.n_rotated);
}

// Of each tensor that has less than n_needed rows.
void SetRoom(AttentionCache& cache, std::int64_t n_needed, std::int64_t n_room) {
  ForTensors(cache, cache.n_held(), [&](at::Tensor& x, std::int64_t n_used) {
    if (x.size(2) < n_needed) x = Moved(x, n_room, 0, 0, n_used);
  });
}

// The most rows that can ever be in use if a call brings n_new tokens.
std::int64_t RoomMax(const AttentionCache& cache, std::int64_t n_new) {
  const std::int64_t of_text = cache.n_held() + (cache.capacity - cache.n);
  if (cache.seen.window == 0) return of_text;
  return std::min(of_text, HeldMax(cache.seen) + n_new);
}

}  // namespace

void AttentionCache::MakeRoom(std::int64_t n_new) {
  LR_CHECK(n + n_new <= capacity);
  const std::int64_t n_needed = n_held() + n_new;
  const std::int64_t n_grown = std::max(kTile, n_needed + n_needed / 2);
  SetRoom(*this, n_needed, std::max(n_needed, std::min(n_grown, RoomMax(*this, n_new))));
}

void AttentionCache::Reserve() {
  const std::int64_t n_most = RoomMax(*this, 0);
  SetRoom(*this, n_most, n_most);
}

void AttentionCache::Add(const at::Tensor& k_BHND, const at::Tensor& v_BHND) {
  const std::int64_t begin = n_held(), n_new = k_BHND.size(2);
  k_BHTD.narrow(2, begin, n_new).copy_(k_BHND);
  v_BHTD.narrow(2, begin, n_new).copy_(v_BHND);
  n += n_new;
}

AttentionCache AttentionCache::Rows(const at::Tensor& rows_R) const {
  AttentionCache rows = *this;
  const std::int64_t n_room = RoomMax(rows, 0);
  ForTensors(rows, n_held(), [&](at::Tensor& x, std::int64_t n_used) {
    std::vector<std::int64_t> shape = x.sizes().vec();
    shape[0] = rows_R.size(0);
    shape[2] = std::max(n_used, n_room);
    at::Tensor of_rows = at::empty(shape, x.options());
    of_rows.narrow(2, 0, n_used).copy_(x.narrow(2, 0, n_used).index_select(0, rows_R));
    x = std::move(of_rows);
  });
  return rows;
}

void AttentionCache::Forget() {
  if (seen.window == 0) return;
  const std::int64_t n_front = RoundUp(seen.n_sink);
  // The next query is token n; it sees keys from n - window + 1 on.
  const std::int64_t n_now = RoundDown(n - seen.window + 1) - n_front - held.n_forgotten;
  if (n_now < ForgottenMin(seen)) return;
  const std::int64_t n_before = n_held();
  held = {.n_front = n_front, .n_forgotten = held.n_forgotten + n_now};
  const std::int64_t begin = n_front + n_now;
  const auto n_after = [&](std::int64_t n_used) {
    return std::max<std::int64_t>(0, n_used - begin);
  };
  const std::int64_t n_room = RoomMax(*this, 0);
  ForTensors(*this, n_before, [&](at::Tensor& x, std::int64_t n_used) {
    x = Moved(x, n_room, std::min(n_used, n_front), begin, n_after(n_used));
  });
  n_rotated = std::min(n_rotated, n_front) + n_after(n_rotated);
}

}  // namespace longrun
