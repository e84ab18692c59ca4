// The time of fused attention on a GPU, by CUDA's events: one JSON object per line.
//
//   longrun-cuda-attention-bench [--rounds N] [--batch B] [--heads H] [--head-dim D]
//                                [--queries N] [--skip N] [--types bf16,fp16,fp32]
//                                [--terms none,...] [--backward two|single] [T ...]
//
// Causal attention, for each T, type and setting of terms; the median of the rounds, after two that
// are not counted. Terms whose numbers a model learns are measured with their gradients:
//
//   none, rotation    the latter of 64 channels
//   key_bias          a learned number for each key and head, as cable has
//   two_sided         the same, as in cable bidirectional; here no query sees a key after it
//   alibi             slopes, which are not learned
//   distance_table    128 learned numbers for each head, as t5 has
//   kerple            a learned number for each of the T distances
//   fire              a function of 32 knots, all of whose numbers are learned
//   window            each query sees 1,024 keys
//   documents         of 250 and 750 tokens in turn
//
// With --queries, forward of the last N positions of T keys, as when a model writes. With --skip,
// keys are skipped that hold at most 2^-N of a row. --backward: the kernels of bf16. The plug-in
// lies in the program's folder.
//
// FLOP: 4 B H T^2 D forward, halved since causal; 2.5 times that backward; keys that are skipped,
// or hidden by a window or documents, count. So the ratio of two rates is that of the times. Of a
// few queries, the bytes of the keys and values are counted instead, once. `visited`: the part of
// the pairs that is not skipped.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "kernels/cuda/gpu_timer.h"
#include "kernels/cuda_attention.h"
#include "kernels/scalar.h"

namespace longrun {
namespace {

struct Setting {
  std::int64_t batch = 1, n_head = 12, head_dim = 64, length = 1024;
  std::int64_t n_query = 0;  // 0: as many as keys
  int skip = 0;              // 0: no key is skipped
  Scalar scalar = Scalar::kBf16;
  std::string terms;
  int rounds = 10;
};

constexpr MemorySpace kGpu = {.kind = MemorySpace::Kind::kCuda, .ordinal = 0};

// n_byte bytes on the GPU.
class GpuMemory {
 public:
  explicit GpuMemory(std::size_t n_byte) { Check(cudaMalloc(&data_, n_byte)); }
  GpuMemory(const GpuMemory&) = delete;
  GpuMemory& operator=(const GpuMemory&) = delete;
  ~GpuMemory() { cudaFree(data_); }
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

// (B, T, H, D) of random numbers.
class Rows {
 public:
  Rows(const Setting& of, std::int64_t n_row, SeededRandom& random)
      : n_(of.batch * n_row * of.n_head * of.head_dim),
        memory_(static_cast<std::size_t>(n_) * 4),
        layout_{.data = memory_.data(),
                .scalar = of.scalar,
                .batch = of.batch,
                .n_row = n_row,
                .n_head = of.n_head,
                .head_dim = of.head_dim,
                .batch_step = n_row * of.n_head * of.head_dim,
                .row_step = of.n_head * of.head_dim,
                .head_step = of.head_dim,
                .memory = kGpu} {
    std::vector<float> numbers(static_cast<std::size_t>(n_));
    for (std::int64_t at = 0; at < n_; ++at) {
      StoreScalar(of.scalar, numbers.data(), at, 2.0 * random.Uniform() - 1.0);
    }
    Check(cudaMemcpy(memory_.data(), numbers.data(), numbers.size() * 4, cudaMemcpyHostToDevice));
  }
  HeadsBuffer Buffer() const { return layout_; }
  HeadsView View() const {
    HeadsView view;
    view.data = layout_.data;
    view.scalar = layout_.scalar;
    view.batch = layout_.batch;
    view.n_row = layout_.n_row;
    view.n_head = layout_.n_head;
    view.head_dim = layout_.head_dim;
    view.batch_step = layout_.batch_step;
    view.row_step = layout_.row_step;
    view.head_step = layout_.head_step;
    view.memory = layout_.memory;
    return view;
  }

