// The interface of a model for benchmarks: repeats one step of training, reading or writing, and
// reports its cost. Torch-free.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "model/precision.h"

namespace longrun {

struct ProbeShape {
  enum class Direction {
    kTrainStep,  // forward, backward and optimiser over `batch` sequences of L random tokens
    kForward,    // reads `batch` sequences of L tokens, up to the logits after the last: a prefill
    kGenerate,   // writes one token per sequence after a prefill of L, with cached keys and values
  };
  Direction direction = Direction::kForward;
  std::int64_t batch = 1;
  std::int64_t context_length = 0;  // L
  std::int64_t new_tokens = 0;      // for kGenerate: the number of steps to make room for
  Precision precision = Precision::kFp32;
};

// The peak of allocated bytes since ResetPeak, minus those allocated before Prepare: the
// direction's own weights, gradients, optimiser state, activations and cache.
struct PeakMemory {
  std::int64_t allocated_bytes = 0;
  std::int64_t reserved_bytes = 0;  // held by the device's allocator; 0 if it has none
  std::string_view source;          // "cpu_allocator", "cuda_allocator"
};

class ThroughputProbe {
 public:
  virtual ~ThroughputProbe() = default;
  // Does everything that precedes the first step, with a copy of the weights, and releases what was
  // prepared before. kOutOfRange past the end of a position table, kUnimplemented if the model
  // lacks this direction, kResourceExhausted if there is too little memory.
  virtual Status Prepare(const ProbeShape& shape) = 0;
  // The seconds until the device has finished one step. kResourceExhausted if memory is short.
  virtual Result<double> Step() = 0;
  virtual void ResetPeak() = 0;
  virtual PeakMemory Peak() = 0;
  virtual void Release() = 0;
};

}  // namespace longrun
