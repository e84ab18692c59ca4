// What every back-end of fused attention must do (kernels/attention.h), run over the back-ends of
// the program that this file is linked into (kernels_under_test.h).
//
// Bounds are relative Frobenius errors against the reference in fp64 on the same rounded inputs; a
// single wrong element is caught by the largest error, which may be 20 times the bound. fp32: sums
// of up to a thousand products. bf16 and fp16: one rounding of each result, 2^-9 or 2^-12.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "base/str.h"
#include "kernels/attention_check.h"
#include "kernels/rotation.h"
#include "kernels/scalar.h"
#include "tests/commit_seed.h"
#include "tests/kernels/attention_problem.h"
#include "tests/kernels/kernels_under_test.h"
#include "tests/kernels/region_methods.h"

namespace longrun {
namespace {

using testing::CommitSeed;
using testing::ErrorBeside;
using testing::KernelUnderTest;
using testing::Outcome;
using testing::Problem;
using testing::ProblemShape;
using testing::RelativeError;
using testing::RelativeMaxError;
using testing::RunKernel;
using testing::RunMagnitudes;
using testing::RunParts;
using testing::RunReference;
using testing::SubnormalTraces;

struct Bounds {
  double o, gradient, term_gradient, lse;
};

Bounds BoundsOf(const KernelUnderTest& tested, Scalar scalar) {
  if (scalar == Scalar::kBf16)
    return {.o = 4e-3, .gradient = 1e-2, .term_gradient = 1e-2, .lse = 1e-3};
  // It has three more bits.
  if (scalar == Scalar::kFp16) {
    return {.o = 5e-4, .gradient = 1.25e-3, .term_gradient = 1.25e-3, .lse = 1.25e-4};
  }
  if (tested.is_exact) {
    return {.o = 1e-7, .gradient = 1e-6, .term_gradient = 1e-6, .lse = 1e-12};
  }
  return {.o = 2e-6, .gradient = 5e-6, .term_gradient = 1e-5, .lse = 2e-6};
}

// A rounded lse rounds the probabilities of backward, and the shares of merged parts.
Bounds BoundsOf(const KernelUnderTest& tested, const Problem& problem) {
  Bounds bounds = BoundsOf(tested, problem.scalar);
  if (problem.lse_scalar == Scalar::kFp64) return bounds;
  return {.o = std::max(bounds.o, 2e-6),
          .gradient = std::max(bounds.gradient, 5e-6),
          .term_gradient = std::max(bounds.term_gradient, 1e-5),
          .lse = std::max(bounds.lse, 2e-6)};
}

void ExpectClose(std::string_view what, std::span<const double> found,
                 std::span<const double> expected, double bound) {
  EXPECT_LE(RelativeError(found, expected), bound) << what;
  EXPECT_LE(RelativeMaxError(found, expected), 20 * bound) << what;
}

// What key biases differ by within the keys of an anchor:
// fp32 rounds them there before it adds them.
double BiasRange(const Problem& problem) {
  const auto n_key = static_cast<std::size_t>(problem.shape.n_key);
  double range = 0.0;
  for (std::size_t at = 0; at < problem.key_bias.size(); ++at) {
    const std::size_t j = at % n_key;
    const std::size_t anchor = at - j % KeyBias::kAnchorKeys;
    range = std::max(range, std::abs(problem.key_bias[at] - problem.key_bias[anchor]));
  }
  return range;
}

void ExpectLse(std::span<const double> found, std::span<const double> expected, double bound,
               double bias_range) {
  const double rounding = std::ldexp(bias_range, -23);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == expected[i]) continue;  // -inf
    EXPECT_NEAR(found[i], expected[i], bound * std::max(1.0, std::abs(expected[i])) + rounding)
        << "lse " << i;
  }
}

// Within the bound of the largest or of the norm; or, where the sums that a gradient is made of
// nearly cancel, within what the type can know of them, beside the absolute values summed: in fp32
// a tenth of the bound. In bf16, each term is rounded twice, as o and as ds, by up to 2^-9 of it
// (in fp16 2^-12); a gradient of two terms may be as wrong as one of them.
void ExpectGradients(const Outcome& found, const Outcome& expected, const Bounds& bounds,
                     const Problem& problem) {
  std::optional<Outcome> magnitudes;
  const auto expect = [&](const char* what, std::vector<double> Outcome::*part, double bound) {
    const std::vector<double>& x = found.*part;
    const std::vector<double>& y = expected.*part;
    if (RelativeError(x, y) <= bound && RelativeMaxError(x, y) <= 20 * bound) return;
    if (!magnitudes) magnitudes = RunMagnitudes(problem);
    const double known = problem.scalar == Scalar::kBf16   ? std::ldexp(1.0, -8)
                         : problem.scalar == Scalar::kFp16 ? std::ldexp(1.0, -11)
                                                           : bound / 10;
    EXPECT_LE(ErrorBeside(x, y, *magnitudes.*part), known)
        << what << ", relative error " << RelativeError(x, y) << ", of the largest "
        << RelativeMaxError(x, y);
  };
  expect("dq", &Outcome::dq, bounds.gradient);
  expect("dk", &Outcome::dk, bounds.gradient);
  expect("dv", &Outcome::dv, bounds.gradient);
  expect("d_key_bias", &Outcome::d_key_bias, bounds.term_gradient);
  expect("d_distance_table", &Outcome::d_distance_table, bounds.term_gradient);
  expect("d_slope", &Outcome::d_slope, bounds.term_gradient);
  expect("d_intercept", &Outcome::d_intercept, bounds.term_gradient);
  expect("d_psi", &Outcome::d_psi, bounds.term_gradient);
  expect("d_row_factor", &Outcome::d_row_factor, bounds.term_gradient);
}

void ExpectOutcome(const Outcome& found, const Outcome& expected, const Bounds& bounds,
                   const Problem& problem) {
  EXPECT_TRUE(found.guards_hold) << "an element beyond the view was written, or an input";
  ExpectClose("o", found.o, expected.o, bounds.o);
  ExpectLse(found.lse, expected.lse, bounds.lse, BiasRange(problem));
  ExpectGradients(found, expected, bounds, problem);
}

// Gradients of the same problem, but for what bf16's rounding makes of an o and a dS that were
// rounded from numbers that differ a little.
void ExpectNearlySame(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t at = 0; at < found.size(); ++at) {
    EXPECT_NEAR(found[at], expected[at], 0.1 * (1.0 + std::abs(expected[at]))) << at;
  }
}

class KernelTest : public ::testing::TestWithParam<KernelUnderTest> {
 protected:
  const KernelUnderTest& tested() const { return GetParam(); }
  const AttentionKernel& kernel() const { return tested().kernel; }

  void ExpectReference(const Problem& problem) {
    SCOPED_TRACE(problem.Name());
    ExpectOutcome(RunKernel(kernel(), problem), RunReference(problem), BoundsOf(tested(), problem),
                  problem);
  }

  // A processor only reads and writes fp16 otherwise than bf16, which tests of their own cover.
  std::span<const Scalar> Types() const {
    constexpr std::span<const Scalar> kAll = testing::kTypes;
    return tested().uses_host_threads ? kAll.first(2) : kAll;
  }

  // A problem of each type, given its terms by `change`.
  template <typename Change>
  void ForEachType(const ProblemShape& shape, Change&& change) {
    for (const Scalar scalar : Types()) {
      Problem problem(shape, scalar, random_);
      change(problem);
      ExpectReference(problem);
    }
  }

  std::int64_t Between(std::int64_t from, std::int64_t to) {
    return from +
           static_cast<std::int64_t>(random_.Below(static_cast<std::uint64_t>(to - from + 1)));
  }
  // Of more than one tile, and of up to so many queries and keys.
  ProblemShape SeveralTiles(std::int64_t head_dim, std::int64_t n_query_max,
                            std::int64_t n_key_max) {
    const std::int64_t n_kv_head = Between(1, 2);
    return {.batch = Between(1, 2),
            .n_head = n_kv_head * Between(1, 2),
            .n_kv_head = n_kv_head,
            .n_query = Between(65, n_query_max),
            .n_key = Between(65, n_key_max),
            .head_dim = head_dim};
  }

  SeededRandom random_{CommitSeed()};
};

// A program may have no back-end on this machine (conformance_cuda.cc).
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KernelTest);
INSTANTIATE_TEST_SUITE_P(Attention, KernelTest, ::testing::ValuesIn(testing::KernelsUnderTest()),
                         [](const ::testing::TestParamInfo<KernelUnderTest>& of) {
                           return testing::TestName(of.param);
                         });

// ---- terms -------------------------------------------------------------------------------------

TEST_P(KernelTest, PlainCausalAttentionIsTheReferences) {
  for (const std::int64_t head_dim : {8, 32, 40, 64, 96, 128, 256}) {
    ForEachType({.batch = 1, .n_query = 131, .n_key = 131, .head_dim = head_dim}, [](Problem&) {});
  }
}

TEST_P(KernelTest, BidirectionalAttentionIsTheReferences) {
  ForEachType({.n_query = 100, .n_key = 131},
              [](Problem& p) { p.terms.visibility.causal = false; });
}

TEST_P(KernelTest, LengthsAroundTilesAreTheReferences) {
  for (const std::int64_t n : {1, 2, 63, 64, 65, 95, 96, 97, 127, 129, 193}) {
    ForEachType({.batch = 1, .n_query = n, .n_key = n, .head_dim = 16},
                [&](Problem& p) { p.AddKeyBias(random_); });
  }
}

TEST_P(KernelTest, AThousandPositionsAreTheReferences) {
  ForEachType(
      {.batch = 1, .n_head = 1, .n_kv_head = 1, .n_query = 1000, .n_key = 1000, .head_dim = 8},
      [&](Problem& p) { p.AddKeyBias(random_); });
}

// On a GPU, calls with few terms have kernels of their own, with tiles of 64 or 32 keys by the
// head's channels. The drift makes the largest score grow from tile to tile, or stay where it was.
TEST_P(KernelTest, FewTermsOverSeveralTilesAreTheReferences) {
  for (const std::int64_t head_dim : {64, 128}) {
    const ProblemShape shape = {.batch = 1,
                                .n_head = 2,
                                .n_kv_head = 1,
                                .n_query = 193,
                                .n_key = 223,
                                .head_dim = head_dim};
    const auto expect = [&](const auto& add_terms) {
      ForEachType(shape, [&](Problem& p) {
        p.terms.visibility.q_offset = 30;
        add_terms(p);
      });
    };
    expect([](Problem&) {});
    expect([](Problem& p) { p.terms.visibility.causal = false; });
    expect([](Problem& p) { p.AddSlopes(); });
    for (const double drift : {-0.3, -0.02, 0.02, 0.3}) {
      expect([&](Problem& p) { p.AddKeyBias(random_, false, drift); });
    }
    expect([&](Problem& p) { p.AddDistanceTable(random_, 100, 0); });
    expect([&](Problem& p) { p.AddRotation(true, head_dim); });
  }
}

// Keys and values that fill more than 1 MiB for each head: the CPU back-end then fetches each tile
// in advance. Channels are no multiple of a vector, or as many as the back-end takes.
TEST_P(KernelTest, KeysBeyondTheCacheAreTheReferences) {
  constexpr std::int64_t kQueries = 110;
  struct Size {
    std::int64_t head_dim, n_key;
  };
  for (const auto& [head_dim, n_key] : {Size{72, 1800}, Size{128, 1100}, Size{256, 600}}) {
    const ProblemShape shape = {.batch = 1,
                                .n_head = 2,
                                .n_kv_head = 1,
                                .n_query = kQueries,
                                .n_key = n_key,
                                .head_dim = head_dim};
    ForEachType(shape, [&](Problem& p) {
      p.terms.visibility = {.q_offset = n_key - kQueries, .window = 300, .n_sink = 70};
      p.AddKeyBias(random_);
    });
    ForEachType(shape, [&](Problem& p) {
      p.terms.visibility.q_offset = n_key - kQueries;
      p.AddRotation(true, head_dim);
      p.AddRegions(random_, 3);
    });
  }
}

// Sums of thousands of numbers of one size and sign, as of nearly equal weights: added one by one
// to the sum of all before, they would lose some 1e-5 of it. A GPU splits the keys of so few
// queries.
TEST_P(KernelTest, ErrorsDoNotGrowWithTheNumberOfKeys) {
  constexpr std::int64_t kQueries = 40, kKeys = 20'000;
  Problem p({.batch = 1,
             .n_head = 1,
             .n_kv_head = 1,
             .n_query = kQueries,
             .n_key = kKeys,
             .head_dim = 32},
            Scalar::kFp32, random_);
  p.terms.visibility.q_offset = kKeys - kQueries;
  for (double& x : p.q) x /= 64.0;
  for (double& x : p.v) x = static_cast<float>(1.0 + x / 8.0);
  const Outcome found = RunKernel(tested().kernel, p);
  const Outcome expected = RunReference(p);
  EXPECT_LT(RelativeMaxError(found.o, expected.o), 2e-6);
  EXPECT_LT(RelativeMaxError(found.lse, expected.lse), 2e-6);
}

TEST_P(KernelTest, OtherNumbersOfQueriesThanKeysAreTheReferences) {
  for (const std::int64_t n_query : {1, 7, 100}) {
    for (const std::int64_t offset : {-5, 0, 30, 250}) {
      ForEachType({.batch = 1, .n_query = n_query, .n_key = 150, .head_dim = 16}, [&](Problem& p) {
        p.terms.visibility.q_offset = offset;
        p.AddKeyBias(random_);
      });
    }
  }
}

// On a GPU, the keys of up to 64 queries are split, 512 to a block. Some blocks see no key: of what
// comes later, beyond the window, of another document.
TEST_P(KernelTest, FewQueriesOfManyKeysAreTheReferences) {
  for (const std::int64_t n_query : {1, 5, 64}) {
    for (const std::int64_t n_key : {513, 1024, 1601}) {
      const auto expect = [&](std::int64_t head_dim, const auto& add_terms) {
        const ProblemShape shape = {.batch = 1,
                                    .n_head = 2,
                                    .n_kv_head = 1,
                                    .n_query = n_query,
                                    .n_key = n_key,
                                    .head_dim = head_dim};
        ForEachType(shape, [&](Problem& p) {
          p.terms.visibility.q_offset = n_key - n_query;
          add_terms(p);
        });
      };
      expect(16, [](Problem&) {});
      expect(16, [&](Problem& p) { p.terms.visibility.q_offset = 500; });
      expect(24, [&](Problem& p) {
        p.terms.visibility.window = 70;
        p.terms.visibility.n_sink = 3;
        p.AddKeyBias(random_);
      });
      if (n_query != 5) continue;
      expect(72, [&](Problem& p) { p.AddKeyBias(random_, true); });
      expect(136, [&](Problem& p) { p.AddDistanceTable(random_, 100, 0); });
      expect(32, [&](Problem& p) { p.AddRotation(true, 32); });
      expect(16, [&](Problem& p) { p.SetDocuments({0, 300, 500, static_cast<int>(n_key)}); });
      expect(16, [&](Problem& p) {
        p.terms.dropout = Dropout{.probability = 0.3, .seed = 7, .offset = 2};
      });
      expect(16, [&](Problem& p) {
        p.AddRotation(true, 16);
        p.AddRegions(random_, 3);
      });
    }
  }
}

