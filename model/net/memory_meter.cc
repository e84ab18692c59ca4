#include "model/net/memory_meter.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <cstddef>

#include "model/net/tensor_memory.h"

namespace longrun {
namespace {

c10::CachingDeviceAllocator::DeviceStats StatsOf(const c10::Device& device) {
  return at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
}

std::int64_t Aggregate(const c10::CachingAllocator::StatArray& stats,
                       std::int64_t c10::CachingAllocator::Stat::*field) {
  return stats[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)].*field;
}

}  // namespace

MemoryMeter::MemoryMeter(const c10::Device& device) : device_(device) {
  if (device.is_cpu()) UseTensorMemory();
}

std::int64_t MemoryMeter::AllocatedBytes() const {
  if (device_.is_cpu()) return TensorBytes();
  return Aggregate(StatsOf(device_).allocated_bytes, &c10::CachingAllocator::Stat::current);
}

void MemoryMeter::ResetPeak() {
  if (device_.is_cpu()) return ResetTensorBytesPeak();
  at::getDeviceAllocator(device_.type())->resetPeakStats(device_.index());
}

std::int64_t MemoryMeter::PeakAllocatedBytes() const {
  if (device_.is_cpu()) return TensorBytesPeak();
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
