#include "model/net/to_device.h"

#include <ATen/ops/empty.h>

#include "model/net/pinned.h"
#include "model/net/streams.h"

namespace longrun {

// A copy from memory that is not pinned would first wait for all work of the stream.
at::Tensor ToDevice(const at::Tensor& host, const c10::Device& device) {
  if (device.is_cpu()) return host;
  const at::Tensor pinned = Pinned("what a GPU reads", [&] { return host.pin_memory(); });
  return pinned.to(device, host.scalar_type(), /*non_blocking=*/true);
}

HostCopy::HostCopy(const at::Tensor& x) : host_(x) {
  const c10::Device device = x.device();
  if (device.is_cpu()) return;
  host_ = Pinned("what a GPU writes", [&] {
    return at::empty(x.sizes(), x.options().device(at::kCPU).pinned_memory(true));
  });
  host_.copy_(x, /*non_blocking=*/true);
  arrived_.emplace(device.type());
  arrived_->record(CurrentStream(device));
}

const at::Tensor& HostCopy::Wait() const {
  if (arrived_) arrived_->synchronize();
  return host_;
}

}  // namespace longrun
