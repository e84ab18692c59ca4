// oneDNN is called through mkldnn::_linear_pointwise, the operator that LibTorch's own compiler
// emits; its weight has the layout (outputs, inputs), and may be a transposed view.
#include "model/net/linear.h"

#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <cstdint>
#include <optional>

#include "base/check.h"
#include "kernels/transpose.h"
#include "model/net/row_operators.h"

namespace longrun {
namespace {

// Multiply-adds below which a call of oneDNN costs more than its product saves on AMD EPYC, Zen 5:
// about 64 rows of a 64 x 192 weight. Decided only by shape, so that the same product always
// takes the same path.
constexpr std::int64_t kOneDnnWorkMin = std::int64_t{1} << 20;

// Above this size malloc maps each tensor with new pages,
// which cost as much as a product of few rows.
constexpr std::int64_t kMappedBytesMin = std::int64_t{32} << 20;

using LinearOperator = at::Tensor(const at::Tensor&, const at::Tensor&,
                                  const std::optional<at::Tensor>&, c10::string_view,
                                  c10::List<std::optional<at::Scalar>>,
                                  std::optional<c10::string_view>);

// Products in bf16 use at::mm, which is oneDNN's on every x86 with AVX-512 and reads factors of any
// strides; _linear_pointwise would copy a weight (I, O) and a transposed left factor. On a Sapphire
// Rapids, 1024 rows of a 512 x 2048 weight, GFLOP/s of one core (fp32 beside it about 110):
//
//                               forward    dx    dw
//   AMX: at::mm                     489   659   414
//        _linear_pointwise          211   643   261
//   AVX-512 BF16 without AMX: at::mm 69    72    67
//        _linear_pointwise           71    73    70
//
// Without AMX no path of LibTorch is as fast as fp32. The bits depend on the instructions used.
bool TakesOneDnn(const at::Tensor& a_MK, const at::Tensor& b_KN, MatrixPath path) {
  return path == MatrixPath::kOneDnn && a_MK.device().is_cpu() &&
         a_MK.scalar_type() == at::kFloat && b_KN.scalar_type() == at::kFloat &&
         a_MK.size(0) * a_MK.size(1) * b_KN.size(1) >= kOneDnnWorkMin;
}

bool IsWidened(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kHalf; }

// A dense copy of a transposed view (kernels/transpose.h); other tensors unchanged.
at::Tensor RowsOf(const at::Tensor& a_MK) {
  const bool is_transposed = a_MK.device().is_cpu() && a_MK.scalar_type() == at::kFloat &&
                             a_MK.stride(0) == 1 && a_MK.stride(1) >= a_MK.size(0);
  if (a_MK.is_contiguous() || !is_transposed) return a_MK;
  at::Tensor rows_MK = at::empty(a_MK.sizes(), a_MK.options());
  Transpose({.n_row = a_MK.size(1),
             .n_column = a_MK.size(0),
             .from = a_MK.const_data_ptr<float>(),
             .from_step = a_MK.stride(1),
             .to = rows_MK.mutable_data_ptr<float>()},
            RowOptions(RunnableSimds().front(), kTransposeBlock * a_MK.size(0)));
  return rows_MK;
}

at::Tensor OneDnnProduct(const at::Tensor& a_MK, const at::Tensor& b_KN,
                         const std::optional<at::Tensor>& bias_N) {
  static const auto linear = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                                 .typed<LinearOperator>();
  const c10::List<std::optional<at::Scalar>> no_scalars;
  // oneDNN would copy a left factor that is a transposed view.
  return linear.call(RowsOf(a_MK), b_KN.t(), bias_N, "none", no_scalars, "");
}

class LinearFunction : public torch::autograd::Function<LinearFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x_NI,
                            const at::Tensor& w_IO, const std::optional<at::Tensor>& b_O) {
    context->save_for_backward({x_NI, w_IO});
    context->saved_data["has_bias"] = b_O.has_value();
    return OneDnnProduct(x_NI, w_IO, b_O);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor &x_NI = saved[0], &w_IO = saved[1], &dy_NO = gradients[0];
    const bool has_bias = context->saved_data["has_bias"].toBool();
    at::Tensor dx_NI, dw_IO, db_O;
    if (context->needs_input_grad(0)) {
      dx_NI = MatrixProduct(dy_NO, w_IO.t(), MatrixPath::kOneDnn);
    }
    if (context->needs_input_grad(1)) {
      dw_IO = WeightGradient(x_NI, dy_NO, MatrixPath::kOneDnn);
    }
    if (has_bias && context->needs_input_grad(2)) db_O = dy_NO.sum(0);
    return {dx_NI, dw_IO, db_O};
  }
};

class StoredWeightFunction : public torch::autograd::Function<StoredWeightFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x_NI,
                            const at::Tensor& /*stored*/, const at::Tensor& weight,
                            bool inputs_first, const std::optional<at::Tensor>& b_O) {
    const at::Tensor w_IO = inputs_first ? weight : weight.t();
    context->save_for_backward({x_NI, w_IO});
    context->saved_data["inputs_first"] = inputs_first;
    return b_O ? at::addmm(*b_O, x_NI, w_IO) : at::mm(x_NI, w_IO);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor &x_NI = saved[0], &w_IO = saved[1], &dy_NO = gradients[0];
    const bool inputs_first = context->saved_data["inputs_first"].toBool();
    at::Tensor dx_NI, d_stored;
    if (context->needs_input_grad(0)) dx_NI = at::mm(dy_NO, w_IO.t());
    if (context->needs_input_grad(1)) {
      d_stored =
          inputs_first ? at::mm(x_NI.t(), dy_NO, at::kFloat) : at::mm(dy_NO.t(), x_NI, at::kFloat);
    }
    return {dx_NI, d_stored, {}, {}, {}};
  }
};

}  // namespace

