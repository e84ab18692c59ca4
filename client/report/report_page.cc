#include "client/report/report_page.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "base/str.h"
#include "client/claims/claim_text.h"
#include "client/claims/judge.h"
#include "client/plots/depth_map.h"
#include "client/plots/plot.h"
#include "client/plots/plot_curves.h"
#include "client/plots/plot_layout.h"
#include "client/plots/plot_losses.h"
#include "client/plots/plot_svg.h"
#include "client/report/report_style.h"
#include "client/tables/pivot.h"
#include "client/tables/table_format.h"
#include "client/tables/table_json.h"
#include "client/tables/table_parts.h"
#include "client/words/html.h"
#include "client/words/provenance.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr int kPlotWidth = 900;
constexpr int kPlotHeight = 460;
constexpr std::size_t kCurvePoints = 400;  // of each training curve
constexpr std::size_t kValuesShown = 8;    // per line of provenance

std::string Element(std::string_view name, std::string_view attributes, const std::string& inner) {
  return Str("<", name, attributes.empty() ? "" : " ", attributes, ">", inner, "</", name, ">");
}

std::string Text(std::string_view name, std::string_view text, std::string_view attributes = "") {
  return Element(name, attributes, HtmlText(text));
}

std::string ShortHash(const std::string& hash) {
  return hash.empty()
             ? ""
             : Element("code", Str("title=\"", HtmlText(hash), "\""), HtmlText(ShortId(hash)));
}

std::string Scroll(const std::string& inner) {
  return Str("<div class=\"scroll\">", inner, "</div>\n");
}

// "position cable, train length 64": a run's axes without its seed.
std::string PointName(const Json& axes) {
  std::vector<std::string> parts;
  for (const auto& [axis, value] : axes.items()) {
    if (axis == "seed") continue;
    const bool speaks = axis == "position" || axis == "dataset";
    parts.push_back(speaks ? AxisText(value) : Str(ShortAxis(axis), " ", AxisText(value)));
  }
  return Join(parts, ", ");
}

// ---- the sections -------------------------------------------------------------------------------

std::string Values(const std::vector<ReportRun>& runs, const char* axis) {
  std::vector<std::string> values;
  for (const ReportRun& run : runs) {
    const auto value = run.axes.find(axis);
    if (value == run.axes.end()) continue;
    const std::string text = AxisText(*value);
    if (std::ranges::find(values, text) == values.end()) values.push_back(text);
  }
  if (values.size() > kValuesShown) {
    const std::size_t n_more = values.size() - kValuesShown;
    values.resize(kValuesShown);
    values.push_back(Str(n_more, " more"));
  }
  return Join(values, ", ");
}

// The sweep's question, in its author's words or else from its matrix.
std::string Question(const ReportInput& input) {
  if (input.labels.is_object() && input.labels.contains("question")) {
    return input.labels.at("question").get<std::string>();
  }
  return Str("What happens when models with ", Values(input.runs, "position"),
             ", trained at length ", Values(input.runs, "train_length"), " on ",
             Values(input.runs, "dataset"), ", read texts of other lengths?");
}

std::string Head(const ReportInput& input) {
  const v1::SweepInfo& info = input.info;
  std::string summary = Str(info.state(), ": ", Counted(info.runs(), "run"), ", ",
                            info.tasks_succeeded(), " of ", Counted(info.tasks(), "task"), " done");
  if (info.tasks_failed() > 0) StrAppend(summary, Str(", ", info.tasks_failed(), " failed"));
  return Str(Text("h1", info.name()), "\n", Text("p", Question(input), "class=\"question\""), "\n",
             Text("p", summary, info.tasks_failed() > 0 ? "class=\"bad\"" : ""), "\n",
             Text("p",
                  Str("sweep ", info.sweep_id(), ", written ", input.made_at, " by longrun ",
                      input.made_by),
                  "class=\"faint\""),
             "\n");
}

