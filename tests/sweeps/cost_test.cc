#include "sweeps/cost.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/position/method.h"

namespace longrun {
namespace {

constexpr std::int64_t kProgram = 150'000'000;

// The micro preset on a byte vocabulary: C 96, d_ff 384, 4 heads of 24 channels, 3 layers.
ModelConfig Micro(std::string_view method = "alibi") {
  ModelConfig model = *ModelConfig::Preset("micro");
  model.vocab_size = 256;
  model.position = *ResolvePosition(std::string(method));
  return model;
}

// 600 steps of 16 sequences.
TrainConfig Short() {
  TrainConfig train;
  train.train_length = 64;
  train.tokens = 614'400;
  train.batch_tokens = 1024;
  return train;
}

using enum AttentionBackend;

MemoryPath Path(AttentionBackend attention, bool recomputes = false,
                DeviceKind kind = DeviceKind::kCpu) {
  return {.device_kind = kind, .attention = attention, .activation_checkpointing = recomputes};
}

// What a block keeps of a token, beside attention's own: two norms' inputs, and in fp32 6 tensors
// of 96 channels and 2 of 384.
constexpr std::int64_t kBlock = 8 * 96 + 4 * (6 * 96 + 2 * 384);

TEST(CostTest, MemoryOfAStepFollowsItsFormula) {
  const ModelConfig model = Micro();
  const std::int64_t weights = 16 * model.ParameterCount(), logits = 8 * 2 * 64 * 256;
  EXPECT_EQ(TrainMemoryBytes(model, Short(), 2, Path(kFused)),
            kProgram + weights + 2 * 64 * 4 * (kBlock + 8 * 4) + logits);
  // With activation checkpointing 3 inputs of 96 fp32 and two layers.
  EXPECT_EQ(TrainMemoryBytes(model, Short(), 2, Path(kFused, true)),
            kProgram + weights + 2 * 64 * (3 * 4 * 96 + 2 * (kBlock + 8 * 4)) + logits);
  EXPECT_EQ(TrainMemoryBytes(model, Short(), 2, Path(kReference, true)),
            kProgram + weights + 2 * 64 * (3 * 4 * 96 + 2 * (kBlock + 4 * 4 * 64)) + logits);
  // Probabilities of 4 heads and 64 keys.
  EXPECT_EQ(TrainMemoryBytes(model, Short(), 2, Path(kReference)),
            kProgram + weights + 2 * 64 * 4 * (kBlock + 4 * 4 * 64) + logits);
  EXPECT_EQ(TrainMemoryBytes(model, Short(), 2, Path(kReference, false, DeviceKind::kGpu)),
            weights + 2 * 64 * 4 * (kBlock + 4 * 4 * 64) + logits);
}

// 166 rows of GPT-2's vocabulary have 2^23 logits; wide chunks have 400 rows here.
TEST(CostTest, MemoryOfAStepHasOneWideChunkOfLogits) {
  ModelConfig model = Micro();
  model.vocab_size = 50257;
  model.d_model = 400;
  TrainConfig train = Short();
  train.train_length = train.batch_tokens = 1024;
  const auto bytes = [&](HeadChunks head) {
    MemoryPath path = Path(kFused);
    path.head = head;
    return TrainMemoryBytes(model, train, 1, path);
  };
  EXPECT_EQ(bytes(HeadChunks::kByWidth) - bytes(HeadChunks::kByLogits),
            8 * (400 * 50257 - (1 << 23)));
  EXPECT_EQ(NewRunMemoryPath(model, DeviceKind::kCpu, false).head, HeadChunks::kByWidth);
  // Fewer tokens than a chunk has rows.
  train.train_length = train.batch_tokens = 350;
  EXPECT_EQ(bytes(HeadChunks::kByWidth) - bytes(HeadChunks::kByLogits),
            8 * (350 * 50257 - (1 << 23)));
}

TEST(CostTest, OnlyTheReferenceKeepsPairsOfTokens) {
  const ModelConfig model = Micro("rope");
  TrainConfig train = Short();
  train.train_length = train.batch_tokens = 16384;
  const auto of_tokens = [&](AttentionBackend attention) {
    return TrainMemoryBytes(model, train, 1, Path(attention));
  };
  // 4 bytes of (16384 + 128) / 2 keys and 4 heads beside 8 bytes of 4 heads.
  EXPECT_EQ(of_tokens(kReference) - of_tokens(kFused),
            std::int64_t{16384} * 4 * 4 * (4 * 8256 - 8));
  EXPECT_EQ(of_tokens(kTorch), of_tokens(kFused));
  // A window ends them; without the mask each query reads all.
  ModelConfig windowed = model;
  windowed.body.window = 1000;
  EXPECT_EQ(TrainMemoryBytes(windowed, train, 1, Path(kReference)) - of_tokens(kFused),
            std::int64_t{16384} * 4 * 4 * (4 * 1128 - 8));
  ModelConfig encoder = model;
  encoder.causal = false;
  EXPECT_EQ(TrainMemoryBytes(encoder, train, 1, Path(kReference)) - of_tokens(kFused),
            std::int64_t{16384} * 4 * 4 * (4 * 16384 - 8));
}

TEST(CostTest, OfFreedTensorsOfPairsOneCopyOfTheScoresIsKept) {
  ModelConfig model = Micro("rope");
  TrainConfig train = Short();
  train.train_length = 16384;
  train.batch_tokens = 65536;
  const std::int64_t block = 8 * 96 + 4 * (6 * 96 + 2 * 384), inputs = 3 * 4 * 96;
  const auto of_layers = [&](std::int64_t micro_batch, DeviceKind kind) {
    const std::int64_t program = kind == DeviceKind::kCpu ? kProgram : 0;
    const std::int64_t logits_max = kind == DeviceKind::kCpu ? 1 << 23 : 1 << 26;
    const std::int64_t logits = 8 * std::min<std::int64_t>(micro_batch * 16384 * 256, logits_max);
    return (TrainMemoryBytes(model, train, micro_batch, Path(kReference, true, kind)) - program -
            16 * model.ParameterCount() - logits) /
               (micro_batch * 16384) -
           inputs - 2 * block;
  };
  const std::int64_t pairs = 4 * 4 * 8256;  // with (16384 + 128) / 2 keys
  EXPECT_EQ(of_layers(1, DeviceKind::kCpu), 2 * pairs);
  EXPECT_EQ(of_layers(4, DeviceKind::kCpu), 2 * pairs);
  EXPECT_EQ(of_layers(4, DeviceKind::kGpu), 2 * pairs);
  model.causal = false;
  EXPECT_EQ(of_layers(4, DeviceKind::kCpu), std::int64_t{2} * 4 * 4 * 16384);
  // CoPE also keeps positions while a layer exists, but not after it was freed.
  model.causal = true;
  model.position = *ResolvePosition("cope");
  EXPECT_EQ(of_layers(4, DeviceKind::kCpu), std::int64_t{4} * (44 + 4) * 8256);
}

TEST(CostTest, Bf16KeepsHalfOfTheProductsAndRoundedWeights) {
  const ModelConfig model = Micro();
  TrainConfig train = Short();
  train.precision = Precision::kBf16;
  EXPECT_EQ(TrainMemoryBytes(model, train, 1, Path(kFused)),
            kProgram + 18 * model.ParameterCount() +
                64 * 4 * (8 * 96 + 2 * (6 * 96 + 2 * 384) + 8 * 4) + 8 * 64 * 256);
}

// As long as a training task reads windows that take more memory than its steps.
TEST(CostTest, Bf16KeepsRoundedWeightsDuringAValidation) {
  const ModelConfig model = Micro();
  TrainConfig train = Short();
  train.precision = Precision::kBf16;
  train.validate.every = 1;
  train.validate.length = 8192;
  EXPECT_EQ(TrainMemoryBytes(model, train, 1, Path(kFused)),
            14 * model.ParameterCount() +
                EvaluateMemoryBytes(model, train.validate.length, Path(kFused), 0));
  // On a GPU, the activations of the windows have the precision of the run. AutoMicroBatch leaves a
  // tenth of the GPU for CUDA itself.
  const MemoryPath gpu = {.device_kind = DeviceKind::kGpu, .attention = kFused};
  EXPECT_EQ(TrainMemoryBytes(model, train, 1, gpu),
            14 * model.ParameterCount() - (600 << 20) +
                EvaluateMemoryBytes(model, train.validate.length, gpu, 0, Precision::kBf16));
}

// Size tiny with a vocabulary of bytes, at 16,384 tokens: one of two slots of a machine of 24 GB.
TEST(CostTest, SizeTinyTrainsAt16384TokensOnHalfOf24Gigabytes) {
  ModelConfig model = *ModelConfig::Preset("tiny");
  model.vocab_size = 320;
  TrainConfig train = Short();
  train.train_length = train.batch_tokens = 16384;
  for (const char* method : {"rope", "alibi", "cable", "t5", "fire", "none"}) {
    model.position = *ResolvePosition(method);
    const MemoryPath path = NewRunMemoryPath(model, DeviceKind::kCpu, false);
    EXPECT_EQ(path.attention, kFused) << method;
    EXPECT_LT(TrainMemoryBytes(model, train, 1, path), 12'000'000'000) << method;
  }
}

TEST(CostTest, ANewRunIsCountedOnThePathThatItWillTake) {
  EXPECT_EQ(NewRunMemoryPath(Micro(), DeviceKind::kCpu, true).attention, kFused);
  EXPECT_TRUE(NewRunMemoryPath(Micro(), DeviceKind::kCpu, true).activation_checkpointing);
  EXPECT_EQ(NewRunMemoryPath(Micro("cope"), DeviceKind::kCpu, false).attention, kReference);
  EXPECT_EQ(NewRunMemoryPath(Micro(), DeviceKind::kGpu, false).attention, kReference);
  EXPECT_EQ(NewRunMemoryPath(Micro(), DeviceKind::kGpu, false).device_kind, DeviceKind::kGpu);
}

TEST(CostTest, MicroBatchIsTheLargestPowerOfTwoThatDividesAndFits) {
  const ModelConfig model = Micro();
  const TrainConfig train = Short();
  const auto bytes = [&](std::int64_t micro_batch) {
    return TrainMemoryBytes(model, train, micro_batch, Path(kFused));
  };
  const auto fits = [&](std::int64_t memory_bytes) {
    return AutoMicroBatch(model, train, memory_bytes, Path(kFused));
  };
  EXPECT_EQ(fits(bytes(1000)), 16);
  EXPECT_EQ(fits(bytes(16)), 16);
  EXPECT_EQ(fits(bytes(16) - 1), 8);
  EXPECT_EQ(fits(bytes(2)), 2);
  EXPECT_EQ(fits(0), 1);
  // On a GPU a tenth stays free.
  const MemoryPath on_gpu = Path(kFused, false, DeviceKind::kGpu);
  const std::int64_t sixteen = TrainMemoryBytes(model, train, 16, on_gpu);
  EXPECT_EQ(AutoMicroBatch(model, train, sixteen + sixteen / 5, on_gpu), 16);
  EXPECT_EQ(AutoMicroBatch(model, train, sixteen + sixteen / 20, on_gpu), 8);
  // Of 12 layers two sequences as they are take more than eight with activation checkpointing:
  // 2 * 13 * 6176 > 8 (12 * 384 + 2 * 6176) + 6 * 2048, for the logits.
  ModelConfig deep = model;
  deep.n_layer = 12;
  const std::int64_t two_bytes = TrainMemoryBytes(deep, train, 2, Path(kFused));
  EXPECT_EQ(AutoMicroBatch(deep, train, two_bytes, Path(kFused)), 2);
  EXPECT_EQ(AutoMicroBatch(deep, train, two_bytes, Path(kFused, true)), 8);
  TrainConfig twelve = train;
  twelve.batch_tokens = 12 * 64;
  EXPECT_EQ(AutoMicroBatch(model, twelve, bytes(1000), Path(kFused)), 4);
}

TEST(CostTest, MemoryOfAHugeModelIsCappedAndNeverWraps) {
  TrainConfig train = Short();
  train.train_length = std::int64_t{1} << 40;
  EXPECT_GT(TrainMemoryBytes(Micro(), train, 1 << 20, Path(kFused)), std::int64_t{1} << 62);
}

// The head never has the logits of all positions at once, so a long window of a large vocabulary
// costs no more than one chunk of them.
TEST(CostTest, MemoryOfAnEvaluationHasOneChunkOfLogits) {
  ModelConfig model = Micro();
  model.vocab_size = 50257;
  const std::int64_t weights = 4 * model.ParameterCount(), chunk = 1 << 23;
  // Ten tensors of 96 channels and two of 384; 8192 tokens in 128 windows of 64. A longer window is
  // read in parts, beside eight tensors of 96 channels: rows, q, k, v, copies of k and v, outputs
  // and a gate's input.
  const std::int64_t part = 4 * 8192 * (10 * 96 + 2 * 384);
  EXPECT_EQ(EvaluateMemoryBytes(model, 64, Path(kFused), 0), kProgram + weights + part + 8 * chunk);
  EXPECT_EQ(EvaluateMemoryBytes(model, 16384, Path(kFused), 0),
            kProgram + weights + part + 4 * 16384 * 8 * 96 + 8 * chunk);
  // No copies of k and v, but parts of the outputs, and three copies of the scores of 128 rows of 4
  // heads.
  EXPECT_EQ(
      EvaluateMemoryBytes(model, 16384, Path(kReference), 0),
      EvaluateMemoryBytes(model, 16384, Path(kFused), 0) - 4 * 16384 * 96 + 12 * 4 * 128 * 16384);
}

// LibTorch multiplies fp16 slowly on a CPU, so the head is rounded, and then widened for all
// chunks.
TEST(CostTest, MemoryOfAnEvaluationInFp16OnACpuHasTheHeadInFp32) {
  ModelConfig model = Micro();
  model.vocab_size = 50257;
  const auto bytes = [&](DeviceKind kind, Precision precision) {
    return EvaluateMemoryBytes(model, 1024, {.device_kind = kind, .attention = kFused}, 0,
                               precision);
  };
  EXPECT_EQ(bytes(DeviceKind::kCpu, Precision::kFp16) - bytes(DeviceKind::kCpu, Precision::kFp32),
            4 * 50257 * 96);
  EXPECT_EQ(bytes(DeviceKind::kCpu, Precision::kBf16), bytes(DeviceKind::kCpu, Precision::kFp32));
}

// In MiB, by a process on an H100 (docs/gpu-ledger.md), with CUDA's own memory.
TEST(CostTest, MemoryOfAnEvaluationOnAGpuIsNearWhatWasMeasured) {
  ModelConfig model = *ModelConfig::Preset("small");
  model.vocab_size = 320;
  model.position = *ResolvePosition("cable");
  struct Measured {
    std::int64_t context_length;
    Precision precision;
    double mebibytes;
  };
  for (const Measured& one :
       {Measured{65'536, Precision::kBf16, 3089}, Measured{65'536, Precision::kFp32, 3971}}) {
    const auto foretold = static_cast<double>(EvaluateMemoryBytes(
        model, one.context_length, {.device_kind = DeviceKind::kGpu, .attention = kFused}, 0,
        one.precision));
    EXPECT_NEAR(foretold / (1 << 20) / one.mebibytes, 1, 0.15)
        << one.context_length << " " << EnumName(one.precision);
  }
}

TEST(CostTest, MemoryOfAnEvaluationOnAGpuIsLessWithElementsOfTwoBytes) {
  const ModelConfig model = Micro();
  const auto bytes = [&](Precision precision, int keys_held) {
    return EvaluateMemoryBytes(model, 65'536,
                               {.device_kind = DeviceKind::kGpu, .attention = kFused}, keys_held,
                               precision);
  };
  // Seven tensors of 96 channels and two of 384, and the cache's keys and values.
  EXPECT_EQ(bytes(Precision::kFp32, 0) - bytes(Precision::kBf16, 0),
            2 * 65'536 * (7 * 96 + 2 * 384));
  EXPECT_EQ(bytes(Precision::kBf16, 1) - bytes(Precision::kBf16, 0),
            2 * 65'536 * model.n_layer * 2 * 96);
  EXPECT_EQ(bytes(Precision::kFp16, 1), bytes(Precision::kBf16, 1));
}

TEST(CostTest, MemoryOfAnEvaluationThatWritesHasTheKeysAndValuesOfEachLayer) {
  const ModelConfig model = Micro();
  EXPECT_EQ(EvaluateMemoryBytes(model, 4096, Path(kFused), 1) -
                EvaluateMemoryBytes(model, 4096, Path(kFused), 0),
            4 * 8192 * model.n_layer * 2 * 96);
}

// A longer prompt adds only its keys and values, and the rows of a block's queries and keys.
TEST(CostTest, MemoryOfAnEvaluationThatWritesHasTheActivationsOfAPartOfThePrompt) {
  const ModelConfig model = Micro();
  EXPECT_EQ(EvaluateMemoryBytes(model, 65536, Path(kFused), 1) -
                EvaluateMemoryBytes(model, 8192, Path(kFused), 1),
            4 * (65536 - 8192) * model.n_layer * 2 * 96);
  const MemoryPath gpu = {.device_kind = DeviceKind::kGpu, .attention = kFused};
  EXPECT_EQ(
      EvaluateMemoryBytes(model, 1 << 20, gpu, 1) - EvaluateMemoryBytes(model, 1 << 16, gpu, 1),
      4 * ((1 << 20) - (1 << 16)) * model.n_layer * 2 * 96);
}

// A context, and the choices that go on from it, each up to 1 GiB; texts beyond that are read as
// wholes.
TEST(CostTest, MemoryOfAnEvaluationThatBranchesHasKeysAndValuesTwice) {
  const ModelConfig model = Micro();
  const auto beyond_none = [&](std::int64_t context_length) {
    return EvaluateMemoryBytes(model, context_length, Path(kFused), 2) -
           EvaluateMemoryBytes(model, 8192, Path(kFused), 0);
  };
  const std::int64_t of_token = 4 * model.n_layer * 2 * 96;
  EXPECT_EQ(beyond_none(64), 2 * 8192 * of_token);
  EXPECT_EQ(beyond_none(5000), 2 * 8192 * of_token);
  EXPECT_EQ(beyond_none(16384), 2 * 16384 * of_token);
  EXPECT_EQ(beyond_none(600'000), 2LL << 30);
  EXPECT_EQ(beyond_none(1 << 20), 4LL * (1 << 20) * 8 * 96);
}

// Beside its rows, q, k, v, outputs and a gate's input, a text has its queries and keys again if
// they are rotated, in two parts where elements have two bytes.
TEST(CostTest, MemoryOfALongWindowOnAGpuHasItsRotatedQueriesAndKeys) {
  const auto of_token = [](const char* method, Precision precision) {
    const ModelConfig model = Micro(method);
    const MemoryPath gpu = {.device_kind = DeviceKind::kGpu, .attention = kFused};
    return (EvaluateMemoryBytes(model, 1 << 20, gpu, 0, precision) -
            EvaluateMemoryBytes(model, 1 << 19, gpu, 0, precision)) /
           (1 << 19);
  };
  EXPECT_EQ(of_token("cable", Precision::kFp32), 4 * 96 + 4 * 5 * 96);
  EXPECT_EQ(of_token("rope", Precision::kFp32), 4 * 96 + 4 * 7 * 96);
  EXPECT_EQ(of_token("cable", Precision::kBf16), 4 * 96 + 2 * 5 * 96);
  EXPECT_EQ(of_token("rope", Precision::kBf16), 4 * 96 + 2 * 9 * 96);
}

// A call gets as many prompts as fit into the tokens of whole windows, at least one.
TEST(CostTest, MemoryOfAnEvaluationIsThatOfItsLongestPrompts) {
  const ModelConfig model = Micro();
  const auto bytes = [&](std::int64_t context_length, std::int64_t prompt_tokens) {
    return EvaluateMemoryBytes(model, context_length, Path(kFused), 1, Precision::kFp32,
                               prompt_tokens);
  };
  EXPECT_EQ(bytes(9000, 32'021), bytes(32'021, 0));
  EXPECT_EQ(bytes(1000, 3000), bytes(3000, 0));  // two in 8000 tokens
  EXPECT_EQ(bytes(20'000, 9000), bytes(9000, 0) + 4 * 9000 * model.n_layer * 2 * 96);
  EXPECT_EQ(bytes(4096, 4096), bytes(4096, 0));
}

TEST(CostTest, AnEvaluationReadsWholeWindowsOfEightThousandTokens) {
  EXPECT_EQ(EvaluateTokensPerCall(DeviceKind::kCpu, 1000), 8000);
  EXPECT_EQ(EvaluateTokensPerCall(DeviceKind::kCpu, 8193), 8193);
  EXPECT_EQ(EvaluateTokensPerCall(DeviceKind::kGpu, 1024), 65536);
}

TEST(CostTest, FlopsAreSixPerParameterAndTokenPlusAttention) {
  const ModelConfig model = Micro();  // 600 steps of 1024 tokens
  const double matrices = 6.0 * static_cast<double>(model.ParameterCount());
  EXPECT_DOUBLE_EQ(TrainFlops(model, Short()), (matrices + 12.0 * 3 * 96 * 64) * 614'400);
}

}  // namespace
}  // namespace longrun
