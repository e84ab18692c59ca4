// Imports from end to end: packing, order, splits, overlap, jobs, resumption, memory.
#include "model/data/prepare.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/measurement.h"
#include "base/random.h"
#include "base/shortage.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/inspect.h"
#include "model/data/manifest.h"
#include "model/data/part.h"
#include "model/data/tokenizer.h"
#include "model/data/tokenizer/bpe.h"
#include "model/data/tokenizer/bpe_training.h"
#include "model/data/tokenizer/tiktoken.h"
#include "tests/heap.h"

namespace longrun {
namespace {

using Strings = std::vector<std::string>;

// Until its end, no file that this process writes gets larger.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t n_bytes) : old_handler_(signal(SIGXFSZ, SIG_IGN)) {
    LR_CHECK(getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit small = {.rlim_cur = n_bytes, .rlim_max = before_.rlim_max};
    LR_CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
  }
  ~FileSizeLimit() {
    LR_CHECK(setrlimit(RLIMIT_FSIZE, &before_) == 0);
    signal(SIGXFSZ, old_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_ = {};
  sighandler_t old_handler_;
};

class PrepareTest : public testing::Test {
 protected:
  std::string File(const std::string& name, const std::string& bytes) {
    const std::string path = JoinPath(folder_.path(), name);
    EXPECT_TRUE(MakeFolders(FolderOf(path)).ok());
    std::ofstream(path, std::ios::binary) << bytes;  // no fsync: there are many
    return path;
  }
  std::string Folder(const std::string& name) { return JoinPath(folder_.path(), name); }

  // A new folder's name.
  std::string Made(const PrepareSpec& spec, const PrepareOptions& options = {}) {
    const std::string folder = Folder(Str("data-", n_made_++));
    const Status status = PrepareDataset(spec, folder, options);
    EXPECT_TRUE(status.ok()) << status.message();
    return folder;
  }

  // Documents of a split with end-of-text as '|'.
  static Strings Documents(const std::string& folder, const std::string& split = "train") {
    const Result<Dataset> dataset = Dataset::Open(folder);
    if (!dataset.ok()) return {dataset.status().message()};
    EXPECT_TRUE(dataset->Verify().ok());
    const Result<const TokenSplit*> tokens = dataset->Split(split);
    if (!tokens.ok()) return {tokens.status().message()};
    const auto starts = (*tokens)->document_starts();
    Strings documents;
    for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
      std::vector<std::int32_t> ids(static_cast<std::size_t>(starts[i + 1] - starts[i]));
      EXPECT_TRUE((*tokens)->Read(starts[i], ids).ok());
      std::string text;
      for (const std::int32_t id : ids) text += id == 256 ? '|' : static_cast<char>(id);
      documents.push_back(text);
    }
    return documents;
  }

  void ExpectRefused(const PrepareSpec& spec, const std::string& part) {
    const Status status = PrepareDataset(spec, Folder("refused"), {});
    EXPECT_FALSE(status.ok()) << part;
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    EXPECT_FALSE(PathExists(JoinPath(Folder("refused"), "dataset.json")));
  }

  TempFolder folder_;
  int n_made_ = 0;
};

PrepareSpec Lines(const std::string& file) {
  return {.source = {.format = "text", .separator = "line"}, .files = {{"train", {file}}}};
}

// ---- packing -----------------------------------------------------------------------------------

TEST_F(PrepareTest, EndOfTextStandsWhereThePackingSays) {
  PrepareSpec spec = Lines(File("a.txt", "one\n\ntwo\n"));
  EXPECT_EQ(Documents(Made(spec)), (Strings{"one|", "two|"}));  // the empty line is no document
  spec.packing.eot = Packing::Eot::kBefore;
  EXPECT_EQ(Documents(Made(spec)), (Strings{"|one", "|two"}));
  spec.packing.eot = Packing::Eot::kBoth;
  EXPECT_EQ(Documents(Made(spec)), (Strings{"|one|", "|two|"}));
  spec.packing.eot = Packing::Eot::kNone;
  EXPECT_EQ(Documents(Made(spec)), (Strings{"one", "two"}));
}

TEST_F(PrepareTest, NewlinesAreKeptUnlessTheyAreAskedToBeUniversal) {
  PrepareSpec spec = {.files = {{"train", {File("a.txt", "a\r\nb\rc\n")}}}};
  EXPECT_EQ(Documents(Made(spec)), Strings{"a\r\nb\rc\n|"});
  spec.packing.universal_newlines = true;
  EXPECT_EQ(Documents(Made(spec)), Strings{"a\nb\nc\n|"});
}

TEST_F(PrepareTest, ShortDocumentsAreLeftOutAndLongOnesCut) {
  PrepareSpec spec = Lines(File("a.txt", "12\n123\n12345\n"));
  spec.packing.min_doc_tokens = 3;
  EXPECT_EQ(Documents(Made(spec)), (Strings{"123|", "12345|"}));
  spec.packing.max_doc_tokens = 4;
  const std::string folder = Made(spec);
  EXPECT_EQ(Documents(folder), (Strings{"123|", "1234|"}));
  const Json source = ReadManifestJson(folder)->at("sources").at(0);
  EXPECT_EQ(source.at("n_short"), 1);
  EXPECT_EQ(source.at("n_cut"), 1);
  spec.packing.max_doc_tokens = 2;
  ExpectRefused(spec, "max_doc_tokens 2 is less than min_doc_tokens 3");
  spec.packing = {.min_doc_tokens = 100};
  ExpectRefused(spec, "split train has no documents");
}

// Python: "\n\n".join(["a", "", "b"])
TEST_F(PrepareTest, DocumentsOfAFileCanBeJoinedEmptyOnesToo) {
  PrepareSpec spec = {
      .source = {.format = "jsonl"},
      .files = {{"train",
                 {File("a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"\"}\n{\"text\":\"b\"}\n"),
                  File("b.jsonl", "{\"text\":\"c\"}\n")}}}};
  spec.packing.join = "\n\n";
  EXPECT_EQ(Documents(Made(spec)), (Strings{"a\n\n\n\nb|", "c|"}));
}

TEST_F(PrepareTest, FilesAreFoundByPatternsAndPutInOrder) {
  File("x/b.txt", "b");
  File("x/a.txt", "a");
  File("w/c.txt", "c");
  PrepareSpec spec = {.files = {{"train", {"x/*.txt", "w/c.txt"}}}, .base_folder = folder_.path()};
  EXPECT_EQ(Documents(Made(spec)), (Strings{"c|", "a|", "b|"}));  // byte-wise by path
  spec.packing.order = Packing::Order::kGiven;
  const std::string folder = Made(spec);
  EXPECT_EQ(Documents(folder), (Strings{"a|", "b|", "c|"}));
  const Json sources = ReadManifestJson(folder)->at("sources");
  EXPECT_EQ(sources.at(0).at("file"), "x/a.txt");
  EXPECT_EQ(sources.at(0).at("sha256"), Sha256Hex("a"));
  EXPECT_EQ(sources.at(0).at("bytes"), 1);
  spec.packing.order = Packing::Order::kListed;  // x as readdir has it, then w
  Strings listed = Documents(Made(spec));
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(listed.back(), "c|");
  spec.files = {{"train", {"x/*.md"}}};
  ExpectRefused(spec, "split train: no file matches \"x/*.md\"");
}

// A long text is encoded in pieces of 1 MiB. Words of byte-pair encoding are never cut by that: the
// ids are those of the text encoded at once. The text is what a scanner stumbles over: runs of
// blanks, contractions, digits, bytes that are no UTF-8.
TEST_F(PrepareTest, ALongDocumentHasTheSameIdsAsInOnePiece) {
  const std::vector<std::string> words = {
      "the",    " the", "  ", "'ll", "\n\n", "3.14", " \xff", "\xc3\xa9t\xc3\xa9",
      " quick", "ly ",  "\t", ".",   " 'tis"};
  std::string text;
  SeededRandom random(7);
  while (text.size() < (std::size_t{5} << 19)) text += words[random.Below(words.size())];
  BpeTraining training;
  training.Add(std::string_view(text).substr(0, 100'000));
  const std::vector<std::string> tokens = training.Train(290).value();
  std::vector<RankedBytes> ranked;
  ranked.reserve(tokens.size());
  for (const std::string& token : tokens) {
    ranked.push_back({.rank = static_cast<std::uint32_t>(ranked.size()), .bytes = token});
  }
  const std::string vocabulary = File("toy.tiktoken", TiktokenText(ranked));
  const auto tokenizer = MakeTokenizer(vocabulary).value();
  std::vector<std::int32_t> expected;
  tokenizer->Encode(text, expected);
  expected.push_back(tokenizer->vocabulary().eot_id);

  const std::string folder = Made({.source = {.any_bytes = true},
                                   .files = {{"train", {File("a.txt", text)}}},
                                   .tokenizer = vocabulary});

  const Dataset dataset = Dataset::Open(folder).value();
  const TokenSplit& split = *dataset.Split("train").value();
  ASSERT_EQ(split.n_tokens(), static_cast<std::int64_t>(expected.size()));
  std::vector<std::int32_t> ids(expected.size());
  ASSERT_TRUE(split.Read(0, ids).ok());
  EXPECT_TRUE(ids == expected);
}

// ---- tokens ------------------------------------------------------------------------------------

std::string U16(const std::vector<int>& ids) {
  std::string bytes;
  for (const int id : ids) {
    bytes += static_cast<char>(id & 255);
    bytes += static_cast<char>(id >> 8);
  }
  return bytes;
}

// As build-nanogpt cuts its shards: at a fixed number of tokens, within a document.
TEST_F(PrepareTest, DocumentsOfTokenStreamsAreRecoveredByEndOfTextAlsoAcrossFiles) {
  PrepareSpec spec = {.source = {.format = "raw", .dtype = "u16"},
                      .files = {{"train",
                                 {File("train_0.bin", U16({256, 'a', 'b', 256, 'c'})),
                                  File("train_1.bin", U16({'d', 256, 256, 'e'}))}},
                                {"validation", {File("val_0.bin", U16({256, 'v'}))}}}};
  spec.packing.eot = Packing::Eot::kBefore;
  const std::string before = Made(spec);
  EXPECT_EQ(Documents(before), (Strings{"|ab", "|cd", "|", "|e"}));
  EXPECT_EQ(Documents(before, "validation"), Strings{"|v"});
  spec.packing.eot = Packing::Eot::kNone;
  EXPECT_EQ(Documents(Made(spec)), (Strings{"|ab|c", "d||e"}));
  spec.packing.eot = Packing::Eot::kAfter;
  ExpectRefused(spec, "it begins with the end-of-text id 256, so it was packed with eot: before");

  spec.files = {
      {"train", {File("a.bin", U16({'a', 'b', 256, 'c'})), File("b.bin", U16({'d', 256, 'e'}))}}};
  EXPECT_EQ(Documents(Made(spec)), (Strings{"ab|", "cd|", "e"}));
  spec.files = {{"train", {File("c.bin", U16({256, 'a', 256, 256, 'b', 256}))}}};
  spec.packing.eot = Packing::Eot::kBoth;
  EXPECT_EQ(Documents(Made(spec)), (Strings{"|a|", "|b|"}));
}

TEST_F(PrepareTest, TokensThatAreNoneOfTheTokenizerOrWouldBeChangedAreRefused) {
  PrepareSpec spec = {.source = {.format = "raw", .dtype = "u16"},
                      .files = {{"train", {File("a.bin", U16({'a', 256, 300}))}}}};
  ExpectRefused(
      spec,
      "a.bin (split train): token 2 has id 300, but tokenizer \"bytes\" has the ids 0 to 258");
  spec.packing.min_doc_tokens = 1;
  ExpectRefused(spec, "format raw gives tokens, which are kept as they are");
}

TEST_F(PrepareTest, RowsWithoutTextAreKeptAsTheirEndOfTextWhereThePackingSays) {
  const std::string rows = File("rows.jsonl", R"({"text": ""}
{"text": " = Title = \n"}
{"text": ""}
{"text": "one\n"}
)");
  PrepareSpec spec = {.source = {.format = "jsonl"}, .files = {{"train", {rows}}}};
  spec.packing.eot = Packing::Eot::kBefore;
  const std::string without = Made(spec);
  EXPECT_EQ(Documents(without), (Strings{"| = Title = \n", "|one\n"}));
  EXPECT_EQ(ReadManifestJson(without)->at("sources").at(0).at("n_empty"), 2);
  spec.packing.keep_empty = true;
  const std::string with = Made(spec);
  EXPECT_EQ(Documents(with), (Strings{"|", "| = Title = \n", "|", "|one\n"}));
  EXPECT_EQ(ReadManifestJson(with)->at("sources").at(0).at("n_empty"), 0);
  EXPECT_EQ(ReadManifestJson(with)->at("packing").at("empty"), "keep");
  spec.packing.eot = Packing::Eot::kBoth;
  EXPECT_EQ(Documents(Made(spec)), (Strings{"||", "| = Title = \n|", "||", "|one\n|"}));
  spec.packing.eot = Packing::Eot::kNone;
  ExpectRefused(spec, "`empty: keep` keeps documents of nothing but their end-of-text token");
  spec.packing = {.join = "", .keep_empty = true};
  ExpectRefused(spec, "goes with neither join nor min_doc_tokens");
}

// ---- splits ------------------------------------------------------------------------------------

// The rule of packing.h, computed by a Python script of a few lines:
//   sm64(key(seed, 0, 3) ^ fnv1a64(sha256(document).hexdigest())) / 2^64
TEST_F(PrepareTest, DocumentsAreHeldOutByTheHashOfTheirBytes) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += Str("document ", i, "\n");
  PrepareSpec spec = {
      .source = {.format = "text", .separator = "line"},
      .files = {{"", {File("a.txt", text)}}},
      .split = {.by = SplitRule::By::kDocument, .validation = 0.2, .test = 0.2, .seed = 7}};
  const std::string folder = Made(spec);
  EXPECT_EQ(Documents(folder, "validation"),
            (Strings{"document 1|", "document 9|", "document 14|", "document 16|"}));
  EXPECT_EQ(Documents(folder, "test"),
            (Strings{"document 0|", "document 4|", "document 5|", "document 8|", "document 18|"}));
  EXPECT_EQ(Documents(folder).size(), 11u);
  // Further documents move none.
  spec.files = {{"", {File("b.txt", Str("another one\n", text))}}};
  const std::string more = Made(spec);
  for (const std::string& document : Documents(folder, "test")) {
    const Strings held = Documents(more, "test");
    EXPECT_NE(std::find(held.begin(), held.end(), document), held.end()) << document;
  }
}

TEST_F(PrepareTest, TheFirstTokensCanBeHeldOutAndADocumentOnTheBorderIsCut) {
  PrepareSpec spec = Lines(File("a.txt", "one\ntwo\nthree\n"));
  spec.files[0].first = "";
  spec.split = {.by = SplitRule::By::kFirstTokens, .validation_tokens = 6, .test_tokens = 3};
  const std::string folder = Made(spec);
  EXPECT_EQ(Documents(folder, "validation"), (Strings{"one|", "tw"}));
  EXPECT_EQ(Documents(folder, "test"), (Strings{"o|", "t"}));
  EXPECT_EQ(Documents(folder), Strings{"hree|"});
}

TEST_F(PrepareTest, TheLastTokensCanBeHeldOutAndADocumentOnTheBorderIsCut) {
  PrepareSpec spec = Lines(File("a.txt", "one\ntwo\nthree\n"));
  spec.files[0].first = "";
  spec.split = {.by = SplitRule::By::kLastTokens, .validation_tokens = 6, .test_tokens = 3};
  const std::string folder = Made(spec);
  EXPECT_EQ(Documents(folder), (Strings{"one|", "t"}));
  EXPECT_EQ(Documents(folder, "validation"), (Strings{"wo|", "thr"}));
  EXPECT_EQ(Documents(folder, "test"), Strings{"ee|"});
  // The last files are the end of the row.
  spec.files[0].second.push_back(File("b.txt", "four\n"));
  spec.split = {.by = SplitRule::By::kLastTokens, .validation_tokens = 5};
  EXPECT_EQ(Documents(Made(spec), "validation"), Strings{"four|"});
  // Nothing is left to train on.
  spec.split.validation_tokens = 100;
  ExpectRefused(spec,
                "split train has no documents: 100 tokens are to be held out, but the text has "
                "only 19; hold out fewer (--validation 1,");
}

TEST_F(PrepareTest, AFilterThatLeavesNothingIsNamed) {
  PrepareSpec spec = {.source = {.format = "jsonl", .filter = "k==7"},
                      .files = {{"", {File("a.jsonl", R"({"text": "one", "k": 1})")}}}};
  spec.split = {.by = SplitRule::By::kDocument, .validation = 0.2};
  constexpr const char* kWhy = "split train has no documents: no document of its files has k==7";
  ExpectRefused(spec, kWhy);
  spec.split = {.by = SplitRule::By::kLastTokens, .validation_tokens = 6};
  ExpectRefused(spec, kWhy);
  spec.source.filter = std::nullopt;
  spec.files = {{"", {File("empty.jsonl", R"({"text": ""})")}}};
  ExpectRefused(spec, "split train has no documents: its files have no text");
}

// By the formula of packing.h, "one" draws 0.705 and "two" 0.644.
TEST_F(PrepareTest, AShareOfTooFewDocumentsNamesTheSplitByTokens) {
  PrepareSpec spec = Lines(File("a.txt", "one\ntwo\n"));
  spec.files[0].first = "";
  spec.split = {.by = SplitRule::By::kDocument, .validation = 0.1};
  ExpectRefused(spec,
                "split validation has no documents: none of 2 documents was chosen for it by its "
                "SHA-256; hold out a number of tokens instead, which may be part of a document "
                "(--validation 1, or in a dataset file `split: {by: last_tokens, validation: 1}`)");
}

TEST_F(PrepareTest, TheSameDocumentInTwoSplitsIsRefusedUnlessAskedFor) {
  PrepareSpec spec = {.source = {.format = "text", .separator = "line"},
                      .files = {{"train", {File("a.txt", "one\ntwo\nthree\n")}},
                                {"validation", {File("b.txt", "four\n")}},
                                {"test", {File("c.txt", "five\ntwo\n")}}}};
  ExpectRefused(spec, Str("document 1 of ", Folder("c.txt"),
                          " (split test) has the same bytes as document 1 of ", Folder("a.txt"),
                          " (split train): a model must not be measured on text"));
  std::string note;
  const PrepareOptions asked = {.allow_overlap = true,
                                .note = [&note](const std::string& text) { note = text; }};
  EXPECT_EQ(Documents(Made(spec, asked), "test"), (Strings{"five|", "two|"}));
  EXPECT_TRUE(note.starts_with(
      Str("document 1 of ", Folder("c.txt"), " (split test) has the same bytes as document 1 of ",
          Folder("a.txt"), " (split train): accepted with --allow-overlap")))
      << note;
  spec.files[2].second = {File("d.txt", "four\n")};
  ExpectRefused(spec, Str("d.txt (split test) has the same bytes as ", Folder("b.txt")));
}

// The border cuts the second document: its tail is trained on, and the first, held out,
// has the same bytes.
TEST_F(PrepareTest, ADocumentOnTheBorderIsComparedInEachSplitThatHasTokensOfIt) {
  PrepareSpec spec = Lines(File("a.txt", "same words\nsame words\nothers\n"));
  spec.files[0].first = "";
  spec.split = {.by = SplitRule::By::kFirstTokens, .validation_tokens = 15};
  ExpectRefused(spec, Str("document 0 of ", Folder("a.txt"),
                          " (split validation) has the same bytes as document 1 of ",
                          Folder("a.txt"), " (split train)"));
  EXPECT_EQ(Documents(Made(spec, {.allow_overlap = true}), "validation"),
            (Strings{"same words|", "same"}));
  // Cut into three splits, it is no copy of itself.
  spec.files[0].second = {File("b.txt", "one long document\nothers\n")};
  spec.split = {.by = SplitRule::By::kFirstTokens, .validation_tokens = 4, .test_tokens = 5};
  EXPECT_EQ(Documents(Made(spec), "test"), Strings{"long "});
}

// ---- jobs, resumption, memory ------------------------------------------------------------------

TEST_F(PrepareTest, BitsDoNotDependOnTheNumberOfJobs) {
  PrepareSpec spec = {.source = {.format = "text", .separator = "line"},
                      .files = {{"train", {}}},
                      .shard_tokens = 1000};
  for (int i = 0; i < 9; ++i) {
    std::string text;
    for (int k = 0; k < 50 * (9 - i); ++k) text += Str(i, " ", k, "\n");
    spec.files[0].second.push_back(File(Str(i, ".txt"), text));
  }
  const std::string one = Made(spec, {.jobs = 1});
  const Strings names = ListFolder(one).value();
  EXPECT_GT(names.size(), 10u);
  for (const std::int64_t jobs : {2, 3, 16}) {
    const std::string other = Made(spec, {.jobs = jobs});
    EXPECT_EQ(ListFolder(other).value(), names);
    for (const std::string& name : names) {
      EXPECT_EQ(ReadFile(JoinPath(other, name)).value(), ReadFile(JoinPath(one, name)).value())
          << name;
    }
  }
}

TEST_F(PrepareTest, TheErrorToldIsThatOfTheFirstFileWhateverTheNumberOfJobs) {
  PrepareSpec spec = {.source = {.format = "jsonl"}, .files = {{"train", {}}}};
  for (int i = 0; i < 8; ++i) {
    spec.files[0].second.push_back(
        File(Str(i, ".jsonl"), i < 3 ? "{\"text\":\"a\"}\n" : "broken\n"));
  }
  for (const std::int64_t jobs : {1, 2, 8}) {
    const Status status = PrepareDataset(spec, Folder("x"), {.jobs = jobs});
    EXPECT_NE(status.message().find("3.jsonl (split train): line 1: "), std::string::npos)
        << status.message();
  }
}

TEST_F(PrepareTest, FilesWithAPartAreNotTokenisedAgainUnlessTheyChanged) {
  PrepareSpec spec = {
      .source = {.format = "jsonl"},
      .files = {{"train",
                 {File("a.jsonl", "{\"text\":\"one\"}\n"), File("b.jsonl", "{\"text\":\"two\"}\n"),
                  File("c.jsonl", "broken\n")}}}};
  ASSERT_FALSE(PrepareDataset(spec, Folder("data"), {.jobs = 1, .kept_bytes_min = 0}).ok());
  File("c.jsonl", "{\"text\":\"three\"}\n");
  File("b.jsonl", "{\"text\":\"TWO\"}\n");
  PrepareProgress last;
  const auto keep = [&](const PrepareProgress& progress) { last = progress; };
  ASSERT_TRUE(PrepareDataset(spec, Folder("data"), {.jobs = 1, .progress = keep}).ok());
  EXPECT_EQ(last.files, 3);
  EXPECT_EQ(last.files_done, 3);
  EXPECT_EQ(last.files_before, 1);  // a.jsonl
  EXPECT_EQ(last.tokens, 4 + 4 + 6);
  EXPECT_EQ(Documents(Folder("data")), (Strings{"one|", "TWO|", "three|"}));
  EXPECT_FALSE(PathExists(JoinPath(Folder("data"), "import.tmp")));
}

// A folder without a dataset takes the name: a laptop cannot import under it.
TEST_F(PrepareTest, AnImportThatIsRefusedRemovesWhatItMadeButNotTheUsersFolder) {
  const PrepareSpec refused = {
      .source = {.format = "jsonl"},
      .files = {{"train", {File("a.jsonl", "{\"text\":\"one\"}\n"), File("b.jsonl", "broken\n")}}}};
  EXPECT_EQ(PrepareDataset(refused, Folder("data"), {.jobs = 1}).code(), Code::kInvalidArgument);
  EXPECT_FALSE(PathExists(Folder("data")));

  // The parts were whole, and the splits were not.
  const PrepareSpec overlap = {.files = {{"train", {File("c.txt", "the same")}},
                                         {"validation", {File("d.txt", "the same")}}}};
  EXPECT_EQ(PrepareDataset(overlap, Folder("data"), {}).code(), Code::kInvalidArgument);
  EXPECT_FALSE(PathExists(Folder("data")));

  ASSERT_TRUE(MakeFolders(Folder("mine")).ok());
  EXPECT_FALSE(PrepareDataset(refused, Folder("mine"), {}).ok());
  EXPECT_EQ(ListFolder(Folder("mine")).value(), Strings{});
  File("mine/notes.txt", "about it");
  ASSERT_TRUE(MakeFolders(Folder("mine/import.tmp")).ok());  // of an import that was killed
  EXPECT_FALSE(PrepareDataset(refused, Folder("mine"), {}).ok());
  EXPECT_EQ(ListFolder(Folder("mine")).value(), Strings{"notes.txt"});
}

// As on a full disk: a limit on the size of files lets it write all but dataset.json, the last file
// and the largest, since it lists the sources.
TEST_F(PrepareTest, AnImportThatCannotWriteItsLastFileRemovesAllThatItMade) {
  PrepareSpec spec = {.files = {{"train", {}}}};
  for (int i = 0; i < 300; ++i) {
    spec.files[0].second.push_back(File(Str("source-", i, ".txt"), Str("text ", i)));
  }
  ASSERT_TRUE(MakeFolders(Folder("users")).ok());

  Status made, in_users;
  {
    const FileSizeLimit limit(30'000);
    made = PrepareDataset(spec, Folder("data"), {.jobs = 1});
    in_users = PrepareDataset(spec, Folder("users"), {.jobs = 1});
  }
  EXPECT_NE(made.message().find("dataset.json"), std::string::npos) << made.message();
  EXPECT_FALSE(PathExists(Folder("data")));
  EXPECT_FALSE(in_users.ok());
  EXPECT_EQ(ListFolder(Folder("users")).value(), Strings{});
}

// A model's folder has a tokenizer.json, too.
TEST_F(PrepareTest, AnImportRefusesToReplaceAFileOfTheUsers) {
  const PrepareSpec spec = {.files = {{"train", {File("a.txt", "one")}}}};
  for (const std::string name : {"tokenizer.json", "vocabulary.tiktoken"}) {
    const std::string folder = Folder(Str("with ", name));
    ASSERT_TRUE(MakeFolders(folder).ok());
    for (const std::string text : {"of the user", "{\"model\": {\"type\": \"BPE\"}}"}) {
      ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, name), text).ok());
      const Status refused = PrepareDataset(spec, folder, {.jobs = 1});
      EXPECT_EQ(refused.code(), Code::kAlreadyExists);
      EXPECT_EQ(refused.message(),
                Str(JoinPath(folder, name),
                    " exists, and a dataset has a file of this name: move it away, or choose "
                    "another name or folder for the dataset"));
      EXPECT_EQ(ListFolder(folder).value(), Strings{name});
      EXPECT_EQ(ReadFile(JoinPath(folder, name)).value(), text);
    }
  }
}

TEST_F(PrepareTest, TheTokenizerOfAKilledImportIsReplaced) {
  const PrepareSpec spec = {.files = {{"train", {File("a.txt", "one")}}}};
  ASSERT_TRUE(PrepareDataset(spec, Folder("data"), {.jobs = 1}).ok());
  ASSERT_TRUE(RemoveAll(JoinPath(Folder("data"), "dataset.json")).ok());
  File("data/vocabulary.tiktoken", "");
  EXPECT_TRUE(PrepareDataset(spec, Folder("data"), {.jobs = 1}).ok());
}

TEST_F(PrepareTest, AnImportThatIsRefusedKeepsThePartsOfLargeFilesAndSaysWhere) {
  const PrepareSpec spec = {
      .source = {.format = "jsonl"},
      .files = {{"train", {File("a.jsonl", "{\"text\":\"one\"}\n"), File("b.jsonl", "broken\n")}}}};
  Strings notes;
  const auto keep = [&](const std::string& note) { notes.push_back(note); };
  const PrepareOptions options = {.jobs = 1, .kept_bytes_min = 15, .note = keep};  // those of a
  ASSERT_FALSE(PrepareDataset(spec, Folder("data"), options).ok());
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0], Str("1 of 2 files are tokenised, and are kept in ", Folder("data"),
                          "/import.tmp for the corrected command: remove that folder if you will "
                          "not repeat it"));
}

