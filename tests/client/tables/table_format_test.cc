// The forms of a table, each as its golden text. The numbers: see pivot_test.cc.
#include "client/tables/table_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/str.h"
#include "client/tables/pivot.h"
#include "client/tables/table_json.h"
#include "client/tables/table_parts.h"
#include "client/words/render.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

std::vector<PivotTable> Build(const SweepResults& results, const PivotRequest& request = {}) {
  auto tables = BuildPivot({results}, request);
  EXPECT_TRUE(tables.ok()) << tables.status().message();
  return tables.ok() ? std::move(tables).value() : std::vector<PivotTable>();
}

// Two models and a baseline; the second one cannot read 128.
SweepResults Small() {
  return ResultsOf(
      {RunOf("aaaaaaaaaa", "cable", 64, 1), RunOf("bbbbbbbbbb", "learned", 64, 1)},
      {RowOf("aaaaaaaaaa", 64, 8.0, 10), RowOf("bbbbbbbbbb", 64, 9.0, 10),
       RowOf("aaaaaaaaaa", 128, 8.4, 10), RowWithout("bbbbbbbbbb", 128, "not_applicable"),
       RowOf("aaaaaaaaaa", 64, 22.0, 10, "unigram"),
       RowOf("aaaaaaaaaa", 128, 22.0, 10, "unigram")});
}

TEST(TableFormatTest, TextMarksTrainLengthAndBestAndEndsWithTheBaseline) {
  EXPECT_EQ(RenderTables(Build(Small()), "table"),
            "perplexity by context length (validation, nonoverlap)\n"
            "position  train_length  dataset            64             128\n"
            "cable     64            austen   [8.00±0.16]*      8.40±0.16*\n"
            "learned   64            austen    [9.00±0.18]  not_applicable\n"
            "unigram                 austen     22.00±0.43      22.00±0.43\n"
            "[ ] train length   * best model of the column, or not separable from it   "
            "± 95 % interval over the text\n");
}

TEST(TableFormatTest, WideAddsSeedsRunsAndDigits) {
  EXPECT_EQ(RenderTables(Build(Small(), {.where = {{.axis = "context_length", .values = {"64"}}}}),
                         "wide"),
            "perplexity by context length (validation, nonoverlap)\n"
            "position  train_length  dataset  seeds  runs                      64\n"
            "cable     64            austen   1      aaaaaaaa  [8.00000±0.15680]*\n"
            "learned   64            austen   1      bbbbbbbb   [9.00000±0.17640]\n"
            "unigram                 austen                      22.00000±0.43119\n"
            "[ ] train length   * best model of the column, or not separable from it   "
            "± 95 % interval over the text\n");
}

TEST(TableFormatTest, ALegendExplainsNoBracketsWhereThereAreNone) {
  const std::vector<PivotTable> tables =
      Build(Small(), {.where = {{.axis = "context_length", .values = {"128"}}}});
  for (const char* const format : {"table", "wide", "markdown", "latex"}) {
    const std::string text = RenderTables(tables, format);
    EXPECT_EQ(text.find("train length"), std::string::npos) << text;
    EXPECT_NE(text.find("best model of the column"), std::string::npos) << text;
  }
}

TEST(TableFormatTest, WhatIsIncompleteSaysHowFarItIs) {
  const std::vector<ResultRun> runs = {RunOf("a", "rope", 64, 1), RunOf("b", "rope", 64, 2),
                                       RunOf("c", "rope", 64, 3), RunOf("d", "none", 64, 1)};
  const std::vector<ResultRow> rows = {
      RowOf("a", 64, 10.0, 10),         RowOf("b", 64, 10.0, 10),
      RowWithout("c", 64, "missing"),   RowWithout("d", 64, "missing"),
      RowOf("a", 128, 10.0, 10),        RowWithout("b", 128, "missing"),
      RowWithout("c", 128, "diverged"), RowWithout("d", 128, "missing")};
  EXPECT_EQ(RenderTables(Build(ResultsOf(runs, rows)), "table"),
            "perplexity by context length (validation, nonoverlap)\n"
            "position  train_length  dataset                64                      128\n"
            "rope      64            austen   [10.00±0.20 2/3]  10.00±0.20 1/3 diverged\n"
            "none      64            austen                [–]                        –\n"
            "[ ] train length   ± 95 % interval over the text   n/N: n of N requested seeds have a "
            "number\n");
}