// On a GPU, a block has the queries of as many heads of a group as fit into 16 rows: of 3 heads,
// of 2 and 1, of 16 and 4, or of one. Its four warps share the keys in tiles of 16 or 8.
TEST_P(KernelTest, FewQueriesOfSharedKeyHeadsAreTheReferences) {
  const ProblemShape shapes[] = {
      {.n_head = 1, .n_kv_head = 1, .n_query = 1, .n_key = 527, .head_dim = 64},
      {.n_head = 20, .n_kv_head = 1, .n_query = 1, .n_key = 513, .head_dim = 32},
      {.n_head = 6, .n_kv_head = 2, .n_query = 2, .n_key = 1024, .head_dim = 8},
      {.n_head = 3, .n_kv_head = 1, .n_query = 5, .n_key = 1041, .head_dim = 128},
      {.n_head = 6, .n_kv_head = 2, .n_query = 7, .n_key = 529, .head_dim = 72},
      {.n_head = 2, .n_kv_head = 1, .n_query = 16, .n_key = 560, .head_dim = 256},
      {.n_head = 2, .n_kv_head = 1, .n_query = 17, .n_key = 560, .head_dim = 64},
  };
  for (ProblemShape shape : shapes) {
    shape.batch = shape.n_query == 2 ? 2 : 1;
    const std::int64_t n_key = shape.n_key, offset = n_key - shape.n_query;
    const auto expect = [&](const auto& add_terms) {
      ForEachType(shape, [&](Problem& p) {
        p.terms.visibility.q_offset = offset;
        add_terms(p);
      });
    };
    expect([](Problem& p) { p.terms.visibility = {.causal = false}; });
    expect([&](Problem& p) {
      p.gap = 8;
      p.AddSlopes();
      p.terms.dropout = Dropout{.probability = 0.3, .seed = 7, .offset = 2};
    });
    expect([&](Problem& p) {
      p.terms.visibility.q_offset = offset - 17;  // the last keys are hidden
      p.gap = 3;                                  // rows are not aligned
      p.AddKeyBias(random_, true);
    });
    expect([&](Problem& p) {
      p.terms.visibility.window = n_key / 2;
      p.terms.visibility.n_sink = 3;
      p.SetDocuments({0, static_cast<int>(n_key / 3), static_cast<int>(n_key)});
      p.AddKeyBias(random_);
      p.AddDistanceTable(random_, 60, 0);
      p.AddPiecewise(random_);
      p.AddRotation(true, 8);
    });
    expect([&](Problem& p) {
      p.AddRotation(false, shape.head_dim);
      p.AddRegions(random_, 1);
    });
    // Only with few keys does an lse show how exact a score is.
    expect([&](Problem& p) {
      p.terms.visibility.q_offset = 0;
      p.AddRotation(true, shape.head_dim);
      p.AddRegions(random_, 1);
    });
  }
}

// Whoever adds up the parts of a long call must lose no row that a single key decides: one of each
// tile and range border in turn.
TEST_P(KernelTest, EachKeyOfAFewQueriesCallIsReadOnce) {
  constexpr std::int64_t kKeys = 1024 + 21;
  for (const Scalar scalar : Types()) {
    Problem problem(
        {.batch = 1, .n_head = 2, .n_kv_head = 1, .n_query = 3, .n_key = kKeys, .head_dim = 64},
        scalar, random_);
    problem.terms.visibility = {.causal = false};
    problem.AddKeyBias(random_, false, 0.0);
    for (const std::int64_t key :
         {0, 7, 8, 15, 16, 63, 64, 511, 512, 513, 527, 528, 1023, 1024, 1039, 1040, 1044}) {
      for (std::size_t at = 0; at < problem.key_bias.size(); ++at) {
        problem.key_bias[at] = static_cast<std::int64_t>(at) % kKeys == key ? 30.0 : 0.0;
      }
      SCOPED_TRACE(key);
      ExpectReference(problem);
    }
  }
}

// On a GPU, 128 of these blocks are merged at once. A few keys among many weigh, so that what is
// merged does not cancel. With a region there is no backward, which would take long on the host.
TEST_P(KernelTest, AQueryOfKeysInMoreThan128BlocksIsTheReferences) {
  constexpr std::int64_t kKeys = 128 * 512 + 700;
  const ProblemShape shape = {
      .batch = 1, .n_head = 1, .n_kv_head = 1, .n_query = 1, .n_key = kKeys, .head_dim = 8};
  for (const bool grows : {false, true}) {
    ForEachType(shape, [&](Problem& p) {
      p.terms.visibility.q_offset = kKeys - 1;
      p.AddKeyBias(random_);
      for (double& bias : p.key_bias) bias = -40.0;
      for (const std::int64_t j : {0, 600, 30'000, 65'535, 65'536, 66'235}) {
        p.key_bias[static_cast<std::size_t>(j)] = (grows ? 1e-5 : -1e-5) * static_cast<double>(j);
      }
      p.AddRotation(true, 8);
      p.AddRegions(random_, 1);
    });
  }
}

TEST_P(KernelTest, SharedKeyHeadsAreTheReferences) {
  ForEachType({.n_head = 6, .n_kv_head = 2, .n_query = 70, .n_key = 70, .head_dim = 16},
              [&](Problem& p) { p.AddKeyBias(random_); });
}

TEST_P(KernelTest, StepsBetweenRowsAreKept) {
  ForEachType({.n_query = 70, .n_key = 70}, [](Problem& p) { p.gap = 24; });
}

// With a window of 66 and tiles of 64, the first query of a tile sees the last key of the tile
// before the one before, and no other key of it. Without a drift of the bias, a key at the edge of
// the window weighs as much as a near one.
TEST_P(KernelTest, WindowsAndSinksAreTheReferences) {
  for (const bool causal : {true, false}) {
    for (const std::int64_t window : {1, 17, 64, 66, 100}) {
      for (const std::int64_t n_sink : {0, 4, 70}) {
        if (n_sink > 0 && !causal) continue;
        ForEachType({.batch = 1, .n_query = 300, .n_key = 300, .head_dim = 16}, [&](Problem& p) {
          p.terms.visibility = {.causal = causal, .window = window, .n_sink = n_sink};
          p.AddKeyBias(random_, false, 0.0);
        });
      }
    }
  }
}

TEST_P(KernelTest, DocumentsAreTheReferences) {
  for (const bool causal : {true, false}) {
    for (const std::int64_t window : {0, 20}) {
      ForEachType({.n_query = 200, .n_key = 200, .head_dim = 16}, [&](Problem& p) {
        p.terms.visibility = {
            .causal = causal, .window = window, .n_sink = causal && window > 0 ? 3 : 0};
        p.SetDocuments({0, 1, 30, 64, 64 + 40, 200});
        p.AddKeyBias(random_);
      });
    }
  }
}

// On a GPU, calls with a mask and few terms have kernels of their own, which pass over the tiles
// that a window or documents hide.
TEST_P(KernelTest, MasksOverSeveralTilesAreTheReferences) {
  for (int round = 0; round < 10; ++round) {
    const std::int64_t head_dim = round < 5 ? 64 : 128;
    const ProblemShape shape = SeveralTiles(head_dim, 300, 400);
    const bool causal = random_.Chance(0.7);
    const std::int64_t offset = Between(0, 250), window = random_.Chance(0.7) ? Between(1, 150) : 0;
    const std::int64_t n_sink = causal && window > 0 && random_.Chance(0.6) ? Between(1, 80) : 0;
    std::vector<std::int32_t> cu_seqlens;
    if (window == 0 || random_.Chance(0.5)) {
      cu_seqlens.push_back(0);
      const std::int64_t n_position = std::max(shape.n_key, offset + shape.n_query);
      while (cu_seqlens.back() + 200 < n_position) {
        cu_seqlens.push_back(static_cast<std::int32_t>(cu_seqlens.back() + Between(1, 200)));
      }
      cu_seqlens.push_back(static_cast<std::int32_t>(n_position));
    }
    ForEachType(shape, [&](Problem& p) {
      p.terms.visibility = {
          .causal = causal, .q_offset = offset, .window = window, .n_sink = n_sink};
      if (!cu_seqlens.empty()) p.SetDocuments(cu_seqlens);
      if (round % 5 == 1) p.AddKeyBias(random_, false, 0.02);
      if (round % 5 == 2) p.AddSlopes();
      if (round % 5 == 3) p.AddDistanceTable(random_, 100, causal ? 0 : 50);
      if (round % 5 == 4) p.AddRotation(true, head_dim);
    });
  }
}

// Squares of 128 far beyond the window have no visible pairs but those of the sinks.
TEST_P(KernelTest, DistanceTablesHaveTheSinksOfFarQueries) {
  for (const std::int64_t head_dim : {64, 128}) {
    Problem problem({.batch = 1, .n_query = 420, .n_key = 420, .head_dim = head_dim}, Scalar::kBf16,
                    random_);
    problem.terms.visibility = {.window = Between(1, 60), .n_sink = Between(1, 80)};
    problem.AddDistanceTable(random_, 400, 0);
    ExpectOutcome(RunKernel(kernel(), problem), RunReference(problem), BoundsOf(tested(), problem),
                  problem);
  }
}

// So have calls with a piecewise linear function, a mask or none, and no other term.
TEST_P(KernelTest, PiecewiseLinearBiasesOverSeveralTilesAreTheReferences) {
  for (int round = 0; round < 6; ++round) {
    const ProblemShape shape = SeveralTiles(round < 3 ? 64 : 128, 200, 260);
    constexpr int kKnots[] = {0, 1, 5, 32, 70};
    const int n_knot = kKnots[random_.Below(5)];
    const bool causal = random_.Chance(0.7);
    const std::int64_t offset = Between(0, 150), window = round % 3 == 1 ? Between(1, 150) : 0;
    ForEachType(shape, [&](Problem& p) {
      p.terms.visibility = {.causal = causal, .q_offset = offset, .window = window};
      if (round % 3 == 2) {
        p.SetDocuments(
            {0, 100, static_cast<std::int32_t>(std::max(shape.n_key, offset + shape.n_query))});
      }
      p.AddPiecewise(random_, n_knot);
    });
  }
}

// Rows of a tile beyond the last query must not add to the gradients of a bias that is large
// everywhere, whose exponential is infinite.
TEST_P(KernelTest, PiecewiseLinearBiasesMayBeLarge) {
  for (const std::int64_t head_dim : {64, 128}) {
    Problem problem({.n_query = 70, .n_key = 70, .head_dim = head_dim}, Scalar::kBf16, random_);
    problem.AddPiecewise(random_);
    const Outcome expected = RunKernel(kernel(), problem);
    for (double& x : problem.intercept) x += 100.0;
    const Outcome found = RunKernel(kernel(), problem);
    for (const auto gradient : {&Outcome::d_slope, &Outcome::d_intercept, &Outcome::d_psi}) {
      ExpectNearlySame(found.*gradient, expected.*gradient);
    }
  }
}

TEST_P(KernelTest, DistanceTablesMayBeLarge) {
  for (const std::int64_t head_dim : {64, 128}) {
    Problem problem({.n_query = 70, .n_key = 70, .head_dim = head_dim}, Scalar::kBf16, random_);
    problem.AddDistanceTable(random_, 30, 0);
    const Outcome expected = RunKernel(kernel(), problem);
    for (double& x : problem.table) x += 100.0;
    ExpectNearlySame(RunKernel(kernel(), problem).d_distance_table, expected.d_distance_table);
  }
}

TEST_P(KernelTest, KeyBiasesInEachFormAreTheReferences) {
  ForEachType({.n_query = 150, .n_key = 150}, [](Problem& p) { p.AddSlopes(); });
  ForEachType({.n_query = 150, .n_key = 150},
              [&](Problem& p) { p.AddKeyBias(random_, false, 0.4); });
  Problem problem({.n_query = 150, .n_key = 150}, Scalar::kFp32, random_);
  problem.AddKeyBias(random_);
  // The same numbers as anchors and what is left, which fp32 holds.
  std::vector<float> local;
  std::vector<double> anchor;
  for (std::size_t at = 0; at < problem.key_bias.size(); ++at) {
    const std::size_t j = at % 150;
    if (j % KeyBias::kAnchorKeys == 0) anchor.push_back(problem.key_bias[at]);
    local.push_back(static_cast<float>(problem.key_bias[at] - anchor.back()));
  }
  const Outcome values = RunKernel(kernel(), problem);
  problem.terms.key_bias = KeyBias{.local = local, .anchor = anchor};
  ExpectOutcome(RunKernel(kernel(), problem), values,
                {.o = 2e-6, .gradient = 5e-6, .term_gradient = 1e-5, .lse = 2e-6}, problem);
}

TEST_P(KernelTest, TwoSidedBiasesAreTheReferences) {
  for (const bool causal : {true, false}) {
    ForEachType({.n_query = 150, .n_key = 200, .head_dim = 16}, [&](Problem& p) {
      p.terms.visibility = {.causal = causal, .q_offset = 20};
      p.AddKeyBias(random_, true);
    });
  }
}

// On a GPU, calls with such a bias and no other term but a mask have kernels of their own, for
// which most tiles lie on one side of the diagonal, and some on both.
TEST_P(KernelTest, TwoSidedBiasesOverSeveralTilesAreTheReferences) {
  for (int round = 0; round < 12; ++round) {
    ProblemShape shape = SeveralTiles(round % 2 == 0 ? 64 : 128, 200, 300);
    // With 1 more than a multiple of 32, the key of a part's last query is the first of its keys.
    const std::int64_t offset = round % 4 < 2 ? Between(0, 100) : 1 + 32 * Between(0, 3);
    shape.n_key = std::max(shape.n_key, offset + shape.n_query);
    const bool causal = random_.Chance(0.2);
    const std::int64_t window = round % 3 == 1 ? Between(1, 150) : 0;
    const std::int64_t n_sink = causal && window > 0 ? Between(0, 80) : 0;
    const double drifts[] = {-0.3, -0.02, 0.02, 0.3};
    const double drift = drifts[random_.Below(4)];
    ForEachType(shape, [&](Problem& p) {
      p.terms.visibility = {
          .causal = causal, .q_offset = offset, .window = window, .n_sink = n_sink};
      if (round % 3 == 2) {
        p.SetDocuments(
            {0, static_cast<std::int32_t>(Between(1, 64)), static_cast<std::int32_t>(shape.n_key)});
      }
      if (round < 9) {
        p.AddKeyBias(random_, true, drift);
      } else {
        p.AddSlopes();
        for (double& slope : p.slopes) slope = -slope;
        p.terms.key_bias->two_sided = true;
      }
    });
  }
}

// A query's own key has nearly all of its weight, so its part of the gradient counts: the kernels
// of queries and of keys must take the same side for it, although they divide the pairs
// differently.
TEST_P(KernelTest, TwoSidedBiasesThatFallFastAreTheReferences) {
  for (const std::int64_t head_dim : {64, 128}) {
    for (const std::int64_t offset : {0, 17, 33}) {
      const std::int64_t n_query = 200;
      ForEachType({.n_query = n_query, .n_key = offset + n_query, .head_dim = head_dim},
                  [&](Problem& p) {
                    p.terms.visibility = {.causal = false, .q_offset = offset};
                    p.AddKeyBias(random_, true, -1.0);
                  });
    }
  }
}

TEST_P(KernelTest, DistanceTablesAreTheReferences) {
  for (const std::int64_t n_distance : {3, 30, 400}) {
    ForEachType({.n_query = 150, .n_key = 170, .head_dim = 16}, [&](Problem& p) {
      p.terms.visibility.q_offset = 20;
      p.AddDistanceTable(random_, n_distance, 0);
    });
    ForEachType({.n_query = 150, .n_key = 150, .head_dim = 16}, [&](Problem& p) {
      p.terms.visibility.causal = false;
      p.AddDistanceTable(random_, n_distance, n_distance / 2);
    });
  }
}

TEST_P(KernelTest, PiecewiseLinearBiasesAreTheReferences) {
  for (const bool causal : {true, false}) {
    ForEachType({.n_query = 150, .n_key = 150, .head_dim = 16}, [&](Problem& p) {
      p.terms.visibility.causal = causal;
      p.AddPiecewise(random_);
    });
  }
}

TEST_P(KernelTest, RotationsAreTheReferences) {
  for (const bool half : {true, false}) {
    for (const std::int64_t n_rotary : {8, 32}) {
      ForEachType({.n_query = 100, .n_key = 120}, [&](Problem& p) {
        p.terms.visibility.q_offset = 20;
        p.AddRotation(half, n_rotary, half);
      });
    }
  }
}

