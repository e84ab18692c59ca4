// longrun-skip-bench DEVICE [LENGTH] [LAYERS] [HEADS] [WIDTH] [ROUNDS]: how much faster a training
// step is whose attention skips keys that hold less than 2^-24 of every row (train.skip_epsilon).
//
// One sequence of LENGTH tokens; fp32 and one thread on a CPU, bf16 on a GPU. Without and with the
// bound, the same network computes a step from the same weights, one after the other in each round,
// after a round that is not counted. The weights are those of the first steps: what can be skipped
// later depends on the biases that a model learns, and on the size of its scores. Times are
// processor time on a CPU, and last until the device is done on a GPU. Prints a JSON line for each
// position method.
#include <ATen/Parallel.h>
#include <ATen/ops/randint.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/exit_code.h"
#include "base/measurement.h"
#include "base/str.h"
#include "model/net/adamw.h"
#include "model/net/device.h"
#include "model/net/gradient.h"
#include "model/net/net.h"

namespace longrun {
namespace {

constexpr int kWarm = 1;  // rounds that are not counted
constexpr double kEpsilon = 0x1p-24;
constexpr std::int64_t kVocabulary = 257;

struct Setting {
  std::int64_t length, n_layer, n_head, d_model;
  int rounds;
};

NetConfig ConfigOf(const Setting& s, const std::string& method) {
  NetConfig config;
  config.model.n_layer = s.n_layer;
  config.model.n_head = s.n_head;
  config.model.d_model = s.d_model;
  config.model.d_ff = 4 * s.d_model;
  config.model.vocab_size = kVocabulary;
  config.model.position = ResolvePosition(method).value();
  const Status fits = config.model.Check();
  if (!fits.ok()) {
    std::fprintf(stderr, "longrun-skip-bench: %s\n", fits.message().c_str());
    std::exit(kExitBadUsage);
  }
  return config;
}

class Steps {
 public:
  Steps(const Setting& s, const std::string& method, const Compute& compute)
      : length_(s.length), compute_(compute) {
    const NetConfig config = ConfigOf(s, method);
    Result<std::unique_ptr<Net>> net =
        MakeNet(config, InitialParameters(ParametersOf(config.model).value(), 1),
                AttentionBackend::kFused, compute);
    LR_CHECK(net.ok());
    net_ = std::move(net).value();
    net_->KeepWeightCopies();
    optimizer_ = std::make_unique<AdamW>(OptimizerConfig(), *net_);
    const at::Tensor tokens = at::randint(256, {1, s.length + 1}, at::kLong).to(compute.device);
    ids_BT_ = tokens.narrow(1, 0, s.length);
    targets_BT_ = tokens.narrow(1, 1, s.length);
  }

  double Seconds(double skip_epsilon) {
    net_->SetSkipEpsilon(skip_epsilon);
    Wait();
    const Stopwatch watch;
    const double begin = ProcessCpuSeconds();
    ClearGradients(*net_);
    AddGradients(*net_, ids_BT_, targets_BT_, 1.0 / static_cast<double>(length_));
    optimizer_->ClipGradients();
    optimizer_->Step(0.0);  // the weights stay
    Wait();
    return compute_.device.is_cpu() ? ProcessCpuSeconds() - begin : watch.Seconds();
  }

 private:
  void Wait() const {
    if (compute_.device.is_cpu()) return;
    c10::impl::VirtualGuardImpl(compute_.device.type()).synchronizeDevice(compute_.device.index());
  }

  std::int64_t length_;
  Compute compute_;
  std::unique_ptr<Net> net_;
  std::unique_ptr<AdamW> optimizer_;
  at::Tensor ids_BT_, targets_BT_;
};

void Measure(const Setting& s, const Compute& compute) {
  for (const char* method : {"alibi", "cable"}) {
    Steps steps(s, method, compute);
    Measurement rate = {.name = Str("train step of ", s.length, " tokens, ", s.n_layer,
                                    " layers of ", s.d_model, ", skipping: ", method),
                        .unit = "tokens/s",
                        .what_baseline = "the same step with all keys"};
    for (int round = 0; round < kWarm + s.rounds; ++round) {
      const double all = steps.Seconds(0.0), skipping = steps.Seconds(kEpsilon);
      if (round < kWarm) continue;
      rate.ours.push_back(static_cast<double>(s.length) / skipping);
      rate.baseline.push_back(static_cast<double>(s.length) / all);
    }
    Print(rate);
  }
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) {
  using namespace longrun;
  const std::string device = argc > 1 ? argv[1] : "";
  Result<Compute> compute = OpenCompute(device, device == "cpu" ? "fp32" : "bf16");
  if (!compute.ok()) {
    std::fprintf(stderr, "longrun-skip-bench: %s\n", compute.status().message().c_str());
    return kExitBadUsage;
  }
  at::set_num_threads(1);
  at::manual_seed(1);
  FixNumerics({}, compute->device);
  const auto number = [&](int index, int otherwise) {
    return IntArgument(argc, argv, index, otherwise, 1 << 20);
  };
  Measure({.length = number(2, 8192),
           .n_layer = number(3, 4),
           .n_head = number(4, 4),
           .d_model = number(5, 256),
           .rounds = number(6, 5)},
          *compute);
  return 0;
}
