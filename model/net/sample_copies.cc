#include "model/net/sample_copies.h"

#include <ATen/ops/empty.h>
#include <c10/core/StreamGuard.h>

#include <algorithm>
#include <cstdint>

#include "model/net/pinned.h"
#include "model/net/streams.h"

namespace longrun {
SampleCopies::SampleCopies(const c10::Device& device) : device_(device) {
  if (device.is_cpu()) return;
  gpu_.emplace(Gpu{.stream = PooledStream(device), .rooms = {Room(device), Room(device)}});
}

// The memory of the rooms is that of the computing stream, which waits for each copy to it. So they
// may be freed at any time.
SampleCopies::Tensors SampleCopies::Bring(const Tensors& host) {
  if (!gpu_) return host;
  Tensors pinned;
  for (std::size_t i = 0; i < kTensors; ++i) {
    if (!host[i].defined()) continue;
    pinned[i] = Pinned("samples", [&] { return host[i].contiguous().pin_memory(); });
  }
  const c10::Stream computing = CurrentStream(device_);
  Room& room = gpu_->rooms[gpu_->next];
  gpu_->next = 1 - gpu_->next;
  // Whatever reads the other room is queued by now. The next copies to it wait for that work, but
  // those to this room do not: so they arrive while it is done.
  gpu_->rooms[gpu_->next].done.record(computing);
  // New memory may be what earlier work has freed and still uses.
  if (Grow(pinned, room)) room.done.record(computing);
  room.done.block(gpu_->stream);

  Tensors here;
  const c10::StreamGuard guard(gpu_->stream);
  for (std::size_t i = 0; i < kTensors; ++i) {
    if (!pinned[i].defined()) continue;
    const std::int64_t n = pinned[i].numel();
    const at::Tensor numbers_N = room.numbers[i].narrow(0, 0, n);
    if (n > 0) numbers_N.copy_(pinned[i].view(-1), /*non_blocking=*/true);
    here[i] = numbers_N.view(pinned[i].sizes());
  }
  room.arrived.record(gpu_->stream);
  room.arrived.block(computing);
  return here;
}

bool SampleCopies::Grow(const Tensors& host, Room& room) const {
  bool has_grown = false;
  for (std::size_t i = 0; i < kTensors; ++i) {
    at::Tensor& numbers = room.numbers[i];
    if (!host[i].defined()) continue;
    const bool fits = numbers.defined() && numbers.numel() >= host[i].numel();
    if (fits && numbers.scalar_type() == host[i].scalar_type()) continue;
    // As long as the ids, so that another number of hidden tokens does not make it grow again.
    const std::int64_t n = std::max(host[0].numel(), host[i].numel());
    numbers = at::Tensor();
    numbers = at::empty({n}, host[i].options().device(device_));
    has_grown = true;
  }
  return has_grown;
}

Samples SampleCopies::Bring(const Samples& samples) {
  const auto [ids_BT, targets_BT, position_ids_BT] =
      Bring(Tensors{samples.ids_BT, samples.targets_BT, samples.position_ids_BT});
  return {.ids_BT = ids_BT,
          .targets_BT = targets_BT,
          .position_ids_BT = position_ids_BT,
          .n_positions = samples.n_positions};
}

MaskedBatch SampleCopies::Bring(const MaskedBatch& samples) {
  const auto [ids_BT, rows_N, targets_N] =
      Bring(Tensors{samples.ids_BT, samples.rows_N, samples.targets_N});
  return {.ids_BT = ids_BT, .rows_N = rows_N, .targets_N = targets_N};
}

}  // namespace longrun
