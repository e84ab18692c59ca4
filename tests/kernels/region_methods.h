// The regions of published methods for T_q queries at q_offset and T_k keys, and beside them what
// the method's own formulas say of a pair: whether the query sees the key, and the distance that
// the key is turned away by. They share nothing, so that one is tested by the other.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention_terms.h"

namespace longrun::testing {

struct RegionNumbers {
  std::vector<std::int32_t> key_begin = {}, query_row = {}, key_row = {};
  std::vector<std::int32_t> blended_row = {};
  std::vector<double> blended_weight = {};  // empty: not blended
};

struct RegionMethod {
  std::string name;
  std::vector<RegionNumbers> regions = {};
  std::int64_t steps = 1;  // rows of the rotation's table from one position to the next
  std::int64_t window = 0, n_sink = 0;                            // of Visibility
  std::function<bool(std::int64_t p, std::int64_t j)> sees = {};  // of j <= p
  std::function<double(std::int64_t p, std::int64_t j)> distance = {};
  // Where there are two distances, the other one and what it weighs.
  std::function<double(std::int64_t p, std::int64_t j)> other_distance = {}, weight = {};

  std::vector<Region> Views() const {
    std::vector<Region> views;
    views.reserve(regions.size());
    for (const RegionNumbers& numbers : regions) {
      views.push_back({.key_begin = numbers.key_begin,
                       .query_row = numbers.query_row,
                       .key_row = numbers.key_row});
      if (numbers.blended_weight.empty()) continue;
      views.back().blended =
          BlendedKeys{.row = numbers.blended_row, .weight = numbers.blended_weight};
    }
    return views;
  }
};

struct Stretch {
  std::int64_t n_query = 0, n_key = 0, q_offset = 0;

