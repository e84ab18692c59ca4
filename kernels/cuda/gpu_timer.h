// What the benchmark programs of this folder share: arguments, times by CUDA's events, a copy that
// shows the memory's bandwidth, and working memory.
//
// A time is the median of up to 30 calls, after up to 10 that are not counted; of fewer where a
// call takes long (kWarmMs, kTimedMs). tools/gpu_attention_bench.py times its peers by the same
// numbers. The host's work is a large part of a call below kGraphMs, so a CUDA graph of kGraphCalls
// calls is timed as well.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/exit_code.h"
#include "base/status.h"
#include "base/str.h"
#include "base/units.h"
#include "kernels/attention.h"  // WorkingMemory

namespace longrun {

// End the program after an error.
inline void Check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::exit(1);
}
inline void Check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  std::exit(1);
}

// Reads [--OPTION VALUE] ... [NUMBER ...]: an option's value goes where `options` says. Returns the
// numbers, or these if there are none. Ends the program with a message if an argument is wrong.
using OptionValue = std::variant<int*, std::int64_t*, std::string*>;
inline std::vector<std::int64_t> ReadArguments(const std::vector<std::string>& arguments,
                                               const std::map<std::string, OptionValue>& options,
                                               const std::vector<std::int64_t>& default_numbers) {
  const auto refuse = [&](const std::string& text) {
    std::string known;
    for (const auto& [name, value] : options) known += Str(" [", name, " VALUE]");
    std::fprintf(stderr, "\"%s\": expected%s [NUMBER ...]\n", text.c_str(), known.c_str());
    std::exit(kExitBadUsage);
  };
  const auto number_in = [&](const std::string& text, std::int64_t most) {
    const Result<std::int64_t> number = ParseCount(text);
    if (!number.ok() || *number > most) refuse(text);
    return *number;
  };
  std::vector<std::int64_t> numbers;
  for (std::size_t at = 0; at < arguments.size(); ++at) {
    const auto option = options.find(arguments[at]);
    if (option == options.end()) {
      numbers.push_back(number_in(arguments[at], INT64_MAX));
      continue;
    }
    if (++at == arguments.size()) refuse(option->first);
    std::visit(
        [&](auto* to) {
          if constexpr (std::is_same_v<decltype(to), std::string*>) {
            *to = arguments[at];
          } else {
            using Number = std::remove_pointer_t<decltype(to)>;
            *to = static_cast<Number>(number_in(arguments[at], std::numeric_limits<Number>::max()));
          }
        },
        option->second);
  }
  return numbers.empty() ? default_numbers : numbers;
}

