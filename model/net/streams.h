// A GPU's streams, by LibTorch's interface that all kinds of devices share.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace longrun {

// The one on which the thread queues its work.
inline c10::Stream CurrentStream(const c10::Device& device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

// Another one, of LibTorch's pool.
inline c10::Stream PooledStream(const c10::Device& device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

}  // namespace longrun