TEST_F(PrepareTest, APartThatWasDamagedMeanwhileIsMadeAgain) {
  PrepareSpec spec = {
      .source = {.format = "jsonl"},
      .files = {{"train",
                 {File("a.jsonl", "{\"text\":\"one\"}\n"), File("b.jsonl", "{\"text\":\"two\"}\n"),
                  File("c.jsonl", "{\"text\":\"three\"}\n"), File("d.jsonl", "broken\n")}}}};
  ASSERT_FALSE(PrepareDataset(spec, Folder("data"), {.jobs = 1, .kept_bytes_min = 0}).ok());
  const std::string work = JoinPath(Folder("data"), "import.tmp");
  Strings whole;  // parts, by their facts: that of d.jsonl has none
  const Strings names = ListFolder(work).value();
  for (const std::string& name : names) {
    if (name.ends_with(".json")) whole.push_back(name.substr(0, name.size() - 5));
  }
  ASSERT_EQ(whole.size(), 3u);
  const auto flip = [&](const std::string& part, const std::string& suffix) {
    const std::string path = JoinPath(work, part + suffix);
    std::string bytes = ReadFile(path).value();
    bytes[0] = static_cast<char>(bytes[0] ^ 1);
    EXPECT_TRUE(WriteFileAtomic(path, bytes).ok());
  };
  flip(whole[0], ".tokens");
  flip(whole[1], ".documents");
  File("d.jsonl", "{\"text\":\"four\"}\n");
  PrepareProgress last;
  const auto keep = [&](const PrepareProgress& progress) { last = progress; };
  ASSERT_TRUE(PrepareDataset(spec, Folder("data"), {.jobs = 1, .progress = keep}).ok());
  EXPECT_EQ(last.files_before, 1);
  EXPECT_EQ(Documents(Folder("data")), (Strings{"one|", "two|", "three|", "four|"}));
}

