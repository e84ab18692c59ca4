#include "sweeps/dataset_file.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

std::string Errors(const std::string& yaml) {
  const Result<DatasetFile> file = ParseDatasetFile(yaml, "d.yaml", "");
  return file.ok() ? "ok" : file.status().message();
}

TEST(DatasetFileTest, EveryKeyReachesTheSpec) {
  const DatasetFile file = ParseDatasetFile(R"(name: books
source: {format: jsonl, files: [a.jsonl, "b*.gz"], field: x.y, filter: meta.k==v}
tokenizer: bytes
packing: {eot: both, newline: universal, order: listed, join: "\n\n", min_doc_tokens: 2K, max_doc_tokens: 1M}
split: {by: document, validation: 0.05, test: 0.1, seed: 7}
shard_tokens: 1Mi
)",
                                            "d.yaml", "/base")
                               .value();
  EXPECT_EQ(file.name, "books");
  const PrepareSpec& spec = file.spec;
  EXPECT_EQ(spec.source.format, "jsonl");
  EXPECT_EQ(spec.source.field, "x.y");
  EXPECT_EQ(spec.source.filter, "meta.k==v");
  ASSERT_EQ(spec.files.size(), 1u);
  EXPECT_EQ(spec.files[0].first, "");
  EXPECT_EQ(spec.files[0].second, (std::vector<std::string>{"a.jsonl", "b*.gz"}));
  EXPECT_EQ(spec.base_folder, "/base");
  EXPECT_EQ(spec.tokenizer, "bytes");
  EXPECT_EQ(spec.packing.eot, Packing::Eot::kBoth);
  EXPECT_TRUE(spec.packing.universal_newlines);
  EXPECT_EQ(spec.packing.order, Packing::Order::kListed);
  EXPECT_EQ(spec.packing.join, "\n\n");
  EXPECT_EQ(spec.packing.min_doc_tokens, 2000);
  EXPECT_EQ(spec.packing.max_doc_tokens, 1000000);
  EXPECT_EQ(spec.split.by, SplitRule::By::kDocument);
  EXPECT_EQ(spec.split.validation, 0.05);
  EXPECT_EQ(spec.split.test, 0.1);
  EXPECT_EQ(spec.split.seed, 7u);
  EXPECT_EQ(spec.shard_tokens, 1 << 20);
}

TEST(DatasetFileTest, DocumentsWithoutTextAreLeftOutUnlessTheFileKeepsThem) {
  const auto keeps = [](const std::string& packing) {
    return ParseDatasetFile(Str("name: d\nsource: {format: text}\npacking: ", packing,
                                "\nsplit: {by: files, train: [a]}\n"),
                            "d.yaml", "")
        .value()
        .spec.packing.keep_empty;
  };
  EXPECT_FALSE(keeps("{eot: before}"));
  EXPECT_FALSE(keeps("{empty: drop}"));
  EXPECT_TRUE(keeps("{empty: keep}"));
}

TEST(DatasetFileTest, RulesThatAreMixedIntoTheTextReachTheSpec) {
  const auto parsed = [](const std::string& mix) {
    return ParseDatasetFile(Str("name: d\nsource: {format: text}\nmix: ", mix,
                                "\nsplit: {by: files, train: [a], validation: [b]}\n"),
                            "d.yaml", "");
  };
  const Mix mix =
      parsed("{rules: [passkey=0.4, {rule: copy, share: 0.1, span: 8}], seed: 7}").value().spec.mix;
  ASSERT_EQ(mix.rules.size(), 2u);
  EXPECT_EQ(mix.rules[0].rule.rule().name, "passkey");
  EXPECT_EQ(mix.rules[0].share, 0.4);
  EXPECT_EQ(mix.rules[1].rule.ToJson().at("span"), 8);
  EXPECT_EQ(mix.rules[1].share, 0.1);
  EXPECT_EQ(mix.seed, 7u);
  EXPECT_NE(parsed("{rules: [copi=0.1]}")
                .status()
                .message()
                .find("d.yaml:3:15: mix.rules[0]: unknown rule \"copi\"; did you mean \"copy\"?"),
            std::string::npos)
      << parsed("{rules: [copi=0.1]}").status().message();
  EXPECT_NE(parsed("{rules: []}").status().message().find("expected a list such as"),
            std::string::npos);
  EXPECT_NE(parsed("{seed: 1}").status().message().find("mix.rules: must be given"),
            std::string::npos);
}