TEST_P(KernelTest, RotationsToRowsOfEachSequenceAreTheReferences) {
  for (const bool half : {true, false}) {
    for (const std::int64_t offset : {0, 20, -3}) {
      ForEachType({.batch = 3, .n_head = 4, .n_kv_head = 2, .n_query = 100, .n_key = 120},
                  [&](Problem& p) {
                    p.terms.visibility.q_offset = offset;
                    p.AddRotation(half, half ? 8 : 32, half, half ? 1 : 5);
                    p.AddRotationRows(random_);
                  });
    }
  }
}

// A sequence with rows of its own is one with the table's rows at its positions; the row of each
// position changes no bit.
TEST_P(KernelTest, RowsOfTheRotationAreThoseOfATableInTheirOrder) {
  for (const bool grows : {false, true}) {
    Problem rows({.batch = 2, .n_query = 90, .n_key = 110}, Scalar::kFp32, random_);
    rows.terms.visibility.q_offset = 20;
    rows.AddKeyBias(random_);
    rows.AddRotation(true, 32, grows, 3);
    rows.AddRotationRows(random_);
    const Outcome found = RunKernel(kernel(), rows);
    for (std::int64_t b = 0; b < 2; ++b) {
      Problem alone = rows;
      const auto gathered = [&](const std::vector<double>& table) {
        std::vector<double> out;
        for (std::int64_t p = 0; p < (table.empty() ? 0 : 110); ++p) {
          const std::int32_t row = rows.rotation_rows[static_cast<std::size_t>(b * 110 + p)];
          out.insert(out.end(), table.begin() + row * 16, table.begin() + (row + 1) * 16);
        }
        return out;
      };
      alone.cos = gathered(rows.cos);
      alone.sin = gathered(rows.sin);
      alone.growth = gathered(rows.growth);
      alone.terms.rotation->cos = alone.cos;
      alone.terms.rotation->sin = alone.sin;
      alone.terms.rotation->growth = alone.growth;
      alone.terms.rotation->row = {};
      const Outcome expected = RunKernel(kernel(), alone);
      const auto part = [b](const std::vector<double>& x) {
        const auto half = static_cast<std::ptrdiff_t>(x.size() / 2);
        return std::vector<double>(x.begin() + b * half, x.begin() + (b + 1) * half);
      };
      EXPECT_EQ(part(found.o), part(expected.o));
      EXPECT_EQ(part(found.lse), part(expected.lse));
      EXPECT_EQ(part(found.dq), part(expected.dq));
      EXPECT_EQ(part(found.dk), part(expected.dk));
      EXPECT_EQ(part(found.dv), part(expected.dv));
    }
  }
}

TEST_P(KernelTest, DropoutIsTheReferences) {
  ForEachType({.n_query = 150, .n_key = 150, .head_dim = 16}, [](Problem& p) {
    p.terms.dropout = Dropout{.probability = 0.3, .seed = 0x123456789abcdef0, .offset = 7};
  });
}

TEST_P(KernelTest, AllTermsTogetherAreTheReferences) {
  ForEachType({.n_head = 4, .n_kv_head = 2, .n_query = 150, .n_key = 200}, [&](Problem& p) {
    p.gap = 8;
    p.terms.visibility = {.q_offset = 50, .window = 90, .n_sink = 5};
    p.SetDocuments({0, 130, 200});
    p.AddKeyBias(random_);
    p.AddDistanceTable(random_, 60, 0);
    p.AddPiecewise(random_);
    p.AddRotation(true, 16);
    p.terms.dropout = Dropout{.probability = 0.1, .seed = 5};
  });
}

// A GPU with little shared memory has other kernels for these. 300 knots take the most.
TEST_P(KernelTest, WideHeadsWithEachTermAreTheReferences) {
  for (const std::int64_t head_dim : {64, 72, 128, 136, 256}) {
    const ProblemShape shape = {
        .batch = 1, .n_head = 2, .n_kv_head = 1, .n_query = 70, .n_key = 90, .head_dim = head_dim};
    const auto expect = [&](const auto& add_terms) {
      ForEachType(shape, [&](Problem& p) {
        p.terms.visibility.q_offset = 20;
        add_terms(p);
      });
    };
    expect([&](Problem& p) { p.AddKeyBias(random_, true); });
    expect([&](Problem& p) { p.AddDistanceTable(random_, 60, 0); });
    expect([&](Problem& p) { p.AddPiecewise(random_, 300); });
    expect([&](Problem& p) {
      p.gap = 8;
      p.terms.visibility.window = 60;
      p.SetDocuments({0, 30, 90});
      p.AddKeyBias(random_);
      p.AddDistanceTable(random_, 60, 0);
      p.AddPiecewise(random_, 300);
      p.AddRotation(true, head_dim);
      p.terms.dropout = Dropout{.probability = 0.1, .seed = 5};
    });
  }
}

// ---- regions -----------------------------------------------------------------------------------

TEST_P(KernelTest, RegionsAreTheReferences) {
  for (const std::size_t n_region : {1U, 2U, 3U}) {
    for (const bool half : {true, false}) {
      for (const std::int64_t head_dim : {8, 40, 64}) {
        ForEachType({.n_query = 130, .n_key = 150, .head_dim = head_dim}, [&](Problem& p) {
          p.gap = half ? 8 : 0;
          p.terms.visibility.q_offset = 20;
          // Rows at random have growth at distances at which that of many channels explodes.
          const bool grows = half && n_region == 2;
          p.AddRotation(half, half && !grows ? head_dim : 8, grows);
          p.AddRegions(random_, n_region);
        });
      }
    }
  }
}

TEST_P(KernelTest, RegionsOfAnyLengthsAreTheReferences) {
  for (int round = 0; round < 12; ++round) {
    const std::int64_t n_kv_head = Between(1, 2);
    const ProblemShape shape = {.batch = Between(1, 2),
                                .n_head = n_kv_head * Between(1, 3),
                                .n_kv_head = n_kv_head,
                                .n_query = round % 4 == 0 ? 1 : Between(1, 250),
                                .n_key = Between(1, 250),
                                .head_dim = 8 * Between(1, 5)};
    const std::int64_t offset = Between(-20, 260);
    const auto n_region = static_cast<std::size_t>(Between(1, 3));
    const bool causal = random_.Chance(0.8);
    ForEachType(shape, [&](Problem& p) {
      p.terms.visibility = {.causal = causal, .q_offset = offset};
      p.AddRotation(random_.Chance(0.5), 8);
      p.AddRegions(random_, n_region, random_.Chance(0.5));
    });
  }
}

TEST_P(KernelTest, RegionsOfMethodsAreTheReferences) {
  for (int round = 0; round < 12; ++round) {
    const auto n_query = round % 3 == 0 ? 1 : static_cast<std::int64_t>(random_.Below(200)) + 1;
    const auto offset = static_cast<std::int64_t>(random_.Below(200));
    const testing::RegionMethod method = testing::AnyRegionMethod(
        {.n_query = n_query, .n_key = offset + n_query, .q_offset = offset}, random_);
    SCOPED_TRACE(method.name);
    ForEachType({.n_head = 4, .n_query = n_query, .n_key = offset + n_query, .head_dim = 16},
                [&](Problem& p) {
                  p.terms.visibility = {
                      .q_offset = offset, .window = method.window, .n_sink = method.n_sink};
                  p.AddRotation(true, 16, false, 2 * method.steps);
                  p.regions = method.Views();
                  p.terms.regions = p.regions;
                });
  }
}

TEST_P(KernelTest, RegionsWithOtherTermsAreTheReferences) {
  for (const std::size_t n_region : {2U, 3U}) {
    for (const bool documents : {true, false}) {
      ForEachType({.n_head = 4, .n_kv_head = 2, .n_query = 150, .n_key = 200}, [&](Problem& p) {
        p.terms.visibility = {.q_offset = 50, .window = 90, .n_sink = 5};
        if (documents) p.SetDocuments({0, 130, 200});
        p.AddKeyBias(random_);
        p.AddDistanceTable(random_, 60, 0);
        p.AddPiecewise(random_);
        p.AddRotation(true, 16);
        p.AddRegions(random_, n_region, !documents);
        p.terms.dropout = Dropout{.probability = 0.1, .seed = 5};
      });
      ForEachType({.n_query = 150, .n_key = 150}, [&](Problem& p) {
        p.terms.visibility.causal = false;
        if (documents) p.SetDocuments({0, 1, 70, 150});
        p.AddKeyBias(random_, true);
        p.AddRotation(false, 32);
        p.AddRegions(random_, n_region, documents);
      });
    }
  }
}

TEST_P(KernelTest, BlendedKeysAreTheReferences) {
  for (const std::size_t n_region : {1U, 2U, 3U}) {
    for (const bool half : {true, false}) {
      for (const std::int64_t head_dim : {8, 40}) {
        ForEachType({.n_head = 4, .n_query = 130, .n_key = 150, .head_dim = head_dim},
                    [&](Problem& p) {
                      p.terms.visibility.q_offset = 20;
                      const bool grows = half && n_region == 2;
                      p.AddRotation(half, half && !grows ? head_dim : 8, grows);
                      p.AddRegions(random_, n_region, true);
                    });
      }
    }
  }
}

// A blend of no weight is the key's own row, of whole weight the other's.
TEST_P(KernelTest, BlendsOfAllOrNothingAreOneRow) {
  Problem problem({.n_query = 150, .n_key = 150}, Scalar::kFp32, random_);
  problem.AddRotation(true, 32);
  problem.AddRegions(random_, 1, true);
  const Region given = problem.regions[0];
  const auto outcome = [&](const Region& region) {
    problem.regions = {region};
    problem.terms.regions = problem.regions;
    return RunKernel(kernel(), problem).o;
  };
  for (const double weight : {0.0, 1.0}) {
    const std::vector<double> weights(150, weight);
    Region blended = given, alone = given;
    blended.blended->weight = weights;
    alone.blended = std::nullopt;
    if (weight == 1.0) alone.key_row = given.blended->row;
    EXPECT_EQ(outcome(blended), outcome(alone));
  }
}

// Wherever they begin, regions that all say what is so without them change no bit.
TEST_P(KernelTest, RegionsThatSayNothingChangeNoBit) {
  Problem plain({.n_head = 4, .n_kv_head = 2, .n_query = 200, .n_key = 230}, Scalar::kFp32,
                random_);
  plain.terms.visibility.q_offset = 30;
  plain.AddKeyBias(random_);
  plain.AddRotation(true, 32);
  const Outcome expected = RunKernel(kernel(), plain);
  const testing::Stretch n = {.n_query = 200, .n_key = 230, .q_offset = 30};
  const std::vector<std::int32_t> query_row = n.Queries([](std::int64_t p) { return p; });
  const std::vector<std::int32_t> key_row = n.Keys([](std::int64_t j) { return j; });
  const std::vector<std::int32_t> copy = key_row;
  Problem parted = plain;
  parted.AddRegions(random_, 3);
  for (Region& region : parted.regions) {
    region.query_row = query_row;
    region.key_row = &region == &parted.regions[1] ? copy : key_row;
  }
  const Outcome found = RunKernel(kernel(), parted);
  EXPECT_EQ(found.o, expected.o);
  EXPECT_EQ(found.lse, expected.lse);
}

TEST_P(KernelTest, PiecesOfAPrefillWithRegionsAreTheWhole) {
  const std::int64_t n_key = 200;
  Problem whole({.batch = 1, .n_head = 4, .n_query = n_key, .n_key = n_key}, Scalar::kFp32,
                random_);
  whole.AddRotation(true, 32);
  const testing::RegionMethod method =
      testing::ChunkLlama({.n_query = n_key, .n_key = n_key}, 40, 50);
  whole.regions = method.Views();
  whole.terms.regions = whole.regions;
  const Outcome expected = RunKernel(kernel(), whole);
  for (const auto& piece : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {0, 1}, {0, 97}, {97, 200}, {199, 200}, {130, 131}}) {
    const std::int64_t begin = piece.first, end = piece.second;
    Problem part = whole;
    part.shape.n_query = end - begin;
    part.terms.visibility.q_offset = begin;
    const auto cut = [&](const std::vector<double>& x) {
      return std::vector<double>(x.begin() + begin * 128, x.begin() + end * 128);
    };
    part.q = cut(whole.q);
    for (Region& region : part.regions) {
      const auto rows = [&](std::span<const std::int32_t> x) {
        return x.empty() ? x
                         : x.subspan(static_cast<std::size_t>(begin),
                                     static_cast<std::size_t>(end - begin));
      };
      region.query_row = rows(region.query_row);
      region.key_begin = rows(region.key_begin);
    }
    part.terms.regions = part.regions;
    ExpectClose("o", RunKernel(kernel(), part).o, cut(expected.o), 1e-6);
  }
}

// Rows count from where the document begins.
TEST_P(KernelTest, DocumentsWithRegionsAreAsIfAlone) {
  constexpr std::int64_t kFirst = 192, kSecond = 100;  // 192: two tiles of queries, three of keys
  const testing::RegionMethod first =
      testing::SelfExtend({.n_query = kFirst, .n_key = kFirst}, 3, 20);
  const testing::RegionMethod second =
      testing::SelfExtend({.n_query = kSecond, .n_key = kSecond}, 3, 20);
  testing::RegionMethod both = first;
  for (std::size_t r = 0; r < both.regions.size(); ++r) {
    const auto append = [](const std::vector<std::int32_t>& x, std::int32_t shift,
                           std::vector<std::int32_t>& to) {
      for (const std::int32_t number : x) to.push_back(number + shift);
    };
    append(second.regions[r].key_begin, kFirst, both.regions[r].key_begin);
    append(second.regions[r].query_row, 0, both.regions[r].query_row);
    append(second.regions[r].key_row, 0, both.regions[r].key_row);
  }
  Problem packed({.batch = 1, .n_query = kFirst + kSecond, .n_key = kFirst + kSecond},
                 Scalar::kFp32, random_);
  packed.AddRotation(true, 32);
  Problem alone = packed;
  packed.SetDocuments({0, kFirst, kFirst + kSecond});
  packed.regions = both.Views();
  packed.terms.regions = packed.regions;
  alone.shape.n_query = alone.shape.n_key = kSecond;
  alone.regions = second.Views();
  alone.terms.regions = alone.regions;
  const auto cut = [](std::vector<double> x) {
    x.erase(x.begin(), x.begin() + kFirst * 64);
    return x;
  };
  for (auto* x : {&alone.q, &alone.k, &alone.v}) *x = cut(*x);
  EXPECT_EQ(cut(RunKernel(kernel(), packed).o), RunKernel(kernel(), alone).o);
}

// ---- types -------------------------------------------------------------------------------------

TEST_P(KernelTest, AnLseInFp32IsTheReferences) {
  for (const std::int64_t offset : {0, 30, -70}) {
    ForEachType({.n_query = 150, .n_key = 150, .head_dim = 16}, [&](Problem& p) {
      p.lse_scalar = Scalar::kFp32;
      p.terms.visibility.q_offset = offset;
      p.AddSlopes();
      p.AddDistanceTable(random_, 40, 0);
    });
  }
}

// The products of inputs in bf16 or fp16 are taken in fp32, so that o then has the errors of fp32.
TEST_P(KernelTest, AnOutputInFp32BesideNarrowInputsIsNotRounded) {
  for (const Scalar scalar : {Scalar::kBf16, Scalar::kFp16}) {
    Problem problem({.n_query = 150, .n_key = 150}, scalar, random_);
    problem.gap = 8;
    problem.o_scalar = Scalar::kFp32;
    problem.AddKeyBias(random_);
    problem.AddRotation(true, 32);
    ExpectReference(problem);
    ExpectClose("o", RunKernel(kernel(), problem).o, RunReference(problem).o, 2e-6);
  }
}