TEST_F(PrepareTest, TheProgressOfDocumentsByRuleCountsTheDocuments) {
  const std::string rule = R"({"rule": {"rule": "uniform"}, "seed": 1, "tokens": 100000})";
  const PrepareSpec spec = {.source = {.format = "rule"},
                            .files = {{"train", {File("a.rule", rule)}}}};
  PrepareProgress last;
  const auto keep = [&](const PrepareProgress& progress) { last = progress; };
  ASSERT_TRUE(PrepareDataset(spec, Folder("data"), {.jobs = 1, .progress = keep}).ok());
  EXPECT_EQ(last.bytes, 100'000 + std::ssize(rule));
  EXPECT_EQ(last.bytes_done, last.bytes);
}

TEST_F(PrepareTest, DocumentsByRuleForWhichThereIsNoRoomAreNotBegun) {
  // The largest count: in two copies of two bytes each, 4e15 bytes.
  const std::string rule =
      R"({"rule": {"rule": "uniform"}, "seed": 1, "tokens": 1000000000000000})";
  const PrepareSpec spec = {.source = {.format = "rule"},
                            .files = {{"train", {File("a.rule", rule)}}}};
  Status made;
  {
    const FileSizeLimit limit(30'000);  // so that a mistake does not fill the disk
    made = PrepareDataset(spec, Folder("data"), {});
  }
  EXPECT_EQ(ShortageOf(made), Shortage::kDisk) << made.message();
  EXPECT_NE(made.message().find("the import takes about 3638 TiB or more there, and "),
            std::string::npos)
      << made.message();
  EXPECT_FALSE(PathExists(Folder("data")));
}

TEST_F(PrepareTest, PartsStayIfThereIsNoRoomForTheRest) {
  const PrepareSpec spec = {
      .source = {.format = "rule"},
      .files = {{"train",
                 {File("a.rule", R"({"rule": {"rule": "uniform"}, "seed": 1, "tokens": 1000})"),
                  File("b.rule", "broken")}}}};
  ASSERT_FALSE(PrepareDataset(spec, Folder("data"), {.jobs = 1, .kept_bytes_min = 0}).ok());
  File("b.rule", R"({"rule": {"rule": "uniform"}, "seed": 1, "tokens": 1000000000000000})");
  Strings notes;
  const auto keep = [&](const std::string& note) { notes.push_back(note); };
  const FileSizeLimit limit(30'000);
  ASSERT_FALSE(
      PrepareDataset(spec, Folder("data"), {.jobs = 1, .kept_bytes_min = 1, .note = keep}).ok());
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_TRUE(notes[0].starts_with("1 of 2 files are tokenised, and are kept in ")) << notes[0];
}

TEST_F(PrepareTest, WhatIsThereIsToldFromWhatIsAskedForWithoutTokenising) {
  PrepareSpec spec = Lines(File("a.txt", "one\n"));
  const std::string folder = Made(spec);
  EXPECT_TRUE(HoldsPreparation(spec, folder).value().same);
  spec.files[0].second = {File("b.txt", "one\n")};  // the same bytes by another name
  EXPECT_TRUE(HoldsPreparation(spec, folder).value().same);
  File("b.txt", "two\n");
  EXPECT_FALSE(HoldsPreparation(spec, folder).value().same);
  spec.files[0].second = {Folder("a.txt")};
  spec.packing.eot = Packing::Eot::kBefore;
  EXPECT_FALSE(HoldsPreparation(spec, folder).value().same);
}

// The damage is told apart from other content, and mended without touching what is sound before all
// is made: what was there stays readable at each instant.
TEST_F(PrepareTest, ADamagedDatasetIsMadeAnewAsTheSame) {
  const PrepareSpec spec = Lines(File("a.txt", "one\ntwo\n"));
  const std::string folder = Made(spec);
  const std::string digest = Dataset::Open(folder)->digest();
  const std::string shard = JoinPath(folder, "train-00000.lrtk");
  std::string bytes = ReadFile(shard).value();
  bytes[4096] = static_cast<char>(bytes[4096] ^ 1);  // of the first token, behind the header's page
  ASSERT_TRUE(WriteFileAtomic(shard, bytes).ok());
  const Holding holding = HoldsPreparation(spec, folder).value();
  EXPECT_TRUE(holding.same);
  EXPECT_EQ(holding.damage.code(), Code::kDataLoss);
  ASSERT_TRUE(RemakeDataset(spec, folder, {}).ok());
  EXPECT_TRUE(Dataset::Open(folder)->Verify().ok());
  EXPECT_EQ(Dataset::Open(folder)->digest(), digest);
  EXPECT_TRUE(HoldsPreparation(spec, folder).value().damage.ok());
  EXPECT_EQ(ListFolder(FolderOf(folder)).value(), (Strings{"a.txt", BaseName(folder)}));
}

TEST_F(PrepareTest, WhatWasMadeGoesAsAWholeButNotWhileAnImportIsAtWorkThere) {
  const std::string folder = Made(Lines(File("a.txt", "one\ntwo\n")));
  const std::string anew = JoinPath(folder_.path(), Str(".", BaseName(folder), ".anew"));
  ASSERT_TRUE(MakeFolders(JoinPath(folder, "import.tmp")).ok());
  ASSERT_TRUE(MakeFolders(anew).ok());
  {
    const auto lock = FileLock::Acquire(JoinPath(folder, "import.tmp/lock"), "an import");
    ASSERT_TRUE(lock.ok());
    EXPECT_EQ(Removal::Begin(folder).status().code(), Code::kFailedPrecondition);
    EXPECT_TRUE(HoldsManifest(folder));
  }
  EXPECT_TRUE(Removal::Begin(folder).value().has_anything());
  ASSERT_TRUE(Removal::Begin(folder).value().Finish().ok());
  EXPECT_EQ(ListFolder(FolderOf(folder)).value(), Strings{"a.txt"});
  // Nothing is left, and nothing is wrong.
  Removal again = Removal::Begin(folder).value();
  EXPECT_FALSE(again.has_anything());
  EXPECT_TRUE(again.Finish().ok());
}

TEST_F(PrepareTest, FilesOfTheUsersAreNeverRemoved) {
  const auto expect_kept = [](const std::string& folder, const std::string& name, bool is_made) {
    EXPECT_EQ(IsUsersOwn(folder), !is_made);
    const Strings before = ListFolder(folder).value();
    {
      Removal removal = Removal::Begin(folder).value();
      EXPECT_EQ(removal.foreign(), JoinPath(folder, name));
      EXPECT_EQ(removal.is_users_own(), !is_made);
      const Status refused = removal.Finish();
      EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
      EXPECT_TRUE(refused.message().starts_with(
          Str(folder, "/", name, " is not part of a dataset: move it away")))
          << refused.message();
    }
    EXPECT_EQ(ListFolder(folder).value(), before);
  };
  // A folder in which no import has made anything.
  const std::string mine = Folder("mine");
  ASSERT_TRUE(MakeFolders(mine).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(mine, "tokenizer.json"), "{}").ok());
  expect_kept(mine, "tokenizer.json", false);
  // A dataset beside which there are notes, and an unfinished one.
  const PrepareSpec spec = Lines(File("a.txt", "one\ntwo\n"));
  const std::string folder = Made(spec);
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "notes.txt"), "mine").ok());
  expect_kept(folder, "notes.txt", true);
  // It would be exchanged for a new one.
  EXPECT_EQ(RemakeDataset(spec, folder, {}).code(), Code::kFailedPrecondition);
  EXPECT_TRUE(PathExists(JoinPath(folder, "notes.txt")));
  ASSERT_TRUE(RemoveAll(JoinPath(folder, "dataset.json")).ok());
  expect_kept(folder, "notes.txt", true);
  // What a killed write leaves is not the user's.
  ASSERT_EQ(rename(JoinPath(folder, "notes.txt").c_str(),
                   JoinPath(folder, ".dataset.json.tmp-12-3").c_str()),
            0);
  EXPECT_TRUE(Removal::Begin(folder).value().Finish().ok());
  EXPECT_FALSE(PathExists(folder));
}

