#include "model/net/tensor_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace longrun {
namespace {

constexpr std::size_t kAlignment = 64;  // as LibTorch's own

std::atomic<std::int64_t> bytes_now = 0, bytes_peak = 0;

void Count(std::int64_t n) {
  const std::int64_t now = bytes_now.fetch_add(n, std::memory_order_relaxed) + n;
  std::int64_t peak = bytes_peak.load(std::memory_order_relaxed);
  while (peak < now && !bytes_peak.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

// malloc knows a block's size, so only its address is stored, right before the tensor.
void*& BlockOf(void* data) { return static_cast<void**>(data)[-1]; }

std::int64_t SizeOf(void* block) { return static_cast<std::int64_t>(malloc_usable_size(block)); }

void Free(void* data) {
  if (data == nullptr) return;
  void* const block = BlockOf(data);
  bytes_now.fetch_sub(SizeOf(block), std::memory_order_relaxed);
  std::free(block);
}

class Allocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t n) override {
    void* const data = n == 0 ? nullptr : Allocate(n);
    return {data, data, &Free, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, std::size_t n) const override {
    std::memcpy(to, from, n);
  }

 private:
  static void* Allocate(std::size_t n) {
    const bool fits = n <= std::numeric_limits<std::size_t>::max() - kAlignment;
    void* const block = fits ? std::malloc(n + kAlignment) : nullptr;
    TORCH_CHECK_WITH(OutOfMemoryError, block != nullptr, "the host has no room for a tensor of ", n,
                     " bytes");
    // malloc's blocks begin at a multiple of 16 bytes: the address has room before the line.
    const auto begin = reinterpret_cast<std::uintptr_t>(block);
    char* const data = static_cast<char*>(block) + (kAlignment - begin % kAlignment);
    BlockOf(data) = block;
    Count(SizeOf(block));
    return data;
  }
};

}  // namespace

void UseTensorMemory() {
  // Never destroyed: tensors may outlive everything.
  [[maybe_unused]] static Allocator* const used = [] {
    auto* const made = new Allocator;
    c10::SetCPUAllocator(made, 1);
    return made;
  }();
}

std::int64_t TensorBytes() { return bytes_now.load(std::memory_order_relaxed); }

void ResetTensorBytesPeak() { bytes_peak.store(TensorBytes(), std::memory_order_relaxed); }

std::int64_t TensorBytesPeak() { return bytes_peak.load(std::memory_order_relaxed); }

}  // namespace longrun
