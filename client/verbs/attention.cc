// longrun attention THING: the attention of a trained model, from the artifacts of the evaluation
// attention_map or a file of `longrun-trainer attention`: the map itself, or a view of it
// (client/plots/attention_view.h); in the terminal, as PNG, as SVG, or as numbers.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/console/output_file.h"
#include "client/plots/attention_view.h"
#include "client/plots/bar_chart.h"
#include "client/plots/bar_chart_text.h"
#include "client/plots/drawing.h"
#include "client/plots/heat_map.h"
#include "client/plots/heat_map_text.h"
#include "client/plots/map_file.h"
#include "client/plots/picture_file.h"
#include "client/plots/plot.h"
#include "client/plots/plot_layout.h"
#include "client/plots/plot_size.h"
#include "client/plots/plot_text.h"
#include "client/tables/pivot_axes.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "model/evaluation/attention_map.h"
#include "model/extension/extension.h"
#include "sweeps/extended.h"

namespace longrun::client {
namespace {

constexpr int kPictureWidth = 760;
constexpr int kPictureHeight = 750;
constexpr std::size_t kRunDigitsMin = 8;  // a shorter word can only be a sweep's name
constexpr std::size_t kListedMax = 12;
constexpr std::string_view kMapView = "map";
constexpr int kPlotWidth = 800;  // of the other views
constexpr int kPlotHeight = 480;
// Enough for a map of 32768 tokens with a cell for each pair.
constexpr std::int64_t kMapBytesMax = std::int64_t{5} << 30;

struct AttentionArguments {
  std::string thing;
  std::int64_t context_length = 0;  // 0: the longest
  std::int64_t document = -1;       // -1: the first
  std::string split;
  std::string values;
  std::string extension;
  std::string minus;
  std::string name;
  std::string view = std::string(kMapView);
  std::vector<std::string> rows;
  std::int64_t every = 0;  // 0: the view chooses
  std::int64_t train_length = 0;
  std::string pool_by = "mean";
  std::string output = "text";
  std::string size;
  bool ascii = false;
};

// A map and its origin.
struct FoundMap {
  AttentionMap map;
  std::string title;
  std::vector<std::string> origin;  // parts of the subtitle
  std::int64_t train_length = 0;
  std::string bytes;                        // of the artifact; empty for a local file
  std::optional<ViewedMap> reference = {};  // of --minus
  std::string reference_extension = {};     // if it is a map of the run
  std::vector<ViewedMap> viewed = {};       // by a view: maps of one text
};

struct MapArtifact {
  AttentionMapName name;
  Json extension = nullptr;    // resolved; null: none
  std::string extension_name;  // as in tables
  std::string dataset;         // that was read; "": the run's own
  std::string file_name;
  std::string sha256;
};

bool IsMapFile(const std::string& name) { return name.ends_with(".safetensors"); }

std::string Label(const AttentionMap& map, const std::string& key) {
  const auto found = map.labels.find(key);
  return found == map.labels.end() ? "" : Printable(found->second);
}

// ---- extensions ---------------------------------------------------------------------------------

// From the column of results.
Result<Json> ExtensionIn(const Json& column) {
  if (!column.is_string()) return Json();
  return ParseJson(column.get_ref<const std::string&>());
}

// ---- a run's maps -------------------------------------------------------------------------------

Result<std::vector<MapArtifact>> MapsOfRun(RetryingClient& client, const std::string& run_key,
                                           std::int64_t train_length) {
  LR_CHECK(IsSha256Hex(run_key));
  const std::string of_run = Str(" WHERE run_key = '", run_key, "'");
  ASSIGN_OR_RETURN(
      const v1::QueryResponse answer,
      client.Query(Str("SELECT DISTINCT name, sha256, extension, evaluated_dataset FROM"
                       " artifacts JOIN (SELECT DISTINCT attempt, extension,"
                       " evaluated_dataset FROM results",
                       of_run, ") USING (attempt)", of_run,
                       " AND name LIKE 'attention-%' ORDER BY name")));
  const Json rows = JsonIn(answer.rows_json());
  std::vector<MapArtifact> maps;
  for (const Json& row : rows) {
    const auto file_name = row.at(0).get<std::string>();
    std::optional<AttentionMapName> name = AttentionMapName::Parse(file_name);
    if (!name) continue;
    ASSIGN_OR_RETURN(Json extension, ExtensionIn(row.at(2)));
    std::string extension_name = ExtensionText(NameOfExtension(extension, train_length));
    maps.push_back({.name = std::move(*name),
                    .extension = std::move(extension),
                    .extension_name = std::move(extension_name),
                    .dataset = row.at(3).is_string() ? row.at(3).get<std::string>() : "",
                    .file_name = file_name,
                    .sha256 = row.at(1).get<std::string>()});
  }
  // The default choice comes first.
  std::ranges::stable_sort(maps, {}, [](const MapArtifact& map) {
    return std::tuple(!map.extension.is_null(), map.dataset, map.name.values == "logits",
                      -map.name.context_length, map.name.document, map.name.split != "validation",
                      map.name.tag);
  });
  return maps;
}

// Whether a person means the map's extension: by its method, or by its name or its name with all
// parameters, whose last parameters may be left out.
bool IsExtension(const MapArtifact& map, std::string wanted) {
  std::erase(wanted, ' ');  // tables write "gali(chunk=96, window=8)", too
  if (wanted == map.extension_name.substr(0, map.extension_name.find('('))) return true;
  const auto is_beginning_of = [&wanted](const std::string& name) {
    const auto open = [](const std::string& text) {
      return text.ends_with(")") ? text.substr(0, text.size() - 1) : text;
    };
    return open(name) == open(wanted) || name.starts_with(Str(open(wanted), ","));
  };
  return is_beginning_of(map.extension_name) ||
         is_beginning_of(ExtensionText(NameOfExtension(map.extension, /*trained_length=*/0)));
}

std::string Listed(const std::vector<MapArtifact>& maps) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(maps.size(), kListedMax); ++i) {
    names.push_back(Str(maps[i].file_name,
                        maps[i].dataset.empty() ? "" : Str(" on ", maps[i].dataset),
                        maps[i].extension.is_null() ? "" : Str(" under ", maps[i].extension_name)));
  }
  if (maps.size() > kListedMax) names.push_back(Str("and ", maps.size() - kListedMax, " more"));
  return Join(names, ", ");
}