TEST_F(PrepareTest, NothingIsMadeInAFolderWhileItIsBeingRemoved) {
  const PrepareSpec spec = Lines(File("a.txt", "one\ntwo\n"));
  const std::string folder = Made(spec);
  const Strings before = ListFolder(folder).value();
  {
    const Removal removal = Removal::Begin(folder).value();
    // An import that would find all as it wants it, one that would mend it, and another removal.
    EXPECT_EQ(HoldsPreparation(spec, folder).status().code(), Code::kUnavailable);
    EXPECT_EQ(RemakeDataset(spec, folder, {}).code(), Code::kUnavailable);
    EXPECT_EQ(Removal::Begin(folder).status().code(), Code::kFailedPrecondition);
  }
  // It was given up: nothing of it is left.
  EXPECT_EQ(ListFolder(folder).value(), before);
  EXPECT_TRUE(HoldsPreparation(spec, folder).value().same);
  // Of an import that was killed.
  ASSERT_TRUE(RemoveAll(JoinPath(folder, "dataset.json")).ok());
  Removal removal = Removal::Begin(folder).value();
  EXPECT_EQ(PrepareDataset(spec, folder, {}).code(), Code::kUnavailable);
  ASSERT_TRUE(removal.Finish().ok());
  // Another may begin, though the removal is still there.
  EXPECT_TRUE(PrepareDataset(spec, folder, {}).ok());
  EXPECT_TRUE(Dataset::Open(folder)->Verify().ok());
}

