#include "model/net/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <utility>

#include "base/str.h"
#include "kernels/cuda_rows.h"
#include "model/net/gradient.h"
#include "model/net/on_gpu.h"
#include "model/net/row_operators.h"
#include "model/net/to_device.h"

namespace longrun {
namespace {

constexpr const char* kFirst = "exp_avg.";
constexpr const char* kSecond = "exp_avg_sq.";
// Approximate number of elements that one call of the kernels takes.
constexpr std::int64_t kPieceElements = 8192;

bool AllFinite(const at::Tensor& results) {
  const std::span<const double> numbers(results.const_data_ptr<double>(),
                                        static_cast<std::size_t>(results.numel()));
  return std::ranges::all_of(numbers, [](double x) { return std::isfinite(x); });
}

}  // namespace

AdamW::AdamW(const OptimizerConfig& config, const ParameterMap& parameters,
             std::optional<Simd> kernels)
    : config_(config), kernels_(kernels) {
  LR_CHECK(!parameters.empty());
  const at::TensorOptions options = parameters.begin()->second.options().requires_grad(false);
  step_ = at::scalar_tensor(0.0, options.dtype(at::kFloat));
  grad_clip_ = at::scalar_tensor(config.grad_clip, options.dtype(at::kDouble));
  groups_[0].weight_decay = config.weight_decay;
  for (const auto& [name, parameter] : parameters) {
    LR_CHECK(!kernels_ || (parameter.is_cpu() && parameter.scalar_type() == at::kFloat));
    Group& group = groups_[parameter.dim() >= 2 ? 0 : 1];
    group.names.push_back(name);
    group.parameters.push_back(parameter);
    group.exp_avg.push_back(at::zeros_like(parameter.detach()));
    group.exp_avg_sq.push_back(at::zeros_like(parameter.detach()));
    group.steps.push_back(step_);
  }
}

AdamW::AdamW(const OptimizerConfig& config, const Net& net)
    : AdamW(config, net.parameters(), net.compute().kernels) {
  copies_ = net.weight_copies();
  gpu_kernels_ = net.compute().gpu_kernels && !net.compute().device.is_cpu();
}

at::Tensor AdamW::ClipGradients() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (Group& group : groups_) {
    for (at::Tensor& parameter : group.parameters) {
      at::Tensor& gradient = parameter.mutable_grad();
      if (!gradient.defined()) gradient = GradientOf(parameter);
      gradients.push_back(gradient);
    }
  }
  if (kernels_) {
    std::vector<ConstVector> views;
    views.reserve(gradients.size());
    for (at::Tensor& gradient : gradients) {
      gradient = gradient.contiguous();
      views.push_back({.data = gradient.const_data_ptr<float>(), .n = gradient.numel()});
    }
    const double norm = GlobalNorm(views, RowOptions(*kernels_, kPieceElements));
    clip_ = config_.grad_clip > 0.0 && norm > config_.grad_clip ? config_.grad_clip / norm : 1.0;
    return at::scalar_tensor(norm, at::kDouble);
  }
  const std::vector<at::Tensor> norms = at::_foreach_norm(gradients);
  const at::Tensor norm = at::linalg_vector_norm(at::stack(norms)).to(at::kDouble);
  if (config_.grad_clip > 0.0) {
    // A factor of 1 changes no bit, so a small norm needs no branch, for which the host would wait.
    const at::Tensor factor = at::where(norm.gt(grad_clip_), at::div(grad_clip_, norm), 1.0);
    if (gpu_kernels_) {
      clip_on_gpu_ = factor.to(at::kDouble);
    } else {
      at::_foreach_mul_(gradients, factor.to(gradients.front().scalar_type()));
    }
  }
  return norm;
}

void AdamW::Step(double lr, const at::Tensor& results) {
  const at::NoGradGuard no_grad;
  t_ += 1;
  if (kernels_) return StepThroughKernel(lr, results);
  if (gpu_kernels_) return StepOnGpu(lr, results);
  step_.fill_(static_cast<double>(t_));
  // 1: the operator changes nothing.
  std::optional<at::Tensor> found_inf;
  if (results.defined()) found_inf = at::isfinite(results).all().logical_not().to(at::kFloat);
  for (Group& group : groups_) {
    if (group.parameters.empty()) continue;
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : group.parameters) gradients.push_back(parameter.grad());
    at::_fused_adamw_(group.parameters, gradients, group.exp_avg, group.exp_avg_sq, {}, group.steps,
                      lr, config_.beta1, config_.beta2, group.weight_decay, config_.eps,
                      /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{}, found_inf);
    // The operator does not count up the versions by which stale copies are noticed.
    for (const at::Tensor& parameter : group.parameters) {
      parameter.unsafeGetTensorImpl()->bump_version();
    }
  }
}

