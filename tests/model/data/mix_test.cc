// Documents by rule mixed into a text: where they stand, how many they are, and on what they
// depend. The sink that stores them is a fake that counts bytes as tokens.
#include "model/data/mix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/prepare.h"

namespace longrun {
namespace {

using Strings = std::vector<std::string>;

class KeepingSink final : public DocumentSink {
 public:
  Status Text(std::string_view bytes) override {
    open_ += bytes;
    return Status();
  }
  Status Ids(std::span<const std::int32_t>) override { return Status(); }
  Status EndDocument() override {
    n_tokens_ += std::ssize(open_) + 1;
    documents_.push_back(std::exchange(open_, {}));
    return Status();
  }
  std::int64_t n_tokens() const { return n_tokens_; }
  const Strings& documents() const { return documents_; }

 private:
  std::string open_;
  Strings documents_;
  std::int64_t n_tokens_ = 0;
};

Mix MixOf(const Strings& rules) {
  Mix mix;
  for (const std::string& rule : rules) {
    const Status added = mix.AddText(rule);
    EXPECT_TRUE(added.ok()) << added.message();
  }
  return mix;
}

// The documents of `text`, given to the mix in pieces of `n_piece` bytes.
Strings Mixed(const Mix& mix, std::string_view text, std::size_t n_piece,
              std::uint64_t source = 0) {
  const auto tokenizer = MakeTokenizer("bytes").value();
  KeepingSink kept;
  MixSink sink(mix, *tokenizer, source, kept, [&] { return kept.n_tokens(); });
  for (std::size_t at = 0; at < text.size(); at += n_piece) {
    EXPECT_TRUE(sink.Text(text.substr(at, n_piece)).ok());
  }
  EXPECT_TRUE(sink.EndDocument().ok());
  return kept.documents();
}

// Lines of 40 to 79 lower-case letters and a line end.
std::string Lines(int n) {
  SeededRandom random(9);
  std::string text;
  for (int i = 0; i < n; ++i) {
    for (std::uint64_t k = 40 + random.Below(40); k > 0; --k) {
      text += static_cast<char>('a' + random.Below(26));
    }
    text += '\n';
  }
  return text;
}

bool IsCopy(const std::string& document) { return document.find('|') != std::string::npos; }

constexpr const char* kCopies = R"({"rule": "copy", "share": 0.3, "span": 20, "distance": 60})";

TEST(MixTest, TextIsKeptInOrderAndCutAtLineEnds) {
  const std::string text = Lines(500);
  std::string joined;
  for (const std::string& document : Mixed(MixOf({kCopies}), text, 1000)) {
    if (IsCopy(document)) continue;
    joined += document;
    EXPECT_EQ(document.back(), '\n');
    // The last piece is what is left of the text.
    if (joined.size() < text.size()) {
      EXPECT_GE(document.size(), 512);
    }
    EXPECT_LE(document.size(), 1536 + 80);
  }
  EXPECT_EQ(joined, text);
}

TEST(MixTest, EachRuleHasItsShareOfTheTokens) {
  const Mix mix = MixOf({kCopies, R"({"rule": "uniform", "share": 0.2, "length": 333})"});
  double copies = 0, uniform = 0, all = 0;
  for (const std::string& document : Mixed(mix, Lines(3000), 4096)) {
    const auto n = static_cast<double>(document.size() + 1);
    all += n;
    if (IsCopy(document)) copies += n;
    if (document.size() == 333) uniform += n;
  }
  EXPECT_NEAR(copies / all, 0.3, 0.005);
  EXPECT_NEAR(uniform / all, 0.2, 0.005);
}

TEST(MixTest, ResultDoesNotDependOnThePiecesOfTheText) {
  const std::string text = Lines(4000);
  Mix mix = MixOf({R"({"rule": "passkey", "share": 0.5, "longest": 700})"});
  const Strings whole = Mixed(mix, text, text.size());
  EXPECT_EQ(Mixed(mix, text, 1), whole);
  EXPECT_EQ(Mixed(mix, text, 77), whole);
  EXPECT_EQ(Mixed(mix, text, 65536), whole);
}

TEST(MixTest, SeedAndSourceChangeTheDocuments) {
  const std::string text = Lines(200);
  Mix mix = MixOf({kCopies});
  const Strings first = Mixed(mix, text, 4096);
  EXPECT_NE(Mixed(mix, text, 4096, 1), first);
  mix.seed = 2;
  EXPECT_NE(Mixed(mix, text, 4096), first);
}

TEST(MixTest, NoDocumentOfARuleOccursTwice) {
  Strings copies;
  for (const std::uint64_t source : {0u, 1u}) {
    for (std::string& document : Mixed(MixOf({kCopies}), Lines(1000), 4096, source)) {
      if (IsCopy(document)) copies.push_back(std::move(document));
    }
  }
  std::ranges::sort(copies);
  EXPECT_GT(copies.size(), 500);
  EXPECT_EQ(std::ranges::adjacent_find(copies), copies.end());
}

TEST(MixTest, MistakesAreNamed) {
  Mix mix;
  const auto refused = [&](std::string_view text) {
    return std::string(mix.AddText(text).message());
  };
  EXPECT_NE(refused("passkey").find("such as passkey=0.4"), std::string::npos);
  EXPECT_NE(refused("passkey=").find("such as passkey=0.4"), std::string::npos);
  EXPECT_NE(refused("passkey=x").find("such as passkey=0.4"), std::string::npos);
  EXPECT_EQ(refused("passkey=1"), "share: expected a number above 0 and up to 0.95, found 1.0");
  EXPECT_EQ(refused("passkey=-0.5"), "share: expected a number above 0 and up to 0.95, found -0.5");
  EXPECT_EQ(refused(R"({"rule": "copy"})"),
            "share: expected a number above 0 and up to 0.95, found null");
  EXPECT_NE(refused("paskey=0.4").find("did you mean \"passkey\"?"), std::string::npos);
  EXPECT_TRUE(mix.empty());
  EXPECT_EQ(refused("copy=0.5"), "");
  EXPECT_EQ(refused("uniform=0.6"), "");
  EXPECT_NE(std::string(mix.Check().message()).find("add up to 1.1"), std::string::npos);
}

// ---- in an import ------------------------------------------------------------------------------

class MixedImportTest : public testing::Test {
 protected:
  PrepareSpec Spec() {
    PrepareSpec spec;
    for (const char* const split : {"train", "validation"}) {
      const std::string path = JoinPath(folder_.path(), Str(split, ".txt"));
      EXPECT_TRUE(
          WriteFileAtomic(path, split == std::string("train") ? Lines(300) : "held out\n").ok());
      spec.files.emplace_back(split, Strings{path});
    }
    spec.mix = MixOf({kCopies});
    return spec;
  }

