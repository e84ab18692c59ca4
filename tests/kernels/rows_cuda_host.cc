// The kernels over rows of kernels/cuda, on the host (cuda_host.h): "cuda_host".
#include <cstring>
#include <new>

#include "base/subnormals.h"
#include "kernels/cuda/row_calls-inl.h"
#include "kernels/cuda_row_calls.h"
#include "tests/commit_seed.h"
#include "tests/kernels/cuda_host.h"
#include "tests/kernels/row_kernels.h"

namespace longrun::testing {
namespace {

// All bits set: a NaN in every type.
void* Allocate(void*, std::int64_t n_byte, void*) {
  const auto n = static_cast<std::size_t>(n_byte);
  void* const memory = ::operator new(n);
  std::memset(memory, 0xff, n);
  return memory;
}
void Release(void*, void* address, void*) { ::operator delete(address); }

template <typename Call>
void RunOnHost(const Call& call) {
  const ScopedSubnormals mode(Subnormals::kKept);
  const auto c_call = ToPlugin(call);
  const LongrunRowOptions options =
      ToPlugin(CudaRowOptions{.working_memory = {.allocate = &Allocate, .release = &Release}});
  // Bits must not depend on the order of blocks and threads: each call has another.
  static std::uint64_t n_call = 0;
  HostBlock::Current().SetSeed(CommitSeed() + ++n_call);
  HostDevice device;
  const char* const error = gpu::RunRows(c_call, options, device);
  ASSERT_EQ(error, nullptr) << error;
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
  void Run(const ColumnSumCall& call) const override { RunOnHost(call); }
};

}  // namespace

std::vector<const RowKernels*> RowKernelsUnderTest() {
  static const CudaHostRowKernels kernels;
  return {&kernels};
}

}  // namespace longrun::testing
