#include "tests/kernels/attention_problem.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numbers>
#include <thread>

#include "base/check.h"
#include "base/str.h"
#include "kernels/merge.h"
#include "kernels/reference/kernel.h"
#include "kernels/rotation.h"
#include "tests/commit_seed.h"

namespace longrun::testing {
namespace {

constexpr std::int64_t kGuard = 64;  // elements on either side
// What is 0 but for the reference's own rounding (the gradient of a row that sees one key) is
// compared with numbers of order 1, as all inputs are.
constexpr double kNothing = 1e-12;

std::int64_t Bytes(Scalar scalar) {
  return HasTwoBytes(scalar) ? 2 : scalar == Scalar::kFp32 ? 4 : 8;
}

}  // namespace

double Gaussian(SeededRandom& random) {
  const double u = 1.0 - random.Uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * random.Uniform());
}

std::vector<double> Gaussians(SeededRandom& random, std::int64_t n, double scale) {
  std::vector<double> x;
  x.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) x.push_back(scale * Gaussian(random));
  return x;
}

HeadsTensor::HeadsTensor(Scalar scalar, std::int64_t batch, std::int64_t n_row, std::int64_t n_head,
                         std::int64_t head_dim, std::int64_t gap)
    : layout_{.scalar = scalar,
              .batch = batch,
              .n_row = n_row,
              .n_head = n_head,
              .head_dim = head_dim,
              .batch_step = n_row * (n_head * head_dim + gap),
              .row_step = n_head * head_dim + gap,
              .head_step = head_dim} {
  const std::int64_t n = batch * layout_.batch_step + 2 * kGuard;
  bytes_.resize(static_cast<std::size_t>(n * Bytes(scalar)));
  layout_.data = bytes_.data() + kGuard * Bytes(scalar);
  for (std::int64_t at = -kGuard; at < n - kGuard; ++at) {
    StoreScalar(scalar, layout_.data, at, std::numeric_limits<double>::quiet_NaN());
  }
}

template <typename Visit>
void HeadsTensor::ForEach(Visit&& visit) const {
  const HeadsBuffer& x = layout_;
  std::size_t dense = 0;
  for (std::int64_t b = 0; b < x.batch; ++b) {
    for (std::int64_t t = 0; t < x.n_row; ++t) {
      for (std::int64_t h = 0; h < x.n_head; ++h) {
        for (std::int64_t c = 0; c < x.head_dim; ++c) {
          visit(dense++, b * x.batch_step + t * x.row_step + h * x.head_step + c);
        }
      }
    }
  }
}

void HeadsTensor::Fill(std::span<const double> dense) {
  ForEach([&](std::size_t i, std::int64_t at) {
    StoreScalar(layout_.scalar, layout_.data, at, dense[i]);
  });
}

std::vector<double> HeadsTensor::Read() const {
  std::vector<double> dense(
      static_cast<std::size_t>(layout_.batch * layout_.n_row * layout_.n_head * layout_.head_dim));
  ForEach([&](std::size_t i, std::int64_t at) {
    dense[i] = LoadScalar(layout_.scalar, layout_.data, at);
  });
  return dense;
}

HeadsView HeadsTensor::View() const {
  return {.data = layout_.data,
          .scalar = layout_.scalar,
          .batch = layout_.batch,
          .n_row = layout_.n_row,
          .n_head = layout_.n_head,
          .head_dim = layout_.head_dim,
          .batch_step = layout_.batch_step,
          .row_step = layout_.row_step,
          .head_step = layout_.head_step};
}

HeadsBuffer HeadsTensor::Buffer() { return layout_; }

bool HeadsTensor::GuardsHold() const {
  const std::int64_t n = layout_.batch * layout_.batch_step;
  std::vector<bool> written(static_cast<std::size_t>(n));
  ForEach([&](std::size_t, std::int64_t at) { written[static_cast<std::size_t>(at)] = true; });
  for (std::int64_t at = -kGuard; at < n + kGuard; ++at) {
    if (at >= 0 && at < n && written[static_cast<std::size_t>(at)]) continue;
    if (!std::isnan(LoadScalar(layout_.scalar, layout_.data, at))) return false;
  }
  return true;
}

