#include "model/sample_source/source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "kernels/cross_entropy.h"
#include "model/position_schedule/schedule.h"
#include "model/sample_source/document_check.h"
#include "tests/model/position_schedule/given.h"

namespace longrun {
namespace {

using Tokens = std::vector<std::int32_t>;
using Targets = std::vector<std::int64_t>;

// Token i of the split is 100 + i, so that a token says its place; or, with `damaged_at`, a token
// that cannot be read.
class MadeSplit final : public TokenSplit {
 public:
  explicit MadeSplit(const std::vector<std::int64_t>& lengths, std::int64_t damaged_at = -1)
      : starts_(lengths.size() + 1), damaged_at_(damaged_at) {
    std::partial_sum(lengths.begin(), lengths.end(), starts_.begin() + 1);
  }

  std::int64_t n_tokens() const override { return starts_.back(); }
  std::span<const std::int64_t> document_starts() const override { return starts_; }
  Status Read(std::int64_t begin, std::span<std::int32_t> out) const override {
    const std::int64_t end = begin + static_cast<std::int64_t>(out.size());
    EXPECT_GE(begin, 0);
    EXPECT_LE(end, n_tokens());
    if (begin <= damaged_at_ && damaged_at_ < end) return Status(Code::kDataLoss, "block 7");
    std::iota(out.begin(), out.end(), static_cast<std::int32_t>(100 + begin));
    return Status();
  }

