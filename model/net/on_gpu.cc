#include "model/net/on_gpu.h"

#include <c10/core/Allocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

namespace longrun {

MemorySpace OnGpu::memory() const {
  return {.kind = MemorySpace::Kind::kCuda, .ordinal = device_.index()};
}

void* OnGpu::stream() const {
  const c10::impl::VirtualGuardImpl gpu(device_.type());
  return gpu.getStream(device_).native_handle();
}

WorkingMemory OnGpu::working_memory() {
  return {.context = this, .allocate = &Allocate, .release = &Release};
}

void OnGpu::ThrowUnlessOk(const Status& status) const {
  if (error_) std::rethrow_exception(error_);
  TORCH_CHECK(status.ok(), status.message());
}

void* OnGpu::Allocate(void* context, std::int64_t n_byte, void*) {
  OnGpu& gpu = *static_cast<OnGpu*>(context);
  try {
    return c10::GetAllocator(gpu.device_.type())->raw_allocate(static_cast<size_t>(n_byte));
  } catch (...) {
    gpu.error_ = std::current_exception();
    return nullptr;
  }
}

void OnGpu::Release(void* context, void* address, void*) {
  c10::GetAllocator(static_cast<OnGpu*>(context)->device_.type())->raw_deallocate(address);
}

}  // namespace longrun
