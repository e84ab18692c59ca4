// Tensors on their way between the host and a GPU. The host never waits for a copy to a GPU, and
// for one from a GPU only when it needs the numbers: work that it queues in between keeps the GPU
// busy.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Event.h>

#include <optional>

namespace longrun {

// A tensor of the host on the device; on a CPU, the tensor itself. The host may change or free its
// tensor as soon as this returns. The copy waits its turn on the current stream; the samples of
// training do not (sample_copies.h).
at::Tensor ToDevice(const at::Tensor& host, const c10::Device& device);

// A copy of a tensor in the host's memory, which arrives when the device has done the work that was
// queued before it. On a CPU it is the tensor itself, which must not change.
class HostCopy {
 public:
  explicit HostCopy(const at::Tensor& x);
  // Waits until the copy has arrived.
  const at::Tensor& Wait() const;

 private:
  at::Tensor host_;
  std::optional<c10::Event> arrived_;  // nullopt on a CPU
};

}  // namespace longrun
