#include "model/position_schedule/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "model/config.h"
#include "model/position/method.h"
#include "tests/model/position_schedule/given.h"

namespace longrun {
namespace {

using Places = std::vector<std::int64_t>;
using Positions = std::vector<std::int32_t>;

constexpr std::int64_t kSamples = 100'000;

Json Resolved(const Json& given, std::int64_t train_length) {
  Result<Json> resolved = ResolvePositionSchedule(given, train_length);
  EXPECT_TRUE(resolved.ok()) << resolved.status().message();
  return resolved.ok() ? *resolved : Json();
}

// Plays back draws, and keeps the ranges that were asked for.
struct FedDraws {
  std::vector<std::int64_t> values;
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges = {};

  UniformDraw Draw() {
    return [this](std::int64_t low, std::int64_t high) {
      ranges.emplace_back(low, high);
      return values.at(ranges.size() - 1);
    };
  }
};

// ---- vectors -----------------------------------------------------------------------------------

// From runs of the sampler of dwzhu-pku/PoSE (src/train_pose.py) as a function, with e - len (the
// text that is skipped) for its e. Tokens are their places; the one behind each sample, which that
// code does not have, is the target of the last token.
TEST(PoseTest, AgreesWithThePublishedSampler) {
  struct Case {
    std::int64_t n, n_text, target;
    std::vector<std::int64_t> draws;  // r, e - len, u
    std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
    Places place;
    Positions position;
  };
  const std::vector<Case> cases = {{8,
                                    20,
                                    32,
                                    {3, 17 - 8, 11},
                                    {{1, 4}, {0, 12}, {0, 24}},
                                    {0, 1, 2, 12, 13, 14, 15, 16, 17},
                                    {0, 1, 2, 14, 15, 16, 17, 18}},
                                   {8,
                                    20,
                                    32,
                                    {4, 8 - 8, 24},
                                    {{1, 4}, {0, 12}, {0, 24}},
                                    {0, 1, 2, 3, 4, 5, 6, 7, 8},
                                    {0, 1, 2, 3, 28, 29, 30, 31}},
                                   // A text shorter than Lc: the sample is the whole text.
                                   {5,
                                    5,
                                    32,
                                    {2, 5 - 5, 27},
                                    {{1, 3}, {0, 0}, {0, 27}},
                                    {0, 1, 2, 3, 4, 5},
                                    {0, 1, 29, 30, 31}}};
  for (const Case& one : cases) {
    FedDraws fed = {.values = one.draws};
    const NumberedSample sample = FindPositionSchedule("pose")->number(
        Resolved(Pose(one.target, 2, "random"), one.n), one.n, one.n_text, fed.Draw());
    EXPECT_EQ(sample.place, one.place);
    EXPECT_EQ(sample.position, one.position);
    EXPECT_EQ(fed.ranges, one.ranges);
  }
}

struct OracleCase {
  std::string method;
  std::int64_t train_length, n_text, target_length, chunks;
  std::string content;
  std::uint64_t digest;  // of the samples 0 to 999 of seed 1337
  // Samples 0, 1 and 1,000,000; none if they are long.
  std::vector<std::pair<Places, Positions>> samples = {};

