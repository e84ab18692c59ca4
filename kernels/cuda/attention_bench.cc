// The time of fused attention on a GPU, by CUDA's events: one JSON object per line.
//
//   longrun-cuda-attention-bench [--rounds N] [--batch B] [--heads H] [--head-dim D]
//                                [--queries N] [--skip N] [--types bf16,fp16,fp32]
//                                [--terms none,...] [--backward two|single|unordered]
//                                [--check N] [T ...]
//
// Causal attention, for each T, type and setting of terms; gpu_timer.h says how times are measured,
// of which those in a CUDA graph (`forward_graph_ms`) are of short calls only. Where q, k, v, o and
// the gradient of o fit into the L2 cache, calls take several such sets in turn (`input_sets`).
// Terms whose numbers a model learns are measured with their gradients:
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
//   alibi+window      both; so of others
//
// With --queries, forward of the last N positions of T keys, as when a model writes. With --skip,
// keys are skipped that hold at most 2^-N of a row. --backward: the kernels of bf16; `unordered`, a
// single one that adds in any order, exists only here, for none, rotation, key_bias and alibi. The
// plug-in lies in the program's folder.
//
// FLOP: 4 B H T^2 D forward, halved since causal; 2.5 times that backward; keys that are skipped,
// or hidden by a window or documents, count. So the ratio of two rates is that of the times. Of a
// few queries, the bytes of the keys and values are counted instead, once. `visited`: the part of
// the pairs that is not skipped. --check: `error` is |o - r| / |r| of the last N queries; r is the
// reference's o in fp64, computed on the host: for short texts, since it takes long.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "kernels/backends.h"
#include "kernels/cuda/gpu_timer.h"
#include "kernels/cuda_attention.h"
#include "kernels/scalar.h"

namespace longrun {
namespace {

struct Setting {
  std::int64_t batch = 1, n_head = 12, head_dim = 64, length = 1024;
  std::int64_t n_query = 0;    // 0: as many as keys
  int skip = 0;                // 0: no key is skipped
  std::int64_t n_checked = 0;  // the last queries of each head; 0: no error is computed
  Scalar scalar = Scalar::kBf16;
  std::string terms;
  int rounds = GpuTimer::kTimedCalls;
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

// (B, T, H, D) on the GPU.
class Rows {
 public:
  Rows(const Setting& of, std::int64_t n_row)
      : memory_(static_cast<std::size_t>(Bytes(of, n_row))),
        layout_{.data = memory_.data(),
                .scalar = of.scalar,
                .batch = of.batch,
                .n_row = n_row,
                .n_head = of.n_head,
                .head_dim = of.head_dim,
                .batch_step = n_row * of.n_head * of.head_dim,
                .row_step = of.n_head * of.head_dim,
                .head_step = of.head_dim,
                .memory = kGpu} {}
  // Of random numbers. A long text repeats a million of them, which is faster.
  Rows(const Setting& of, std::int64_t n_row, SeededRandom& random) : Rows(of, n_row) {
    constexpr std::int64_t kRandom = 1'000'003;
    const std::int64_t n = Elements(of, n_row);
    std::vector<char> numbers(static_cast<std::size_t>(Bytes(of, n_row)));
    for (std::int64_t at = 0; at < std::min(n, kRandom); ++at) {
      StoreScalar(of.scalar, numbers.data(), at, 2.0 * random.Uniform() - 1.0);
    }
    const auto n_byte = static_cast<std::ptrdiff_t>(kRandom * ElementBytes(of));
    for (auto at = numbers.begin() + std::min(n_byte, std::ssize(numbers)); at != numbers.end();) {
      const std::ptrdiff_t n_copied = std::min(n_byte, numbers.end() - at);
      at = std::copy_n(numbers.begin(), n_copied, at);
    }
    Check(cudaMemcpy(memory_.data(), numbers.data(), numbers.size(), cudaMemcpyHostToDevice));
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
  static std::int64_t Bytes(const Setting& of, std::int64_t n_row) {
    return Elements(of, n_row) * ElementBytes(of);
  }

 private:
  static std::int64_t Elements(const Setting& of, std::int64_t n_row) {
    return of.batch * n_row * of.n_head * of.head_dim;
  }
  static std::int64_t ElementBytes(const Setting& of) { return HasTwoBytes(of.scalar) ? 2 : 4; }

  GpuMemory memory_;
  HeadsBuffer layout_;
};

// The last n_row rows of a view, copied to the host.
class LastRows {
 public:
  LastRows(const HeadsView& of, std::int64_t n_row) : view_(of) {
    const std::int64_t element = HasTwoBytes(of.scalar) ? 2 : 4;
    numbers_.resize(static_cast<std::size_t>(of.batch * of.batch_step * element));
    Check(cudaMemcpy(numbers_.data(), of.data, numbers_.size(), cudaMemcpyDeviceToHost));
    view_.data = numbers_.data() + (of.n_row - n_row) * of.row_step * element;
    view_.n_row = n_row;
    view_.memory = {};
  }
  const HeadsView& View() const { return view_; }
  double At(std::int64_t b, std::int64_t row, std::int64_t head, std::int64_t channel) const {
    return LoadScalar(
        view_.scalar, view_.data,
        b * view_.batch_step + row * view_.row_step + head * view_.head_step + channel);
  }