  // f(0), f(1), ... f(n - 1)
  template <typename Function>
  static std::vector<std::int32_t> Each(std::int64_t n, const Function& f) {
    std::vector<std::int32_t> numbers;
    numbers.reserve(static_cast<std::size_t>(n));
    for (std::int64_t at = 0; at < n; ++at) numbers.push_back(static_cast<std::int32_t>(f(at)));
    return numbers;
  }
  // f(p) of each query's position.
  template <typename Function>
  std::vector<std::int32_t> Queries(const Function& f) const {
    return Each(n_query, [&](std::int64_t i) { return f(q_offset + i); });
  }
  template <typename Function>
  std::vector<std::int32_t> Keys(const Function& f) const {
    return Each(n_key, f);
  }
  // f(p), within what a key_begin may be.
  template <typename Function>
  std::vector<std::int32_t> Begins(const Function& f) const {
    return Queries([&](std::int64_t p) { return std::clamp<std::int64_t>(f(p), 0, n_key); });
  }
};

// arXiv:2401.01325: beyond a window of w, positions are divided by g and rounded down. With
// `exact_offset`, w / g is not rounded, as in the authors' prefill.
inline RegionMethod SelfExtend(const Stretch& n, std::int64_t g, std::int64_t w,
                               bool exact_offset = false) {
  const std::int64_t steps = exact_offset ? g : 1;
  const std::int64_t shift = exact_offset ? g * w - w : w - w / g;  // in steps
  RegionMethod method = {.name = "SelfExtend", .steps = steps};
  method.regions = {{.key_begin = n.Begins([&](std::int64_t p) { return p - w + 1; }),
                     .query_row = n.Queries([&](std::int64_t p) { return p * steps; }),
                     .key_row = n.Keys([&](std::int64_t j) { return j * steps; })},
                    {.query_row = n.Queries([&](std::int64_t p) { return p / g * steps + shift; }),
                     .key_row = n.Keys([&](std::int64_t j) { return j / g * steps; })}};
  method.sees = [](std::int64_t, std::int64_t) { return true; };
  method.distance = [=](std::int64_t p, std::int64_t j) {
    if (p - j < w) return static_cast<double>(p - j);
    const double offset =
        exact_offset ? static_cast<double>(w) - static_cast<double>(w) / static_cast<double>(g)
                     : static_cast<double>(w - w / g);
    return static_cast<double>(p / g - j / g) + offset;
  };
  return method;
}

// kexue.fm/archives/9708: beyond a window of w all keys are w away (k = 0),
// or w and the rest divided by k.
inline RegionMethod ReRope(const Stretch& n, std::int64_t w, std::int64_t k) {
  RegionMethod method = {.name = k == 0 ? "ReRoPE" : "Leaky ReRoPE",
                         .steps = std::max<std::int64_t>(1, k)};
  const std::int64_t steps = method.steps;
  method.regions = {
      {.key_begin = n.Begins([&](std::int64_t p) { return p - w + 1; }),
       .query_row = n.Queries([&](std::int64_t p) { return p * steps; }),
       .key_row = n.Keys([&](std::int64_t j) { return j * steps; })},
      {.query_row = n.Queries([&](std::int64_t p) { return k == 0 ? w : p + w * (k - 1); }),
       .key_row = n.Keys([&](std::int64_t j) { return k == 0 ? 0 : j; })}};
  method.sees = [](std::int64_t, std::int64_t) { return true; };
  method.distance = [=](std::int64_t p, std::int64_t j) {
    const auto far = static_cast<double>(p - j - w);
    if (far < 0.0) return static_cast<double>(p - j);
    return static_cast<double>(w) + (k == 0 ? 0.0 : far / static_cast<double>(k));
  };
  return method;
}

// arXiv:2402.17463: chunks of c keys, of which a query sees its own, the one before and the older
// ones each from another position; s is the largest position of a query for a near chunk.
inline RegionMethod ChunkLlama(const Stretch& n, std::int64_t c, std::int64_t s) {
  const std::vector<std::int32_t> key_row = n.Keys([&](std::int64_t j) { return j % c; });
  RegionMethod method = {.name = "ChunkLlama"};
  method.regions = {{.key_begin = n.Begins([&](std::int64_t p) { return p / c * c; }),
                     .query_row = n.Queries([&](std::int64_t p) { return p % c; }),
                     .key_row = key_row},
                    {.key_begin = n.Begins([&](std::int64_t p) { return (p / c - 1) * c; }),
                     .query_row = n.Queries([&](std::int64_t p) { return std::min(p % c + c, s); }),
                     .key_row = key_row},
                    {.query_row = n.Queries([&](std::int64_t) { return std::min(2 * c - 1, s); }),
                     .key_row = key_row}};
  method.sees = [](std::int64_t, std::int64_t) { return true; };
  method.distance = [=](std::int64_t p, std::int64_t j) {
    const std::int64_t chunks = p / c - j / c;
    const std::int64_t query = chunks == 0   ? p % c
                               : chunks == 1 ? std::min(p % c + c, s)
                                             : std::min(2 * c - 1, s);
    return static_cast<double>(query - j % c);
  };
  return method;
}

// arXiv:2309.17453: the first s keys and the last r, at their places in the cache that
// holds no others.
inline RegionMethod StreamingLlm(const Stretch& n, std::int64_t s, std::int64_t r) {
  const auto dropped = [=](std::int64_t p) { return std::max<std::int64_t>(0, p + 1 - (s + r)); };
  RegionMethod method = {.name = "StreamingLLM", .window = r, .n_sink = s};
  method.regions = {{.key_begin = n.Begins([&](std::int64_t) { return s; }),
                     .query_row = n.Queries([](std::int64_t p) { return p; }),
                     .key_row = n.Keys([](std::int64_t j) { return j; })},
                    {.query_row = n.Queries([&](std::int64_t p) { return p - dropped(p); }),
                     .key_row = n.Keys([](std::int64_t j) { return j; })}};
  method.sees = [=](std::int64_t p, std::int64_t j) { return j < s || j >= s + dropped(p); };
  method.distance = [=](std::int64_t p, std::int64_t j) {
    return static_cast<double>(j < s ? p - dropped(p) - j : p - j);
  };
  return method;
}

// arXiv:2308.16137: the last `local` keys at their distances,
// the first `global` ones all at `limit`.
inline RegionMethod LmInfinite(const Stretch& n, std::int64_t local, std::int64_t global,
                               std::int64_t limit) {
  RegionMethod method = {.name = "LM-Infinite", .window = local, .n_sink = global};
  method.regions = {{.key_begin = n.Begins([&](std::int64_t p) { return p - local + 1; }),
                     .query_row = n.Queries([](std::int64_t p) { return p; }),
                     .key_row = n.Keys([](std::int64_t j) { return j; })},
                    {.query_row = n.Queries([&](std::int64_t) { return limit; }),
                     .key_row = n.Keys([](std::int64_t) { return 0; })}};
  method.sees = [=](std::int64_t p, std::int64_t j) { return p - j < local || j < global; };
  method.distance = [=](std::int64_t p, std::int64_t j) {
    return static_cast<double>(p - j < local ? p - j : limit);
  };
  return method;
}

// The positions of n tokens by arXiv:2502.02659 for a model of `length` positions: the first keys
// get g = ceil((n - window) / (length - window)) of them to a whole position, as few as will do.
inline std::vector<double> GaliPositions(std::int64_t length, std::int64_t window, std::int64_t n) {
  std::vector<double> positions;
  std::int64_t m = 0;  // the whole positions that are shared
  if (n > length) {
    const std::int64_t free = length - window;
    const std::int64_t g = (n - window + free - 1) / free;
    for (; length - m + static_cast<std::int64_t>(positions.size()) < n; ++m) {
      for (std::int64_t part = 0; part < g; ++part) {
        positions.push_back(static_cast<double>(m) +
                            static_cast<double>(part) / static_cast<double>(g));
      }
    }
    positions.resize(static_cast<std::size_t>(n - (length - m)));
  }
  for (; static_cast<std::int64_t>(positions.size()) < n; ++m) {
    positions.push_back(static_cast<double>(m));
  }
  return positions;
}

// arXiv:2502.02659: a query's position is rounded up, and a score taken between those of the two
// whole distances around that to a key's.
inline RegionMethod Gali(const Stretch& n, std::int64_t length, std::int64_t window) {
  const std::vector<double> at = GaliPositions(length, window, n.n_key);
  const auto position = [=](std::int64_t t) { return at[static_cast<std::size_t>(t)]; };
  RegionMethod method = {.name = "GALI"};
  method.regions = {
      {.query_row = n.Queries([&](std::int64_t p) { return std::ceil(position(p)); }),
       .key_row = n.Keys([&](std::int64_t j) { return std::ceil(position(j)); }),
       .blended_row = n.Keys([&](std::int64_t j) { return std::floor(position(j)); })}};
  for (const double p : at) method.regions[0].blended_weight.push_back(std::ceil(p) - p);
  method.sees = [](std::int64_t, std::int64_t) { return true; };
  method.distance = [=](std::int64_t p, std::int64_t j) {
    return std::ceil(position(p)) - std::ceil(position(j));
  };
  method.other_distance = [=](std::int64_t p, std::int64_t j) {
    return std::ceil(position(p)) - std::floor(position(j));
  };
  method.weight = [=](std::int64_t p, std::int64_t j) {
    const double apart = std::ceil(position(p)) - position(j);
    return apart - std::floor(apart);
  };
  return method;
}

// To 8 significant bits; ties to the even one, as std::nearbyint rounds by default.
inline double ToEightBits(double x) {
  int exponent = 0;
  const double mantissa = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8);
}

