// B = micro_batch sequences, T = train_length, C = d_model, H heads of D channels, G heads of keys
// and values, P parameters, w = 2, or 3 for a gated MLP; e bytes per element of a product:
// 4, or 2 in bf16.
//
//   training   M                              the program with its libraries; 0 on a GPU
//              + 16 P (+ 2 P in bf16)         fp32 weights, gradients,
//                                             two moments of AdamW; rounded weights
//              + B T (n_layer + 1) K          what blocks keep for their backward
//                                             passes, and temporaries
//              + 8 min(B T V, max(Z, V))      a chunk of logits and its gradient
//                                             (model/net/head.cc): Z is 2^23, 2^26 on a GPU;
//                                             C V, if more, for a run whose chunks have C rows
//                                             (model/head_chunks.h)
//
//   K = 2 * 4 C                  the inputs of the two norms
//       + e (2 C + w d_ff        their outputs, the MLP's
//            + 2 H D + 2 G D)    q, k, v and the attention's output
//       + 8 H                    fused: the log-sums of the rows
//       + H A N                  reference: probabilities of the N keys that a block of queries
//                                reads, A bytes each
//
// Fused attention (and LibTorch's) keeps nothing per pair of tokens. The reference keeps the
// probabilities in fp32, in bf16 training also a bf16 copy: A = 4 or 6; CoPE also keeps the
// positions and the numbers that they are interpolated from: A + 40. N is (T + 128) / 2 with a
// causal mask (blocks of 128 queries read the keys up to their last), the window + 128 if that is
// fewer, T without the mask. The additional layer accounts for the temporaries of
// the backward pass. Among them are the partial sums over rows of a GPU's kernels: for 16 rows of a
// norm's input at most two rows of sums, an eighth of the input (kernels/cuda/columns-inl.h).
//
// With activation checkpointing, blocks keep only their inputs (4 C per token), and two layers of K
// exist at a time: the one being recomputed, and the one before it, whose freed memory the process
// keeps for later steps (base/kept_memory.h). Of the reference's pairs a CPU uses that memory
// again, but for one copy of the scores (4 bytes): blocks of rows free and request tensors of many
// sizes.
//
// An evaluation gives the model B sequences of L tokens per call (8192 tokens on a CPU,
// 65536 on a GPU). Prompts of another length than L are as many as fit into these B L tokens, at
// least one; L and B below are then theirs:
//
//   evaluation   M + 4 P                   M: on a GPU what CUDA itself takes
//                + 4 V C                   in fp16 on a CPU: the head, rounded and widened again
//                + B L * 4 * 3 C           a block's input, its norm, and its sum with attention
//                + B L e (7 C + w d_ff)    q, k, v, the attention's output and its product, the
//                                          second norm, the MLP: the allocator holds all of them
//                + 8 min(B L V, max(Z, V))
//                + 3 * 4 * scores          reference: copies of a block of rows (CoPE: 15): 128
//                                          queries, fewer where B H L 128 scores are more than
//                                          2^25, never fewer than 16
//
// An evaluation in which the model writes also keeps 2 e n_layer G D for each of these tokens. It
// reads no more than 8192 or 65536 of them at a time (model/net/decoder.h): B L is at most that in
// the terms of a block. So it is where a text is longer, but for
//
//                + B L (4 C + e (2 H D + 2 G D + C))   its rows, q, k, v, the output of attention,
//                                                      and what a gate reads
//                + B L e 2 G D                         fused on a CPU: copies of keys and values
//                + B L e s (H D + G D)                 if they are rotated, s = 1 on a GPU, 2 there
//                                                      in bf16 and fp16, and 1 in the reference
//                                                      (and H D for its parts)
//
// An evaluation that branches has keys and values of a context and of what goes on from it, each up
// to 1 GiB on a CPU and 8 GiB on a GPU; what needs more is read as a whole.
//
// On a CPU, e is 4 in an evaluation of any precision: it may round and widen again.
//
// On an H100, GPT-2 small's body with Cable took 42 C bytes per token in bf16, which is 4 * 3 C +
// 2 (7 C + 8 C), and 1,073 MiB besides (docs/gpu-ledger.md).
//
// FLOPs (TrainFlops): 6 P per token for the matrix products, 12 n_layer C T for the two products of
// attention (forward 4 C T per layer and token, backward twice that). Evaluation (EvaluateFlops)
// has only the forward pass: 2 P + 4 n_layer C L per token.
#include "sweeps/cost.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "model/architecture/parameters.h"
#include "model/tokens_per_read.h"
#include "sweeps/run.h"

