#include "model/net/to_device.h"

#include <ATen/ops/empty.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace longrun {

// A copy from memory that is not pinned would first wait for all work of the stream. LibTorch's
// allocator of pinned memory notes the stream of each copy, and gives a block out again only after
// the copy. So there are as many buffers as there are copies on their way.
at::Tensor ToDevice(const at::Tensor& host, const c10::Device& device) {
  if (device.is_cpu()) return host;
  return host.pin_memory().to(device, host.scalar_type(), /*non_blocking=*/true);
}

HostCopy::HostCopy(const at::Tensor& x) : host_(x) {
  const c10::Device device = x.device();
  if (device.is_cpu()) return;
  host_ = at::empty(x.sizes(), x.options().device(at::kCPU).pinned_memory(true));
  host_.copy_(x, /*non_blocking=*/true);
  arrived_.emplace(device.type());
  arrived_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
}

const at::Tensor& HostCopy::Wait() const {
  if (arrived_) arrived_->synchronize();
  return host_;
}

}  // namespace longrun