// The same by the authors' code with a model in bf16: positions in fp32 become bf16 before they are
// subtracted, and the difference is a bf16 number again. One weight for each key is not enough, so
// there are no regions.
inline RegionMethod GaliInBf16(const Stretch& n, std::int64_t length, std::int64_t window) {
  RegionMethod method = Gali(n, length, window);
  const std::vector<double> at = GaliPositions(length, window, n.n_key);
  method.name = "GALI in bf16";
  method.regions.clear();
  method.weight = [=](std::int64_t p, std::int64_t j) {
    const auto position = [&](std::int64_t t) {
      return static_cast<double>(static_cast<float>(at[static_cast<std::size_t>(t)]));
    };
    const double apart =
        ToEightBits(ToEightBits(std::ceil(position(p))) - ToEightBits(position(j)));
    return apart - std::floor(apart);
  };
  return method;
}

// One of them, with numbers that fit the stretch.
template <typename Random>
RegionMethod AnyRegionMethod(const Stretch& n, Random& random) {
  const auto between = [&](std::int64_t from, std::int64_t to) {
    return from +
           static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(to - from + 1)));
  };
  const std::int64_t near = between(1, n.n_key);
  switch (random.Below(7)) {
    case 0:
      return SelfExtend(n, between(2, 5), near);
    case 1:
      return SelfExtend(n, between(2, 5), near, true);
    case 2:
      return ReRope(n, near, 0);
    case 3:
      return ChunkLlama(n, std::max<std::int64_t>(2, near), near + between(0, near));
    case 4:
      return StreamingLlm(n, between(1, 9), near);
    case 5:
      return Gali(n, near + 1, between(1, near));
    default:
      return random.Below(2) == 0 ? LmInfinite(n, near, between(1, 9), near)
                                  : ReRope(n, near, between(2, 4));
  }
}

}  // namespace longrun::testing