// Perplexities of 3e21 are sizes: all their digits would hide the others. exp(49.44) = 2.96e21, and
// an error of 0.5 on the log scale gives ends of exp(-0.98) and exp(0.98) times that.
TEST(TableFormatTest, WhatExplodesIsWrittenByItsSize) {
  const SweepResults results = ResultsOf(
      {RunOf("a", "cable", 64, 1)},
      {RowOf("a", 64, 999'999.0, 10, nullptr, 1e-6), RowOf("a", 128, 2.96e21, 10, nullptr, 0.5)});
  const std::string table = RenderTables(Build(results), "table");
  EXPECT_NE(table.find("[999999±2]"), std::string::npos) << table;
  EXPECT_NE(table.find("  >1e6"), std::string::npos) << table;
  EXPECT_NE(table.find("; >1e6: the number is in -o wide\n"), std::string::npos) << table;
  EXPECT_NE(RenderTables(Build(results), "wide").find("2.96000e+21 (1.11094e+21–7.88665e+21)"),
            std::string::npos);
  EXPECT_NE(RenderTables(Build(results), "markdown").find(" >1e6 "), std::string::npos);
}

// Each error says what it is: over two seeds for the model, over the text for the baseline. The
// wide one has ends, which are not at the same distance.
TEST(TableFormatTest, AMarkTellsTheErrorOverSeedsFromTheTexts) {
  const SweepResults results = ResultsOf(
      {RunOf("a", "cable", 64, 1), RunOf("b", "cable", 64, 2)},
      {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 8.4, 10), RowOf("a", 64, 22.0, 10, "unigram")});
  // The mean of the logarithms has the error ln(8.4 / 8) / 2 = 0.0244 over two seeds, 12.7 times
  // that at 95 %, and 1.96 * 0.01 over the text. 8.20 * exp(-0.310) = 6.01, * exp(0.310) = 11.18.
  EXPECT_EQ(RenderTables(Build(results), "table"),
            "perplexity by context length (validation, nonoverlap)\n"
            "position  train_length  dataset                    64\n"
            "cable     64            austen   [8.20 (6.01–11.18s)]\n"
            "unigram                 austen            22.00±0.43t\n"
            "[ ] train length   ± or ( ) 95 % interval, s over seeds, t over "
            "the text\n");
  const std::string wide = RenderTables(Build(results), "wide");
  EXPECT_NE(wide.find("[8.19756±0.16067t (6.01266–11.17641s)]"), std::string::npos) << wide;
  EXPECT_NE(RenderTables(Build(results), "markdown").find("\\[8.20 (6.01–11.18s)\\]"),
            std::string::npos);
}

// The column's head is the context length, and says nothing about the prompts' tokens.
TEST(TableFormatTest, PromptsOfAnotherLengthThanTheirColumnAreNamedBelowTheTable) {
  const auto results = [](std::int64_t longest) {
    std::vector<ResultRow> rows;
    for (const std::int64_t length : {1000, 9000}) {
      rows.push_back(RowWith(
          "a",
          {{"metric", "recall"},
           {"context_length", length},
           {"protocol", "pose"},
           {"status", "ok"},
           {"value", 0.5},
           {"se", 0.1},
           {"n", 50},
           {"averaging", "item"},
           {"extra", {{"wilson95", {0.37, 0.63}}, {"longest_prompt", longest * length / 9000}}}}));
      rows.back().evaluation["passkey"] = {{"protocol", "pose"}, {"trials", 50}};
    }
    return ResultsOf({RunOf("a", "rope", 64, 1)}, rows);
  };
  const PivotRequest request = {.metrics = {"recall"}};
  const std::vector<PivotTable> longer = Build(results(32'021), request);
  EXPECT_EQ(PromptsNote(longer[0]),
            "tokens of the longest prompt: 3557 at context length 1000, 32021 at context length "
            "9000");
  for (const char* format : {"table", "wide", "markdown", "latex"}) {
    const std::string table = RenderTables(longer, format);
    EXPECT_NE(table.find(PromptsNote(longer[0])), std::string::npos) << table;
  }
  const std::string csv = RenderTables(longer, "csv");
  EXPECT_NE(csv.find(",longest_prompt\n"), std::string::npos) << csv;
  EXPECT_NE(csv.find(",32021\n"), std::string::npos) << csv;
  EXPECT_EQ(TablesJson(longer)[0]["rows"][0]["cells"][1]["longest_prompt"], 32'021);
  EXPECT_EQ(PromptsNote(Build(results(8990), request)[0]), "");
}

// With two seeds, a difference of 9 standard errors is not told apart, since it takes 12.7.
TEST(TableFormatTest, TwoSeedsAreNamedAsTheReasonWhyAllCellsHaveAStar) {
  const std::vector<ResultRun> runs = {RunOf("a", "cable", 64, 1), RunOf("b", "cable", 64, 2),
                                       RunOf("c", "rope", 64, 1), RunOf("d", "rope", 64, 2)};
  const auto row = [](const std::string& run, double perplexity) {
    return RowOf(run, 64, perplexity, 10, nullptr, 1e-4);
  };
  // Of the logarithms, 0.10 and 0.08 apart: 0.09 with an error of 0.01.
  const SweepResults results =
      ResultsOf(runs, {row("a", 8.0), row("b", 8.4), row("c", 8.0 * std::exp(0.10)),
                       row("d", 8.4 * std::exp(0.08))});
  const std::string note =
      "with 2 seeds, almost no difference can be detected: it would have to exceed 12.7 standard "
      "errors over seeds (Student's t with 1 degree of freedom). With 3 seeds, 4.3 are needed\n";
  const std::vector<PivotTable> tables = Build(results);
  EXPECT_TRUE(tables[0].rows[1].cells[0].is_best);
  for (const char* format : {"table", "wide", "markdown", "latex"}) {
    const std::string table = RenderTables(tables, format);
    EXPECT_TRUE(table.ends_with(note)) << table;
  }
  const std::string against = RenderTables(
      Build(results, {.against = PivotFilter{.axis = "position", .values = {"cable"}}}), "table");
  EXPECT_TRUE(against.ends_with(note)) << against;
}

// Of three pairs, the one with alibi is told apart at once, so Holm corrects the others for two.
// Student's t at 2.5 % has 25.45 with one degree of freedom, 6.21 with two, and 4.18 with three.
TEST(TableFormatTest, ThePairsForWhichFewSeedsAreCorrectedCanBeCounted) {
  const SweepResults results =
      ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "cable", 64, 2), RunOf("c", "rope", 64, 1),
                 RunOf("d", "rope", 64, 2), RunOf("e", "alibi", 64, 1), RunOf("f", "alibi", 64, 2)},
                {RowOf("a", 64, 8.0, 10, nullptr, 1e-4), RowOf("b", 64, 8.4, 10, nullptr, 1e-4),
                 RowOf("c", 64, 8.0 * std::exp(0.10), 10, nullptr, 1e-4),
                 RowOf("d", 64, 8.4 * std::exp(0.08), 10, nullptr, 1e-4),
                 RowOf("e", 64, 8.0 * std::exp(3.0), 10, nullptr, 1e-4),
                 RowOf("f", 64, 8.4 * std::exp(3.0001), 10, nullptr, 1e-4)});
  EXPECT_EQ(FewSeedsNote(Build(results)[0]),
            "with 2 seeds, almost no difference can be detected: it would have to exceed 25.5 "
            "standard errors over seeds (Student's t with 1 degree of freedom, corrected for 2 "
            "of 3 pairs, since 1 was found to differ). With 4 seeds, 4.2 are needed");
}

// What a protocol was given stands in the title; what has its default does not.
TEST(TableFormatTest, TheTitleHasTheParametersOfTheProtocol) {
  ResultRow row = RowOf("a", 64, 8.0, 10);
  row.body.protocol = "last_k";
  row.evaluation = {{"perplexity",
                     {{"split", "validation"},
                      {"protocol", "last_k"},
                      {"k", 8},
                      {"every", 64},
                      {"score_tokens", 10}}}};
  const std::string table =
      RenderTables(Build(ResultsOf({RunOf("a", "cable", 64, 1)}, {row})), "table");
  EXPECT_TRUE(
      table.starts_with("perplexity by context length (validation, last_k(every=64,k=8))\n"))
      << table;
}

// exp(1000): an infinite perplexity is a number that says so, never an empty field.
TEST(TableFormatTest, AnInfinitePerplexityIsWrittenInEveryForm) {
  const SweepResults results =
      ResultsOf({RunOf("a", "cable", 64, 1), RunOf("b", "sinusoidal", 64, 1)},
                {RowOf("a", 64, 8.0, 10), RowOf("b", 64, 9.0, 10), RowOf("a", 128, 8.0, 10),
                 RowBeyond("b", 128)});
  const std::vector<PivotTable> tables = Build(results);
  EXPECT_EQ(RenderTables(tables, "table"),
            "perplexity by context length (validation, nonoverlap)\n"
            "position    train_length  dataset            64         128\n"
            "cable       64            austen   [8.00±0.16]*  8.00±0.16*\n"
            "sinusoidal  64            austen    [9.00±0.18]         inf\n"
            "[ ] train length   * best of the column, or not separable from it   ± 95 % "
            "interval over the text; inf: too large to represent; "
            "`--metric nll` shows it\n");
  EXPECT_NE(RenderTables(tables, "wide").find("  inf\n"), std::string::npos);
  EXPECT_NE(RenderTables(tables, "markdown").find("| inf |\n"), std::string::npos);
  EXPECT_NE(RenderTables(tables, "latex").find("& inf \\\\\n"), std::string::npos);
  EXPECT_NE(RenderTables(tables, "csv")
                .find("sinusoidal,64,austen,,validation,nonoverlap,128,inf,,1000,10,"),
            std::string::npos)
      << RenderTables(tables, "csv");
  EXPECT_NE(RenderTables(tables, "csv").find(",1,1,overflow,perplexity,"), std::string::npos);
  // JSON has no infinity: null, and the status says why; the nll is there.
  const Json cell = TablesJson(tables).at(0).at("rows").at(1).at("cells").at(1);
  EXPECT_EQ(cell.at("perplexity"), nullptr);
  EXPECT_EQ(cell.at("status"), "overflow");
  EXPECT_EQ(cell.at("nll"), 1000.0);
  EXPECT_EQ(cell.at("values").at(0).at("status"), "overflow");
  EXPECT_NE(RenderTables(tables, "jsonl").find("\"status\":\"overflow\""), std::string::npos);
}

// A direction is not the rival of another one, and bytes are read by people.
TEST(TableFormatTest, AThroughputIsATableOfItsOwnForSpeedAndForMemory) {
  const SweepResults results =
      ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "alibi", 64, 1)},
                {ThroughputRow("a", "tokens_per_s", "forward", 64, 1234.56),
                 ThroughputRow("a", "tokens_per_s", "generate", 64, 98.7654),
                 ThroughputRow("b", "tokens_per_s", "forward", 64, 1200.0),
                 ThroughputRow("b", "tokens_per_s", "generate", 64, 99.0),
                 ThroughputRow("a", "peak_bytes", "forward", 64, 3.0 * 1024 * 1024),
                 ThroughputRow("a", "peak_bytes", "generate", 64, 1536.0),
                 ThroughputRow("b", "peak_bytes", "forward", 64, 2.0 * 1024 * 1024),
                 ThroughputRow("b", "peak_bytes", "generate", 64, 2048.0)});
  EXPECT_EQ(RenderTables(Build(results), "table"),
            "tokens/s by context length\n"
            "position  train_length  dataset  variant          64\n"
            "rope      64            austen   forward   [1234.6]*\n"
            "rope      64            austen   generate   [98.765]\n"
            "alibi     64            austen   forward    [1200.0]\n"
            "alibi     64            austen   generate  [99.000]*\n"
            "[ ] train length   * best of the column for each variant\n"
            "\n"
            "peak memory by context length\n"
            "position  train_length  dataset  variant           64\n"
            "rope      64            austen   forward      [3 MiB]\n"
            "rope      64            austen   generate  [1.5 KiB]*\n"
            "alibi     64            austen   forward     [2 MiB]*\n"
            "alibi     64            austen   generate     [2 KiB]\n"
            "[ ] train length   * best of the column for each variant\n");
  EXPECT_EQ(TablesJson(Build(results)).at(1).at("metric"), "peak_bytes");
}