 private:
  std::int64_t n_;
  GpuMemory memory_;
  HeadsBuffer layout_;
};

// Numbers on the GPU, for terms and their gradients.
template <typename T>
class Numbers {
 public:
  explicit Numbers(const std::vector<T>& numbers)
      : n_(numbers.size()), memory_(std::max<std::size_t>(8, n_ * sizeof(T))) {
    Check(cudaMemcpy(memory_.data(), numbers.data(), n_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::span<const T> Span() const { return {static_cast<const T*>(memory_.data()), n_}; }
  NumbersBuffer Buffer() const {
    return {memory_.data(), static_cast<std::int64_t>(n_), Scalar::kFp64, kGpu};
  }
  NumbersView View() const {
    return {memory_.data(), static_cast<std::int64_t>(n_), Scalar::kFp64, kGpu};
  }

 private:
  std::size_t n_;
  GpuMemory memory_;
};
using Doubles = Numbers<double>;

// The terms of a setting, and the gradients of their numbers. Owns these numbers.
class Terms {
 public:
  Terms(const Setting& setting, std::int64_t n_query, SeededRandom& random)
      : setting_(setting),
        random_(random),
        all_({.scale = 1.0 / std::sqrt(static_cast<double>(setting.head_dim)),
              .visibility = {.q_offset = setting.length - n_query},
              .memory = kGpu}) {}

  // Ends the program if there are no terms of this name.
  void Add(AttentionBackwardCall& backward) {
    const std::string& name = setting_.terms;
    const auto length = static_cast<std::size_t>(setting_.length);
    if (name == "key_bias" || name == "two_sided") {
      // As the prefix sums of a learned bias.
      std::vector<double> bias(static_cast<std::size_t>(setting_.batch * setting_.n_head) * length);
      for (std::size_t at = 0; at < bias.size(); ++at) {
        bias[at] = 0.01 * static_cast<double>(at % length);
      }
      all_.key_bias = KeyBias{.values = Keep(bias), .two_sided = name == "two_sided"};
      backward.d_key_bias = GradientOf(bias.size());
    } else if (name == "alibi") {
      all_.key_bias = KeyBias{.slope = Keep(Slopes())};
    } else if (name == "distance_table" || name == "kerple") {
      const std::int64_t n_distance = name == "kerple" ? setting_.length : 128;
      const auto n = static_cast<std::size_t>(setting_.n_head * n_distance);
      all_.distance_table = DistanceTable{.values = Random(n), .n_distance = n_distance};
      backward.d_distance_table = GradientOf(n);
    } else if (name == "fire") {
      AddFire(backward);
    } else if (name == "rotation") {
      constexpr std::size_t kRotary = 64;
      const std::size_t n = length * kRotary / 2;
      all_.rotation = RotationTable{.cos = Random(n), .sin = Random(n), .n_rotary = kRotary};
    } else if (name == "window") {
      all_.visibility.window = 1024;
    } else if (name == "documents") {
      AddDocuments();
    } else if (name != "none") {
      std::fprintf(stderr, "--terms: \"%s\" is not among the terms that this program knows: %s\n",
                   name.c_str(), kAllTerms);
      std::exit(kExitBadUsage);
    }
  }
  const AttentionTerms& all() const { return all_; }

  static constexpr const char* kAllTerms =
      "none,key_bias,two_sided,alibi,distance_table,kerple,fire,rotation,window,documents";

 private:
  std::span<const double> Keep(const std::vector<double>& numbers) {
    return numbers_.emplace_back(numbers).Span();
  }
  std::span<const double> Random(std::size_t n) {
    std::vector<double> numbers(n);
    for (double& x : numbers) x = random_.Uniform();
    return Keep(numbers);
  }
  NumbersBuffer GradientOf(std::size_t n) {
    return numbers_.emplace_back(std::vector<double>(n)).Buffer();
  }
  std::vector<double> Slopes() const {
    const auto n_head = static_cast<double>(setting_.n_head);
    std::vector<double> slopes;
    for (std::int64_t h = 0; h < setting_.n_head; ++h) {
      slopes.push_back(std::exp2(-8.0 * static_cast<double>(h + 1) / n_head));
    }
    return slopes;
  }
  // psi(distance) / psi(position), as FIRE has it, and any function of it.
  void AddFire(AttentionBackwardCall& backward) {
    constexpr std::size_t kKnots = 32;
    const auto length = static_cast<std::size_t>(setting_.length);
    std::vector<double> psi, row_factor, knots;
    for (std::size_t t = 0; t < length; ++t) {
      psi.push_back(std::log1p(0.1 * static_cast<double>(t)));
      row_factor.push_back(1.0 / std::log1p(0.1 * std::max(512.0, static_cast<double>(t))));
    }
    for (std::size_t k = 0; k < kKnots; ++k) {
      knots.push_back(static_cast<double>(k + 1) / static_cast<double>(kKnots + 1));
    }
    const std::size_t n_segment = static_cast<std::size_t>(setting_.n_head) * (kKnots + 1);
    all_.piecewise = PiecewiseLinear{.psi = Keep(psi),
                                     .row_factor = Keep(row_factor),
                                     .knots = Keep(knots),
                                     .slope = Random(n_segment),
                                     .intercept = Random(n_segment)};
    backward.d_slope = GradientOf(n_segment);
    backward.d_intercept = GradientOf(n_segment);
    backward.d_psi = GradientOf(length);
    backward.d_row_factor = GradientOf(length);
  }
  void AddDocuments() {
    std::vector<std::int32_t> begins;
    for (std::int64_t at = 0; at < setting_.batch * setting_.length; ++at) {
      const std::int64_t t = at % setting_.length, pair = t / 1000 * 1000;
      begins.push_back(static_cast<std::int32_t>(t - pair < 250 ? pair : pair + 250));
    }
    all_.visibility.document_begin = begins_.emplace_back(begins).Span();
  }

  const Setting& setting_;
  SeededRandom& random_;
  AttentionTerms all_;
  std::list<Doubles> numbers_;
  std::list<Numbers<std::int32_t>> begins_;
};

// (B, H, VisitedKeys::Count(T_q)) on the GPU.
class FirstKeys {
 public:
  FirstKeys(std::int64_t n_head, std::int64_t n_query)
      : n_query_(n_query),
        numbers_(static_cast<std::size_t>(n_head * VisitedKeys::Count(n_query))),
        memory_(numbers_.size() * 4) {
    Check(cudaMemset(memory_.data(), 0, numbers_.size() * 4));
  }
  std::span<std::int32_t> Span() const {
    return {static_cast<std::int32_t*>(memory_.data()), numbers_.size()};
  }
  // Of the pairs of as many queries as keys.
  double VisitedShare() {
    Check(cudaMemcpy(numbers_.data(), memory_.data(), numbers_.size() * 4, cudaMemcpyDeviceToHost));
    const std::int64_t n_block = VisitedKeys::Count(n_query_);
    double visited = 0.0, visible = 0.0;
    for (std::size_t at = 0; at < numbers_.size(); ++at) {
      const std::int64_t begin = static_cast<std::int64_t>(at) % n_block * VisitedKeys::kQueries;
      for (std::int64_t i = begin; i < std::min(begin + VisitedKeys::kQueries, n_query_); ++i) {
        visible += static_cast<double>(i + 1);
        visited += static_cast<double>(i + 1 - numbers_[at]);
      }
    }
    return visited / visible;
  }

 private:
  std::int64_t n_query_;
  std::vector<std::int32_t> numbers_;
  GpuMemory memory_;
};

void Measure(const AttentionKernel& kernel, const Setting& setting, const GpuTimer& timer) {
  SeededRandom random(1);
  const std::int64_t n_query = setting.n_query > 0 ? setting.n_query : setting.length;
  const Rows q(setting, n_query, random), k(setting, setting.length, random),
      v(setting, setting.length, random), o(setting, n_query, random);
  const Rows o_gradient(setting, n_query, random), dq(setting, n_query, random),
      dk(setting, setting.length, random), dv(setting, setting.length, random);
  const std::int64_t n_all_heads = setting.batch * setting.n_head;
  const Doubles lse(std::vector<double>(static_cast<std::size_t>(n_all_heads * n_query), 0.0));

  AttentionBackwardCall backward = {.inputs = {.q = q.View(), .k = k.View(), .v = v.View()},
                                    .o = o.View(),
                                    .do_ = o_gradient.View(),
                                    .lse = lse.View(),
                                    .dq = dq.Buffer(),
                                    .dk = dk.Buffer(),
                                    .dv = dv.Buffer()};
  Terms terms(setting, n_query, random);
  terms.Add(backward);
  FirstKeys first_keys(n_all_heads, n_query);
  const bool skips = setting.skip > 0;
  const std::span<std::int32_t> first_key = skips ? first_keys.Span() : std::span<std::int32_t>();
  const AttentionForwardCall forward = {
      .inputs = backward.inputs, .o = o.Buffer(), .lse = lse.Buffer(), .first_key = first_key};
  backward.first_key = first_key;
  const AttentionKernelOptions options = {
      .skip_epsilon = skips ? std::ldexp(1.0, -setting.skip) : 0.0,
      .stream = timer.stream(),
      .working_memory = GpuTimer::Memory()};
  const double forward_ms =
      timer.Milliseconds([&] { return kernel.forward(forward, terms.all(), options); });
  std::printf(
      "{\"bench\":\"cuda_attention\",\"type\":\"%s\",\"terms\":\"%s\",\"batch\":%lld,\"heads\":%"
      "lld,\"queries\":%lld,\"length\":%lld,\"head_dim\":%lld,\"forward_ms\":%.4f,",
      std::string(ScalarName(setting.scalar)).c_str(), setting.terms.c_str(),
      static_cast<long long>(setting.batch), static_cast<long long>(setting.n_head),
      static_cast<long long>(n_query), static_cast<long long>(setting.length),
      static_cast<long long>(setting.head_dim), forward_ms);
  const auto length = static_cast<double>(setting.length);
  const auto channels = static_cast<double>(setting.batch * setting.n_head * setting.head_dim);
  if (n_query < setting.length) {
    const double n_byte = 2.0 * channels * length * (HasTwoBytes(setting.scalar) ? 2.0 : 4.0);
    std::printf("\"forward_gb_s\":%.0f}\n", n_byte / forward_ms * 1e-6);
  } else {
    const double backward_ms =
        timer.Milliseconds([&] { return kernel.backward(backward, terms.all(), options); });
    if (skips)
      std::printf("\"skip\":%d,\"visited\":%.4f,", setting.skip, first_keys.VisitedShare());
    const double flop = 2.0 * channels * length * length;
    std::printf("\"forward_tflops\":%.2f,\"backward_ms\":%.4f,\"backward_tflops\":%.2f}\n",
                flop / forward_ms * 1e-9, backward_ms, 2.5 * flop / backward_ms * 1e-9);
  }
  std::fflush(stdout);
}

constexpr Scalar kTypes[] = {Scalar::kBf16, Scalar::kFp16, Scalar::kFp32};

int Main(const std::vector<std::string>& arguments) {
  Setting setting;
  std::string types = "bf16,fp32", terms = "none,key_bias,distance_table,rotation";
  std::string backward = "two";
  const std::vector<std::int64_t> lengths = ReadArguments(arguments,
                                                          {{"--rounds", &setting.rounds},
                                                           {"--batch", &setting.batch},
                                                           {"--heads", &setting.n_head},
                                                           {"--head-dim", &setting.head_dim},
                                                           {"--queries", &setting.n_query},
                                                           {"--skip", &setting.skip},
                                                           {"--types", &types},
                                                           {"--terms", &terms},
                                                           {"--backward", &backward}},
                                                          {1024, 8192});
  if (backward != "two" && backward != "single") {
    std::fprintf(stderr, "--backward: expected two or single, found \"%s\"\n", backward.c_str());
    return kExitBadUsage;
  }
  const std::string plugin = JoinPath(ProgramFolder(), "liblongrun_cuda.so");
  const Result<const AttentionKernel*> kernel =
      backward == "two" ? CudaAttention(plugin) : CudaAttentionWithSingleBackward(plugin);
  Check(kernel.status());
  const GpuTimer timer(setting.rounds);
  for (const std::int64_t length : lengths) {
    for (const std::string& type : Split(types, ',')) {
      const auto* const scalar = std::ranges::find(kTypes, type, &ScalarName);
      if (scalar == std::end(kTypes)) {
        std::fprintf(stderr, "--types: expected bf16, fp16 or fp32, found \"%s\"\n", type.c_str());
        return kExitBadUsage;
      }
      for (const std::string& of_call : Split(terms, ',')) {
        setting.length = length;
        LR_CHECK(setting.n_query <= length);
        setting.scalar = *scalar;
        setting.terms = of_call;
        Measure(**kernel, setting, timer);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace longrun

int main(int n, char** arguments) { return longrun::Main({arguments + 1, arguments + n}); }