bool IsWanted(const MapArtifact& map, const AttentionArguments& wanted) {
  return (wanted.context_length == 0 || map.name.context_length == wanted.context_length) &&
         (wanted.document < 0 || map.name.document == wanted.document) &&
         (wanted.split.empty() || map.name.split == wanted.split) &&
         (wanted.values.empty() || map.name.values == wanted.values) &&
         (wanted.extension.empty() || IsExtension(map, wanted.extension)) &&
         (wanted.name.empty() || map.file_name == wanted.name);
}

bool IsSameText(const MapArtifact& a, const MapArtifact& b) {
  return a.name.context_length == b.name.context_length && a.name.document == b.name.document &&
         a.name.split == b.name.split && a.name.values == b.name.values && a.dataset == b.dataset;
}

Result<MapArtifact> ChooseMap(const std::vector<MapArtifact>& maps,
                              const AttentionArguments& arguments, const std::string& run) {
  if (maps.empty()) {
    return Status(Code::kNotFound,
                  Str("run ", run,
                      " has no attention map: add `- attention_map: {context_lengths: [...]}` to "
                      "spec.evaluate of its sweep and submit the sweep again; if you have done "
                      "so already, wait for the map (`longrun watch`)"));
  }
  std::vector<MapArtifact> wanted;
  std::ranges::copy_if(maps, std::back_inserter(wanted),
                       [&](const MapArtifact& map) { return IsWanted(map, arguments); });
  if (wanted.empty()) {
    return Status(Code::kNotFound,
                  Str("run ", run, " has no such attention map; its maps are ", Listed(maps)));
  }
  if (arguments.view != kMapView) {
    // A view shows them beside each other.
    const MapArtifact first = wanted.front();
    std::erase_if(wanted, [&first](const MapArtifact& map) {
      return map.sha256 != first.sha256 && IsSameText(map, first);
    });
  }
  if (wanted.size() > 1) {
    std::fprintf(stderr,
                 "showing %s, one of %zu maps of run %s; choose another with --context-length, "
                 "--document, --split, --values, --extension or --name (%s)\n",
                 wanted.front().file_name.c_str(), wanted.size(), run.c_str(),
                 Listed({wanted.begin() + 1, wanted.end()}).c_str());
  }
  return wanted.front();
}