// Each finite number of fp16, then the mean of each two neighbours, which is a tie. A processor's
// fp32 has both exactly. A GPU may divide by 2 with an error of its last bit.
TEST_P(KernelTest, ResultsInFp16AreRoundedToNearestEven) {
  constexpr std::int64_t kFinite = 0x7c00, kChannels = 64;
  const ProblemShape shape = {.batch = 1,
                              .n_head = 1,
                              .n_kv_head = 1,
                              .n_query = 2 * kFinite / kChannels,
                              .n_key = 2 * kFinite / kChannels,
                              .head_dim = kChannels};
  for (const std::int64_t window : {1, 2}) {
    Problem problem(shape, Scalar::kFp16, random_);
    problem.terms.visibility.window = window;
    std::ranges::fill(problem.q, 0.0);
    // A channel's rows are consecutive numbers, half of the channels for each sign.
    static_assert(kFinite % (2 * kFinite / kChannels) == 0);
    const std::int64_t n_row = shape.n_query;
    const auto bits = [&](std::int64_t row, std::int64_t channel) {
      const std::int64_t at = channel * n_row + row;
      return static_cast<std::uint16_t>(at < kFinite ? at : at - kFinite + 0x8000);
    };
    for (std::int64_t row = 0; row < n_row; ++row) {
      for (std::int64_t c = 0; c < kChannels; ++c) {
        problem.v[static_cast<std::size_t>(row * kChannels + c)] =
            static_cast<double>(FromFp16(bits(row, c)));
      }
    }
    const Outcome out = RunKernel(kernel(), problem);
    for (std::int64_t row = window - 1; row < n_row; ++row) {
      for (std::int64_t c = 0; c < kChannels; ++c) {
        const std::uint16_t newer = bits(row, c);
        const std::uint16_t older = bits(row - window + 1, c);
        const std::uint16_t even = newer % 2 == 0 ? newer : older;
        const double found = out.o[static_cast<std::size_t>(row * kChannels + c)];
        if (tested().uses_host_threads || window == 1) {
          ASSERT_EQ(found, static_cast<double>(FromFp16(even))) << newer;
        } else {
          ASSERT_TRUE(found == static_cast<double>(FromFp16(newer)) ||
                      found == static_cast<double>(FromFp16(older)))
              << newer << ": " << found;
        }
      }
    }
  }
}

// Of the last positions, queries shrink and keys grow by 2^30, so the rotated rows are beyond fp16.
TEST_P(KernelTest, AGrowthMayLeaveTheRangeOfTheType) {
  constexpr std::int64_t kLength = 150;
  ForEachType({.batch = 1, .n_query = kLength, .n_key = kLength}, [](Problem& p) {
    p.AddRotation(true, 16, true);
    const auto n_pair = p.growth.size() / kLength;
    for (std::size_t at = 0; at < p.growth.size(); ++at) {
      const auto position = static_cast<double>(at / n_pair);
      p.growth[at] = std::exp2(-30.0 * position / static_cast<double>(kLength - 1));
    }
  });
}

// Values below the least normal number of fp16, where numbers are 2^-24 apart: the error of a
// result, 2^-26 in the mean, beside results of about 2^-18. And values near the largest number.
TEST_P(KernelTest, ValuesInFp16MayBeTinyOrHuge) {
  Problem problem({.batch = 1, .n_query = 70, .n_key = 70}, Scalar::kFp16, random_);
  for (const auto& [size, bound] : {std::pair(0x1p-16, 0x1p-7), std::pair(6e4, 5e-4)}) {
    SCOPED_TRACE(size);
    for (double& v : problem.v) v = v < 0.0 ? -size : size;
    ExpectClose("o", RunKernel(kernel(), problem).o, RunReference(problem).o, bound);
  }
  // Query 0 sees only key 0.
  problem.v[0] = std::numeric_limits<double>::infinity();
  const Outcome out = RunKernel(kernel(), problem);
  EXPECT_EQ(out.o[0], std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isfinite(out.o[1]));
}

TEST_P(KernelTest, ResultsBeyondTheLargestNumberOfFp16AreInfinite) {
  constexpr double kLeastInfinite = 65520.0;
  Problem problem({.batch = 1, .n_query = 70, .n_key = 70}, Scalar::kFp16, random_);
  for (double& x : problem.o_gradient) x = std::copysign(6e4, x);
  const std::vector<double> found = RunKernel(kernel(), problem).dv;
  const std::vector<double> expected = RunReference(problem).dv;
  int n_infinite = 0, n_finite = 0;
  for (std::size_t at = 0; at < found.size(); ++at) {
    const double size = std::abs(expected[at]);
    if (std::abs(size - kLeastInfinite) < 1e-3 * kLeastInfinite) continue;
    EXPECT_EQ(std::isinf(found[at]), size > kLeastInfinite) << found[at] << ", " << expected[at];
    ++(size > kLeastInfinite ? n_infinite : n_finite);
  }
  EXPECT_GT(n_infinite, 0);
  EXPECT_GT(n_finite, 0);
}

// One key of value 0 outweighs each other by about e^16, but only the others' values count.
TEST_P(KernelTest, KeysThatWeighLittleAddUp) {
  for (const std::int64_t n_query : {3, 150}) {
    for (const bool has_dropout : {false, true}) {
      for (const Scalar scalar : {Scalar::kBf16, Scalar::kFp16}) {
        Problem problem({.batch = 1, .n_head = 1, .n_kv_head = 1, .n_query = n_query, .n_key = 600},
                        scalar, random_);
        problem.terms.visibility = {.causal = false};
        std::ranges::fill(problem.q, 0.0);
        problem.AddKeyBias(random_, false, 0.0);
        for (double& bias : problem.key_bias) bias = random_.Uniform() - 16.0;
        problem.key_bias[300] = 0.0;
        for (std::size_t at = 0; at < problem.v.size(); ++at) {
          const auto head_dim = static_cast<std::size_t>(problem.shape.head_dim);
          const auto value = static_cast<float>(500.0 + 1000.0 * random_.Uniform());
          const float rounded =
              scalar == Scalar::kFp16 ? FromFp16(ToFp16(value)) : FromBf16(ToBf16(value));
          problem.v[at] = at / head_dim == 300 ? 0.0 : static_cast<double>(rounded);
        }
        if (has_dropout) problem.terms.dropout = Dropout{.probability = 0.5, .seed = CommitSeed()};
        SCOPED_TRACE(problem.Name());
        ExpectClose("o", RunKernel(kernel(), problem).o, RunReference(problem).o,
                    BoundsOf(tested(), problem).o);
      }
    }
  }
}

TEST_P(KernelTest, GradientsOfNumbersInFp32AreWrittenOrRefusedByName) {
  Problem problem({.n_query = 150, .n_key = 150, .head_dim = 16}, Scalar::kFp32, random_);
  problem.AddKeyBias(random_);
  problem.AddDistanceTable(random_, 60, 0);
  problem.AddPiecewise(random_);
  if (tested().writes_fp32_numbers) {
    problem.gradient_scalar = Scalar::kFp32;
    ExpectReference(problem);
    return;
  }
  std::vector<float> d_key_bias(600);
  std::vector<float> rows(150 * 2 * 2 * 16);
  std::vector<double> lse(600);
  const HeadsBuffer heads = {.data = rows.data(),
                             .batch = 2,
                             .n_row = 150,
                             .n_head = 2,
                             .head_dim = 16,
                             .batch_step = 4800,
                             .row_step = 32,
                             .head_step = 16};
  const HeadsView view = {.data = rows.data(),
                          .batch = 2,
                          .n_row = 150,
                          .n_head = 2,
                          .head_dim = 16,
                          .batch_step = 4800,
                          .row_step = 32,
                          .head_step = 16};
  const Status status = kernel().backward({.inputs = {view, view, view},
                                           .o = view,
                                           .do_ = view,
                                           .lse = lse,
                                           .dq = heads,
                                           .dk = heads,
                                           .dv = heads,
                                           .d_key_bias = d_key_bias},
                                          problem.terms, {});
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_TRUE(status.message().find("d_key_bias: the cpu back-end writes fp64, not fp32") !=
              std::string::npos)
      << status.message();
}

// ---- keys in parts -----------------------------------------------------------------------------

struct PartsCase {
  const char* name;
  std::function<void(Problem&, SeededRandom&)> add;
};

const PartsCase kPartsCases[] = {
    {"nothing", [](Problem&, SeededRandom&) {}},
    {"bidirectional", [](Problem& p, SeededRandom&) { p.terms.visibility.causal = false; }},
    {"offsets",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility.q_offset = 40;
       p.terms.visibility.k_offset = 24;
       p.AddSlopes();
       p.AddDistanceTable(r, 50, 0);
     }},
    {"queries before the keys",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility.q_offset = -30;
       p.terms.visibility.k_offset = 10;
       p.AddKeyBias(r);
       p.AddDistanceTable(r, 50, 20);
     }},
    {"a window and sinks",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility = {.q_offset = 20, .window = 33, .n_sink = 70};
       p.AddKeyBias(r);
     }},
    {"a window on both sides",
     [](Problem& p, SeededRandom&) {
       p.terms.visibility = {.causal = false, .q_offset = 10, .window = 20};
     }},
    {"documents",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility = {.window = 60, .n_sink = 3};
       p.SetDocuments({0, 1, 30, 64, 104, 130});
       p.AddKeyBias(r);
     }},
    {"slopes", [](Problem& p, SeededRandom&) { p.AddSlopes(); }},
    {"tables on both sides",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility.causal = false;
       p.AddDistanceTable(r, 100, 40);
     }},
    {"pieces",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility.q_offset = 30;
       p.AddPiecewise(r);
     }},
    {"pieces on both sides",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility.causal = false;
       p.AddPiecewise(r);
     }},
    {"a rotation",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility.q_offset = 25;
       p.AddRotation(true, 16, true);
       p.AddKeyBias(r);
     }},
    {"a rotation to rows",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility.q_offset = 25;
       p.AddRotation(false, 16, false, 3);
       p.AddRotationRows(r);
     }},
    {"regions",
     [](Problem& p, SeededRandom& r) {
       p.AddRotation(true, 16);
       p.AddRegions(r, 3, true);
     }},
};

// However the keys are divided, among parts of nothing too.
TEST_P(KernelTest, PartsOfTheKeysMergeToTheWhole) {
  for (const PartsCase& one : kPartsCases) {
    SCOPED_TRACE(one.name);
    std::vector<std::int64_t> cuts;
    for (int cut = 0; cut < 3; ++cut) cuts.push_back(static_cast<std::int64_t>(random_.Below(131)));
    cuts.push_back(cuts.back());
    std::ranges::sort(cuts);
    for (const Scalar scalar : {Scalar::kFp64, Scalar::kFp32, Scalar::kBf16, Scalar::kFp16}) {
      if (scalar == Scalar::kFp64 && !tested().is_exact) continue;
      for (const Scalar lse_scalar : {Scalar::kFp64, Scalar::kFp32}) {
        Problem problem({.n_head = 2, .n_kv_head = 1, .n_query = 130, .n_key = 130, .head_dim = 16},
                        scalar, random_);
        problem.lse_scalar = lse_scalar;
        if (HasTwoBytes(scalar)) problem.o_scalar = Scalar::kFp32;
        one.add(problem, random_);
        SCOPED_TRACE(Str(problem.Name(), " lse ", ScalarName(lse_scalar), " cuts ", cuts[0], " ",
                         cuts[1], " ", cuts[2], " ", cuts[3]));
        Bounds bounds = BoundsOf(tested(), problem);
        if (scalar == Scalar::kFp64 && lse_scalar == Scalar::kFp64) {
          bounds = {.o = 1e-13, .gradient = 1e-12, .term_gradient = 1e-12, .lse = 1e-12};
        }
        ExpectOutcome(RunParts(kernel(), problem, cuts), RunReference(problem), bounds, problem);
      }
    }
  }
}

// 8 keys are chosen at once.
TEST_P(KernelTest, PartsOfTheKeysUnderDropoutMergeToTheWhole) {
  for (const Scalar scalar : Types()) {
    Problem problem({.n_query = 150, .n_key = 150, .head_dim = 16}, scalar, random_);
    problem.terms.dropout = Dropout{.probability = 0.3, .seed = 0x123456789abcdef0, .offset = 7};
    const std::int64_t cuts[] = {8, 72, 128};
    ExpectOutcome(RunParts(kernel(), problem, cuts), RunReference(problem),
                  BoundsOf(tested(), scalar), problem);
  }
}

// ---- edges -------------------------------------------------------------------------------------

TEST_P(KernelTest, NothingToDoIsDone) {
  for (const ProblemShape& shape :
       {ProblemShape{.batch = 0}, ProblemShape{.n_query = 0}, ProblemShape{.n_key = 0}}) {
    Problem problem(shape, Scalar::kFp32, random_);
    const Outcome out = RunKernel(kernel(), problem);
    for (const double x : out.o) EXPECT_EQ(x, 0.0);
    for (const double x : out.dq) EXPECT_EQ(x, 0.0);
    for (const double x : out.dk) EXPECT_EQ(x, 0.0);
    for (const double x : out.dv) EXPECT_EQ(x, 0.0);
  }
}

TEST_P(KernelTest, AQueryThatSeesNothingGivesZeroAndNoGradient) {
  for (const auto& [n_query, n_key] : {std::pair{80, 80}, std::pair{13, 600}}) {
    Problem problem({.batch = 1, .n_query = n_query, .n_key = n_key}, Scalar::kFp32, random_);
    problem.terms.visibility.q_offset = 10 - n_query;
    problem.AddKeyBias(random_);
    ExpectReference(problem);
    const Outcome out = RunKernel(kernel(), problem);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n_query - 10) * 64; ++i) {
      EXPECT_EQ(out.o[i], 0.0);
      EXPECT_EQ(out.dq[i], 0.0);
    }
    EXPECT_EQ(out.lse[0], -std::numeric_limits<double>::infinity());
  }
}

TEST_P(KernelTest, LargeNumbersStayFinite) {
  Problem problem({.batch = 1, .n_query = 130, .n_key = 130}, Scalar::kFp32, random_, 50.0);
  problem.terms.scale = 1.0;  // scores of 1e4
  problem.AddKeyBias(random_);
  for (double& c : problem.key_bias) c -= 1e5;
  const Outcome out = RunKernel(kernel(), problem);
  const Outcome expected = RunReference(problem);
  // Scores of 1e4 are off by 1e-3 in fp32, and so are probabilities.
  const double bound = tested().is_exact ? 1e-6 : 1e-2;
  EXPECT_LE(RelativeError(out.o, expected.o), bound);
  EXPECT_LE(RelativeError(out.dv, expected.dv), bound);
  for (const double x : out.dq) EXPECT_TRUE(std::isfinite(x));
}

TEST_P(KernelTest, PrefixSumsOfThousandsLoseNothing) {
  Problem problem({.batch = 1, .n_query = 150, .n_key = 150}, Scalar::kFp32, random_);
  problem.AddKeyBias(random_);
  const Outcome near = RunKernel(kernel(), problem);
  for (double& c : problem.key_bias) c += 1e6;  // fp32 moves in steps of 0.06 there
  const Outcome far = RunKernel(kernel(), problem);
  ExpectClose("o", far.o, near.o, 1e-6);
  ExpectClose("dq", far.dq, near.dq, 1e-6);
  ExpectClose("d_key_bias", far.d_key_bias, near.d_key_bias, 1e-6);
}

TEST_P(KernelTest, ANaNIsNotLost) {
  Problem problem({.batch = 1, .n_query = 70, .n_key = 70}, Scalar::kFp32, random_);
  problem.q[0] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(RunKernel(kernel(), problem).o[0]));
}

