#include "model/net/host_keys.h"

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/ops/empty.h>
#include <c10/core/StreamGuard.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>

#include "base/check.h"
#include "base/memory.h"
#include "base/units.h"
#include "model/net/pinned.h"
#include "model/net/streams.h"

namespace longrun {
namespace {

// Rows [from_begin, from_begin + n) of one tensor to those of the other. LibTorch copies memory of
// the host without waiting only where it is one piece, which is the rows of one head.
void CopyRows(const at::Tensor& from_BGND, std::int64_t from_begin, const at::Tensor& to_BGND,
              std::int64_t to_begin, std::int64_t n) {
  for (std::int64_t b = 0; b < from_BGND.size(0); ++b) {
    for (std::int64_t g = 0; g < from_BGND.size(1); ++g) {
      to_BGND.select(0, b)
          .select(0, g)
          .narrow(0, to_begin, n)
          .copy_(from_BGND.select(0, b).select(0, g).narrow(0, from_begin, n),
                 /*non_blocking=*/true);
    }
  }
}

at::Tensor Rows(const at::Tensor& like_BGND, std::int64_t n, const at::TensorOptions& options) {
  return at::empty({like_BGND.size(0), like_BGND.size(1), n, like_BGND.size(3)}, options);
}

// What the process may still pin; n_pinned bytes are pinned already. A batch system's limit counts
// them, if it counts any.
std::int64_t AvailableBytes(std::int64_t n_pinned) {
  const std::int64_t within_limit = MachineMemoryBytes() - n_pinned;
  const std::optional<HostMemory> host = ReadHostMemory();
  return host ? std::min(host->available_bytes(), within_limit) : within_limit;
}

// The host must keep some memory for its programs: pinned memory is never swapped out.
void CheckHostHasRoom(const c10::Device& device, std::int64_t n_byte, std::int64_t n_pinned) {
  const std::int64_t kept = MachineMemoryBytes() / 16;
  std::int64_t available = AvailableBytes(n_pinned);
  if (available - kept < n_byte) {
    // What an earlier text has left is still pinned.
    at::getHostAllocator(device.type())->empty_cache();
    available = AvailableBytes(n_pinned);
  }
  TORCH_CHECK_WITH(OutOfMemoryError, available - kept >= n_byte,
                   "the GPU has no room for the keys and values, and the host has only ",
                   FormatBytes(available), " of memory left, of which ", FormatBytes(kept),
                   " are kept for other programs");
}

std::int64_t RowBytes(const at::Tensor& x_BGND) {
  return x_BGND.size(0) * x_BGND.size(1) * x_BGND.size(3) * x_BGND.element_size();
}

at::Tensor PinnedRows(const at::Tensor& like_BGND, std::int64_t n) {
  const at::TensorOptions options = like_BGND.options().device(at::kCPU).pinned_memory(true);
  return Pinned("keys and values", [&] { return Rows(like_BGND, n, options); });
}

}  // namespace

HostKeys::HostKeys(const c10::Device& device, const std::vector<AttentionCache>& caches,
                   std::int64_t chunk_bytes)
    : device_(device),
      chunk_bytes_(chunk_bytes),
      stream_(PooledStream(device)),
      queued_(device.type()),
      rooms_{Room{.k_BGND = {}, .v_BGND = {}, .arrived = c10::Event(device.type())},
             Room{.k_BGND = {}, .v_BGND = {}, .arrived = c10::Event(device.type())}} {
  for (std::size_t layer = 0; layer < caches.size(); ++layer) {
    LR_CHECK(caches[layer].n == 0);
    if (caches[layer].seen.window == 0) layers_.push_back({.layer = layer});
  }
}

// What is still arriving after an error must not write into memory that others get.
HostKeys::~HostKeys() {
  try {
    queued_.record(stream_);
    queued_.block(CurrentStream(device_));
  } catch (const std::exception&) {
    // The device is lost, and its memory with it.
  }
}

std::optional<std::size_t> HostKeys::IndexOf(std::size_t layer) const {
  const auto found = std::ranges::find(layers_, layer, &Layer::layer);
  if (found == layers_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - layers_.begin());
}

// Queues the arrival of a layer's rows. Both rooms are used in turn, so all earlier work on this
// one is queued, and the arrival waits for it.
void HostKeys::Fetch(const AttentionCache& cache, std::size_t index, std::int64_t n_new) {
  const Layer& of = layers_[index];
  Room& room = rooms_[index % rooms_.size()];
  const std::int64_t n_needed = of.n + n_new;
  if (!room.k_BGND.defined() || room.k_BGND.size(2) < n_needed) {
    const std::int64_t n_room = std::min(cache.capacity, n_needed + n_needed / 2);
    room.k_BGND = room.v_BGND = at::Tensor();
    room.k_BGND = Rows(cache.k_BHTD, n_room, cache.k_BHTD.options());
    room.v_BGND = Rows(cache.v_BHTD, n_room, cache.v_BHTD.options());
  }
  queued_.record(CurrentStream(device_));
  queued_.block(stream_);
  const c10::StreamGuard guard(stream_);
  std::int64_t begin = 0;
  for (const Chunk& chunk : of.chunks) {
    CopyRows(chunk.k_BGND, 0, room.k_BGND, begin, chunk.n);
    CopyRows(chunk.v_BGND, 0, room.v_BGND, begin, chunk.n);
    begin += chunk.n;
  }
  room.arrived.record(stream_);
  room.is_coming = true;
}

void HostKeys::Bring(std::vector<AttentionCache>& caches, std::size_t layer, std::int64_t n_new) {
  const std::optional<std::size_t> index = IndexOf(layer);
  if (!index) return;
  Room& room = rooms_[*index % rooms_.size()];
  if (!room.is_coming) Fetch(caches[layer], *index, n_new);
  room.is_coming = false;
  room.arrived.block(CurrentStream(device_));
  caches[layer].k_BHTD = room.k_BGND;
  caches[layer].v_BHTD = room.v_BGND;
  if (*index + 1 < layers_.size()) {
    Fetch(caches[layers_[*index + 1].layer], *index + 1, n_new);
  }
}

void HostKeys::TakeBack(std::vector<AttentionCache>& caches, std::size_t layer) {
  const std::optional<std::size_t> index = IndexOf(layer);
  if (!index) return;
  AttentionCache& cache = caches[layer];
  Layer& of = layers_[*index];
  while (of.n < cache.n) {
    if (of.chunks.empty() || of.chunks.back().is_full()) {
      const std::int64_t n_room =
          std::clamp<std::int64_t>(chunk_bytes_ / RowBytes(cache.k_BHTD), 1, cache.capacity - of.n);
      const std::int64_t n_byte = 2 * n_room * RowBytes(cache.k_BHTD);
      CheckHostHasRoom(device_, n_byte, n_pinned_);
      of.chunks.push_back(
          {.k_BGND = PinnedRows(cache.k_BHTD, n_room), .v_BGND = PinnedRows(cache.v_BHTD, n_room)});
      n_pinned_ += n_byte;
    }
    Chunk& chunk = of.chunks.back();
    const std::int64_t n = std::min(chunk.k_BGND.size(2) - chunk.n, cache.n - of.n);
    CopyRows(cache.k_BHTD, of.n, chunk.k_BGND, chunk.n, n);
    CopyRows(cache.v_BHTD, of.n, chunk.v_BGND, chunk.n, n);
    chunk.n += n;
    of.n += n;
  }
  cache.k_BHTD = Rows(cache.k_BHTD, 0, cache.k_BHTD.options());
  cache.v_BHTD = Rows(cache.v_BHTD, 0, cache.v_BHTD.options());
  // Rotated keys would take as much room. They are made again.
  cache.key_sets.clear();
  cache.n_rotated = 0;
}

}  // namespace longrun
