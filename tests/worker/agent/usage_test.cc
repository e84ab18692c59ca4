// How busy processors, memory and slots are, from texts of proc(5) and of a journal.
#include <gtest/gtest.h>

#include "sweeps/cost.h"
#include "worker/agent/host_usage.h"
#include "worker/agent/nvml.h"
#include "worker/agent/slot_meter.h"

namespace longrun::agent {
namespace {

TEST(HostUsageTest, WaitingForADiskIsNotBusy) {
  // user nice system idle iowait irq softirq steal guest guest_nice; guests are in user already.
  const auto ticks = ParseCpuTicks("cpu  10 20 30 400 500 1 2 3 7 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n");
  ASSERT_TRUE(ticks.has_value());
  EXPECT_EQ(ticks->busy, 10 + 20 + 30 + 1 + 2 + 3);
  EXPECT_EQ(ticks->all, 66 + 400 + 500);
}

TEST(HostUsageTest, AnotherFormIsNothing) {
  EXPECT_FALSE(ParseCpuTicks("").has_value());
  EXPECT_FALSE(ParseCpuTicks("cpu  1 2 3\n").has_value());
  EXPECT_FALSE(ParseCpuTicks("cpu  1 2 x 4 5 6 7 8\n").has_value());
}

TEST(HostUsageTest, ThisMachineAnswers) {
  HostUsage host;
  const auto ratio = host.CpuRatio();
  ASSERT_TRUE(ratio.has_value());
  EXPECT_GE(*ratio, 0);
  EXPECT_LE(*ratio, 1);
}

std::vector<GpuName> GpusOf(const Nvml& nvml) {
  Result<std::vector<GpuName>> gpus = nvml.Gpus();
  EXPECT_TRUE(gpus.ok()) << gpus.status().message();
  return gpus.ok() ? *std::move(gpus) : std::vector<GpuName>();
}

// The fake library reads the variable in each call.
class FakeNvmlTest : public testing::Test {
 protected:
  void TearDown() override {
    unsetenv("FAKE_NVML_MIG");
    unsetenv("FAKE_NVML_SHARED");
  }