Result<AttentionMap> MapOfBytes(const std::string& bytes, const std::string& name) {
  const TempFolder folder("longrun-attention");
  const std::string path = JoinPath(folder.path(), name);
  RETURN_IF_ERROR(WriteFileAtomic(path, bytes));
  return ReadAttentionMap(path);
}

Result<AttentionMap> Fetch(RetryingClient& client, const MapArtifact& artifact,
                           std::string& bytes) {
  ASSIGN_OR_RETURN(bytes,
                   client.coordinator().connection().Download(artifact.sha256, kMapBytesMax));
  return MapOfBytes(bytes, artifact.file_name);
}

std::string ExtensionWords(const MapArtifact& map) {
  return map.extension.is_null() ? "the map without an extension"
                                 : Str("the map under ", map.extension_name);
}

Result<ViewedMap> ReferenceFile(const std::string& path) {
  ASSIGN_OR_RETURN(AttentionMap map, ReadAttentionMap(path));
  return ViewedMap{.name = Str("that of ", BaseName(path)), .map = std::move(map)};
}

// Finds the map that --minus names, with which `found` can be compared: a file, or the run's map of
// the same text, with the same parameters, under an extension.
Status FindReference(RetryingClient& client, const std::vector<MapArtifact>& maps,
                     const MapArtifact& chosen, const AttentionArguments& arguments,
                     FoundMap& found) {
  const std::string& minus = arguments.minus;
  if (IsMapFile(minus)) {
    ASSIGN_OR_RETURN(found.reference, ReferenceFile(minus));
    return {};
  }
  std::vector<MapArtifact> same_text;
  std::optional<Status> why;
  for (const MapArtifact& other : maps) {
    // A map minus itself shows nothing; a view may compare others with the map that was found.
    const bool is_itself = arguments.view == kMapView && other.extension == chosen.extension;
    if (!IsSameText(other, chosen) || is_itself) continue;
    same_text.push_back(other);
    if (!IsExtension(other, minus)) continue;
    std::string bytes;
    ASSIGN_OR_RETURN(AttentionMap map, Fetch(client, other, bytes));
    const Status comparable = AttentionDifference(found.map, map).status();
    if (comparable.ok()) {
      found.reference = ViewedMap{.name = ExtensionWords(other), .map = std::move(map)};
      found.reference_extension = other.extension_name;
      return {};
    }
    why = comparable;
  }
  if (why) return std::move(*why).In(Str("--minus ", minus));
  return Status(Code::kNotFound,
                Str("--minus ", minus, ": there is no such map of the same text; ",
                    same_text.empty() ? "all others are of other texts, lengths or values"
                                      : Str("there are ", Listed(same_text))));
}

// What a view shows beside each other: the map that was found and, unless the command line chose
// it, those of the same text under the run's other extensions with the same parameters. Without the
// reference.
Status FindViewed(RetryingClient& client, const std::vector<MapArtifact>& maps,
                  const MapArtifact& chosen, const AttentionArguments& arguments, FoundMap& found) {
  std::set<std::string> seen = {found.reference_extension};
  if (seen.insert(chosen.extension_name).second) {
    found.viewed.push_back({.name = chosen.extension_name, .map = found.map});
  }
  const bool is_chosen = !arguments.extension.empty() || !arguments.name.empty();
  for (const MapArtifact& other : maps) {
    if (is_chosen || !IsSameText(other, chosen) || seen.contains(other.extension_name)) continue;
    std::string bytes;
    ASSIGN_OR_RETURN(AttentionMap map, Fetch(client, other, bytes));
    if (!AttentionDifference(found.map, map).ok()) continue;
    seen.insert(other.extension_name);
    found.viewed.push_back({.name = other.extension_name, .map = std::move(map)});
  }
  if (!found.viewed.empty()) return {};
  return Status(Code::kNotFound, Str("--minus ", arguments.minus,
                                     ": there is no other map of this text to compare it with"));
}

