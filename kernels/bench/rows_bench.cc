// longrun-rows-bench [ROUNDS]: the kernels over rows compared with LibTorch's operators, as
// measurements (tools/bench.py).
//
// Milliseconds of processor time of one thread; ours and LibTorch's in turn, round by round, over
// three sets of inputs, so that the inputs are no more in the cache than in a step of training. The
// baseline is what the trainer does without the kernel, operator by operator.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/native_layer_norm_backward.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/softplus_backward.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/measurement.h"
#include "base/str.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/key_bias.h"
#include "kernels/norm.h"

namespace longrun {
namespace {

constexpr int kSets = 3;
constexpr double kSecondsMin = 0.02;  // shortest time of a measurement

const float* In(const at::Tensor& x) { return x.const_data_ptr<float>(); }
float* Out(const at::Tensor& x) { return x.mutable_data_ptr<float>(); }
const Bf16* InBf16(const at::Tensor& x) {
  return reinterpret_cast<const Bf16*>(x.const_data_ptr<at::BFloat16>());
}
Bf16* OutBf16(const at::Tensor& x) {
  return reinterpret_cast<Bf16*>(x.mutable_data_ptr<at::BFloat16>());
}

at::Tensor Random(std::initializer_list<std::int64_t> shape) {
  return at::randn(shape, at::kFloat);
}

// Works on the set with this number.
using Work = std::function<void(int set)>;

double Milliseconds(const Work& work, int n) {
  const double begin = ThreadCpuSeconds();
  for (int i = 0; i < n; ++i) work(i % kSets);
  return 1e3 * (ThreadCpuSeconds() - begin) / n;
}

class Bench {
 public:
  explicit Bench(int n_rounds) : n_rounds_(n_rounds) {}

  void Measure(const std::string& name, const std::string& peer, const Work& ours,
               const Work& theirs) const {
    Measurement found = {.name = name, .unit = "ms", .what_baseline = peer};
    int n = kSets;
    Milliseconds(ours, n);
    Milliseconds(theirs, n);
    while (Milliseconds(ours, n) * n < 1e3 * kSecondsMin) n *= 2;
    for (int round = 0; round < n_rounds_; ++round) {
      found.ours.push_back(Milliseconds(ours, n));
      found.baseline.push_back(Milliseconds(theirs, n));
    }
    Print(found);
  }

