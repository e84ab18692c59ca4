// What an accepted task needs before its trainer starts.
#include "worker/agent/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "sweeps/evaluated_dataset.h"
#include "tests/worker/agent/tasks.h"

namespace longrun::agent {
namespace {

Slot CpuSlot() {
  Slot slot;
  slot.kind = DeviceKind::kCpu;
  slot.linear = "onednn/AuthenticAMD";
  slot.simd = "avx2";
  return slot;
}

Order OrderFor(const Slot& slot) {
  Execution execution;
  execution.device_kind = slot.kind;
  execution.linear = slot.linear;
  execution.simd = slot.simd;
  execution.threads = 3;
  Order order;
  order.task = TestTrainTask(1, 7, execution);
  order.start.attempt = order.task.attempt;
  order.start.epoch = order.task.epoch;
  order.start.dataset_digest = order.task.run.dataset_digest;
  return order;
}

bool Has(const std::vector<std::string>& env, std::string_view entry) {
  return std::ranges::find(env, entry) != env.end();
}

TEST(OrderTest, AStartMustBeOfItsTaskFile) {
  Order order = OrderFor(CpuSlot());
  EXPECT_TRUE(CheckStart(order.start, order.task, CpuSlot()).ok());
  order.start.epoch += 1;
  EXPECT_EQ(CheckStart(order.start, order.task, CpuSlot()).code(), Code::kInvalidArgument);
}

TEST(OrderTest, ASlotWithOtherArithmeticIsRefused) {
  const Order order = OrderFor(CpuSlot());
  Slot other = CpuSlot();
  other.kind = DeviceKind::kGpu;
  const Status status = CheckStart(order.start, order.task, other);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("would not be bit for bit the same"), std::string::npos)
      << status.message();
  Order on_gpu = OrderFor(other);
  EXPECT_TRUE(CheckStart(on_gpu.start, on_gpu.task, other).ok());
  on_gpu.task.execution.attention = AttentionBackend::kFused;
  const Status unfused = CheckStart(on_gpu.start, on_gpu.task, other);
  EXPECT_EQ(unfused.code(), Code::kFailedPrecondition);
  EXPECT_NE(unfused.message().find("attention fused"), std::string::npos) << unfused.message();
  EXPECT_NE(unfused.message().find("attention reference"), std::string::npos);
  on_gpu.task.execution.attention = AttentionBackend::kReference;
  on_gpu.task.execution.operators = OperatorSet::kLongrun;
  const Status without = CheckStart(on_gpu.start, on_gpu.task, other);
  EXPECT_EQ(without.code(), Code::kFailedPrecondition);
  EXPECT_NE(without.message().find("operators longrun"), std::string::npos) << without.message();
  EXPECT_NE(without.message().find("operators aten"), std::string::npos) << without.message();
  on_gpu.task.execution.attention = AttentionBackend::kFused;
  other.attention = "fused";
  other.operators = "longrun";
  EXPECT_TRUE(CheckStart(on_gpu.start, on_gpu.task, other).ok());
  // A GPU that has fused attention for narrow heads only.
  other.attention = "fused/128";
  on_gpu.task.run.model.n_head = 1;
  on_gpu.task.run.model.d_model = 128;
  EXPECT_TRUE(CheckStart(on_gpu.start, on_gpu.task, other).ok());
  on_gpu.task.run.model.d_model = 136;
  const Status too_wide = CheckStart(on_gpu.start, on_gpu.task, other);
  EXPECT_EQ(too_wide.code(), Code::kFailedPrecondition);
  EXPECT_NE(too_wide.message().find("attention reference"), std::string::npos)
      << too_wide.message();
  Order bf16 = order;
  bf16.task.execution.bf16 = "amx";
  EXPECT_EQ(CheckStart(bf16.start, bf16.task, CpuSlot()).code(), Code::kFailedPrecondition);
  Order wide = order;
  wide.task.execution.head = HeadChunks::kByWidth;
  Slot slot = CpuSlot();
  const Status narrow = CheckStart(wide.start, wide.task, slot);
  EXPECT_EQ(narrow.code(), Code::kFailedPrecondition);
  EXPECT_NE(narrow.message().find("wide chunks of logits"), std::string::npos) << narrow.message();
  slot.head = EnumName(HeadChunks::kByWidth);
  EXPECT_TRUE(CheckStart(wide.start, wide.task, slot).ok());
}

TEST(OrderTest, TheTaskFileGetsThisMachinesPaths) {
  Order order = OrderFor(CpuSlot());
  order.task.resume.emplace().sha256 = std::string(64, 'a');
  const AttemptFolder folder = {.path = "/state/attempts/x"};
  Prepared prepared;
  prepared.datasets = {{order.task.run.dataset_digest, "/data/set"},
                       {std::string(64, 'b'), "/data/other"}};
  const Result<TaskFile> refused = PlacedTask(order, prepared, folder, "/state");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  prepared.checkpoints[std::string(64, 'a')] = "/state/cache/a";
  const Result<TaskFile> placed = PlacedTask(order, prepared, folder, "/state");
  ASSERT_TRUE(placed.ok()) << placed.status().message();
  EXPECT_EQ(placed->resume->checkpoint, "/state/cache/a");
  EXPECT_EQ(placed->dataset_path, "/data/set");
  EXPECT_EQ(EvaluatedDatasetOf(placed->evaluation), std::nullopt);
  order.task.evaluation = WithEvaluatedDataset({{"perplexity", {{"split", "test"}}}},
                                               {.name = "other", .digest = std::string(64, 'b')});
  EXPECT_EQ(EvaluatedDatasetOf(PlacedTask(order, prepared, folder, "/state")->evaluation)->path,
            "/data/other");
  order.task.evaluation = {{"multiple_choice", {{"file", "sha256:" + std::string(64, 'c')}}}};
  EXPECT_EQ(PlacedTask(order, prepared, folder, "/state").status().code(), Code::kInvalidArgument);
  prepared.input_files["sha256:" + std::string(64, 'c')] = "/state/cache/files/c";
  EXPECT_EQ(
      PlacedTask(order, prepared, folder, "/state")->evaluation.at("multiple_choice").at("file"),
      "/state/cache/files/c");
  EXPECT_EQ(placed->attempt_dir, folder.path);
  EXPECT_EQ(placed->cache_dir, "/state/cache");
}

TEST(OrderTest, ATrainerSeesItsThreadsAndNoOtherGpu) {
  Order order = OrderFor(CpuSlot());
  const std::vector<std::string> cpu = TrainerEnvironment(order.task, "GPU-aa11");
  EXPECT_TRUE(Has(cpu, "OMP_NUM_THREADS=3"));
  EXPECT_TRUE(Has(cpu, "CUDA_VISIBLE_DEVICES="));
  order.task.execution.device_kind = DeviceKind::kGpu;
  for (const std::string uuid : {"GPU-aa11", "MIG-cc44"}) {
    EXPECT_TRUE(Has(TrainerEnvironment(order.task, uuid), "CUDA_VISIBLE_DEVICES=" + uuid));
  }
}

}  // namespace
}  // namespace longrun::agent