  Dataset Made(const PrepareSpec& spec, std::int64_t jobs = 1) {
    const std::string folder = JoinPath(folder_.path(), Str("data-", n_made_++));
    const Status status = PrepareDataset(spec, folder, {.jobs = jobs});
    EXPECT_TRUE(status.ok()) << status.message();
    return Dataset::Open(folder).value();
  }

  std::string WhyNot(const PrepareSpec& spec) {
    return std::string(
        PrepareDataset(spec, JoinPath(folder_.path(), Str("data-", n_made_++)), {}).message());
  }

  TempFolder folder_;
  int n_made_ = 0;
};

TEST_F(MixedImportTest, OnlyTheTrainingTextIsMixed) {
  const PrepareSpec spec = Spec();
  const Dataset mixed = Made(spec);
  PrepareSpec plain = spec;
  plain.mix = {};
  const Dataset without = Made(plain);
  EXPECT_NEAR(static_cast<double>(without.Split("train").value()->n_tokens()) /
                  static_cast<double>(mixed.Split("train").value()->n_tokens()),
              0.7, 0.02);
  EXPECT_EQ(without.Split("validation").value()->n_tokens(),
            mixed.Split("validation").value()->n_tokens());
}

TEST_F(MixedImportTest, DigestIsThatOfTheSeedWhateverTheNumberOfJobs) {
  PrepareSpec spec = Spec();
  const std::string second = JoinPath(folder_.path(), "second.txt");
  ASSERT_TRUE(WriteFileAtomic(second, Lines(100)).ok());
  spec.files[0].second.push_back(second);
  const std::string digest = Made(spec).digest();
  EXPECT_EQ(Made(spec, 3).digest(), digest);
  spec.mix.seed = 2;
  EXPECT_NE(Made(spec).digest(), digest);
}

TEST_F(MixedImportTest, WhatCannotBeMixedIsRefusedWithItsRemedy) {
  PrepareSpec spec = Spec();
  spec.packing.min_doc_tokens = 1000;
  EXPECT_NE(WhyNot(spec).find("leave them out"), std::string::npos);
  spec = Spec();
  spec.files = {{"", {spec.files[0].second[0]}}};
  spec.split = {.by = SplitRule::By::kLastTokens, .validation_tokens = 100};
  EXPECT_NE(WhyNot(spec).find("give files to --validation"), std::string::npos);
  spec = Spec();
  spec.mix = MixOf({R"({"rule": "passkey", "share": 0.3, "longest": 50})"});
  EXPECT_NE(WhyNot(spec).find("raise longest"), std::string::npos);
}

// A rule's file is a source like any other: the same digest from the same description.
TEST_F(MixedImportTest, FilesOfRulesAreRead) {
  const auto dataset = [&](std::string_view json) {
    const std::string path = JoinPath(folder_.path(), Str("r", n_made_, ".rule"));
    EXPECT_TRUE(WriteFileAtomic(path, json).ok());
    PrepareSpec spec;
    spec.source.format = std::string(GuessSourceFormat(path));
    spec.files = {{"train", {path}}};
    return spec;
  };
  constexpr const char* kJson =
      R"({"rule": {"rule": "uniform", "length": 99}, "seed": 3, "tokens": 1000})";
  const Dataset made = Made(dataset(kJson));
  EXPECT_EQ(made.Split("train").value()->n_tokens(), 1000);
  EXPECT_EQ(made.Split("train").value()->document_starts().size(), 11);
  EXPECT_EQ(Made(dataset(kJson)).digest(), made.digest());
  EXPECT_NE(
      Made(dataset(R"({"rule": {"rule": "uniform", "length": 99}, "seed": 4, "tokens": 1000})"))
          .digest(),
      made.digest());
  EXPECT_NE(WhyNot(dataset("[]")).find("expected an object like"), std::string::npos);
  EXPECT_NE(WhyNot(dataset(R"({"rule": {"rule": "uniform"}, "seed": 3})")).find("tokens"),
            std::string::npos);
  EXPECT_NE(
      WhyNot(dataset(R"({"rule": {"rule": "uniform"}, "tokens": 9, "sead": 3})")).find("seed"),
      std::string::npos);
}

}  // namespace
}  // namespace longrun
