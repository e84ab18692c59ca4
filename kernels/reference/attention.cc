#include "kernels/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/rotation.h"

namespace longrun {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

double Dot(std::span<const double> x, std::span<const double> y) {
  double sum = 0.0;
  for (std::size_t c = 0; c < x.size(); ++c) sum += x[c] * y[c];
  return sum;
}

// y += a x
void AddScaled(double a, std::span<const double> x, std::span<double> y) {
  for (std::size_t c = 0; c < x.size(); ++c) y[c] += a * x[c];
}

std::size_t Elements(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d = 1) {
  return static_cast<std::size_t>(a * b * c * d);
}

void CheckCall(const AttentionInput& input, const AttentionTerms& terms) {
  const AttentionSize& n = input.size;
  LR_CHECK(n.batch >= 0 && n.n_query >= 0 && n.n_key >= 0);
  LR_CHECK(n.n_head > 0 && n.n_kv_head > 0 && n.head_dim > 0);
  LR_CHECK(n.n_head % n.n_kv_head == 0);
  LR_CHECK(input.q.size() == Elements(n.batch, n.n_head, n.n_query, n.head_dim));
  LR_CHECK(input.k.size() == Elements(n.batch, n.n_kv_head, n.n_key, n.head_dim));
  LR_CHECK(input.v.size() == input.k.size());
  if (terms.key_bias) {
    LR_CHECK(terms.key_bias->values.size() == Elements(n.batch, n.n_head, n.n_key));
    if (terms.key_bias->two_sided) {
      LR_CHECK(terms.visibility.q_offset >= 0);
      LR_CHECK(terms.visibility.q_offset + n.n_query <= n.n_key);
    }
  }
}

// The rows of (n_series, T, D), the row of index t turned to (or back from) position t + offset. A
// query before position 0 sees no key: it is left as it is.
std::vector<double> Rotate(std::span<const double> x, const AttentionTerms& terms,
                           std::int64_t n_row, std::int64_t head_dim, std::int64_t offset,
                           bool inverse) {
  std::vector<double> y(x.begin(), x.end());
  if (!terms.rotation || n_row == 0) return y;
  const auto width = static_cast<std::size_t>(head_dim);
  for (std::size_t row = 0; row * width < y.size(); ++row) {
    const std::int64_t position = static_cast<std::int64_t>(row) % n_row + offset;
    if (position < 0) continue;
    RotateRow(*terms.rotation, position, inverse, std::span(y).subspan(row * width, width));
  }
  return y;
}

// One call: rotated inputs and where their rows lie.
struct Attention {
  Attention(const AttentionInput& input, const AttentionTerms& the_terms)
      : n(input.size),
        terms(the_terms),
        q(Rotate(input.q, terms, n.n_query, n.head_dim, terms.visibility.q_offset, false)),
        k(Rotate(input.k, terms, n.n_key, n.head_dim, 0, false)),
        v(input.v) {}

  std::size_t QueryRow(std::int64_t b, std::int64_t h, std::int64_t i) const {
    return static_cast<std::size_t>((b * n.n_head + h) * n.n_query + i);
  }
  std::size_t KeyRow(std::int64_t b, std::int64_t h, std::int64_t j) const {
    const std::int64_t h_kv = h / (n.n_head / n.n_kv_head);
    return static_cast<std::size_t>((b * n.n_kv_head + h_kv) * n.n_key + j);
  }
  std::size_t BiasIndex(std::int64_t b, std::int64_t h, std::int64_t j) const {
    return static_cast<std::size_t>((b * n.n_head + h) * n.n_key + j);
  }
  template <typename T>
  std::span<T> Row(std::span<T> x, std::size_t row) const {
    const auto width = static_cast<std::size_t>(n.head_dim);
    return x.subspan(row * width, width);
  }
  // Keys that query i sees are 0 .. SeenKeys(i) - 1.
  std::int64_t SeenKeys(std::int64_t i) const {
    if (!terms.visibility.causal) return n.n_key;
    return std::clamp<std::int64_t>(terms.visibility.q_offset + i + 1, 0, n.n_key);
  }

  double Bias(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
    if (!terms.key_bias) return 0.0;
    const std::span<const double> values = terms.key_bias->values;
    if (!terms.key_bias->two_sided) return values[BiasIndex(b, h, j)];
    const std::int64_t p = terms.visibility.q_offset + i;
    const double difference = values[BiasIndex(b, h, p)] - values[BiasIndex(b, h, j)];
    return j <= p ? difference : -difference;
  }

