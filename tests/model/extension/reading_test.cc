// Where the plans of extensions place keys, beside the formulas of their papers
// (tests/kernels/region_methods.h) and rows that a program in Python gave.
#include "model/extension/reading.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "model/extension/extension.h"
#include "tests/commit_seed.h"
#include "tests/kernels/region_methods.h"

namespace longrun {
namespace {

using testing::RegionMethod;

constexpr double kUnseen = std::numeric_limits<double>::infinity();

Reading Plan(const Json& given, const Stretch& stretch) {
  const Json params = ResolveExtension(given).value();
  return FindExtension(params.at("method").get<std::string>()).value()->read(params, stretch);
}

// The distance at which the plan's query i sees key j; infinite: not at all.
double Distance(const Reading& reading, const Stretch& stretch, std::size_t i, std::size_t j) {
  const std::int64_t p = stretch.q_begin + static_cast<std::int64_t>(i);
  const auto key = static_cast<std::int64_t>(j);
  if (key > p || (reading.window > 0 && p - key >= reading.window && key >= reading.n_sink)) {
    return kUnseen;
  }
  std::size_t r = 0;
  while (r + 1 < reading.regions.size() && key < reading.regions[r].key_begin.at(i)) ++r;
  const ReadingRegion& region = reading.regions[r];
  return static_cast<double>(region.query_row.at(i) -
                             reading.key_sets.at(region.key_set).row.at(j)) /
         static_cast<double>(reading.steps);
}

std::vector<double> LastRow(const Json& given, std::int64_t n) {
  const Stretch stretch = {.n_query = n};
  const Reading reading = Plan(given, stretch);
  std::vector<double> row;
  for (std::size_t j = 0; j < static_cast<std::size_t>(n); ++j) {
    row.push_back(Distance(reading, stretch, static_cast<std::size_t>(n - 1), j));
  }
  return row;
}

TEST(ReadingTest, TheLastRowsAreThoseOfThePublishedPrograms) {
  constexpr double x = kUnseen;
  using Row = std::vector<double>;
  EXPECT_EQ(
      LastRow({{"method", "streaming"}, {"sinks", 2}, {"recent", 4}, {"original_length", 8}}, 9),
      (Row{5, 4, x, x, x, 3, 2, 1, 0}));
  EXPECT_EQ(
      LastRow({{"method", "lm_infinite"}, {"local", 4}, {"global", 2}, {"original_length", 4}}, 9),
      (Row{4, 4, x, x, x, 3, 2, 1, 0}));
  const Json self_extend = {
      {"method", "self_extend"}, {"group", 3}, {"window", 4}, {"original_length", 8}};
  EXPECT_EQ(LastRow(self_extend, 12), (Row{6, 6, 6, 5, 5, 5, 4, 4, 3, 2, 1, 0}));
  EXPECT_EQ(LastRow(self_extend, 9), (Row{5, 5, 5, 4, 4, 3, 2, 1, 0}));
  const Json dca = {{"method", "dca"}, {"original_length", 16}};
  EXPECT_EQ(LastRow(dca, 14), (Row{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 3, 2, 1, 0}));
  EXPECT_EQ(LastRow(dca, 24),
            (Row{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 3, 2, 1, 0}));
  EXPECT_EQ(LastRow({{"method", "window"}, {"window", 3}, {"original_length", 3}}, 5),
            (Row{x, x, 2, 1, 0}));
  EXPECT_EQ(LastRow({{"method", "rerope"}, {"window", 3}, {"original_length", 4}}, 6),
            (Row{3, 3, 3, 2, 1, 0}));
  EXPECT_EQ(
      LastRow({{"method", "leaky_rerope"}, {"window", 3}, {"k", 2}, {"original_length", 4}}, 6),
      (Row{4, 3.5, 3, 2, 1, 0}));
}

// ---- keys that are forgotten --------------------------------------------------------------------

std::int64_t Between(SeededRandom& random, std::int64_t from, std::int64_t to) {
  return from + static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(to - from + 1)));
}

TEST(HeldKeysTest, PlacesAndKeysAreEachOthersInverse) {
  const HeldKeys held = {.n_front = 5, .n_forgotten = 7};
  for (std::int64_t place = 0; place < 30; ++place) {
    EXPECT_EQ(held.PlaceOf(held.KeyAt(place)), place);
    EXPECT_EQ(held.KeyAt(place), place < 5 ? place : place + 7);
  }
  for (std::int64_t key = 5; key <= 12; ++key) EXPECT_EQ(held.PlaceOf(key), 5) << key;
}