// On a GPU, one block has the six rows of a key head.
TEST_P(KernelTest, ANaNOfAFewQueriesStaysInItsRow) {
  for (const Scalar scalar : Types()) {
    Problem problem({.batch = 1, .n_head = 4, .n_kv_head = 2, .n_query = 3, .n_key = 600}, scalar,
                    random_);
    problem.terms.visibility = {.causal = false};
    const Outcome all = RunKernel(kernel(), problem);
    constexpr std::size_t kRow = 6;  // query 1 of head 2
    problem.q[32 * kRow + 5] = std::numeric_limits<double>::quiet_NaN();
    const Outcome out = RunKernel(kernel(), problem);
    for (std::size_t at = 0; at < out.o.size(); ++at) {
      if (at / 32 == kRow) {
        EXPECT_TRUE(std::isnan(out.o[at])) << at;
      } else {
        EXPECT_EQ(out.o[at], all.o[at]) << at;
      }
    }
    // A key that is NaN spoils what the two heads that have it see.
    problem.q[32 * kRow + 5] = 0.0;
    problem.k[std::size_t{2} * 32 * 590 + 32] = std::numeric_limits<double>::quiet_NaN();
    const Outcome spoilt = RunKernel(kernel(), problem);
    for (std::size_t at = 0; at < spoilt.o.size(); ++at) {
      EXPECT_EQ(std::isnan(spoilt.o[at]), at / 32 % 4 >= 2) << at;
    }
  }
}

TEST_P(KernelTest, ABiasOfHiddenKeysIsNotRead) {
  Problem problem({.n_query = 150, .n_key = 150}, Scalar::kFp32, random_);
  problem.AddDistanceTable(random_, 40, 1);  // entry 0 of each head is that of keys ahead
  const auto with_ahead = [&](double number) {
    for (std::size_t i = 0; i < problem.table.size(); i += 40) problem.table[i] = number;
    return RunKernel(kernel(), problem);
  };
  const Outcome zero = with_ahead(0.0);
  for (const double number :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    const Outcome other = with_ahead(number);
    EXPECT_EQ(other.o, zero.o);
    EXPECT_EQ(other.dq, zero.dq);
    EXPECT_EQ(other.d_distance_table, zero.d_distance_table);
  }
}

// The rows of a tile beyond the last query are not queries that see all keys.
TEST_P(KernelTest, KeysThatNoQuerySeesAreNotInSumsByDistance) {
  for (const std::int64_t head_dim : {64, 128}) {
    Problem problem({.n_query = 65, .n_key = 128, .head_dim = head_dim}, Scalar::kBf16, random_);
    problem.AddDistanceTable(random_, 40, 0);
    const Outcome expected = RunKernel(kernel(), problem);
    const std::int64_t row = problem.shape.n_kv_head * head_dim;
    for (std::int64_t b = 0; b < problem.shape.batch; ++b) {
      const std::int64_t key = (b * problem.shape.n_key + 70) * row;
      std::fill_n(problem.k.begin() + key, row, std::numeric_limits<double>::quiet_NaN());
    }
    EXPECT_EQ(RunKernel(kernel(), problem).d_distance_table, expected.d_distance_table);
  }
}

// ---- identities --------------------------------------------------------------------------------

TEST_P(KernelTest, GradientsOfABiasSumToZero) {
  Problem problem({.n_query = 150, .n_key = 150}, Scalar::kFp32, random_);
  problem.AddKeyBias(random_);
  problem.AddDistanceTable(random_, 40, 0);
  const Outcome out = RunKernel(kernel(), problem);
  const auto expect_zero_sums = [](std::span<const double> x, std::size_t n) {
    for (std::size_t begin = 0; begin < x.size(); begin += n) {
      double sum = 0.0, size = 0.0;
      for (std::size_t i = begin; i < begin + n; ++i) {
        sum += x[i];
        size += std::abs(x[i]);
      }
      EXPECT_NEAR(sum, 0.0, 1e-5 * size);
    }
  };
  expect_zero_sums(out.d_key_bias, 150);
  expect_zero_sums(out.d_distance_table, 40);
}

TEST_P(KernelTest, AMeanOfOneValueIsThatValue) {
  Problem problem({.n_query = 150, .n_key = 150}, Scalar::kFp32, random_);
  std::ranges::fill(problem.v, 0.75);
  problem.AddKeyBias(random_);
  for (const double x : RunKernel(kernel(), problem).o) EXPECT_NEAR(x, 0.75, 1e-6);
}

TEST_P(KernelTest, ThreeFormsOfAlibiAreOne) {
  Problem by_key({.n_query = 200, .n_key = 200}, Scalar::kFp32, random_);
  Problem by_distance = by_key, by_pieces = by_key;
  by_key.AddSlopes();
  const std::vector<double> slopes = by_key.slopes;
  for (const double slope : slopes) {
    for (std::int64_t d = 0; d < 200; ++d)
      by_distance.table.push_back(-slope * static_cast<double>(d));
  }
  by_distance.terms.distance_table = DistanceTable{.values = by_distance.table, .n_distance = 200};
  for (std::int64_t t = 0; t < 200; ++t) {
    by_pieces.psi.push_back(static_cast<double>(t));
    by_pieces.row_factor.push_back(1.0);
  }
  for (const double slope : slopes) {
    by_pieces.slope.push_back(-slope);
    by_pieces.intercept.push_back(0.0);
  }
  by_pieces.terms.piecewise = PiecewiseLinear{.psi = by_pieces.psi,
                                              .row_factor = by_pieces.row_factor,
                                              .slope = by_pieces.slope,
                                              .intercept = by_pieces.intercept};
  const Outcome keys = RunKernel(kernel(), by_key);
  for (const Problem* other : {&by_distance, &by_pieces}) {
    const Outcome out = RunKernel(kernel(), *other);
    ExpectClose("o", out.o, keys.o, 1e-6);
    ExpectClose("dq", out.dq, keys.dq, 2e-6);
    ExpectClose("dk", out.dk, keys.dk, 2e-6);
  }
}

TEST_P(KernelTest, WhatComesLaterChangesNothingBefore) {
  Problem problem({.batch = 1, .n_query = 200, .n_key = 200}, Scalar::kFp32, random_);
  problem.AddKeyBias(random_);
  const Outcome before = RunKernel(kernel(), problem);
  const std::size_t row = 2 * 32;
  for (std::size_t c = 0; c < row; ++c) problem.k[120 * row + c] = problem.v[120 * row + c] = 3.0;
  const Outcome after = RunKernel(kernel(), problem);
  for (std::size_t i = 0; i < 120 * row; ++i) ASSERT_EQ(before.o[i], after.o[i]);
  EXPECT_NE(before.o[120 * row], after.o[120 * row]);
}

TEST_P(KernelTest, DocumentsAreAsIfAlone) {
  Problem packed({.batch = 1, .n_query = 192 + 100, .n_key = 192 + 100}, Scalar::kFp32, random_);
  Problem alone = packed;
  packed.SetDocuments({0, 192, 292});  // 192: two tiles of queries, three of keys
  const Outcome both = RunKernel(kernel(), packed);
  alone.shape.n_query = alone.shape.n_key = 100;
  const auto second = [](std::vector<double>& x) { x.erase(x.begin(), x.begin() + 192 * 64); };
  for (auto* x : {&alone.q, &alone.k, &alone.v, &alone.o_gradient}) second(*x);
  const Outcome one = RunKernel(kernel(), alone);
  Outcome rest = both;
  for (auto* x : {&rest.o, &rest.dq, &rest.dk, &rest.dv}) second(*x);
  EXPECT_EQ(rest.o, one.o);
  EXPECT_EQ(rest.dq, one.dq);
  EXPECT_EQ(rest.dk, one.dk);
  EXPECT_EQ(rest.dv, one.dv);
}

TEST_P(KernelTest, PiecesOfAPrefillAreTheWhole) {
  Problem whole({.batch = 1, .n_query = 200, .n_key = 200}, Scalar::kFp32, random_);
  whole.AddKeyBias(random_);
  whole.AddRotation(true, 32);
  const Outcome expected = RunKernel(kernel(), whole);
  for (const std::int64_t begin : {0, 77, 199}) {
    Problem part = whole;
    const std::int64_t end = begin == 0 ? 77 : begin == 77 ? 199 : 200;
    part.shape.n_query = end - begin;
    part.terms.visibility.q_offset = begin;
    part.terms.key_bias = KeyBias{.values = whole.key_bias};
    const auto cut = [&](const std::vector<double>& x) {
      return std::vector<double>(x.begin() + begin * 64, x.begin() + end * 64);
    };
    part.q = cut(whole.q);
    part.o_gradient = cut(whole.o_gradient);
    ExpectClose("o", RunKernel(kernel(), part).o, cut(expected.o), 1e-6);
  }
}

// ---- bits --------------------------------------------------------------------------------------

void ExpectSameBits(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.o, b.o);
  EXPECT_EQ(a.lse, b.lse);
  EXPECT_EQ(a.dq, b.dq);
  EXPECT_EQ(a.dk, b.dk);
  EXPECT_EQ(a.dv, b.dv);
  EXPECT_EQ(a.d_key_bias, b.d_key_bias);
  EXPECT_EQ(a.d_distance_table, b.d_distance_table);
  EXPECT_EQ(a.d_slope, b.d_slope);
  EXPECT_EQ(a.d_intercept, b.d_intercept);
  EXPECT_EQ(a.d_psi, b.d_psi);
  EXPECT_EQ(a.d_row_factor, b.d_row_factor);
}

TEST_P(KernelTest, BitsDoNotDependOnThreads) {
  Problem problem({.n_head = 4, .n_kv_head = 2, .n_query = 200, .n_key = 200}, Scalar::kFp32,
                  random_);
  problem.AddKeyBias(random_);
  problem.AddDistanceTable(random_, 50, 0);
  problem.AddPiecewise(random_);
  const Outcome alone = RunKernel(kernel(), problem);
  for (int repetition = 0; repetition < 5; ++repetition) {
    ExpectSameBits(RunKernel(kernel(), problem, {.parallel_for = testing::Threads(2 + repetition)}),
                   alone);
  }
}

TEST_P(KernelTest, BitsOfRegionsDependOnNeitherThreadsNorNeighbours) {
  Problem problem({.batch = 3, .n_query = 150, .n_key = 150}, Scalar::kFp32, random_);
  problem.AddRotation(true, 32);
  problem.AddRegions(random_, 3, true);
  const Outcome all = RunKernel(kernel(), problem);
  for (int n_thread = 2; n_thread < 5; ++n_thread) {
    const Outcome out = RunKernel(kernel(), problem, {.parallel_for = testing::Threads(n_thread)});
    EXPECT_EQ(out.o, all.o);
    EXPECT_EQ(out.lse, all.lse);
  }
  Problem one = problem;
  one.shape.batch = 1;
  const std::ptrdiff_t size = 150 * 64;
  const auto second = [&](const std::vector<double>& x) {
    return std::vector<double>(x.begin() + size, x.begin() + 2 * size);
  };
  for (auto* x : {&one.q, &one.k, &one.v}) *x = second(*x);
  EXPECT_EQ(second(all.o), RunKernel(kernel(), one).o);
}

TEST_P(KernelTest, BitsDoNotDependOnNeighboursInTheBatch) {
  const ProblemShape shapes[] = {{.batch = 3, .n_query = 150, .n_key = 150},
                                 {.batch = 3, .n_head = 4, .n_query = 3, .n_key = 1100}};
  for (const ProblemShape& shape : shapes) {
    Problem problem(shape, Scalar::kFp32, random_);
    problem.terms.visibility.q_offset = shape.n_key - shape.n_query;
    problem.AddSlopes();
    const Outcome all = RunKernel(kernel(), problem);
    Problem one = problem;
    one.shape.batch = 1;
    const auto second = [&](const std::vector<double>& x) {
      const auto size = static_cast<std::ptrdiff_t>(x.size() / 3);
      return std::vector<double>(x.begin() + size, x.begin() + 2 * size);
    };
    for (auto* x : {&one.q, &one.k, &one.v, &one.o_gradient}) *x = second(*x);
    const Outcome alone = RunKernel(kernel(), one);
    EXPECT_EQ(second(all.o), alone.o);
    EXPECT_EQ(second(all.dq), alone.dq);
    EXPECT_EQ(second(all.dk), alone.dk);
    EXPECT_EQ(second(all.dv), alone.dv);
  }
}

// ---- skipping ----------------------------------------------------------------------------------

constexpr double kEpsilon = 0x1p-24;

double LargestValue(const Problem& problem) {
  double largest = 0.0;
  const std::size_t d = static_cast<std::size_t>(problem.shape.head_dim);
  for (std::size_t row = 0; row < problem.v.size(); row += d) {
    double sum = 0.0;
    for (std::size_t c = 0; c < d; ++c) sum += problem.v[row + c] * problem.v[row + c];
    largest = std::max(largest, std::sqrt(sum));
  }
  return largest;
}

// The first key that query i of sequence b may see, if its mask has no sinks.
std::int64_t FirstSeen(const Problem& problem, std::int64_t b, std::int64_t i) {
  const Visibility& see = problem.terms.visibility;
  const std::int64_t p = see.q_offset + i;
  std::int64_t first = see.window > 0 ? std::max(p - see.window + 1, std::int64_t{0}) : 0;
  if (!see.document_begin.empty()) {
    const std::int64_t n_position =
        static_cast<std::int64_t>(see.document_begin.size()) / problem.shape.batch;
    const auto at = static_cast<std::size_t>(b * n_position + p);
    first = std::max<std::int64_t>(first, see.document_begin[at]);
  }
  return first;
}

// The part of the visible pairs of a causal call that are not before their first key.
double VisitedShare(const Problem& problem, const Outcome& out) {
  const ProblemShape& n = problem.shape;
  const std::int64_t n_block = VisitedKeys::Count(n.n_query);
  double visited = 0.0, visible = 0.0;
  for (std::int64_t head = 0; head < n.batch * n.n_head; ++head) {
    for (std::int64_t i = 0; i < n.n_query; ++i) {
      const std::int64_t block = head * n_block + i / VisitedKeys::kQueries;
      const std::int64_t end = std::min(problem.terms.visibility.q_offset + i + 1, n.n_key);
      const std::int64_t first_seen = FirstSeen(problem, head / n.n_head, i);
      const std::int64_t first =
          std::max<std::int64_t>(first_seen, out.first_key[static_cast<std::size_t>(block)]);
      visible += static_cast<double>(std::max(end - first_seen, std::int64_t{0}));
      visited += static_cast<double>(std::max(end - first, std::int64_t{0}));
    }
  }
  return visited / visible;
}

void ExpectSkippingIsHarmless(const KernelUnderTest& tested, const Problem& problem) {
  if (!tested.skips) return;
  const AttentionKernel& kernel = tested.kernel;
  SCOPED_TRACE(problem.Name());
  const Outcome all = RunKernel(kernel, problem);
  const Outcome skipped = RunKernel(kernel, problem, {.skip_epsilon = kEpsilon});
  EXPECT_LE(skipped.n_tiles, all.n_tiles);
  for (std::size_t i = 0; i < all.o.size(); ++i) {
    ASSERT_NEAR(all.o[i], skipped.o[i], 2 * kEpsilon * LargestValue(problem) + 1e-6);
  }
  // What was dropped is no part of the gradients either.
  ExpectClose("dq", skipped.dq, all.dq, 1e-5);
  ExpectClose("dk", skipped.dk, all.dk, 1e-5);
  ExpectClose("dv", skipped.dv, all.dv, 1e-5);
  ExpectClose("d_key_bias", skipped.d_key_bias, all.d_key_bias, 1e-5);
}

TEST_P(KernelTest, SkippingLeavesOutWhatWeighsNothing) {
  Problem problem({.batch = 1, .n_query = 900, .n_key = 900, .head_dim = 16}, Scalar::kFp32,
                  random_);
  problem.AddKeyBias(random_, false, -1.0);
  ExpectSkippingIsHarmless(tested(), problem);
  if (!tested().skips) return;
  const Outcome all = RunKernel(kernel(), problem);
  const Outcome skipped = RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon});
  EXPECT_EQ(VisitedShare(problem, all), 1.0);
  EXPECT_LT(VisitedShare(problem, skipped), 0.5);
  if (tested().counts_tiles) {
    EXPECT_LT(2 * skipped.n_tiles, all.n_tiles);
  }
}