TEST(DatasetFileTest, ATokenizersFileLiesBesideTheDatasetsFile) {
  const auto tokenizer = [](const std::string& value) {
    return ParseDatasetFile(Str("name: d\nsource: {format: text}\ntokenizer: ", value,
                                "\nsplit: {by: files, train: [a]}\n"),
                            "d.yaml", "/base")
        .value()
        .spec.tokenizer;
  };
  EXPECT_EQ(tokenizer("gpt2"), "gpt2");
  EXPECT_EQ(tokenizer("{kind: gpt2}"), "gpt2");
  EXPECT_EQ(tokenizer("{kind: hf_json, file: t/tokenizer.json}"), "/base/t/tokenizer.json");
  EXPECT_EQ(tokenizer("{file: /else/where.tiktoken}"), "/else/where.tiktoken");
}

TEST(DatasetFileTest, AllMistakesComeInOneAnswerByPlace) {
  EXPECT_EQ(
      Errors(R"(nam: d
source: {format: jsnl, files: [], filtr: a, dtype: u8}
tokenizer: {}
packing: {eot: befor, max_doc_tokens: 0, join: [a]}
split: {by: document, validation: 1.5, train: [a]}
shard_tokens: many
)"),
      "d.yaml:1:1: nam: unknown key; did you mean \"name\"?\nd.yaml:1:1: name: must be given: name "
      "of the dataset\nd.yaml:2:18: source.format: expected one of text, jsonl, npy, raw, "
      "megatron, "
      "parquet, rule, found \"jsnl\"; did you mean \"jsonl\"?\nd.yaml:2:31: source.files: expected "
      "a "
      "list of paths and patterns, found an empty one\nd.yaml:2:35: source.filtr: unknown key; did "
      "you mean \"filter\"?\nd.yaml:2:52: source.dtype: expected one of u16, u32, found "
      "\"u8\"\nd.yaml:3:12: tokenizer: expected its name, a file, or {kind, file}\nd.yaml:4:16: "
      "packing.eot: expected one of after, before, both, none, found \"befor\"; did you mean "
      "\"before\"?\nd.yaml:4:39: packing.max_doc_tokens: expected a count from 1 to "
      "1000000000000000 (4096, 64K, 200M, 8Ki), found \"0\"\nd.yaml:4:48: packing.join: expected "
      "text of at most 256 bytes, found a list\nd.yaml:5:35: split.validation: expected a number "
      "from 0 to 1, found \"1.5\"\nd.yaml:5:47: split.train: remove this key; train has all "
      "documents that are not held out when the split is by document\nd.yaml:6:15: shard_tokens: "
      "expected a count from 1 to "
      "1000000000000000 (4096, 64K, 200M, 8Ki), found \"many\"");
}

TEST(DatasetFileTest, WhatOnlyTheWholeShowsIsRefusedToo) {
  const std::string head = "name: d\nsource: {format: text, files: [a]}\n";
  EXPECT_EQ(Errors(Str(head, "split: {by: files, train: [b]}\n")),
            "d.yaml:2:31: source.files: remove this key; with `split: {by: files}`, the files are "
            "listed under `split`");
  EXPECT_EQ(Errors("name: d\nsource: {format: text}\nsplit: {by: document, test: 0.1}\n"),
            "d.yaml:2:9: source.files: must be given when the split is by document");
  EXPECT_EQ(Errors("name: d\nsource: {format: text}\nsplit: {by: files}\n"),
            "d.yaml:3:8: split: name the files of train, validation or test");
  EXPECT_EQ(
      Errors("name: d\nsource: {format: raw}\nsplit: {by: files, train: [a]}\n"),
      "d.yaml:2:9: source: dtype: expected u16 or u32, found nothing: a file without a header "
      "does not say how wide its ids are");
  EXPECT_EQ(
      Errors(Str(head, "split: {by: document, validation: 0.5, test: 0.5}\n")),
      "d.yaml:3:8: split by document: expected fractions of validation and test that are 0 or "
      "more, with a sum between 0 and 1, found 0.5 and 0.5");
  EXPECT_EQ(Errors("- a\n"),
            "d.yaml:1:1: expected a map with name, source, tokenizer and split, found a list");
  EXPECT_NE(Errors("name: [").find("d.yaml:1:"), std::string::npos);
}

}  // namespace
}  // namespace longrun
