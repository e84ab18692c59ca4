#include "kernels/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/dropout.h"
#include "kernels/rotation.h"

namespace longrun {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

double Dot(std::span<const double> x, std::span<const double> y) {
  double sum = 0.0;
  for (std::size_t c = 0; c < x.size(); ++c) sum += x[c] * y[c];
  return sum;
}

// What `sum` = Dot(x, y) is made of: the root of the sum of the squares of its products, unless the
// sum is larger. Where products cancel, its rounding is beside them, not beside it.
double Magnitude(double sum, std::span<const double> x, std::span<const double> y) {
  double squares = 0.0;
  for (std::size_t c = 0; c < x.size(); ++c) squares += x[c] * x[c] * y[c] * y[c];
  return std::max(std::abs(sum), std::sqrt(squares));
}

// y += |a x|, element by element.
void AddMagnitudes(double a, std::span<const double> x, std::span<double> y) {
  for (std::size_t c = 0; c < x.size(); ++c) y[c] += std::abs(a * x[c]);
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
    LR_CHECK(terms.key_bias->values.empty() ||
             terms.key_bias->values.size() == Elements(n.batch, n.n_head, n.n_key));
    if (terms.key_bias->two_sided) {
      LR_CHECK(terms.visibility.k_offset == 0 && terms.visibility.q_offset >= 0);
      LR_CHECK(terms.visibility.q_offset + n.n_query <= n.n_key);
    }
  }
}

enum class Side { kQuery, kKey };

// Multiplies or divides the pairs of a row by the table's growth.
void GrowRow(const RotationTable& table, std::int64_t position, Side side, std::span<double> row) {
  if (table.growth.empty()) return;
  const auto n_pairs = static_cast<std::size_t>(table.n_rotary / 2);
  const bool half = table.layout == RotationTable::Layout::kHalf;
  for (std::size_t c = 0; c < n_pairs; ++c) {
    const double growth = table.growth[static_cast<std::size_t>(position) * n_pairs + c];
    const double factor = side == Side::kQuery ? growth : 1.0 / growth;
    row[half ? c : 2 * c] *= factor;
    row[half ? c + n_pairs : 2 * c + 1] *= factor;
  }
}

// T_p of Visibility.
std::int64_t PositionCount(const AttentionSize& n, const Visibility& see) {
  return std::max(see.k_offset + n.n_key, see.q_offset + n.n_query);
}

// The row of the rotation's table for row t of sequence b, by the region if there is one.
std::int64_t TableRow(const AttentionSize& n, const AttentionTerms& terms, const Region* region,
                      Side side, std::int64_t b, std::int64_t t) {
  if (region == nullptr) {
    const Visibility& see = terms.visibility;
    const std::int64_t position = (side == Side::kQuery ? see.q_offset : see.k_offset) + t;
    if (terms.rotation->row.empty() || position < 0) return position;
    const std::int64_t n_position = PositionCount(n, see);
    return terms.rotation->row[static_cast<std::size_t>(b * n_position + position)];
  }
  const std::span<const std::int32_t> rows =
      side == Side::kQuery ? region->query_row : region->key_row;
  return rows[static_cast<std::size_t>(t)];
}

// Rotates the rows of (B, heads, T, D) to their positions, or back. A query before position 0
// sees no key and is left unchanged.
std::vector<double> Rotate(std::span<const double> x, const AttentionSize& n,
                           const AttentionTerms& terms, const Region* region, Side side,
                           bool inverse) {
  std::vector<double> y(x.begin(), x.end());
  if (!terms.rotation || y.empty()) return y;
  const auto width = static_cast<std::size_t>(n.head_dim);
  const std::int64_t n_row = side == Side::kQuery ? n.n_query : n.n_key;
  const auto n_rows_of_sequence = static_cast<std::int64_t>(y.size() / width) / n.batch;
  for (std::size_t row = 0; row * width < y.size(); ++row) {
    const auto at = static_cast<std::int64_t>(row);
    const std::int64_t position =
        TableRow(n, terms, region, side, at / n_rows_of_sequence, at % n_row);
    if (position < 0) continue;
    const std::span<double> turned = std::span(y).subspan(row * width, width);
    RotateRow(*terms.rotation, position, inverse, turned);
    GrowRow(*terms.rotation, position, side, turned);  // commutes with the rotation of its pair
  }
  return y;
}

