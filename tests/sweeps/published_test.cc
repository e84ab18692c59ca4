// Published tables: the files of sweeps/published/, and each mistake that a file can have.
#include "sweeps/published.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

std::string Errors(const std::string& yaml) {
  const Result<PublishedTable> table = ParsePublishedTable(yaml, "p.yaml");
  return table.ok() ? "ok" : table.status().message();
}

// A good table whose last lines are these.
std::string With(const std::string& lines) {
  return Str("published:\n  title: t\n  source: s\n  metric: perplexity\n  axes: [position]\n",
             lines);
}

constexpr const char* kValues =
    "  values:\n    - {position: rope, context_length: 64, value: 1.5}\n";

TEST(PublishedTest, EveryKeyReachesTheTable) {
  const PublishedTable table = ParsePublishedTable(R"yaml(published:
  title: a title
  source: somebody 2020, Table 1
  metric: nll
  reading_error: 0.02
  notes: >-
    two
    lines
  axes: [position, train.optimizer.lr]
  settings:
    dataset: books
    train.tokens: 1000
    train.optimizer.betas: [0.9, 0.95]
    model.tie_embeddings: true
    evaluate.split: "12"
  values:
    - {position: "rope(base=500000)", train.optimizer.lr: 1e-3, context_length: 2Ki, value: -1}
    - {position: alibi, train.optimizer.lr: 1e-3, context_length: [64, 128], value: [1.5, 2]}
)yaml",
                                                   "a/b/books.yaml")
                                   .value();
  EXPECT_EQ(table.name, "books");
  EXPECT_EQ(table.title, "a title");
  EXPECT_EQ(table.source, "somebody 2020, Table 1");
  EXPECT_EQ(table.notes, "two lines");
  EXPECT_EQ(table.metric, "nll");
  EXPECT_EQ(table.reading_error, 0.02);
  EXPECT_EQ(table.axes, (std::vector<std::string>{"position", "train.optimizer.lr"}));
  ASSERT_EQ(table.settings.size(), 5u);
  EXPECT_EQ(table.settings[0], (std::pair<std::string, Json>("dataset", "books")));
  EXPECT_EQ(table.settings[1].second, 1000);
  EXPECT_EQ(table.settings[2].second, Json({0.9, 0.95}));
  EXPECT_EQ(table.settings[3].second, true);
  EXPECT_EQ(table.settings[4].second, "12");  // in quotes it is text
  ASSERT_EQ(table.values.size(), 3u);
  EXPECT_EQ(table.values[0].at, (std::vector<std::string>{"rope(base=500000)", "1e-3"}));
  EXPECT_EQ(table.values[0].context_length, 2048);
  EXPECT_EQ(table.values[0].value, -1.0);
  EXPECT_EQ(table.values[2].at, table.values[1].at);
  EXPECT_EQ(table.values[2].context_length, 128);
  EXPECT_EQ(table.values[2].value, 2.0);
}

TEST(PublishedTest, AllMistakesComeInOneAnswerByPlace) {
  EXPECT_EQ(
      Errors(R"(published:
  titel: t
  metric: a/b
  reading_error: -1
  axes: [position, position, context_length, [a], seed]
  settings: {}
  values:
    - {position: rope, context_length: 64, valu: 1}
    - {context_length: 0, value: much}
    - 5
other: 1
)"),
      "p.yaml:1:1: published.source: must be given: authors, year, paper, table or figure\n"
      "p.yaml:1:1: published.title: must be given: a short title of the table\n"
      "p.yaml:2:3: published.titel: unknown key; did you mean \"title\"?\n"
      "p.yaml:3:11: published.metric: expected a name of 1 to 128 letters, digits, '.', '_' or '-' "
      "that does not start with '.', found \"a/b\"\n"
      "p.yaml:4:18: published.reading_error: expected a number from 0 to 1e+300, found \"-1\"\n"
      "p.yaml:5:20: published.axes[1]: \"position\" is listed twice: remove one\n"
      "p.yaml:5:30: published.axes[2]: \"context_length\" cannot be listed here: every table has "
      "it\n"
      "p.yaml:5:46: published.axes[3]: expected the name of an axis, found a list\n"
      "p.yaml:5:51: published.axes[4]: \"seed\" cannot be listed here: seeds are averaged\n"
      "p.yaml:8:7: published.values[0].value: must be given\n"
      "p.yaml:8:44: published.values[0].valu: unknown key; expected one of position, "
      "context_length, value\n"
      "p.yaml:9:7: published.values[1].position: must be given: it is one of published.axes\n"
      "p.yaml:9:24: published.values[1].context_length: expected a count from 1 to 1073741824 "
      "(4096, 64K, 200M, 8Ki), found \"0\"\n"
      "p.yaml:9:34: published.values[1].value: expected a number from -1e+300 to 1e+300, found "
      "\"much\"\n"
      "p.yaml:10:7: published.values[2]: expected a map with position, context_length, value, "
      "found \"5\"\n"
      "p.yaml:11:1: other: unknown key; everything is below published");
}

TEST(PublishedTest, AFileMustHoldTheMapPublished) {
  EXPECT_EQ(Errors("a: 1\n"),
            "p.yaml:1:1: expected a map with the key published, found a map without it");
  EXPECT_EQ(Errors("- 1\n"), "p.yaml:1:1: expected a map with the key published, found a list");
  EXPECT_EQ(Errors("published: [1]\n"), "p.yaml:1:12: published: expected a map, found a list");
  EXPECT_EQ(Errors(Str(With(kValues), "more: 1\n")),
            "p.yaml:8:1: more: unknown key; everything is below published");
  EXPECT_EQ(Errors(With(kValues)), "ok");
}