TEST(TableFormatTest, RelativeHasThreeDigitsAndSaysWhatItsErrorIs) {
  EXPECT_EQ(RenderTables(Build(Small(), {.relative = true}), "table"),
            "perplexity relative to the train length, by context length (validation, nonoverlap)\n"
            "position  train_length  dataset       64             128\n"
            "cable     64            austen   [1.000]    1.050±0.029*\n"
            "learned   64            austen   [1.000]  not_applicable\n"
            "[ ] train length   * best of the column   ± 95 % interval over the text (an upper "
            "bound: the two errors are treated as independent)\n");
}

TEST(TableFormatTest, MarkdownEscapesWhatWouldEndACell) {
  SweepResults results = Small();
  results.runs[1].axes["position"] = "a|b*c";
  EXPECT_EQ(RenderTables(Build(results), "markdown"),
            "**perplexity by context length (validation, nonoverlap)**\n"
            "\n"
            "| position | train_length | dataset | 64 | 128 |\n"
            "| --- | --- | --- | ---: | ---: |\n"
            "| cable | 64 | austen | \\[**8.00 ± 0.16**\\] | **8.40 ± 0.16** |\n"
            "| a\\|b\\*c | 64 | austen | \\[9.00 ± 0.18\\] | not_applicable |\n"
            "| unigram |  | austen | 22.00 ± 0.43 | 22.00 ± 0.43 |\n"
            "\n"
            "\\[ \\] train length, **bold** best model of the column, or not separable from it, "
            "± 95 % interval over the text\n");
}