// The user has moved the dataset to another disk.
TEST_F(PrepareTest, RemovingADatasetBehindALinkLeavesOnlyTheFolderToWhichItLeads) {
  const std::string elsewhere = Made(Lines(File("a.txt", "one\ntwo\n")));
  const std::string link = Folder("link");
  std::filesystem::create_directory_symlink(elsewhere, link);

  EXPECT_TRUE(Removal::Begin(link).value().Finish().ok());

  EXPECT_FALSE(std::filesystem::is_symlink(link));
  EXPECT_EQ(ListFolder(elsewhere).value(), Strings());
}

// Begun and given up, as when another name refers to the same folder.
TEST_F(PrepareTest, ARemovalBehindALinkThatIsGivenUpLeavesEverything) {
  const std::string elsewhere = Made(Lines(File("a.txt", "one\ntwo\n")));
  const Strings before = ListFolder(elsewhere).value();
  const std::string link = Folder("link");
  std::filesystem::create_directory_symlink(elsewhere, link);

  { const Removal removal = Removal::Begin(link).value(); }

  EXPECT_EQ(ListFolder(elsewhere).value(), before);
}

// As where it belongs to another user: here a link that leads to itself, which no user can follow.
TEST_F(PrepareTest, AManifestThatCannotBeReachedIsNotCalledMissing) {
  const std::string folder = Folder("data");
  ASSERT_TRUE(MakeFolders(folder).ok());
  ASSERT_EQ(symlink("dataset.json", JoinPath(folder, "dataset.json").c_str()), 0);
  EXPECT_EQ(Dataset::Open(folder).status().message(),
            Str("cannot read ", folder, "/dataset.json: Too many levels of symbolic links"));
}