// k~_j becomes (1 - weight_j) k~_j + weight_j k~'_j, in each row of (n_series, T, D).
void Blend(const BlendedKeys& blended, std::span<const double> other, std::int64_t head_dim,
           std::span<double> k) {
  const auto width = static_cast<std::size_t>(head_dim);
  for (std::size_t at = 0; at < k.size(); ++at) {
    const double weight = blended.weight[at / width % blended.weight.size()];
    k[at] = (1.0 - weight) * k[at] + weight * other[at];
  }
}

// One call: its rotated inputs and the places of their rows.
struct Attention {
  Attention(const AttentionInput& input, const AttentionTerms& the_terms)
      : n(input.size), terms(the_terms), v(input.v) {
    const auto turn = [&](const Region* region) {
      q.push_back(Rotate(input.q, n, terms, region, Side::kQuery, false));
      k.push_back(Rotate(input.k, n, terms, region, Side::kKey, false));
      if (region == nullptr || !region->blended) return;
      const Region other = {.key_row = region->blended->row};
      Blend(*region->blended, Rotate(input.k, n, terms, &other, Side::kKey, false), n.head_dim,
            k.back());
    };
    if (terms.regions.empty()) turn(nullptr);
    for (const Region& region : terms.regions) turn(&region);
  }

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
  std::int64_t Position(std::int64_t i) const { return terms.visibility.q_offset + i; }
  std::int64_t KeyPosition(std::int64_t j) const { return terms.visibility.k_offset + j; }

  bool Sees(std::int64_t b, std::int64_t i, std::int64_t j) const {
    const Visibility& visibility = terms.visibility;
    const std::int64_t p = Position(i), t = KeyPosition(j);
    if (visibility.causal && t > p) return false;
    std::int64_t begin = 0;  // start of the query's document
    if (!visibility.document_begin.empty()) {
      const auto begin_of = [&](std::int64_t position) {
        const std::int64_t at = b * PositionCount(n, visibility) + position;
        return visibility.document_begin[static_cast<std::size_t>(at)];
      };
      if (begin_of(p) != begin_of(t)) return false;
      begin = begin_of(p);
    }
    return visibility.window == 0 || std::abs(p - t) < visibility.window ||
           t < begin + visibility.n_sink;
  }

  // The first region that begins at or before key j; 0 without regions.
  std::size_t RegionOf(std::int64_t i, std::int64_t j) const {
    std::size_t r = 0;
    while (r + 1 < terms.regions.size() &&
           j < terms.regions[r].key_begin[static_cast<std::size_t>(i)]) {
      ++r;
    }
    return r;
  }

  // <q~_i, k~_j>
  double Product(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
    const std::size_t r = RegionOf(i, j);
    return Dot(Row(std::span(q[r]), QueryRow(b, h, i)), Row(std::span(k[r]), KeyRow(b, h, j)));
  }

  // +1 if a two-sided bias is r_p - r_j, -1 if it is r_j - r_p.
  double Sign(std::int64_t i, std::int64_t j) const {
    return KeyPosition(j) <= Position(i) ? 1.0 : -1.0;
  }

  std::size_t DistanceIndex(std::int64_t h, std::int64_t i, std::int64_t j) const {
    const DistanceTable& table = *terms.distance_table;
    const std::int64_t entry = Position(i) - KeyPosition(j) + table.n_ahead;
    return static_cast<std::size_t>(h * table.n_distance +
                                    std::clamp<std::int64_t>(entry, 0, table.n_distance - 1));
  }

  // The argument of the piecewise linear function, and the indices of its numbers.
  struct Piece {
    double u = 0.0;
    std::size_t segment = 0, psi = 0, row = 0;
  };
  Piece PieceOf(std::int64_t h, std::int64_t i, std::int64_t j) const {
    const PiecewiseLinear& f = *terms.piecewise;
    Piece piece = {.psi = static_cast<std::size_t>(std::abs(Position(i) - KeyPosition(j))),
                   .row = static_cast<std::size_t>(Position(i))};
    piece.u = f.psi[piece.psi] * f.row_factor[piece.row];
    piece.segment = static_cast<std::size_t>(h) * (f.knots.size() + 1);
    for (const double knot : f.knots) piece.segment += knot <= piece.u ? 1 : 0;
    return piece;
  }

