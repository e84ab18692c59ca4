// The kernels over rows of kernels/cuda, on the host (cuda_host.h): "cuda_host".
#include "base/subnormals.h"
#include "kernels/cuda/row_calls-inl.h"
#include "kernels/cuda_row_calls.h"
#include "tests/kernels/cuda_host.h"
#include "tests/kernels/row_kernels.h"

namespace longrun::testing {
namespace {

template <typename Call>
void RunPlugin(const Call& c_call) {
  const ScopedSubnormals mode(Subnormals::kKept);
  const LongrunRowOptions options = ToPlugin(CudaRowOptions{.working_memory = HostMemory()});
  HostDevice device = HostDeviceOfNextCall();
  const GlobalRegions regions(c_call);
  device.regions = &regions;
  const char* const error = gpu::RunRows(c_call, options, device);
  ASSERT_EQ(error, nullptr) << error;
}
template <typename Call>
void RunOnHost(const Call& call) {
  RunPlugin(ToPlugin(call));
}

class CudaHostRowKernels final : public RowKernels {
 public:
  std::string name() const override { return "cuda_host"; }
  void Run(const NormForwardCall& call, int) const override { RunOnHost(call); }
  void Run(const NormBackwardCall& call, int) const override { RunOnHost(call); }
  void Run(const ActivationForwardCall& call, int) const override { RunOnHost(call); }
  void Run(const ActivationBackwardCall& call, int) const override { RunOnHost(call); }
  void Run(const GatedForwardCall& call, int) const override { RunOnHost(call); }
  void Run(const GatedBackwardCall& call, int) const override { RunOnHost(call); }
  void Run(const CrossEntropyCall& call, int) const override { RunOnHost(call); }
  void Run(const KeyBiasForwardCall& call, int) const override { RunOnHost(call); }
  void Run(const KeyBiasBackwardCall& call, int) const override { RunOnHost(call); }
  void Run(const ColumnSumCall& call) const override { RunOnHost(call); }
  void Run(const CudaAdamWCall& call) const override {
    const std::vector<LongrunAdamWVector> vectors = AdamWVectors(call.tensors);
    RunPlugin(ToPlugin(call, vectors));
  }
};

}  // namespace

std::vector<const RowKernels*> RowKernelsUnderTest() {
  static const CudaHostRowKernels kernels;
  return {&kernels};
}

}  // namespace longrun::testing
