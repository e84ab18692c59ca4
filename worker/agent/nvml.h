// The part of NVIDIA's management library that we use (nvml.h, stable since version 2 of each
// function). It comes with the driver and is loaded at run time: the worker is built without CUDA.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::agent {

struct GpuName {
  std::string name;
  std::string uuid;  // "GPU-1d2c..."
  std::int64_t memory_bytes = 0;
  int capability_major = 0, capability_minor = 0;  // of CUDA: 9, 0; 0, 0: unknown
};

// The current usage of a GPU; nullopt for values that it does not report (for example, the
// utilisation of a MIG slice).
struct GpuUsage {
  std::optional<double> memory_bytes;
  std::optional<double> memory_used_bytes;
  std::optional<double> utilization;  // 0 to 1, over the last sampling period
  std::optional<double> power_watts;
  std::optional<double> temperature_celsius;
};

class Nvml {
 public:
  // Null if no driver is loaded. kInternal if a driver exists but does not answer: a broken GPU
  // machine must not be taken for a CPU machine.
  static Result<std::unique_ptr<Nvml>> Open();
  ~Nvml();

  Result<std::vector<GpuName>> Gpus() const;  // in the order of the bus
  GpuUsage UsageOf(unsigned index) const;     // one thread at a time

 private:
  struct Functions;
  explicit Nvml(std::unique_ptr<Functions> functions);
  std::unique_ptr<Functions> functions_;
};

}  // namespace longrun::agent
