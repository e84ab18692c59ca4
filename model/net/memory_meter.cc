#include "model/net/memory_meter.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstring>

namespace longrun {
namespace {

// Asks malloc for the size of a block, so that it need not be stored.
class CountingAllocator final : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator* inner) : inner_(inner) {}

  c10::DataPtr allocate(std::size_t n) override {
    void* const data = inner_->raw_allocate(n);
    if (data != nullptr) Add(static_cast<std::int64_t>(malloc_usable_size(data)));
    return {data, data, &Free, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, std::size_t n) const override {
    std::memcpy(to, from, n);
  }

  std::int64_t now() const { return now_.load(std::memory_order_relaxed); }
  std::int64_t peak() const { return peak_.load(std::memory_order_relaxed); }
  void ResetPeak() { peak_.store(now(), std::memory_order_relaxed); }

 private:
  static void Free(void* data);

  void Add(std::int64_t n) {
    const std::int64_t now = now_.fetch_add(n, std::memory_order_relaxed) + n;
    std::int64_t peak = peak_.load(std::memory_order_relaxed);
    while (peak < now && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
    }
  }

  c10::Allocator* const inner_;
  std::atomic<std::int64_t> now_ = 0, peak_ = 0;
};

// Never destroyed: tensors may outlive everything.
CountingAllocator& Counting() {
  static CountingAllocator* const counting = [] {
    auto* const made = new CountingAllocator(c10::GetCPUAllocator());
    c10::SetCPUAllocator(made, 1);
    return made;
  }();
  return *counting;
}

void CountingAllocator::Free(void* data) {
  if (data == nullptr) return;
  CountingAllocator& counting = Counting();
  counting.now_.fetch_sub(static_cast<std::int64_t>(malloc_usable_size(data)),
                          std::memory_order_relaxed);
  counting.inner_->raw_deallocate(data);
}

c10::CachingDeviceAllocator::DeviceStats StatsOf(const c10::Device& device) {
  return at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
}

std::int64_t Aggregate(const c10::CachingAllocator::StatArray& stats,
                       std::int64_t c10::CachingAllocator::Stat::*field) {
  return stats[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)].*field;
}

}  // namespace

MemoryMeter::MemoryMeter(const c10::Device& device) : device_(device) {
  if (device.is_cpu()) Counting();
}

std::int64_t MemoryMeter::AllocatedBytes() const {
  if (device_.is_cpu()) return Counting().now();
  return Aggregate(StatsOf(device_).allocated_bytes, &c10::CachingAllocator::Stat::current);
}

void MemoryMeter::ResetPeak() {
  if (device_.is_cpu()) return Counting().ResetPeak();
  at::getDeviceAllocator(device_.type())->resetPeakStats(device_.index());
}

std::int64_t MemoryMeter::PeakAllocatedBytes() const {
  if (device_.is_cpu()) return Counting().peak();
  return Aggregate(StatsOf(device_).allocated_bytes, &c10::CachingAllocator::Stat::peak);
}

std::int64_t MemoryMeter::PeakReservedBytes() const {
  if (device_.is_cpu()) return 0;
  return Aggregate(StatsOf(device_).reserved_bytes, &c10::CachingAllocator::Stat::peak);
}

std::string_view MemoryMeter::source() const {
  return device_.is_cpu() ? "cpu_allocator" : "cuda_allocator";
}

void MemoryMeter::Trim() {
  if (!device_.is_cpu()) at::getDeviceAllocator(device_.type())->emptyCache();
}

}  // namespace longrun