// The plan for some of the keys is that for all, without the forgotten ones.
TEST(ReadingTest, KeysThatAreHeldAreSeenAsIfNoneWereForgotten) {
  SeededRandom random(testing::CommitSeed());
  for (int draw = 0; draw < 200; ++draw) {
    const std::int64_t window = Between(random, 1, 40), sinks = Between(random, 1, 20);
    const std::int64_t n_front = sinks + Between(random, 0, 10);
    const std::int64_t n_forgotten = Between(random, 1, 200);
    const Stretch all = {.q_begin = n_front + n_forgotten + window - 1 + Between(random, 0, 30),
                         .n_query = Between(random, 1, 40)};
    Stretch stretch = all;
    stretch.held = {.n_front = n_front, .n_forgotten = n_forgotten};
    ASSERT_EQ(stretch.n_held(), all.n_key() - n_forgotten);
    for (const Json& given :
         {Json{{"method", "window"}, {"window", window}},
          Json{{"method", "streaming"}, {"sinks", sinks}, {"recent", window}},
          Json{{"method", "lm_infinite"}, {"local", window}, {"global", sinks}}}) {
      Json params = given;
      params["original_length"] = 64;
      SCOPED_TRACE(Str("seed ", testing::CommitSeed(), " ", params.dump(), " front ", n_front,
                       " forgotten ", n_forgotten, " queries ", all.q_begin, " + ", all.n_query));
      const Reading expected = Plan(params, all), reading = Plan(params, stretch);
      for (const KeySet& keys : reading.key_sets) {
        ASSERT_EQ(std::ssize(keys.row), stretch.n_held());
      }
      for (std::int64_t i = 0; i < all.n_query; ++i) {
        const auto at = static_cast<std::size_t>(i);
        for (std::int64_t j = 0; j < all.n_key(); ++j) {
          const double distance = Distance(expected, all, at, static_cast<std::size_t>(j));
          if (j >= n_front && j < n_front + n_forgotten) {
            ASSERT_EQ(distance, kUnseen) << "query " << i << " key " << j;
            continue;
          }
          // Places count both the query and the key.
          const Stretch places = {.q_begin = stretch.q_place(), .n_query = all.n_query};
          ASSERT_EQ(
              Distance(reading, places, at, static_cast<std::size_t>(stretch.held.PlaceOf(j))),
              distance)
              << "query " << i << " key " << j;
        }
      }
    }
  }
}

// A cache forgets keys by one plan that later plans must not ask for.
TEST(ReadingTest, AllPlansOfATextHaveTheSameWindowAndSinks) {
  SeededRandom random(testing::CommitSeed());
  std::vector<std::string> with_window;
  for (const Extension* extension : Extensions()) {
    if (extension->read == nullptr) continue;
    Json given = {{"method", extension->name}, {"original_length", 64}};
    if (extension->name == "self_extend") given["group"] = 4;
    if (extension->name == "leaky_rerope") given["k"] = 4;
    for (const char* name : {"self_extend", "leaky_rerope", "rerope"}) {
      if (extension->name == name) given["window"] = 8;
    }
    const Json params = ResolveExtension(given).value();
    const Reading first = extension->read(params, {.n_query = 1});
    for (int draw = 0; draw < 50; ++draw) {
      const Stretch stretch = {.q_begin = Between(random, 0, 500),
                               .n_query = Between(random, 1, 50)};
      const Reading reading = extension->read(params, stretch);
      EXPECT_EQ(reading.window, first.window) << extension->name;
      EXPECT_EQ(reading.n_sink, first.n_sink) << extension->name;
    }
    if (first.window > 0) with_window.emplace_back(extension->name);
  }
  EXPECT_EQ(with_window, (std::vector<std::string>{"lm_infinite", "streaming", "window"}));
}

// ---- GALI ---------------------------------------------------------------------------------------

Json Gali(std::int64_t original, std::int64_t window) {
  return {{"method", "gali"}, {"local_window", window}, {"original_length", original}};
}