 private:
  std::vector<std::int64_t> starts_;
  std::int64_t damaged_at_;
};

TrainConfig Recipe(SampleKind samples, std::int64_t train_length, const Json& positions = {}) {
  TrainConfig train;
  train.train_length = train_length;
  train.order = OrderKind::kStream;
  train.samples = samples;
  if (!positions.is_null()) {
    train.positions = ResolvePositionSchedule(positions, train_length).value();
  }
  return train;
}

constexpr std::int32_t kBos = 9;

std::unique_ptr<SampleSource> Open(const TokenSplit& split, const TrainConfig& train,
                                   std::uint64_t seed = 7) {
  Result<std::unique_ptr<SampleSource>> source =
      OpenSampleSource({.split = split, .train = train, .seed = seed, .bos_id = kBos});
  EXPECT_TRUE(source.ok()) << source.status().message();
  return std::move(source).value();
}

Sample Read(const SampleSource& source, std::int64_t g) {
  Sample sample;
  const Status read = source.Read(g, sample);
  EXPECT_TRUE(read.ok()) << read.message();
  return sample;
}

TEST(WindowsTest, TheTargetsAreTheNextTokensOfTheJoinedText) {
  const MadeSplit split({5, 4, 3});
  const TrainConfig train = Recipe(SampleKind::kWindows, 4);
  const auto source = Open(split, train);
  const Sample second = Read(*source, 1);
  EXPECT_EQ(second.tokens, (Tokens{104, 105, 106, 107}));  // of two documents
  EXPECT_EQ(second.targets, (Targets{105, 106, 107, 108}));
  EXPECT_TRUE(second.positions.empty());
  EXPECT_EQ(source->Size(1), (SampleSize{.n_tokens = 4, .n_targets = 4}));
  EXPECT_EQ(Read(*source, 2).tokens, Read(*source, 0).tokens);  // 2 slices of 12 tokens
}

TEST(DocumentsTest, EachSampleIsTheBeginningOfOneDocumentAndPaddingFollows) {
  const MadeSplit split({3, 1, 9, 5, 1, 2});
  const TrainConfig train = Recipe(SampleKind::kDocuments, 5);
  const auto source = Open(split, train);
  const std::vector<std::pair<Tokens, Targets>> expected = {
      {{100, 101, 102, 0, 0}, {101, 102, -100, -100, -100}},
      {{104, 105, 106, 107, 108}, {105, 106, 107, 108, -100}},  // cut
      {{113, 114, 115, 116, 117}, {114, 115, 116, 117, -100}},  // as long as a sample
      {{119, 120, 0, 0, 0}, {120, -100, -100, -100, -100}}};
  const std::vector<std::int64_t> sizes = {3, 5, 5, 2};
  for (std::int64_t g = 0; g < 9; ++g) {
    const auto at = static_cast<std::size_t>(g % 4);  // documents of one token are no samples
    const Sample sample = Read(*source, g);
    EXPECT_EQ(sample.tokens, expected[at].first) << g;
    EXPECT_EQ(sample.targets, expected[at].second) << g;
    EXPECT_TRUE(sample.positions.empty());
    EXPECT_EQ(source->Size(g), (SampleSize{.n_tokens = sizes[at], .n_targets = sizes[at] - 1}));
  }
}

TEST(DocumentsTest, ShuffledVisitsEachDocumentOnceInAnEpoch) {
  const MadeSplit split({3, 1, 9, 5, 1, 2, 4});
  TrainConfig train = Recipe(SampleKind::kDocuments, 5);
  train.order = OrderKind::kShuffled;
  const auto source = Open(split, train);
  std::vector<std::vector<std::int32_t>> epochs;
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    std::vector<std::int32_t> firsts;
    for (std::int64_t i = 0; i < 5; ++i) {
      firsts.push_back(Read(*source, 5 * epoch + i).tokens.front());
    }
    epochs.push_back(firsts);
    std::ranges::sort(firsts);
    EXPECT_EQ(firsts, (Tokens{100, 104, 113, 119, 121}));
  }
  EXPECT_GT(std::set(epochs.begin(), epochs.end()).size(), 10u);
}

TEST(DocumentsTest, RandomReachesEachDocumentAboutEquallyOften) {
  const MadeSplit split({2, 1, 200, 3, 50});
  TrainConfig train = Recipe(SampleKind::kDocuments, 4);
  train.order = OrderKind::kRandom;
  const auto source = Open(split, train);
  std::map<std::int32_t, int> counts;
  for (std::int64_t g = 0; g < 4000; ++g) ++counts[Read(*source, g).tokens.front()];
  ASSERT_EQ(counts.size(), 4u);
  // Six standard deviations of a binomial with p = 1/4.
  for (const auto& [first, count] : counts) EXPECT_NEAR(count, 1000, 6 * 27.4) << first;
}

// Draw k of sample g, as schedule.h says.
std::int64_t Drawn(std::uint64_t seed, std::int64_t g, std::uint64_t k, std::int64_t low,
                   std::int64_t high) {
  const std::uint64_t key = StreamKey(seed, static_cast<std::uint64_t>(g), 4);
  return low +
         static_cast<std::int64_t>(Sm64(key ^ k) % static_cast<std::uint64_t>(high - low + 1));
}

// The sampler of dwzhu-pku/PoSE (src/train_pose.py), which draws r, e and u, for the tokens that
// its tokenizer made of a document.
Sample OfficialPose(const Tokens& document, std::int64_t n_context, std::int64_t n_target,
                    std::uint64_t seed, std::int64_t g) {
  const std::int64_t n_text = std::min(static_cast<std::int64_t>(document.size()), 5 * n_context);
  const std::int64_t n = std::min(n_text, n_context);
  const std::int64_t r = Drawn(seed, g, 0, 1, (n + 1) / 2);
  const std::int64_t e = Drawn(seed, g, 1, n, n_text);
  const std::int64_t u = Drawn(seed, g, 2, 0, n_target - n);
  Sample sample;
  for (std::int64_t i = 0; i < r; ++i) {
    sample.tokens.push_back(document[static_cast<std::size_t>(i)]);
    sample.positions.push_back(static_cast<std::int32_t>(i));
  }
  for (std::int64_t i = e - (n - r); i < e; ++i) {
    sample.tokens.push_back(document[static_cast<std::size_t>(i)]);
    const auto at = static_cast<std::int64_t>(sample.positions.size());
    sample.positions.push_back(static_cast<std::int32_t>(at + u));
  }
  // labels = tokens; the loss compares what follows place t with label t + 1.
  sample.targets.assign(sample.tokens.begin() + 1, sample.tokens.end());
  sample.targets.push_back(-100);
  // The collator of the official code.
  while (static_cast<std::int64_t>(sample.tokens.size()) < n_context) {
    sample.tokens.push_back(0);
    sample.targets.push_back(-100);
    sample.positions.push_back(0);
  }
  return sample;
}

void ExpectSame(const Sample& found, const Sample& expected, std::int64_t g) {
  EXPECT_EQ(found.tokens, expected.tokens) << g;
  EXPECT_EQ(found.targets, expected.targets) << g;
  EXPECT_EQ(found.positions, expected.positions) << g;
}

// Documents shorter than a sample, as long, longer, and longer than five times a sample. The
// authors' tokenizer begins each text with a begin-of-text token; others do not.
TEST(DocumentsTest, UnderPoseTheyAreTheSamplesOfItsAuthorsCode) {
  const std::vector<std::int64_t> lengths = {5, 2, 7, 8, 9, 20, 39, 40, 41, 300};
  const MadeSplit split(lengths);
  for (const SampleKind kind : {SampleKind::kDocuments, SampleKind::kDocumentsWithBos}) {
    const TrainConfig train = Recipe(kind, 8, Pose(32));
    const auto source = Open(split, train, 1337);
    for (std::int64_t g = 0; g < 4000; ++g) {
      const auto d = static_cast<std::size_t>(g) % lengths.size();
      Tokens document(static_cast<std::size_t>(lengths[d]));
      std::iota(document.begin(), document.end(),
                static_cast<std::int32_t>(100 + split.document_starts()[d]));
      if (kind == SampleKind::kDocumentsWithBos) document.insert(document.begin(), kBos);
      ExpectSame(Read(*source, g), OfficialPose(document, 8, 32, 1337, g), g);
      if (HasFailure()) return;
    }
  }
}

TEST(DocumentsTest, WithABeginOfTextTokenEvenADocumentOfOneTokenIsASample) {
  const MadeSplit split({3, 1, 9, 4});
  const TrainConfig train = Recipe(SampleKind::kDocumentsWithBos, 5);
  const auto source = Open(split, train);
  const std::vector<std::pair<Tokens, Targets>> expected = {
      {{kBos, 100, 101, 102, 0}, {100, 101, 102, -100, -100}},
      {{kBos, 103, 0, 0, 0}, {103, -100, -100, -100, -100}},
      {{kBos, 104, 105, 106, 107}, {104, 105, 106, 107, -100}},   // cut
      {{kBos, 113, 114, 115, 116}, {113, 114, 115, 116, -100}}};  // as long as a sample
  const std::vector<std::int64_t> sizes = {4, 2, 5, 5};
  for (std::int64_t g = 0; g < 8; ++g) {
    const auto at = static_cast<std::size_t>(g % 4);
    const Sample sample = Read(*source, g);
    EXPECT_EQ(sample.tokens, expected[at].first) << g;
    EXPECT_EQ(sample.targets, expected[at].second) << g;
    EXPECT_EQ(source->Size(g), (SampleSize{.n_tokens = sizes[at], .n_targets = sizes[at] - 1}));
  }
}

TEST(DocumentsTest, ABeginOfTextTokenMustExistAndNotBeThereAlready) {
  const MadeSplit split({3, 4});
  const TrainConfig train = Recipe(SampleKind::kDocumentsWithBos, 8);
  const auto error = [&](std::int32_t bos_id) {
    return OpenSampleSource({.split = split, .train = train, .seed = 7, .bos_id = bos_id}).status();
  };
  EXPECT_EQ(error(-1).message(),
            "train.samples: documents_with_bos puts a begin-of-text token before each document, "
            "but the dataset's tokenizer has neither a begin-of-text token nor an end-of-text "
            "token: choose documents");
  EXPECT_EQ(error(100).message(),
            "train.samples: documents_with_bos puts token 100 before each document, but the first "
            "document of the training split begins with that token already: choose documents");
  EXPECT_EQ(error(100).code(), Code::kInvalidArgument);
  EXPECT_TRUE(error(101).ok());
}

// The row of the table of PoSE's sampler (a run of its authors' code) for a text of 5 tokens, Lc 8
// and Lt 32: with r = 2, e = 5 and u = 27, tokens 0 to 4 are at positions 0, 1, 29, 30, 31.
TEST(DocumentsTest, UnderPoseAShortDocumentIsTheRowOfThePublishedSampler) {
  const MadeSplit split({5, 5});
  const TrainConfig train = Recipe(SampleKind::kDocuments, 8, Pose(32));
  const auto source = Open(split, train);
  std::int64_t n_found = 0;
  for (std::int64_t g = 0; g < 2000; g += 2) {
    if (Drawn(7, g, 0, 1, 3) != 2 || Drawn(7, g, 2, 0, 27) != 27) continue;
    ++n_found;
    ExpectSame(Read(*source, g),
               {.tokens = {100, 101, 102, 103, 104, 0, 0, 0},
                .targets = {101, 102, 103, 104, -100, -100, -100, -100},
                .positions = {0, 1, 29, 30, 31, 0, 0, 0}},
               g);
  }
  EXPECT_GT(n_found, 0);
}

TEST(DocumentsTest, EachOfManySamplesIsWellFormed) {
  constexpr std::int64_t kLength = 8;
  std::vector<std::int64_t> lengths;
  for (std::int64_t n = 1; n <= 60; ++n) lengths.push_back(n);
  const MadeSplit split(lengths);
  for (const Json& positions :
       {Json(), Pose(32), Pose(9), Pose(64, 5), Pose(64, 8), Pose(64, 2, "contiguous"),
        Pose(64, 3, "aligned"), Pose(16, 4, "aligned"), Randpos(9), Randpos(4096)}) {
    SCOPED_TRACE(positions.dump());
    const TrainConfig train = Recipe(SampleKind::kDocuments, kLength, positions);
    const auto source = Open(split, train);
    const bool is_aligned = !positions.is_null() && positions.value("content", "") == "aligned";
    for (std::int64_t g = 0; g < 10'000; ++g) {
      const auto d = static_cast<std::size_t>(1 + g % 59);
      const Sample sample = Read(*source, g);
      ASSERT_EQ(sample.tokens.size(), static_cast<std::size_t>(kLength));
      ASSERT_EQ(sample.targets.size(), static_cast<std::size_t>(kLength));
      ASSERT_EQ(sample.positions.size(), positions.is_null() ? 0u : sample.tokens.size());
      const std::int64_t n = std::min(lengths[d], kLength);
      ASSERT_EQ(source->Size(g), (SampleSize{.n_tokens = n, .n_targets = n - 1}));
      const std::int64_t begin = 100 + split.document_starts()[d];
      for (std::size_t t = 0; t < sample.tokens.size(); ++t) {
        const bool is_padding = static_cast<std::int64_t>(t) >= n;
        const bool has_target = static_cast<std::int64_t>(t) < n - 1;
        ASSERT_EQ(sample.targets[t], has_target ? sample.tokens[t + 1] : kIgnoredTarget);
        if (is_padding) {
          ASSERT_EQ(sample.tokens[t], kPaddingToken);
          if (!positions.is_null()) {
            ASSERT_EQ(sample.positions[t], 0);
          }
          continue;
        }
        ASSERT_GE(sample.tokens[t], begin);
        ASSERT_LT(sample.tokens[t], begin + lengths[d]);
        if (t > 0) {
          ASSERT_LT(sample.tokens[t - 1], sample.tokens[t]);
        }
        if (positions.is_null()) continue;
        ASSERT_GE(sample.positions[t], 0);
        ASSERT_LT(sample.positions[t], positions["target_length"].get<std::int64_t>());
        if (t > 0) {
          ASSERT_LT(sample.positions[t - 1], sample.positions[t]);
        }
        if (is_aligned) {
          ASSERT_EQ(sample.tokens[t] - begin, sample.positions[t]);
        }
      }
    }
  }
}

// So a smaller micro-batch, or a resumed training, has the same samples.
TEST(DocumentsTest, ASampleDependsOnItsNumberAndTheSeedOnly) {
  const MadeSplit split({5, 2, 8, 9, 20, 40, 41, 300});
  for (const OrderKind order : {OrderKind::kRandom, OrderKind::kShuffled, OrderKind::kStream}) {
    TrainConfig train = Recipe(SampleKind::kDocuments, 8, Pose(32));
    train.order = order;
    const auto source = Open(split, train), again = Open(split, train);
    const auto other = Open(split, train, 8);
    std::vector<Sample> samples;
    for (std::int64_t g = 0; g < 100; ++g) samples.push_back(Read(*source, g));
    bool differs = false;
    for (std::int64_t g = 99; g >= 0; --g) {
      ExpectSame(Read(*again, g), samples[static_cast<std::size_t>(g)], g);
      differs =
          differs || Read(*other, g).positions != samples[static_cast<std::size_t>(g)].positions;
    }
    EXPECT_TRUE(differs);
  }
}

TEST(DocumentsTest, ASplitWithoutSamplesIsRefused) {
  const TrainConfig train = Recipe(SampleKind::kDocuments, 8);
  const auto error = [&](const std::vector<std::int64_t>& lengths) {
    const MadeSplit split(lengths);
    return OpenSampleSource({.split = split, .train = train, .seed = 7}).status();
  };
  const auto check = [](SampleKind samples, std::int64_t n_documents, std::int64_t n_tokens) {
    return CheckDocuments(samples, {.n_documents = n_documents, .n_tokens = n_tokens});
  };
  EXPECT_EQ(error({500}).message(),
            "\"documents\" makes each document a sample, but the training split is a single "
            "document; import each text as a document of its own, or choose windows");
  EXPECT_EQ(error({1, 1, 1}).message(),
            "\"documents\" makes each document a sample, but each of the 3 documents of the "
            "training split has a single token, so there is nothing to predict; import longer "
            "documents, or choose windows");
  EXPECT_EQ(error({1, 1, 1}).code(), Code::kInvalidArgument);
  EXPECT_TRUE(error({1, 2, 1}).ok());
  EXPECT_TRUE(check(SampleKind::kDocuments, 2, 3).ok());
  EXPECT_FALSE(check(SampleKind::kDocuments, 2, 2).ok());
  EXPECT_TRUE(check(SampleKind::kDocumentsWithBos, 2, 2).ok());
  EXPECT_EQ(check(SampleKind::kDocumentsWithBos, 1, 9).message(),
            "\"documents_with_bos\" makes each document a sample, but the training split is a "
            "single document; import each text as a document of its own, or choose windows");
}

TEST(DocumentsTest, ADamagedBlockIsReported) {
  const MadeSplit split({5, 5}, 7);
  for (const Json& positions : {Json(), Pose(32)}) {
    const TrainConfig train = Recipe(SampleKind::kDocuments, 8, positions);
    const auto source = Open(split, train);
    Sample sample;
    EXPECT_TRUE(source->Read(0, sample).ok());
    EXPECT_EQ(source->Read(1, sample).code(), Code::kDataLoss);
  }
}

}  // namespace
}  // namespace longrun