NumbersTensor::NumbersTensor(Scalar scalar, std::size_t n)
    : storage_(scalar, 1, static_cast<std::int64_t>(n), 1, 1) {}

void NumbersTensor::Fill(std::span<const double> numbers) { storage_.Fill(numbers); }

std::vector<double> NumbersTensor::Read() const { return storage_.Read(); }

NumbersView NumbersTensor::View() const {
  const HeadsView x = storage_.View();
  return {x.data, x.n_row, x.scalar, x.memory};
}

NumbersBuffer NumbersTensor::Buffer() {
  const HeadsBuffer x = storage_.Buffer();
  return {x.data, x.n_row, x.scalar, x.memory};
}

bool NumbersTensor::GuardsHold() const { return storage_.GuardsHold(); }

Problem::Problem(const ProblemShape& the_shape, Scalar the_scalar, SeededRandom& random,
                 double magnitude)
    : shape(the_shape), scalar(the_scalar), o_scalar(the_scalar) {
  const auto fill = [&](std::int64_t n_row, std::int64_t n_head, double scale) {
    HeadsTensor rounded(scalar, shape.batch, n_row, n_head, shape.head_dim);
    rounded.Fill(Gaussians(random, shape.batch * n_row * n_head * shape.head_dim, scale));
    return rounded.Read();
  };
  q = fill(shape.n_query, shape.n_head, magnitude);
  k = fill(shape.n_key, shape.n_kv_head, magnitude);
  v = fill(shape.n_key, shape.n_kv_head, 1.0);
  o_gradient = fill(shape.n_query, shape.n_head, 1.0);
  terms.scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
}

// A random walk: what prefix sums are.
void Problem::AddKeyBias(SeededRandom& random, bool two_sided, double drift) {
  for (std::int64_t head = 0; head < shape.batch * shape.n_head; ++head) {
    double sum = 10.0 * Gaussian(random);
    for (std::int64_t j = 0; j < shape.n_key; ++j) {
      sum -= drift + 0.2 * Gaussian(random);
      key_bias.push_back(two_sided ? -sum : sum);
    }
  }
  terms.key_bias = KeyBias{.values = key_bias, .two_sided = two_sided};
}

void Problem::AddSlopes() {
  for (std::int64_t h = 0; h < shape.n_head; ++h) {
    slopes.push_back(
        std::exp2(-8.0 * static_cast<double>(h + 1) / static_cast<double>(shape.n_head)));
  }
  terms.key_bias = KeyBias{.slope = slopes};
}

void Problem::AddDistanceTable(SeededRandom& random, std::int64_t n_distance,
                               std::int64_t n_ahead) {
  table = Gaussians(random, shape.n_head * n_distance);
  terms.distance_table =
      DistanceTable{.values = table, .n_distance = n_distance, .n_ahead = n_ahead};
}