// A stream, with memory that is not given back to the GPU between two calls: getting it again would
// take longer than a small kernel.
class GpuTimer {
 public:
  explicit GpuTimer(int n_round) : n_round_(n_round) {
    cudaMemPool_t pool = nullptr;
    Check(cudaDeviceGetDefaultMemPool(&pool, 0));
    std::uint64_t kept_bytes = UINT64_MAX;
    Check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept_bytes));
    Check(cudaStreamCreate(&stream_));
    Check(cudaEventCreate(&begin_));
    Check(cudaEventCreate(&end_));
  }
  GpuTimer(const GpuTimer&) = delete;
  GpuTimer& operator=(const GpuTimer&) = delete;
  ~GpuTimer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }

  cudaStream_t stream() const { return stream_; }

  static WorkingMemory Memory() {
    return {
        .allocate = [](void*, std::int64_t n, void* stream) -> void* {
          void* address = nullptr;
          const cudaError_t error = cudaMallocAsync(&address, static_cast<std::size_t>(n),
                                                    static_cast<cudaStream_t>(stream));
          return error == cudaSuccess ? address : nullptr;
        },
        .release = [](void*, void* address,
                      void* stream) { cudaFreeAsync(address, static_cast<cudaStream_t>(stream)); }};
  }

  // The median time of a call that works on the stream.
  double Milliseconds(const std::function<Status()>& call) const {
    Repeat(kWarmCalls, kWarmCallsMin, kWarmMs, call);
    return Median(Repeat(n_round_, kTimedCallsMin, kTimedMs, call));
  }

  // The time of a call within a graph; nullopt, and a line that says why, if it cannot be recorded.
  std::optional<double> GraphMilliseconds(const std::function<Status()>& call) const {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    Status called;
    cudaError_t error = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
    if (error == cudaSuccess) {
      for (int n = 0; n < kGraphCalls && called.ok(); ++n) called = call();
      error = cudaStreamEndCapture(stream_, &graph);
    }
    if (error == cudaSuccess && called.ok()) {
      error = cudaGraphInstantiateWithFlags(&executable, graph, 0);
    }
    std::optional<double> ms;
    if (error == cudaSuccess && called.ok()) {
      const auto launch = [&] {
        Check(cudaGraphLaunch(executable, stream_));
        return Status();
      };
      Repeat(kGraphWarm, kGraphWarm, kWarmMs, launch);
      ms = Median(Repeat(kGraphLaunches, kTimedCallsMin, kTimedMs, launch)) / kGraphCalls;
    } else {
      cudaGetLastError();  // the error of the recording is not one of later calls
      std::fprintf(stderr, "not timed as a CUDA graph: %s\n",
                   called.ok() ? cudaGetErrorString(error) : called.message().c_str());
    }
    if (executable != nullptr) cudaGraphExecDestroy(executable);
    if (graph != nullptr) cudaGraphDestroy(graph);
    return ms;
  }

  // The same if a call takes so little that it matters; else nullopt.
  std::optional<double> GraphMillisecondsIfShort(double ms,
                                                 const std::function<Status()>& call) const {
    return ms < kGraphMs ? GraphMilliseconds(call) : std::nullopt;
  }

  // The GB/s that a large copy on the GPU reads and writes.
  double CopyGbPerSecond() const {
    constexpr std::size_t kBytes = std::size_t{1} << 31;
    void *from = nullptr, *to = nullptr;
    Check(cudaMalloc(&from, kBytes));
    Check(cudaMalloc(&to, kBytes));
    Check(cudaMemset(from, 0x5a, kBytes));
    const double ms = Milliseconds([&] {
      Check(cudaMemcpyAsync(to, from, kBytes, cudaMemcpyDeviceToDevice, stream_));
      return Status();
    });
    Check(cudaFree(from));
    Check(cudaFree(to));
    return 2.0 * static_cast<double>(kBytes) / ms * 1e-6;
  }

  static constexpr int kTimedCalls = 30;

 private:
  static constexpr int kWarmCalls = 10, kWarmCallsMin = 2, kTimedCallsMin = 5;
  static constexpr double kWarmMs = 100.0, kTimedMs = 500.0;
  static constexpr double kGraphMs = 0.2;
  static constexpr int kGraphCalls = 20, kGraphWarm = 3, kGraphLaunches = 10;

  // The times of up to n_call calls: fewer, but at least n_min, once they have taken limit_ms.
  std::vector<float> Repeat(int n_call, int n_min, double limit_ms,
                            const std::function<Status()>& call) const {
    std::vector<float> times;
    double sum = 0.0;
    for (int n = 0; n < n_call && (n < n_min || sum < limit_ms); ++n) {
      Check(cudaEventRecord(begin_, stream_));
      Check(call());
      Check(cudaEventRecord(end_, stream_));
      Check(cudaEventSynchronize(end_));
      Check(cudaEventElapsedTime(&times.emplace_back(), begin_, end_));
      sum += static_cast<double>(times.back());
    }
    return times;
  }
  static double Median(std::vector<float> times) {
    std::ranges::sort(times);
    return static_cast<double>(times[times.size() / 2]);
  }

  int n_round_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace longrun
