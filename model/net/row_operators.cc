#include "model/net/row_operators.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "kernels/activation.h"
#include "kernels/cuda_rows.h"
#include "kernels/embedding.h"
#include "kernels/key_bias.h"
#include "kernels/norm.h"
#include "model/net/on_gpu.h"
#include "model/net/parallel.h"

namespace longrun {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Elements below which a second thread is not worth waking: LibTorch's own number.
constexpr std::int64_t kPartElements = 32768;

ConstElements Read(const at::Tensor& x) {
  if (x.scalar_type() == at::kBFloat16) {
    return reinterpret_cast<const Bf16*>(x.const_data_ptr<at::BFloat16>());
  }
  if (x.scalar_type() == at::kHalf) {
    return reinterpret_cast<const Fp16*>(x.const_data_ptr<at::Half>());
  }
  return x.const_data_ptr<float>();
}
Elements Write(const at::Tensor& x) {
  if (x.scalar_type() == at::kBFloat16) {
    return reinterpret_cast<Bf16*>(x.mutable_data_ptr<at::BFloat16>());
  }
  if (x.scalar_type() == at::kHalf) {
    return reinterpret_cast<Fp16*>(x.mutable_data_ptr<at::Half>());
  }
  return x.mutable_data_ptr<float>();
}
const float* Floats(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}
float* Floats(at::Tensor& x) { return x.defined() ? x.mutable_data_ptr<float>() : nullptr; }

// Autograd functions do not accept undefined tensors as arguments.
std::optional<at::Tensor> Optional(const at::Tensor& x) {
  return x.defined() ? std::optional(x) : std::nullopt;
}
at::Tensor Given(const std::optional<at::Tensor>& x) { return x ? x->contiguous() : at::Tensor(); }

bool IsFp32(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat; }

bool IsFloat(const at::Tensor& x) { return x.scalar_type() == at::kFloat; }
// The types that the kernels have; of fp16 they compute no gradients.
bool IsSupported(const at::Tensor& x) {
  return IsFloat(x) || x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
}
bool IsFloatOrBf16(const at::Tensor& x) { return IsFloat(x) || x.scalar_type() == at::kBFloat16; }

// A GPU has no instruction sets.
Simd SimdOf(const Compute& compute) { return compute.kernels.value_or(Simd::kDefault); }

// Calls the kernel of the device of x. Throws c10::Error if a GPU's fails.
template <typename Call>
void Run(void (*on_cpu)(const Call&, const KernelOptions&),
         Status (*on_gpu)(const Call&, const CudaRowOptions&), const Call& call,
         const at::Tensor& x, const KernelOptions& on_cpu_options) {
  if (!x.is_cpu()) {
    RunOnGpu(on_gpu, call, x.device());
  } else {
    on_cpu(call, on_cpu_options);
  }
}
template <typename Call>
void Run(void (*on_cpu)(const Call&, const KernelOptions&),
         Status (*on_gpu)(const Call&, const CudaRowOptions&), const Call& call,
         const at::Tensor& x, Simd simd) {
  Run(on_cpu, on_gpu, call, x, RowOptions(simd, call.shape.n_channel));
}

Simd SavedSimd(const AutogradContext& context) {
  return static_cast<Simd>(context.saved_data.at("simd").toInt());
}

std::int64_t Rows(const at::Tensor& x) { return x.numel() / std::max<std::int64_t>(1, x.size(-1)); }

NormShape ShapeOf(const at::Tensor& x, bool centred, double epsilon) {
  return {.n_row = Rows(x), .n_channel = x.size(-1), .centred = centred, .epsilon = epsilon};
}

class NormFunction : public torch::autograd::Function<NormFunction> {
 public:
  // Returns {y}, or {s, y} with an addend.
  static variable_list forward(AutogradContext* context, const at::Tensor& given,
                               const std::optional<at::Tensor>& addend, const at::Tensor& weight,
                               const std::optional<at::Tensor>& bias, bool centred, double epsilon,
                               c10::ScalarType type, Simd simd) {
    const at::Tensor x = given.contiguous(), a = Given(addend), b = Given(bias);
    const at::Tensor gamma = weight.contiguous();
    const NormShape shape = ShapeOf(x, centred, epsilon);
    at::Tensor sum = a.defined() ? at::empty_like(x) : at::Tensor();
    const at::Tensor y = at::empty_like(x, x.options().dtype(type));
    at::Tensor mean = centred ? at::empty({shape.n_row}, x.options()) : at::Tensor();
    at::Tensor rstd = at::empty({shape.n_row}, x.options());
    Run(&NormForward, &CudaNormForward,
        NormForwardCall{.shape = shape,
                        .x = Floats(x),
                        .addend = a.defined() ? Read(a) : ConstElements(),
                        .gamma = Floats(gamma),
                        .beta = Floats(b),
                        .sum = Floats(sum),
                        .y = Write(y),
                        .mean = Floats(mean),
                        .rstd = Floats(rstd)},
        x, simd);
    context->set_materialize_grads(false);
    context->save_for_backward({a.defined() ? sum : x, gamma, mean, rstd});
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["adds"] = a.defined();
    context->saved_data["bf16_addend"] = a.defined() && a.scalar_type() == at::kBFloat16;
    context->saved_data["biased"] = b.defined();
    context->saved_data["simd"] = static_cast<std::int64_t>(simd);
    if (a.defined()) return {sum, y};
    return {y};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &sum = saved[0], &gamma = saved[1], &mean = saved[2], &rstd = saved[3];
    const bool adds = context->saved_data["adds"].toBool();
    const bool bf16_addend = context->saved_data["bf16_addend"].toBool();
    variable_list result(8);  // the last four arguments have no gradient
    const at::Tensor d_sum = adds ? gradients[0] : at::Tensor();
    const at::Tensor& dy = gradients[adds ? 1 : 0];
    if (!dy.defined()) {
      result[0] = d_sum;
      if (d_sum.defined()) result[1] = bf16_addend ? d_sum.to(at::kBFloat16) : d_sum;
      return result;
    }
    const NormShape shape = ShapeOf(sum, mean.defined(), context->saved_data["epsilon"].toDouble());
    // Edges are counted only over the tensors that were given.
    const bool of_weights = context->needs_input_grad(adds ? 2 : 1);
    const bool biased = context->saved_data["biased"].toBool();
    at::Tensor dx = at::empty_like(sum);
    const at::Tensor da =
        bf16_addend ? at::empty_like(sum, sum.options().dtype(at::kBFloat16)) : at::Tensor();
    at::Tensor d_gamma = of_weights ? at::empty_like(gamma) : at::Tensor();
    at::Tensor d_beta = of_weights && biased ? at::empty_like(gamma) : at::Tensor();
    const at::Tensor dy_dense = dy.contiguous();
    const at::Tensor d_sum_dense = d_sum.defined() ? d_sum.contiguous() : d_sum;
    Run(&NormBackward, &CudaNormBackward,
        NormBackwardCall{.shape = shape,
                         .dy = Read(dy_dense),
                         .sum = Floats(sum),
                         .gamma = Floats(gamma),
                         .mean = Floats(mean),
                         .rstd = Floats(rstd),
                         .d_sum = Floats(d_sum_dense),
                         .dx = Floats(dx),
                         .d_addend = bf16_addend ? Write(da).as<Bf16>() : nullptr,
                         .d_gamma = Floats(d_gamma),
                         .d_beta = Floats(d_beta)},
        sum, SavedSimd(*context));
    result[0] = dx;
    if (adds) result[1] = bf16_addend ? da : dx;
    result[2] = d_gamma;
    if (biased) result[3] = d_beta;
    return result;
  }
};

bool TakesKernel(const at::Tensor& x, const NormWeights& norm, const Compute& compute) {
  return HasKernels(compute) && IsFloat(x) && IsFloat(norm.weight_C);
}

ActivationShape ShapeOf(const at::Tensor& h, Activation activation) {
  return {.n_row = Rows(h), .n_channel = h.size(-1), .activation = activation};
}

class ActivationFunction : public torch::autograd::Function<ActivationFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given,
                            const std::optional<at::Tensor>& bias, Activation activation,
                            Simd simd) {
    const at::Tensor h = given.contiguous(), b = Given(bias);
    at::Tensor y = at::empty_like(h);
    Run(&ActivationForward, &CudaActivationForward,
        ActivationForwardCall{
            .shape = ShapeOf(h, activation), .h = Read(h), .bias = Floats(b), .y = Write(y)},
        h, simd);
    context->save_for_backward({h, b});
    context->saved_data["activation"] = static_cast<std::int64_t>(activation);
    context->saved_data["simd"] = static_cast<std::int64_t>(simd);
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &h = saved[0], &b = saved[1];
    const at::Tensor dy = gradients[0].contiguous();
    const auto activation = static_cast<Activation>(context->saved_data["activation"].toInt());
    const at::Tensor dh = at::empty_like(h);
    at::Tensor db = b.defined() ? at::empty_like(b) : at::Tensor();
    Run(&ActivationBackward, &CudaActivationBackward,
        ActivationBackwardCall{.shape = ShapeOf(h, activation),
                               .h = Read(h),
                               .bias = Floats(b),
                               .dy = Read(dy),
                               .dh = Write(dh),
                               .d_bias = Floats(db)},
        h, SavedSimd(*context));
    return {dh, db, {}, {}};
  }
};