// All keys are 0, so their biases alone say what they hold.
TEST_P(KernelTest, SkippedKeysHoldAtMostEpsilon) {
  if (!tested().skips) return;
  constexpr std::size_t kKeys = 900, kHeads = 2;
  for (const Scalar scalar : Types()) {
    Problem problem({.batch = 1, .n_head = kHeads, .n_query = kKeys, .n_key = kKeys, .head_dim = 8},
                    scalar, random_);
    std::ranges::fill(problem.k, 0.0);
    problem.AddKeyBias(random_, false, -0.05);
    SCOPED_TRACE(problem.Name());
    const Outcome out = RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon});
    EXPECT_LT(VisitedShare(problem, out), 1.0);
    const auto n_block = static_cast<std::size_t>(VisitedKeys::Count(kKeys));
    for (std::size_t h = 0; h < kHeads; ++h) {
      const std::span<const double> bias = std::span(problem.key_bias).subspan(h * kKeys, kKeys);
      const double anchor = std::ranges::max(bias);
      for (std::size_t i = 0; i < kKeys; ++i) {
        const std::size_t block = h * n_block + i / VisitedKeys::kQueries;
        const auto first = static_cast<std::size_t>(out.first_key[block]);
        double all = 0.0, skipped = 0.0;
        for (std::size_t j = 0; j <= i; ++j) {
          const double weight = std::exp(bias[j] - anchor);
          all += weight;
          if (j < first) skipped += weight;
        }
        ASSERT_LE(skipped, kEpsilon * all) << "query " << i << " of head " << h;
      }
    }
  }
}

// On a GPU, the keys of few queries are split. More queries than that first find which keys may be
// skipped.
TEST_P(KernelTest, WideHeadsOfManyKeysAreTheReferences) {
  constexpr std::int64_t kKeys = 560;
  for (const std::int64_t n_query : {40, 130}) {
    const ProblemShape shape = {.batch = 1,
                                .n_head = 2,
                                .n_kv_head = 1,
                                .n_query = n_query,
                                .n_key = kKeys,
                                .head_dim = 136};
    for (const bool rotates : {false, true}) {
      for (const Scalar scalar : Types()) {
        Problem problem(shape, scalar, random_);
        problem.terms.visibility.q_offset = kKeys - n_query;
        problem.AddKeyBias(random_, false, -1.0);
        if (rotates) problem.AddRotation(true, 64);
        SCOPED_TRACE(problem.Name());
        const Outcome out = RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon});
        if (tested().skips && n_query > 64) {
          EXPECT_LT(VisitedShare(problem, out), 1.0);
        }
        ExpectOutcome(out, RunReference(problem), BoundsOf(tested(), problem), problem);
      }
    }
  }
}

// With every kernel of a GPU: by the types, by the terms, and by the heads' channels.
TEST_P(KernelTest, WhatIsLeftAfterSkippingIsTheReferences) {
  if (!tested().skips) return;
  for (const std::int64_t head_dim : {24, 128}) {
    const ProblemShape shape = {.batch = head_dim > 64 ? 1 : 2,
                                .n_head = 2,
                                .n_kv_head = 1,
                                .n_query = 523,
                                .n_key = 571,
                                .head_dim = head_dim};
    const auto expect = [&](double largest_share, const auto& add_terms) {
      for (const Scalar scalar : Types()) {
        Problem problem(shape, scalar, random_);
        problem.terms.visibility.q_offset = 48;
        add_terms(problem);
        SCOPED_TRACE(problem.Name());
        const Outcome out = RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon});
        EXPECT_LT(VisitedShare(problem, out), largest_share);
        ExpectOutcome(out, RunReference(problem), BoundsOf(tested(), problem), problem);
      }
    };
    expect(0.95, [](Problem& p) {
      p.AddSlopes();
      p.slopes[0] = 0.5;  // the other head's is 1/256: it forgets nothing within these lengths
    });
    // Of two sequences, the first one forgets nothing.
    expect(0.9, [&](Problem& p) {
      p.AddKeyBias(random_, false, -1.0);
      const std::size_t n_first = p.shape.batch == 2 ? p.key_bias.size() / 2 : 0;
      for (std::size_t at = 0; at < n_first; ++at) {
        p.key_bias[at] *= 0.02;
      }
    });
    expect(0.75, [&](Problem& p) {
      p.AddDistanceTable(random_, 400, 0);
      for (std::size_t at = 0; at < p.table.size(); ++at) {
        p.table[at] -= static_cast<double>(at % 400);
      }
      p.terms.distance_table = DistanceTable{.values = p.table, .n_distance = 400};
    });
    // A kernel for all terms.
    if (head_dim > 64) continue;
    expect(0.75, [&](Problem& p) {
      p.AddKeyBias(random_, false, -1.0);
      p.terms.dropout = Dropout{.probability = 0.1, .seed = CommitSeed()};
    });
  }
}

// What calls that skip keys may have beside their bias. On a GPU, only those of a mask leave a call
// the kernels for few terms.
struct Beside {
  std::int64_t window = 0;
  std::vector<std::int32_t> cu_seqlens = {};
  bool rotates = false, drops = false;

  bool HasAllMasks() const { return window > 0 && !cu_seqlens.empty() && !rotates; }
  void AddTo(Problem& problem) const {
    problem.terms.visibility.window = window;
    if (!cu_seqlens.empty()) problem.SetDocuments(cu_seqlens);
    if (rotates) problem.AddRotation(true, problem.shape.head_dim / 16 * 16);
    if (drops) problem.terms.dropout = Dropout{.probability = 0.1, .seed = CommitSeed()};
  }
};

// A bias that forgets keys farther than some ten, of the keys or of the distances.
void AddForgetting(Problem& problem, SeededRandom& random, bool of_distances) {
  if (!of_distances) return problem.AddKeyBias(random, false, -1.0);
  const std::int64_t n = problem.terms.visibility.q_offset + problem.shape.n_query;
  problem.AddDistanceTable(random, n, 0);
  for (std::size_t at = 0; at < problem.table.size(); ++at) {
    problem.table[at] -= static_cast<double>(at % static_cast<std::size_t>(n));
  }
  problem.terms.distance_table = DistanceTable{.values = problem.table, .n_distance = n};
}

TEST_P(KernelTest, WhatIsLeftAfterSkippingBesideOtherTermsIsTheReferences) {
  if (!tested().skips) return;
  // The last document's queries see no key.
  const std::vector<std::int32_t> cu_seqlens = {0, 420, 600, 650, 671};
  const Beside besides[] = {
      {.window = 520},
      {.cu_seqlens = cu_seqlens},
      {.window = 520, .cu_seqlens = cu_seqlens},
      {.rotates = true},
      {.window = 520, .cu_seqlens = cu_seqlens, .rotates = true, .drops = true}};
  for (const std::int64_t head_dim : {24, 128}) {
    const ProblemShape shape = {.batch = head_dim > 64 ? 1 : 2,
                                .n_head = 2,
                                .n_kv_head = 1,
                                .n_query = 523,
                                .n_key = 619,
                                .head_dim = head_dim};
    for (const Beside& beside : besides) {
      if (head_dim > 64 && !beside.HasAllMasks()) continue;
      for (const Scalar scalar : Types()) {
        Problem problem(shape, scalar, random_);
        problem.terms.visibility.q_offset = 148;
        AddForgetting(problem, random_, random_.Chance(0.5));
        beside.AddTo(problem);
        SCOPED_TRACE(problem.Name());
        const Outcome out = RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon});
        EXPECT_LT(VisitedShare(problem, out), 0.85);
        ExpectOutcome(out, RunReference(problem), BoundsOf(tested(), problem), problem);
      }
    }
  }
}

// The values of the oldest keys, which many queries see, are NaN, and every query skips these keys.
TEST_P(KernelTest, WhatIsLeftOutIsNotRead) {
  if (!tested().skips) return;
  constexpr std::size_t kOldest = 128;
  const std::vector<std::int32_t> cu_seqlens = {0, 600, 640};
  const Beside besides[] = {{},
                            {.window = 600},
                            {.cu_seqlens = cu_seqlens},
                            {.window = 600, .cu_seqlens = cu_seqlens},
                            {.rotates = true},
                            {.window = 600, .cu_seqlens = cu_seqlens, .rotates = true}};
  const auto is_nan = [](double x) { return std::isnan(x); };
  for (const std::int64_t head_dim : {16, 128}) {
    for (const Beside& beside : besides) {
      if (head_dim > 64 && !beside.HasAllMasks()) continue;
      for (const Scalar scalar : Types()) {
        for (const bool of_distances : {false, true}) {
          Problem problem({.batch = 1,
                           .n_head = 2,
                           .n_kv_head = 1,
                           .n_query = 256,
                           .n_key = 640,
                           .head_dim = head_dim},
                          scalar, random_);
          problem.terms.visibility.q_offset = 384;
          AddForgetting(problem, random_, of_distances);
          beside.AddTo(problem);
          const std::size_t n_oldest = kOldest * static_cast<std::size_t>(head_dim);
          std::fill_n(problem.v.begin(), n_oldest, std::numeric_limits<double>::quiet_NaN());
          SCOPED_TRACE(problem.Name());
          EXPECT_TRUE(std::ranges::any_of(RunKernel(kernel(), problem).o, is_nan));
          const Outcome out = RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon});
          for (const std::int32_t first : out.first_key) {
            EXPECT_GE(static_cast<std::size_t>(first), kOldest);
          }
          EXPECT_TRUE(std::ranges::none_of(out.o, is_nan));
          EXPECT_TRUE(std::ranges::none_of(out.dq, is_nan));
          EXPECT_TRUE(std::ranges::none_of(out.d_distance_table, is_nan));
          for (const auto* gradient : {&out.dk, &out.dv}) {
            const auto from_oldest = std::span(*gradient).first(n_oldest);
            EXPECT_TRUE(std::ranges::all_of(from_oldest, [](double x) { return x == 0.0; }));
            EXPECT_TRUE(std::ranges::none_of(*gradient, is_nan));
          }
          EXPECT_TRUE(std::ranges::none_of(out.d_key_bias, is_nan));
        }
      }
    }
  }
}

// Backward visits what forward visited, and nothing else: no rounding, but no gradient at all.
TEST_P(KernelTest, AKeyThatEveryQuerySkippedHasNoGradient) {
  if (!tested().skips) return;
  constexpr std::size_t kKeys = 600, kHeadDim = 8;
  for (const Scalar scalar : Types()) {
    Problem problem({.batch = 1, .n_query = 96, .n_key = kKeys, .head_dim = kHeadDim}, scalar,
                    random_);
    problem.terms.visibility.q_offset = 504;
    problem.AddKeyBias(random_, false, -0.5);
    SCOPED_TRACE(problem.Name());
    const Outcome out = RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon});
    for (std::size_t h = 0; h < 2; ++h) {
      const std::span<const std::int32_t> of_head = std::span(out.first_key).subspan(3 * h, 3);
      const auto first = static_cast<std::size_t>(std::ranges::min(of_head));
      EXPECT_GT(first, 0U);
      for (std::size_t j = 0; j < first; ++j) {
        EXPECT_EQ(out.d_key_bias[h * kKeys + j], 0.0) << "key " << j << " of head " << h;
        for (std::size_t c = 0; c < kHeadDim; ++c) {
          const std::size_t at = (j * 2 + h) * kHeadDim + c;
          EXPECT_EQ(out.dk[at], 0.0);
          EXPECT_EQ(out.dv[at], 0.0);
        }
      }
    }
  }
}

// The first 128 queries skip the oldest 128 keys, which the last 128 queries may visit, since what
// lies near them weighs less than that. To those, the oldest keys are worth e^-64, and to the first
// queries e^-51.
TEST_P(KernelTest, AKeyHasNoGradientOfTheQueriesThatSkippedIt) {
  if (!tested().skips) return;
  constexpr std::size_t kKeys = 640, kOldest = 128, kHeadDim = 8;
  for (const Scalar scalar : Types()) {
    Problem problem({.batch = 1,
                     .n_head = 1,
                     .n_kv_head = 1,
                     .n_query = 256,
                     .n_key = kKeys,
                     .head_dim = kHeadDim},
                    scalar, random_);
    problem.terms.visibility.q_offset = 384;
    for (std::size_t j = 0; j < kKeys; ++j) {
      problem.key_bias.push_back(j < 448 ? 0.2 * static_cast<double>(j) : -300.0);
    }
    problem.terms.key_bias = KeyBias{.values = problem.key_bias};
    SCOPED_TRACE(problem.Name());
    const auto largest_of_oldest = [](const Outcome& out) {
      double largest = 0.0;
      for (std::size_t at = 0; at < kOldest * kHeadDim; ++at) {
        largest = std::max({largest, std::abs(out.dk[at]), std::abs(out.dv[at])});
      }
      for (std::size_t j = 0; j < kOldest; ++j) {
        largest = std::max(largest, std::abs(out.d_key_bias[j]));
      }
      return largest;
    };
    const Outcome skipped = RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon});
    for (int block = 0; block < 4; ++block) {
      EXPECT_GE(skipped.first_key[static_cast<std::size_t>(block)], kOldest);
    }
    EXPECT_LT(largest_of_oldest(skipped), 1e-25);
    EXPECT_GT(largest_of_oldest(RunKernel(kernel(), problem)), 1e-24);
  }
}

TEST_P(KernelTest, OneHugeFarKeyIsNotSkipped) {
  Problem problem({.batch = 1, .n_query = 600, .n_key = 600, .head_dim = 8}, Scalar::kFp32,
                  random_);
  problem.AddKeyBias(random_, false, -1.0);
  // Key 3 outweighs what lies between it and query 400: by its norm, then by its bias.
  Problem by_norm = problem;
  by_norm.terms.key_bias = KeyBias{.values = by_norm.key_bias};
  for (std::size_t c = 0; c < 8; ++c) {
    by_norm.k[3 * 16 + c] = 2000.0 * problem.q[400 * 16 + c];
  }
  ExpectSkippingIsHarmless(tested(), by_norm);
  Problem by_bias = problem;
  by_bias.key_bias[3] += 1000.0;
  by_bias.terms.key_bias = KeyBias{.values = by_bias.key_bias};
  ExpectSkippingIsHarmless(tested(), by_bias);
}

TEST_P(KernelTest, BiasesOfAnySignAreSkippedSafely) {
  for (const double drift : {-1.0, 0.0, 1.0}) {
    Problem problem({.batch = 1, .n_query = 600, .n_key = 600, .head_dim = 8}, Scalar::kFp32,
                    random_);
    problem.AddKeyBias(random_, false, drift);
    ExpectSkippingIsHarmless(tested(), problem);
    Problem table({.batch = 1, .n_query = 600, .n_key = 600, .head_dim = 8}, Scalar::kFp32,
                  random_);
    for (std::int64_t h = 0; h < 2; ++h) {
      for (std::int64_t d = 0; d < 600; ++d) table.table.push_back(drift * static_cast<double>(d));
    }
    table.table[450] = 900.0;  // far, but heavy
    table.terms.distance_table = DistanceTable{.values = table.table, .n_distance = 600};
    ExpectSkippingIsHarmless(tested(), table);
    Problem sinks = problem;
    sinks.terms.key_bias = KeyBias{.values = sinks.key_bias};
    sinks.terms.visibility = {.window = 300, .n_sink = 70};
    ExpectSkippingIsHarmless(tested(), sinks);
    // Where the bias falls towards a query, the oldest key that it sees weighs most.
    table.terms.visibility.window = 513;
    ExpectSkippingIsHarmless(tested(), table);
    problem.SetDocuments({0, 70, 600});
    ExpectSkippingIsHarmless(tested(), problem);
  }
}