void Problem::AddPiecewise(SeededRandom& random, int n_knot) {
  const std::int64_t n_position = std::max(shape.n_key, terms.visibility.q_offset + shape.n_query);
  for (std::int64_t t = 0; t < n_position; ++t) {
    psi.push_back(std::log1p(0.3 * static_cast<double>(t)));
    row_factor.push_back(1.0 / std::log1p(0.3 * std::max(20.0, static_cast<double>(t))));
  }
  // No argument lies so near a knot that it could be rounded to the other side, and would count for
  // the gradient of another segment.
  std::vector<double> arguments;
  for (const double distance : psi) {
    for (const double factor : row_factor) arguments.push_back(distance * factor);
  }
  std::ranges::sort(arguments);
  constexpr double kNear = 5e-7;
  for (int i = 0; i < n_knot; ++i) {
    double knot = 0.21 + 0.69 * i / std::max(1, n_knot - 1);
    const auto above = [&](double x) { return std::ranges::lower_bound(arguments, x); };
    while (above(knot - kNear) != above(knot + kNear)) knot += kNear;
    knots.push_back(knot);
  }
  // A continuous function, as a network's is.
  const double spread = 4.0 / std::sqrt(static_cast<double>(std::max(1, n_knot)));
  for (std::int64_t h = 0; h < shape.n_head; ++h) {
    double before = Gaussian(random), value = 0.0;
    slope.push_back(before);
    intercept.push_back(value);
    for (const double knot : knots) {
      const double after = spread * Gaussian(random);
      value += (before - after) * knot;
      slope.push_back(after);
      intercept.push_back(value);
      before = after;
    }
  }
  terms.piecewise = PiecewiseLinear{
      .psi = psi, .row_factor = row_factor, .knots = knots, .slope = slope, .intercept = intercept};
}

void Problem::AddRotation(bool half, std::int64_t n_rotary, bool grows, std::int64_t spare) {
  std::vector<double> frequency;
  for (std::int64_t c = 0; c < n_rotary / 2; ++c) {
    frequency.push_back(
        std::pow(10000.0, -2.0 * static_cast<double>(c) / static_cast<double>(n_rotary)));
  }
  const std::int64_t n_position =
      spare * std::max(shape.n_key, terms.visibility.q_offset + shape.n_query);
  const RotationTableData data = MakeRotationTable(frequency, n_position);
  cos = data.cos;
  sin = data.sin;
  if (grows) {
    for (std::int64_t t = 0; t < n_position; ++t) {
      for (std::int64_t c = 0; c < n_rotary / 2; ++c) {
        growth.push_back(std::exp(-0.002 * static_cast<double>((c + 1) * t)));
      }
    }
  }
  terms.rotation = RotationTable{
      .cos = cos,
      .sin = sin,
      .n_rotary = n_rotary,
      .layout = half ? RotationTable::Layout::kHalf : RotationTable::Layout::kInterleaved,
      .growth = growth};
}

void Problem::AddRotationRows(SeededRandom& random) {
  const std::int64_t n_position = std::max(shape.n_key, terms.visibility.q_offset + shape.n_query);
  const std::uint64_t n_row = cos.size() / static_cast<std::size_t>(terms.rotation->n_rotary / 2);
  rotation_rows.resize(static_cast<std::size_t>(shape.batch * n_position));
  for (std::int32_t& row : rotation_rows) row = static_cast<std::int32_t>(random.Below(n_row));
  terms.rotation->row = rotation_rows;
}

void Problem::AddRegions(SeededRandom& random, std::size_t n_region, bool blended) {
  const std::uint64_t n_row = cos.size() / static_cast<std::size_t>(std::max<std::int64_t>(
                                               1, terms.rotation->n_rotary / 2));
  const auto below = [&](std::uint64_t bound) {
    return static_cast<std::int32_t>(random.Below(bound));
  };
  const auto rows = [&](std::int64_t n) {
    std::vector<std::int32_t> x(static_cast<std::size_t>(n));
    for (std::int32_t& row : x) row = below(n_row);
    return region_numbers.emplace_back(std::move(x)).data();
  };
  const auto n_query = static_cast<std::size_t>(shape.n_query);
  const auto n_key = static_cast<std::size_t>(shape.n_key);
  for (std::size_t r = 0; r < n_region; ++r) {
    regions.push_back({.query_row = {rows(shape.n_query), n_query}});
    regions[r].key_row =
        r == 1 && n_region == 3 ? regions[0].key_row : std::span(rows(shape.n_key), n_key);
    // Of two regions that share the rows of their keys, one alone blends them.
    if (blended && r != 1) {
      std::vector<double>& weights = blended_weights.emplace_back();
      weights.reserve(n_key);
      // Nothing and all among them.
      for (std::size_t j = 0; j < n_key; ++j) {
        weights.push_back(std::clamp(1.2 * random.Uniform() - 0.1, 0.0, 1.0));
      }
      regions[r].blended = BlendedKeys{.row = {rows(shape.n_key), n_key}, .weight = weights};
    }
    if (r + 1 == n_region) continue;
    std::vector<std::int32_t> begin(n_query);
    for (std::size_t i = 0; i < n_query; ++i) {
      const std::int32_t end =
          r == 0 ? static_cast<std::int32_t>(n_key) : regions[r - 1].key_begin[i];
      // Anywhere, nowhere, and in the tiles of the neighbours.
      const std::int32_t near = end - below(static_cast<std::uint64_t>(std::min(end, 40)) + 1);
      begin[i] = random.Chance(0.5) ? near : below(static_cast<std::uint64_t>(end) + 1);
    }
    regions[r].key_begin = region_numbers.emplace_back(std::move(begin));
  }
  terms.regions = regions;
}

