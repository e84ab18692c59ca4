// Counts the bytes that tensors hold. On a GPU its allocator counts; on the CPU ours does
// (tensor_memory.h), from the first MemoryMeter on if the program did not choose it before. Both
// count tensors and memory that operators request through LibTorch, but neither the program itself
// nor a matrix library's own buffers.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string_view>

namespace longrun {

class MemoryMeter {
 public:
  explicit MemoryMeter(const c10::Device& device);

  std::int64_t AllocatedBytes() const;  // now
  void ResetPeak();
  std::int64_t PeakAllocatedBytes() const;  // since ResetPeak
  std::int64_t PeakReservedBytes() const;   // 0 on the CPU
  std::string_view source() const;          // "cpu_allocator", "cuda_allocator"
  // Returns unused memory to the GPU.
  void Trim();

 private:
  c10::Device device_;
};

}  // namespace longrun