// 16 MiB in one document, 16 MiB in lines of JSON: with less than 14 MiB of heap. What is left are
// the pieces (text 1 MiB, its ids 4 bytes each, buffers of 1 MiB) and the document
// table of one shard.
TEST_F(PrepareTest, MemoryDoesNotGrowWithTheFiles) {
  constexpr std::size_t kBytes = std::size_t{16} << 20;
  constexpr std::int64_t kHeapMax = std::int64_t{14} << 20;
  const auto repeated = [&](const std::string& name, std::string_view piece) {
    std::string bytes;
    bytes.reserve(kBytes + piece.size());
    while (bytes.size() < kBytes) bytes += piece;
    return File(name, bytes);
  };
  const std::string a = repeated("a.txt", "the quick brown fox ");
  const std::string b = repeated("b.jsonl", "{\"text\":\"jumps over the lazy dog\"}\n");
  const std::int64_t before = HeapNow().held;
  ForgetMost();
  Made({.files = {{"train", {a}}}}, {.jobs = 1});
  EXPECT_LT(HeapNow().most - before, kHeapMax);
  ForgetMost();
  Made({.source = {.format = "jsonl"}, .files = {{"train", {b}}}, .shard_tokens = 1 << 20},
       {.jobs = 1});
  EXPECT_LT(HeapNow().most - before, kHeapMax);
}