class GateFunction : public torch::autograd::Function<GateFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given_gate,
                            const at::Tensor& given_up, Activation activation, Simd simd) {
    const at::Tensor gate = given_gate.contiguous(), up = given_up.contiguous();
    at::Tensor y = at::empty_like(gate);
    Run(&GatedForward, &CudaGatedForward,
        GatedForwardCall{
            .shape = ShapeOf(gate, activation), .gate = Read(gate), .up = Read(up), .y = Write(y)},
        gate, simd);
    context->save_for_backward({gate, up});
    context->saved_data["activation"] = static_cast<std::int64_t>(activation);
    context->saved_data["simd"] = static_cast<std::int64_t>(simd);
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &gate = saved[0], &up = saved[1];
    const at::Tensor dy = gradients[0].contiguous();
    const auto activation = static_cast<Activation>(context->saved_data["activation"].toInt());
    const at::Tensor d_gate = at::empty_like(gate), d_up = at::empty_like(up);
    Run(&GatedBackward, &CudaGatedBackward,
        GatedBackwardCall{.shape = ShapeOf(gate, activation),
                          .gate = Read(gate),
                          .up = Read(up),
                          .dy = Read(dy),
                          .d_gate = Write(d_gate),
                          .d_up = Write(d_up)},
        gate, SavedSimd(*context));
    return {d_gate, d_up, {}, {}};
  }
};