void Problem::SetDocuments(std::vector<std::int32_t> cu_seqlens) {
  const std::vector<std::int32_t> begins = DocumentBegins(cu_seqlens);
  const std::int64_t n_position = std::max(shape.n_key, terms.visibility.q_offset + shape.n_query);
  LR_CHECK(static_cast<std::int64_t>(begins.size()) == n_position);
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    documents.insert(documents.end(), begins.begin(), begins.end());
  }
  terms.visibility.document_begin = documents;
}

void Problem::AddSubnormals(SeededRandom& random) {
  constexpr double kTiny =
      0x1p-128;  // a subnormal number of one or two bits in bf16, of 21 in fp32
  for (std::vector<double>* numbers : {&q, &k, &v, &o_gradient}) {
    for (double& x : *numbers) {
      if (random.Chance(0.1)) x = random.Chance(0.5) ? kTiny : -kTiny;
    }
  }
}

std::string Problem::Name() const {
  const Visibility& see = terms.visibility;
  return Str(
      ScalarName(scalar), " B=", shape.batch, " H=", shape.n_head, "/", shape.n_kv_head,
      " Tq=", shape.n_query, " Tk=", shape.n_key, " D=", shape.head_dim,
      see.causal ? " causal" : " bidirectional", " offset=", see.q_offset, " window=", see.window,
      " sinks=", see.n_sink, see.document_begin.empty() ? "" : " documents",
      terms.key_bias ? (terms.key_bias->two_sided ? " two-sided" : " key-bias") : "",
      terms.rotation ? " rotation" : "", rotation_rows.empty() ? "" : " of rows",
      terms.regions.empty()
          ? ""
          : Str(" regions=", terms.regions.size(), blended_weights.empty() ? "" : " blended"),
      terms.distance_table ? " distances" : "", terms.piecewise ? " piecewise" : "",
      terms.dropout ? " dropout" : "", " seed=", CommitSeed());
}

