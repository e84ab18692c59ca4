// The time of the kernels over rows on a GPU, by CUDA's events: one JSON object per line.
//
//   longrun-cuda-rows-bench [--rounds N] [--rows N] [C ...]
//
// Norms, activations and AdamW as a training step in bf16 calls them, for each number of channels;
// then a learned bias per key of 12 heads, and cross-entropy of a chunk of GPT-2's logits.
// gpu_timer.h says how times are measured; `graph_ms` is in a CUDA graph, of short calls only. GB/s
// counts each tensor once, as if sums over rows took none, and as if the logits' second reading
// came from caches; `of_copy` is the fraction of what a large copy reaches in this run. The plug-in
// lies in the program's folder.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/random.h"
#include "kernels/cuda/gpu_timer.h"
#include "kernels/cuda_library.h"
#include "kernels/cuda_rows.h"

namespace longrun {
namespace {

struct Setting {
  std::int64_t n_row = 16384, n_channel = 768;
  int rounds = GpuTimer::kTimedCalls;
  double copy_gb_s = 0.0;
};

// n random numbers on the GPU.
template <typename T>
class Numbers {
 public:
  explicit Numbers(std::int64_t n) {
    SeededRandom random(1);
    std::vector<T> numbers;
    for (std::int64_t at = 0; at < n; ++at) {
      const auto x = static_cast<float>(2.0 * random.Uniform() - 1.0);
      if constexpr (std::is_same_v<T, Bf16>) {
        numbers.push_back(RoundedToBf16(x));
      } else {
        numbers.push_back(static_cast<T>(x));
      }
    }
    const std::size_t n_byte = numbers.size() * sizeof(T);
    Check(cudaMalloc(&data_, n_byte));
    Check(cudaMemcpy(data_, numbers.data(), n_byte, cudaMemcpyHostToDevice));
  }
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  ~Numbers() { cudaFree(data_); }
  T* data() const { return static_cast<T*>(data_); }