// Each key's position: what is above it, less what is missing to there.
std::vector<double> GaliPositions(std::int64_t original, std::int64_t window, std::int64_t n) {
  const Reading reading = Plan(Gali(original, window), {.n_query = n});
  const KeySet& keys = reading.key_sets.at(0);
  std::vector<double> positions;
  for (std::size_t j = 0; j < keys.row.size(); ++j) {
    positions.push_back(keys.row[j] - keys.blended_weight[j]);
    EXPECT_EQ(reading.regions.at(0).query_row[j], keys.row[j]);
    EXPECT_EQ(keys.row[j] - keys.blended_row[j], keys.blended_weight[j] > 0.0 ? 1 : 0);
  }
  return positions;
}

TEST(GaliTest, PositionsAreThoseOfThePublishedProgram) {
  const auto expect = [](const std::vector<double>& found, const std::vector<double>& expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t t = 0; t < found.size(); ++t) EXPECT_NEAR(found[t], expected[t], 1e-6) << t;
  };
  expect(GaliPositions(8, 2, 12), {0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7});
  expect(GaliPositions(8, 2, 15), {0, 0.333333, 0.666667, 1, 1.333333, 1.666667, 2, 2.333333,
                                   2.666667, 3, 3.333333, 4, 5, 6, 7});
  expect(GaliPositions(8, 2, 9), {0, 0.5, 1, 2, 3, 4, 5, 6, 7});
  expect(GaliPositions(8, 2, 8), {0, 1, 2, 3, 4, 5, 6, 7});
  const std::vector<double> longer = GaliPositions(16, 4, 41);
  double sum = 0.0;
  for (const double position : longer) sum += position;
  EXPECT_NEAR(sum, 224.25, 1e-9);
  EXPECT_EQ(longer.back(), 15.0);
}

TEST(GaliTest, AnyPositionsAreThoseThatTheLoopOfThePaperGives) {
  SeededRandom random(testing::CommitSeed());
  for (int draw = 0; draw < 300; ++draw) {
    const auto original = static_cast<std::int64_t>(2 + random.Below(60));
    const auto window =
        static_cast<std::int64_t>(1 + random.Below(static_cast<std::uint64_t>(original - 1)));
    const auto n = static_cast<std::int64_t>(1 + random.Below(1500));
    const std::vector<double> found = GaliPositions(original, window, n);
    const std::vector<double> expected = testing::GaliPositions(original, window, n);
    for (std::size_t t = 0; t < found.size(); ++t) {
      ASSERT_NEAR(found[t], expected[t], 1e-9)
          << "token " << t << " of " << n << ", " << original << ", " << window << ", seed "
          << testing::CommitSeed();
    }
  }
}

// The keys that stay have the same rows, and no fewer stay than the next one could show.
TEST(GaliTest, KeysThatStayStandWhereTheyStood) {
  const Extension& gali = **FindExtension("gali");
  const Json params = ResolveExtension(Gali(16, 4)).value();
  for (std::int64_t before = 1; before < 120; ++before) {
    for (const std::int64_t now : {before, before + 1, before + 5}) {
      const auto kept = static_cast<std::size_t>(gali.keys_kept(params, before, now));
      ASSERT_LE(kept, static_cast<std::size_t>(before));
      const Reading a = gali.read(params, {.n_query = before}),
                    b = gali.read(params, {.n_query = now});
      std::size_t same = 0;
      while (same < static_cast<std::size_t>(before) &&
             a.key_sets[0].row[same] == b.key_sets[0].row[same] &&
             a.key_sets[0].blended_weight[same] == b.key_sets[0].blended_weight[same]) {
        ++same;
      }
      EXPECT_LE(kept, same) << before << " to " << now;
      if (now == before + 1 && before > 16 && kept > 0) {
        EXPECT_LE(same, kept + 1);
      }
    }
  }
  EXPECT_EQ(gali.keys_kept(params, 9, 16), 9);  // within the original length
  EXPECT_GT(gali.keys_kept(params, 101, 102), 80);
}

