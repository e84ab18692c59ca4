#include "model/net/kernel_attention.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "kernels/backends.h"
#include "kernels/cuda_attention.h"
#include "kernels/tensor_heads.h"
#include "model/net/device.h"
#include "model/net/on_gpu.h"
#include "model/net/packed_heads.h"
#include "model/net/parallel.h"
#include "model/net/planned_reading.h"
#include "model/net/to_device.h"

namespace longrun {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Views of packed heads in a long text reach over more elements than a call may have
// (attention_check.cc), unless they are copied.
at::Tensor WithDenseChannels(const at::Tensor& x_BHTD) {
  constexpr std::int64_t kElementsMax = std::int64_t{1} << 31;
  const std::int64_t n_element = x_BHTD.size(0) * x_BHTD.stride(0);
  const bool is_far = x_BHTD.is_cuda() && n_element > kElementsMax;
  return x_BHTD.stride(3) == 1 && !is_far ? x_BHTD : x_BHTD.contiguous();
}

std::span<double> Doubles(const at::Tensor& x) {
  if (!x.defined()) return {};
  return {x.data_ptr<double>(), static_cast<std::size_t>(x.numel())};
}

NumbersBuffer Numbers(const at::Tensor& x) {
  if (!x.defined()) return {};
  return {x.data_ptr(), x.numel(), Scalar::kFp64, MemoryOf(x)};
}
NumbersView ConstNumbers(const at::Tensor& x) {
  return {x.const_data_ptr(), x.numel(), Scalar::kFp64, MemoryOf(x)};
}

std::span<const std::int32_t> Rows(const at::Tensor& rows_BT) {
  if (!rows_BT.defined()) return {};
  return {rows_BT.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(rows_BT.numel())};
}

// The tensors among the numbers of the terms: dense, double, or undefined.
struct TermNumbers {
  at::Tensor key_bias, distances, psi, row_factor, knots, slope, intercept;
};

// What the backward pass needs besides tensors with gradients.
struct Fixed : torch::CustomClassHolder {
  Fixed(KernelAttentionCall the_call, double the_skip_epsilon)
      : call(std::move(the_call)), skip_epsilon(the_skip_epsilon) {
    for (at::Tensor* tensor :
         {&call.q_BHTD, &call.k_BHTD, &call.v_BHTD, &call.key_bias_BHT, &call.distances_HN,
          &call.psi_T, &call.row_factor_T, &call.slope_HS, &call.intercept_HS}) {
      tensor->reset();  // the graph keeps them if they are needed
    }
  }
  KernelAttentionCall call;
  double skip_epsilon;  // that is in force
};

// Numbers of the host in the memory of the device: themselves on a CPU, copies on a GPU. A copy may
// be freed when the call returns, since LibTorch reuses its memory only after the call's work.
class Placed {
 public:
  explicit Placed(const c10::Device& device) : device_(device) {}

  std::span<const double> operator()(std::span<const double> x) { return Place(x, at::kDouble); }
  std::span<const std::int32_t> operator()(std::span<const std::int32_t> x) {
    return Place(x, at::kInt);
  }

 private:
  template <typename T>
  std::span<const T> Place(std::span<const T> x, c10::ScalarType type) {
    if (device_.is_cpu() || x.empty()) return x;
    const at::Tensor host =
        at::from_blob(const_cast<T*>(x.data()), {static_cast<std::int64_t>(x.size())}, type);
    copies_.push_back(ToDevice(host, device_));
    return {copies_.back().const_data_ptr<T>(), x.size()};
  }