// A tree of these values takes 40 times the line.
TEST_F(PrepareTest, MemoryDoesNotGrowWithTheValuesOfAJsonLineThatAreNotAskedFor) {
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  const auto line = [&](std::string text, auto more) {
    while (text.size() < kBytes) text += more();
    text.back() = text.front() == '[' ? ']' : '}';
    return text;
  };
  const std::string values = line("[", [] { return "{},"; });
  const std::string keys = line("{", [n = 0]() mutable { return Str("\"", ++n, "\":0,"); });
  for (const std::string& other : {values, keys}) {
    SCOPED_TRACE(other.substr(0, 20));
    const std::string file =
        File("a.jsonl", Str(R"({"other":)", other, R"(,"text":"a","meta":{"n":1}})", "\n"));
    const std::int64_t before = HeapNow().held;
    ForgetMost();
    const std::string folder =
        Made({.source = {.format = "jsonl", .filter = "meta.n==1"}, .files = {{"train", {file}}}},
             {.jobs = 1});
    EXPECT_LT(HeapNow().most - before, static_cast<std::int64_t>(8 * kBytes));
  }
}

// A text that cannot be cut is kept until it ends, and comes in many pieces. To look for a cut in
// all of it at each piece would be 10^11 steps.
TEST_F(PrepareTest, ATextWithoutACutIsTokenisedInAPieceAsInMany) {
  constexpr std::size_t kBytes = std::size_t{3} << 20, kPieceBytes = 16;
  Strings tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  tokens.insert(tokens.end(), {"ab", "abab", " c"});
  const std::unique_ptr<Tokenizer> tokenizer =
      MakeBpeTokenizer(RanksWithEndOfText("test", tokens)).value();
  std::string text = "It is cut here once ";
  while (text.size() < kBytes) text += "ababab-\xc3\xa9";
  const Packing packing;
  const auto tokens_by = [&](std::size_t piece_bytes, const std::string& key) {
    auto writer =
        PartWriter::Create(folder_.path(), key, *tokenizer, packing, SourceFormat::Gives::kText);
    EXPECT_TRUE(writer.ok()) << writer.status().message();
    for (int document = 0; document < 2; ++document) {
      std::string_view left = text;
      while (!left.empty()) {
        EXPECT_TRUE((*writer)->Text(left.substr(0, piece_bytes)).ok());
        left.remove_prefix(std::min(piece_bytes, left.size()));
      }
      EXPECT_TRUE((*writer)->EndDocument().ok());
    }
    EXPECT_TRUE((*writer)->Finish({}).ok());
    return ReadFile(JoinPath(folder_.path(), key + ".tokens")).value();
  };
  const double begin = ThreadCpuSeconds();
  const std::string whole = tokens_by(text.size(), "whole");
  const double whole_seconds = ThreadCpuSeconds() - begin;
  const std::string pieces = tokens_by(kPieceBytes, "pieces");
  const double pieces_seconds = ThreadCpuSeconds() - begin - whole_seconds;
  EXPECT_TRUE(pieces == whole);
  EXPECT_LT(pieces_seconds, 20 * whole_seconds);
}