Outcome RunKernel(const AttentionKernel& kernel, const Problem& problem,
                  const AttentionKernelOptions& options, SubnormalTraces* traces) {
  const auto watched = [traces](const auto& call) {
    if (traces == nullptr) {
      call();
    } else {
      traces->Watch(call);
    }
  };
  const ProblemShape& n = problem.shape;
  const Scalar scalar = problem.scalar;
  const auto queries = [&] {
    return HeadsTensor(scalar, n.batch, n.n_query, n.n_head, n.head_dim, problem.gap);
  };
  const auto keys = [&] {
    return HeadsTensor(scalar, n.batch, n.n_key, n.n_kv_head, n.head_dim, problem.gap);
  };
  const bool wide = HasTwoBytes(scalar) && problem.o_scalar == Scalar::kFp32;
  const Scalar o_type = wide ? Scalar::kFp32 : scalar;
  HeadsTensor q = queries(), o_gradient = queries(), dq = queries();
  HeadsTensor o(o_type, n.batch, n.n_query, n.n_head, n.head_dim, problem.gap);
  HeadsTensor k = keys(), v = keys(), dk = keys(), dv = keys();
  q.Fill(problem.q);
  k.Fill(problem.k);
  v.Fill(problem.v);
  o_gradient.Fill(problem.o_gradient);

  Outcome out;
  NumbersTensor lse(problem.lse_scalar, static_cast<std::size_t>(n.batch * n.n_head * n.n_query));
  out.first_key.assign(static_cast<std::size_t>(n.batch * n.n_head * VisitedKeys::Count(n.n_query)),
                       -1);
  const AttentionInputs inputs = {.q = q.View(), .k = k.View(), .v = v.View()};
  Status forward;
  watched([&] {
    forward = kernel.forward({.inputs = inputs,
                              .o = o.Buffer(),
                              .lse = lse.Buffer(),
                              .first_key = out.first_key,
                              .n_tiles = &out.n_tiles},
                             problem.terms, options);
  });
  if (!forward.ok()) std::fprintf(stderr, "%s\n", forward.message().c_str());
  LR_CHECK(forward.ok());

  out.o = o.Read();
  out.lse = lse.Read();
  if (traces != nullptr) traces->CountResults(out.o);
  HeadsTensor o_stored(problem.o_scalar, n.batch, n.n_query, n.n_head, n.head_dim);
  o_stored.Fill(out.o);
  if (problem.o_scalar != o_type) o.Fill(o_stored.Read());
  if (!problem.terms.regions.empty()) {
    for (const HeadsTensor* tensor : {&q, &k, &v, &o}) {
      out.guards_hold = out.guards_hold && tensor->GuardsHold();
    }
    return out;
  }

  const auto numbers = [&](std::size_t size) {
    return NumbersTensor(problem.gradient_scalar, size);
  };
  NumbersTensor d_key_bias =
      numbers(problem.terms.key_bias ? static_cast<std::size_t>(n.batch * n.n_head * n.n_key) : 0);
  NumbersTensor d_distance_table = numbers(problem.table.size());
  NumbersTensor d_slope = numbers(problem.slope.size());
  NumbersTensor d_intercept = numbers(problem.intercept.size());
  NumbersTensor d_psi = numbers(problem.psi.size());
  NumbersTensor d_row_factor = numbers(problem.row_factor.size());
  const std::span<const std::int32_t> first_key =
      options.skip_epsilon > 0.0 ? out.first_key : std::span<const std::int32_t>();
  Status backward;
  watched([&] {
    backward = kernel.backward({.inputs = inputs,
                                .o = o.View(),
                                .do_ = o_gradient.View(),
                                .lse = lse.View(),
                                .first_key = first_key,
                                .dq = dq.Buffer(),
                                .dk = dk.Buffer(),
                                .dv = dv.Buffer(),
                                .d_key_bias = d_key_bias.Buffer(),
                                .d_distance_table = d_distance_table.Buffer(),
                                .d_slope = d_slope.Buffer(),
                                .d_intercept = d_intercept.Buffer(),
                                .d_psi = d_psi.Buffer(),
                                .d_row_factor = d_row_factor.Buffer()},
                               problem.terms, options);
  });
  if (!backward.ok()) std::fprintf(stderr, "%s\n", backward.message().c_str());
  LR_CHECK(backward.ok());
  out.dq = dq.Read();
  out.dk = dk.Read();
  out.dv = dv.Read();
  out.d_key_bias = d_key_bias.Read();
  out.d_distance_table = d_distance_table.Read();
  out.d_slope = d_slope.Read();
  out.d_intercept = d_intercept.Read();
  out.d_psi = d_psi.Read();
  out.d_row_factor = d_row_factor.Read();
  for (const NumbersTensor* tensor :
       {&lse, &d_key_bias, &d_distance_table, &d_slope, &d_intercept, &d_psi, &d_row_factor}) {
    out.guards_hold = out.guards_hold && tensor->GuardsHold();
  }
  if (traces != nullptr) {
    for (const std::vector<double>* written : {&out.dq, &out.dk, &out.dv}) {
      traces->CountResults(*written);
    }
  }
  for (const HeadsTensor* tensor : {&q, &k, &v, &o, &o_gradient, &dq, &dk, &dv}) {
    out.guards_hold = out.guards_hold && tensor->GuardsHold();
  }
  return out;
}

