// The report page: what it says, that nothing in it can be markup but ours, and how a real browser
// shows it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "base/wilson.h"
#include "client/plots/plot_losses.h"
#include "client/report/report_page.h"
#include "client/report/report_style.h"
#include "client/words/html.h"
#include "tests/client/sample_results.h"

namespace longrun::client {
namespace {

constexpr const char* kHostile = "<script>alert('x')</script>&\"<img src=x onerror=alert(1)>";

Json Started() {
  return {{"version", "0.1.0"},
          {"commit", "3f2a91c0b7d4"},
          {"dirty", false},
          {"numerics", 1},
          {"torch", "2.11.0"},
          {"compiler", "g++ 12.2.0"},
          {"device", {{"kind", "cpu"}, {"name", "AMD EPYC 9V74"}, {"memory_bytes", 8LL << 30}}},
          {"host",
           {{"name", "a-machine-with-a-rather-long-name-that-could-be-wider-than-a-phone"},
            {"system", "Debian GNU/Linux 12"}}},
          {"environment", {{"OMP_NUM_THREADS", "2"}}}};
}

Json ExtraOf(const RowBody& body) {
  Json extra = Json::object();
  if (body.wilson95) extra["wilson95"] = {body.wilson95->first, body.wilson95->second};
  if (!body.scores.empty()) extra["scores"] = body.scores;
  return extra;
}

void AddRow(const ResultRow& row, ReportInput& input) {
  v1::ResultRow& added = *input.results.add_rows();
  added.set_run_key(row.run_key);
  added.set_cell(row.cell);
  added.set_attempt(row.attempt);
  const RowBody& body = row.body;
  added.set_body_json(CanonicalJson({{"metric", body.metric},
                                     {"status", body.status},
                                     {"context_length", AxisValue(body.context_length)},
                                     {"split", AxisValue(body.split)},
                                     {"protocol", AxisValue(body.protocol)},
                                     {"averaging", AxisValue(body.averaging)},
                                     {"variant", AxisValue(body.variant)},
                                     {"depth", AxisValue(body.depth)},
                                     {"value", AxisValue(body.value)},
                                     {"se", AxisValue(body.se)},
                                     {"n", AxisValue(body.n)},
                                     {"nll_sum", AxisValue(body.nll_sum)},
                                     {"bytes", AxisValue(body.n_bytes)},
                                     {"extra", ExtraOf(body)}}));
  if (!row.evaluation.is_null()) added.set_evaluation_json(CanonicalJson(row.evaluation));
}

// Two positions, two seeds each, at two lengths; one evaluation failed.
ReportInput SampleInput(const std::string& name) {
  ReportInput input;
  input.info.set_name(name);
  input.info.set_sweep_id("01BX5ZZKBKACTAV9WEVGEMMVRZ");
  input.info.set_state("PARTIAL");
  input.info.set_runs(4);
  input.info.set_tasks(8);
  input.info.set_tasks_succeeded(7);
  input.info.set_tasks_failed(1);
  input.labels = Json::object();
  input.overrides = Json::array();
  input.yaml = "# " + std::string(kHostile) + "\nkind: Sweep\n";
  input.made_by = "0.1.0 (3f2a91c0b7d4)";
  input.made_at = "2026-01-02 03:04:05";
  for (const char* axis : {"position", "train_length", "dataset", "seed"}) {
    input.results.add_axes(axis);
  }
  const char* const positions[] = {"alibi", "rope"};
  for (int p = 0; p < 2; ++p) {
    for (int seed = 1; seed <= 2; ++seed) {
      const std::string key = Str(positions[p], "-", seed, std::string(56, '0'));
      const ResultRun run = RunOf(key, positions[p], 64, seed);
      v1::RunInfo& info = *input.results.add_runs();
      info.set_run_key(key);
      info.set_dataset(run.dataset);
      info.set_axes_json(CanonicalJson(run.axes));
      info.set_run_json(CanonicalJson(run.resolved));
      // Both seeds the same: the mean is the number itself.
      AddRow(RowOf(key, 64, 6.25 + p, 1000), input);
      AddRow(RowOf(key, 256, 7.5 + 20 * p, 1000), input);
      input.runs.push_back({.run_key = key,
                            .axes = run.axes,
                            .dataset = "austen",
                            .dataset_digest = std::string(64, 'd'),
                            .seed = seed,
                            .train_state = "SUCCEEDED",
                            .checkpoint = std::string(64, 'c'),
                            .started = Started()});
      LossCurve curve{.name = positions[p]};
      for (int step = 1; step <= 50; ++step) {
        curve.x.push_back(step);
        curve.y.push_back(2.0 + 3.0 / step + 0.1 * p);
      }
      input.losses.push_back(curve);
    }
  }
  input.failures.push_back({.run_key = input.runs[0].run_key,
                            .kind = "evaluate",
                            .n = 2,
                            .attempt = "01BX5ZZKBKACTAV9WEVGEMMVS0",
                            .state = "FAILED",
                            .failure_class = "out_of_memory",
                            .message = kHostile,
                            .worker = "worker-1",
                            .log_tail = Str("line one\n", kHostile, "\n", std::string(300, 'w'))});
  input.n_failures = 1;
  return input;
}

TEST(HtmlTest, Base64IsThatOfTheStandard) {
  // RFC 4648, section 10.
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foo"), "Zm9v");
  EXPECT_EQ(Base64("foob"), "Zm9vYg==");
  EXPECT_EQ(Base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
}

TEST(HtmlTest, AScriptIsNamedByItsHash) {
  // printf 'alert(1)' | openssl dgst -sha256 -binary | base64
  EXPECT_EQ(ScriptHash("alert(1)"), "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='");
}

TEST(HtmlTest, TextIsNeverMarkup) {
  EXPECT_EQ(HtmlText("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(HtmlText("x\x01\xff"), "x\xef\xbf\xbd\xef\xbf\xbd");
  const Json json = {{"a", "</script><!--"}};
  EXPECT_EQ(HtmlJson(json).find('<'), std::string::npos);
  EXPECT_EQ(Json::parse(HtmlJson(json)), json);
}

TEST(ReportPageTest, ItSaysWhatTheSweepSays) {
  const auto page = ReportPage(SampleInput("lengths"));
  ASSERT_TRUE(page.ok()) << page.status().message();
  for (const char* text :
       {"<title>lengths</title>", "6.25", "7.25", "27.50", "out_of_memory", "line one",
        "AMD EPYC 9V74", "commit 3f2a91c0b7d4", "LibTorch 2.11.0", "Debian GNU/Linux 12",
        "OMP_NUM_THREADS=2", "longrun submit lengths.yaml", "longrun reproduce alibi-1",
        "What happens when models with alibi, rope, trained at length 64 on austen"}) {
    EXPECT_NE(page->find(text), std::string::npos) << text;
  }
  EXPECT_NE(page->find(std::string(64, 'd')), std::string::npos);
}

TEST(ReportPageTest, AThroughputHasTablesOfItsOwn) {
  ReportInput input = SampleInput("speeds");
  const auto key = input.runs[0].run_key;
  for (const char* direction : {"train_step", "generate"}) {
    AddRow(ThroughputRow(key, "tokens_per_s", direction, 64, 1234.5), input);
    AddRow(ThroughputRow(key, "peak_bytes", direction, 64, 5.0 * 1048576), input);
  }
  const auto page = ReportPage(input);
  ASSERT_TRUE(page.ok()) << page.status().message();
  for (const char* text : {"perplexity by context length", "tokens/s by context length", "1234.5",
                           "peak memory by context length", "5 MiB", "train_step", "generate"}) {
    EXPECT_NE(page->find(text), std::string::npos) << text;
  }
}

// 6 and 5 of 8 right; Wilson's interval of 6 of 8 is 0.4093 to 0.9285 (R: prop.test(6, 8, correct =
// FALSE)).
TEST(ReportPageTest, RetrievalHasItsIntervalAndItsMark) {
  ReportInput input = SampleInput("keys");
  for (const std::size_t run : {2u, 3u}) {
    for (const bool is_window : {false, true}) {
      ResultRow row = ThroughputRow(input.runs[run].run_key.c_str(), "recall", "", 256, 0.75);
      row.body.variant.reset();
      row.body.n = 8;
      row.body.scores = is_window ? "11111000" : "11111100";
      row.body.wilson95 = Wilson95(0.75, 8);
      row.evaluation = {{"passkey", {{"trials", 8}}}};
      if (is_window) {
        row.body.value = 0.625;
        row.evaluation["passkey"]["extension"] = {
            {"method", "window"}, {"window", 64}, {"original_length", 64}};
      }
      AddRow(row, input);
    }
  }
  const auto page = ReportPage(input);
  ASSERT_TRUE(page.ok()) << page.status().message();
  EXPECT_NE(
      page->find("0.7500<span class=\"se\"> (0.4093–0.9285)</span><span class=\"se\">~</span>"),
      std::string::npos)
      << *page;
  EXPECT_NE(page->find("~ not separable from a plain window of 64 tokens"), std::string::npos);
}

// rope was asked at two depths of texts of 64 and 256 tokens, and alibi was not.
TEST(ReportPageTest, RecallByDepthHasAMapForEachModelThatWasAsked) {
  ReportInput input = SampleInput("needles");
  const auto maps = [](const std::string& page) {
    std::vector<std::string> found;
    for (std::size_t at = page.find("<figure>"); at != std::string::npos;
         at = page.find("<figure>", at + 1)) {
      const std::string figure = page.substr(at, page.find("</figure>", at) - at);
      if (figure.find("recall by depth") != std::string::npos) found.push_back(figure);
    }
    return found;
  };
  const auto before = ReportPage(input);
  ASSERT_TRUE(before.ok()) << before.status().message();
  EXPECT_TRUE(maps(*before).empty());
  for (const std::size_t run : {2u, 3u}) {
    for (const int length : {64, 256}) {
      for (const std::optional<double> depth : {std::optional(0.5), std::optional(1.0), {}}) {
        const double beyond = depth == 0.5 ? 0.25 : depth == 1.0 ? 0.75 : 0.5;
        const double share = length == 64 ? 1.0 : beyond;
        ResultRow row = ThroughputRow(input.runs[run].run_key.c_str(), "recall", "", length, share);
        row.body.variant.reset();
        row.body.depth = depth;
        row.body.n = depth ? 8 : 16;
        row.evaluation = {{"needle", {{"depths", 2}, {"trials", 8}}}};
        AddRow(row, input);
      }
    }
  }
  const auto page = ReportPage(input);
  ASSERT_TRUE(page.ok()) << page.status().message();
  ASSERT_EQ(maps(*page).size(), 1U) << *page;
  const std::string figure = maps(*page).front();
  EXPECT_NE(figure.find("rope"), std::string::npos) << figure;
  EXPECT_EQ(figure.find("alibi"), std::string::npos) << figure;
  // The cells, a row for each depth, and their place on the axes.
  for (const char* text : {">25%<", ">75%<", ">100%<", ">50%<", ">64<", ">256<"}) {
    EXPECT_NE(figure.find(text), std::string::npos) << text << " is not in\n" << figure;
  }
}

TEST(ReportPageTest, ClaimsAreJudgedInIt) {
  ReportInput input = SampleInput("claims");
  EXPECT_EQ(ReportPage(input).value().find("<h2>Claims</h2>"), std::string::npos);
  input.yaml =
      "spec:\n  claims:\n"
      "    - below: {of: alibi, than: rope, context_lengths: [64]}\n"
      "    - below: {of: alibi, than: rope, context_lengths: [4096]}\n";
  const std::string page = ReportPage(input).value();
  EXPECT_NE(page.find("<h2>Claims</h2>\n<p>0 supported, 0 refuted, 2 undecided; 2 comparisons</p>"),
            std::string::npos);
  EXPECT_NE(page.find("<h3>undecided: alibi below rope at 64 (perplexity)</h3>"),
            std::string::npos);
  EXPECT_NE(page.find("<td>no evaluation of the sweep asks for alibi at 4096</td>"),
            std::string::npos);
  // A claim about what the results do not have says so.
  input.yaml = "spec:\n  claims:\n    - below: {of: fire, than: rope, context_lengths: [64]}\n";
  EXPECT_NE(
      ReportPage(input).value().find("is not a value of position; its values are alibi, rope</p>"),
      std::string::npos);
}

TEST(ReportPageTest, TheRawNumbersAreInIt) {
  const ReportInput input = SampleInput("lengths");
  const auto page = ReportPage(input);
  ASSERT_TRUE(page.ok());
  const std::string begin = "<script type=\"application/json\" id=\"longrun-data\">";
  const std::size_t at = page->find(begin) + begin.size();

  const Json data = Json::parse(page->substr(at, page->find("</script>", at) - at));

  EXPECT_EQ(data.at("rows"), ToJson(input.results.rows()));
  EXPECT_EQ(data.at("runs").size(), 4u);
  EXPECT_EQ(data.at("tables").at(0).at("rows").size(), 2u);
}

TEST(ReportPageTest, WhatAUserNamesIsTextAndNothingIsFetched) {
  const auto page = ReportPage(SampleInput(kHostile));
  ASSERT_TRUE(page.ok());

  EXPECT_EQ(page->find("<script>alert"), std::string::npos);
  EXPECT_EQ(page->find("<img"), std::string::npos);
  EXPECT_NE(page->find("&lt;script&gt;alert"), std::string::npos);
  // Two scripts: the numbers, and the one that the policy names.
  std::size_t n_scripts = 0;
  for (std::size_t at = page->find("<script"); at != std::string::npos;
       at = page->find("<script", at + 1)) {
    n_scripts += 1;
  }
  EXPECT_EQ(n_scripts, 2u);
  EXPECT_NE(page->find(Str("default-src 'none'; style-src 'unsafe-inline'; script-src ",
                           ScriptHash(kReportScript))),
            std::string::npos);
  for (const char* outside : {" src=\"", " href=\"", "url(", "@import", "<link", "<iframe"}) {
    EXPECT_EQ(page->find(outside), std::string::npos) << outside;
  }
}

TEST(ReportPageTest, ASweepWithoutResultsHasAPageToo) {
  ReportInput input = SampleInput("young");
  input.results.clear_rows();
  input.losses.clear();
  input.failures.clear();
  input.n_failures = 0;
  for (ReportRun& run : input.runs) run.started = nullptr;

  const auto page = ReportPage(input);

  ASSERT_TRUE(page.ok()) << page.status().message();
  EXPECT_NE(page->find("No training step was stored yet."), std::string::npos);
  EXPECT_EQ(page->find("<figure>"), std::string::npos);
  EXPECT_NE(page->find("4 of the runs have not started yet."), std::string::npos);
  EXPECT_NE(page->find("no attempt failed"), std::string::npos);
}

// Curves that were thinned one by one would have only 160 steps in common: 2 of 5 numbers are
// floor(2.5 i), 4 of 9 are floor(2.25 i), and 900 * 2/5 * 4/9 = 160.
TEST(ReportPageTest, SeedsOfDifferentLengthAreFoldedBeforeTheyAreThinned) {
  ReportInput input = SampleInput("uneven");
  input.losses.clear();
  for (const int n_steps : {1000, 900}) {
    v1::GetSeriesResponse series;
    for (int step = 1; step <= n_steps; ++step) {
      series.add_step(step);
      series.add_value(2.0F + 3.0F / static_cast<float>(step));
    }
    input.losses.push_back(CurveOf(series, 2.0));
    input.losses.back().name = "rope";
  }
  Plot plot = PlotOfLosses(input.losses, "loss", "tokens", "nats");
  ThinSeries(plot, 400);
  ASSERT_EQ(plot.series.size(), 1u);
  const std::vector<PlotPoint>& points = plot.series[0].points;
  ASSERT_EQ(points.size(), 400u);
  EXPECT_EQ(points.front().x, 4.0);  // 2 tokens a step, and every second step or so
  EXPECT_EQ(points.back().x, 1800.0);
  EXPECT_EQ(plot.series[0].note, "100 points left out, since not every seed has them");

  // The page draws a line through as many points.
  const auto page = ReportPage(input);
  ASSERT_TRUE(page.ok()) << page.status().message();
  const std::string_view section = std::string_view(*page).substr(page->find("training loss"));
  std::int64_t n_most = 0;
  for (std::size_t at = section.find("<polyline"); at != std::string_view::npos;
       at = section.find("<polyline", at + 1)) {
    const std::size_t list = section.find("points=\"", at) + 8;
    const std::string_view numbers = section.substr(list, section.find('"', list) - list);
    n_most = std::max<std::int64_t>(n_most, std::ranges::count(numbers, ','));
  }
  EXPECT_EQ(n_most, 400);
}

TEST(ReportPageTest, WhatIsStillToComeIsSaidInPlaceOfAnEmptyChart) {
  ReportInput input = SampleInput("half");
  const SweepResults before = ReadResults("half", input.results);
  input.results.clear_rows();
  for (const ResultRow& row : before.rows) {
    const auto context_length = static_cast<int>(row.body.context_length.value());
    AddRow(RowWithout(row.run_key, context_length, "missing"), input);
  }

  const auto page = ReportPage(input);

  ASSERT_TRUE(page.ok()) << page.status().message();
  EXPECT_NE(page->find("There are no numbers to draw yet for perplexity by context length"),
            std::string::npos);
  EXPECT_NE(page->find("alibi: missing at 64, 256; rope: missing at 64, 256."), std::string::npos);
}

// ---- in a real browser --------------------------------------------------------------------------

// Shows the page in a frame of 400 pixels, and writes what it finds as JSON.
constexpr const char* kWrapper = R"html(<!DOCTYPE html><meta charset="utf-8">
<pre id="found"></pre><iframe id="page" src="report.html" width="400" height="800"></iframe>
<script>
addEventListener("load", () => {
  const page = document.getElementById("page").contentDocument;
  const texts = (selector) => [...page.querySelectorAll(selector)].map((e) => e.textContent.trim());
  const sorted = () => texts("table.results tbody tr td:first-child");
  const before = sorted();
  const cells = texts("table.results td.n"), train = texts("td.train"), best = texts("td.best");
  page.querySelectorAll("table.results th button")[3].click();
  const up = sorted();
  page.querySelectorAll("table.results th button")[3].click();
  document.getElementById("found").textContent = JSON.stringify({
    title: page.title, heading: texts("h1"), cells, train, best, heads: texts("table.results th"),
    svg: texts("svg text"), lines: page.querySelectorAll("svg polyline, svg path").length,
    width: page.documentElement.scrollWidth, before, up, down: sorted(),
    requests: page.defaultView.performance.getEntriesByType("resource").length});
});
</script>)html";

std::string Chromium() {
  for (const char* path : {"/usr/bin/chromium", "/usr/bin/chromium-browser"}) {
    if (PathExists(path)) return path;
  }
  return "";
}

std::string Between(const std::string& text, const std::string& begin, const std::string& end) {
  const std::size_t at = text.find(begin);
  if (at == std::string::npos) return "";
  const std::size_t from = at + begin.size();
  return text.substr(from, text.find(end, from) - from);
}

// Of the five characters that --dump-dom writes as entities.
std::string Unescaped(std::string text) {
  const std::pair<const char*, const char*> entities[] = {
      {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&nbsp;", "\xc2\xa0"}, {"&amp;", "&"}};
  for (const auto& [entity, character] : entities) {
    for (std::size_t at = text.find(entity); at != std::string::npos; at = text.find(entity, at)) {
      text.replace(at, std::string_view(entity).size(), character);
      at += std::string_view(character).size();
    }
  }
  return text;
}

TEST(ReportPageTest, ABrowserShowsItAsMeant) {
  const std::string chromium = Chromium();
  if (chromium.empty()) {
    GTEST_SKIP() << "chromium is not installed (Debian package chromium): the page was not looked "
                    "at by a browser";
  }
  const TempFolder folder;
  const auto page = ReportPage(SampleInput(kHostile));
  ASSERT_TRUE(page.ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "report.html"), *page).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "wrapper.html"), kWrapper).ok());
  const std::string out = JoinPath(folder.path(), "dom"), log = JoinPath(folder.path(), "log");

  const auto pid = Spawn(
      {.argv = {chromium, "--headless=new", "--no-sandbox", "--disable-gpu",
                "--disable-dev-shm-usage", "--disable-background-networking",
                "--disable-component-update", "--no-first-run", "--allow-file-access-from-files",
                "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND",
                Str("--user-data-dir=", folder.path(), "/profile"), "--virtual-time-budget=10000",
                "--dump-dom", Str("file://", folder.path(), "/wrapper.html")},
       .env = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8", Str("HOME=", folder.path())},
       .stdout_path = out,
       .stderr_path = log,
       .own_group = true,
       .die_with_parent = true});
  ASSERT_TRUE(pid.ok());
  const auto ended = WaitFor(*pid, 100'000);
  ASSERT_TRUE(ended.ok() && *ended) << "chromium did not end";
  const std::string said = ReadFile(log).value();
  const std::string dom = ReadFile(out).value();
  const std::string found = Between(dom, "<pre id=\"found\">", "</pre>");
  ASSERT_FALSE(found.empty()) << dom << said;
  const Json json = Json::parse(Unescaped(found));

  EXPECT_EQ(said.find("CONSOLE"), std::string::npos) << said;
  EXPECT_EQ(json.at("title"), kHostile);
  EXPECT_EQ(json.at("heading"), Json::array({kHostile}));
  EXPECT_EQ(json.at("requests"), 0);
  EXPECT_LE(json.at("width"), 400) << "the page can be pushed sideways";
  // perplexity: exp of what the rows say, equal in both seeds
  EXPECT_EQ(json.at("cells"), Json::parse(R"(["6.25 ± 0.12","7.50 ± 0.15","7.25 ± 0.14",
                                              "27.50 ± 0.54"])"));
  EXPECT_EQ(json.at("train"), Json::parse(R"(["6.25 ± 0.12","7.25 ± 0.14"])"));
  EXPECT_EQ(json.at("best"), Json::parse(R"(["6.25 ± 0.12","7.50 ± 0.15"])"));
  const auto svg = json.at("svg").get<std::vector<std::string>>();
  for (const char* name : {"alibi", "rope"}) {
    EXPECT_TRUE(std::ranges::any_of(
        svg, [&](const std::string& text) { return text.find(name) != std::string::npos; }))
        << name << " has no line in a picture";
  }
  EXPECT_GE(json.at("lines"), 4);
  EXPECT_EQ(json.at("up"), json.at("before"));
  auto reversed = json.at("before").get<std::vector<std::string>>();
  std::ranges::reverse(reversed);
  EXPECT_EQ(json.at("down"), Json(reversed));
}

}  // namespace
}  // namespace longrun::client