std::string CellHtml(const PivotTable& table, const PivotCell& cell) {
  const CellParts parts = PartsOf(table, cell);
  std::string inner = HtmlText(parts.value);
  for (const std::string& error : parts.errors) {
    inner += Str("<span class=\"se\"> ± ", HtmlText(error), "</span>");
  }
  if (!parts.intervals.empty()) {
    inner += Text("span", Str(" (", Join(parts.intervals, ", "), ")"), "class=\"se\"");
  }
  if (!parts.note.empty()) StrAppend(inner, Str(" ", Text("span", parts.note, "class=\"se\"")));
  if (cell.is_like_window) inner += Text("span", "~", "class=\"se\"");
  if (cell.lacks_window) inner += Text("span", "?", "class=\"se\"");
  std::string classes = "n";
  if (cell.at_train_length) classes += " train";
  if (IsMarked(table, cell)) classes += " best";
  // The value to sort by, in JavaScript's spelling.
  std::string value;
  if (cell.value && !std::isnan(*cell.value)) {
    value = std::isfinite(*cell.value) ? Str(*cell.value)
            : *cell.value > 0          ? "Infinity"
                                       : "-Infinity";
  }
  return Element("td", Str("class=\"", classes, "\" data-v=\"", value, "\""), inner);
}

std::string TableLegend(const PivotTable& table) {
  const auto any = [&](bool PivotCell::*is) {
    return std::ranges::any_of(
        table.rows, [&](const PivotRow& row) { return std::ranges::any_of(row.cells, is); });
  };
  std::vector<std::string> sentences;
  if (any(&PivotCell::at_train_length)) {
    sentences.emplace_back("Shaded: the train length.");
  }
  if (any(&PivotCell::is_best)) sentences.push_back(Str("Green: ", MarkLegend(table), "."));
  const std::string window = WindowLegend(table);
  if (!window.empty()) sentences.push_back(Str("~ ", window, "."));
  const std::string no_window = NoWindowLegend(table);
  if (!no_window.empty()) sentences.push_back(Str("? ", no_window, "."));
  const std::string errors = CellLegend(table);
  if (!errors.empty()) sentences.push_back(Str(errors, "."));
  if (const std::string prompts = PromptsNote(table); !prompts.empty()) {
    sentences.push_back(Str("Note: ", prompts, "."));
  }
  const std::string few_seeds = FewSeedsNote(table);
  if (!few_seeds.empty()) sentences.push_back(Str("Note: ", few_seeds, "."));
  for (const std::string& note : ReasonNotes(table)) sentences.push_back(Str(note, "."));
  return Join(sentences, " ");
}

std::string TableHtml(const PivotTable& table) {
  std::string head;
  for (const std::string& axis : table.row_axes) head += Text("th", ShortAxis(axis));
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    head += Text("th", ColumnHead(table, c), "class=\"n\" scope=\"col\"");
  }
  std::string body;
  for (const PivotRow& row : table.rows) {
    std::string cells;
    for (const std::string& text : RowHead(table, row)) cells += Text("td", text);
    for (const PivotCell& cell : row.cells) cells += CellHtml(table, cell);
    body += Element("tr", row.baseline.empty() ? "" : "class=\"baseline\"", cells) + "\n";
  }
  // A heading above the scrolling part: a caption inside it would be cut on a narrow screen.
  return Text("h3", TableTitle(table)) +
         Scroll(Str("<table class=\"sortable results\" aria-label=\"", HtmlText(TableTitle(table)),
                    "\"><thead><tr>", head, "</tr></thead>\n<tbody>", body, "</tbody></table>")) +
         Text("p", TableLegend(table), "class=\"faint\"") + "\n";
}

// Instead of an empty frame, says which numbers are missing.
std::string Figure(const Plot& plot) {
  if (!HasPoints(plot)) {
    const std::vector<std::string> notes = NotesOf(plot);
    return Text("p",
                Str("There are no numbers to draw yet for ", plot.title, notes.empty() ? "" : ": ",
                    Join(notes, "; "), "."),
                "class=\"faint\"") +
           "\n";
  }
  return Str("<figure>", RenderSvg(LayOut(plot, kPlotWidth, kPlotHeight)), "</figure>\n");
}