// For a generated token, distances and weights are those of the published program, and all keys
// keep their rows until the number of tokens at a whole position changes.
TEST(GaliTest, ATokenHasTheDistancesOfThePublishedProgramAndMovesFewKeys) {
  const Extension& gali = **FindExtension("gali");
  SeededRandom random(testing::CommitSeed());
  for (int draw = 0; draw < 40; ++draw) {
    const auto original = static_cast<std::int64_t>(2 + random.Below(60));
    const auto window =
        static_cast<std::int64_t>(1 + random.Below(static_cast<std::uint64_t>(original - 1)));
    const Json params = ResolveExtension(Gali(original, window)).value();
    const auto first = static_cast<std::int64_t>(1 + random.Below(400));
    std::int64_t n_moves = 0;
    Reading before = gali.read_token(params, {.q_begin = first - 1, .n_query = 1});
    for (std::int64_t n = first + 1; n < first + 80; ++n) {
      const Reading reading = gali.read_token(params, {.q_begin = n - 1, .n_query = 1});
      const RegionMethod expected =
          testing::Gali({.n_query = 1, .n_key = n, .q_offset = n - 1}, original, window);
      for (std::int64_t j = 0; j < n; ++j) {
        const auto at = static_cast<std::size_t>(j);
        const ReadingRegion& region =
            reading.regions.at(j >= reading.regions[0].key_begin.front() ? 0 : 1);
        const KeySet& keys = reading.key_sets.at(region.key_set);
        const std::int32_t query = region.query_row.front();
        ASSERT_EQ(query - keys.row[at], expected.distance(n - 1, j)) << j << " of " << n;
        const bool is_blended = !keys.blended_row.empty();
        ASSERT_NEAR(is_blended ? keys.blended_weight[at] : 0.0, expected.weight(n - 1, j), 1e-9);
        if (!is_blended) continue;
        ASSERT_EQ(query - keys.blended_row[at], expected.other_distance(n - 1, j));
      }
      const std::int64_t kept = gali.keys_kept_by_tokens(params, n - 1, n);
      ASSERT_EQ(reading.key_sets.size(), before.key_sets.size());
      for (std::size_t set = 0; set < before.key_sets.size(); ++set) {
        const KeySet &now = reading.key_sets[set], &then = before.key_sets[set];
        for (std::size_t j = 0; j < static_cast<std::size_t>(kept); ++j) {
          ASSERT_EQ(now.row[j], then.row[j]);
          if (now.blended_row.empty()) continue;
          ASSERT_EQ(now.blended_row[j], then.blended_row[j]);
          ASSERT_EQ(now.blended_weight[j], then.blended_weight[j]);
        }
      }
      if (kept < n - 1) ++n_moves;
      before = reading;
    }
    // g grows by 1 with each original - window tokens.
    EXPECT_LE(n_moves, 80 / (original - window) + 1);
  }
}

Json GaliInBf16(std::int64_t original, std::int64_t window) {
  Json given = Gali(original, window);
  given["rel_precision"] = "bf16_compat";
  return given;
}

// The weights of pairs are those of the authors' expression; without any, they are all 0.
TEST(GaliTest, InBf16EveryPairHasTheWeightOfThePublishedExpression) {
  SeededRandom random(testing::CommitSeed());
  std::int64_t n_parts = 0, n_whole = 0;
  for (int draw = 0; draw < 60; ++draw) {
    const auto original = static_cast<std::int64_t>(8 + random.Below(400));
    const auto window =
        static_cast<std::int64_t>(1 + random.Below(static_cast<std::uint64_t>(original - 1)));
    const auto n = static_cast<std::int64_t>(1 + random.Below(1500));
    const auto n_query = static_cast<std::int64_t>(1 + random.Below(static_cast<std::uint64_t>(n)));
    const Stretch stretch = {.q_begin = n - n_query, .n_query = n_query};
    const Reading reading = Plan(GaliInBf16(original, window), stretch);
    const RegionMethod expected = testing::GaliInBf16(
        {.n_query = n_query, .n_key = n, .q_offset = n - n_query}, original, window);
    ASSERT_EQ(reading.key_sets.size(), 2U);
    const std::optional<PairBlend>& blend = reading.regions.at(0).pair_blend;
    for (std::int64_t i = 0; i < n_query; i += 7) {
      const std::int64_t p = stretch.q_begin + i;
      for (std::int64_t j = 0; j <= p; ++j) {
        const auto at = static_cast<std::size_t>(j);
        const double row = reading.regions[0].query_row[static_cast<std::size_t>(i)];
        ASSERT_EQ(row - reading.key_sets[0].row[at], expected.distance(p, j));
        ASSERT_EQ(row - reading.key_sets[1].row[at], expected.other_distance(p, j));
        double weight = 0.0;
        if (blend) {
          const double apart = testing::ToEightBits(
              static_cast<double>(blend->query.at(static_cast<std::size_t>(i))) -
              static_cast<double>(blend->key.at(at)));
          weight = apart - std::floor(apart);
        }
        ASSERT_EQ(weight, expected.weight(p, j))
            << "query " << p << " key " << j << " of " << n << ", " << original << ", " << window
            << ", seed " << testing::CommitSeed();
        ++(weight == 0.0 ? n_whole : n_parts);
      }
    }
  }
  EXPECT_GT(n_parts, 1000);
  EXPECT_GT(n_whole, 1000);
}

