// longrun-step-bench LAYERS HEADS WIDTH LENGTH [ROUNDS]: for a GPT-2 of 257 tokens with rotary
// positions, which share of the rate of its own products a training step, an evaluation and
// attention reach.
//
// One sequence of LENGTH tokens, fp32, one thread, processor time. The rate is that of the model's
// products as Transformer and Head compute them: for each linear layer the forward product and both
// gradients, each timed separately, summed over all layers. With N tokens, C channels, L layers, V
// rows of the vocabulary, in FLOP:
//
//   products of a step        6 N (12 L C^2 + C V)      forward 2, gradients 4
//   attention of a step       6 N L C N                 causal: half of all pairs;
//                                                       forward 2, gradients 4
//   evaluation                a third of both
//   attention alone           forward 2 H N^2 D, backward 2.5 times that:
//                             it computes the scores again
//
// The products of a step and its attention are those of TrainFlops (sweeps/cost.cc), without the
// embedding's rows, which are only looked up, and without the pairs that the mask hides.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/measurement.h"
#include "base/str.h"
#include "kernels/attention.h"
#include "kernels/tensor_heads.h"
#include "model/net/adamw.h"
#include "model/net/gradient.h"
#include "model/net/head.h"
#include "model/net/kernel_attention.h"
#include "model/net/linear.h"
#include "model/net/transformer.h"

namespace longrun {
namespace {

constexpr int kWarm = 2;              // rounds that are not counted
constexpr double kSecondsMin = 0.03;  // shortest time of a measurement
constexpr std::int64_t kVocabulary = 257;

struct Setting {
  std::int64_t n_layer, n_head, d_model, length;
  int rounds;
  std::string Name() const { return Str(n_layer, " layers of ", d_model, ", length ", length); }
};

// Processor seconds of one call.
double SecondsOf(const std::function<void()>& work) {
  const double begin = ProcessCpuSeconds();
  double spent = 0.0;
  int calls = 0;
  do {
    work();
    ++calls;
    spent = ProcessCpuSeconds() - begin;
  } while (spent < kSecondsMin);
  return spent / calls;
}

// A part that is timed in each round, and its rates.
struct Part {
  std::string name;
  double flop;
  std::function<double()> seconds;
  std::string_view beside, target;  // the part to print this as a fraction of; "": none
  std::vector<double> rates = {};
};

// A linear layer of the model, and how often the model has it.
struct ModelLinear {
  std::int64_t n_in, n_out, count;
};

// Returns a function that measures the seconds of the products of a step.
std::function<double()> ProductSeconds(const Setting& s, MatrixPath path) {
  const std::int64_t c = s.d_model;
  const std::vector<ModelLinear> linears = {
      {c, 3 * c, s.n_layer}, {c, c, s.n_layer}, {c, 4 * c, s.n_layer}, {4 * c, c, s.n_layer}};
  std::vector<std::pair<std::function<void()>, std::int64_t>> products;
  for (const ModelLinear& of : linears) {
    const at::Tensor x = at::randn({s.length, of.n_in}), w = at::randn({of.n_in, of.n_out}),
                     b = at::randn({of.n_out}), dy = at::randn({s.length, of.n_out});
    products.emplace_back([=] { Linear(x, w, b, path); }, of.count);
    products.emplace_back([=] { MatrixProduct(dy, w.t(), path); }, of.count);
    products.emplace_back([=] { WeightGradient(x, dy, path); }, of.count);
  }
  const at::Tensor hidden = at::randn({s.length, c}), head = at::randn({kVocabulary, c}),
                   dz = at::randn({s.length, kVocabulary});
  products.emplace_back([=] { MatrixProduct(hidden, head.t(), path); }, 1);
  products.emplace_back([=] { MatrixProduct(dz, head, path); }, 1);
  products.emplace_back([=] { WeightGradient(dz, hidden, path); }, 1);
  return [products] {
    const at::NoGradGuard no_grad;
    double seconds = 0.0;
    for (const auto& [product, count] : products) {
      seconds += static_cast<double>(count) * SecondsOf(product);
    }
    return seconds;
  };
}

NetConfig ConfigOf(const Setting& s) {
  NetConfig config;
  config.model.n_layer = s.n_layer;
  config.model.n_head = s.n_head;
  config.model.d_model = s.d_model;
  config.model.d_ff = 4 * s.d_model;
  config.model.vocab_size = kVocabulary;
  config.model.position = ResolvePosition("rope").value();
  LR_CHECK(config.model.Check().ok());
  return config;
}

// Views of a tensor (B, T, H, D).
HeadsView View(const at::Tensor& x_BTHD) { return HeadsOf<HeadsView>(x_BTHD.transpose(1, 2)); }
HeadsBuffer Buffer(const at::Tensor& x_BTHD) {
  return HeadsOf<HeadsBuffer>(x_BTHD.transpose(1, 2));
}

std::span<double> Doubles(const at::Tensor& x) {
  if (!x.defined()) return {};
  return {x.data_ptr<double>(), static_cast<std::size_t>(x.numel())};
}

// One call of the kernel that the model would use, with random numbers.
struct AttentionCase {
  AttentionCase(const Setting& s, std::string_view term) {
    const std::int64_t t = s.length, h = s.n_head, d = s.d_model / s.n_head;
    qkv_BTCHD = at::randn({1, t, 3, h, d});  // in the layout of a fused projection
    do_BTHD = at::randn({1, t, h, d});
    o = at::zeros({1, t, h, d});
    dqkv_BTCHD = at::zeros({1, t, 3, h, d});
    const auto numbers = at::TensorOptions().dtype(at::kDouble);
    lse = at::zeros({1, h, t}, numbers);
    terms.scale = 1.0 / std::sqrt(static_cast<double>(d));
    if (term == "key bias") {
      bias = at::randn({1, h, t}, numbers).abs().cumsum(2).mul(-0.01).contiguous();
      d_bias = at::zeros_like(bias);
      terms.key_bias = KeyBias{.values = Doubles(bias)};
    } else if (term == "table by distance") {
      distances = at::randn({h, t}, numbers);
      d_distances = at::zeros_like(distances);
      terms.distance_table = DistanceTable{.values = Doubles(distances), .n_distance = t};
    } else {
      LR_CHECK(term.empty());
    }
    const Result<const AttentionKernel*> found = KernelFor(Compute());
    LR_CHECK(found.ok());
    kernel = *found;
  }