Result<FoundMap> FindInRun(RetryingClient& client, const ResultRun& run,
                           const AttentionArguments& arguments) {
  const std::string& run_key = run.run_key;
  const RunRef ref = MakeRunRef("", run);
  ASSIGN_OR_RETURN(const std::vector<MapArtifact> maps,
                   MapsOfRun(client, run_key, ref.train_length));
  ASSIGN_OR_RETURN(const MapArtifact chosen, ChooseMap(maps, arguments, ShortId(run_key)));
  FoundMap found;
  ASSIGN_OR_RETURN(found.map, Fetch(client, chosen, found.bytes));
  found.train_length = ref.train_length;
  if (!arguments.minus.empty()) {
    RETURN_IF_ERROR(FindReference(client, maps, chosen, arguments, found));
  }
  const bool is_view = arguments.view != kMapView;
  if (is_view) RETURN_IF_ERROR(FindViewed(client, maps, chosen, arguments, found));
  const Json position = RunValue(ref, "position");
  found.title =
      Str("Attention of ", position.is_null() ? Label(found.map, "method") : AxisText(position),
          ", trained at ", ref.train_length,
          chosen.extension.is_null() || is_view ? "" : Str(", under ", chosen.extension_name));
  found.origin = {Str("run ", ShortId(run_key)),
                  Str("document ", chosen.name.document, " of ", chosen.name.split, " (",
                      chosen.dataset.empty() ? ref.dataset() : chosen.dataset, ")")};
  return found;
}

// Finds a run by its id, or the only run of a sweep.
Result<ResultRun> FindRun(RetryingClient& client, const std::string& thing) {
  const bool may_be_run = thing.size() >= kRunDigitsMin;
  if (may_be_run) {
    Result<v1::GetRunResponse> run = client.GetRun(thing);
    if (run.ok()) return ReadResultRun(run->run());
    if (run.status().code() != Code::kNotFound) return run.status();
  }
  const Result<v1::GetSweepResponse> sweep = client.GetSweep(thing);
  if (!sweep.ok()) {
    const bool is_neither = may_be_run && sweep.status().code() == Code::kNotFound;
    return Status(sweep.status().code(),
                  Str(sweep.status().message(), is_neither ? "; and there is no such run" : ""));
  }
  if (sweep->runs_size() == 1) return ReadResultRun(sweep->runs(0));
  const auto n_runs = static_cast<std::size_t>(sweep->runs_size());
  std::vector<std::string> names;
  for (const v1::RunInfo& info : sweep->runs()) {
    if (names.size() == kListedMax) break;
    const ResultRun run = ReadResultRun(info);
    const RunRef ref = MakeRunRef("", run);
    names.push_back(Str(ShortId(ref.run_key()), " (", AxisText(RunValue(ref, "position")), ", ",
                        ref.train_length, ")"));
  }
  if (n_runs > kListedMax) names.push_back(Str("and ", n_runs - kListedMax, " more"));
  return Status(Code::kInvalidArgument,
                Str("sweep \"", thing, "\" has ", n_runs,
                    " runs, but a map shows only one; name one of ", Join(names, ", ")));
}

// ---- drawing ------------------------------------------------------------------------------------

std::string Averaged(const AttentionMap& map) {
  const auto counted = [](const std::vector<std::int64_t>& indices, std::string_view what) {
    if (indices.size() == 1) return Str(what, " ", indices.front());
    return Counted(static_cast<std::int64_t>(indices.size()), what);
  };
  return Str("mean over ", counted(map.layers, "layer"), " and ", counted(map.heads, "head"),
             map.n_texts > 1 ? Str(" of ", map.n_texts, " texts") : "");
}

Result<FoundMap> FindMap(const AttentionArguments& arguments, const std::string& state) {
  if (IsMapFile(arguments.thing)) {
    FoundMap found;
    ASSIGN_OR_RETURN(found.map, ReadAttentionMap(arguments.thing));
    const std::string model = Label(found.map, "model"), method = Label(found.map, "method");
    found.title = Str("Attention of ", model.empty() ? BaseName(arguments.thing) : model,
                      method.empty() ? "" : Str(" (", method, ")"));
    if (const std::string document = Label(found.map, "document"); !document.empty()) {
      found.origin.push_back(Str("document ", document, " of ", Label(found.map, "split")));
    }
    const std::string extension = Label(found.map, "extension");
    found.viewed = {
        {.name = extension.empty() ? BaseName(arguments.thing) : extension, .map = found.map}};
    if (arguments.minus.empty()) return found;
    ASSIGN_OR_RETURN(found.reference, ReferenceFile(arguments.minus));
    return found;
  }
  RetryingClient client(state);
  ASSIGN_OR_RETURN(const ResultRun run, FindRun(client, arguments.thing));
  return FindInRun(client, run, arguments);
}