std::vector<AdamWTensor> AdamW::Tensors() {
  std::vector<AdamWTensor> tensors;
  for (const Group& group : groups_) {
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      const at::Tensor& parameter = group.parameters[i];
      at::Tensor& gradient = parameter.mutable_grad();
      LR_CHECK(parameter.is_contiguous());
      if (!gradient.is_contiguous()) gradient = gradient.contiguous();
      tensors.push_back({.n = parameter.numel(),
                         .gradient = gradient.const_data_ptr<float>(),
                         .parameter = parameter.mutable_data_ptr<float>(),
                         .m = group.exp_avg[i].mutable_data_ptr<float>(),
                         .v = group.exp_avg_sq[i].mutable_data_ptr<float>(),
                         .copy = copies_ ? copies_->Written(parameter) : nullptr,
                         .weight_decay = group.weight_decay});
    }
  }
  return tensors;
}

void AdamW::StepThroughKernel(double lr, const at::Tensor& results) {
  const double clip = std::exchange(clip_, 1.0);
  if (results.defined() && !AllFinite(results)) return;
  AdamWUpdate(Tensors(),
              {.lr = lr,
               .beta1 = config_.beta1,
               .beta2 = config_.beta2,
               .eps = config_.eps,
               .t = t_,
               .clip = clip},
              RowOptions(*kernels_, kPieceElements));
}

void AdamW::StepOnGpu(double lr, const at::Tensor& results) {
  const at::Tensor clip = std::exchange(clip_on_gpu_, at::Tensor());
  const c10::Device device = step_.device();
  const at::Tensor host = at::empty({2}, at::kFloat);
  host.mutable_data_ptr<float>()[0] = static_cast<float>(t_);
  host.mutable_data_ptr<float>()[1] = static_cast<float>(lr);
  const at::Tensor numbers = ToDevice(host, device);
  const at::Tensor dense = results.defined() ? results.contiguous() : results;
  const std::vector<AdamWTensor> tensors = Tensors();
  RunOnGpu(&CudaAdamW,
           CudaAdamWCall{.tensors = tensors,
                         .beta1 = config_.beta1,
                         .beta2 = config_.beta2,
                         .eps = config_.eps,
                         .t = numbers.const_data_ptr<float>(),
                         .lr = numbers.const_data_ptr<float>() + 1,
                         .clip = clip.defined() ? clip.const_data_ptr<double>() : nullptr,
                         .results = dense.defined() ? dense.const_data_ptr<double>() : nullptr,
                         .n_result = dense.defined() ? dense.numel() : 0},
           device);
}

std::map<std::string, at::Tensor> AdamW::State() const {
  std::map<std::string, at::Tensor> state;
  for (const Group& group : groups_) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      state[kFirst + group.names[i]] = group.exp_avg[i];
      state[kSecond + group.names[i]] = group.exp_avg_sq[i];
    }
  }
  return state;
}

Status AdamW::Restore(const std::map<std::string, at::Tensor>& state, std::int64_t t) {
  std::map<std::string, at::Tensor> own = State();
  if (own.size() != state.size()) {
    return Status(Code::kDataLoss, Str("the optimizer's state has ", state.size(),
                                       " tensors, expected ", own.size()));
  }
  for (auto& [name, tensor] : own) {
    const auto it = state.find(name);
    if (it == state.end()) {
      return Status(Code::kDataLoss, Str("the optimizer's state lacks tensor \"", name, "\""));
    }
    if (it->second.sizes() != tensor.sizes() || it->second.scalar_type() != tensor.scalar_type()) {
      return Status(Code::kDataLoss, Str("the optimizer's tensor \"", name,
                                         "\" has another shape or type than its parameter"));
    }
    tensor.copy_(it->second);
  }
  t_ = t;
  return Status();
}

double LearningRate(const TrainConfig& train, std::int64_t t) {
  const OptimizerConfig& optimizer = train.optimizer;
  const std::int64_t n_warmup =
      (train.schedule.warmup_tokens + train.batch_tokens - 1) / train.batch_tokens;
  if (t <= n_warmup) {
    return optimizer.lr * static_cast<double>(t) / static_cast<double>(n_warmup);
  }
  if (train.schedule.name == ScheduleKind::kConstant) return optimizer.lr;
  const double done =
      static_cast<double>(t - n_warmup) / static_cast<double>(train.steps() - n_warmup);
  if (train.schedule.name == ScheduleKind::kLinear) {
    return optimizer.min_lr + (optimizer.lr - optimizer.min_lr) * (1.0 - done);
  }
  return optimizer.min_lr +
         0.5 * (optimizer.lr - optimizer.min_lr) * (1.0 + std::cos(std::numbers::pi * done));
}

}  // namespace longrun