  Json schedule() const {
    return Resolved(
        method == "pose" ? Pose(target_length, chunks, content) : Randpos(target_length),
        train_length);
  }
};

// Printed by tools/oracle/samples_oracle.py, an independent program.
std::vector<OracleCase> OracleCases() {
  return {
      {"pose",
       8,
       40,
       32,
       2,
       "random",
       0xee4488791bff5c89u,
       {{{0, 25, 26, 27, 28, 29, 30, 31, 32}, {0, 19, 20, 21, 22, 23, 24, 25}},
        {{0, 1, 2, 10, 11, 12, 13, 14, 15}, {0, 1, 2, 25, 26, 27, 28, 29}},
        {{0, 1, 16, 17, 18, 19, 20, 21, 22}, {0, 1, 11, 12, 13, 14, 15, 16}}}},
      {"pose",
       8,
       8,
       32,
       2,
       "contiguous",
       0x514a47060b758b07u,
       {{{0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 19, 20, 21, 22, 23, 24, 25}},
        {{0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 1, 2, 25, 26, 27, 28, 29}},
        {{0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 1, 11, 12, 13, 14, 15, 16}}}},
      {"pose",
       8,
       32,
       32,
       2,
       "aligned",
       0xa54e531f815bb723u,
       {{{0, 19, 20, 21, 22, 23, 24, 25, 26}, {0, 19, 20, 21, 22, 23, 24, 25}},
        {{0, 1, 2, 25, 26, 27, 28, 29, 30}, {0, 1, 2, 25, 26, 27, 28, 29}},
        {{0, 1, 11, 12, 13, 14, 15, 16, 17}, {0, 1, 11, 12, 13, 14, 15, 16}}}},
      {"pose",
       8,
       20,
       32,
       2,
       "aligned",
       0x628ce03526f3cd11u,
       {{{0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 1, 2, 3, 4, 5, 6, 7}},
        {{0, 1, 2, 15, 16, 17, 18, 19, 20}, {0, 1, 2, 15, 16, 17, 18, 19}},
        {{0, 1, 14, 15, 16, 17, 18, 19, 20}, {0, 1, 14, 15, 16, 17, 18, 19}}}},
      {"pose",
       9,
       45,
       64,
       4,
       "random",
       0xeba7685a77c5dcaau,
       {{{0, 6, 23, 24, 25, 26, 27, 36, 37, 38}, {0, 4, 38, 39, 40, 41, 42, 43, 44}},
        {{0, 1, 24, 29, 30, 31, 32, 39, 40, 41}, {0, 1, 4, 45, 46, 47, 48, 55, 56}},
        {{0, 1, 2, 3, 7, 8, 9, 34, 40, 41}, {0, 1, 2, 3, 51, 52, 53, 55, 57}}}},
      {"pose",
       5,
       25,
       16,
       5,
       "random",
       0xf37f12232c6a2d30u,
       {{{0, 3, 17, 23, 24, 25}, {0, 9, 11, 14, 15}},
        {{0, 5, 7, 18, 23, 24}, {0, 3, 12, 13, 15}},
        {{0, 14, 22, 23, 24, 25}, {0, 2, 5, 10, 13}}}},
      {"pose", 2048, 10240, 131072, 2, "random", 0x9430ebb671d052d9u},
      {"randpos",
       8,
       8,
       32,
       0,
       "",
       0xc937e47c5b76e87fu,
       {{{0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 4, 8, 15, 19, 20, 22, 26}},
        {{0, 1, 2, 3, 4, 5, 6, 7, 8}, {1, 5, 12, 14, 22, 25, 28, 29}},
        {{0, 1, 2, 3, 4, 5, 6, 7, 8}, {7, 10, 16, 23, 25, 27, 28, 29}}}},
      {"randpos", 2048, 2048, 16384, 0, "", 0xd5d4286e7f5bd632u},
  };
}

TEST(PositionScheduleTest, SamplesAgreeWithAnIndependentProgram) {
  for (const OracleCase& one : OracleCases()) {
    SCOPED_TRACE(Str(one.method, " ", one.train_length, " ", one.content));
    const Json schedule = one.schedule();
    std::uint64_t digest = 0;
    for (std::int64_t g = 0; g < 1000; ++g) {
      const NumberedSample sample = NumberSample(schedule, one.train_length, one.n_text, 1337, g);
      for (const auto x : sample.place) digest = Sm64(digest ^ static_cast<std::uint64_t>(x));
      for (const auto x : sample.position) digest = Sm64(digest ^ static_cast<std::uint64_t>(x));
    }
    EXPECT_EQ(digest, one.digest);
    constexpr std::array<std::int64_t, 3> kShown = {0, 1, 1'000'000};
    for (std::size_t i = 0; i < one.samples.size(); ++i) {
      const NumberedSample sample =
          NumberSample(schedule, one.train_length, one.n_text, 1337, kShown.at(i));
      EXPECT_EQ(sample.place, one.samples[i].first);
      EXPECT_EQ(sample.position, one.samples[i].second);
    }
  }
}

// ---- invariants --------------------------------------------------------------------------------

struct Range {
  Json given;
  std::int64_t train_length, n_text;
};

std::vector<Range> Ranges() {
  return {{Pose(32, 2, "random"), 8, 40},
          {Pose(32, 2, "contiguous"), 8, 8},
          {Pose(32, 2, "aligned"), 8, 32},
          {Pose(32, 2, "aligned"), 8, 19},
          {Pose(33, 3, "random"), 8, 17},
          {Pose(20, 8, "aligned"), 8, 20},
          {Pose(9, 2, "random"), 8, 8},
          {Pose(64, 2, "random"), 2, 10},
          {Pose(4096, 16, "random"), 16, 80},
          {Randpos(9), 8, 8},
          {Randpos(64), 8, 8},
          {Randpos(2), 1, 1}};
}

TEST(PositionScheduleTest, EachOfManySamplesIsWellFormed) {
  for (const Range& range : Ranges()) {
    SCOPED_TRACE(Str(range.given.dump(), " T ", range.train_length, " text ", range.n_text));
    const Json schedule = Resolved(range.given, range.train_length);
    const bool is_pose = range.given["method"] == "pose";
    const std::string content = range.given.value("content", "");
    const auto size = static_cast<std::size_t>(range.train_length);
    for (std::int64_t g = 0; g < kSamples; ++g) {
      const NumberedSample sample = NumberSample(schedule, range.train_length, range.n_text, 5, g);
      const Places& place = sample.place;
      const Positions& position = sample.position;
      ASSERT_EQ(place.size(), size + 1);
      ASSERT_EQ(position.size(), size);
      ASSERT_GE(place.front(), 0);
      ASSERT_LE(place.back(), range.n_text);
      ASSERT_GE(position.front(), 0);
      ASSERT_LT(position.back(), NumberOfPositions(schedule));
      std::int64_t n_jumps = 0;
      for (std::size_t t = 1; t < size; ++t) {
        ASSERT_LT(place[t - 1], place[t]);
        ASSERT_LT(position[t - 1], position[t]);
        n_jumps += position[t] != position[t - 1] + 1 || place[t] != place[t - 1] + 1;
      }
      ASSERT_EQ(place[size], place[size - 1] + 1);
      if (content == "aligned") {
        ASSERT_TRUE(std::ranges::equal(position, std::span(place).first(size)));
      }
      if (content != "random" && content != "aligned") {
        ASSERT_EQ(place[size], range.train_length);
      }
      if (!is_pose) continue;
      ASSERT_EQ(place[0], 0);
      ASSERT_EQ(position[0], 0);
      ASSERT_LT(n_jumps, range.given["chunks"].get<std::int64_t>());
    }
  }
}

// So that a comparison of contents has the same positions in each of its runs.
TEST(PositionScheduleTest, ContentChangesNoPosition) {
  const Json random = Resolved(Pose(64, 3, "random"), 16);
  const Json contiguous = Resolved(Pose(64, 3, "contiguous"), 16);
  const Json aligned = Resolved(Pose(64, 3, "aligned"), 16);
  for (std::int64_t g = 0; g < 1000; ++g) {
    const Positions expected = NumberSample(random, 16, 80, 7, g).position;
    EXPECT_EQ(NumberSample(contiguous, 16, 16, 7, g).position, expected);
    EXPECT_EQ(NumberSample(aligned, 16, 64, 7, g).position, expected);
  }
}

TEST(PositionScheduleTest, ASampleDependsOnItsNumberAndTheSeedOnly) {
  const Json schedule = Resolved(Pose(64, 2, "random"), 16);
  std::vector<Positions> forwards, backwards, other_seed;
  for (std::int64_t g = 0; g < 100; ++g) {
    forwards.push_back(NumberSample(schedule, 16, 80, 7, g).position);
    backwards.push_back(NumberSample(schedule, 16, 80, 7, 99 - g).position);
    other_seed.push_back(NumberSample(schedule, 16, 80, 8, g).position);
  }
  std::ranges::reverse(backwards);
  EXPECT_EQ(forwards, backwards);
  EXPECT_NE(forwards, other_seed);
}

// ---- distributions -----------------------------------------------------------------------------

// chi^2 of how often each of n_values values was drawn, which must be equally likely.
template <typename Value>
double ChiSquared(const std::map<Value, std::int64_t>& counts, std::size_t n_values) {
  EXPECT_EQ(counts.size(), n_values);
  double n = 0;
  for (const auto& [value, count] : counts) n += static_cast<double>(count);
  const double expected = n / static_cast<double>(n_values);
  double sum = 0;
  for (const auto& [value, count] : counts) {
    const double off = static_cast<double>(count) - expected;
    sum += off * off / expected;
  }
  return sum;
}

// The bounds are exceeded once in a million seeds (chi^2 with 3, 32 and 24 degrees of freedom).
TEST(PoseTest, LengthAndSkipsAreUniform) {
  const Json schedule = Resolved(Pose(32, 2, "random"), 8);
  std::map<std::int64_t, std::int64_t> ends, lasts;
  std::map<std::ptrdiff_t, std::int64_t> firsts;
  for (std::int64_t g = 0; g < kSamples; ++g) {
    const NumberedSample sample = NumberSample(schedule, 8, 40, 1337, g);
    ++ends[sample.place.back()];
    ++lasts[sample.position.back()];
    // Where nothing is skipped, the length of the first chunk does not show.
    const auto jump = std::ranges::adjacent_find(
        sample.position, [](std::int32_t a, std::int32_t b) { return b != a + 1; });
    if (jump != sample.position.end()) ++firsts[jump - sample.position.begin() + 1];
  }
  EXPECT_LT(ChiSquared(ends, 33), 85.8);   // e, 8 to 40
  EXPECT_LT(ChiSquared(lasts, 25), 72.9);  // u + 7, u 0 to 24
  EXPECT_LT(ChiSquared(firsts, 4), 32.8);  // r, 1 to 4
  EXPECT_EQ(firsts.begin()->first, 1);
  EXPECT_EQ(firsts.rbegin()->first, 4);
}

// Five tokens in three chunks can be cut in six ways: 5 degrees of freedom.
TEST(PoseTest, CutsOfThreeChunksAreUniform) {
  std::map<std::vector<std::int64_t>, std::int64_t> cuts;
  SeededRandom random(1337);
  const UniformDraw draw = [&](std::int64_t low, std::int64_t high) {
    return low +
           static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(high - low) + 1));
  };
  for (std::int64_t i = 0; i < kSamples; ++i) ++cuts[DrawDistinct(2, 1, 4, draw)];
  EXPECT_LT(ChiSquared(cuts, 6), 37.5);
}

