// The samples of training on their way to a GPU, by a stream of their own: while a pass computes,
// those of the next arrive. There are two rooms on the GPU, which passes use in turn. The copies go
// through pinned memory, and the host waits for none of them.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <array>
#include <cstddef>
#include <optional>

#include "model/net/masked_batch.h"
#include "model/net/samples.h"

namespace longrun {

class SampleCopies {
 public:
  explicit SampleCopies(const c10::Device& device);

  // The samples on the device; on a CPU, the same tensors. Only work that is queued on the current
  // stream before the next call may read them. On a GPU, the host may change its tensors as soon as
  // this returns. Throws c10::OutOfMemoryError if the device has no room, or the host cannot pin
  // memory.
  Samples Bring(const Samples& samples);
  MaskedBatch Bring(const MaskedBatch& samples);

 private:
  static constexpr std::size_t kTensors = 3;
  using Tensors = std::array<at::Tensor, kTensors>;

  struct Room {
    explicit Room(const c10::Device& device) : arrived(device.type()), done(device.type()) {}

    Tensors numbers = {};  // flat; as long as the most that they have held
    c10::Event arrived;    // the last copies to this room
    c10::Event done;       // all work that reads what was here before
  };
  struct Gpu {
    c10::Stream stream;  // of the copies
    std::array<Room, 2> rooms;
    std::size_t next = 0;  // the room of the next copies
  };

  // Undefined ones stay undefined.
  Tensors Bring(const Tensors& host);
  // Makes room for tensors; returns whether any of its memory is new.
  bool Grow(const Tensors& host, Room& room) const;

  c10::Device device_;
  std::optional<Gpu> gpu_;  // nullopt on a CPU
};

}  // namespace longrun
