// longrun-head-bench DEVICE [TOKENS] [WIDTH] [VOCABULARY] [ROUNDS]: time and memory of the head and
// its loss, forward and backward, beside a peer that writes all logits down.
//
// The peer is what one would write with LibTorch's operators: the product in bf16, cross-entropy in
// fp32, and autograd. On a CPU, all is in fp32. In each round both are timed one after the other,
// from the hidden states until the gradients of hidden states and weight are there, after two
// rounds that are not counted. Memory is the peak beyond what was allocated before; both include
// the weight's gradient. Prints a JSON line for time and one for memory.
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdio>
#include <functional>
#include <string>

#include "base/exit_code.h"
#include "base/measurement.h"
#include "base/str.h"
#include "model/net/device.h"
#include "model/net/head.h"
#include "model/net/memory_meter.h"

namespace longrun {
namespace {

constexpr int kWarm = 2;  // rounds that are not counted

struct Setting {
  std::int64_t n_token, width, n_vocab;
  int rounds;
};

struct Cost {
  double ms = 0.0, mib = 0.0;
};

Cost CostOf(const Compute& compute, MemoryMeter& meter, const std::function<void()>& work) {
  const auto wait = [&] {
    if (compute.device.is_cpu()) return;
    c10::impl::VirtualGuardImpl(compute.device.type()).synchronizeDevice(compute.device.index());
  };
  wait();
  const std::int64_t before = meter.AllocatedBytes();
  meter.ResetPeak();
  const Stopwatch watch;
  work();
  wait();
  return {.ms = 1e3 * watch.Seconds(),
          .mib = static_cast<double>(meter.PeakAllocatedBytes() - before) / (1 << 20)};
}

void Measure(const Setting& s, const Compute& compute) {
  MemoryMeter meter(compute.device);  // first, so that it counts all tensors
  const auto options = at::TensorOptions().device(compute.device).dtype(at::kFloat);
  const at::Tensor hidden_NC = at::randn({s.n_token, s.width}, options);
  const at::Tensor weight_VC = at::randn({s.n_vocab, s.width}, options).mul_(0.02);
  const at::Tensor targets_N = at::randint(s.n_vocab, {s.n_token}, options.dtype(at::kLong));
  const at::Tensor rounded_VC = weight_VC.to(compute.product);
  const auto ours = [&] {
    Head gradient;
    GradientRoom room;
    HeadNllBackward(hidden_NC, {.weight_VC = weight_VC, .rounded_VC = rounded_VC}, targets_N,
                    1.0 / static_cast<double>(s.n_token), compute, &gradient, &room);
  };
  const auto peer = [&] {
    const at::Tensor hidden = hidden_NC.detach().requires_grad_();
    const at::Tensor weight = weight_VC.detach().requires_grad_();
    const at::Tensor logits_NV = at::linear(hidden.to(compute.product), weight.to(compute.product));
    const at::Tensor loss = at::cross_entropy_loss(logits_NV.to(at::kFloat), targets_N);
    torch::autograd::grad({loss}, {hidden, weight});
  };
  Measurement time = {.name = Str("head and loss of ", s.n_token, " x ", s.width, " x ", s.n_vocab),
                      .unit = "ms",
                      .what_baseline = "LibTorch, all logits at once",
                      .target = "ratio <= 1"};
  Measurement memory = time;
  memory.unit = "MiB";
  memory.target = "ratio <= 0.2";
  for (int round = 0; round < kWarm + s.rounds; ++round) {
    const Cost of_ours = CostOf(compute, meter, ours), of_peer = CostOf(compute, meter, peer);
    if (round < kWarm) continue;
    time.ours.push_back(of_ours.ms);
    time.baseline.push_back(of_peer.ms);
    memory.ours.push_back(of_ours.mib);
    memory.baseline.push_back(of_peer.mib);
  }
  Print(time);
  Print(memory);
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) {
  using namespace longrun;
  const std::string device = argc > 1 ? argv[1] : "";
  Result<Compute> compute = OpenCompute(device, device == "cpu" ? "fp32" : "bf16");
  if (!compute.ok()) {
    std::fprintf(stderr, "longrun-head-bench: %s\n", compute.status().message().c_str());
    return kExitBadUsage;
  }
  FixNumerics({}, compute->device);
  if (compute->device.is_cpu()) compute->head_chunks = HeadChunks::kByWidth;  // as in a new run
  const auto number = [&](int index, int otherwise) {
    return IntArgument(argc, argv, index, otherwise, 1 << 20);
  };
  Measure({.n_token = number(2, 16384),
           .width = number(3, 768),
           .n_vocab = number(4, 50304),
           .rounds = number(5, 9)},
          *compute);
  return 0;
}