std::int64_t TrainLength(const FoundMap& found, const AttentionArguments& arguments) {
  return arguments.train_length > 0 ? arguments.train_length : found.train_length;
}

std::vector<std::string> Origin(const FoundMap& found) {
  std::vector<std::string> origin = found.origin;
  origin.push_back(Counted(found.map.n_tokens, "token"));
  origin.push_back(Averaged(found.map));
  return origin;
}

HeatMap HeatOf(FoundMap found, const AttentionArguments& arguments) {
  const std::vector<std::string> subtitle = Origin(found);
  const std::int64_t train_length = TrainLength(found, arguments);
  HeatMap heat =
      MakeHeatMap(std::move(found.map),
                  arguments.pool_by == "max" ? AttentionMap::Pool::kMax : AttentionMap::Pool::kMean,
                  train_length, found.reference.has_value());
  heat.title = found.title;
  heat.subtitle = {Join(subtitle, " · ")};
  return heat;
}

// Puts the difference from the reference in the place of the map.
Status Subtract(FoundMap& found) {
  if (!found.reference) return {};
  ASSIGN_OR_RETURN(found.map, AttentionDifference(found.map, found.reference->map));
  StrAppend(found.title, Str(", minus ", found.reference->name));
  return {};
}

std::string TextOf(const HeatMap& heat, const AttentionArguments& arguments, const PlotSize& size,
                   bool to_stdout) {
  HeatTextStyle style;
  winsize window = {};
  if (to_stdout && OnTerminal() && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 &&
      window.ws_col > 0) {
    style.width = std::clamp<int>(window.ws_col - 10, 16, 96);
  }
  if (size.width > 0) style.width = size.width;
  style.ascii = arguments.ascii || (to_stdout && !LocaleIsUtf8());
  style.colour = to_stdout && UseColour() && !style.ascii;
  return RenderHeatText(heat, style);
}

std::string TextOf(const Plot& plot, const AttentionArguments& arguments, const PlotSize& size,
                   bool to_stdout) {
  return RenderPlotText(plot, TextStyleFor(size, arguments.ascii, to_stdout));
}

std::string TextOf(const BarChart& chart, const AttentionArguments& arguments, const PlotSize& size,
                   bool to_stdout) {
  const PlotTextStyle style = TextStyleFor(size, arguments.ascii, to_stdout);
  return RenderBarText(
      chart, {.width = style.width, .ascii = style.ascii, .colour = style.colour && !style.ascii});
}

int HeightOf(const Plot&) { return kPlotHeight; }
int HeightOf(const BarChart& chart) { return std::max(kPlotHeight, HeightFor(chart)); }

Json JsonOf(const HeatMap& heat) { return HeatMapJson(heat); }
Json JsonOf(const Plot& plot) { return PlotJson(plot); }
Json JsonOf(const BarChart& chart) { return BarChartJson(chart); }

// `Picture`: HeatMap, Plot or BarChart, which is drawn at `width` x `height` unless --size says
// otherwise.
template <typename Picture>
Status WriteOutput(const Picture& picture, int width, int height,
                   const AttentionArguments& arguments, const PlotSize& size) {
  const std::string& output = arguments.output;
  if (output == "text") {
    Print(TextOf(picture, arguments, size, true));
    return {};
  }
  if (output == "json") {
    Print(RenderJson(JsonOf(picture)));
    return {};
  }
  if (output.ends_with(".txt")) {
    return WriteOutputFile(output, TextOf(picture, arguments, size, false));
  }
  const Drawing drawing =
      LayOut(picture, size.width > 0 ? size.width : width, size.height > 0 ? size.height : height);
  ASSIGN_OR_RETURN(const std::string bytes, RenderPicture(drawing, output));
  RETURN_IF_ERROR(WriteOutputFile(output, bytes));
  std::fprintf(stderr, "%s: %s\n", output.c_str(), picture.title.c_str());
  return {};
}

Status WriteAsItIs(const FoundMap& found, const AttentionArguments& arguments) {
  const std::string& output = arguments.output;
  if (found.reference) {
    return Status(
        Code::kInvalidArgument,
        Str("-o \"", output, "\": a difference was not measured; write json, .npy, or a picture"));
  }
  if (found.bytes.empty()) {
    return Status(Code::kInvalidArgument, Str("-o \"", output, "\": ", arguments.thing,
                                              " is already a file of this kind: copy it"));
  }
  return WriteOutputFile(output, found.bytes);
}

