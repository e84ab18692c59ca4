// The kernels over rows on a GPU (row_kernels.h): what a call views is copied there and back.
//
// Without a GPU there is nothing to test; with LONGRUN_GPU_TESTS=1 (set by tools/gpu.sh) that is a
// failure, so that a GPU run cannot pass by skipping.
#include <gtest/gtest.h>

#include "base/process.h"
#include "tests/kernels/cuda_memory.h"
#include "tests/kernels/row_kernels.h"

namespace longrun::testing {
namespace {

// Views of a call on the GPU. A null pointer stays one.
class RowCopies : public CudaCopies {
 public:
  const float* In(const float* x, std::int64_t n) {
    return x == nullptr ? nullptr : static_cast<const float*>(Copy(x, Size(n, 4), nullptr));
  }
  const std::int64_t* In(const std::int64_t* x, std::int64_t n) {
    return static_cast<const std::int64_t*>(Copy(x, Size(n, 8), nullptr));
  }
  template <typename T>
  T* Out(T* x, std::int64_t n) {
    return x == nullptr ? nullptr : static_cast<T*>(Copy(x, Size(n, sizeof(T)), x));
  }
  ConstElements In(const ConstElements& x, std::int64_t n) {
    if (x.is_null()) return x;
    if (!x.is_bf16()) return In(x.as<float>(), n);
    return static_cast<const Bf16*>(Copy(x.as<Bf16>(), Size(n, 2), nullptr));
  }
  Elements Out(const Elements& x, std::int64_t n) {
    if (x.is_null()) return x;
    if (!x.is_bf16()) return Out(x.as<float>(), n);
    return Out(x.as<Bf16>(), n);
  }
  // The output may be the input itself: then it lies there on the GPU, too.
  Elements Out(const Elements& x, std::int64_t n, const ConstElements& input,
               ConstElements& input_there) {
    const Elements there = Out(x, n);
    if (x.as<void>() == input.as<void>()) {
      input_there = x.is_bf16() ? ConstElements(there.as<Bf16>()) : there.as<float>();
    }
    return there;
  }

 private:
  static std::size_t Size(std::int64_t n, std::size_t of_one) {
    return static_cast<std::size_t>(n) * of_one;
  }
};

template <typename Call>
void RunOnGpu(RowCopies& copies, Status (*kernel)(const Call&, const CudaRowOptions&),
              const Call& there) {
  Status status = copies.status();
  if (status.ok()) {
    status = kernel(
        there, {.memory = kTestGpu, .stream = TestGpuStream(), .working_memory = TestGpuMemory()});
  }
  if (status.ok()) status = copies.Finish();
  ASSERT_TRUE(status.ok()) << status.message();
}

class GpuRowKernels final : public RowKernels {
 public:
  std::string name() const override { return "cuda"; }