// A map for each model that was asked at several depths; "" if there is none.
Result<std::string> DepthFigures(const std::vector<SweepResults>& measured) {
  const bool has_depths = std::ranges::any_of(measured, [](const SweepResults& results) {
    return std::ranges::any_of(results.rows, [](const ResultRow& row) {
      return row.body.metric == "recall" && row.body.depth.has_value();
    });
  });
  if (!has_depths) return std::string();
  ASSIGN_OR_RETURN(const PivotRequest request, ByDepth({}));
  ASSIGN_OR_RETURN(const std::vector<PivotTable> tables, BuildPivot(measured, request));
  ASSIGN_OR_RETURN(const std::vector<DepthMap> maps, DepthMapsOf(tables));
  std::string figures;
  for (const DepthMap& map : maps) {
    if (!HasNumbers(map)) continue;
    figures += Str("<figure>", RenderSvg(LayOut(map, kPlotWidth, kPlotHeight)), "</figure>\n");
  }
  return figures;
}

std::string Curves(const ReportInput& input) {
  std::string out;
  const auto add = [&](const std::vector<LossCurve>& curves, const char* title,
                       const char* y_label) {
    if (curves.empty()) return;
    Plot plot = PlotOfLosses(curves, title, "tokens trained on", y_label);
    ThinSeries(plot, kCurvePoints);
    out += Figure(plot);
  };
  add(input.losses, "training loss", "nats per token");
  add(input.validations, "validation loss", "nats per token");
  if (out.empty()) return Text("p", "No training step was stored yet.", "class=\"faint\"") + "\n";
  if (input.n_curves_left_out > 0) {
    out += Text("p",
                Str(Counted(input.n_curves_left_out, "more run"),
                    " not drawn here: `longrun plot` and the view `curves` show the curves."),
                "class=\"faint\"");
  }
  return out;
}

std::string ClaimHtml(const JudgedClaim& judged) {
  const std::string title = Text("h3", Str(VerdictWord(judged.verdict), ": ", judged.statement));
  if (!judged.error.empty()) return title + Text("p", judged.error, "class=\"bad\"") + "\n";
  std::string head, body;
  for (const std::string& text : ComparisonHeads(judged)) head += Text("th", text);
  for (const ClaimComparison& one : judged.comparisons) {
    std::string fields;
    for (const std::string& text : ComparisonFields(one)) fields += Text("td", text);
    body += Element("tr", "", fields) + "\n";
  }
  return title + Scroll(Str("<table aria-label=\"", HtmlText(judged.statement), "\"><thead><tr>",
                            head, "</tr></thead>\n<tbody>", body, "</tbody></table>"));
}

std::vector<std::pair<std::string, std::string>> OverridesIn(const Json& pairs) {
  std::vector<std::pair<std::string, std::string>> overrides;
  if (!pairs.is_array()) return overrides;
  for (const Json& pair : pairs) {
    overrides.emplace_back(pair.at(0).get<std::string>(), pair.at(1).get<std::string>());
  }
  return overrides;
}

// The section of the sweep's claims; "" if it has none.
std::string Claims(const ReportInput& input, const std::vector<SweepResults>& measured) {
  const Result<std::vector<Claim>> claims =
      SweepClaims(input.yaml, input.info.name(), OverridesIn(input.overrides));
  if (!claims.ok()) {
    return Str("<h2>Claims</h2>\n", Text("p", claims.status().message()), "\n");
  }
  if (claims->empty()) return "";
  const std::vector<JudgedClaim> judged = JudgeClaims(*claims, measured);
  std::string out = Str("<h2>Claims</h2>\n", Text("p", ClaimsSummary(judged)), "\n");
  for (const JudgedClaim& one : judged) out += ClaimHtml(one);
  return out;
}

