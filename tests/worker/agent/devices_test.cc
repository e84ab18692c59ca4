// Slots of a CPU.
#include "worker/agent/devices.h"

#include <gtest/gtest.h>

namespace longrun::agent {
namespace {

HostCpu Host(int cores, std::int64_t gibibytes) {
  return {.cores = cores,
          .memory_bytes = gibibytes << 30,
          .name = "Some CPU",
          .simd = "avx2",
          .linear = "aten/SomeVendor"};
}

TEST(CpuSlotsTest, ThereIsOneSlotACore) {
  const std::vector<Slot> slots = CpuSlots(Host(4, 64), 0);
  ASSERT_EQ(slots.size(), 4u);
  EXPECT_EQ(slots[3].index, 3);
  EXPECT_EQ(slots[3].kind, DeviceKind::kCpu);
  EXPECT_EQ(slots[3].threads, 1);
  EXPECT_EQ(slots[3].memory_bytes, std::int64_t{16} << 30);
  EXPECT_EQ(slots[3].linear, "aten/SomeVendor");
  EXPECT_EQ(slots[3].simd, "avx2");
}

TEST(CpuSlotsTest, ASlotHasAtLeastTwoGibibytes) { EXPECT_EQ(CpuSlots(Host(16, 7), 0).size(), 3u); }

TEST(CpuSlotsTest, ASmallMachineStillHasOneSlot) { EXPECT_EQ(CpuSlots(Host(2, 1), 0).size(), 1u); }

TEST(CpuSlotsTest, SlotsAskedForShareTheCores) {
  const std::vector<Slot> slots = CpuSlots(Host(8, 16), 2);
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_EQ(slots[0].threads, 4);
}

TEST(CpuSlotsTest, MoreSlotsThanCoresHaveOneThreadEach) {
  EXPECT_EQ(CpuSlots(Host(2, 16), 5)[0].threads, 1);
}

TEST(DetectHostCpuTest, TheHostHasCoresMemoryAndAName) {
  const HostCpu cpu = DetectHostCpu();
  EXPECT_GE(cpu.cores, 1);
  EXPECT_GT(cpu.memory_bytes, 64 << 20);
  EXPECT_FALSE(cpu.name.empty());
  EXPECT_FALSE(cpu.simd.empty());
  EXPECT_FALSE(cpu.linear.empty());
}

}  // namespace
}  // namespace longrun::agent