namespace {

// Rows [begin, end) of each series of `length` rows of `width` numbers.
template <typename T>
std::vector<T> Cut(std::span<const T> x, std::int64_t length, std::int64_t width,
                   std::int64_t begin, std::int64_t end) {
  std::vector<T> part;
  for (std::int64_t at = 0; at < static_cast<std::int64_t>(x.size()); at += length * width) {
    const auto series = x.begin() + at;
    part.insert(part.end(), series + begin * width, series + end * width);
  }
  return part;
}

// Puts rows [begin, ...) of each series where Cut took them from.
void Paste(std::span<const double> part, std::int64_t length, std::int64_t width,
           std::int64_t begin, std::vector<double>& x) {
  const std::int64_t n_series = static_cast<std::int64_t>(x.size()) / (length * width);
  const auto n_part = static_cast<std::int64_t>(part.size()) / std::max<std::int64_t>(1, n_series);
  for (std::int64_t s = 0; s < n_series; ++s) {
    std::ranges::copy(
        part.subspan(static_cast<std::size_t>(s * n_part), static_cast<std::size_t>(n_part)),
        x.begin() + (s * length + begin) * width);
  }
}

// The keys [begin, end) of a problem alone. It views numbers of `whole`.
Problem PartOf(const Problem& whole, std::int64_t begin, std::int64_t end) {
  const ProblemShape& n = whole.shape;
  const Visibility& see = whole.terms.visibility;
  Problem part = whole;
  part.shape.n_key = end - begin;
  part.terms.visibility.k_offset = see.k_offset + begin;
  const std::int64_t width = n.n_kv_head * n.head_dim;
  part.k = Cut<double>(whole.k, n.n_key, width, begin, end);
  part.v = Cut<double>(whole.v, n.n_key, width, begin, end);
  if (!whole.key_bias.empty()) {
    part.key_bias = Cut<double>(whole.key_bias, n.n_key, 1, begin, end);
    part.terms.key_bias->values = part.key_bias;
  }
  const auto positions = [&](std::int64_t n_key_end) {
    return std::max(see.k_offset + n_key_end, see.q_offset + n.n_query);
  };
  if (!whole.documents.empty()) {
    part.documents = Cut<std::int32_t>(whole.documents, positions(n.n_key), 1, 0, positions(end));
    part.terms.visibility.document_begin = part.documents;
  }
  if (!whole.rotation_rows.empty()) {
    part.rotation_rows =
        Cut<std::int32_t>(whole.rotation_rows, positions(n.n_key), 1, 0, positions(end));
    part.terms.rotation->row = part.rotation_rows;
  }
  const auto n_part = static_cast<std::size_t>(end - begin);
  for (Region& region : part.regions) {
    region.key_row = region.key_row.subspan(static_cast<std::size_t>(begin), n_part);
    if (region.blended) {
      region.blended->row = region.blended->row.subspan(static_cast<std::size_t>(begin), n_part);
      region.blended->weight =
          region.blended->weight.subspan(static_cast<std::size_t>(begin), n_part);
    }
    if (region.key_begin.empty()) continue;
    std::vector<std::int32_t> begins(region.key_begin.begin(), region.key_begin.end());
    for (std::int32_t& key : begins) {
      key = static_cast<std::int32_t>(std::clamp<std::int64_t>(key - begin, 0, end - begin));
    }
    region.key_begin = part.region_numbers.emplace_back(std::move(begins));
  }
  part.terms.regions = part.regions;
  return part;
}

void AddTo(std::vector<double>& sum, const std::vector<double>& x) {
  sum.resize(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) sum[i] += x[i];
}

}  // namespace