// One of them outweighs the window.
TEST_P(KernelTest, SinksAreNotSkipped) {
  Problem problem({.batch = 1, .n_query = 800, .n_key = 800, .head_dim = 8}, Scalar::kFp32,
                  random_);
  problem.AddKeyBias(random_, false, -1.0);
  problem.key_bias[3] += 1000.0;
  problem.terms.key_bias = KeyBias{.values = problem.key_bias};
  problem.terms.visibility = {.window = 520, .n_sink = 8};
  ExpectSkippingIsHarmless(tested(), problem);
}

// Rows may be made longer as they are rotated: here those of the first positions are 32 times as
// long, a power of two, which two bytes hold. Key 3 then outweighs what lies between it and query
// 400.
TEST_P(KernelTest, KeysThatARotationMakesLongAreNotSkipped) {
  for (const Scalar scalar : Types()) {
    Problem problem({.batch = 1, .n_query = 600, .n_key = 600, .head_dim = 8}, scalar, random_);
    problem.AddKeyBias(random_, false, -1.0);
    problem.AddRotation(true, 8);
    for (std::size_t at = 0; at < 600 * 4; ++at) {
      problem.cos[at] = at < 40 ? 32.0 : 1.0;
      problem.sin[at] = 0.0;
    }
    for (std::size_t c = 0; c < 8; ++c) problem.k[3 * 16 + c] = 64.0 * problem.q[400 * 16 + c];
    ExpectSkippingIsHarmless(tested(), problem);
  }
}

// A rotated row of two bytes is kept as a rounded and a low part. Far keys weigh e^-4 here; but by
// rounded parts alone, they would score less by 40 and more, or near keys that much more, and every
// query would skip them.
TEST_P(KernelTest, LowPartsOfRotatedRowsCountInTheBound) {
  if (!tested().skips) return;
  constexpr std::size_t kKeys = 640, kFar = 128, kHeadDim = 8;
  for (const Scalar scalar : Types()) {
    if (!HasTwoBytes(scalar)) continue;
    const double step = scalar == Scalar::kBf16 ? 0x1p-7 : 0x1p-10;  // from 1 to the next number
    for (const bool is_rounded_down : {true, false}) {
      Problem problem({.batch = 1,
                       .n_head = 1,
                       .n_kv_head = 1,
                       .n_query = 128,
                       .n_key = kKeys,
                       .head_dim = kHeadDim},
                      scalar, random_);
      problem.terms.visibility.q_offset = 512;
      problem.AddRotation(true, kHeadDim);
      std::ranges::fill(problem.cos, is_rounded_down ? 1.0 + 0.45 * step : 1.0 - 0.23 * step);
      std::ranges::fill(problem.sin, 0.0);
      const double factor = problem.cos.front() * problem.cos.front();
      // Powers of two. Queries score `weight` with keys that are as long.
      const double length = scalar == Scalar::kBf16 ? 64.0 : 256.0;
      std::ranges::fill(problem.q, length);
      problem.terms.scale = 1.0;
      const double weight = factor * kHeadDim * length * length;
      for (std::size_t j = 0; j < kKeys; ++j) {
        const bool is_long = j < kFar || !is_rounded_down;
        std::fill_n(problem.k.begin() + static_cast<std::ptrdiff_t>(j * kHeadDim), kHeadDim,
                    is_long ? length : 0.0);
        const double of_far = is_rounded_down ? -weight - 4.0 : -4.0;
        problem.key_bias.push_back(j < kFar ? of_far : 0.0);
      }
      problem.terms.key_bias = KeyBias{.values = problem.key_bias};
      SCOPED_TRACE(problem.Name());
      const Outcome out = RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon});
      EXPECT_EQ(VisitedShare(problem, out), 1.0);
    }
  }
}

// Far keys weigh by what they are turned to: here by rows that are 30 times as long, of keys that
// near queries turn as ever.
TEST_P(KernelTest, KeysThatARegionMakesLongAreNotSkipped) {
  for (const bool queries_are_long : {true, false}) {
    Problem problem({.batch = 1, .n_query = 500, .n_key = 500, .head_dim = 8}, Scalar::kFp32,
                    random_);
    problem.AddKeyBias(random_, false, -1.0);
    problem.AddRotation(true, 8);
    for (std::size_t at = 0; at < 8; ++at) {  // rows 0 and 1: no angle
      problem.cos[at] = at < 4 ? 30.0 : 1.0;
      problem.sin[at] = 0.0;
    }
    const testing::Stretch n = {.n_query = 500, .n_key = 500};
    const auto all = [&](std::int64_t row) { return n.Keys([=](std::int64_t) { return row; }); };
    const std::vector<std::int32_t> is_long = all(0), as_ever = all(1),
                                    begin = n.Begins([](std::int64_t p) { return p - 100; });
    problem.regions = {{.key_begin = begin, .query_row = as_ever, .key_row = as_ever},
                       {.query_row = queries_are_long ? is_long : as_ever,
                        .key_row = queries_are_long ? as_ever : is_long}};
    problem.terms.regions = problem.regions;
    // Key 3 then outweighs what lies between it and query 400, as it did not without regions.
    for (std::size_t c = 0; c < 8; ++c) problem.k[3 * 16 + c] = 30.0 * problem.q[400 * 16 + c];
    ExpectSkippingIsHarmless(tested(), problem);
  }
}

TEST_P(KernelTest, SkippingWithRegionsLeavesOutWhatWeighsNothing) {
  if (!tested().counts_tiles) return;
  Problem problem({.batch = 1, .n_query = 900, .n_key = 900, .head_dim = 16}, Scalar::kFp32,
                  random_);
  problem.AddKeyBias(random_, false, -1.0);
  problem.AddRotation(true, 16);
  problem.AddRegions(random_, 3, true);
  ExpectSkippingIsHarmless(tested(), problem);
  EXPECT_LT(2 * RunKernel(kernel(), problem, {.skip_epsilon = kEpsilon}).n_tiles,
            RunKernel(kernel(), problem).n_tiles);
}

// ---- dropout -----------------------------------------------------------------------------------

TEST_P(KernelTest, DropoutKeepsTheMean) {
  Problem problem({.batch = 1, .n_query = 400, .n_key = 400}, Scalar::kFp32, random_);
  std::ranges::fill(problem.v, 1.0);
  problem.terms.dropout = Dropout{.probability = 0.25, .seed = CommitSeed()};
  double sum = 0.0;
  const Outcome out = RunKernel(kernel(), problem);
  for (const double x : out.o) sum += x;
  // Rows of 200 keys with p = 1/400 .. 1: the mean of 800 of them is off by less than 0.03.
  EXPECT_NEAR(sum / static_cast<double>(out.o.size()), 1.0, 0.1);
}

// ---- subnormal numbers -------------------------------------------------------------------------

// Falls by this from each key to the one before it: beyond 146 keys the probabilities are below the
// least normal number, beyond 173 they are nothing at all.
constexpr double kFall = 0.6;
constexpr std::int64_t kFallingKeys = 200;

struct SubnormalCase {
  const char* name;
  std::function<void(Problem&, SeededRandom&)> add;
  bool is_zero_in_fp16 = false;  // what it adds
};

const SubnormalCase kSubnormalCases[] = {
    {"a bias per key", [](Problem& p, SeededRandom& r) { p.AddKeyBias(r, false, -kFall); }},
    {"slopes",
     [](Problem& p, SeededRandom&) {
       p.slopes.assign(static_cast<std::size_t>(p.shape.n_head), kFall);
       p.terms.key_bias = KeyBias{.slope = p.slopes};
     }},
    {"a two-sided bias",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility.causal = false;
       p.AddKeyBias(r, true, -kFall);
     }},
    {"a distance table",
     [](Problem& p, SeededRandom& r) {
       p.AddDistanceTable(r, kFallingKeys, 0);
       for (std::size_t at = 0; at < p.table.size(); ++at) {
         p.table[at] -= kFall * static_cast<double>(at % static_cast<std::size_t>(kFallingKeys));
       }
     }},
    {"a piecewise linear bias",
     [](Problem& p, SeededRandom& r) {
       p.AddPiecewise(r);
       for (std::size_t t = 0; t < p.psi.size(); ++t) p.psi[t] = static_cast<double>(t);
       std::ranges::fill(p.row_factor, 1.0 / static_cast<double>(kFallingKeys));
       for (double& slope : p.slope) slope -= kFall * static_cast<double>(kFallingKeys);
     }},
    {"dropout",
     [](Problem& p, SeededRandom& r) {
       p.AddKeyBias(r, false, -kFall);
       p.terms.dropout = Dropout{.probability = 0.1, .seed = 5};
     }},
    {"rotation with growth",
     [](Problem& p, SeededRandom& r) {
       p.AddRotation(true, 16, true);
       p.AddKeyBias(r, false, -kFall);
     }},
    {"documents and a window",
     [](Problem& p, SeededRandom& r) {
       p.terms.visibility.window = kFallingKeys - 5;
       p.SetDocuments({0, 7, kFallingKeys});
       p.AddKeyBias(r, false, -kFall);
     }},
    {"regions of blended keys",
     [](Problem& p, SeededRandom& r) {
       p.AddRotation(true, 16);
       p.AddRegions(r, 3, true);
       p.AddKeyBias(r, false, -kFall);
     }},
    {"inputs",
     [](Problem& p, SeededRandom& r) {
       p.AddRotation(false, 16);
       p.AddSubnormals(r);
     },
     true},
    {"gradients",
     [](Problem& p, SeededRandom& r) {
       p.AddKeyBias(r);
       for (double& x : p.o_gradient) x = std::copysign(0x1p-128, x);
     },
     true},
};

// What flushing may change is far below the bounds of all other tests: they hold here as well.
TEST_P(KernelTest, SubnormalNumbersAreFlushedOnEveryThread) {
  if (tested().is_exact) return;  // in double there are none of these
  std::int64_t n_kept = 0;
  for (const SubnormalCase& one : kSubnormalCases) {
    SCOPED_TRACE(one.name);
    for (const Scalar scalar : Types()) {
      if (one.is_zero_in_fp16 && scalar == Scalar::kFp16) continue;
      Problem problem({.n_query = kFallingKeys, .n_key = kFallingKeys, .head_dim = 16}, scalar,
                      random_);
      one.add(problem, random_);
      SCOPED_TRACE(problem.Name());
      const Outcome expected = RunReference(problem);
      if (!tested().uses_host_threads) {
        ExpectOutcome(RunKernel(kernel(), problem), expected, BoundsOf(tested(), scalar), problem);
        continue;
      }
      for (const int n_threads : {1, 3}) {
        SubnormalTraces traces;
        const ParallelFor threads = n_threads == 1 ? ParallelFor() : traces.Threads(n_threads);
        ExpectOutcome(
            RunKernel(kernel(), problem,
                      {.parallel_for = threads, .subnormals = Subnormals::kFlushed}, &traces),
            expected, BoundsOf(tested(), scalar), problem);
        EXPECT_EQ(traces.n_operands(), 0) << n_threads << " threads";
        EXPECT_EQ(traces.n_results(), 0) << n_threads << " threads";
      }
      SubnormalTraces traces;
      ExpectOutcome(RunKernel(kernel(), problem, {.subnormals = Subnormals::kKept}, &traces),
                    expected, BoundsOf(tested(), scalar), problem);
      n_kept += traces.n();
      // The other instruction sets' exponential is 0 where it would be subnormal.
      if (kernel().name == "cpu/avx512") {
        EXPECT_GT(traces.n(), 0) << "the inputs make no subnormal numbers";
      }
    }
  }
  if (tested().uses_host_threads) {
    EXPECT_GT(n_kept, 0) << "the inputs make no subnormal numbers";
  }
}

// ---- refusals ----------------------------------------------------------------------------------

TEST_P(KernelTest, WhatDoesNotFitIsRefusedByName) {
  Problem problem({.batch = 1, .n_query = 4, .n_key = 4, .head_dim = 8}, Scalar::kFp32, random_);
  std::vector<float> numbers(256);
  std::vector<double> lse(8);
  const HeadsView view = {.data = numbers.data(),
                          .batch = 1,
                          .n_row = 4,
                          .n_head = 2,
                          .head_dim = 8,
                          .batch_step = 64,
                          .row_step = 16,
                          .head_step = 8};
  const HeadsBuffer buffer = {.data = numbers.data() + 128,
                              .batch = 1,
                              .n_row = 4,
                              .n_head = 2,
                              .head_dim = 8,
                              .batch_step = 64,
                              .row_step = 16,
                              .head_step = 8};
  const AttentionForwardCall good = {.inputs = {view, view, view}, .o = buffer, .lse = lse};
  EXPECT_TRUE(kernel().forward(good, {.scale = 1.0}, {}).ok());
  const auto expect_refused = [&](const AttentionForwardCall& call, const AttentionTerms& terms,
                                  std::string_view named) {
    const Status status = kernel().forward(call, terms, {});
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_TRUE(status.message().find(named) != std::string::npos) << status.message();
  };
  AttentionForwardCall call = good;
  call.inputs.k.head_dim = 16;
  expect_refused(call, {.scale = 1.0}, "v:");
  call = good;
  call.inputs.k.n_head = call.inputs.v.n_head = 3;
  expect_refused(call, {.scale = 1.0}, "k: has 3 heads");
  call = good;
  call.inputs.q.row_step = std::int64_t{1} << 30;
  expect_refused(call, {.scale = 1.0}, "q: spans more than 2147483648 elements");
  call = good;
  call.inputs.v.scalar = Scalar::kBf16;
  expect_refused(call, {.scale = 1.0}, "v: is bf16, but q is fp32");
  call = good;
  call.inputs.q.row_step = -16;
  expect_refused(call, {.scale = 1.0}, "q: has a negative step");
  call = good;
  call.inputs.q.data = nullptr;
  expect_refused(call, {.scale = 1.0}, "q: is null");
  call = good;
  call.o.row_step = 8;
  expect_refused(call, {.scale = 1.0}, "o: has rows that overlap");
  call = good;
  call.lse = std::span(lse).first(7);
  expect_refused(call, {.scale = 1.0}, "lse: has 7 numbers, expected 8");
  const std::vector<double> seven(7);
  expect_refused(good, {.scale = 1.0, .key_bias = KeyBias{.values = seven}}, "key_bias.values");
  expect_refused(good, {.scale = 1.0, .key_bias = KeyBias{.slope = seven}}, "key_bias.slope");
  expect_refused(
      good, {.scale = 1.0, .rotation = RotationTable{.cos = seven, .sin = seven, .n_rotary = 3}},
      "rotation.n_rotary");
  expect_refused(
      good, {.scale = 1.0, .rotation = RotationTable{.cos = seven, .sin = seven, .n_rotary = 4}},
      "rotation.cos");
  const std::vector<std::int32_t> rows = {0, 1, 2, 3}, beyond = {0, 1, 2, 4};
  const auto of_rows = [](std::span<const double> angles, std::span<const std::int32_t> row) {
    return AttentionTerms{
        .scale = 1.0,
        .rotation = RotationTable{.cos = angles, .sin = angles, .n_rotary = 2, .row = row}};
  };
  const std::vector<double> four(4);
  EXPECT_TRUE(kernel().forward(good, of_rows(four, rows), {}).ok());
  expect_refused(good, of_rows(four, beyond),
                 "rotation.row: number 3 is row 4, but the rotation table has 4 rows");
  expect_refused(good, of_rows(four, std::span(rows).first(3)),
                 "rotation.row: has 3 numbers, expected 4");
  expect_refused(good,
                 {.scale = 1.0, .distance_table = DistanceTable{.values = seven, .n_distance = 3}},
                 "distance_table.values");
  expect_refused(good, {.scale = 1.0, .dropout = Dropout{.probability = 1.0}},
                 "dropout.probability");
  expect_refused(good, {.scale = 1.0, .visibility = {.window = -1}}, "visibility.window");
  expect_refused(good, {.scale = 1.0, .visibility = {.causal = false, .window = 2, .n_sink = 1}},
                 "visibility.n_sink");
}