 private:
  void* data_ = nullptr;
};

void Report(const Setting& setting, const GpuTimer& timer, const char* what,
            double bytes_of_element, const std::function<Status(const CudaRowOptions&)>& call) {
  const CudaRowOptions options = {.stream = timer.stream(), .working_memory = GpuTimer::Memory()};
  const auto once = [&] { return call(options); };
  const double ms = timer.Milliseconds(once);
  const std::optional<double> graph_ms = timer.GraphMillisecondsIfShort(ms, once);
  const double bytes = bytes_of_element * static_cast<double>(setting.n_row * setting.n_channel);
  const double gb_s = bytes / graph_ms.value_or(ms) * 1e-6;
  std::printf(
      "{\"bench\":\"cuda_rows\",\"what\":\"%s\",\"rows\":%lld,\"channels\":%lld,\"ms\":%.4f,", what,
      static_cast<long long>(setting.n_row), static_cast<long long>(setting.n_channel), ms);
  if (graph_ms) std::printf("\"graph_ms\":%.4f,", *graph_ms);
  std::printf("\"gb_s\":%.0f,\"of_copy\":%.3f}\n", gb_s, gb_s / setting.copy_gb_s);
  std::fflush(stdout);
}

void Measure(const Setting& setting, const GpuTimer& timer) {
  const std::int64_t c = setting.n_channel, n = setting.n_row * c;
  const Numbers<float> x(n), sum(n), d_sum(n), dx(n), gamma(c), beta(c), d_gamma(c), d_beta(c);
  const Numbers<float> mean(setting.n_row), rstd(setting.n_row);
  const Numbers<Bf16> a(n), y(n), dy(n), da(n), up(n), d_up(n);
  const NormShape norm = {.n_row = setting.n_row, .n_channel = c};
  const auto report = [&](const char* what, double bytes_of_element,
                          const std::function<Status(const CudaRowOptions&)>& call) {
    Report(setting, timer, what, bytes_of_element, call);
  };
  // x, a, s, y: 4 + 2 + 4 + 2 bytes for each element.
  report("norm with addend, forward", 12, [&](const CudaRowOptions& options) {
    return CudaNormForward({.shape = norm,
                            .x = x.data(),
                            .addend = a.data(),
                            .gamma = gamma.data(),
                            .beta = beta.data(),
                            .sum = sum.data(),
                            .y = y.data(),
                            .mean = mean.data(),
                            .rstd = rstd.data()},
                           options);
  });
  const NormBackwardCall backward = {.shape = norm,
                                     .dy = dy.data(),
                                     .sum = sum.data(),
                                     .gamma = gamma.data(),
                                     .mean = mean.data(),
                                     .rstd = rstd.data(),
                                     .d_sum = d_sum.data(),
                                     .dx = dx.data(),
                                     .d_addend = da.data(),
                                     .d_gamma = d_gamma.data(),
                                     .d_beta = d_beta.data()};
  // dy, s, ds, dx, da.
  report("norm with addend, backward", 16,
         [&](const CudaRowOptions& options) { return CudaNormBackward(backward, options); });
  NormBackwardCall without_weights = backward;
  without_weights.d_gamma = without_weights.d_beta = nullptr;
  report("norm with addend, backward, without weights", 16,
         [&](const CudaRowOptions& options) { return CudaNormBackward(without_weights, options); });
  report("norm, forward", 6, [&](const CudaRowOptions& options) {
    return CudaNormForward({.shape = norm,
                            .x = x.data(),
                            .gamma = gamma.data(),
                            .beta = beta.data(),
                            .y = y.data(),
                            .mean = mean.data(),
                            .rstd = rstd.data()},
                           options);
  });
  report("norm, backward", 10, [&](const CudaRowOptions& options) {
    return CudaNormBackward({.shape = norm,
                             .dy = dy.data(),
                             .sum = x.data(),
                             .gamma = gamma.data(),
                             .mean = mean.data(),
                             .rstd = rstd.data(),
                             .dx = dx.data(),
                             .d_gamma = d_gamma.data(),
                             .d_beta = d_beta.data()},
                            options);
  });
  const ActivationShape gelu = {setting.n_row, c, Activation::kGeluNew};
  report("gelu_new with bias, forward", 4, [&](const CudaRowOptions& options) {
    return CudaActivationForward({.shape = gelu, .h = a.data(), .bias = beta.data(), .y = y.data()},
                                 options);
  });
  report("gelu_new with bias, backward", 6, [&](const CudaRowOptions& options) {
    return CudaActivationBackward({.shape = gelu,
                                   .h = a.data(),
                                   .bias = beta.data(),
                                   .dy = dy.data(),
                                   .dh = da.data(),
                                   .d_bias = d_beta.data()},
                                  options);
  });
  const ActivationShape silu = {setting.n_row, c, Activation::kSilu};
  report("silu, gated, forward", 6, [&](const CudaRowOptions& options) {
    return CudaGatedForward({.shape = silu, .gate = a.data(), .up = up.data(), .y = y.data()},
                            options);
  });
  report("silu, gated, backward", 10, [&](const CudaRowOptions& options) {
    return CudaGatedBackward({.shape = silu,
                              .gate = a.data(),
                              .up = up.data(),
                              .dy = dy.data(),
                              .d_gate = da.data(),
                              .d_up = d_up.data()},
                             options);
  });
  report("sum over rows", 2, [&](const CudaRowOptions& options) {
    return CudaColumnSum(
        {.n_row = setting.n_row, .n_channel = c, .x = dy.data(), .total = d_beta.data()}, options);
  });
}

// AdamW of a matrix of this many rows, with its bf16 copy. The clip factor is also the result that
// must be finite.
void MeasureAdamW(const Setting& setting, const GpuTimer& timer) {
  const std::int64_t n = setting.n_row * setting.n_channel;
  const Numbers<float> gradient(n), parameter(n), m(n), v(n), numbers(2);
  const Numbers<Bf16> copy(n);
  const Numbers<double> results(1);
  constexpr float kNumbers[] = {10.0F, 1e-4F};  // t, lr
  Check(cudaMemcpy(numbers.data(), kNumbers, sizeof kNumbers, cudaMemcpyHostToDevice));
  Check(cudaMemset(v.data(), 0, static_cast<std::size_t>(n) * sizeof(float)));
  const AdamWTensor tensors[] = {{.n = n,
                                  .gradient = gradient.data(),
                                  .parameter = parameter.data(),
                                  .m = m.data(),
                                  .v = v.data(),
                                  .copy = copy.data(),
                                  .weight_decay = 0.1}};
  // g, theta, m, v; theta, m, v, and the copy.
  Report(setting, timer, "adamw with a copy", 30, [&](const CudaRowOptions& options) {
    return CudaAdamW({.tensors = tensors,
                      .t = numbers.data(),
                      .lr = numbers.data() + 1,
                      .clip = results.data(),
                      .results = results.data(),
                      .n_result = 1},
                     options);
  });
}

// Of one sequence, so that the sums of all ranges depend on each other.
void MeasureKeyBias(Setting setting, const GpuTimer& timer) {
  setting.n_channel = 12;
  const std::int64_t n = setting.n_row * setting.n_channel;
  const KeyBiasShape shape = {.n_head = setting.n_channel, .n_key = setting.n_row};
  const Numbers<float> a(n), da(n);
  const Numbers<double> sums(n), gradient(n);
  // a, c; a, dc, da.
  Report(setting, timer, "key bias, forward", 12, [&](const CudaRowOptions& options) {
    return CudaKeyBiasForward({.shape = shape, .a = a.data(), .r = sums.data(), .negated = true},
                              options);
  });
  Report(setting, timer, "key bias, backward", 16, [&](const CudaRowOptions& options) {
    return CudaKeyBiasBackward(
        {.shape = shape, .a = a.data(), .dr = gradient.data(), .da = da.data(), .negated = true},
        options);
  });
}

// Of the 4,096 rows that a step of 16,384 tokens takes at once (model/net/head.cc). The gradient
// has an array of its own, since logits that were replaced again and again would become equal.
void MeasureCrossEntropy(Setting setting, const GpuTimer& timer) {
  setting.n_row = 4096;
  setting.n_channel = 50304;
  const std::int64_t n = setting.n_row * setting.n_channel;
  const Numbers<Bf16> logits(n), d_logits(n);
  const Numbers<float> nll(setting.n_row), lse(setting.n_row);
  const Numbers<std::int64_t> targets(setting.n_row);  // all 0
  CrossEntropyCall call = {.n_row = setting.n_row,
                           .n_vocab = setting.n_channel,
                           .logits = logits.data(),
                           .targets = targets.data(),
                           .nll = nll.data(),
                           .lse = lse.data()};
  const auto run = [&](const CudaRowOptions& options) { return CudaCrossEntropy(call, options); };
  Report(setting, timer, "cross-entropy, forward", 2, run);
  call.d_logits = d_logits.data();
  Report(setting, timer, "cross-entropy with its gradient", 4, run);
}

int Main(const std::vector<std::string>& arguments) {
  Setting setting;
  const std::vector<std::int64_t> channels = ReadArguments(
      arguments, {{"--rounds", &setting.rounds}, {"--rows", &setting.n_row}}, {768, 3072});
  Check(OpenCudaLibrary(JoinPath(ProgramFolder(), "liblongrun_cuda.so")).status());
  const GpuTimer timer(setting.rounds);
  setting.copy_gb_s = timer.CopyGbPerSecond();
  std::printf("{\"bench\":\"cuda_rows\",\"what\":\"copy\",\"gb_s\":%.0f}\n", setting.copy_gb_s);
  for (const std::int64_t n_channel : channels) {
    setting.n_channel = n_channel;
    Measure(setting, timer);
    MeasureAdamW(setting, timer);
  }
  MeasureKeyBias(setting, timer);
  MeasureCrossEntropy(setting, timer);
  return 0;
}

}  // namespace
}  // namespace longrun

int main(int n, char** arguments) { return longrun::Main({arguments + 1, arguments + n}); }