namespace longrun {
namespace {

// The part of LibTorch's CPU libraries that a process maps and touches.
constexpr double kProgramBytes = 150e6;
// A GPU's context, kernels and workspaces. On an H100 a process had 740 MiB beside its weights and
// activations in bf16, and less in fp32, in which the allocator uses more memory again.
constexpr double kCudaBytes = 600 << 20;
constexpr double kBlockQueries = 128.0;

std::int64_t Bytes(double bytes) {
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  return bytes >= static_cast<double>(kMax) ? kMax : static_cast<std::int64_t>(bytes);
}

double Program(const MemoryPath& path) {
  return path.device_kind == DeviceKind::kCpu ? kProgramBytes : 0.0;
}

double MlpWidths(const ModelConfig& model) {
  switch (model.body.mlp) {
    case MlpKind::kPlain:
      return 2.0;
    case MlpKind::kGated:
      return 3.0;
  }
  LR_CHECK(false);
}

// Channels per token of q, k, v and the attention's output together.
double HeadChannels(const ModelConfig& model) {
  return 2.0 * static_cast<double>((model.n_head + model.n_kv_head()) * model.head_dim());
}

double LogitsBytes(const ModelConfig& model, double n_tokens, DeviceKind device_kind,
                   HeadChunks head = HeadChunks::kByLogits) {
  const double logits_max = device_kind == DeviceKind::kCpu ? 1 << 23 : 1 << 26;
  const auto vocab = static_cast<double>(model.vocab_size);
  const double rows = head == HeadChunks::kByWidth ? static_cast<double>(model.d_model) : 1.0;
  return 8.0 * std::min(n_tokens * vocab, std::max(logits_max, rows * vocab));
}

// The average number of keys that a block of queries reads.
double KeysRead(const ModelConfig& model, double length) {
  if (!model.causal) return length;
  const double block = std::min(length, kBlockQueries);
  const double keys = 0.5 * (length + block);
  return model.body.window > 0 ? std::min(keys, static_cast<double>(model.body.window) + block)
                               : keys;
}

// Bytes per token that attention keeps for its backward pass, besides q, k, v and its output.
double KeptOfPairs(const ModelConfig& model, const TrainConfig& train, const MemoryPath& path) {
  const auto n_head = static_cast<double>(model.n_head);
  if (path.attention != AttentionBackend::kReference) return 8.0 * n_head;
  const double probability = train.precision == Precision::kBf16 ? 6.0 : 4.0;
  const double position = model.position.method == "cope" ? 40.0 : 0.0;
  return n_head * (probability + position) *
         KeysRead(model, static_cast<double>(train.train_length));
}

// Of what a layer's attention kept of pairs, what the process still holds after it was freed.
double HeldAfterFree(const ModelConfig& model, const TrainConfig& train, const MemoryPath& path) {
  const double kept = KeptOfPairs(model, train, path);
  if (path.attention != AttentionBackend::kReference) return kept;
  if (path.device_kind != DeviceKind::kCpu) return kept;  // PyTorch's allocator holds all
  return 4.0 * static_cast<double>(model.n_head) *
         KeysRead(model, static_cast<double>(train.train_length));
}

// Of a token of a text that is read in parts, but for the attention: what it has of all tokens.
double RowBytes(const ModelConfig& model, const MemoryPath& path, double element_bytes) {
  const auto d_queries = static_cast<double>(model.n_head * model.head_dim());
  const auto d_keys = static_cast<double>(model.n_kv_head() * model.head_dim());
  const auto d_model = static_cast<double>(model.d_model);
  const bool on_cpu = path.device_kind == DeviceKind::kCpu;
  const Result<TermSpec> terms = TermsOf(model);
  const bool rotates = terms.ok() && terms->rotation.has_value();
  double channels = HeadChannels(model) + d_model;
  if (path.attention == AttentionBackend::kFused) {
    if (on_cpu) channels += 2.0 * d_keys;
    if (rotates && !on_cpu) channels += (element_bytes < 4.0 ? 2.0 : 1.0) * (d_queries + d_keys);
  } else {
    channels += d_queries + (rotates ? d_queries + d_keys : 0.0);
  }
  return 4.0 * d_model + element_bytes * channels;
}

// The weights and the forward pass of one call without gradients.
double ReadingBytes(const ModelConfig& model, std::int64_t context_length, const MemoryPath& path,
                    int keys_held, Precision precision, std::int64_t prompt_tokens = 0) {
  constexpr double kScoresMax = 1 << 25;
  const bool on_cpu = path.device_kind == DeviceKind::kCpu;
  std::int64_t n_given = EvaluateTokensPerCall(path.device_kind, context_length);
  if (prompt_tokens > 0) {
    n_given = std::max<std::int64_t>(1, n_given / prompt_tokens) * prompt_tokens;
  }
  const auto n_tokens = static_cast<double>(n_given);
  const auto n_most = static_cast<double>(TokensPerRead(path.device_kind));
  const bool branches = keys_held > 1;  // as many rows as fit, whatever the context length
  const double n_read = branches ? n_most : std::min(n_tokens, n_most);
  const auto d_model = static_cast<double>(model.d_model);
  const double row_scores = static_cast<double>(model.n_head) * n_tokens;
  const double scores = path.attention == AttentionBackend::kReference
                            ? std::clamp(kScoresMax, 16.0 * row_scores, kBlockQueries * row_scores)
                            : 0.0;
  const double copies = model.position.method == "cope" ? 15.0 : 3.0;
  const auto d_keys = static_cast<double>(model.n_kv_head() * model.head_dim());
  const bool widens_head = precision == Precision::kFp16 && on_cpu;
  const double head = widens_head ? static_cast<double>(model.vocab_size) * d_model : 0.0;
  const double element_bytes = on_cpu || precision == Precision::kFp32 ? 4.0 : 2.0;
  const double key_bytes = 2.0 * element_bytes * static_cast<double>(model.n_layer) * d_keys;
  const auto branch_bytes = static_cast<double>(BranchKeyBytes(path.device_kind));
  const double kept = branches
                          ? 2.0 * std::min(branch_bytes, std::max(n_tokens, n_most) * key_bytes)
                          : keys_held * n_tokens * key_bytes;
  const bool has_all_rows = keys_held != 1 && n_tokens > n_most;
  const double all_rows = has_all_rows ? n_tokens * RowBytes(model, path, element_bytes) : 0.0;
  const double of_products = 7.0 * d_model + MlpWidths(model) * static_cast<double>(model.d_ff);
  return 4.0 * (static_cast<double>(model.ParameterCount()) + head) + std::max(kept, all_rows) +
         n_read * (4.0 * 3.0 * d_model + element_bytes * of_products) +
         LogitsBytes(model, n_read, path.device_kind) + 4.0 * copies * scores;
}

}  // namespace

MemoryPath NewRunMemoryPath(const ModelConfig& model, DeviceKind device_kind,
                            bool activation_checkpointing, std::int64_t gpu_head_dim_max) {
  return {.device_kind = device_kind,
          .attention = AttentionPathFor(model, device_kind, gpu_head_dim_max),
          .activation_checkpointing = activation_checkpointing,
          .head = HeadChunksFor(model, device_kind)};
}

MemoryPath BegunRunMemoryPath(const Execution& execution, bool activation_checkpointing) {
  return {.device_kind = execution.device_kind,
          .attention = execution.attention,
          .activation_checkpointing = activation_checkpointing,
          .head = execution.head};
}

HeadChunks FittingHeadChunks(const ModelConfig& model, const TrainConfig& train,
                             std::int64_t memory_bytes, const MemoryPath& path) {
  const bool fits = TrainMemoryBytes(model, train, 1, path) <= memory_bytes;
  return fits ? path.head : HeadChunks::kByLogits;
}

std::int64_t TrainMemoryBytes(const ModelConfig& model, const TrainConfig& train,
                              std::int64_t micro_batch, const MemoryPath& path) {
  // A double is exact below 2^53 bytes, and nothing larger fits anyway.
  const bool rounds = train.precision == Precision::kBf16;
  const double element_bytes = rounds ? 2.0 : 4.0;
  const auto n_layer = static_cast<double>(model.n_layer);
  const auto d_model = static_cast<double>(model.d_model);
  const double block_bytes =
      2.0 * 4.0 * d_model +
      element_bytes * (2.0 * d_model + MlpWidths(model) * static_cast<double>(model.d_ff) +
                       HeadChannels(model));
  const double pairs_bytes = KeptOfPairs(model, train, path);
  const double layers_bytes = path.activation_checkpointing
                                  ? n_layer * 4.0 * d_model + 2.0 * block_bytes + pairs_bytes +
                                        HeldAfterFree(model, train, path)
                                  : (n_layer + 1.0) * (block_bytes + pairs_bytes);
  const double n_tokens =
      static_cast<double>(micro_batch) * static_cast<double>(train.train_length);
  const double parameters = static_cast<double>(model.ParameterCount());
  const std::int64_t trains =
      Bytes(Program(path) + (rounds ? 18.0 : 16.0) * parameters + n_tokens * layers_bytes +
            LogitsBytes(model, n_tokens, path.device_kind, path.head));
  if (train.validate.every == 0 || train.validate.length <= train.train_length) return trains;
  // The gradients, the optimizer's moments and the rounded weights stay while longer windows are
  // read.
  return std::max(trains, Bytes(Program(path) + (rounds ? 14.0 : 12.0) * parameters +
                                ReadingBytes(model, train.validate.length, path, /*keys_held=*/0,
                                             train.precision)));
}

std::int64_t AutoMicroBatch(const ModelConfig& model, const TrainConfig& train,
                            std::int64_t memory_bytes, const MemoryPath& path) {
  // What a GPU has includes what its driver and other programs take.
  if (path.device_kind == DeviceKind::kGpu) memory_bytes -= memory_bytes / 10;
  std::int64_t micro_batch = 1;
  if (train.tokens == 0) return micro_batch;
  while (train.batch_sequences() % (2 * micro_batch) == 0 &&
         TrainMemoryBytes(model, train, 2 * micro_batch, path) <= memory_bytes) {
    micro_batch *= 2;
  }
  return micro_batch;
}

std::int64_t EvaluateTokensPerCall(DeviceKind device_kind, std::int64_t context_length) {
  return std::max<std::int64_t>(1, TokensPerRead(device_kind) / context_length) * context_length;
}

std::int64_t EvaluateMemoryBytes(const ModelConfig& model, std::int64_t context_length,
                                 const MemoryPath& path, int keys_held, Precision precision,
                                 std::int64_t prompt_tokens) {
  const double program = path.device_kind == DeviceKind::kCpu ? Program(path) : kCudaBytes;
  return Bytes(program +
               ReadingBytes(model, context_length, path, keys_held, precision, prompt_tokens));
}

double TrainFlops(const ModelConfig& model, const TrainConfig& train) {
  if (train.tokens == 0) return 0.0;
  const double tokens =
      static_cast<double>(train.steps()) * static_cast<double>(train.batch_tokens);
  const double matrices = 6.0 * static_cast<double>(model.ParameterCount());
  const double attention = 12.0 * static_cast<double>(model.n_layer) *
                           static_cast<double>(model.d_model) *
                           static_cast<double>(train.train_length);
  return (matrices + attention) * tokens;
}

double EvaluateFlops(const ModelConfig& model, double n_tokens, std::int64_t context_length) {
  const double matrices = 2.0 * static_cast<double>(model.ParameterCount());
  const double attention = 4.0 * static_cast<double>(model.n_layer) *
                           static_cast<double>(model.d_model) * static_cast<double>(context_length);
  return (matrices + attention) * n_tokens;
}

std::int64_t CheckpointBytes(const ModelConfig& model) {
  return Bytes(12.0 * static_cast<double>(model.ParameterCount()));
}

}  // namespace longrun
