// What a call of the plug-in's kernels takes from LibTorch: the current stream of a GPU, and the
// memory of LibTorch's allocator. No exception may cross the plug-in, so that of an allocation is
// kept for the call's end.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>

#include <exception>

#include "base/status.h"
#include "kernels/attention.h"
#include "kernels/cuda_rows.h"

namespace longrun {

// Makes the device the current one while it exists. It must outlive the call that it is for.
class OnGpu {
 public:
  explicit OnGpu(const c10::Device& device) : guard_(device), device_(device) {}
  OnGpu(const OnGpu&) = delete;
  OnGpu& operator=(const OnGpu&) = delete;

  MemorySpace memory() const;
  void* stream() const;
  WorkingMemory working_memory();
  // Throws the exception of an allocation, or c10::Error with the status of a call that failed.
  void ThrowUnlessOk(const Status& status) const;

 private:
  static void* Allocate(void* context, std::int64_t n_byte, void* stream);
  static void Release(void* context, void* address, void* stream);

  c10::DeviceGuard guard_;
  c10::Device device_;
  std::exception_ptr error_;
};

// Calls a kernel over rows (kernels/cuda_rows.h) on the device's current stream. Throws as above.
template <typename Call>
void RunOnGpu(Status (*kernel)(const Call&, const CudaRowOptions&), const Call& call,
              const c10::Device& device) {
  OnGpu gpu(device);
  gpu.ThrowUnlessOk(kernel(
      call,
      {.memory = gpu.memory(), .stream = gpu.stream(), .working_memory = gpu.working_memory()}));
}

}  // namespace longrun