// The identity of a product's result, which gives the bias that the product has added its gradient:
// our kernel of a GPU takes the sum.
class BiasFunction : public torch::autograd::Function<BiasFunction> {
 public:
  static at::Tensor forward(AutogradContext*, const at::Tensor& y_NC, const at::Tensor&) {
    return y_NC;
  }

  static variable_list backward(AutogradContext*, const variable_list& gradients) {
    const at::Tensor dy_NC = gradients[0].contiguous();
    at::Tensor total_C = at::empty({dy_NC.size(1)}, dy_NC.options().dtype(at::kFloat));
    RunOnGpu(&CudaColumnSum,
             ColumnSumCall{.n_row = dy_NC.size(0),
                           .n_channel = dy_NC.size(1),
                           .x = Read(dy_NC),
                           .total = Floats(total_C)},
             dy_NC.device());
    return {dy_NC, total_C};
  }
};

// Whether BiasFunction takes the gradient of the bias of a product of x.
bool SumsBiasGradient(const at::Tensor& x, const at::Tensor& bias_C, const Compute& compute) {
  return !x.is_cpu() && HasKernels(compute) && IsFloatOrBf16(x) && IsFloat(bias_C) &&
         bias_C.requires_grad() && at::GradMode::is_enabled();
}

// The kernels' own, if they have it.
std::optional<Activation> KernelActivation(MlpActivation f, const Compute& compute) {
  return HasKernels(compute) ? FindActivation(EnumName(f)) : std::nullopt;
}

at::Tensor AtenActivation(MlpActivation f, const at::Tensor& h) {
  switch (f) {
    case MlpActivation::kGeluNew:
      return at::gelu(h, "tanh");
    case MlpActivation::kGelu:
      return at::gelu(h, "none");
    case MlpActivation::kRelu:
      return at::relu(h);
    case MlpActivation::kSilu:
      return at::silu(h);
    case MlpActivation::kTanh:
      return at::tanh(h);
    case MlpActivation::kQuickGelu:
      return h * at::sigmoid(h * 1.702);
  }
  LR_CHECK(false);
}

// LibTorch's operators promise the same bits each time while one exists. It is not always on: then
// operators that only lack the promise would refuse, as cumsum does.
class DeterministicOperators {
 public:
  DeterministicOperators() { context_.setDeterministicAlgorithms(true, false); }
  ~DeterministicOperators() { context_.setDeterministicAlgorithms(before_, warn_only_before_); }
  DeterministicOperators(const DeterministicOperators&) = delete;
  DeterministicOperators& operator=(const DeterministicOperators&) = delete;

 private:
  at::Context& context_ = at::globalContext();
  bool before_ = context_.deterministicAlgorithms();
  bool warn_only_before_ = context_.deterministicAlgorithmsWarnOnly();
};