// GitHub's tables: "\|" in a cell is a bar, and in "\\|" the bar ends the cell.
TEST(TableFormatTest, AMarkdownCellKeepsABackslashBeforeABar) {
  EXPECT_EQ(MarkdownCell("a\\|b\nc"), "a\\\\\\|b c");
  EXPECT_EQ(MarkdownText("a\nb"), "a\nb");
}

TEST(TableFormatTest, LatexUsesTheRulesOfBooktabsAndEscapesItsCharacters) {
  SweepResults results = Small();
  results.runs[1].axes["position"] = "50%_{a}\\b";
  EXPECT_EQ(
      RenderTables(Build(results), "latex"),
      "% perplexity by context length (validation, nonoverlap)\n"
      "% needs \\usepackage{booktabs}\n"
      "\\begin{tabular}{lllrr}\n"
      "  \\toprule\n"
      "  position & train\\_length & dataset & 64 & 128 \\\\\n"
      "  \\midrule\n"
      "  cable & 64 & austen & {[}\\textbf{8.00 $\\pm$ 0.16}{]} & \\textbf{8.40 $\\pm$ 0.16} \\\\\n"
      "  50\\%\\_\\{a\\}\\textbackslash{}b & 64 & austen & {[}9.00 $\\pm$ 0.18{]} & "
      "not\\_applicable \\\\\n"
      "  \\midrule\n"
      "  unigram &  & austen & 22.00 $\\pm$ 0.43 & 22.00 $\\pm$ 0.43 \\\\\n"
      "  \\bottomrule\n"
      "\\end{tabular}\n"
      "% [ ] train length, bold: best model of the column, or not separable from it, ± 95 % "
      "interval over the text\n");
}