  void Run(const NormForwardCall& call, int) const override {
    RowCopies copies;
    const std::int64_t n_row = call.shape.n_row, c = call.shape.n_channel, n = n_row * c;
    NormForwardCall there = call;
    there.x = copies.In(call.x, n);
    there.addend = copies.In(call.addend, n);
    there.gamma = copies.In(call.gamma, c);
    there.beta = copies.In(call.beta, c);
    there.sum = copies.Out(call.sum, n);
    there.y = copies.Out(call.y, n);
    there.mean = copies.Out(call.mean, n_row);
    there.rstd = copies.Out(call.rstd, n_row);
    RunOnGpu(copies, &CudaNormForward, there);
  }
  void Run(const NormBackwardCall& call, int) const override {
    RowCopies copies;
    const std::int64_t n_row = call.shape.n_row, c = call.shape.n_channel, n = n_row * c;
    NormBackwardCall there = call;
    there.dy = copies.In(call.dy, n);
    there.sum = copies.In(call.sum, n);
    there.gamma = copies.In(call.gamma, c);
    there.mean = copies.In(call.mean, n_row);
    there.rstd = copies.In(call.rstd, n_row);
    there.d_sum = copies.In(call.d_sum, n);
    there.dx = copies.Out(call.dx, n);
    there.d_addend = copies.Out(call.d_addend, n);
    there.d_gamma = copies.Out(call.d_gamma, c);
    there.d_beta = copies.Out(call.d_beta, c);
    RunOnGpu(copies, &CudaNormBackward, there);
  }
  void Run(const ActivationForwardCall& call, int) const override {
    RowCopies copies;
    const std::int64_t c = call.shape.n_channel, n = call.shape.n_row * c;
    ActivationForwardCall there = call;
    there.h = copies.In(call.h, n);
    there.bias = copies.In(call.bias, c);
    there.y = copies.Out(call.y, n, call.h, there.h);
    RunOnGpu(copies, &CudaActivationForward, there);
  }
  void Run(const ActivationBackwardCall& call, int) const override {
    RowCopies copies;
    const std::int64_t c = call.shape.n_channel, n = call.shape.n_row * c;
    ActivationBackwardCall there = call;
    there.h = copies.In(call.h, n);
    there.bias = copies.In(call.bias, c);
    there.dy = copies.In(call.dy, n);
    there.dh = copies.Out(call.dh, n, call.dy, there.dy);
    there.d_bias = copies.Out(call.d_bias, c);
    RunOnGpu(copies, &CudaActivationBackward, there);
  }
  void Run(const GatedForwardCall& call, int) const override {
    RowCopies copies;
    const std::int64_t n = call.shape.n_row * call.shape.n_channel;
    GatedForwardCall there = call;
    there.gate = copies.In(call.gate, n);
    there.up = copies.In(call.up, n);
    there.y = copies.Out(call.y, n);
    RunOnGpu(copies, &CudaGatedForward, there);
  }
  void Run(const GatedBackwardCall& call, int) const override {
    RowCopies copies;
    const std::int64_t n = call.shape.n_row * call.shape.n_channel;
    GatedBackwardCall there = call;
    there.gate = copies.In(call.gate, n);
    there.up = copies.In(call.up, n);
    there.dy = copies.In(call.dy, n);
    there.d_gate = copies.Out(call.d_gate, n);
    there.d_up = copies.Out(call.d_up, n);
    RunOnGpu(copies, &CudaGatedBackward, there);
  }
  void Run(const CrossEntropyCall& call, int) const override {
    RowCopies copies;
    const std::int64_t n = call.n_row * call.n_vocab;
    CrossEntropyCall there = call;
    there.logits = copies.In(call.logits, n);
    there.targets = copies.In(call.targets, call.n_row);
    there.nll = copies.Out(call.nll, call.n_row);
    there.lse = copies.Out(call.lse, call.n_row);
    there.d_logits = copies.Out(call.d_logits, n, call.logits, there.logits);
    RunOnGpu(copies, &CudaCrossEntropy, there);
  }
  void Run(const ColumnSumCall& call) const override {
    RowCopies copies;
    ColumnSumCall there = call;
    there.x = copies.In(call.x, call.n_row * call.n_channel);
    there.total = copies.Out(call.total, call.n_channel);
    RunOnGpu(copies, &CudaColumnSum, there);
  }
};

}  // namespace

std::vector<const RowKernels*> RowKernelsUnderTest() {
  static const GpuRowKernels kernels;
  if (!OpenTestGpu().ok()) return {};
  return {&kernels};
}

TEST(CudaRowsOnGpuTest, ThereIsAGpu) {
  const Status status = OpenTestGpu();
  if (status.ok()) return;
  if (GetEnv("LONGRUN_GPU_TESTS") == "1") {
    FAIL() << "LONGRUN_GPU_TESTS=1 asks for a GPU: " << status.message();
  }
  GTEST_SKIP() << status.message();
}

}  // namespace longrun::testing