  // Writes s[i][0 .. seen) into `s` and gives lse[i].
  double Scores(std::int64_t b, std::int64_t h, std::int64_t i, std::span<double> s) const {
    const std::span<const double> q_i = Row(std::span(q), QueryRow(b, h, i));
    double largest = kHidden;
    for (std::size_t j = 0; j < s.size(); ++j) {
      const auto key = static_cast<std::int64_t>(j);
      s[j] = terms.scale * Dot(q_i, Row(std::span(k), KeyRow(b, h, key))) + Bias(b, h, i, key);
      largest = std::max(largest, s[j]);
    }
    double sum = 0.0;
    for (const double score : s) sum += std::exp(score - largest);
    return s.empty() ? kHidden : largest + std::log(sum);
  }

  AttentionSize n;
  const AttentionTerms& terms;
  std::vector<double> q, k;
  std::span<const double> v;
};

}  // namespace

AttentionOutput ReferenceAttentionForward(const AttentionInput& input,
                                          const AttentionTerms& terms) {
  CheckCall(input, terms);
  const Attention a(input, terms);
  const AttentionSize& n = a.n;
  AttentionOutput out{.o = std::vector<double>(input.q.size(), 0.0),
                      .lse = std::vector<double>(Elements(n.batch, n.n_head, n.n_query))};
  for (std::int64_t b = 0; b < n.batch; ++b) {
    for (std::int64_t h = 0; h < n.n_head; ++h) {
      for (std::int64_t i = 0; i < n.n_query; ++i) {
        std::vector<double> s(static_cast<std::size_t>(a.SeenKeys(i)));
        const double lse = a.Scores(b, h, i, s);
        const std::size_t row = a.QueryRow(b, h, i);
        out.lse[row] = lse;
        for (std::size_t j = 0; j < s.size(); ++j) {
          const std::size_t key_row = a.KeyRow(b, h, static_cast<std::int64_t>(j));
          AddScaled(std::exp(s[j] - lse), a.Row(a.v, key_row), a.Row(std::span(out.o), row));
        }
      }
    }
  }
  return out;
}

AttentionGradient ReferenceAttentionBackward(const AttentionInput& input,
                                             const AttentionTerms& terms,
                                             std::span<const double> o_gradient) {
  CheckCall(input, terms);
  LR_CHECK(o_gradient.size() == input.q.size());
  const Attention a(input, terms);
  const AttentionSize& n = a.n;
  const AttentionOutput out = ReferenceAttentionForward(input, terms);

  std::vector<double> dq(input.q.size(), 0.0);  // of the rotated q and k, until the end
  std::vector<double> dk(input.k.size(), 0.0);
  std::vector<double> dv(input.v.size(), 0.0);
  std::vector<double> dbias(terms.key_bias ? terms.key_bias->values.size() : 0, 0.0);

  for (std::int64_t b = 0; b < n.batch; ++b) {
    for (std::int64_t h = 0; h < n.n_head; ++h) {
      for (std::int64_t i = 0; i < n.n_query; ++i) {
        std::vector<double> s(static_cast<std::size_t>(a.SeenKeys(i)));
        const double lse = a.Scores(b, h, i, s);
        const std::size_t row = a.QueryRow(b, h, i);
        const std::span<const double> do_i = a.Row(o_gradient, row);
        const double delta = Dot(do_i, a.Row(std::span<const double>(out.o), row));
        for (std::int64_t j = 0; j < a.SeenKeys(i); ++j) {
          const std::size_t key_row = a.KeyRow(b, h, j);
          const double p = std::exp(s[static_cast<std::size_t>(j)] - lse);
          const double ds = p * (Dot(do_i, a.Row(a.v, key_row)) - delta);
          AddScaled(p, do_i, a.Row(std::span(dv), key_row));
          AddScaled(terms.scale * ds, a.Row(std::span(a.k), key_row), a.Row(std::span(dq), row));
          AddScaled(terms.scale * ds, a.Row(std::span(a.q), row), a.Row(std::span(dk), key_row));
          if (!terms.key_bias) continue;
          if (terms.key_bias->two_sided) {
            const std::int64_t position = terms.visibility.q_offset + i;
            const double signed_ds = j <= position ? ds : -ds;
            dbias[a.BiasIndex(b, h, position)] += signed_ds;
            dbias[a.BiasIndex(b, h, j)] -= signed_ds;
          } else {
            dbias[a.BiasIndex(b, h, j)] += ds;
          }
        }
      }
    }
  }
  return {.q = Rotate(dq, terms, n.n_query, n.head_dim, terms.visibility.q_offset, true),
          .k = Rotate(dk, terms, n.n_key, n.head_dim, 0, true),
          .v = std::move(dv),
          .key_bias = std::move(dbias)};
}

}  // namespace longrun