 private:
  int n_rounds_ = 0;
};

// Makes the sets of tensors that are used in turn; the result, called with a number,
// returns that set.
template <typename Make>
auto Sets(const Make& make) {
  std::vector<decltype(make())> sets;
  sets.reserve(kSets);
  for (int i = 0; i < kSets; ++i) sets.push_back(make());
  return [sets = std::move(sets)](int i) -> const auto& {
    return sets[static_cast<std::size_t>(i)];
  };
}

void MeasureNorm(const Bench& bench, std::int64_t n, std::int64_t c) {
  struct Set {
    at::Tensor x, a, gamma, beta, sum, y, mean, rstd, dy, ds, dx, d_gamma, d_beta;
  };
  const auto of = Sets([&]() -> Set {
    return {Random({n, c}), Random({n, c}), Random({c}),       Random({c}),    Random({n, c}),
            Random({n, c}), Random({n}),    Random({n}).abs(), Random({n, c}), Random({n, c}),
            Random({n, c}), Random({c}),    Random({c})};
  });
  const NormShape shape = {.n_row = n, .n_channel = c};
  const std::string size = Str(n, " x ", c);
  bench.Measure(
      Str("residual + LayerNorm ", size), "add, native_layer_norm",
      [&](int i) {
        const Set& s = of(i);
        NormForward({.shape = shape,
                     .x = In(s.x),
                     .addend = In(s.a),
                     .gamma = In(s.gamma),
                     .beta = In(s.beta),
                     .sum = Out(s.sum),
                     .y = Out(s.y),
                     .mean = Out(s.mean),
                     .rstd = Out(s.rstd)},
                    {});
      },
      [&](int i) {
        const Set& s = of(i);
        at::native_layer_norm(s.x + s.a, {c}, s.gamma, s.beta, 1e-5);
      });
  bench.Measure(
      Str("residual + LayerNorm backward ", size), "native_layer_norm_backward, add",
      [&](int i) {
        const Set& s = of(i);
        NormBackward({.shape = shape,
                      .dy = In(s.dy),
                      .sum = In(s.x),
                      .gamma = In(s.gamma),
                      .mean = In(s.mean),
                      .rstd = In(s.rstd),
                      .d_sum = In(s.ds),
                      .dx = Out(s.dx),
                      .d_gamma = Out(s.d_gamma),
                      .d_beta = Out(s.d_beta)},
                     {});
      },
      [&](int i) {
        const Set& s = of(i);
        const auto found =
            at::native_layer_norm_backward(s.dy, s.x, {c}, s.mean.unsqueeze(1), s.rstd.unsqueeze(1),
                                           s.gamma, s.beta, {true, true, true});
        std::get<0>(found) + s.ds;
      });
}

void MeasureActivation(const Bench& bench, std::int64_t n, std::int64_t c, bool bf16) {
  struct Set {
    at::Tensor h, bias, y, dy, dh, db;
  };
  const auto type = bf16 ? at::kBFloat16 : at::kFloat;
  const auto of = Sets([&]() -> Set {
    return {Random({n, c}).to(type), Random({c}), Random({n, c}).to(type), Random({n, c}).to(type),
            Random({n, c}).to(type), Random({c})};
  });
  const auto read = [&](const at::Tensor& x) -> ConstElements {
    return bf16 ? ConstElements(InBf16(x)) : ConstElements(In(x));
  };
  const auto write = [&](const at::Tensor& x) -> Elements {
    return bf16 ? Elements(OutBf16(x)) : Elements(Out(x));
  };
  struct Named {
    Activation activation;
    const char *name, *how;
  };
  for (const Named& f : {Named{Activation::kGeluNew, "gelu_new", "tanh"},
                         Named{Activation::kGelu, "gelu", "none"}}) {
    const ActivationShape shape = {n, c, f.activation};
    const std::string size = Str(n, " x ", c, bf16 ? ", bf16" : "");
    bench.Measure(
        Str("bias + ", f.name, " ", size), "gelu (its bias is the product's)",
        [&](int i) {
          ActivationForward(
              {.shape = shape, .h = read(of(i).h), .bias = In(of(i).bias), .y = write(of(i).y)},
              {});
        },
        [&](int i) { at::gelu(of(i).h, f.how); });
    bench.Measure(
        Str("bias + ", f.name, " backward ", size), "gelu_backward, sum of rows",
        [&](int i) {
          ActivationBackward({.shape = shape,
                              .h = read(of(i).h),
                              .bias = In(of(i).bias),
                              .dy = read(of(i).dy),
                              .dh = write(of(i).dh),
                              .d_bias = Out(of(i).db)},
                             {});
        },
        [&](int i) { at::gelu_backward(of(i).dy, of(i).h, f.how).sum(0); });
  }
}

void MeasureGated(const Bench& bench, std::int64_t n, std::int64_t c) {
  struct Set {
    at::Tensor gate, up, y, dy, d_gate, d_up;
  };
  const auto of = Sets([&]() -> Set {
    return {Random({n, c}), Random({n, c}), Random({n, c}),
            Random({n, c}), Random({n, c}), Random({n, c})};
  });
  const ActivationShape shape = {n, c, Activation::kSilu};
  bench.Measure(
      Str("SwiGLU ", n, " x ", c), "silu, mul",
      [&](int i) {
        const Set& s = of(i);
        GatedForward({.shape = shape, .gate = In(s.gate), .up = In(s.up), .y = Out(s.y)}, {});
      },
      [&](int i) { at::silu(of(i).gate) * of(i).up; });
  bench.Measure(
      Str("SwiGLU backward ", n, " x ", c), "mul, mul, silu_backward",
      [&](int i) {
        const Set& s = of(i);
        GatedBackward({.shape = shape,
                       .gate = In(s.gate),
                       .up = In(s.up),
                       .dy = In(s.dy),
                       .d_gate = Out(s.d_gate),
                       .d_up = Out(s.d_up)},
                      {});
      },
      [&](int i) {
        const Set& s = of(i);
        s.dy* s.y;  // silu(gate), which autograd has stored
        at::silu_backward(s.dy * s.up, s.gate);
      });
}

// `shapes` are those of the parameters.
void MeasureAdamW(const Bench& bench, const std::string& name,
                  const std::vector<std::vector<std::int64_t>>& shapes) {
  std::vector<at::Tensor> parameters, gradients, first, second, steps;
  for (const auto& shape : shapes) {
    parameters.push_back(at::randn(shape, at::kFloat));
    gradients.push_back(at::randn(shape, at::kFloat));
    first.push_back(at::zeros(shape, at::kFloat));
    second.push_back(at::ones(shape, at::kFloat));
    steps.push_back(at::scalar_tensor(10.0, at::kFloat));
  }
  constexpr double kLr = 1e-6;
  bench.Measure(
      Str("norm, clip and AdamW, ", name), "_foreach_norm, _foreach_mul, _fused_adamw",
      [&](int) {
        std::vector<ConstVector> views;
        std::vector<AdamWTensor> tensors;
        for (std::size_t i = 0; i < shapes.size(); ++i) {
          views.push_back({In(gradients[i]), gradients[i].numel()});
          tensors.push_back({.n = gradients[i].numel(),
                             .gradient = In(gradients[i]),
                             .parameter = Out(parameters[i]),
                             .m = Out(first[i]),
                             .v = Out(second[i]),
                             .weight_decay = 0.1});
        }
        const double norm = GlobalNorm(views, {});
        AdamWUpdate(tensors, {.lr = kLr, .t = 10, .clip = norm > 1.0 ? 1.0 / norm : 1.0}, {});
      },
      [&](int) {
        const std::vector<at::Tensor> norms = at::_foreach_norm(gradients);
        const double norm = at::linalg_vector_norm(at::stack(norms)).item<double>();
        // A factor that leaves the gradients unchanged, so that all rounds see the same numbers.
        at::_foreach_mul_(gradients, at::Scalar(norm > 0.0 ? 1.0 : 0.0));
        at::_fused_adamw_(parameters, gradients, first, second, {}, steps, kLr, 0.9, 0.999, 0.1,
                          1e-8, false, false);
      });
}

void MeasureCrossEntropy(const Bench& bench, std::int64_t n, std::int64_t v) {
  struct Set {
    at::Tensor z, target, nll;
  };
  const auto of = Sets([&]() -> Set {
    return {Random({n, v}), at::randint(v, {n}, at::kLong), Random({n})};
  });
  // Both overwrite the logits: the next call takes this one's gradient as its logits.
  const double weight = 1.0;
  bench.Measure(
      Str("cross-entropy with gradient ", n, " x ", v),
      "logsumexp, gather, sub, exp, scatter_add, mul",
      [&](int i) {
        const Set& s = of(i);
        CrossEntropy({.n_row = n,
                      .n_vocab = v,
                      .logits = In(s.z),
                      .targets = s.target.const_data_ptr<std::int64_t>(),
                      .nll = Out(s.nll),
                      .d_logits = Out(s.z),
                      .weight = weight},
                     {});
      },
      [&](int i) {
        const Set& s = of(i);
        const at::Tensor target = s.target.unsqueeze(1), z = s.z;
        const at::Tensor lse = at::logsumexp(z, 1, true);
        s.nll.copy_((lse - z.gather(1, target)).squeeze(1));
        at::Tensor dz = z.sub_(lse).exp_();
        dz.scatter_add_(1, target, at::full({n, 1}, -1.0, dz.options()));
        dz.mul_(weight);
      });
  bench.Measure(
      Str("cross-entropy ", n, " x ", v), "logsumexp, gather, sub",
      [&](int i) {
        const Set& s = of(i);
        CrossEntropy({.n_row = n,
                      .n_vocab = v,
                      .logits = In(s.z),
                      .targets = s.target.const_data_ptr<std::int64_t>(),
                      .nll = Out(s.nll)},
                     {});
      },
      [&](int i) {
        const Set& s = of(i);
        s.nll.copy_(at::logsumexp(s.z, 1) - s.z.gather(1, s.target.unsqueeze(1)).squeeze(1));
      });
}

void MeasureEmbedding(const Bench& bench, std::int64_t n, std::int64_t v, std::int64_t c) {
  struct Set {
    at::Tensor ids, dy;
  };
  const auto of = Sets([&]() -> Set { return {at::randint(v, {n}, at::kLong), Random({n, c})}; });
  const at::Tensor sum = at::zeros({v, c}, at::kFloat);
  bench.Measure(
      Str("embedding gradient ", n, " x ", c, " of ", v), "embedding_dense_backward, add",
      [&](int i) {
        const Set& s = of(i);
        EmbeddingGradient(
            {.n_channel = c,
             .n_vocab = v,
             .ids = {s.ids.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(n)},
             .dy = In(s.dy),
             .d_weight = Out(sum)},
            {});
      },
      [&](int i) { sum.add_(at::embedding_dense_backward(of(i).dy, of(i).ids, v, -1, false)); });
}

void MeasureKeyBias(const Bench& bench, std::int64_t b, std::int64_t t, std::int64_t h) {
  struct Set {
    at::Tensor a, r, dr, da;
  };
  const auto of = Sets([&]() -> Set {
    return {Random({b, t, h}), at::empty({b, h, t}, at::kDouble), at::randn({b, h, t}, at::kDouble),
            Random({b, t, h})};
  });
  const KeyBiasShape shape = {.batch = b, .n_head = h, .n_key = t};
  const std::string size = Str(b, " x ", t, " x ", h);
  bench.Measure(
      Str("key bias ", size), "softplus, cumsum, neg",
      [&](int i) {
        KeyBiasForward({.shape = shape, .a = In(of(i).a), .r = of(i).r.mutable_data_ptr<double>()},
                       {});
      },
      [&](int i) { -at::cumsum(at::softplus(of(i).a).transpose(1, 2), 2, at::kDouble); });
  bench.Measure(
      Str("key bias backward ", size), "neg, flip, cumsum, flip, softplus_backward",
      [&](int i) {
        KeyBiasBackward({.shape = shape,
                         .a = In(of(i).a),
                         .dr = of(i).dr.const_data_ptr<double>(),
                         .da = Out(of(i).da)},
                        {});
      },
      [&](int i) {
        const at::Tensor behind = at::cumsum((-of(i).dr).flip({2}), 2).flip({2});
        at::softplus_backward(behind.transpose(1, 2).to(at::kFloat), of(i).a, 1.0, 20.0);
      });
}

// The shapes of the parameters of a GPT-2 of this size.
std::vector<std::vector<std::int64_t>> Gpt2Shapes(std::int64_t n_layer, std::int64_t c,
                                                  std::int64_t v) {
  std::vector<std::vector<std::int64_t>> shapes = {{v, c}, {c}, {c}};
  for (std::int64_t l = 0; l < n_layer; ++l) {
    shapes.insert(shapes.end(), {{c, 3 * c},
                                 {3 * c},
                                 {c, c},
                                 {c},
                                 {c, 4 * c},
                                 {4 * c},
                                 {4 * c, c},
                                 {c},
                                 {c},
                                 {c},
                                 {c},
                                 {c}});
  }
  return shapes;
}

int Main(int argc, char** argv) {
  const Bench bench(IntArgument(argc, argv, 1, 15, 1000));
  at::set_num_threads(1);
  const at::NoGradGuard no_grad;
  // The widths of the quick start's model, and of GPT-2 124M with 1024 tokens.
  for (const std::int64_t c : {64, 768}) {
    MeasureNorm(bench, 1024, c);
    MeasureActivation(bench, 1024, 4 * c, false);
  }
  MeasureActivation(bench, 1024, 3072, true);
  MeasureGated(bench, 1024, 2048);
  MeasureAdamW(bench, "quick start's model", Gpt2Shapes(2, 64, 257));
  MeasureAdamW(bench, "4 layers of 512", Gpt2Shapes(4, 512, 8192));
  MeasureCrossEntropy(bench, 1024, 257);
  MeasureCrossEntropy(bench, 166, 50257);
  MeasureEmbedding(bench, 1024, 257, 64);
  MeasureEmbedding(bench, 1024, 50257, 768);
  MeasureKeyBias(bench, 16, 64, 4);
  MeasureKeyBias(bench, 1, 1024, 12);
  return 0;
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) { return longrun::Main(argc, argv); }
