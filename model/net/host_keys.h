// The keys and values of texts that are too long for a GPU's memory. Those of a layer are in the
// host's pinned memory, and on the GPU only while the layer computes. The GPU has room for two
// layers: while one computes, the keys and values of the next arrive by a stream of their own. They
// are copied, so no bit changes.
//
// Legend: B batch, G heads of keys and values, N rows, D head_dim.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "model/net/attention_cache.h"

namespace longrun {

class HostKeys {
 public:
  // Of the caches without a window: others forget keys, and are small. By layer, and empty.
  // Pinned memory is taken in chunks of at most chunk_bytes, or of one row.
  HostKeys(const c10::Device& device, const std::vector<AttentionCache>& caches,
           std::int64_t chunk_bytes = kChunkBytes);
  HostKeys(const HostKeys&) = delete;
  HostKeys& operator=(const HostKeys&) = delete;
  ~HostKeys();

  // Call these before and after each layer, in order, whose passes read n_new tokens together.
  // In between the layer's cache has its keys and values, and room for n_new more.
  void Bring(std::vector<AttentionCache>& caches, std::size_t layer, std::int64_t n_new);
  // Throws c10::OutOfMemoryError if the host has no room for the new ones.
  void TakeBack(std::vector<AttentionCache>& caches, std::size_t layer);

 private:
  // The allocator of pinned memory rounds up to a power of two.
  static constexpr std::int64_t kChunkBytes = std::int64_t{1} << 26;

  struct Chunk {
    at::Tensor k_BGND, v_BGND;  // pinned
    std::int64_t n = 0;         // rows in use

    bool is_full() const { return n == k_BGND.size(2); }
  };
  struct Layer {
    std::size_t layer = 0;
    std::vector<Chunk> chunks = {};  // full, but for the last one
    std::int64_t n = 0;              // rows in use
  };
  // On the GPU.
  struct Room {
    at::Tensor k_BGND, v_BGND;
    c10::Event arrived;
    bool is_coming = false;  // the layer that is next in this room
  };

  std::optional<std::size_t> IndexOf(std::size_t layer) const;
  void Fetch(const AttentionCache& cache, std::size_t index, std::int64_t n_new);

  c10::Device device_;
  std::int64_t chunk_bytes_;
  std::int64_t n_pinned_ = 0;  // bytes in all chunks
  c10::Stream stream_;         // of arrivals
  c10::Event queued_;          // what the device was given before an arrival
  std::vector<Layer> layers_;
  std::array<Room, 2> rooms_;
};

}  // namespace longrun
