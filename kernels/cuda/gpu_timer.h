// What the benchmark programs of this folder share: arguments, times by CUDA's events, and working
// memory.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
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

  // The median time of a call that works on the stream, after two that are not counted.
  double Milliseconds(const std::function<Status()>& call) const {
    std::vector<float> times;
    for (int round = -2; round < n_round_; ++round) {
      Check(cudaEventRecord(begin_, stream_));
      Check(call());
      Check(cudaEventRecord(end_, stream_));
      Check(cudaEventSynchronize(end_));
      float time = 0.0F;
      Check(cudaEventElapsedTime(&time, begin_, end_));
      if (round >= 0) times.push_back(time);
    }
    std::ranges::sort(times);
    return static_cast<double>(times[times.size() / 2]);
  }

 private:
  int n_round_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace longrun