// ---- inspection --------------------------------------------------------------------------------

TEST_F(PrepareTest, InspectionCountsLengthsAndShowsTheBeginning) {
  PrepareSpec spec = Lines(File("a.txt", "1234567\n\xff\n123\n"));
  spec.source.any_bytes = true;
  const std::string folder = Made(spec);
  const Json facts = InspectDataset(folder).value();
  const Json& train = facts.at("splits").at(0);
  EXPECT_EQ(train.at("n_tokens"), 8 + 2 + 4);
  EXPECT_EQ(train.at("text_bytes"), 11);
  EXPECT_EQ(train.at("document_tokens").at("min"), 2);
  EXPECT_EQ(train.at("document_tokens").at("median"), 4);
  EXPECT_EQ(train.at("document_tokens").at("max"), 8);
  const Json& reach = train.at("documents_of_at_least");
  ASSERT_EQ(reach.size(), 4u);  // 1, 2, 4, 8
  EXPECT_EQ(reach.at(2).at("tokens"), 4);
  EXPECT_EQ(reach.at(2).at("documents"), 2);
  EXPECT_NEAR(reach.at(2).at("share_of_tokens").get<double>(), 12.0 / 14.0, 1e-12);
  EXPECT_EQ(train.at("sample"), "1234567");
}

// By nearest rank, ceil(0.9 * 3) = 3: nine tenths of three documents are all of them.
TEST_F(PrepareTest, QuantilesOfLengthsAreByNearestRank) {
  const Json three = InspectDataset(Made(Lines(File("a.txt", "1\n22\n333\n")))).value();
  const Json& few = three.at("splits").at(0).at("document_tokens");
  EXPECT_EQ(few.at("p10"), 2);  // a byte and the end of the text
  EXPECT_EQ(few.at("median"), 3);
  EXPECT_EQ(few.at("p90"), 4);
  EXPECT_EQ(few.at("p99"), 4);
}

}  // namespace
}  // namespace longrun