  AttentionInputs Inputs() const {
    return {.q = View(qkv_BTCHD.select(2, 0)),
            .k = View(qkv_BTCHD.select(2, 1)),
            .v = View(qkv_BTCHD.select(2, 2))};
  }
  void Forward() const {
    const Status status =
        kernel->forward({.inputs = Inputs(), .o = Buffer(o), .lse = Doubles(lse)}, terms, {});
    LR_CHECK(status.ok());
  }
  void Backward() const {
    const Status status = kernel->backward({.inputs = Inputs(),
                                            .o = View(o),
                                            .do_ = View(do_BTHD),
                                            .lse = Doubles(lse),
                                            .dq = Buffer(dqkv_BTCHD.select(2, 0)),
                                            .dk = Buffer(dqkv_BTCHD.select(2, 1)),
                                            .dv = Buffer(dqkv_BTCHD.select(2, 2)),
                                            .d_key_bias = Doubles(d_bias),
                                            .d_distance_table = Doubles(d_distances)},
                                           terms, {});
    LR_CHECK(status.ok());
  }

  at::Tensor qkv_BTCHD, do_BTHD, o, dqkv_BTCHD, lse;
  at::Tensor bias, d_bias, distances, d_distances;
  AttentionTerms terms = {};
  const AttentionKernel* kernel = nullptr;
};

void Measure(const Setting& s) {
  Result<Compute> compute = OpenCompute("cpu", "fp32");
  LR_CHECK(compute.ok());
  FixNumerics({}, compute->device);
  const NetConfig config = ConfigOf(s);
  Result<Transformer> made =
      Transformer::Make(config, InitialParameters(ParametersOf(config.model).value(), 1),
                        AttentionBackend::kFused, *compute);
  LR_CHECK(made.ok());
  Transformer net = std::move(made).value();
  AdamW optimizer(OptimizerConfig(), net.parameters(), compute->kernels);
  const at::Tensor tokens = at::randint(256, {1, s.length + 1}, at::kLong);
  const at::Tensor ids = tokens.narrow(1, 0, s.length), targets = tokens.narrow(1, 1, s.length);
  const auto step = [&] {
    ClearGradients(net);
    AddGradients(net, ids, targets, 1.0 / static_cast<double>(s.length));
    optimizer.ClipGradients();
    optimizer.Step(1e-4);
  };
  const auto evaluation = [&] {
    const at::NoGradGuard no_grad;
    HeadNll(net.Hidden(ids).flatten(0, 1), net.head(), targets.flatten(), net.compute());
  };

  const auto n = static_cast<double>(s.length), c = static_cast<double>(s.d_model),
             n_layer = static_cast<double>(s.n_layer);
  const double products = 6.0 * n * (12.0 * n_layer * c * c + c * static_cast<double>(kVocabulary));
  const double attention = 2.0 * n * n * c;  // forward, per layer
  const double of_step = products + 3.0 * n_layer * attention;
  const std::string target_step = s.d_model < 768 ? "ratio >= 0.75" : "ratio >= 0.8";
  const AttentionCase plain(s, ""), key_bias(s, "key bias"), table(s, "table by distance");
  const auto timed = [](auto work) { return [work] { return SecondsOf(work); }; };
  std::vector<Part> parts = {
      {"products", products, ProductSeconds(s, compute->path), "", ""},
      {"train step", of_step, timed(step), "products", target_step},
      {"evaluation", of_step / 3.0, timed(evaluation), "products", ""},
      {"attention forward", attention, timed([&] { plain.Forward(); }), "products",
       "ratio >= 0.65"},
      {"attention backward", 2.5 * attention, timed([&] { plain.Backward(); }), "products",
       "ratio >= 0.75"},
      {"attention forward, key bias", attention, timed([&] { key_bias.Forward(); }),
       "attention forward", "ratio >= 0.95"},
      {"attention backward, key bias and its gradient", 2.5 * attention,
       timed([&] { key_bias.Backward(); }), "attention backward", "ratio >= 0.95"},
      {"attention forward, table by distance", attention, timed([&] { table.Forward(); }),
       "attention forward", "ratio >= 0.95"},
      {"attention backward, table by distance and its gradient", 2.5 * attention,
       timed([&] { table.Backward(); }), "attention backward", "ratio >= 0.95"}};
  for (int round = 0; round < kWarm + s.rounds; ++round) {
    for (Part& part : parts) {
      const double seconds = part.seconds();
      if (round >= kWarm) part.rates.push_back(1e-9 * part.flop / seconds);
    }
  }
  std::map<std::string_view, const Part*> by_name;
  for (const Part& part : parts) {
    by_name[part.name] = &part;
    if (part.beside.empty()) continue;
    const Part& limit = *by_name.at(part.beside);
    const std::string what =
        limit.name == "products" ? "the model's own products" : Str("plain ", limit.name);
    Print({.name = Str(s.Name(), ": ", part.name),
           .unit = "GFLOP/s",
           .ours = part.rates,
           .baseline = limit.rates,
           .what_baseline = what,
           .target = std::string(part.target)});
  }
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) {
  at::set_num_threads(1);
  at::manual_seed(1);
  const auto number = [&](int index, int otherwise) {
    return longrun::IntArgument(argc, argv, index, otherwise, 1 << 20);
  };
  longrun::Measure({.n_layer = number(1, 4),
                    .n_head = number(2, 8),
                    .d_model = number(3, 512),
                    .length = number(4, 1024),
                    .rounds = number(5, 9)});
  return 0;
}