// LaTeX reads "\\ [0.9,0.95]" as a line end with that much space after it, and stops.
TEST(TableFormatTest, ALatexRowThatBeginsWithABracketOrAnAsteriskIsNoArgument) {
  SweepResults results = Small();
  results.runs[0].resolved["train"]["optimizer"]["betas"] = Json({0.9, 0.95});
  results.runs[1].resolved["train"]["optimizer"]["betas"] = "*";
  const std::string text =
      RenderTables(Build(results, {.rows = {"train.optimizer.betas", "position"}}), "latex");
  EXPECT_NE(text.find("\n  {}[0.9,0.95] & cable & "), std::string::npos) << text;
  EXPECT_NE(text.find("\n  {}* & learned & "), std::string::npos) << text;
  EXPECT_NE(text.find("\n  betas & position & "), std::string::npos) << text;
}

TEST(TableFormatTest, CsvHasALineForEachCellAndQuotesWhatNeedsIt) {
  ResultRun run = RunOf("a", {{"method", "rope"}, {"base", 500000}, {"layout", "half"}}, 64, 1);
  ResultRow row = RowOf("a", 64, 8.0, 1000);
  row.body.nll_sum = 2000.0;  // nll 2
  const std::string csv = RenderTables(Build(ResultsOf({run}, {row}), {.metrics = {"nll"}}), "csv");
  EXPECT_EQ(
      csv,
      "position,train_length,dataset,baseline,split,protocol,context_length,value,se,nll,n,"
      "bits_per_byte,seeds,of,status,metric,se_over,runs,sweep,seed,evaluation,variant,"
      "depth,tokens_of_context,se_seeds,df_seeds,se_text,df_text,ci95_low,ci95_high,clusters,p,"
      "p_holm\n"
      "\"rope(base=500000, layout=half)\",64,austen,,validation,nonoverlap,64,2,0.01,2,1000,"
      "2.8853900817779268,1,1,ok,nll,text,a,sweep 1,1,,,,,,,0.01,,"
      "1.9804003601545994,2.0195996398454006,,,\n");  // 2 / ln 2; 1.96 * 0.01
}