// Measured with the authors' expression and published settings, for a chunk of 3000 tokens and for
// a generated token: 50 to 79 % of all pairs are interpolated in fp32, and none in bf16.
TEST(GaliTest, PublishedSettingsInterpolateNothingInBf16) {
  struct Setting {
    std::int64_t original, window, n;
  };
  for (const Setting& setting :
       {Setting{4096, 128, 16384}, Setting{8192, 128, 32768}, Setting{8192, 128, 16384}}) {
    for (const std::int64_t n_query : {3000, 1}) {
      const Stretch stretch = {.q_begin = setting.n - n_query, .n_query = n_query};
      const Reading exact = Plan(Gali(setting.original, setting.window), stretch);
      const Reading rounded = Plan(GaliInBf16(setting.original, setting.window), stretch);
      const RegionMethod literal = testing::GaliInBf16(
          {.n_query = 0, .n_key = setting.n, .q_offset = 0}, setting.original, setting.window);
      EXPECT_FALSE(rounded.regions[0].pair_blend.has_value());
      EXPECT_TRUE(rounded.IsForKernels());
      for (std::int64_t p = stretch.q_begin; p < setting.n; p += 97) {
        for (std::int64_t j = 0; j <= p; ++j) ASSERT_EQ(literal.weight(p, j), 0.0) << p << " " << j;
      }
      std::int64_t n_pairs = 0, n_parts = 0, n_parts_before = 0;
      for (std::int64_t j = 0; j < setting.n; ++j) {
        const bool is_part = exact.key_sets[0].blended_weight[static_cast<std::size_t>(j)] != 0.0;
        n_parts_before += is_part ? 1 : 0;
        if (j < stretch.q_begin) continue;
        n_pairs += j + 1;
        n_parts += n_parts_before;
      }
      const auto percent =
          std::lround(100.0 * static_cast<double>(n_parts) / static_cast<double>(n_pairs));
      EXPECT_GE(percent, 50) << setting.original << " " << setting.n << " " << n_query;
      EXPECT_LE(percent, 79) << setting.original << " " << setting.n << " " << n_query;
    }
  }
}

TEST(GaliTest, NoiseIsForTextsBeyondTheOriginalLength) {
  Json given = Gali(16, 4);
  EXPECT_FALSE(Plan(given, {.n_query = 40}).noise.has_value());
  given["noise"] = "uniform";
  given["noise_std"] = 0.5;
  given["noise_seed"] = 9;
  EXPECT_FALSE(Plan(given, {.n_query = 16}).noise.has_value());
  EXPECT_TRUE(Plan(given, {.n_query = 16}).IsForKernels());
  const Reading reading = Plan(given, {.q_begin = 20, .n_query = 3, .n_to_come = 2});
  ASSERT_TRUE(reading.noise.has_value());
  EXPECT_EQ(reading.noise->kind, ReadingNoise::Kind::kUniform);
  EXPECT_EQ(reading.noise->std, 0.5);
  EXPECT_EQ(reading.noise->seed, 9U);
  EXPECT_EQ(reading.noise->n_text, 25);
  EXPECT_FALSE(reading.IsForKernels());
}