Status DrawMap(FoundMap found, const AttentionArguments& arguments, const PlotSize& size) {
  const std::string& output = arguments.output;
  if (IsMapFile(output)) return WriteAsItIs(found, arguments);
  RETURN_IF_ERROR(Subtract(found));
  if (output.ends_with(".npy")) return WriteOutputFile(output, AttentionMapNpy(found.map));
  const HeatMap heat = HeatOf(std::move(found), arguments);
  if (output.ends_with(".csv")) return WriteOutputFile(output, HeatMapCsv(heat));
  return WriteOutput(heat, kPictureWidth, kPictureHeight, arguments, size);
}

// ---- views --------------------------------------------------------------------------------------

// Refuses options that the view would ignore.
Status CheckView(const AttentionView& view, const AttentionArguments& arguments) {
  const auto refused = [&view](std::string_view option) {
    std::vector<std::string> takers;
    for (const AttentionView* other : AttentionViews()) {
      const bool takes = option == "--row" ? other->takes_queries : other->takes_every;
      if (takes) takers.emplace_back(other->name);
    }
    return Status(Code::kInvalidArgument, Str(option, ": --view ", view.name,
                                              " has no use for it, only ", Join(takers, " and ")));
  };
  if (!arguments.rows.empty() && !view.takes_queries) return refused("--row");
  if (arguments.every > 0 && !view.takes_every) return refused("--every");
  if (view.needs_reference && arguments.minus.empty()) {
    return Status(Code::kInvalidArgument,
                  Str("--view ", view.name,
                      " needs --minus: the extension with whose map the others "
                      "are compared, such as none, or a file"));
  }
  return {};
}

Result<std::vector<std::int64_t>> QueriesOf(const AttentionArguments& arguments) {
  std::vector<std::int64_t> queries;
  for (const std::string& text : arguments.rows) {
    const Result<std::int64_t> query = ParseCount(text);
    if (!query.ok()) return query.status().In("--row");
    queries.push_back(*query);
  }
  return queries;
}

Status DrawView(const AttentionView& view, const FoundMap& found,
                const AttentionArguments& arguments, const PlotSize& size) {
  ASSIGN_OR_RETURN(std::vector<std::int64_t> queries, QueriesOf(arguments));
  std::vector<std::string> origin = Origin(found);
  origin.insert(origin.begin(), found.title);
  const AttentionViewInput input = {.maps = found.viewed,
                                    .reference = found.reference,
                                    .queries = std::move(queries),
                                    .every = arguments.every,
                                    .origin = Join(origin, ", "),
                                    .train_length = TrainLength(found, arguments)};
  ASSIGN_OR_RETURN(const AttentionPicture picture, view.draw(input));
  return std::visit(
      [&](const auto& shown) {
        return WriteOutput(shown, kPlotWidth, HeightOf(shown), arguments, size);
      },
      picture);
}

Status Draw(const AttentionArguments& arguments, const std::string& state) {
  const std::string& output = arguments.output;
  const AttentionView* const view = FindAttentionView(arguments.view);  // null: the map itself
  const bool is_picture =
      output == "text" || output == "json" || IsPictureFile(output) || output.ends_with(".txt");
  const bool is_map = IsMapFile(output) || output.ends_with(".npy") || output.ends_with(".csv");
  if (!is_picture && (view != nullptr || !is_map)) {
    return Status(
        Code::kInvalidArgument,
        Str("-o \"", output, "\": expected text, json, or a file that ends in .svg, .png, ",
            view != nullptr ? ".pdf or .txt" : ".pdf, .txt, .csv, .npy or .safetensors"));
  }
  if (view != nullptr) {
    RETURN_IF_ERROR(CheckView(*view, arguments));
  } else if (!arguments.rows.empty() || arguments.every > 0) {
    return Status(Code::kInvalidArgument, Str(arguments.rows.empty() ? "--every" : "--row",
                                              ": the map shows all queries; choose a --view"));
  }
  ASSIGN_OR_RETURN(const PlotSize size,
                   ReadPlotSize(arguments.size, !IsPictureFile(output) ? kSmallestText
                                                : view == nullptr      ? kSmallestHeatMap
                                                                       : kSmallestPlot));
  ASSIGN_OR_RETURN(FoundMap found, FindMap(arguments, state));
  return view != nullptr ? DrawView(*view, found, arguments, size)
                         : DrawMap(std::move(found), arguments, size);
}