bool MultipliesIntoFp32(const at::Tensor& x, at::ScalarType type) {
  return x.is_cuda() && x.scalar_type() == at::kBFloat16 && type == at::kFloat;
}

at::Tensor Linear(const at::Tensor& x_NI, const ProductWeight& w, const at::Tensor& b_O,
                  MatrixPath path) {
  if (!w.stored.defined()) {
    return Linear(x_NI, w.inputs_first ? w.weight : w.weight.t(), b_O, path);
  }
  LR_CHECK(MultipliesIntoFp32(x_NI, w.stored.scalar_type()) &&
           (!b_O.defined() || !b_O.requires_grad()));
  return StoredWeightFunction::apply(x_NI, w.stored, w.weight, w.inputs_first,
                                     b_O.defined() ? std::optional(b_O) : std::nullopt);
}

at::Tensor Linear(const at::Tensor& x_NI, const at::Tensor& w_IO, const at::Tensor& b_O,
                  MatrixPath path) {
  LR_CHECK(x_NI.size(1) == w_IO.size(0) && (!b_O.defined() || w_IO.size(1) == b_O.size(0)));
  if (IsWidened(x_NI)) {
    const at::Tensor bias = b_O.defined() ? b_O.to(at::kFloat) : b_O;
    return Linear(x_NI.to(at::kFloat), w_IO.to(at::kFloat), bias, path).to(at::kHalf);
  }
  if (!TakesOneDnn(x_NI, w_IO, path)) {
    return b_O.defined() ? at::addmm(b_O, x_NI, w_IO) : at::mm(x_NI, w_IO);
  }
  // Autograd functions do not accept undefined tensors as arguments.
  return LinearFunction::apply(x_NI, w_IO, b_O.defined() ? std::optional(b_O) : std::nullopt);
}

at::Tensor BatchedProduct(const at::Tensor& a, const at::Tensor& b) {
  if (!IsWidened(a)) return at::matmul(a, b);
  return at::matmul(a.to(at::kFloat), b.to(at::kFloat)).to(at::kHalf);
}

at::Tensor MatrixProduct(const at::Tensor& a_MK, const at::Tensor& b_KN, MatrixPath path) {
  LR_CHECK(a_MK.size(1) == b_KN.size(0));
  if (IsWidened(a_MK)) {
    return MatrixProduct(a_MK.to(at::kFloat), b_KN.to(at::kFloat), path).to(at::kHalf);
  }
  if (!TakesOneDnn(a_MK, b_KN, path)) return at::mm(a_MK, b_KN);
  return OneDnnProduct(a_MK, b_KN, std::nullopt);
}

at::Tensor WeightGradient(const at::Tensor& x_NI, const at::Tensor& dy_NO, MatrixPath path) {
  if (!TakesOneDnn(x_NI.t(), dy_NO, path)) return at::mm(x_NI.t(), dy_NO);  // copies nothing
  // Choose the cheaper copies: the left factor (x or dy), and with dy also the result.
  const std::int64_t n_row = x_NI.size(0), n_in = x_NI.size(1), n_out = dy_NO.size(1);
  return n_row * n_in <= n_row * n_out + n_in * n_out
             ? MatrixProduct(x_NI.t(), dy_NO, path)
             : RowsOf(MatrixProduct(dy_NO.t(), x_NI, path).t());
}

bool FillsNewPages(const at::Tensor& sum_IO) {
  return sum_IO.device().is_cpu() && sum_IO.scalar_type() == at::kFloat &&
         sum_IO.numel() * std::int64_t{sizeof(float)} >= kMappedBytesMin;
}

// On a CPU, does not use a product that adds by itself: MKL's gives other bits with some shapes and
// instruction sets.
void AddWeightGradient(const at::Tensor& x_NI, const at::Tensor& dy_NO, MatrixPath path,
                       at::ScalarType type, at::Tensor* sum_IO, GradientRoom* room) {
  const std::array<std::int64_t, 2> shape = {x_NI.size(1), dy_NO.size(1)};
  const bool is_mapped = x_NI.device().is_cpu() && x_NI.scalar_type() == at::kFloat &&
                         type == at::kFloat &&
                         shape[0] * shape[1] * std::int64_t{sizeof(float)} >= kMappedBytesMin;
  if (MultipliesIntoFp32(x_NI, type)) {
    if (sum_IO->defined()) {
      at::addmm_out(*sum_IO, *sum_IO, x_NI.t(), dy_NO, type);
    } else {
      *sum_IO = at::mm(x_NI.t(), dy_NO, type);
    }
    return;
  }
  if (!is_mapped || TakesOneDnn(x_NI.t(), dy_NO, path)) {
    room->sum.reset();
    const at::Tensor product = WeightGradient(x_NI, dy_NO, path);
    if (sum_IO->defined()) {
      sum_IO->add_(product);
    } else {
      *sum_IO = product.to(type);
    }
    return;
  }
  const auto product_in = [&](at::Tensor* memory) -> at::Tensor& {
    if (!memory->defined() || memory->sizes() != shape) {
      *memory = at::empty(shape, x_NI.options());
    }
    return at::mm_out(*memory, x_NI.t(), dy_NO);
  };
  if (sum_IO->defined()) {
    sum_IO->add_(product_in(&room->product));
  } else {
    *sum_IO = product_in(&room->sum);
    room->sum.reset();
  }
}

}  // namespace longrun
