#include "kernels/reference/key_bias.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace longrun {
namespace {

double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// exp only gets arguments that are not positive, so nothing overflows.
double Sigmoid(double x) {
  const double e = std::exp(-std::abs(x));
  return x >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

struct Indexer {
  const KeyBiasSize& n;
  std::size_t Gate(std::int64_t b, std::int64_t t, std::int64_t h) const {
    return static_cast<std::size_t>((b * n.n_key + t) * n.n_head + h);
  }
  std::size_t Bias(std::int64_t b, std::int64_t h, std::int64_t t) const {
    return static_cast<std::size_t>((b * n.n_head + h) * n.n_key + t);
  }
};

}  // namespace

std::vector<double> ReferenceKeyBiasForward(const KeyBiasSize& size, std::span<const double> a) {
  LR_CHECK(a.size() == static_cast<std::size_t>(size.batch * size.n_head * size.n_key));
  const Indexer at{size};
  std::vector<double> r(a.size());
  for (std::int64_t b = 0; b < size.batch; ++b) {
    for (std::int64_t h = 0; h < size.n_head; ++h) {
      double sum = 0.0;
      for (std::int64_t t = 0; t < size.n_key; ++t) {
        sum -= Softplus(a[at.Gate(b, t, h)]);
        r[at.Bias(b, h, t)] = sum;
      }
    }
  }
  return r;
}

std::vector<double> ReferenceKeyBiasBackward(const KeyBiasSize& size, std::span<const double> a,
                                             std::span<const double> r_gradient) {
  LR_CHECK(a.size() == static_cast<std::size_t>(size.batch * size.n_head * size.n_key));
  LR_CHECK(r_gradient.size() == a.size());
  const Indexer at{size};
  std::vector<double> da(a.size());
  for (std::int64_t b = 0; b < size.batch; ++b) {
    for (std::int64_t h = 0; h < size.n_head; ++h) {
      double sum = 0.0;
      for (std::int64_t t = size.n_key; t-- > 0;) {
        sum += r_gradient[at.Bias(b, h, t)];
        da[at.Gate(b, t, h)] = -Sigmoid(a[at.Gate(b, t, h)]) * sum;
      }
    }
  }
  return da;
}

}  // namespace longrun