// A run that has no number is not behind one; where there is none, the runs are still named.
TEST(TableFormatTest, CsvNamesOnlyTheRunsAndSeedsThatGaveTheNumber) {
  const auto of = [](const PivotRequest& request, std::size_t line) {
    ResultRow diverged = RowOf("b", 64, 8.0, 1000);
    diverged.body.status = "diverged";
    diverged.body.value = std::nullopt;
    const SweepResults results =
        ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "rope", 64, 2), RunOf("c", "rope", 64, 3)},
                  {RowOf("a", 64, 8.0, 1000), diverged});
    return Split(RenderTables(Build(results, request), "csv"), '\n').at(line);
  };
  const std::string mean = of({}, 1);
  EXPECT_NE(mean.find(",1,3,diverged,perplexity,text,a,sweep 1,1,"), std::string::npos) << mean;
  const std::string second = of({.rows = {"position", "seed"}}, 2);
  EXPECT_NE(second.find(",0,1,diverged,perplexity,,b,sweep 1,2,"), std::string::npos) << second;
  const std::string third = of({.rows = {"position", "seed"}}, 3);
  EXPECT_NE(third.find(",0,1,missing,perplexity,,c,sweep 1,3,"), std::string::npos) << third;
}

TEST(TableFormatTest, CsvOfTwoTablesWithTheSameColumnsHasOneHeader) {
  const std::string csv =
      RenderTables(Build(Small(), {.rows = {"position"}, .cols = {"train_length"}}), "csv");
  // Two context lengths are two tables with two rows each; baselines stand only beside lengths.
  EXPECT_EQ(Split(csv, '\n').size(), 1u + 4u + 1u);
}

