// The CPU's kernels over rows, for every instruction set of this machine (row_kernels.h).
#include <memory>

#include "base/check.h"
#include "tests/kernels/row_kernels.h"
#include "tests/kernels/rows.h"

namespace longrun::testing {
namespace {

class HostRowKernels final : public RowKernels {
 public:
  explicit HostRowKernels(Simd simd) : simd_(simd) {}

  std::string name() const override { return std::string(SimdName(simd_)); }
  void Run(const NormForwardCall& call, int n_threads) const override {
    NormForward(call, Options(n_threads));
  }
  void Run(const NormBackwardCall& call, int n_threads) const override {
    NormBackward(call, Options(n_threads));
  }
  void Run(const ActivationForwardCall& call, int n_threads) const override {
    ActivationForward(call, Options(n_threads));
  }
  void Run(const ActivationBackwardCall& call, int n_threads) const override {
    ActivationBackward(call, Options(n_threads));
  }
  void Run(const GatedForwardCall& call, int n_threads) const override {
    GatedForward(call, Options(n_threads));
  }
  void Run(const GatedBackwardCall& call, int n_threads) const override {
    GatedBackward(call, Options(n_threads));
  }
  void Run(const CrossEntropyCall& call, int n_threads) const override {
    CrossEntropy(call, Options(n_threads));
  }
  void Run(const KeyBiasForwardCall& call, int n_threads) const override {
    KeyBiasForward(call, Options(n_threads));
  }
  void Run(const KeyBiasBackwardCall& call, int n_threads) const override {
    KeyBiasBackward(call, Options(n_threads));
  }
  void Run(const ColumnSumCall&) const override { LR_CHECK(false); }
  void Run(const CudaAdamWCall&) const override { LR_CHECK(false); }

 private:
  KernelOptions Options(int n_threads) const {
    if (n_threads == 1) return {.simd = simd_};
    return {.simd = simd_, .parallel_for = OnThreads(n_threads)};
  }

  Simd simd_;
};

}  // namespace

std::vector<const RowKernels*> RowKernelsUnderTest() {
  static const auto kernels = [] {
    std::vector<std::unique_ptr<HostRowKernels>> all;
    for (const Simd simd : RunnableSimds()) all.push_back(std::make_unique<HostRowKernels>(simd));
    return all;
  }();
  std::vector<const RowKernels*> found;
  for (const auto& one : kernels) found.push_back(one.get());
  return found;
}

}  // namespace longrun::testing