  c10::Device device_;
  std::vector<at::Tensor> copies_;
};

std::vector<Region> RegionsOf(const KernelAttentionCall& call, Placed& placed) {
  std::vector<Region> regions;
  if (!call.reading) return regions;
  const Reading& reading = call.reading->reading;
  for (const ReadingRegion& region : reading.regions) {
    const KeySet& keys = reading.key_sets[region.key_set];
    regions.push_back({.key_begin = placed(region.key_begin),
                       .query_row = placed(region.query_row),
                       .key_row = placed(keys.row)});
    if (keys.blended_weight.empty()) continue;
    regions.back().blended =
        BlendedKeys{.row = placed(keys.blended_row), .weight = placed(keys.blended_weight)};
  }
  return regions;
}

RotationTable TableOf(const RotationNumbers& numbers) {
  RotationTable table;
  table.n_rotary = numbers.n_rotary;
  table.layout = numbers.layout;
  if (numbers.device_cos.defined()) {
    table.cos = Doubles(numbers.device_cos);
    table.sin = Doubles(numbers.device_sin);
    table.growth = Doubles(numbers.device_growth);
    return table;
  }
  const auto n_angle = static_cast<std::size_t>(numbers.n_angle);
  table.cos = std::span(numbers.angles->cos).first(n_angle);
  table.sin = std::span(numbers.angles->sin).first(n_angle);
  table.growth = numbers.growth;
  return table;
}

// `call` without its tensors; `regions` are its RegionsOf.
AttentionTerms TermsOf(const KernelAttentionCall& call, const TermNumbers& numbers,
                       std::span<const Region> regions, const MemorySpace& memory) {
  AttentionTerms terms = {
      .scale = call.scale,
      .visibility = {.causal = call.causal, .q_offset = call.q_offset, .window = call.window},
      .regions = regions,
      .memory = memory};
  if (call.reading) {
    terms.visibility.window = call.reading->reading.window;
    terms.visibility.n_sink = call.reading->reading.n_sink;
  }
  if (numbers.key_bias.defined()) {
    terms.key_bias = KeyBias{.values = Doubles(numbers.key_bias), .two_sided = call.two_sided};
  } else if (call.slope_H.defined()) {
    terms.key_bias = KeyBias{.two_sided = call.two_sided, .slope = Doubles(call.slope_H)};
  }
  if (numbers.distances.defined()) {
    terms.distance_table = DistanceTable{.values = Doubles(numbers.distances),
                                         .n_distance = numbers.distances.size(1),
                                         .n_ahead = -call.first_distance};
  }
  if (numbers.psi.defined()) {
    terms.piecewise = PiecewiseLinear{.psi = Doubles(numbers.psi),
                                      .row_factor = Doubles(numbers.row_factor),
                                      .knots = Doubles(numbers.knots),
                                      .slope = Doubles(numbers.slope),
                                      .intercept = Doubles(numbers.intercept)};
  }
  if (call.rotation) {
    terms.rotation = TableOf(*call.rotation);
    terms.rotation->row = Rows(call.rotation_rows_BT);
  }
  return terms;
}

// Unless a run asks for it, training visits all keys, so that its bits do not depend on what can be
// proved.
double SkipEpsilon(const KernelAttentionCall& call) {
  return at::GradMode::is_enabled() ? call.skip_epsilon : kInferenceSkipEpsilon;
}

AttentionKernelOptions HostOptions(double skip_epsilon) {
  return {.parallel_for = OnTorchThreads(1),
          .skip_epsilon = skip_epsilon,
          .subnormals = SubnormalsOfThread()};
}

// Throws c10::Error for what the kernel refuses.
template <typename Call>
void Run(Status (*kernel)(const Call&, const AttentionTerms&, const AttentionKernelOptions&),
         const Call& call, const AttentionTerms& terms, const c10::Device& device,
         double skip_epsilon) {
  if (!device.is_cuda()) {
    const Status status = kernel(call, terms, HostOptions(skip_epsilon));
    TORCH_CHECK(status.ok(), status.message());
    return;
  }
  OnGpu gpu(device);
  gpu.ThrowUnlessOk(kernel(call, terms,
                           {.skip_epsilon = skip_epsilon,
                            .subnormals = Subnormals::kKept,
                            .stream = gpu.stream(),
                            .working_memory = gpu.working_memory()}));
}

std::span<std::int32_t> FirstKeys(const at::Tensor& first_key) {
  if (!first_key.defined()) return {};
  return {first_key.data_ptr<std::int32_t>(), static_cast<std::size_t>(first_key.numel())};
}

using Given = std::optional<at::Tensor>;

at::Tensor DenseDoubles(const Given& x) {
  return x ? x->to(at::kDouble).contiguous() : at::Tensor();
}

class KernelFunction : public torch::autograd::Function<KernelFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q_BHTD,
                            const at::Tensor& k_BHTD, const at::Tensor& v_BHTD,
                            const Given& bias_BHT, const Given& distances_HN, const Given& psi_T,
                            const Given& row_factor_T, const Given& slope_HS,
                            const Given& intercept_HS, const c10::intrusive_ptr<Fixed>& fixed) {
    const at::Tensor q = WithDenseChannels(q_BHTD), k = WithDenseChannels(k_BHTD),
                     v = WithDenseChannels(v_BHTD);
    const TermNumbers numbers = {.key_bias = DenseDoubles(bias_BHT),
                                 .distances = DenseDoubles(distances_HN),
                                 .psi = DenseDoubles(psi_T),
                                 .row_factor = DenseDoubles(row_factor_T),
                                 .knots = fixed->call.knots_K,
                                 .slope = DenseDoubles(slope_HS),
                                 .intercept = DenseDoubles(intercept_HS)};
    at::Tensor o = EmptyHeads(q);
    const at::Tensor lse =
        at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kDouble));
    at::Tensor first_key;
    if (fixed->skip_epsilon > 0.0) {
      first_key = at::empty({q.size(0), q.size(1), VisitedKeys::Count(q.size(2))},
                            q.options().dtype(at::kInt));
    }
    Placed placed(q.device());
    const std::vector<Region> regions = RegionsOf(fixed->call, placed);
    Run<AttentionForwardCall>(fixed->call.kernel->forward,
                              {.inputs = {.q = HeadsOf<HeadsView>(q),
                                          .k = HeadsOf<HeadsView>(k),
                                          .v = HeadsOf<HeadsView>(v)},
                               .o = HeadsOf<HeadsBuffer>(o),
                               .lse = Numbers(lse),
                               .first_key = FirstKeys(first_key)},
                              TermsOf(fixed->call, numbers, regions, MemoryOf(q)), q.device(),
                              fixed->skip_epsilon);
    context->save_for_backward({q, k, v, o, lse, numbers.key_bias, numbers.distances, numbers.psi,
                                numbers.row_factor, numbers.slope, numbers.intercept, first_key});
    context->saved_data["fixed"] = c10::IValue::make_capsule(fixed);
    if (distances_HN) {
      context->saved_data["distances_type"] = static_cast<int>(distances_HN->scalar_type());
    }
    return o;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &o = saved[3], &lse = saved[4];
    const c10::intrusive_ptr<torch::CustomClassHolder> kept =
        context->saved_data["fixed"].toCapsule();
    const auto& fixed = static_cast<const Fixed&>(*kept);
    const KernelAttentionCall& call = fixed.call;
    const TermNumbers numbers = {.key_bias = saved[5],
                                 .distances = saved[6],
                                 .psi = saved[7],
                                 .row_factor = saved[8],
                                 .knots = call.knots_K,
                                 .slope = saved[9],
                                 .intercept = saved[10]};
    const at::Tensor o_gradient = WithDenseChannels(gradients[0].to(q.scalar_type()));
    const auto [dq, dk, dv] = EmptyGradients(q, k, v);
    // An undefined argument has no edge: edge 3 belongs to the first number that is defined.
    std::size_t edge = 3;
    const auto buffer = [&](const at::Tensor& of) {
      if (!of.defined()) return at::Tensor();
      return context->needs_input_grad(edge++) ? at::empty(of.sizes(), of.options()) : at::Tensor();
    };
    const at::Tensor d_bias = buffer(numbers.key_bias);
    at::Tensor d_distances = buffer(numbers.distances);
    const at::Tensor d_psi = buffer(numbers.psi), d_row_factor = buffer(numbers.row_factor);
    const at::Tensor d_slope = buffer(numbers.slope), d_intercept = buffer(numbers.intercept);
    Placed placed(q.device());
    const std::vector<Region> regions = RegionsOf(call, placed);
    Run<AttentionBackwardCall>(call.kernel->backward,
                               {.inputs = {.q = HeadsOf<HeadsView>(q),
                                           .k = HeadsOf<HeadsView>(k),
                                           .v = HeadsOf<HeadsView>(v)},
                                .o = HeadsOf<HeadsView>(o),
                                .do_ = HeadsOf<HeadsView>(o_gradient),
                                .lse = ConstNumbers(lse),
                                .first_key = FirstKeys(saved[11]),
                                .dq = HeadsOf<HeadsBuffer>(dq),
                                .dk = HeadsOf<HeadsBuffer>(dk),
                                .dv = HeadsOf<HeadsBuffer>(dv),
                                .d_key_bias = Numbers(d_bias),
                                .d_distance_table = Numbers(d_distances),
                                .d_slope = Numbers(d_slope),
                                .d_intercept = Numbers(d_intercept),
                                .d_psi = Numbers(d_psi),
                                .d_row_factor = Numbers(d_row_factor)},
                               TermsOf(call, numbers, regions, MemoryOf(q)), q.device(),
                               fixed.skip_epsilon);
    if (d_distances.defined()) {
      d_distances = d_distances.to(
          static_cast<at::ScalarType>(context->saved_data["distances_type"].toInt()));
    }
    return {dq,    dk,           dv,      d_bias,      d_distances,
            d_psi, d_row_factor, d_slope, d_intercept, at::Tensor()};
  }
};

}  // namespace

Result<const AttentionKernel*> KernelFor(const Compute& compute) {
  if (compute.device.is_cuda()) {
    RETURN_IF_ERROR(CheckCudaGpu(CudaPluginPath(), compute.device.index()));
    return CudaAttention(CudaPluginPath());
  }
  const std::string simd = SimdPath();
  const std::string name = Str("cpu/", simd == "default" ? "portable" : simd);
  const AttentionKernel* const kernel = FindAttentionKernel(name);
  if (kernel == nullptr) {
    return Status(Code::kUnimplemented,
                  Str("attention back-end \"fused\" has no kernel \"", name,
                      "\" on this processor: use the back-end \"reference\""));
  }
  return kernel;
}

at::Tensor KernelAttention(const KernelAttentionCall& call) {
  const auto given = [](const at::Tensor& x) {
    return x.defined() ? std::optional(x) : std::nullopt;
  };
  return KernelFunction::apply(
      call.q_BHTD, call.k_BHTD, call.v_BHTD, given(call.key_bias_BHT), given(call.distances_HN),
      given(call.psi_T), given(call.row_factor_T), given(call.slope_HS), given(call.intercept_HS),
      c10::make_intrusive<Fixed>(call, SkipEpsilon(call)));
}

}  // namespace longrun
