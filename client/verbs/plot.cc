// longrun plot SWEEP...: a metric by context length, training curves, or recall by depth and
// context length; in the terminal, as SVG, as PNG.
#include "client/plots/plot.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/files.h"
#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/console/output_file.h"
#include "client/plots/depth_map.h"
#include "client/plots/depth_map_text.h"
#include "client/plots/drawing.h"
#include "client/plots/picture_file.h"
#include "client/plots/plot_curves.h"
#include "client/plots/plot_layout.h"
#include "client/plots/plot_losses.h"
#include "client/plots/plot_size.h"
#include "client/plots/plot_text.h"
#include "client/tables/pivot.h"
#include "client/tables/pivot_arguments.h"
#include "client/tables/pivot_axes.h"
#include "client/tables/pivot_filter.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/joined.h"
#include "client/words/render.h"
#include "client/words/submission.h"

namespace longrun::client {
namespace {

constexpr int kPictureWidth = 800;
constexpr int kPictureHeight = 480;
constexpr int kTextWidth = 80;
// The series of a training, as the trainer records them.
constexpr std::string_view kValLoss = "val_loss";
constexpr std::string_view kPadding = "padding";
constexpr std::string_view kSeries[] = {"grad_norm", "loss",         "lr",
                                        kPadding,    "tokens_per_s", kValLoss};
constexpr std::size_t kNotesMax = 5;  // at most so many curves without numbers are named

struct PlotArguments {
  std::shared_ptr<PivotArguments> pivot;
  std::string what = "results";
  std::string x = "tokens";
  std::string output = "text";
  std::string size;
  bool ascii = false;
};

// The parts of a series' name: the run's axes that differ between the runs, without the seed.
std::vector<std::string> CurveName(const RunRef& run, const std::vector<RunRef>& runs,
                                   const std::vector<std::string>& axes) {
  std::vector<std::string> parts;
  for (const std::string& axis : axes) {
    if (axis == "seed") continue;
    const Json value = RunValue(run, axis);
    const bool varies = std::ranges::any_of(
        runs, [&](const RunRef& other) { return RunValue(other, axis) != value; });
    if (!varies || value.is_null()) continue;
    std::string words = ShortAxis(axis);
    std::ranges::replace(words, '_', ' ');
    parts.push_back(value.is_number() ? Str(words, " ", AxisText(value)) : AxisText(value));
  }
  if (!parts.empty()) return parts;
  const Json position = RunValue(run, "position");
  return {position.is_null() ? ShortId(run.run_key()) : AxisText(position)};
}

// Adds the unit of a trainer's curve if its name does not say it.
std::string WithUnit(const std::string& metric) {
  if (metric == "loss" || metric == "val_loss") return metric + " (nats per token)";
  return metric == kPadding ? "padding (share of a step's tokens)" : metric;
}

Result<LossCurve> AskCurve(RetryingClient& client, const RunRef& run, const std::string& metric,
                           bool by_tokens) {
  ASSIGN_OR_RETURN(const v1::GetSeriesResponse series, client.GetSeries(run.run_key(), metric));
  const std::optional<double> batch_tokens = BatchTokens(run.run->resolved);
  if (!batch_tokens) return LossCurve();
  return CurveOf(series, by_tokens ? *batch_tokens : 1.0);
}

// The curves of those runs of the sweeps that the filters keep.
Result<std::vector<Plot>> LossPlots(const PlotArguments& arguments, const PivotRequest& request,
                                    const std::string& state) {
  RetryingClient client(state);
  ASSIGN_OR_RETURN(const std::vector<SweepResults> results,
                   AskResults(client, arguments.pivot->sweeps));
  const std::vector<RunRef> all = RunRefsOf(results);
  const std::vector<std::string> axes = MatrixAxes(results, all);
  ASSIGN_OR_RETURN(const std::vector<RunRef> runs, RunsWhere(all, axes, request.where));
  if (runs.empty()) {
    return Status(Code::kInvalidArgument, Str("--where leaves no run: `longrun get ",
                                              arguments.pivot->sweeps.front(), "` shows them"));
  }
  const std::string metric = request.metrics.empty() ? "loss" : request.metrics.front();
  if (std::ranges::find(kSeries, metric) == std::end(kSeries)) {
    return Status(Code::kInvalidArgument,
                  Str("--metric ", metric, ": the training curves are ",
                      Join({std::begin(kSeries), std::end(kSeries)}, ", ")));
  }
  const bool by_tokens = arguments.x == "tokens";
  std::vector<LossCurve> curves;
  curves.reserve(runs.size());
  for (const RunRef& run : runs) {
    ASSIGN_OR_RETURN(LossCurve curve, AskCurve(client, run, metric, by_tokens));
    const std::vector<std::string> name = CurveName(run, runs, axes);
    curve.name = JoinLabels(name);
    curve.group = name.front();
    curves.push_back(std::move(curve));
  }
  const bool validates = std::ranges::any_of(runs, [](const RunRef& run) {
    const Json& train = run.run->resolved.value("train", Json::object());
    return train.contains("validate") && !train.at("validate").is_null();
  });
  if (metric == kValLoss && !validates) {
    return Status(Code::kInvalidArgument,
                  "no run measures val_loss: `train.validate` in the sweep file turns it on");
  }
  const bool pads = std::ranges::any_of(runs, [](const RunRef& run) {
    return run.run->resolved.value("train", Json::object()).contains("samples");
  });
  if (metric == kPadding && !pads) {
    return Status(Code::kInvalidArgument,
                  "no run pads its samples: only `train.samples: documents` and "
                  "`documents_with_bos` do");
  }
  return std::vector<Plot>{
      PlotOfLosses(curves, Str(metric, " in training (", Join(arguments.pivot->sweeps, ", "), ")"),
                   by_tokens ? "tokens trained on" : "optimiser step", WithUnit(metric))};
}

Result<std::vector<Plot>> ResultPlots(const PlotArguments& arguments, const PivotRequest& request,
                                      const std::string& state) {
  RetryingClient client(state);
  ASSIGN_OR_RETURN(const std::vector<SweepResults> results,
                   AskResults(client, arguments.pivot->sweeps));
  PivotRequest shown = request;
  shown.over_all_depths = true;  // a curve for each depth would hide the others
  ASSIGN_OR_RETURN(const std::vector<PivotTable> tables, BuildPivot(results, shown));
  return PlotsOfTables(tables);
}

Result<std::vector<DepthMap>> DepthMaps(const PlotArguments& arguments, PivotRequest request,
                                        const std::string& state) {
  ASSIGN_OR_RETURN(request, ByDepth(std::move(request)));
  RetryingClient client(state);
  ASSIGN_OR_RETURN(const std::vector<SweepResults> results,
                   AskResults(client, arguments.pivot->sweeps));
  ASSIGN_OR_RETURN(const std::vector<PivotTable> tables, BuildPivot(results, request));
  ASSIGN_OR_RETURN(std::vector<DepthMap> maps, DepthMapsOf(tables));
  if (maps.empty()) {
    return Status(Code::kInvalidArgument,
                  Str("no ", request.metrics.front(), " of ", Join(arguments.pivot->sweeps, ", "),
                      " was measured by depth: the evaluation `needle` measures recall by depth"));
  }
  return maps;
}

std::string TextOf(const std::vector<DepthMap>& maps, const PlotArguments& /*arguments*/,
                   const PlotSize& size, bool to_stdout) {
  DepthTextStyle style{.width = kTextWidth};
  winsize window = {};
  if (to_stdout && OnTerminal() && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 &&
      window.ws_col > 0) {
    style.width = window.ws_col;
  }
  if (size.width > 0) style.width = size.width;
  style.colour = to_stdout && UseColour();
  std::string out;
  for (const DepthMap& map : maps) {
    if (!out.empty()) out += "\n";
    out += RenderDepthText(map, style);
  }
  return out;
}

std::string TextOf(const std::vector<Plot>& plots, const PlotArguments& arguments,
                   const PlotSize& size, bool to_stdout) {
  const PlotTextStyle style = TextStyleFor(size, arguments.ascii, to_stdout);
  std::string out;
  for (const Plot& plot : plots) {
    if (!out.empty()) out += "\n";
    out += RenderPlotText(plot, style);
  }
  return out;
}

Json JsonOf(const Plot& plot) { return PlotJson(plot); }
Json JsonOf(const DepthMap& map) { return DepthMapJson(map); }

// FILE.svg for one plot; FILE-1.svg, FILE-2.svg, ... for several.
std::string FileOf(const std::string& output, std::size_t plot, std::size_t n_plots) {
  if (n_plots == 1) return output;
  const std::size_t dot = output.rfind('.');
  return Str(output.substr(0, dot), "-", plot + 1, output.substr(dot));
}

// `Picture`: Plot or DepthMap.
template <typename Picture>
Status WritePictures(const std::vector<Picture>& plots, const std::string& output,
                     const PlotSize& size) {
  for (std::size_t i = 0; i < plots.size(); ++i) {
    const Drawing drawing = LayOut(plots[i], size.width > 0 ? size.width : kPictureWidth,
                                   size.height > 0 ? size.height : kPictureHeight);
    ASSIGN_OR_RETURN(const std::string bytes, RenderPicture(drawing, output));
    const std::string file = FileOf(output, i, plots.size());
    RETURN_IF_ERROR(WriteOutputFile(file, bytes));
    std::fprintf(stderr, "%s: %s\n", file.c_str(), drawing.title.c_str());
  }
  return {};
}

template <typename Picture>
Status WriteOutput(const std::vector<Picture>& plots, const PlotArguments& arguments,
                   const PlotSize& size) {
  const std::string& output = arguments.output;
  if (output == "text") {
    Print(TextOf(plots, arguments, size, true));
    return {};
  }
  if (output == "json") {
    Json list = Json::array();
    for (const Picture& plot : plots) list.push_back(JsonOf(plot));
    Print(RenderJson(list));
    return {};
  }
  if (output.ends_with(".txt")) {
    return WriteOutputFile(output, TextOf(plots, arguments, size, false));
  }
  return WritePictures(plots, output, size);
}

// Explains why there is nothing to draw: the sweep is over, or no curve has numbers yet.
template <typename Picture>
int NothingToDraw(const std::vector<Picture>& plots, const std::vector<std::string>& sweeps,
                  const std::string& state) {
  std::vector<std::string> states;
  states.reserve(sweeps.size());
  RetryingClient client(state);
  for (const std::string& sweep : sweeps) {
    const Result<v1::GetSweepResponse> answer = client.GetSweep(sweep);
    if (!answer.ok()) return Report(answer.status());
    states.push_back(answer->info().state());
  }
  const int code = SweepExitCode(states);
  if (plots.empty()) {
    SayLine(EvaluatesNothing(Join(sweeps, ", ")));
    return code == kExitOk ? static_cast<int>(kExitFailed) : code;
  }
  if (code != kExitIncomplete) {
    std::fprintf(stderr,
                 "longrun: there are no numbers to draw: %s is %s, so there will be no more\n",
                 Join(sweeps, ", ").c_str(), Join(states, ", ").c_str());
    return code == kExitOk ? static_cast<int>(kExitFailed) : code;
  }
  std::fprintf(stderr, "longrun: there are no numbers to draw yet\n");
  std::vector<std::string> notes;
  for (const Picture& plot : plots) std::ranges::move(NotesOf(plot), std::back_inserter(notes));
  const std::size_t n_told = std::min(notes.size(), kNotesMax);
  for (std::size_t i = 0; i < n_told; ++i) std::fprintf(stderr, "  %s\n", notes[i].c_str());
  if (n_told < notes.size()) {
    std::fprintf(stderr, "  and %zu more curves\n", notes.size() - n_told);
  }
  return kExitIncomplete;
}

bool HasNumbers(const Plot& plot) { return HasPoints(plot); }

template <typename Picture>
int Draw(const Result<std::vector<Picture>>& plots, const PlotArguments& arguments,
         const PlotSize& size, const std::string& state) {
  if (!plots.ok()) return Report(plots.status());
  const bool has_numbers =
      std::ranges::any_of(*plots, [](const Picture& plot) { return HasNumbers(plot); });
  if (!has_numbers) return NothingToDraw(*plots, arguments.pivot->sweeps, state);
  const Status written = WriteOutput(*plots, arguments, size);
  return written.ok() ? static_cast<int>(kExitOk) : Report(written);
}

int DrawPlots(const PlotArguments& arguments, const std::string& state) {
  const std::string& output = arguments.output;
  const bool is_known =
      output == "text" || output == "json" || IsPictureFile(output) || output.ends_with(".txt");
  if (!is_known) {
    return Report(
        Status(Code::kInvalidArgument,
               Str("-o \"", output,
                   "\": expected text, json, or a file that ends in .svg, .png, .pdf or .txt")));
  }
  const Result<PlotSize> size =
      ReadPlotSize(arguments.size, !IsPictureFile(output)      ? kSmallestText
                                   : arguments.what == "depth" ? kSmallestDepthMap
                                                               : kSmallestPlot);
  if (!size.ok()) return Report(size.status());
  const Result<PivotRequest> request = ReadPivotRequest(*arguments.pivot);
  if (!request.ok()) return Report(request.status());
  if (arguments.what == "depth") {
    return Draw(DepthMaps(arguments, *request, state), arguments, *size, state);
  }
  return Draw(arguments.what == "loss" ? LossPlots(arguments, *request, state)
                                       : ResultPlots(arguments, *request, state),
              arguments, *size, state);
}

}  // namespace

void AddPlot(Verbs& verbs) {
  Verb verb = verbs.AddVerb("plot", "draw perplexity by context length, or training curves");
  verb.AddExamples({"longrun plot my-sweep", "longrun plot my-sweep -o curves.svg",
                    "longrun plot my-sweep -o paper.pdf",
                    "longrun plot my-sweep --metric nll_by_position",
                    "longrun plot my-sweep --what loss --where position=rope -o loss.png",
                    "longrun plot my-sweep --what depth -o recall.svg"});
  auto arguments = std::make_shared<PlotArguments>();
  arguments->pivot = AddPivot(verb);
  verb.AddArgument("--what", arguments->what,
                   "results: numbers by context length; loss: training curves (--metric val_loss, "
                   "lr, ... names\nanother); depth: recall by depth and context length")
      .OneOf({"results", "loss", "depth"})
      .ShowDefault();
  verb.AddArgument("--x", arguments->x, "x axis of training curves: tokens | step")
      .OneOf({"tokens", "step"})
      .ShowDefault();
  verb.AddArgument("-o,--output", arguments->output,
                   "text | json | FILE.svg | FILE.png | FILE.pdf | FILE.txt")
      .ShowDefault();
  verb.AddArgument("--size", arguments->size,
                   "size of a picture in pixels (default: 800x480), or of a text in characters "
                   "(default: 80x20)");
  verb.AddFlag("--ascii", arguments->ascii, "plain ASCII text without Braille");
  verb.SetRun([&verbs, arguments] { return DrawPlots(*arguments, verbs.state); });
}

}  // namespace longrun::client