// However a table is laid out: a program that reads one reads all.
TEST(TableFormatTest, CsvHasTheSameColumnsInTheSameOrderHoweverItIsLaidOut) {
  const auto header = [](const PivotRequest& request) {
    return Split(RenderTables(Build(Small(), request), "csv"), '\n').front();
  };
  const std::string plain = header({});
  EXPECT_EQ(
      plain,
      "position,train_length,dataset,baseline,split,protocol,context_length,perplexity,se,nll,"
      "n,bits_per_byte,seeds,of,status,metric,se_over,runs,sweep,seed,evaluation,variant,depth,"
      "tokens_of_context,se_seeds,df_seeds,se_text,df_text,ci95_low,ci95_high,clusters,p,p_holm");
  EXPECT_EQ(header({.rows = {"position", "seed"}}), plain);
  EXPECT_EQ(header({.rows = {"sweep", "position"}}), plain);
  EXPECT_EQ(header({.cols = {"variant"}}), plain);
  // A key of a run that is asked for follows all others.
  EXPECT_EQ(header({.rows = {"model.n_layer", "position"}}), plain + ",model.n_layer");
  EXPECT_EQ(header({.rows = {"context_length"}, .cols = {"dataset", "position"}}), plain);
  EXPECT_EQ(header({.rows = {"train_length"}}), plain);
  EXPECT_EQ(header({.rows = {"protocol", "position"}, .cols = {"split", "context_length"}}), plain);
}

// Only the name of the number's own column is that of the metric.
TEST(TableFormatTest, CsvHasTheSameColumnsForEveryMetricAndAnyNumberOfSweeps) {
  const auto lines = [](const std::vector<SweepResults>& results, const PivotRequest& request) {
    const auto tables = BuildPivot(results, request);
    EXPECT_TRUE(tables.ok()) << tables.status().message();
    return tables.ok() ? Split(RenderTables(*tables, "csv"), '\n') : std::vector<std::string>();
  };
  const SweepResults by_position =
      ResultsOf({RunOf("a", "rope", 2, 7)}, {RowByPosition("a", {5, 4, 3, 2})});
  const std::string expected =
      "position,train_length,dataset,baseline,split,protocol,context_length,nll_by_position,se,nll,"
      "n,bits_per_byte,seeds,of,status,metric,se_over,runs,sweep,seed,evaluation,variant,depth,"
      "tokens_of_context,se_seeds,df_seeds,se_text,df_text,ci95_low,ci95_high,clusters,p,p_holm";
  const auto of_positions = lines({by_position}, {.metrics = {"nll_by_position"}});
  EXPECT_EQ(of_positions.front(), expected);
  EXPECT_TRUE(of_positions.at(1).ends_with(",nll_by_position,,a,sweep 1,7,,,,1,,,,,,,,,"))
      << of_positions[1];
  std::string perplexity = expected;
  perplexity.replace(perplexity.find("nll_by_position"), 15, "perplexity");
  SweepResults second = Small();
  second.name = "second";
  const auto of_two = lines({Small(), second}, {});
  EXPECT_EQ(of_two.front(), perplexity);
  EXPECT_TRUE(std::ranges::any_of(of_two, [](const std::string& line) {
    return line.find(",aaaaaaaaaa,second,1,,,,,") != std::string::npos;
  }));
}

TEST(TableFormatTest, CsvOfSeveralMetricsIsOneTable) {
  const std::string csv = RenderTables(Build(Small(), {.metrics = {"perplexity", "nll"}}), "csv");
  const std::vector<std::string> lines = Split(csv, '\n');
  EXPECT_EQ(
      lines.front(),
      "position,train_length,dataset,baseline,split,protocol,context_length,value,se,nll,n,"
      "bits_per_byte,seeds,of,status,metric,se_over,runs,sweep,seed,evaluation,variant,"
      "depth,tokens_of_context,se_seeds,df_seeds,se_text,df_text,ci95_low,ci95_high,clusters,p,"
      "p_holm");
  EXPECT_EQ(std::ranges::count(lines, lines.front()), 1);
}