// (1, n_row, 2, 8), one row behind the other.
template <typename Pointer>
HeadsViewOf<Pointer> TwoHeads(Pointer data, std::int64_t n_row) {
  return {.data = data,
          .batch = 1,
          .n_row = n_row,
          .n_head = 2,
          .head_dim = 8,
          .batch_step = 96,
          .row_step = 16,
          .head_step = 8};
}

// One call on a GPU, of which nothing may be read: no address is one of this process.
struct GpuCall {
  GpuCall() {
    const auto address = [this] { return reinterpret_cast<void*>(next += 4096); };
    const auto heads = [&] { return TwoHeads<void*>(address(), 4); };
    const auto view = [&] { return TwoHeads<const void*>(address(), 4); };
    forward = {
        .inputs = {view(), view(), view()}, .o = heads(), .lse = {address(), 8, Scalar::kFp32, {}}};
    backward = {.inputs = forward.inputs,
                .o = view(),
                .do_ = view(),
                .lse = {address(), 8, Scalar::kFp32, {}},
                .dq = heads(),
                .dk = heads(),
                .dv = heads(),
                .d_key_bias = {address(), 8, Scalar::kFp32, {}},
                .d_distance_table = {address(), 6, Scalar::kFp32, {}},
                .d_slope = {address(), 6, Scalar::kFp32, {}},
                .d_intercept = {address(), 6, Scalar::kFp32, {}},
                .d_psi = {address(), 4, Scalar::kFp32, {}},
                .d_row_factor = {address(), 4, Scalar::kFp32, {}}};
    for (MemorySpace* memory : Memories()) *memory = kGpu;
    const auto doubles = [&](std::size_t n) {
      return std::span(static_cast<const double*>(address()), n);
    };
    const auto rows = [&](std::size_t n) {
      return std::span(static_cast<const std::int32_t*>(address()), n);
    };
    terms = {
        .scale = 1.0,
        .visibility = {.document_begin = rows(4)},
        .key_bias = KeyBias{.values = doubles(8)},
        .rotation =
            RotationTable{.cos = doubles(16), .sin = doubles(16), .n_rotary = 8, .row = rows(4)},
        .distance_table = DistanceTable{.values = doubles(6), .n_distance = 3},
        .piecewise = PiecewiseLinear{.psi = doubles(4),
                                     .row_factor = doubles(4),
                                     .knots = doubles(2),
                                     .slope = doubles(6),
                                     .intercept = doubles(6)},
        .memory = kGpu};
  }
  static constexpr MemorySpace kGpu = {.kind = MemorySpace::Kind::kCuda, .ordinal = 1};
  std::vector<MemorySpace*> Memories() {
    return {&forward.inputs.q.memory,
            &forward.inputs.k.memory,
            &forward.inputs.v.memory,
            &forward.o.memory,
            &forward.lse.memory,
            &backward.inputs.q.memory,
            &backward.inputs.k.memory,
            &backward.inputs.v.memory,
            &backward.o.memory,
            &backward.do_.memory,
            &backward.lse.memory,
            &backward.dq.memory,
            &backward.dk.memory,
            &backward.dv.memory,
            &backward.d_key_bias.memory,
            &backward.d_distance_table.memory,
            &backward.d_slope.memory,
            &backward.d_intercept.memory,
            &backward.d_psi.memory,
            &backward.d_row_factor.memory,
            &terms.memory};
  }
  std::uintptr_t next = 4096;
  AttentionForwardCall forward;
  AttentionBackwardCall backward;
  AttentionTerms terms;
  AttentionKernelOptions options = {
      .working_memory = {.allocate = [](void*, std::int64_t, void*) -> void* { return nullptr; },
                         .release = [](void*, void*, void*) {}}};
};

void ExpectNamed(const Status& status, Code code, std::string_view named) {
  EXPECT_EQ(status.code(), code);
  EXPECT_TRUE(status.message().find(named) != std::string::npos) << status.message();
}

TEST(AttentionCheck, ShapesOfAGpusCallAreCheckedWithoutReadingIt) {
  GpuCall call;
  const auto check_forward = [&] {
    return CheckAttentionShapes(call.forward, call.terms, call.options, GpuCall::kGpu);
  };
  const auto check_backward = [&] {
    return CheckAttentionShapes(call.backward, call.terms, call.options, GpuCall::kGpu);
  };
  EXPECT_TRUE(check_forward().ok()) << check_forward().message();
  EXPECT_TRUE(check_backward().ok()) << check_backward().message();
  // Each view is refused in other memory, by its name.
  const char* names[] = {"q",       "k",           "v",          "o",
                         "lse",     "q",           "k",          "v",
                         "o",       "do",          "lse",        "dq",
                         "dk",      "dv",          "d_key_bias", "d_distance_table",
                         "d_slope", "d_intercept", "d_psi",      "d_row_factor",
                         "terms"};
  const std::vector<MemorySpace*> memories = call.Memories();
  ASSERT_EQ(std::size(names), memories.size());
  for (std::size_t at = 0; at < memories.size(); ++at) {
    const bool is_forward = at < 5;
    *memories[at] = {};
    ExpectNamed(is_forward ? check_forward() : check_backward(), Code::kInvalidArgument,
                Str("attention: ", names[at],
                    ": lies in host memory, but this back-end reads the memory of GPU 1"));
    *memories[at] = {.kind = MemorySpace::Kind::kCuda, .ordinal = 0};
    ExpectNamed(is_forward ? check_forward() : check_backward(), Code::kInvalidArgument,
                Str("attention: ", names[at], ": lies in the memory of GPU 0"));
    *memories[at] = GpuCall::kGpu;
  }
  ExpectNamed(CheckAttentionNumbers(call.forward.inputs, call.terms), Code::kInvalidArgument,
              "terms: lies in the memory of GPU 1, but this back-end reads host memory");
  std::int64_t n_tiles = 0;
  call.forward.n_tiles = &n_tiles;
  ExpectNamed(check_forward(), Code::kInvalidArgument, "n_tiles: must be null for a GPU");
  call.options.working_memory.release = nullptr;
  ExpectNamed(check_backward(), Code::kInvalidArgument, "working_memory: a GPU needs both");
}

TEST_P(KernelTest, WhatIsForAGpuIsRefusedByName) {
  const GpuCall given;
  const auto forward = [&](const GpuCall& call) {
    return kernel().forward(call.forward, call.terms, call.options);
  };
  ExpectNamed(forward(given), Code::kInvalidArgument,
              "q: lies in the memory of GPU 1, but this back-end reads host memory");
  ExpectNamed(kernel().backward(given.backward, given.terms, given.options), Code::kInvalidArgument,
              "q: lies in the memory of GPU 1");
  GpuCall call;
  for (MemorySpace* memory : call.Memories()) *memory = {};
  ExpectNamed(forward(call), Code::kInvalidArgument, "working_memory: is for a GPU");
  call.options.stream = &call;
  ExpectNamed(forward(call), Code::kInvalidArgument, "stream: is for a GPU");
}

TEST_P(KernelTest, OffsetsOfKeysThatATermLacksAreRefusedByName) {
  Problem problem({.batch = 1, .n_query = 4, .n_key = 4, .head_dim = 8}, Scalar::kFp32, random_);
  std::vector<float> numbers(256);
  std::vector<double> lse(8);
  const HeadsView view = TwoHeads<const void*>(numbers.data(), 4);
  const AttentionForwardCall call = {
      .inputs = {view, view, view}, .o = TwoHeads<void*>(numbers.data() + 128, 4), .lse = lse};
  const auto forward = [&](const AttentionTerms& terms) {
    return kernel().forward(call, terms, {});
  };
  const std::vector<double> eight(8);
  ExpectNamed(forward({.scale = 1.0,
                       .visibility = {.k_offset = 8},
                       .key_bias = KeyBias{.values = eight, .two_sided = true}}),
              Code::kUnimplemented, "key_bias: two-sided: visibility.k_offset is 8");
  ExpectNamed(
      forward(
          {.scale = 1.0, .visibility = {.k_offset = 13}, .dropout = Dropout{.probability = 0.1}}),
      Code::kUnimplemented, "dropout: visibility.k_offset is 13, but must be a multiple of 8");
  ExpectNamed(forward({.scale = 1.0, .visibility = {.k_offset = -1}}), Code::kInvalidArgument,
              "visibility.k_offset: -1 is out of range");
  const std::vector<std::int32_t> begins(5);
  const AttentionTerms documents = {.scale = 1.0,
                                    .visibility = {.k_offset = 2, .document_begin = begins}};
  ExpectNamed(forward(documents), Code::kInvalidArgument,
              "visibility.document_begin: has 5 numbers, expected 6");
  AttentionForwardCall bf16 = call;
  bf16.lse = {lse.data(), 8, Scalar::kBf16, {}};
  ExpectNamed(kernel().forward(bf16, {.scale = 1.0}, {}), Code::kInvalidArgument,
              "lse: is bf16, but must be fp32 or fp64");
  AttentionForwardCall narrow = call;
  narrow.o.scalar = Scalar::kBf16;
  ExpectNamed(kernel().forward(narrow, {.scale = 1.0}, {}), Code::kInvalidArgument,
              "o: is bf16, but q is fp32");
}

TEST_P(KernelTest, RegionsThatDoNotFitAreRefusedByName) {
  Problem problem({.batch = 1, .n_query = 4, .n_key = 6, .head_dim = 8}, Scalar::kFp32, random_);
  problem.AddRotation(true, 8);
  std::vector<float> numbers(512);
  std::vector<double> lse(8);
  const auto view = [&](std::size_t at, std::int64_t n_row) {
    return TwoHeads<const void*>(numbers.data() + at, n_row);
  };
  const auto buffer = [&](std::size_t at, std::int64_t n_row) {
    return TwoHeads<void*>(numbers.data() + at, n_row);
  };
  const AttentionInputs inputs = {view(0, 4), view(96, 6), view(192, 6)};
  const std::vector<std::int32_t> begin = {2, 2, 2, 2}, query_row = {0, 1, 2, 5},
                                  key_row = {0, 1, 2, 3, 4, 5}, empty;
  const std::vector<Region> good = {
      {.key_begin = begin, .query_row = query_row, .key_row = key_row},
      {.query_row = query_row, .key_row = key_row}};
  const auto forward = [&](const std::vector<Region>& regions, bool rotation) {
    AttentionTerms terms = {.scale = 1.0, .regions = regions};
    if (rotation) terms.rotation = problem.terms.rotation;
    return kernel().forward({.inputs = inputs, .o = buffer(288, 4), .lse = lse}, terms, {});
  };
  EXPECT_TRUE(forward(good, true).ok());
  const auto expect_named = [](const Status& status, Code code, std::string_view named) {
    EXPECT_EQ(status.code(), code);
    EXPECT_TRUE(status.message().find(named) != std::string::npos) << status.message();
  };
  const auto expect_refused = [&](std::string_view named, auto&& change) {
    std::vector<Region> regions = good;
    change(regions);
    expect_named(forward(regions, true), Code::kInvalidArgument, named);
  };
  expect_named(forward(good, false), Code::kInvalidArgument,
               "regions: need a rotation, and there is none");
  problem.terms.rotation->row = key_row;
  expect_named(forward(good, true), Code::kInvalidArgument,
               "rotation.row: must be empty: regions name rows of their own");
  problem.terms.rotation->row = {};
  expect_refused("regions: there are 4, at most 3 are supported",
                 [&](auto& r) { r.insert(r.begin(), 2, good[0]); });
  expect_refused("regions[0].key_begin: has 0 numbers, expected 4",
                 [&](auto& r) { r[0].key_begin = empty; });
  expect_refused("regions[1].key_begin: must be empty: the last region",
                 [&](auto& r) { r[1].key_begin = begin; });
  expect_refused("regions[1].query_row: has 6 numbers, expected 4",
                 [&](auto& r) { r[1].query_row = key_row; });
  expect_refused("regions[1].key_row: has 4 numbers, expected 6",
                 [&](auto& r) { r[1].key_row = query_row; });
  const std::vector<std::int32_t> beyond = {0, 1, 2, 3, 4, 6}, below = {0, 1, -1, 2},
                                  late = {2, 2, 3, 2}, later = {2, 7, 2, 2};
  expect_refused("regions[0].key_row: number 5 is row 6, but the rotation table has 6 rows",
                 [&](auto& r) { r[0].key_row = beyond; });
  expect_refused("regions[1].query_row: number 2 is row -1",
                 [&](auto& r) { r[1].query_row = below; });
  expect_refused("regions[0].key_begin: is 7 for query 1, outside of 0 to 6",
                 [&](auto& r) { r[0].key_begin = later; });
  expect_refused("regions[0].key_begin: is -1 for query 2",
                 [&](auto& r) { r[0].key_begin = below; });
  expect_refused("regions[1].key_begin: is 3 for query 2, outside of 0 to 2", [&](auto& r) {
    r.insert(r.begin() + 1, good[0]);
    r[1].key_begin = late;
  });

  const std::vector<double> weight = {0, 0.5, 1, 0, 0, 0}, heavy = {0, 0.5, 1, 1.5, 0, 0},
                            nan = {std::numeric_limits<double>::quiet_NaN(), 0, 0, 0, 0, 0};
  const auto blend = [](std::span<const std::int32_t> row, std::span<const double> weights) {
    return
        [=](std::vector<Region>& r) { r[1].blended = BlendedKeys{.row = row, .weight = weights}; };
  };
  std::vector<Region> blended = good;
  blend(key_row, weight)(blended);
  EXPECT_TRUE(forward(blended, true).ok());
  expect_refused("regions[1].blended.row: has 4 numbers, expected 6", blend(query_row, weight));
  expect_refused("regions[1].blended.row: number 5 is row 6", blend(beyond, weight));
  expect_refused("regions[1].blended.weight: has 5 numbers, expected 6",
                 blend(key_row, std::span(weight).first(5)));
  expect_refused("regions[1].blended.weight: number 3 is 1.5, outside of 0 to 1",
                 blend(key_row, heavy));
  expect_refused("regions[1].blended.weight: number 0 is nan", blend(key_row, nan));

  AttentionTerms terms = {.scale = 1.0, .rotation = problem.terms.rotation, .regions = good};
  const Status backward = kernel().backward({.inputs = inputs,
                                             .o = view(288, 4),
                                             .do_ = view(288, 4),
                                             .lse = lse,
                                             .dq = buffer(384, 4),
                                             .dk = buffer(0, 6),
                                             .dv = buffer(96, 6)},
                                            terms, {});
  expect_named(backward, Code::kUnimplemented, "regions: have no gradient");
}

TEST_P(KernelTest, TypesAndHeadsThatTheCpuLacksAreRefusedByName) {
  if (tested().is_exact) return;  // lacks nothing
  std::vector<double> numbers(64);
  std::vector<double> lse(1);
  HeadsView view = {.data = numbers.data(),
                    .scalar = Scalar::kFp64,
                    .batch = 1,
                    .n_row = 1,
                    .n_head = 1,
                    .head_dim = 8,
                    .batch_step = 8,
                    .row_step = 8,
                    .head_step = 8};
  HeadsBuffer buffer = {.data = numbers.data() + 32,
                        .scalar = Scalar::kFp64,
                        .batch = 1,
                        .n_row = 1,
                        .n_head = 1,
                        .head_dim = 8,
                        .batch_step = 8,
                        .row_step = 8,
                        .head_step = 8};
  Status status =
      kernel().forward({.inputs = {view, view, view}, .o = buffer, .lse = lse}, {.scale = 1.0}, {});
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_TRUE(status.message().find("fp64") != std::string::npos);
  view.scalar = buffer.scalar = Scalar::kFp32;
  view.head_dim = buffer.head_dim = 7;
  status =
      kernel().forward({.inputs = {view, view, view}, .o = buffer, .lse = lse}, {.scale = 1.0}, {});
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_TRUE(status.message().find("head_dim") != std::string::npos);
}

}  // namespace
}  // namespace longrun
