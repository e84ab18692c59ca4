#include "tests/kernels/cuda_device.h"

#include <cstddef>
#include <vector>

#include "base/process.h"
#include "kernels/attention_check.h"
#include "kernels/cuda_attention.h"
#include "tests/kernels/cuda_memory.h"

namespace longrun::testing {
namespace {

const AttentionKernel* TheKernel() {
  return GetEnv("LONGRUN_TEST_SINGLE_BACKWARD") == "1"
             ? CudaAttentionWithSingleBackward(TestPluginPath()).value()
             : CudaAttention(TestPluginPath()).value();
}

const AttentionKernel* TheUnorderedKernel() {
  return CudaAttentionWithUnorderedBackward(TestPluginPath()).value();
}

std::int64_t BytesOf(Scalar scalar) {
  return scalar == Scalar::kFp64 ? 8 : scalar == Scalar::kFp32 ? 4 : 2;
}

// The copies on the GPU of what one call of attention views.
class Copies : public CudaCopies {
 public:
  template <typename T>
  std::span<const T> In(std::span<const T> x) {
    return {static_cast<const T*>(Copy(x.data(), x.size_bytes(), nullptr)), x.size()};
  }
  template <typename Pointer>
  HeadsViewOf<Pointer> Heads(HeadsViewOf<Pointer> x) {
    x.memory = kTestGpu;
    if (x.batch == 0 || x.n_row == 0) return x;
    const std::int64_t reach = (x.batch - 1) * x.batch_step + (x.n_row - 1) * x.row_step +
                               (x.n_head - 1) * x.head_step + x.head_dim;
    x.data = CopyOf(x.data, reach * BytesOf(x.scalar));
    return x;
  }
  template <typename View>
  View Numbers(View x) {
    x.memory = kTestGpu;
    x.data = CopyOf(x.data, x.n * BytesOf(x.scalar));
    return x;
  }
  std::span<std::int32_t> Out(std::span<std::int32_t> x) {
    return {static_cast<std::int32_t*>(Copy(x.data(), x.size_bytes(), x.data())), x.size()};
  }

  AttentionTerms Terms(AttentionTerms terms) {
    terms.memory = kTestGpu;
    terms.visibility.document_begin = In(terms.visibility.document_begin);
    if (terms.key_bias) {
      KeyBias& bias = *terms.key_bias;
      bias.values = In(bias.values);
      bias.local = In(bias.local);
      bias.anchor = In(bias.anchor);
      bias.slope = In(bias.slope);
    }
    if (terms.rotation) {
      RotationTable& rotation = *terms.rotation;
      rotation.cos = In(rotation.cos);
      rotation.sin = In(rotation.sin);
      rotation.growth = In(rotation.growth);
      rotation.row = In(rotation.row);
    }
    for (Region region : terms.regions) {
      region.key_begin = In(region.key_begin);
      region.query_row = In(region.query_row);
      region.key_row = In(region.key_row);
      if (region.blended) {
        region.blended->row = In(region.blended->row);
        region.blended->weight = In(region.blended->weight);
      }
      regions_.push_back(region);
    }
    terms.regions = regions_;
    if (terms.distance_table) terms.distance_table->values = In(terms.distance_table->values);
    if (terms.piecewise) {
      PiecewiseLinear& f = *terms.piecewise;
      f.psi = In(f.psi);
      f.row_factor = In(f.row_factor);
      f.knots = In(f.knots);
      f.slope = In(f.slope);
      f.intercept = In(f.intercept);
    }
    return terms;
  }

  AttentionKernelOptions Options(AttentionKernelOptions options) {
    options.parallel_for = {};
    options.stream = TestGpuStream();
    options.working_memory = TestGpuMemory();
    return options;
  }

 private:
  const void* CopyOf(const void* data, std::int64_t n) {
    return Copy(data, static_cast<std::size_t>(n), nullptr);
  }
  void* CopyOf(void* data, std::int64_t n) { return Copy(data, static_cast<std::size_t>(n), data); }

  std::vector<Region> regions_;
};

Status Forward(const AttentionForwardCall& call, const AttentionTerms& terms,
               const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionCall(call, terms, options));
  RETURN_IF_ERROR(CheckCudaSupport(call.inputs, terms));
  if (call.n_tiles != nullptr) *call.n_tiles = 0;
  Copies copies;
  const AttentionForwardCall there = {.inputs = {.q = copies.Heads(call.inputs.q),
                                                 .k = copies.Heads(call.inputs.k),
                                                 .v = copies.Heads(call.inputs.v)},
                                      .o = copies.Heads(call.o),
                                      .lse = copies.Numbers(call.lse),
                                      .first_key = copies.Out(call.first_key)};
  const AttentionTerms terms_there = copies.Terms(terms);
  RETURN_IF_ERROR(copies.status());
  RETURN_IF_ERROR(TheKernel()->forward(there, terms_there, copies.Options(options)));
  return copies.Finish();
}

template <const AttentionKernel* (*kKernel)()>
Status Backward(const AttentionBackwardCall& call, const AttentionTerms& terms,
                const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionCall(call, terms, options));
  RETURN_IF_ERROR(CheckCudaSupport(call.inputs, terms));
  Copies copies;
  const AttentionBackwardCall there = {.inputs = {.q = copies.Heads(call.inputs.q),
                                                  .k = copies.Heads(call.inputs.k),
                                                  .v = copies.Heads(call.inputs.v)},
                                       .o = copies.Heads(call.o),
                                       .do_ = copies.Heads(call.do_),
                                       .lse = copies.Numbers(call.lse),
                                       .first_key = copies.In(call.first_key),
                                       .dq = copies.Heads(call.dq),
                                       .dk = copies.Heads(call.dk),
                                       .dv = copies.Heads(call.dv),
                                       .d_key_bias = copies.Numbers(call.d_key_bias),
                                       .d_distance_table = copies.Numbers(call.d_distance_table),
                                       .d_slope = copies.Numbers(call.d_slope),
                                       .d_intercept = copies.Numbers(call.d_intercept),
                                       .d_psi = copies.Numbers(call.d_psi),
                                       .d_row_factor = copies.Numbers(call.d_row_factor)};
  const AttentionTerms terms_there = copies.Terms(terms);
  RETURN_IF_ERROR(copies.status());
  RETURN_IF_ERROR(kKernel()->backward(there, terms_there, copies.Options(options)));
  return copies.Finish();
}

}  // namespace

Result<AttentionKernel> KernelOnGpu() {
  RETURN_IF_ERROR(OpenTestGpu());
  return AttentionKernel{.name = "cuda", .forward = &Forward, .backward = &Backward<&TheKernel>};
}

Result<AttentionKernel> UnorderedKernelOnGpu() {
  RETURN_IF_ERROR(OpenTestGpu());
  return AttentionKernel{.name = "cuda_unordered_backward",
                         .forward = &Forward,
                         .backward = &Backward<&TheUnorderedKernel>};
}

}  // namespace longrun::testing