// 8 positions, of which at least 2 are whole at the end. 9 tokens: 0, 0.5, 1, 2, ... 7 has 7 whole
// ones at the end; 12 tokens: 0, 0.5, ... 3.5, 4, 5, 6, 7 has 4.
TEST(GaliTest, AChunkWithMoreTokensThanHaveWholePositionsIsWarnedOf) {
  Json given = Gali(8, 2);
  const auto warning = [&](std::int64_t chunk, std::int64_t n) {
    given["chunk"] = chunk;
    return WarningAt(ResolveExtension(given).value(), n);
  };
  EXPECT_FALSE(warning(2, 100000).has_value());
  EXPECT_FALSE(warning(4, 12).has_value());
  EXPECT_FALSE(warning(100, 8).has_value());
  EXPECT_FALSE(warning(100, 9).has_value());
  EXPECT_TRUE(warning(5, 13).has_value());
  const auto long_text = warning(100, 14);
  ASSERT_TRUE(long_text.has_value());
  EXPECT_EQ(long_text->key, "chunk");
  EXPECT_EQ(long_text->message,
            "when the text is 14 tokens long, only its last 2 tokens have whole positions, but the "
            "chunk that ends there has 6: its other tokens cannot tell their neighbours apart. A "
            "chunk of at most local_window (2) tokens avoids this");
}

TEST(GaliTest, NoiseHasParametersOfItsOwn) {
  const auto message = [](const Json& more) {
    Json given = Gali(16, 4);
    given.update(more);
    return std::string(ResolveExtension(given).status().message());
  };
  EXPECT_EQ(message({{"noise_std", 2}}),
            "extend.noise_std: belongs to noise gaussian or uniform, but noise is none: remove it, "
            "or choose that noise");
  EXPECT_EQ(message({{"noise", "gaussian"}, {"noise_std", -1}}),
            "extend.noise_std: expected a number from 0 to 1000, found -1");
  EXPECT_FALSE(ResolveExtension(Gali(16, 4))->contains("noise_seed"));
  Json noisy = Gali(16, 4);
  noisy["noise"] = "gaussian";
  EXPECT_EQ(ResolveExtension(noisy)->at("noise_seed"), 1);
  EXPECT_EQ(ResolveExtension(noisy)->at("noise_std"), 1.0);
}

TEST(GaliTest, PiecesEndAtTheOriginalLengthAndThenAfterEachChunk) {
  const Extension& gali = **FindExtension("gali");
  Json given = Gali(16, 4);
  EXPECT_EQ(ResolveExtension(given)->at("chunk"), 4);
  given["chunk"] = 10;
  const Json params = ResolveExtension(given).value();
  EXPECT_EQ(gali.piece(params, 0), 16);
  EXPECT_EQ(gali.piece(params, 5), 11);
  EXPECT_EQ(gali.piece(params, 16), 10);
  EXPECT_EQ(gali.piece(params, 25), 1);
  EXPECT_EQ(gali.piece(params, 26), 10);
  given["chunk"] = 4;  // less than half of the original length
  const Json small = ResolveExtension(given).value();
  EXPECT_EQ(gali.piece(small, 0), 16);
  EXPECT_EQ(gali.piece(small, 9), 7);
  EXPECT_EQ(gali.piece(small, 16), 4);
  EXPECT_EQ(ResolveExtension({{"method", "gali"}, {"original_length", 4096}})->at("chunk"), 128);
}

// ---- every plan ---------------------------------------------------------------------------------

struct Case {
  Json given;
  RegionMethod method;
};

// Each method with parameters that are drawn, and its formulas.
std::vector<Case> AnyCases(const testing::Stretch& n, SeededRandom& random) {
  const auto between = [&](std::int64_t from, std::int64_t to) {
    return from +
           static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(to - from + 1)));
  };
  const std::int64_t original = between(8, 40), w = between(1, original - 1), g = between(1, 6);
  const std::int64_t s = 3 * original / 4, local_window = between(1, s - 1);
  const std::int64_t sinks = between(1, 9), limit = between(1, 50);
  const auto given = [&](Json params) {
    params["original_length"] = original;
    return params;
  };
  return {{given({{"method", "self_extend"}, {"group", g}, {"window", w}}), SelfExtend(n, g, w)},
          {given({{"method", "self_extend"}, {"group", g}, {"window", w}, {"float_offset", true}}),
           SelfExtend(n, g, w, true)},
          {given({{"method", "dca"}, {"local_window", local_window}}),
           ChunkLlama(n, s - local_window, s)},
          {given({{"method", "rerope"}, {"window", w}}), ReRope(n, w, 0)},
          {given({{"method", "leaky_rerope"}, {"window", w}, {"k", g}}), ReRope(n, w, g)},
          {given({{"method", "lm_infinite"}, {"local", w}, {"global", sinks}, {"limit", limit}}),
           LmInfinite(n, w, sinks, limit)},
          {given({{"method", "streaming"}, {"sinks", sinks}, {"recent", w}}),
           StreamingLlm(n, sinks, w)}};
}