TEST(PublishedTest, ANumberThatIsGivenTwiceNamesBothPlaces) {
  EXPECT_EQ(Errors(With("  values:\n"
                        "    - {position: rope, context_length: [64, 128], value: [1, 2]}\n"
                        "    - {position: rope, context_length: 128, value: 3}\n")),
            "p.yaml:8:7: published.values[1]: position rope at context length 128 is given "
            "already, by published.values[0] in line 7: remove one");
}

TEST(PublishedTest, EachContextLengthHasItsNumber) {
  EXPECT_EQ(Errors(With("  values:\n"
                        "    - {position: rope, context_length: [64, 128], value: 1}\n")),
            "p.yaml:7:58: published.values[0].value: 1 number for 2 context lengths: give one for "
            "each");
  EXPECT_EQ(Errors(With("  values:\n    - {position: rope, context_length: [], value: [1]}\n")),
            "p.yaml:7:40: published.values[0].context_length: expected a number or a list of "
            "numbers, found an empty list");
}

TEST(PublishedTest, WhatIsMissingInAValueIsNamed) {
  EXPECT_EQ(Errors(With("  values:\n    - {value: \"5\"}\n")),
            "p.yaml:7:7: published.values[0].context_length: must be given\n"
            "p.yaml:7:7: published.values[0].position: must be given: it is one of published.axes\n"
            "p.yaml:7:15: published.values[0].value: expected a number from -1e+300 to 1e+300, "
            "found \"5\"; the quotes make it text: remove them");
  EXPECT_EQ(Errors(With("  values: []\n")),
            "p.yaml:6:11: published.values: expected a list of maps, found an empty one");
  EXPECT_EQ(Errors(With("")),
            "p.yaml:1:1: published.values: must be given: a list of maps with a value for each "
            "axis, context_length and value");
}

TEST(PublishedTest, ASettingIsAKeyOfARunOrOfAnEvaluation) {
  EXPECT_EQ(Errors(With(Str("  settings: [1]\n", kValues))),
            "p.yaml:6:13: published.settings: expected a map from keys of a run to values, as "
            "train.tokens: 1000, found a list");
  EXPECT_EQ(
      Errors(With(Str("  settings: {n_layer: 2, position: rope, train.x: {a: 1}}\n", kValues))),
      "p.yaml:6:14: published.settings.n_layer: unknown setting; expected dataset, tokenizer, or a "
      "key that begins with model., position., train. or evaluate.\n"
      "p.yaml:6:26: published.settings.position: unknown setting; expected dataset, tokenizer, or "
      "a key that begins with model., position., train. or evaluate.\n"
      "p.yaml:6:51: published.settings.train.x: expected a number, a text, true, false, or a list "
      "of these, found a map");
  EXPECT_EQ(Errors(With(Str("  settings: {train.x: 1, train.x: 2}\n", kValues))),
            "p.yaml:6:26: duplicate key \"train.x\"; it was already given at 6:14");
}

// Tables as data: a new one needs only its file, and every one of them can be read.
TEST(PublishedTest, EveryFileOfTheFolderIsInTheProgramAndIsRight) {
  std::vector<std::string> names;
  const std::vector<std::string> files = ListFolder(LONGRUN_SOURCE_DIR "/sweeps/published").value();
  for (const std::string& file : files) {
    if (file.ends_with(".yaml")) names.push_back(file.substr(0, file.size() - 5));
  }
  std::vector<std::string> known = PublishedNames();
  std::ranges::sort(names);
  std::ranges::sort(known);
  EXPECT_EQ(known, names);
  for (const std::string& name : known) {
    const Result<PublishedTable> table = FindPublishedTable(name);
    ASSERT_TRUE(table.ok()) << table.status().message();
    EXPECT_EQ(table->name, name);
    EXPECT_FALSE(table->values.empty()) << name;
  }
}

// Numbers that the paper's text states as well: Press, Smith and Lewis 2022, section 4.1.
TEST(PublishedTest, TheTablesOfAlibiAgreeWithThePapersTextAndWithEachOther) {
  const auto value_of = [](const char* name, const std::string& position, const char* train_length,
                           std::int64_t context_length) {
    const PublishedTable table = FindPublishedTable(name).value();
    for (const PublishedValue& value : table.values) {
      const std::vector<std::string> at = {position, train_length};
      if (value.at == at && value.context_length == context_length) return value.value;
    }
    return 0.0;
  };
  const char* const kTable5 = "alibi-wikitext103";
  const char* const kCurves = "alibi-wikitext103-curves";
  EXPECT_EQ(value_of(kTable5, "alibi", "512", 512), 19.73);
  EXPECT_EQ(value_of(kTable5, "alibi", "512", 3072), 18.40);
  EXPECT_EQ(value_of(kTable5, "alibi", "3072", 3072), 17.60);
  EXPECT_EQ(value_of(kTable5, "sinusoidal", "3072", 3072), 18.67);
  for (const char* const train_length : {"512", "1024", "3072"}) {
    for (const char* const position : {"sinusoidal", "rope", "t5", "alibi"}) {
      const std::int64_t length = std::stoll(train_length);
      const double value = value_of(kTable5, position, train_length, length);
      EXPECT_GT(value, 0.0);
      EXPECT_EQ(value_of(kCurves, position, train_length, length), value) << position << length;
    }
  }
}

TEST(PublishedTest, AnUnknownNameSuggestsAKnownOne) {
  const Status status = FindPublishedTable("alibi-wikitext104").status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.message(),
            "there is no published table \"alibi-wikitext104\"; did you mean "
            "\"alibi-wikitext103\"?; a path with a slash or ending in .yaml is read as a file");
}

}  // namespace
}  // namespace longrun