Outcome RunParts(const AttentionKernel& kernel, const Problem& problem,
                 std::span<const std::int64_t> cuts) {
  const ProblemShape& n = problem.shape;
  const Scalar o_scalar = HasTwoBytes(problem.scalar) ? Scalar::kFp32 : problem.scalar;
  const auto outputs = [&] {
    return HeadsTensor(o_scalar, n.batch, n.n_query, n.n_head, n.head_dim, problem.gap);
  };
  const auto queries = [&] {
    return HeadsTensor(problem.scalar, n.batch, n.n_query, n.n_head, n.head_dim, problem.gap);
  };
  const auto keys = [&](std::int64_t n_key) {
    return HeadsTensor(problem.scalar, n.batch, n_key, n.n_kv_head, n.head_dim, problem.gap);
  };
  const auto statistics = [&] {
    return NumbersTensor(problem.lse_scalar,
                         static_cast<std::size_t>(n.batch * n.n_head * n.n_query));
  };
  struct Part {
    Problem problem;
    std::int64_t begin;
    HeadsTensor q, k, v, o;
    NumbersTensor lse;
    AttentionInputs Inputs() const { return {.q = q.View(), .k = k.View(), .v = v.View()}; }
  };
  std::vector<Part> parts;
  parts.reserve(cuts.size() + 1);
  for (std::size_t at = 0; at <= cuts.size(); ++at) {
    const std::int64_t begin = at == 0 ? 0 : cuts[at - 1];
    const std::int64_t end = at == cuts.size() ? n.n_key : cuts[at];
    Part& part = parts.emplace_back(Part{.problem = PartOf(problem, begin, end),
                                         .begin = begin,
                                         .q = queries(),
                                         .k = keys(end - begin),
                                         .v = keys(end - begin),
                                         .o = outputs(),
                                         .lse = statistics()});
    part.q.Fill(part.problem.q);
    part.k.Fill(part.problem.k);
    part.v.Fill(part.problem.v);
    const Status status =
        kernel.forward({.inputs = part.Inputs(), .o = part.o.Buffer(), .lse = part.lse.Buffer()},
                       part.problem.terms, {});
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
    LR_CHECK(status.ok());
  }
  HeadsTensor o = outputs();
  NumbersTensor lse = statistics();
  std::vector<AttentionPart> views;
  for (const Part& part : parts) views.push_back({.o = part.o.View(), .lse = part.lse.View()});
  LR_CHECK(MergeAttention(views, o.Buffer(), lse.Buffer()).ok());

  Outcome out;
  out.o = o.Read();
  out.lse = lse.Read();
  out.guards_hold = o.GuardsHold() && lse.GuardsHold();
  if (!problem.terms.regions.empty()) return out;
  HeadsTensor o_gradient = queries();
  o_gradient.Fill(problem.o_gradient);
  out.dk.resize(problem.k.size());
  out.dv.resize(problem.v.size());
  const bool has_key_bias = problem.terms.key_bias.has_value();
  if (has_key_bias) {
    out.d_key_bias.resize(static_cast<std::size_t>(n.batch * n.n_head * n.n_key));
  }
  for (const Part& part : parts) {
    const std::int64_t n_key = part.problem.shape.n_key;
    HeadsTensor dq = queries(), dk = keys(n_key), dv = keys(n_key);
    const auto numbers = [](std::size_t size) { return std::vector<double>(size); };
    std::vector<double> d_key_bias =
        numbers(has_key_bias ? static_cast<std::size_t>(n.batch * n.n_head * n_key) : 0);
    std::vector<double> d_distance_table = numbers(problem.table.size());
    std::vector<double> d_slope = numbers(problem.slope.size());
    std::vector<double> d_intercept = numbers(problem.intercept.size());
    std::vector<double> d_psi = numbers(problem.psi.size());
    std::vector<double> d_row_factor = numbers(problem.row_factor.size());
    const Status status = kernel.backward({.inputs = part.Inputs(),
                                           .o = o.View(),
                                           .do_ = o_gradient.View(),
                                           .lse = lse.View(),
                                           .dq = dq.Buffer(),
                                           .dk = dk.Buffer(),
                                           .dv = dv.Buffer(),
                                           .d_key_bias = d_key_bias,
                                           .d_distance_table = d_distance_table,
                                           .d_slope = d_slope,
                                           .d_intercept = d_intercept,
                                           .d_psi = d_psi,
                                           .d_row_factor = d_row_factor},
                                          part.problem.terms, {});
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
    LR_CHECK(status.ok());
    AddTo(out.dq, dq.Read());
    Paste(dk.Read(), n.n_key, n.n_kv_head * n.head_dim, part.begin, out.dk);
    Paste(dv.Read(), n.n_key, n.n_kv_head * n.head_dim, part.begin, out.dv);
    if (has_key_bias) Paste(d_key_bias, n.n_key, 1, part.begin, out.d_key_bias);
    AddTo(out.d_distance_table, d_distance_table);
    AddTo(out.d_slope, d_slope);
    AddTo(out.d_intercept, d_intercept);
    AddTo(out.d_psi, d_psi);
    AddTo(out.d_row_factor, d_row_factor);
  }
  return out;
}