TEST(ReadingTest, EveryPairIsWhereTheFormulaOfThePaperPutsIt) {
  SeededRandom random(testing::CommitSeed());
  for (int draw = 0; draw < 300; ++draw) {
    const auto n_query = static_cast<std::int64_t>(1 + random.Below(30));
    const Stretch stretch = {.q_begin = static_cast<std::int64_t>(random.Below(60)),
                             .n_query = n_query};
    const testing::Stretch n = {
        .n_query = n_query, .n_key = stretch.n_key(), .q_offset = stretch.q_begin};
    for (const Case& one : AnyCases(n, random)) {
      const Reading reading = Plan(one.given, stretch);
      for (std::int64_t i = 0; i < n_query; ++i) {
        const std::int64_t p = stretch.q_begin + i;
        for (std::int64_t j = 0; j <= p; ++j) {
          const double expected = one.method.sees(p, j) ? one.method.distance(p, j) : kUnseen;
          const double found =
              Distance(reading, stretch, static_cast<std::size_t>(i), static_cast<std::size_t>(j));
          ASSERT_DOUBLE_EQ(found, expected) << one.given.dump() << " query " << p << " key " << j
                                            << " of " << stretch.q_begin << " + " << n_query;
        }
      }
    }
  }
}

TEST(ReadingTest, FactorsGrowWithTheLogarithmOnlyBeyondTheOriginalLength) {
  Json rerope = {{"method", "rerope"}, {"window", 2}, {"original_length", 4}};
  const Reading scaled = Plan(rerope, {.q_begin = 2, .n_query = 14});
  ASSERT_EQ(scaled.query_factor.size(), 14U);
  EXPECT_EQ(scaled.query_factor[0], 1.0);
  EXPECT_EQ(scaled.query_factor[1], 1.0);            // position 3: ln 4 / ln 4
  EXPECT_NEAR(scaled.query_factor[13], 2.0, 1e-12);  // position 15: ln 16 / ln 4
  rerope["logn"] = false;
  EXPECT_TRUE(Plan(rerope, {.n_query = 16}).query_factor.empty());

  Json dca = {{"method", "dca"}, {"temperature", 0.1}, {"original_length", 16}};
  EXPECT_TRUE(Plan(dca, {.n_query = 16}).query_factor.empty());
  const Reading hot = Plan(dca, {.n_query = 24});
  EXPECT_NEAR(hot.query_factor.at(3), 1.0827370412, 1e-9);  // (0.1 ln 1.5 + 1)^2
  const Extension& extension = **FindExtension("dca");
  EXPECT_TRUE(extension.by_length(ResolveExtension(dca).value()));
  dca["temperature"] = 0.0;
  EXPECT_FALSE(extension.by_length(ResolveExtension(dca).value()));
}

TEST(ReadingTest, WhatDoesNotFitTheOriginalLengthIsNamed) {
  const auto message = [](Json given) {
    given["original_length"] = 64;
    return std::string(ResolveExtension(given).status().message());
  };
  EXPECT_EQ(message({{"method", "self_extend"}, {"group", 4}, {"window", 64}}),
            "extend.window: expected less than original_length 64, found 64");
  EXPECT_EQ(message({{"method", "self_extend"}, {"window", 8}}).find("extend.group: must be given"),
            0U);
  EXPECT_EQ(message({{"method", "dca"}, {"local_window", 48}}),
            "extend.local_window: expected less than 48, three quarters of original_length 64, "
            "found 48");
  EXPECT_EQ(message({{"method", "rerope"}, {"window", 99}}),
            "extend.window: expected less than original_length 64, found 99");
  EXPECT_EQ(message({{"method", "streaming"}, {"sinks", 64}}),
            "extend.sinks: expected less than original_length 64, found 64; or give recent");
}