std::vector<std::string> ViewNames() {
  std::vector<std::string> names = {std::string(kMapView)};
  for (const AttentionView* view : AttentionViews()) names.emplace_back(view->name);
  return names;
}

std::string ViewMeaning() {
  std::string text = "what to draw; map: the whole map";
  for (const AttentionView* view : AttentionViews()) {
    StrAppend(text, Str("; ", view->name, ": ", view->meaning));
  }
  return text;
}

}  // namespace

void AddAttention(Verbs& verbs) {
  Verb verb = verbs.AddVerb(
      "attention",
      "show a trained model's averaged attention as a heat map, or what follows from it");
  verb.AddExamples({"longrun attention 1f2e3d4c", "longrun attention 1f2e3d4c -o map.png",
                    "longrun attention 1f2e3d4c --context-length 64 --document 0 -o map.svg",
                    "longrun attention 1f2e3d4c --extension gali --minus none -o difference.svg",
                    "longrun attention 1f2e3d4c --view distance --minus none",
                    "longrun attention 1f2e3d4c --view row --row 63 -o row.svg"});
  const auto arguments = std::make_shared<AttentionArguments>();
  verb.AddArgument("THING", arguments->thing,
                   "a run's id (8 digits or more), a sweep that has only one run, or a "
                   "FILE.safetensors that `longrun-trainer attention` wrote")
      .Required();
  verb.AddArgument("--context-length", arguments->context_length,
                   "context length of the map (default: the longest)")
      .AtLeast(1);
  verb.AddArgument(
          "--document", arguments->document,
          "number of the document in its split, counted from 0 (default: the first with a map)")
      .AtLeast(0);
  verb.AddArgument("--split", arguments->split, "split of the document")
      .OneOf({"train", "validation", "test"});
  verb.AddArgument(
          "--values", arguments->values,
          "what the map shows (default: probabilities if the run has such a map, else logits)")
      .OneOf({"probabilities", "logits"});
  verb.AddArgument(
      "--extension", arguments->extension,
      "extension with which the model read the text, such as none, yarn or \"yarn(factor=4)\"");
  verb.AddArgument(
      "--minus", arguments->minus,
      "subtract the map of the same text under this extension (none: without an extension), and "
      "draw the difference; or a file with the map to subtract");
  verb.AddArgument("--view", arguments->view, ViewMeaning()).OneOf(ViewNames()).ShowDefault();
  verb.AddArgument("--row", arguments->rows,
                   "for the views row and box: the queries to show, counted from 0, as in 63,127")
      .SplitAt(',');
  verb.AddArgument("--every", arguments->every,
                   "for the view entropy: a point for each N queries (default: about 64 points)")
      .Placeholder("N")
      .AtLeast(1);
  verb.AddArgument("--name", arguments->name,
                   "file name of the map, if the other options do not identify it");
  verb.AddArgument("--train-length", arguments->train_length,
                   "train length to mark with a line (default: the run's)")
      .AtLeast(1);
  verb.AddArgument(
          "--pool-by", arguments->pool_by,
          "how to combine the token pairs that share one cell of the picture; only for maps with "
          "more than 512 tokens, where a cell covers several pairs")
      .OneOf({"mean", "max"})
      .ShowDefault();
  verb.AddArgument(
          "-o,--output", arguments->output,
          "text | json | FILE.svg | FILE.png | FILE.pdf | FILE.txt; of a map also FILE.csv (its "
          "cells as in the picture), FILE.npy (all its numbers, for NumPy) or FILE.safetensors (as "
          "it was measured)")
      .ShowDefault();
  verb.AddArgument("--size", arguments->size,
                   Str("size of a picture in pixels (default: ", kPictureWidth, "x", kPictureHeight,
                       ", of other views ", kPlotWidth, "x", kPlotHeight,
                       "); of a text, only the width is used, in characters"));
  verb.AddFlag("--ascii", arguments->ascii, "plain ASCII text without colours");
  verb.SetRun([&verbs, arguments] {
    const Status status = Draw(*arguments, verbs.state);
    return status.ok() ? static_cast<int>(kExitOk) : Report(status);
  });
}

}  // namespace longrun::client