TEST(TableFormatTest, SeveralAxesAcrossAreNamedInTheHead) {
  const auto tables =
      Build(Small(), {.rows = {"position"}, .cols = {"train_length", "context_length"}});
  EXPECT_EQ(ColumnHead(tables.at(0), 0), "train 64 / context 64");
  const auto methods =
      Build(Small(), {.rows = {"dataset"}, .cols = {"position", "context_length"}});
  EXPECT_EQ(ColumnHead(methods.at(0), 0), "cable / context 64");
}

TEST(TableFormatTest, JsonCarriesEachNumberWithWhatItRestsOn) {
  const Json json = ParseJson(RenderTables(Build(Small()), "json")).value();
  ASSERT_EQ(json.size(), 1u);
  EXPECT_EQ(json[0].at("metric"), "perplexity");
  const Json& cell = json[0].at("rows")[0].at("cells")[1];
  EXPECT_EQ(cell.at("context_length"), 128);
  EXPECT_NEAR(cell.at("perplexity").get<double>(), 8.4, 1e-12);
  EXPECT_NEAR(cell.at("se").get<double>(), 0.084, 1e-12);
  EXPECT_EQ(cell.at("se_over"), "text");
  EXPECT_EQ(cell.at("n"), 10);
  EXPECT_EQ(cell.at("values")[0].at("cell"), "aaaaaaaaaa-128");
  EXPECT_EQ(cell.at("values")[0].at("run"), "aaaaaaaaaa");
  EXPECT_EQ(cell.at("values")[0].at("attempt"), "attempt-aaaaaaaaaa");
  const Json& none = json[0].at("rows")[1].at("cells")[1];
  EXPECT_EQ(none.at("status"), "not_applicable");
  EXPECT_TRUE(none.at("perplexity").is_null());
  EXPECT_EQ(json[0].at("baselines")[0].at("name"), "unigram");
}

TEST(TableFormatTest, JsonlIsOneObjectALine) {
  const std::vector<std::string> lines = Split(RenderTables(Build(Small()), "jsonl"), '\n');
  ASSERT_EQ(lines.size(), 6u + 1u);  // six cells; the last line ends
  const Json first = ParseJson(lines[0]).value();
  EXPECT_EQ(first.at("position"), "cable");
  EXPECT_EQ(first.at("context_length"), 64);
  EXPECT_EQ(first.at("split"), "validation");
  EXPECT_EQ(ParseJson(lines[5]).value().at("baseline"), "unigram");
}

TEST(TableFormatTest, InfinityIsSaidInTextAndNullInJson) {
  ResultRow row = RowOf("a", 64, 8.0, 10);
  row.body.nll_sum = 8000.0;  // exp(800) is more than a double holds
  const auto tables = Build(ResultsOf({RunOf("a", "sinusoidal", 64, 1)}, {row}));
  EXPECT_NE(RenderTables(tables, "table").find("[inf]"), std::string::npos);
  const Json cell = ParseJson(RenderTables(tables, "json")).value()[0].at("rows")[0].at("cells")[0];
  EXPECT_TRUE(cell.at("perplexity").is_null());
  EXPECT_EQ(cell.at("nll"), 800);
}

// Losses 0.01 and 0.21: 0.11 ± 12.7 * 0.1 reaches below 0, which no loss does. A perplexity begins
// at 1.
TEST(TableFormatTest, TheIntervalOfAPerplexityBeginsAtOne) {
  const SweepResults results =
      ResultsOf({RunOf("a", "rope", 64, 1), RunOf("b", "rope", 64, 2)},
                {RowOf("a", 64, std::exp(0.01), 500), RowOf("b", 64, std::exp(0.21), 500)});
  const auto tables = BuildPivot({results}, {});
  ASSERT_TRUE(tables.ok()) << tables.status().message();
  const auto interval = Interval95(tables->front(), tables->front().rows.at(0).cells.at(0));
  ASSERT_TRUE(interval.has_value());
  EXPECT_EQ(interval->first, 1.0);
  EXPECT_GT(interval->second, 3.0);
}

}  // namespace
}  // namespace longrun::client
