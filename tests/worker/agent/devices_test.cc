// Slots of a CPU.
#include "worker/agent/devices.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "kernels/cuda_plugin_file.h"

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

TEST(GpuKernelsTest, NeedThePlugInBesideTheTrainerAndAGpuThatRunsIt) {
  const TempFolder folder;
  const std::string trainer = JoinPath(folder.path(), "longrun-trainer");
  const GpuName hopper = {.name = "NVIDIA H200", .uuid = "GPU-1", .capability_major = 9};
  EXPECT_EQ(KernelsFor(hopper, trainer).attention, "");
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), kCudaPluginName), "").ok());
  // What a worker says is what the coordinator reads.
  const std::vector<std::pair<int, std::int64_t>> head_dim_max = {{0, 0},   {7, 0},    {8, 128},
                                                                  {9, 256}, {10, 256}, {12, 128}};
  for (const auto& [major, widest] : head_dim_max) {
    GpuName gpu = hopper;
    gpu.capability_major = major;
    const GpuKernels kernels = KernelsFor(gpu, trainer);
    Slot slot;
    slot.attention = kernels.attention;
    EXPECT_EQ(FusedHeadDimMax(slot), widest) << major;
    EXPECT_EQ(kernels.operators, widest > 0 ? "longrun" : "") << major;
  }
}

TEST(CpuSlotsTest, MoreSlotsThanCoresHaveOneThreadEach) {
  EXPECT_EQ(CpuSlots(Host(2, 16), 5)[0].threads, 1);
}

const std::vector<GpuName> kGpus = {{.name = "H200", .uuid = "GPU-aa11"},
                                    {.name = "H200", .uuid = "GPU-bb22"},
                                    {.name = "H200", .uuid = "GPU-bb33"}};

std::vector<int> Visible(const std::optional<std::string>& visible) {
  const Result<std::vector<int>> gpus = VisibleGpus(kGpus, visible);
  EXPECT_TRUE(gpus.ok()) << gpus.status().message();
  return gpus.ok() ? *gpus : std::vector<int>{-1};
}

TEST(VisibleGpusTest, WithoutTheVariableAllAreTaken) {
  EXPECT_EQ(Visible(std::nullopt), (std::vector<int>{0, 1, 2}));
}

TEST(VisibleGpusTest, AnEmptyVariableMeansNone) {
  for (const char* const none : {"", " ", "-1", "NoDevFiles"}) EXPECT_TRUE(Visible(none).empty());
}

TEST(VisibleGpusTest, OnlyTheNamedOnesAreTakenInTheirOrder) {
  EXPECT_EQ(Visible("2,0"), (std::vector<int>{2, 0}));
  EXPECT_EQ(Visible(" 1 "), (std::vector<int>{1}));
  EXPECT_EQ(Visible("GPU-bb33,GPU-aa"), (std::vector<int>{2, 0}));
}

TEST(VisibleGpusTest, WhatNvmlDoesNotListIsRefused) {
  for (const char* const wrong : {"3", "0,x", "GPU-cc", "GPU-", "MIG-aa11", "0,,1", "1,1"}) {
    const Result<std::vector<int>> gpus = VisibleGpus(kGpus, wrong);
    EXPECT_EQ(gpus.status().code(), Code::kInvalidArgument) << wrong;
    EXPECT_NE(gpus.status().message().find("CUDA_VISIBLE_DEVICES"), std::string::npos);
  }
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