std::string Failures(const ReportInput& input) {
  if (input.failures.empty()) {
    return Text("p", "None: no attempt failed.") + "\n";
  }
  std::map<std::string, std::string> names;
  for (const ReportRun& run : input.runs) names[run.run_key] = PointName(run.axes);
  std::string out;
  for (const ReportFailure& failure : input.failures) {
    const auto name = names.find(failure.run_key);
    out += Text("h3", Str(failure.kind, " task of run ", ShortId(failure.run_key), " (",
                          name != names.end() ? name->second : "", "), attempt ", failure.n, ": ",
                          failure.state,
                          failure.failure_class.empty() ? "" : Str(", ", failure.failure_class)));
    out += Text("p", failure.message.empty() ? "no message" : failure.message, "class=\"bad\"");
    out += Text("p", Str("attempt ", failure.attempt, " on ", failure.worker), "class=\"faint\"");
    if (!failure.log_tail.empty()) {
      out += Element("details", "",
                     Str("<summary>the end of its log</summary>", Text("pre", failure.log_tail)));
    }
    out += "\n";
  }
  const auto n_shown = static_cast<std::int64_t>(input.failures.size());
  if (input.n_failures > n_shown) {
    out += Text("p", Str("and ", input.n_failures - n_shown, " more: ",
                         "longrun query \"SELECT * FROM attempts WHERE failure_class <> ''\""));
  }
  return out;
}

// Each line once, with its values and how many runs have each.
std::string Provenance(const ReportInput& input) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<std::pair<std::string, int>>> values_of;
  int n_told = 0;
  const auto count = [&](const std::string& name, const std::string& value) {
    if (!values_of.contains(name)) names.push_back(name);
    auto& values = values_of[name];
    const auto found = std::ranges::find(values, value, &std::pair<std::string, int>::first);
    if (found == values.end()) {
      values.emplace_back(value, 1);
    } else {
      found->second += 1;
    }
  };
  for (const ReportRun& run : input.runs) {
    const std::vector<ProvenanceLine> lines = ProvenanceOf(run.started);
    n_told += lines.empty() ? 0 : 1;
    for (const auto& [name, value] : lines) {
      if (name != "dataset" && name != "seed" && name != "parameters") count(name, value);
    }
    count("dataset", Str(run.dataset, ", digest ", run.dataset_digest));
    count("seed", AxisText(run.seed));
  }
  std::string rows;
  for (const std::string& name : names) {
    const auto& values = values_of[name];
    std::string cell;
    for (std::size_t i = 0; i < values.size() && i < kValuesShown; ++i) {
      cell += HtmlText(values[i].first);
      if (values.size() > 1) {
        cell += Str(" <span class=\"se\">(", Counted(values[i].second, "run"), ")</span>");
      }
      cell += "<br>";
    }
    if (values.size() > kValuesShown) StrAppend(cell, Str(values.size() - kValuesShown, " more"));
    rows += Str("<tr>", Text("th", name, "scope=\"row\""), Element("td", "class=\"wrap\"", cell),
                "</tr>\n");
  }
  std::string out = Scroll(Str("<table class=\"provenance\"><tbody>", rows, "</tbody></table>"));
  if (n_told < static_cast<int>(input.runs.size())) {
    out += Text(
        "p",
        Str(static_cast<int>(input.runs.size()) - n_told, " of the runs have not started yet."),
        "class=\"faint\"");
  }
  return out;
}

std::string Runs(const ReportInput& input) {
  std::string rows;
  for (const ReportRun& run : input.runs) {
    rows += Str("<tr>", Element("td", "", ShortHash(run.run_key)), Text("td", PointName(run.axes)),
                Text("td", AxisText(run.seed), "class=\"n\""), Text("td", run.train_state),
                Element("td", "", ShortHash(run.dataset_digest)),
                Element("td", "", ShortHash(run.checkpoint)), "</tr>\n");
  }
  return Scroll(
      Str("<table class=\"sortable runs\"><thead><tr><th>run</th><th>point</th>"
          "<th class=\"n\">seed</th><th>training</th><th>dataset</th><th>weights</th></tr></thead>",
          "<tbody>", rows, "</tbody></table>"));
}

std::string Reproduction(const ReportInput& input) {
  const std::string& name = input.info.name();
  // A name is letters, digits, '.', '_' and '-', so it needs no quotes in a shell.
  std::string commands = Str("longrun submit ", name, ".yaml");
  if (input.overrides.is_array()) {
    for (const Json& one : input.overrides) {
      commands +=
          Str(" --set '", one.at(0).get<std::string>(), "=", one.at(1).get<std::string>(), "'");
    }
  }
  commands += Str("\nlongrun table ", name, "\n");
  if (!input.runs.empty()) {
    commands += Str("longrun reproduce ", ShortId(input.runs.front().run_key),
                    "   # only this run, with every value written out\n");
  }
  return Str(
      Text("p",
           "These commands run the sweep again with the file below. First register each dataset "
           "above under its name; its digest must be the same."),
      Text("pre", commands),
      Element("details", "", Str("<summary>the sweep file</summary>", Text("pre", input.yaml))),
      "\n");
}

