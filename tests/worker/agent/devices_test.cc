// Slots of CPUs, GPUs and MIG devices.
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
  EXPECT_TRUE(HasWideHead(slots[3]));
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
  const std::vector<std::pair<int, std::int64_t>> head_dim_max = {{0, 0},   {7, 0},    {8, 256},
                                                                  {9, 256}, {10, 256}, {12, 256}};
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

// GPU 3 is in MIG mode, with two MIG devices on one GPU instance; the driver of GPU 4 is older than
// R470. GPU 5 is in MIG mode without a MIG device.
GpuName Gpu(unsigned i, std::string uuid, std::vector<GpuName> mig_devices = {}) {
  return {.name = "H200",
          .uuid = std::move(uuid),
          .memory_bytes = std::int64_t{140} << 30,
          .place = {.gpu = i},
          .in_mig_mode = i >= 3,
          .mig_devices = std::move(mig_devices)};
}
GpuName Mig(unsigned gpu, unsigned i, std::string uuid, std::string instance_name) {
  return {.name = "H200 MIG 1g.18gb",
          .uuid = std::move(uuid),
          .memory_bytes = std::int64_t{16} << 30,
          .place = {.gpu = gpu, .mig = i},
          .instance_name = std::move(instance_name)};
}
const std::vector<GpuName> kGpus = {
    Gpu(0, "GPU-aa11"),
    Gpu(1, "GPU-bb22"),
    Gpu(2, "GPU-bb33"),
    Gpu(3, "GPU-cc44",
        {Mig(3, 0, "MIG-dd55", "MIG-GPU-cc44/7/0"), Mig(3, 2, "MIG-dd66", "MIG-GPU-cc44/7/1")}),
    Gpu(4, "GPU-ee77",
        {Mig(4, 0, "MIG-GPU-ee77/1/1", "MIG-GPU-ee77/1/1"),
         Mig(4, 1, "MIG-GPU-ee77/1/10", "MIG-GPU-ee77/1/10")}),
    Gpu(5, "GPU-ff88")};

using Uuids = std::vector<std::string>;

Uuids Visible(const std::optional<std::string>& visible) {
  const Result<std::vector<GpuName>> gpus = VisibleGpus(kGpus, visible);
  EXPECT_TRUE(gpus.ok()) << gpus.status().message();
  Uuids uuids;
  if (!gpus.ok()) return {"refused"};
  for (const GpuName& gpu : *gpus) uuids.push_back(gpu.uuid);
  return uuids;
}

TEST(VisibleGpusTest, WithoutTheVariableAllAreTaken) {
  EXPECT_EQ(Visible(std::nullopt), (Uuids{"GPU-aa11", "GPU-bb22", "GPU-bb33", "MIG-dd55",
                                          "MIG-dd66", "MIG-GPU-ee77/1/1", "MIG-GPU-ee77/1/10"}));
}

TEST(VisibleGpusTest, AnEmptyVariableMeansNone) {
  for (const char* const none : {"", " ", "-1", "NoDevFiles"}) EXPECT_TRUE(Visible(none).empty());
}

// A profile or an image may set the variable on every machine.
TEST(VisibleGpusTest, WithoutAnyGpuTheVariableMeansNothing) {
  for (const char* const any : {"0", "GPU-aa11", "MIG-dd55"}) {
    const Result<std::vector<GpuName>> gpus = VisibleGpus({}, any);
    ASSERT_TRUE(gpus.ok()) << gpus.status().message();
    EXPECT_TRUE(gpus->empty());
  }
}

TEST(VisibleGpusTest, OnlyTheNamedOnesAreTakenInTheirOrder) {
  EXPECT_EQ(Visible("2,0"), (Uuids{"GPU-bb33", "GPU-aa11"}));
  EXPECT_EQ(Visible(" 1 "), (Uuids{"GPU-bb22"}));
  EXPECT_EQ(Visible("GPU-bb33,GPU-aa"), (Uuids{"GPU-bb33", "GPU-aa11"}));
}

TEST(VisibleGpusTest, MigDevicesAreNamedByTheirUuidOrTheirInstances) {
  EXPECT_EQ(Visible("MIG-dd66"), (Uuids{"MIG-dd66"}));
  EXPECT_EQ(Visible("MIG-dd6,0"), (Uuids{"MIG-dd66", "GPU-aa11"}));
  EXPECT_EQ(Visible("MIG-GPU-cc44/7/1"), (Uuids{"MIG-dd66"}));
  EXPECT_EQ(Visible("MIG-GPU-ee77/1/1"), (Uuids{"MIG-GPU-ee77/1/1"}));  // also a beginning
}

TEST(VisibleGpusTest, AGpuInMigModeStandsForItsMigDevices) {
  EXPECT_EQ(Visible("3"), (Uuids{"MIG-dd55", "MIG-dd66"}));
  EXPECT_EQ(Visible("GPU-cc44"), (Uuids{"MIG-dd55", "MIG-dd66"}));
}