// Two of six positions are 15 sets: 14 degrees of freedom.
TEST(RandposTest, SetsOfPositionsAreUniform) {
  const Json schedule = Resolved(Randpos(6), 2);
  std::map<Positions, std::int64_t> sets;
  for (std::int64_t g = 0; g < kSamples; ++g) {
    ++sets[NumberSample(schedule, 2, 2, 1337, g).position];
  }
  EXPECT_LT(ChiSquared(sets, 15), 55.5);
}

// ---- parameters --------------------------------------------------------------------------------

TEST(PositionScheduleTest, ResolvingWritesTheDefaultsAndIsIdempotent) {
  const Json resolved = Resolved({{"method", "pose"}, {"target_length", 1024}}, 128);
  EXPECT_EQ(resolved, Json({{"method", "pose"},
                            {"target_length", 1024},
                            {"chunks", 2},
                            {"content", "random"},
                            {"text_length", 640}}));
  EXPECT_EQ(ScheduleTextLength(resolved, 128), 640);
  for (const Range& range : Ranges()) {
    const Json once = Resolved(range.given, range.train_length);
    EXPECT_EQ(Resolved(once, range.train_length), once);
  }
  EXPECT_EQ(ScheduleTextLength(Resolved(Pose(256, 2, "contiguous"), 128), 128), 128);
  EXPECT_EQ(ScheduleTextLength(Resolved(Pose(256, 2, "aligned"), 128), 128), 256);
  EXPECT_EQ(ScheduleTextLength(Resolved(Randpos(256), 128), 128), 128);
}