std::string RawNumbers(const ReportInput& input, const std::vector<PivotTable>& tables) {
  Json runs = Json::array();
  for (const ReportRun& run : input.runs) {
    runs.push_back({{"run_key", run.run_key},
                    {"axes", run.axes},
                    {"dataset", run.dataset},
                    {"dataset_digest", run.dataset_digest},
                    {"seed", run.seed},
                    {"checkpoint", run.checkpoint},
                    {"started", run.started}});
  }
  const Json data = {{"sweep", ToJson(input.info)},
                     {"tables", TablesJson(tables)},
                     {"rows", ToJson(input.results.rows())},
                     {"runs", std::move(runs)}};
  return Str("<script type=\"application/json\" id=\"longrun-data\">", HtmlJson(data),
             "</script>\n");
}

}  // namespace

namespace {

// Perplexity first, then other metrics, such as the throughput of each direction. Tables by
// position have at most `buckets_max` buckets.
Result<std::vector<PivotTable>> ResultTables(const std::vector<SweepResults>& results,
                                             std::int64_t buckets_max) {
  PivotRequest request{.buckets_max = buckets_max,
                       .over_all_depths = true};  // maps have the depths
  ASSIGN_OR_RETURN(std::vector<PivotTable> tables, BuildPivot(results, request));
  const std::vector<ResultMetric> metrics = MetricsOf(SourcesOf(results));
  if (metrics.empty() || !metrics.front().is_nll()) return tables;  // `tables` has them all
  for (const ResultMetric& metric : metrics) {
    const bool is_there = metric.name == metrics.front().name;
    if (is_there || (metric.is_nll() && !metric.is_log)) continue;
    request.metrics = {metric.name};
    ASSIGN_OR_RETURN(std::vector<PivotTable> more, BuildPivot(results, request));
    std::ranges::move(more, std::back_inserter(tables));
  }
  return tables;
}

}  // namespace

Result<std::string> ReportPage(const ReportInput& input) {
  std::vector<SweepResults> measured;  // a list in braces would copy it
  measured.push_back(ReadResults(input.info.name(), input.results));
  ASSIGN_OR_RETURN(const std::vector<PivotTable> tables, ResultTables(measured, kBucketsShown));
  std::string results;
  for (const PivotTable& table : tables) results += TableHtml(table);
  if (!tables.empty()) {
    ASSIGN_OR_RETURN(const std::vector<PivotTable> drawn, ResultTables(measured, 0));
    ASSIGN_OR_RETURN(const std::vector<Plot> plots, PlotsOfTables(drawn));
    for (const Plot& plot : plots) results += Figure(plot);
    ASSIGN_OR_RETURN(const std::string maps, DepthFigures(measured));
    results += maps;
  } else {
    results = Text("p", "The sweep evaluates nothing: its file has no `evaluate`.");
  }
  const std::string policy =
      Str("default-src 'none'; style-src 'unsafe-inline'; script-src ", ScriptHash(kReportScript),
          "; base-uri 'none'; form-action 'none'");
  const std::string& name = input.info.name();
  return Str(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"",
      policy, "\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n",
      "<meta name=\"generator\" content=\"longrun\">\n", Text("title", name), "\n<style>",
      kReportStyle, "</style>\n</head>\n<body>\n<main>\n", Head(input), "<h2>Results</h2>\n",
      results, Claims(input, measured), "<h2>Training</h2>\n", Curves(input), "<h2>Failures</h2>\n",
      Failures(input), "<h2>Provenance</h2>\n", Provenance(input), "<h2>Runs</h2>\n", Runs(input),
      "<h2>Reproduction</h2>\n", Reproduction(input), "</main>\n", RawNumbers(input, tables),
      "<script>", kReportScript, "</script>\n</body>\n</html>\n");
}

}  // namespace longrun::client
