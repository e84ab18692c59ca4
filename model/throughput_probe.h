// What a benchmark asks of a model: to repeat one step of training, of reading or of writing, and to
// say what it cost. Torch-free.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

struct ProbeShape {
  enum class Direction {
    kTrainStep,  // forward, backward and optimiser over `batch` sequences of L random tokens
    kForward,    // reads `batch` sequences of L tokens, up to the logits behind the last: a prefill
    kGenerate,   // writes one token for each sequence behind a prefill of L, keys and values cached
  };
  Direction direction = Direction::kForward;
  std::int64_t batch = 1;
  std::int64_t context_length = 0;  // L
  std::int64_t new_tokens = 0;      // of kGenerate: room for so many steps
  std::string precision = "fp32";   // fp32 | bf16
};

// The largest number of bytes at one time since ResetPeak, beyond what was there before Prepare: the
// direction's own weights, gradients, optimiser state, activations and cache.
struct PeakMemory {
  std::int64_t allocated_bytes = 0;
  std::int64_t reserved_bytes = 0;  // held from the device by its allocator; 0 where there is none
  std::string_view source;          // "cpu_allocator", "cuda_allocator"
};

class ThroughputProbe {
 public:
  virtual ~ThroughputProbe() = default;
  // Everything before the first step, with a copy of the weights; what was prepared before is
  // released. kOutOfRange past the end of a position table, kUnimplemented where the model has no such
  // direction, kResourceExhausted when memory is too small.
  virtual Status Prepare(const ProbeShape& shape) = 0;
  // Seconds until the device has finished one step. kResourceExhausted.
  virtual Result<double> Step() = 0;
  virtual void ResetPeak() = 0;
  virtual PeakMemory Peak() = 0;
  virtual void Release() = 0;
};

}  // namespace longrun