  double Bias(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
    double bias = 0.0;
    if (terms.key_bias) {
      const KeyBias& term = *terms.key_bias;
      const auto at = [&](std::int64_t t) {
        return term.At(b * n.n_head + h, n.n_head, n.n_key, terms.visibility.k_offset, t);
      };
      bias += term.two_sided ? Sign(i, j) * (at(Position(i)) - at(j)) : at(j);
    }
    if (terms.distance_table) bias += terms.distance_table->values[DistanceIndex(h, i, j)];
    if (terms.piecewise) {
      const Piece piece = PieceOf(h, i, j);
      bias += terms.piecewise->slope[piece.segment] * piece.u +
              terms.piecewise->intercept[piece.segment];
    }
    return bias;
  }

  // Writes s[i][0 .. T_k) into `s` and returns lse[i].
  double Scores(std::int64_t b, std::int64_t h, std::int64_t i, std::span<double> s) const {
    double largest = kHidden;
    for (std::size_t j = 0; j < s.size(); ++j) {
      const auto key = static_cast<std::int64_t>(j);
      s[j] = kHidden;
      if (!Sees(b, i, key)) continue;
      s[j] = terms.scale * Product(b, h, i, key) + Bias(b, h, i, key);
      largest = std::max(largest, s[j]);
    }
    if (largest == kHidden) return kHidden;
    double sum = 0.0;
    for (const double score : s) sum += std::exp(score - largest);
    return largest + std::log(sum);
  }

  // z[i][j].
  double Kept(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
    if (!terms.dropout) return 1.0;
    const bool keeps = DropoutKeeps(*terms.dropout, b * n.n_head + h, i, KeyPosition(j));
    return keeps ? DropoutFactor(*terms.dropout) : 0.0;
  }

  AttentionSize n;
  const AttentionTerms& terms;
  std::vector<std::vector<double>> q, k;  // rotated, by region
  std::span<const double> v;
};

AttentionGradient ZeroTermGradients(const AttentionSize& n, const AttentionTerms& terms) {
  AttentionGradient gradient;
  if (terms.key_bias) gradient.key_bias.resize(Elements(n.batch, n.n_head, n.n_key));
  if (terms.distance_table) gradient.distance_table.resize(terms.distance_table->values.size());
  if (terms.piecewise) {
    gradient.slope.resize(terms.piecewise->slope.size());
    gradient.intercept.resize(terms.piecewise->intercept.size());
    gradient.psi.resize(terms.piecewise->psi.size());
    gradient.row_factor.resize(terms.piecewise->row_factor.size());
  }
  return gradient;
}

struct Element {
  std::int64_t b, h, i, j;
};

// Adds to the gradients of the terms what the score of one element,
// whose gradient is `ds`, contributes.
void AddTermGradients(const Attention& a, const Element& e, double ds, GradientSums sums,
                      AttentionGradient& to) {
  const auto of = [sums](double x) { return sums == GradientSums::kSigned ? x : std::abs(x); };
  if (a.terms.key_bias) {
    if (a.terms.key_bias->two_sided) {
      const double signed_ds = a.Sign(e.i, e.j) * ds;
      to.key_bias[a.BiasIndex(e.b, e.h, a.Position(e.i))] += of(signed_ds);
      to.key_bias[a.BiasIndex(e.b, e.h, e.j)] += of(-signed_ds);
    } else {
      to.key_bias[a.BiasIndex(e.b, e.h, e.j)] += ds;
    }
  }
  if (a.terms.distance_table) to.distance_table[a.DistanceIndex(e.h, e.i, e.j)] += ds;
  if (a.terms.piecewise) {
    const PiecewiseLinear& f = *a.terms.piecewise;
    const Attention::Piece piece = a.PieceOf(e.h, e.i, e.j);
    to.slope[piece.segment] += of(ds * piece.u);
    to.intercept[piece.segment] += ds;
    to.psi[piece.psi] += of(ds * f.slope[piece.segment] * f.row_factor[piece.row]);
    to.row_factor[piece.row] += of(ds * f.slope[piece.segment] * f.psi[piece.psi]);
  }
}

}  // namespace

