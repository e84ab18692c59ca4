#include "model/net/weight_copies.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/check.h"

namespace longrun {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Gives the copy for the weight, and the weight the copy's gradient.
class CopyFunction : public torch::autograd::Function<CopyFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight,
                            const at::Tensor& copy) {
    context->saved_data["type"] = weight.scalar_type();
    return copy;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {gradients[0].to(context->saved_data["type"].toScalarType()), {}};
  }
};

}  // namespace

at::Tensor WeightCopies::Rounded(const at::Tensor& weight) {
  const at::Tensor& copy = Current(weight);
  const bool records = at::GradMode::is_enabled() && weight.requires_grad();
  return records ? CopyFunction::apply(weight, copy) : copy;
}

const at::Tensor& WeightCopies::Current(const at::Tensor& weight) {
  const at::NoGradGuard no_grad;
  Entry& entry = entries_[weight.unsafeGetTensorImpl()];
  if (!entry.copy.defined()) {
    LR_CHECK(weight.is_contiguous());
    entry.weight = weight;
    entry.copy = weight.detach().to(at::kBFloat16);
  } else if (entry.version != weight._version()) {
    entry.copy.copy_(weight.detach());
  }
  entry.version = weight._version();
  return entry.copy;
}

Bf16* WeightCopies::Written(const at::Tensor& weight) {
  const auto found = entries_.find(weight.unsafeGetTensorImpl());
  if (found == entries_.end()) return nullptr;
  return reinterpret_cast<Bf16*>(found->second.copy.mutable_data_ptr<at::BFloat16>());
}

}  // namespace longrun