// Texts of 64 tokens have distances of up to 63.
TEST(ReadingTest, AWindowBeyondTheOriginalLengthIsRefusedForTextsThatHaveSuchDistances) {
  const auto message = [](Json given, std::int64_t n_tokens) {
    given["original_length"] = 64;
    const auto error = WhyTooLong(ResolveExtension(given).value(), n_tokens);
    return error ? Str(error->key, ": ", error->message) : std::string();
  };
  const auto unseen = [](const std::string& name, int most, int found) {
    return Str(name, ": expected at most ", most, ", found ", found,
               ": in a text of 65 tokens, keys would be seen at distances that texts of "
               "original_length 64 do not have; a larger original_length allows them");
  };
  const std::pair<Json, std::string> cases[] = {
      {{{"method", "window"}, {"window", 65}}, unseen("window", 64, 65)},
      {{{"method", "lm_infinite"}, {"local", 65}, {"limit", 9}}, unseen("local", 64, 65)},
      {{{"method", "lm_infinite"}, {"limit", 65}}, unseen("limit", 64, 65)},
      {{{"method", "streaming"}, {"sinks", 5}, {"recent", 60}}, unseen("recent", 59, 60)},
      {{{"method", "streaming"}, {"sinks", 64}, {"recent", 1}}, unseen("recent", 0, 1)},
      {{{"method", "window"}, {"window", 64}}, ""},
      {{{"method", "lm_infinite"}, {"local", 64}, {"limit", 64}}, ""},
      {{{"method", "streaming"}, {"sinks", 5}, {"recent", 59}}, ""},
      {{{"method", "streaming"}, {"sinks", 63}}, ""}};
  for (const auto& [given, expected] : cases) {
    EXPECT_EQ(message(given, 65), expected) << given.dump();
    EXPECT_EQ(message(given, 64), "") << given.dump();
  }
}

TEST(ReadingTest, ATextThatAGroupDoesNotFitIsRefusedWithTheGroupThatDoes) {
  const auto error = [](const Json& given, std::int64_t n_tokens) {
    const Json params = ResolveExtension(given).value();
    return FindExtension(params.at("method").get<std::string>())
        .value()
        ->check_length(params, n_tokens);
  };
  Json given = {{"method", "self_extend"}, {"group", 4}, {"window", 64}, {"original_length", 256}};
  EXPECT_FALSE(error(given, 832).has_value());  // 4 (256 - 64) + 64
  const auto too_long = error(given, 833);
  ASSERT_TRUE(too_long.has_value());
  EXPECT_EQ(too_long->key, "group");
  EXPECT_EQ(
      too_long->message,
      "group 4 with window 64 keeps distances below original_length 256 only in texts of up to "
      "832 tokens, but a context has 833: expected 5 or more");
  given["group"] = 5;
  EXPECT_FALSE(error(given, 833).has_value());
  const Json leaky = {
      {"method", "leaky_rerope"}, {"window", 64}, {"k", 4}, {"original_length", 256}};
  EXPECT_FALSE(error(leaky, 832).has_value());
  EXPECT_EQ(error(leaky, 833)->key, "k");
}

// The bound against the largest distance of each text.
TEST(ReadingTest, TheLongestTextOfAGroupIsTheLongestWithoutANewDistance) {
  for (std::int64_t original = 2; original <= 9; ++original) {
    for (std::int64_t window = 1; window < original; ++window) {
      for (std::int64_t group = 1; group <= 5; ++group) {
        const Json params = ResolveExtension({{"method", "self_extend"},
                                              {"group", group},
                                              {"window", window},
                                              {"original_length", original}})
                                .value();
        for (std::int64_t n = original; n <= 60; ++n) {
          const std::int64_t farthest = (n - 1) / group + window - window / group;
          EXPECT_EQ(WhyTooLong(params, n).has_value(), farthest >= original)
              << original << " " << window << " " << group << " " << n;
        }
      }
    }
  }
}

TEST(ReadingTest, PositionsBeyond32BitsAreRefusedByTheirDivisor) {
  Json params =
      ResolveExtension(
          {{"method", "leaky_rerope"}, {"window", 16}, {"k", 1 << 20}, {"original_length", 64}})
          .value();
  EXPECT_FALSE(WhyTooLong(params, 1983).has_value());
  const auto error = WhyTooLong(params, 1984);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->key, "k");
  EXPECT_EQ(
      error->message,
      "1048576 divides each position into that many steps, and a context has 1984 tokens: expected "
      "1048575 or less");
  params["k"] = (1 << 20) - 1;
  EXPECT_FALSE(WhyTooLong(params, 1984).has_value());
}

}  // namespace
}  // namespace longrun