AttentionOutput ReferenceAttentionForward(const AttentionInput& input,
                                          const AttentionTerms& terms) {
  CheckCall(input, terms);
  const Attention a(input, terms);
  const AttentionSize& n = a.n;
  AttentionOutput out{.o = std::vector<double>(input.q.size(), 0.0),
                      .lse = std::vector<double>(Elements(n.batch, n.n_head, n.n_query))};
  std::vector<double> s(static_cast<std::size_t>(n.n_key));
  for (std::int64_t b = 0; b < n.batch; ++b) {
    for (std::int64_t h = 0; h < n.n_head; ++h) {
      for (std::int64_t i = 0; i < n.n_query; ++i) {
        const double lse = a.Scores(b, h, i, s);
        const std::size_t row = a.QueryRow(b, h, i);
        out.lse[row] = lse;
        for (std::int64_t j = 0; j < n.n_key; ++j) {
          const double score = s[static_cast<std::size_t>(j)];
          if (score == kHidden) continue;
          AddScaled(a.Kept(b, h, i, j) * std::exp(score - lse), a.Row(a.v, a.KeyRow(b, h, j)),
                    a.Row(std::span(out.o), row));
        }
      }
    }
  }
  return out;
}

AttentionGradient ReferenceAttentionBackward(const AttentionInput& input,
                                             const AttentionTerms& terms,
                                             std::span<const double> o_gradient,
                                             std::span<const double> o,
                                             std::span<const double> given_lse, GradientSums sums) {
  CheckCall(input, terms);
  LR_CHECK(terms.regions.empty());  // regions have no gradient
  LR_CHECK(o_gradient.size() == input.q.size());
  const bool is_signed = sums == GradientSums::kSigned;
  const Attention a(input, terms);
  const AttentionSize& n = a.n;
  const AttentionOutput out =
      o.empty() ? ReferenceAttentionForward(input, terms) : AttentionOutput();
  if (o.empty()) o = out.o;
  LR_CHECK(o.size() == input.q.size());
  LR_CHECK(given_lse.empty() || given_lse.size() == Elements(n.batch, n.n_head, n.n_query));

  std::vector<double> dq(input.q.size(), 0.0);  // gradients of the rotated q and k, until the end
  std::vector<double> dk(input.k.size(), 0.0);
  std::vector<double> dv(input.v.size(), 0.0);
  AttentionGradient terms_gradient = ZeroTermGradients(n, terms);
  std::vector<double> s(static_cast<std::size_t>(n.n_key));
  for (std::int64_t b = 0; b < n.batch; ++b) {
    for (std::int64_t h = 0; h < n.n_head; ++h) {
      for (std::int64_t i = 0; i < n.n_query; ++i) {
        const std::size_t row = a.QueryRow(b, h, i);
        const double own_lse = a.Scores(b, h, i, s);
        const double lse = given_lse.empty() ? own_lse : given_lse[row];
        const std::span<const double> do_i = a.Row(o_gradient, row);
        const std::span<const double> o_i = a.Row(o, row);
        const double delta = Dot(do_i, o_i);
        const double delta_size = is_signed ? 0.0 : Magnitude(delta, do_i, o_i);
        for (std::int64_t j = 0; j < n.n_key; ++j) {
          if (s[static_cast<std::size_t>(j)] == kHidden) continue;
          const std::size_t key_row = a.KeyRow(b, h, j);
          const double p = std::exp(s[static_cast<std::size_t>(j)] - lse);
          const double kept = a.Kept(b, h, i, j);
          const std::span<const double> v_j = a.Row(a.v, key_row);
          const double dp = Dot(do_i, v_j);
          const double ds =
              p * (is_signed ? kept * dp - delta : kept * Magnitude(dp, do_i, v_j) + delta_size);
          const auto add = is_signed ? &AddScaled : &AddMagnitudes;
          add(kept * p, do_i, a.Row(std::span(dv), key_row));
          add(terms.scale * ds, a.Row(std::span(a.k[0]), key_row), a.Row(std::span(dq), row));
          add(terms.scale * ds, a.Row(std::span(a.q[0]), row), a.Row(std::span(dk), key_row));
          AddTermGradients(a, {.b = b, .h = h, .i = i, .j = j}, ds, sums, terms_gradient);
        }
      }
    }
  }
  AttentionGradient gradient = std::move(terms_gradient);
  const auto turned_back = [&](std::vector<double>& x, Side side) {
    return is_signed ? Rotate(x, n, terms, nullptr, side, true) : std::move(x);
  };
  gradient.q = turned_back(dq, Side::kQuery);
  gradient.k = turned_back(dk, Side::kKey);
  gradient.v = std::move(dv);
  return gradient;
}

}  // namespace longrun
