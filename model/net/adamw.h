// AdamW (Loshchilov, Hutter 2019, arXiv:1711.05101), t = 1, 2, ...:
//
//   theta = theta - lr lambda theta                    only parameters of two or more dimensions
//   m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
//   theta = theta - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
//
// Computed by our kernel (kernels/adamw.h; on a GPU kernels/cuda_rows.h), with all tensors in one
// pass, or by LibTorch's fused operator, with one call per group. Our kernels write the weights'
// bf16 copies in the same pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/adamw.h"
#include "kernels/simd.h"
#include "model/net/net.h"
#include "model/net/parameters.h"
#include "model/net/weight_copies.h"
#include "model/train_config.h"

namespace longrun {

class AdamW {
 public:
  // Moments and t start at 0. The parameters are shared with this object, and Step changes them.
  // With `kernels` (Compute::kernels) our kernel is used, and the parameters must be fp32 on a CPU.
  AdamW(const OptimizerConfig& config, const ParameterMap& parameters,
        std::optional<Simd> kernels = {});
  // Of all parameters of the network, with its kernels and its weight copies.
  AdamW(const OptimizerConfig& config, const Net& net);

  // Returns the global norm of the gradients (of all parameters together, before clipping), a
  // double without dimensions on the parameters' device. If config.grad_clip is positive and
  // smaller, the gradients are scaled down to it; with our kernels this happens in the next Step,
  // and the gradients themselves stay unchanged.
  at::Tensor ClipGradients();
  // With `results` (doubles on the parameters' device), parameters and moments stay as they are
  // unless all of these are finite. The device decides, so that a GPU's host does not wait.
  void Step(double lr, const at::Tensor& results = {});

  // "exp_avg.NAME" and "exp_avg_sq.NAME", shared with this object.
  std::map<std::string, at::Tensor> State() const;
  // Continues after step t. kDataLoss if a tensor is missing, surplus, or of a wrong shape or type.
  Status Restore(const std::map<std::string, at::Tensor>& state, std::int64_t t);

 private:
  struct Group {
    std::vector<std::string> names;
    std::vector<at::Tensor> parameters, exp_avg, exp_avg_sq, steps;
    double weight_decay = 0.0;
  };

  void StepThroughKernel(double lr, const at::Tensor& results);
  void StepOnGpu(double lr, const at::Tensor& results);
  std::vector<AdamWTensor> Tensors();

  OptimizerConfig config_;
  Group groups_[2];       // with weight decay, without
  at::Tensor step_;       // t as fp32, on the parameters' device
  at::Tensor grad_clip_;  // config_.grad_clip as a double, on the parameters' device
  std::int64_t t_ = 0;
  std::optional<Simd> kernels_;
  std::shared_ptr<WeightCopies> copies_;  // null: none are kept
  bool gpu_kernels_ = false;
  double clip_ = 1.0;       // for the next Step with our kernel
  at::Tensor clip_on_gpu_;  // the same, a double on the GPU; undefined: 1
};

// The learning rate of step t = 1 .. n_steps: lr t / w for t <= w (w warm-up steps), then
//   cosine:   min_lr + (lr - min_lr) (1 + cos(pi (t - w) / (n_steps - w))) / 2;
//             the last step has min_lr
//   linear:   min_lr + (lr - min_lr) (n_steps - t) / (n_steps - w); the last step has min_lr
//   constant: lr
double LearningRate(const TrainConfig& train, std::int64_t t);

}  // namespace longrun