 private:
  std::vector<char> numbers_;
  HeadsView view_;
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

// The terms of a setting for its last n_query queries, and the gradients of their numbers. Owns
// these numbers, which are the same in each memory.
class Terms {
 public:
  Terms(const Setting& setting, std::int64_t n_query, const MemorySpace& memory)
      : setting_(setting),
        all_({.scale = 1.0 / std::sqrt(static_cast<double>(setting.head_dim)),
              .visibility = {.q_offset = setting.length - n_query},
              .memory = memory}) {}

  // Ends the program if there are no terms of this name.
  void Add(AttentionBackwardCall& backward) {
    for (const std::string& name : Split(setting_.terms, '+')) Add(name, backward);
  }
  const AttentionTerms& all() const { return all_; }

  static constexpr const char* kAllTerms =
      "none,key_bias,two_sided,alibi,distance_table,kerple,fire,rotation,window,documents";

 private:
  void Add(const std::string& name, AttentionBackwardCall& backward) {
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
  std::span<const double> Keep(const std::vector<double>& numbers) {
    if (all_.memory == kGpu) return numbers_.emplace_back(numbers).Span();
    return host_numbers_.emplace_back(numbers);
  }
  std::span<const double> Random(std::size_t n) {
    std::vector<double> numbers(n);
    for (double& x : numbers) x = random_.Uniform();
    return Keep(numbers);
  }
  NumbersBuffer GradientOf(std::size_t n) {
    if (all_.memory != kGpu) return {};
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
    all_.visibility.document_begin = all_.memory == kGpu ? begins_.emplace_back(begins).Span()
                                                         : host_begins_.emplace_back(begins);
  }

  const Setting& setting_;
  SeededRandom random_{2};
  AttentionTerms all_;
  std::list<Doubles> numbers_;
  std::list<Numbers<std::int32_t>> begins_;
  std::list<std::vector<double>> host_numbers_;
  std::list<std::vector<std::int32_t>> host_begins_;
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

// What a call reads and writes, but for its terms.
struct InputSet {
  InputSet(const Setting& setting, std::int64_t n_query, SeededRandom& random)
      : q(setting, n_query, random),
        k(setting, setting.length, random),
        v(setting, setting.length, random),
        o_gradient(setting, n_query, random),
        o(setting, n_query),
        dq(setting, n_query),
        dk(setting, setting.length),
        dv(setting, setting.length),
        lse(std::vector<double>(static_cast<std::size_t>(setting.batch * setting.n_head * n_query),
                                0.0)),
        first_keys(setting.batch * setting.n_head, n_query) {}

  Rows q, k, v, o_gradient, o, dq, dk, dv;
  Doubles lse;
  FirstKeys first_keys;
};

// One if q, k, v, o and the gradient of o do not fit into the L2 cache; else as many as fill it
// twice, so that a set has left it when its turn comes again.
std::int64_t InputSets(const Setting& setting, std::int64_t n_query) {
  int l2_bytes = 0;
  Check(cudaDeviceGetAttribute(&l2_bytes, cudaDevAttrL2CacheSize, 0));
  const std::int64_t n_byte =
      3 * Rows::Bytes(setting, n_query) + 2 * Rows::Bytes(setting, setting.length);
  if (n_byte > l2_bytes) return 1;
  return std::clamp<std::int64_t>((2 * std::int64_t{l2_bytes} + n_byte - 1) / n_byte, 3, 16);
}

// |o - r| / |r|, r by the reference, which comes first.
double ErrorOf(const Setting& setting, const InputSet& of) {
  const std::int64_t n_row = setting.n_checked;
  const LastRows q(of.q.View(), n_row), o(of.o.View(), n_row), k(of.k.View(), setting.length),
      v(of.v.View(), setting.length);
  Terms terms(setting, n_row, MemorySpace());
  AttentionBackwardCall unused;
  terms.Add(unused);
  const std::int64_t n_channel = setting.n_head * setting.head_dim;
  std::vector<double> expected(static_cast<std::size_t>(setting.batch * n_row * n_channel));
  std::vector<double> lse(static_cast<std::size_t>(setting.batch * setting.n_head * n_row));
  Check(AttentionKernels().front().forward({.inputs = {.q = q.View(), .k = k.View(), .v = v.View()},
                                            .o = {.data = expected.data(),
                                                  .scalar = Scalar::kFp64,
                                                  .batch = setting.batch,
                                                  .n_row = n_row,
                                                  .n_head = setting.n_head,
                                                  .head_dim = setting.head_dim,
                                                  .batch_step = n_row * n_channel,
                                                  .row_step = n_channel,
                                                  .head_step = setting.head_dim},
                                            .lse = lse},
                                           terms.all(), {}));
  double difference = 0.0, size = 0.0;
  for (std::size_t at = 0; at < expected.size(); ++at) {
    const auto n = static_cast<std::int64_t>(at);
    const double found = o.At(n / n_channel / n_row, n / n_channel % n_row,
                              n % n_channel / setting.head_dim, n % setting.head_dim);
    difference += (found - expected[at]) * (found - expected[at]);
    size += expected[at] * expected[at];
  }
  return std::sqrt(difference / size);
}

void Measure(const AttentionKernel& kernel, const Setting& setting, const GpuTimer& timer) {
  SeededRandom random(1);
  const std::int64_t n_query = setting.n_query > 0 ? setting.n_query : setting.length;
  std::vector<std::unique_ptr<InputSet>> sets;
  for (std::int64_t n = InputSets(setting, n_query); n > 0; --n) {
    sets.push_back(std::make_unique<InputSet>(setting, n_query, random));
  }
  Terms terms(setting, n_query, kGpu);
  AttentionBackwardCall gradients_of_terms;
  terms.Add(gradients_of_terms);
  const bool skips = setting.skip > 0;
  const AttentionKernelOptions options = {
      .skip_epsilon = skips ? std::ldexp(1.0, -setting.skip) : 0.0,
      .stream = timer.stream(),
      .working_memory = GpuTimer::Memory()};
  const auto inputs_of = [](const InputSet& set) {
    return AttentionInputs{.q = set.q.View(), .k = set.k.View(), .v = set.v.View()};
  };
  std::size_t turn = 0;
  const auto forward = [&] {
    const InputSet& set = *sets[turn++ % sets.size()];
    return kernel.forward({.inputs = inputs_of(set),
                           .o = set.o.Buffer(),
                           .lse = set.lse.Buffer(),
                           .first_key = skips ? set.first_keys.Span() : std::span<std::int32_t>()},
                          terms.all(), options);
  };
  const auto backward = [&] {
    const InputSet& set = *sets[turn++ % sets.size()];
    AttentionBackwardCall call = gradients_of_terms;
    call.inputs = inputs_of(set);
    call.o = set.o.View();
    call.do_ = set.o_gradient.View();
    call.lse = set.lse.View();
    if (skips) call.first_key = set.first_keys.Span();
    call.dq = set.dq.Buffer();
    call.dk = set.dk.Buffer();
    call.dv = set.dv.Buffer();
    return kernel.backward(call, terms.all(), options);
  };
  // Backward reads what forward has written.
  for (std::size_t n = 0; n < sets.size(); ++n) Check(forward());
  const double forward_ms = timer.Milliseconds(forward);
  const std::optional<double> forward_graph_ms =
      timer.GraphMillisecondsIfShort(forward_ms, forward);
  std::printf(
      "{\"bench\":\"cuda_attention\",\"type\":\"%s\",\"terms\":\"%s\",\"batch\":%lld,\"heads\":%"
      "lld,\"queries\":%lld,\"length\":%lld,\"head_dim\":%lld,\"input_sets\":%lld,",
      std::string(ScalarName(setting.scalar)).c_str(), setting.terms.c_str(),
      static_cast<long long>(setting.batch), static_cast<long long>(setting.n_head),
      static_cast<long long>(n_query), static_cast<long long>(setting.length),
      static_cast<long long>(setting.head_dim), static_cast<long long>(sets.size()));
  if (setting.n_checked > 0) std::printf("\"error\":%.3e,", ErrorOf(setting, *sets.front()));
  if (forward_graph_ms) std::printf("\"forward_graph_ms\":%.4f,", *forward_graph_ms);
  const auto length = static_cast<double>(setting.length);
  const auto channels = static_cast<double>(setting.batch * setting.n_head * setting.head_dim);
  const double forward_rate_ms = forward_graph_ms.value_or(forward_ms);
  std::printf("\"forward_ms\":%.4f,", forward_ms);
  if (n_query < setting.length) {
    const double n_byte = 2.0 * channels * length * (HasTwoBytes(setting.scalar) ? 2.0 : 4.0);
    std::printf("\"forward_gb_s\":%.0f}\n", n_byte / forward_rate_ms * 1e-6);
  } else {
    const double backward_ms = timer.Milliseconds(backward);
    const std::optional<double> backward_graph_ms =
        timer.GraphMillisecondsIfShort(backward_ms, backward);
    if (skips) {
      std::printf("\"skip\":%d,\"visited\":%.4f,", setting.skip,
                  sets.front()->first_keys.VisitedShare());
    }
    if (backward_graph_ms) std::printf("\"backward_graph_ms\":%.4f,", *backward_graph_ms);
    const double flop = 2.0 * channels * length * length;
    std::printf("\"forward_tflops\":%.2f,\"backward_ms\":%.4f,\"backward_tflops\":%.2f}\n",
                flop / forward_rate_ms * 1e-9, backward_ms,
                2.5 * flop / backward_graph_ms.value_or(backward_ms) * 1e-9);
  }
  std::fflush(stdout);
}

// What --backward names.
struct Backward {
  std::string_view name;
  Result<const AttentionKernel*> (*open)(const std::string& plugin_path);
};
constexpr Backward kBackwards[] = {{"two", &CudaAttention},
                                   {"single", &CudaAttentionWithSingleBackward},
                                   {"unordered", &CudaAttentionWithUnorderedBackward}};
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
                                                           {"--check", &setting.n_checked},
                                                           {"--types", &types},
                                                           {"--terms", &terms},
                                                           {"--backward", &backward}},
                                                          {1024, 8192});
  const auto* const chosen = std::ranges::find(kBackwards, backward, &Backward::name);
  if (chosen == std::end(kBackwards)) {
    std::fprintf(stderr, "--backward: expected two, single or unordered, found \"%s\"\n",
                 backward.c_str());
    return kExitBadUsage;
  }
  const Result<const AttentionKernel*> kernel =
      chosen->open(JoinPath(ProgramFolder(), "liblongrun_cuda.so"));
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
        LR_CHECK(setting.n_checked <= (setting.n_query > 0 ? setting.n_query : length));
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