TEST(PositionScheduleTest, ErrorsNameTheParameterAndWhatWouldDo) {
  const auto error = [](const Json& given, std::int64_t train_length) {
    const Result<Json> resolved = ResolvePositionSchedule(given, train_length);
    if (!resolved.ok()) return std::string(resolved.status().message());
    return ShowErrors("train.positions", CheckPositionSchedule(*resolved, train_length));
  };
  EXPECT_EQ(error({{"method", "pse"}}, 8),
            "train.positions.method: unknown position schedule \"pse\"; did you mean \"pose\"?");
  EXPECT_EQ(error({{"method", "rolling"}}, 8),
            "train.positions.method: unknown position schedule \"rolling\"; expected one of "
            "plain, pose, randpos");
  EXPECT_EQ(error({{"method", "randpos"}}, 8),
            "train.positions.target_length: must be given: an integer from 2 to 67108864, "
            "length of the texts that the model is to read after training, more than train_length; "
            "positions up to target_length - 1 occur");
  EXPECT_EQ(error(Pose(8, 2, "random"), 8),
            "train.positions.target_length: expected more than train_length 8, found 8: it is the "
            "length of the texts that the model is to read after training");
  EXPECT_EQ(error(Pose(32, 9, "random"), 8),
            "train.positions.chunks: a sequence of train_length 8 has room for at most 8 chunks, "
            "found 9");
  EXPECT_EQ(error(Pose(32, 1, "random"), 8),
            "train.positions.chunks: expected an integer from 2 to 67108864, found 1");
  EXPECT_EQ(error(Pose(32, 2, "continuous"), 8),
            "train.positions.content: expected one of random, contiguous, aligned, found "
            "\"continuous\"; did you mean \"contiguous\"?");
  Json short_text = Pose(32, 2, "random");
  short_text["text_length"] = 7;
  EXPECT_EQ(error(short_text, 8),
            "train.positions.text_length: expected train_length 8 or more, since each sample is "
            "taken from a text of this length; found 7");
  short_text["content"] = "aligned";
  EXPECT_NE(error(short_text, 8).find("train.positions.text_length"), std::string::npos);
  EXPECT_EQ(error({{"method", "pose"}, {"target_length", 9}, {"text_length", 8}}, 8), "");
}

// Of all position methods, those that only rotate.
TEST(PositionScheduleTest, OnlyModelsThatRotateHaveOne) {
  std::vector<std::string> taken;
  for (const std::string& method : PositionMethodNames()) {
    ModelConfig model = *ModelConfig::Preset("micro");
    model.vocab_size = 256;
    model.position = *ResolvePosition(method);
    if (method == "learned") model.n_positions = 64;
    const auto why = WhyNotScheduled(Resolved(Pose(256, 2, "random"), 64), model);
    if (!why) {
      taken.push_back(method);
    } else {
      EXPECT_NE(why->message.find(Str('"', method, '"')), std::string::npos) << why->message;
    }
  }
  EXPECT_EQ(taken, (std::vector<std::string>{"rope", "xpos"}));
}

}  // namespace
}  // namespace longrun