TEST(VisibleGpusTest, AGpuInMigModeWithoutAMigDeviceIsRefused) {
  for (const char* const named : {"5", "0,GPU-ff88"}) {
    const Result<std::vector<GpuName>> gpus = VisibleGpus(kGpus, named);
    EXPECT_EQ(gpus.status().code(), Code::kFailedPrecondition) << named;
    EXPECT_NE(
        gpus.status().message().find("GPU 5 (H200, GPU-ff88) is in MIG mode without a MIG device"),
        std::string::npos)
        << gpus.status().message();
  }
  const Result<std::vector<GpuName>> all = VisibleGpus({kGpus[5]}, std::nullopt);
  EXPECT_EQ(all.status().code(), Code::kFailedPrecondition);
  EXPECT_NE(all.status().message().find("--cpu-slots"), std::string::npos);
}

TEST(VisibleGpusTest, WhatNvmlDoesNotListIsRefused) {
  for (const char* const wrong : {"6", "0,x", "GPU-xx", "GPU-", "MIG-", "MIG-aa11", "0,,1", "1,1",
                                  "MIG-GPU-cc44/7/2", "3,MIG-dd55"}) {
    const Result<std::vector<GpuName>> gpus = VisibleGpus(kGpus, wrong);
    EXPECT_EQ(gpus.status().code(), Code::kFailedPrecondition) << wrong;
    EXPECT_NE(gpus.status().message().find("CUDA_VISIBLE_DEVICES"), std::string::npos);
  }
}

TEST(VisibleGpusTest, ABeginningOfSeveralUuidsIsRefused) {
  for (const char* const beginning : {"GPU-bb", "MIG-dd", "MIG-GPU-ee77/1"}) {
    const Result<std::vector<GpuName>> gpus = VisibleGpus(kGpus, beginning);
    EXPECT_EQ(gpus.status().code(), Code::kFailedPrecondition) << beginning;
    EXPECT_NE(gpus.status().message().find("is the beginning of 2 UUIDs"), std::string::npos);
  }
}

TEST(GpuSlotsTest, EachMigDeviceIsASlotWithItsOwnNameAndMemory) {
  const Devices devices =
      GpuSlots(*VisibleGpus(kGpus, "0,MIG-dd66"), Host(8, 64), "no/longrun-trainer");
  ASSERT_EQ(devices.slots.size(), 2u);
  EXPECT_EQ(devices.slots[0].name, "H200");
  EXPECT_EQ(devices.slots[0].memory_bytes, std::int64_t{140} << 30);
  EXPECT_EQ(devices.slots[1].index, 1);
  EXPECT_EQ(devices.slots[1].kind, DeviceKind::kGpu);
  EXPECT_EQ(devices.slots[1].name, "H200 MIG 1g.18gb");
  EXPECT_EQ(devices.slots[1].memory_bytes, std::int64_t{16} << 30);
  EXPECT_EQ(devices.slots[1].threads, 4);
  ASSERT_EQ(devices.gpus.size(), 2u);
  EXPECT_EQ(devices.gpus[1].uuid, "MIG-dd66");
}

TEST(GpuSlotsTest, GpusWithoutMemoryOfTheirOwnShareTheMachines) {
  const GpuName shares = {.name = "GB10", .uuid = "GPU-aa11"};
  EXPECT_EQ(GpuSlots({shares}, Host(8, 64), "no/longrun-trainer").slots[0].memory_bytes,
            std::int64_t{64} << 30);
  const Devices devices =
      GpuSlots({shares, Gpu(1, "GPU-bb22"), shares}, Host(8, 64), "no/longrun-trainer");
  EXPECT_EQ(devices.slots[0].memory_bytes, std::int64_t{32} << 30);
  EXPECT_EQ(devices.slots[1].memory_bytes, std::int64_t{140} << 30);
  EXPECT_EQ(devices.slots[2].memory_bytes, std::int64_t{32} << 30);
}

// A program that takes the place of the trainer: a shell script of these lines.
std::string TrainerOf(const TempFolder& folder, const std::string& lines) {
  const std::string path = JoinPath(folder.path(), "longrun-trainer");
  EXPECT_TRUE(WriteFileAtomic(path, "#!/bin/sh\n" + lines, 0700).ok());
  return path;
}

TEST(CheckTrainerOpensTest, TheTrainerIsAskedAboutThisGpu) {
  const TempFolder folder;
  const GpuName gpu = {.name = "H200", .uuid = "MIG-dd66", .place = {.gpu = 1, .mig = 0}};
  const std::string asked =
      TrainerOf(folder, "[ \"$*\" = gpu ] && [ \"$CUDA_VISIBLE_DEVICES\" = MIG-dd66 ]\n");
  EXPECT_TRUE(CheckTrainerOpens(asked, gpu).ok());

  const Status lacks = CheckTrainerOpens(
      TrainerOf(folder, "echo a line before >&2; echo it lacks libfoo.so >&2; exit 78\n"), gpu);
  EXPECT_EQ(lacks.code(), Code::kFailedPrecondition);
  EXPECT_EQ(lacks.message(),
            "the trainer cannot compute on GPU 1 (H200, MIG-dd66): it lacks libfoo.so; or start "
            "with --cpu-slots 1 to compute on the processors");

  const std::string silent = TrainerOf(folder, "kill -9 $$\n");
  const std::string why = CheckTrainerOpens(silent, gpu).message();
  EXPECT_NE(why.find("it was ended by signal 9 (Killed)"), std::string::npos) << why;
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
