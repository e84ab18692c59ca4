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

// A call's views become those of copies on the GPU. A null pointer stays one.
class RowCopies : public CudaCopies {
 public:
  // n elements of each, which the kernel reads, or writes.
  template <typename... Views>
  void In(std::int64_t n, Views&... views) {
    (TakeInput(n, views), ...);
  }
  template <typename... Views>
  void Out(std::int64_t n, Views&... views) {
    (TakeOutput(n, views), ...);
  }
  // The output may be the input itself: then it is on the GPU, too.
  void InAndOut(std::int64_t n, ConstElements& input, Elements& output) {
    const bool is_in_place = output.as<void>() == input.as<void>();
    if (!is_in_place) In(n, input);
    Out(n, output);
    if (!is_in_place) return;
    WithType(output.type(), [&](auto of) { input = output.as<decltype(of)>(); });
  }

 private:
  template <typename T>
  void TakeInput(std::int64_t n, const T*& x) {
    if (x != nullptr) x = static_cast<const T*>(Copy(x, Bytes<T>(n), nullptr));
  }
  void TakeInput(std::int64_t n, ConstElements& x) {
    WithType(x.type(), [&](auto of) {
      const auto* data = x.as<decltype(of)>();
      TakeInput(n, data);
      x = data;
    });
  }
  template <typename T>
  void TakeOutput(std::int64_t n, T*& x) {
    if (x != nullptr) x = static_cast<T*>(Copy(x, Bytes<T>(n), x));
  }
  void TakeOutput(std::int64_t n, Elements& x) {
    WithType(x.type(), [&](auto of) {
      auto* data = x.as<decltype(of)>();
      TakeOutput(n, data);
      x = data;
    });
  }
  template <typename T>
  static std::size_t Bytes(std::int64_t n) {
    return static_cast<std::size_t>(n) * sizeof(T);
  }
};

// `copy` takes the copies of a call's views.
template <typename Call, typename Copy>
void RunOnGpu(const Call& call, Status (*kernel)(const Call&, const CudaRowOptions&),
              const Copy& copy) {
  RowCopies copies;
  Call there = call;
  copy(copies, there);
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
    RunOnGpu(call, &CudaNormForward, [](RowCopies& copies, NormForwardCall& there) {
      const std::int64_t n_row = there.shape.n_row, c = there.shape.n_channel;
      copies.In(n_row * c, there.x, there.addend);
      copies.In(c, there.gamma, there.beta);
      copies.Out(n_row * c, there.sum, there.y);
      copies.Out(n_row, there.mean, there.rstd);
    });
  }
  void Run(const NormBackwardCall& call, int) const override {
    RunOnGpu(call, &CudaNormBackward, [](RowCopies& copies, NormBackwardCall& there) {
      const std::int64_t n_row = there.shape.n_row, c = there.shape.n_channel;
      copies.In(n_row * c, there.dy, there.sum, there.d_sum);
      copies.In(c, there.gamma);
      copies.In(n_row, there.mean, there.rstd);
      copies.Out(n_row * c, there.dx, there.d_addend);
      copies.Out(c, there.d_gamma, there.d_beta);
    });
  }
  void Run(const ActivationForwardCall& call, int) const override {
    RunOnGpu(call, &CudaActivationForward, [](RowCopies& copies, ActivationForwardCall& there) {
      copies.In(there.shape.n_channel, there.bias);
      copies.InAndOut(SizeOf(there.shape), there.h, there.y);
    });
  }
  void Run(const ActivationBackwardCall& call, int) const override {
    RunOnGpu(call, &CudaActivationBackward, [](RowCopies& copies, ActivationBackwardCall& there) {
      copies.In(there.shape.n_channel, there.bias);
      copies.In(SizeOf(there.shape), there.h);
      copies.InAndOut(SizeOf(there.shape), there.dy, there.dh);
      copies.Out(there.shape.n_channel, there.d_bias);
    });
  }
  void Run(const GatedForwardCall& call, int) const override {
    RunOnGpu(call, &CudaGatedForward, [](RowCopies& copies, GatedForwardCall& there) {
      copies.In(SizeOf(there.shape), there.gate, there.up);
      copies.Out(SizeOf(there.shape), there.y);
    });
  }
  void Run(const GatedBackwardCall& call, int) const override {
    RunOnGpu(call, &CudaGatedBackward, [](RowCopies& copies, GatedBackwardCall& there) {
      copies.In(SizeOf(there.shape), there.gate, there.up, there.dy);
      copies.Out(SizeOf(there.shape), there.d_gate, there.d_up);
    });
  }
  void Run(const CrossEntropyCall& call, int) const override {
    RunOnGpu(call, &CudaCrossEntropy, [](RowCopies& copies, CrossEntropyCall& there) {
      copies.In(there.n_row, there.targets);
      copies.Out(there.n_row, there.nll, there.lse);
      copies.InAndOut(there.n_row * there.n_vocab, there.logits, there.d_logits);
    });
  }
  void Run(const KeyBiasForwardCall& call, int) const override {
    RunOnGpu(call, &CudaKeyBiasForward, [](RowCopies& copies, KeyBiasForwardCall& there) {
      const std::int64_t n_series = there.shape.batch * there.shape.n_head;
      const std::int64_t n_key = there.shape.n_key;
      copies.In(n_series * n_key, there.a);
      copies.In(n_series, there.before);
      copies.Out(n_series * n_key, there.r, there.local);
      copies.Out(n_series * ((n_key + kKeyBiasBlock - 1) / kKeyBiasBlock), there.anchor);
    });
  }
  void Run(const KeyBiasBackwardCall& call, int) const override {
    RunOnGpu(call, &CudaKeyBiasBackward, [](RowCopies& copies, KeyBiasBackwardCall& there) {
      const std::int64_t n = there.shape.batch * there.shape.n_head * there.shape.n_key;
      copies.In(n, there.a, there.dr);
      copies.Out(n, there.da);
    });
  }
  void Run(const ColumnSumCall& call) const override {
    RunOnGpu(call, &CudaColumnSum, [](RowCopies& copies, ColumnSumCall& there) {
      copies.In(there.n_row * there.n_channel, there.x);
      copies.Out(there.n_channel, there.total);
    });
  }
  void Run(const CudaAdamWCall& call) const override {
    std::vector<AdamWTensor> tensors(call.tensors.begin(), call.tensors.end());
    RunOnGpu(call, &CudaAdamW, [&](RowCopies& copies, CudaAdamWCall& there) {
      for (AdamWTensor& tensor : tensors) {
        copies.In(tensor.n, tensor.gradient);
        copies.Out(tensor.n, tensor.parameter, tensor.m, tensor.v, tensor.copy);
      }
      there.tensors = tensors;
      copies.In(1, there.t, there.lr, there.clip);
      copies.In(there.n_result, there.results);
    });
  }

 private:
  static std::int64_t SizeOf(const ActivationShape& shape) { return shape.n_row * shape.n_channel; }
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