Outcome RunReference(const Problem& problem) {
  Problem exact = problem;
  exact.scalar = Scalar::kFp64;
  exact.lse_scalar = exact.gradient_scalar = Scalar::kFp64;
  return RunKernel(kReferenceAttention, exact);
}

Outcome RunMagnitudes(const Problem& problem) {
  Problem exact = problem;
  exact.scalar = Scalar::kFp64;
  exact.lse_scalar = exact.gradient_scalar = Scalar::kFp64;
  return RunKernel(kReferenceMagnitudes, exact);
}

double ErrorBeside(std::span<const double> found, std::span<const double> expected,
                   std::span<const double> size) {
  LR_CHECK(found.size() == expected.size() && size.size() == expected.size());
  double error = 0.0, whole = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (std::isfinite(size[i])) whole += size[i] * size[i];
    if (found[i] == expected[i]) continue;
    if (!std::isfinite(found[i]) || !std::isfinite(expected[i])) {
      return std::numeric_limits<double>::infinity();
    }
    error += (found[i] - expected[i]) * (found[i] - expected[i]);
  }
  if (whole < kNothing * kNothing * static_cast<double>(found.size())) {
    whole = static_cast<double>(found.size());
  }
  return error == 0.0 ? 0.0 : std::sqrt(error / whole);
}

double RelativeError(std::span<const double> found, std::span<const double> expected) {
  return ErrorBeside(found, expected, expected);
}

double RelativeMaxError(std::span<const double> found, std::span<const double> expected) {
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == expected[i]) continue;
    error = std::max(error, std::abs(found[i] - expected[i]));
  }
  for (const double x : expected) {
    if (std::isfinite(x)) size = std::max(size, std::abs(x));
  }
  return error == 0.0 ? 0.0 : error / (size < kNothing ? 1.0 : size);
}

ParallelFor Threads(int n) {
  return [n](std::int64_t n_item, const std::function<void(std::int64_t, std::int64_t)>& body) {
    std::atomic<std::int64_t> next = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < n; ++t) {
      threads.emplace_back([&] {
        for (std::int64_t item = next++; item < n_item; item = next++) body(item, item + 1);
      });
    }
    for (std::thread& thread : threads) thread.join();
  };
}

}  // namespace longrun::testing