  static std::unique_ptr<Nvml> Open(const char* file = FAKE_NVML) {
    Result<std::unique_ptr<Nvml>> nvml = Nvml::OpenLibrary(file);
    EXPECT_TRUE(nvml.ok()) << nvml.status().message();
    return std::move(nvml).value();
  }
};

TEST_F(FakeNvmlTest, AGpuInMigModeHasItsMigDevices) {
  setenv("FAKE_NVML_MIG", "1", 1);
  const std::vector<GpuName> gpus = GpusOf(*Open());
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_FALSE(gpus[0].in_mig_mode);
  EXPECT_TRUE(gpus[1].in_mig_mode);
  ASSERT_EQ(gpus[1].mig_devices.size(), 2u);
  const GpuName& mig = gpus[1].mig_devices[1];
  EXPECT_EQ(mig.name, "Imagined GPU MIG 1g.10gb");
  EXPECT_EQ(mig.uuid, "MIG-imagined-1-2");
  EXPECT_EQ(mig.instance_name, "MIG-GPU-imagined-1/9/0");
  EXPECT_EQ(mig.memory_bytes, std::int64_t{10} << 30);
  EXPECT_EQ(mig.place.gpu, 1u);
  EXPECT_EQ(mig.place.mig, 2u);
  EXPECT_EQ(mig.capability_major, 9);  // NVML knows it only of the GPU
}

TEST_F(FakeNvmlTest, AGpuInMigModeMayHaveNoMigDevice) {
  setenv("FAKE_NVML_MIG", "2", 1);
  const std::vector<GpuName> gpus = GpusOf(*Open());
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_TRUE(gpus[0].in_mig_mode);
  EXPECT_TRUE(gpus[0].mig_devices.empty());
}

TEST_F(FakeNvmlTest, WithoutAMigModeEachGpuIsWhole) {
  setenv("FAKE_NVML_MIG", "1", 1);
  for (const GpuName& gpu : GpusOf(*Open(FAKE_NVML_OLD))) EXPECT_FALSE(gpu.in_mig_mode);
  unsetenv("FAKE_NVML_MIG");  // a driver with a MIG mode, and GPUs without
  for (const GpuName& gpu : GpusOf(*Open())) EXPECT_FALSE(gpu.in_mig_mode);
}

TEST_F(FakeNvmlTest, AGpuThatSharesTheMachinesMemoryHasNoneOfItsOwn) {
  setenv("FAKE_NVML_SHARED", "1", 1);
  for (const char* const file : {FAKE_NVML, FAKE_NVML_OLD}) {
    const std::unique_ptr<Nvml> nvml = Open(file);
    const std::vector<GpuName> gpus = GpusOf(*nvml);
    ASSERT_EQ(gpus.size(), 2u);
    EXPECT_EQ(gpus[0].memory_bytes, 0);
    EXPECT_EQ(gpus[0].uuid, "GPU-imagined-0");
    EXPECT_EQ(gpus[1].memory_bytes, std::int64_t{80} << 30);
    const GpuUsage usage = nvml->UsageOf({.gpu = 0});
    EXPECT_EQ(usage.memory_bytes, std::nullopt);
    EXPECT_EQ(usage.memory_used_bytes, std::nullopt);
    EXPECT_EQ(usage.power_watts, 70);
  }
}

TEST_F(FakeNvmlTest, AGpuWhoseMemoryCannotBeReadIsAnError) {
  setenv("FAKE_NVML_SHARED", "BROKEN", 1);
  const Result<std::vector<GpuName>> gpus = Open()->Gpus();
  EXPECT_EQ(gpus.status().message(),
            "NVML: nvmlDeviceGetMemoryInfo gave error 999; look at nvidia-smi, or start with "
            "--cpu-slots");
}

TEST_F(FakeNvmlTest, OfAMigDeviceOnlyTheMemoryIsKnown) {
  setenv("FAKE_NVML_MIG", "1", 1);
  const std::unique_ptr<Nvml> nvml = Open();
  const GpuUsage whole = nvml->UsageOf({.gpu = 0});
  EXPECT_EQ(whole.memory_bytes, 80.0 * (1 << 30));
  EXPECT_EQ(whole.power_watts, 70);
  EXPECT_EQ(whole.utilization, 0);
  EXPECT_EQ(whole.temperature_celsius, 30);
  const GpuUsage part = nvml->UsageOf({.gpu = 1, .mig = 2});
  EXPECT_EQ(part.memory_bytes, 10.0 * (1 << 30));
  EXPECT_EQ(part.memory_used_bytes, 0);
  EXPECT_EQ(part.power_watts, std::nullopt);
  EXPECT_EQ(part.utilization, std::nullopt);
  EXPECT_EQ(part.temperature_celsius, std::nullopt);
  EXPECT_EQ(nvml->UsageOf({.gpu = 1, .mig = 1}).memory_bytes, std::nullopt);  // not there
}

// On a machine with a driver every GPU tells its memory, unless it has none of its own; elsewhere
// there is nothing to ask.
TEST(NvmlTest, EachGpuTellsItsMemory) {
  const auto nvml = Nvml::Open();
  ASSERT_TRUE(nvml.ok()) << nvml.status().message();
  if (*nvml == nullptr) GTEST_SKIP() << "no NVIDIA driver here";
  for (const GpuName& gpu : GpusOf(**nvml)) {
    const GpuUsage usage = (*nvml)->UsageOf(gpu.place);
    EXPECT_EQ(usage.memory_bytes.has_value(), gpu.memory_bytes > 0);
    if (!usage.memory_bytes) continue;
    EXPECT_EQ(usage.memory_bytes, static_cast<double>(gpu.memory_bytes));
    ASSERT_TRUE(usage.memory_used_bytes.has_value());
    EXPECT_LE(*usage.memory_used_bytes, *usage.memory_bytes);
    std::printf("%s: %.0f of %.0f bytes, utilisation %g, %g W, %g C\n", gpu.name.c_str(),
                *usage.memory_used_bytes, *usage.memory_bytes, usage.utilization.value_or(-1),
                usage.power_watts.value_or(-1), usage.temperature_celsius.value_or(-1));
  }
}

TaskFile Training() {
  TaskFile task;
  task.kind = TaskKind::kTrain;
  task.dataset_name = "austen";
  task.run.model = {.n_layer = 2, .n_head = 2, .d_model = 64, .d_ff = 256, .vocab_size = 256};
  task.run.model.position.method = "none";
  task.run.train = {.train_length = 32, .tokens = 6400, .batch_tokens = 64};
  return task;
}

JournalRecord Loss(std::int64_t step, std::int64_t t_ms, double loss) {
  return {.seq = step,
          .kind = RecordKind::kSeries,
          .t_ms = t_ms,
          .step = step,
          .body = SeriesRecord{.values = {{"loss", loss}, {"tokens_per_s", 1e6}}}};
}

TEST(SlotMeterTest, AStepLastsFromOneLossToTheNext) {
  SlotMeter meter(Training());

  EXPECT_FALSE(meter.Note(Loss(1, 1000, 5)).has_value());
  EXPECT_EQ(meter.Note(Loss(2, 1250, 4)), 0.25);
  EXPECT_EQ(meter.Note(Loss(6, 2250, 3)), 0.25);  // four steps in a second
  EXPECT_EQ(meter.loss(), 3);
  EXPECT_EQ(meter.tokens_per_s(), 1e6);
  EXPECT_EQ(meter.method(), "none");
  EXPECT_EQ(meter.dataset(), "austen");
}

TEST(SlotMeterTest, AJournalReadAgainTellsNoStep) {
  SlotMeter meter(Training());
  meter.Note(Loss(5, 5000, 5));

  EXPECT_FALSE(meter.Note(Loss(2, 2000, 6)).has_value());
  EXPECT_EQ(meter.Note(Loss(3, 2500, 6)), 0.5);
}

JournalRecord Progress(const char* phase, int done, int of) {
  return {.seq = 1,
          .kind = RecordKind::kProgress,
          .t_ms = 1,
          .step = 10,
          .body = ProgressRecord{.phase = phase, .done = done, .of = of, .tokens_per_s = 5.0}};
}

TEST(SlotMeterTest, ProgressIsThePartDoneOfTheTaskAndNotOfAValidation) {
  SlotMeter meter(Training());
  EXPECT_FALSE(meter.progress().has_value());

  meter.Note(Progress("train", 10, 40));
  meter.Note(Progress("validate", 3, 3));

  EXPECT_EQ(meter.progress(), 0.25);
  EXPECT_EQ(meter.tokens_per_s(), 5);
}

TEST(SlotMeterTest, RecordsOfNoFormTellNothing) {
  SlotMeter meter(Training());

  for (const Json& body : {Json(), Json(3), Json::array(), Json{{"loss", nullptr}, {"of", 0}}}) {
    for (const RecordKind kind :
         {RecordKind::kSeries, RecordKind::kProgress, RecordKind::kResult}) {
      EXPECT_FALSE(meter.Note(
          {.seq = 1, .kind = kind, .t_ms = 1, .step = 1, .body = ParseRecordBody(kind, 1, body)}));
    }
  }
  EXPECT_FALSE(meter.loss().has_value());
  EXPECT_FALSE(meter.progress().has_value());
}

// A token costs TrainFlops / (100 steps * 64 tokens); the peak is the data sheet's.
TEST(SlotMeterTest, UtilisationIsKnownWhereThePeakIs) {
  TaskFile task = Training();
  SlotMeter unknown(task);
  unknown.Note(Loss(1, 1000, 5));
  EXPECT_FALSE(unknown.mfu().has_value());

  task.execution.device_name = "NVIDIA H200";
  task.run.train.precision = Precision::kBf16;
  SlotMeter meter(task);
  meter.Note(Loss(1, 1000, 5));

  const double flops_per_token = TrainFlops(task.run.model, task.run.train) / 6400;
  ASSERT_TRUE(meter.mfu().has_value());
  EXPECT_DOUBLE_EQ(*meter.mfu(), flops_per_token * 1e6 / 989.5e12);
  EXPECT_EQ(PeakFlops("NVIDIA H200", Precision::kFp32), 67e12);
  EXPECT_FALSE(PeakFlops("AMD EPYC", Precision::kFp32).has_value());
}

}  // namespace
}  // namespace longrun::agent
