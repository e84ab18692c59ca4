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

// Where NVML has a device.
struct GpuPlace {
  unsigned gpu = 0;                  // in the order of the bus
  std::optional<unsigned> mig = {};  // of a MIG device: its index on that GPU
};

// A GPU, or a MIG device: a part of a GPU with memory and multiprocessors of its own (NVIDIA
// Multi-Instance GPU User Guide).
struct GpuName {
  std::string name;  // "NVIDIA H200", "NVIDIA H200 MIG 1g.18gb"
  std::string uuid;  // "GPU-1d2c...", "MIG-5e6f..."
  // 0: NVML says that the GPU has no memory to report, as of GPUs that share the machine's (GB10).
  std::int64_t memory_bytes = 0;
  int capability_major = 0, capability_minor = 0;  // of CUDA: 9, 0; 0, 0: unknown
  GpuPlace place = {};
  // Of a MIG device: "MIG-GPU-1d2c.../7/0", with the GPU instance and the compute instance in it.
  // Drivers before R470 have only this name, also as the UUID.
  std::string instance_name = {};
  // CUDA computes only on the MIG devices of a GPU in MIG mode; there may be none.
  bool in_mig_mode = false;
  std::vector<GpuName> mig_devices = {};
};

// The current usage of a GPU or MIG device; nullopt for values that it does not report (for
// example, the utilisation and the power of a MIG device).
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
  // The library in a file, whether or not a driver is loaded.
  static Result<std::unique_ptr<Nvml>> OpenLibrary(const std::string& file);
  ~Nvml();

  Result<std::vector<GpuName>> Gpus() const;      // in the order of the bus
  GpuUsage UsageOf(const GpuPlace& place) const;  // one thread at a time

 private:
  struct Functions;
  explicit Nvml(std::unique_ptr<Functions> functions);
  std::unique_ptr<Functions> functions_;
};

}  // namespace longrun::agent
