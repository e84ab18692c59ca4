#include "model/net/recompute.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace longrun {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Keeps the block until the backward pass.
struct Held : torch::CustomClassHolder {
  explicit Held(BlockFunction the_block) : block(std::move(the_block)) {}
  BlockFunction block;
};

// The same numbers as the start of a new graph.
at::Tensor Anew(const at::Tensor& x) { return x.detach().requires_grad_(x.requires_grad()); }

class RecomputeFunction : public torch::autograd::Function<RecomputeFunction> {
 public:
  // `inputs`: x, then `shared`, then the leaves.
  static at::Tensor forward(AutogradContext* context, at::TensorList inputs, std::int64_t n_shared,
                            const BlockFunction& block) {
    context->save_for_backward(inputs.vec());
    context->saved_data["n_shared"] = n_shared;
    context->saved_data["block"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(block));
    // Recorded, and released at once: without recording an operator may take another path.
    const at::AutoGradMode recording(true);
    return Call(block, inputs.vec(), n_shared).second.detach();
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const c10::intrusive_ptr<torch::CustomClassHolder> kept =
        context->saved_data["block"].toCapsule();
    const BlockFunction& block = static_cast<const Held*>(kept.get())->block;
    const at::AutoGradMode recording(true);
    const auto [inputs, y] =
        Call(block, context->get_saved_variables(), context->saved_data["n_shared"].toInt());
    variable_list wanted;
    wanted.reserve(inputs.size());
    for (const at::Tensor& input : inputs) {
      if (input.requires_grad()) wanted.push_back(input);
    }
    const variable_list found = torch::autograd::grad({y}, wanted, {gradients[0]}, std::nullopt,
                                                      /*create_graph=*/false,
                                                      /*allow_unused=*/true);
    variable_list result(inputs.size() + 2);  // the other two arguments have no gradient
    for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
      if (inputs[i].requires_grad()) result[i] = found[next++];
    }
    return result;
  }

 private:
  // The inputs of the block, in the order of `inputs`, and its result.
  static std::pair<variable_list, at::Tensor> Call(const BlockFunction& block, variable_list inputs,
                                                   std::int64_t n_shared) {
    for (std::int64_t i = 0; i <= n_shared; ++i) {
      inputs[static_cast<std::size_t>(i)] = Anew(inputs[static_cast<std::size_t>(i)]);
    }
    const std::vector<at::Tensor> shared(inputs.begin() + 1, inputs.begin() + 1 + n_shared);
    at::Tensor y = block(inputs.front(), shared);
    return {std::move(inputs), std::move(y)};
  }
};

}  // namespace

at::Tensor Recomputed(const BlockFunction& block, const at::Tensor& x,
                      const std::vector<at::Tensor>& shared,
                      const std::vector<at::Tensor>& leaves) {
  variable_list inputs = {x};
  inputs.insert(inputs.end(), shared.begin(), shared.end());
  inputs.insert(inputs.end(), leaves.begin(), leaves.end());
  return RecomputeFunction::apply(at::TensorList(inputs), static_cast<std::int64_t>(shared.size()),
                                  block);
}

}  // namespace longrun