// LibTorch's embedding on a GPU. For many ids of a small vocabulary, its gradient adds rows in any
// order, unless the same bits are asked for.
class OrderedEmbedFunction : public torch::autograd::Function<OrderedEmbedFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight_VC,
                            const at::Tensor& ids, std::int64_t padding_id) {
    context->save_for_backward({ids});
    context->saved_data["n_vocab"] = weight_VC.size(0);
    context->saved_data["padding_id"] = padding_id;
    return at::embedding(weight_VC, ids, padding_id);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const DeterministicOperators deterministic;
    return {at::embedding_dense_backward(gradients[0], context->get_saved_variables()[0],
                                         context->saved_data["n_vocab"].toInt(),
                                         context->saved_data["padding_id"].toInt(),
                                         /*scale_grad_by_freq=*/false),
            {},
            {}};
  }
};

class EmbedFunction : public torch::autograd::Function<EmbedFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight_VC,
                            const at::Tensor& ids, std::int64_t padding_id, Simd simd) {
    context->save_for_backward({weight_VC, ids.contiguous()});
    context->saved_data["padding_id"] = padding_id;
    context->saved_data["simd"] = static_cast<std::int64_t>(simd);
    return at::embedding(weight_VC, ids, padding_id);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &weight_VC = saved[0], &ids = saved[1];
    const at::Tensor dy = gradients[0].contiguous();
    at::Tensor sum_VC = weight_VC.is_leaf() ? weight_VC.grad() : at::Tensor();
    const bool in_place = sum_VC.defined() && IsFp32(sum_VC) && sum_VC.is_contiguous();
    if (!in_place) sum_VC = at::zeros_like(weight_VC, at::MemoryFormat::Contiguous);
    EmbeddingGradient(
        {.n_channel = weight_VC.size(1),
         .n_vocab = weight_VC.size(0),
         .ids = {ids.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(ids.numel())},
         .dy = Floats(std::as_const(dy)),
         .d_weight = Floats(sum_VC),
         .padding_id = context->saved_data["padding_id"].toInt()},
        RowOptions(SavedSimd(*context), weight_VC.size(1)));
    return {in_place ? at::Tensor() : sum_VC, {}, {}, {}};
  }
};

class GateSumFunction : public torch::autograd::Function<GateSumFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given, bool log_sigmoid,
                            bool negated, Simd simd) {
    const at::Tensor h_BTH = given.contiguous();
    const KeyBiasShape shape = ShapeOf(h_BTH, log_sigmoid);
    at::Tensor sums_BHT =
        at::empty({shape.batch, shape.n_head, shape.n_key}, h_BTH.options().dtype(at::kDouble));
    Run(&KeyBiasForward, &CudaKeyBiasForward,
        KeyBiasForwardCall{.shape = shape,
                           .a = Floats(h_BTH),
                           .r = sums_BHT.mutable_data_ptr<double>(),
                           .negated = negated},
        h_BTH, Options(simd, shape));
    context->save_for_backward({h_BTH});
    context->saved_data["log_sigmoid"] = log_sigmoid;
    context->saved_data["negated"] = negated;
    context->saved_data["simd"] = static_cast<std::int64_t>(simd);
    return sums_BHT;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor h_BTH = context->get_saved_variables().front();
    const KeyBiasShape shape = ShapeOf(h_BTH, context->saved_data["log_sigmoid"].toBool());
    const at::Tensor gradient_BHT = gradients[0].contiguous();
    at::Tensor dh_BTH = at::empty_like(h_BTH);
    Run(&KeyBiasBackward, &CudaKeyBiasBackward,
        KeyBiasBackwardCall{.shape = shape,
                            .a = Floats(h_BTH),
                            .dr = gradient_BHT.const_data_ptr<double>(),
                            .da = Floats(dh_BTH),
                            .negated = context->saved_data["negated"].toBool()},
        h_BTH, Options(SavedSimd(*context), shape));
    return {dh_BTH, {}, {}, {}};
  }

 private:
  static KeyBiasShape ShapeOf(const at::Tensor& h_BTH, bool log_sigmoid) {
    return {.batch = h_BTH.size(0),
            .n_head = h_BTH.size(2),
            .n_key = h_BTH.size(1),
            .log_sigmoid = log_sigmoid};
  }
  static KernelOptions Options(Simd simd, const KeyBiasShape& shape) {
    return RowOptions(simd, shape.n_head * shape.n_key);
  }
};

}  // namespace

KernelOptions RowOptions(Simd simd, std::int64_t n_channel) {
  const std::int64_t grain =
      std::max<std::int64_t>(1, kPartElements / std::max<std::int64_t>(1, n_channel));
  return {.simd = simd, .parallel_for = OnTorchThreads(grain), .subnormals = SubnormalsOfThread()};
}

at::Tensor Norm(const at::Tensor& x, const NormWeights& norm, c10::ScalarType type,
                const Compute& compute) {
  if (TakesKernel(x, norm, compute)) {
    return NormFunction::apply(x, std::nullopt, norm.weight_C, Optional(norm.bias_C), norm.centred,
                               norm.epsilon, type, SimdOf(compute))
        .front();
  }
  const at::Tensor y =
      norm.centred ? at::layer_norm(x, {x.size(-1)}, norm.weight_C, norm.bias_C, norm.epsilon)
                   : at::rms_norm(x, x.size(-1), norm.weight_C, norm.epsilon);
  return y.to(type);
}

at::Tensor PendingSum::Value() const { return addend.defined() ? x + addend : x; }

AddedNorm AddNorm(const PendingSum& pending, const NormWeights& norm, c10::ScalarType type,
                  const Compute& compute) {
  const auto& [x, addend] = pending;
  if (addend.defined() && TakesKernel(x, norm, compute) && IsSupported(addend) &&
      addend.sizes() == x.sizes()) {
    const variable_list both =
        NormFunction::apply(x, std::optional(addend), norm.weight_C, Optional(norm.bias_C),
                            norm.centred, norm.epsilon, type, SimdOf(compute));
    return {.sum = both[0], .normed = both[1]};
  }
  const at::Tensor sum = pending.Value();
  return {.sum = sum, .normed = Norm(sum, norm, type, compute)};
}

bool ActivateTakesBias(MlpActivation f, const Compute& compute) {
  return KernelActivation(f, compute).has_value();
}

at::Tensor Activate(MlpActivation f, const at::Tensor& h, const at::Tensor& bias_C,
                    const Compute& compute) {
  const std::optional<Activation> activation = KernelActivation(f, compute);
  if (activation && IsSupported(h) && (!bias_C.defined() || IsFloat(bias_C))) {
    return ActivationFunction::apply(h, Optional(bias_C), *activation, SimdOf(compute));
  }
  return AtenActivation(f, bias_C.defined() ? h + bias_C.to(h.scalar_type()) : h);
}

at::Tensor ActivateGate(MlpActivation f, const at::Tensor& gate, const at::Tensor& up,
                        const Compute& compute) {
  const std::optional<Activation> activation = KernelActivation(f, compute);
  if (activation && IsSupported(gate) && up.scalar_type() == gate.scalar_type()) {
    return GateFunction::apply(gate, up, *activation, SimdOf(compute));
  }
  return AtenActivation(f, gate) * up;
}

bool TakesStoredWeight(const at::Tensor& x_NI, const at::Tensor& weight, const Compute& compute) {
  return HasKernels(compute) && MultipliesIntoFp32(x_NI, weight.scalar_type()) &&
         weight.requires_grad() && at::GradMode::is_enabled();
}

at::Tensor BiasedLinear(const at::Tensor& x_NI, const ProductWeight& w, const at::Tensor& bias_C,
                        const Compute& compute) {
  if (!bias_C.defined()) return Linear(x_NI, w, bias_C, compute.path);
  const bool sums_gradient = SumsBiasGradient(x_NI, bias_C, compute);
  const at::Tensor added_C = (sums_gradient ? bias_C.detach() : bias_C).to(x_NI.scalar_type());
  const at::Tensor y_NC = Linear(x_NI, w, added_C, compute.path);
  return sums_gradient ? BiasFunction::apply(y_NC, bias_C) : y_NC;
}

at::Tensor Embed(const at::Tensor& weight_VC, const at::Tensor& ids, std::int64_t padding_id,
                 const Compute& compute) {
  if (compute.kernels && IsFp32(weight_VC)) {
    return EmbedFunction::apply(weight_VC, ids, padding_id, *compute.kernels);
  }
  if (!weight_VC.is_cpu()) return OrderedEmbedFunction::apply(weight_VC, ids, padding_id);
  return at::embedding(weight_VC, ids, padding_id);
}

at::Tensor CumulatedGate(const at::Tensor& h_BTH, bool log_sigmoid, bool negated,
                         const Compute& compute) {
  if (HasKernels(compute) && IsFloat(h_BTH)) {
    return GateSumFunction::apply(h_BTH, log_sigmoid, negated, SimdOf(compute));
  }
  const at::Tensor steps_BTH = at::softplus(log_sigmoid ? -h_BTH : h_BTH);
  const at::Tensor sums_BHT = at::cumsum(steps_BTH.transpose(1, 2), 2, at::kDouble);
  return negated ? sums_BHT : -sums_BHT;
}

}  // namespace longrun
