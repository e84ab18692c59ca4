// longrun attention THING: the attention of a trained model, from the artifacts of the evaluation
// attention_map or a file of `longrun-trainer attention`; in the terminal, as PNG,
// as SVG, or as numbers.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/console/output_file.h"
#include "client/plots/drawing.h"
#include "client/plots/heat_map.h"
#include "client/plots/heat_map_text.h"
#include "client/plots/picture_file.h"
#include "client/plots/plot_size.h"
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
  std::string bytes;  // of the artifact; empty for a local file
  bool is_difference = false;
};

struct MapArtifact {
  AttentionMapName name;
  Json extension = nullptr;    // resolved; null: none
  std::string extension_name;  // as in tables
  std::string dataset;         // that was read; "": the run's own
  std::string file_name;
  std::string sha256;
};

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
bool IsExtension(const MapArtifact& map, const std::string& wanted) {
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

// Subtracts the map of the same text, with the same parameters, under the extension that `minus`
// names. Returns the end of a title.
Result<std::string> Subtract(RetryingClient& client, const std::vector<MapArtifact>& maps,
                             const MapArtifact& chosen, const std::string& minus, FoundMap& found) {
  std::vector<MapArtifact> same_text;
  std::optional<Status> why;
  for (const MapArtifact& other : maps) {
    const bool is_same_text =
        other.name.context_length == chosen.name.context_length &&
        other.name.document == chosen.name.document && other.name.split == chosen.name.split &&
        other.name.values == chosen.name.values && other.dataset == chosen.dataset;
    if (!is_same_text || other.extension == chosen.extension) continue;
    same_text.push_back(other);
    if (!IsExtension(other, minus)) continue;
    std::string bytes;
    ASSIGN_OR_RETURN(const AttentionMap map, Fetch(client, other, bytes));
    Result<AttentionMap> difference = AttentionDifference(found.map, map);
    if (!difference.ok()) {
      why = difference.status();
      continue;
    }
    found.map = std::move(difference).value();
    found.is_difference = true;
    return Str(", minus the map ", other.extension.is_null() ? "without an extension"
                                                             : Str("under ", other.extension_name));
  }
  if (why) return std::move(*why).In(Str("--minus ", minus));
  return Status(Code::kNotFound,
                Str("--minus ", minus, ": there is no such map of the same text; ",
                    same_text.empty() ? "all others are of other texts, lengths or values"
                                      : Str("there are ", Listed(same_text))));
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
  std::string minus;
  if (!arguments.minus.empty()) {
    ASSIGN_OR_RETURN(minus, Subtract(client, maps, chosen, arguments.minus, found));
  }
  const Json position = RunValue(ref, "position");
  found.title =
      Str("Attention of ", position.is_null() ? Label(found.map, "method") : AxisText(position),
          ", trained at ", ref.train_length,
          chosen.extension.is_null() ? "" : Str(", under ", chosen.extension_name), minus);
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
  if (arguments.thing.ends_with(".safetensors")) {
    FoundMap found;
    ASSIGN_OR_RETURN(found.map, ReadAttentionMap(arguments.thing));
    const std::string model = Label(found.map, "model"), method = Label(found.map, "method");
    found.title = Str("Attention of ", model.empty() ? BaseName(arguments.thing) : model,
                      method.empty() ? "" : Str(" (", method, ")"));
    if (const std::string document = Label(found.map, "document"); !document.empty()) {
      found.origin.push_back(Str("document ", document, " of ", Label(found.map, "split")));
    }
    if (arguments.minus.empty()) return found;
    ASSIGN_OR_RETURN(const AttentionMap other, ReadAttentionMap(arguments.minus));
    ASSIGN_OR_RETURN(found.map, AttentionDifference(found.map, other));
    found.is_difference = true;
    StrAppend(found.title, Str(", minus that of ", BaseName(arguments.minus)));
    return found;
  }
  RetryingClient client(state);
  ASSIGN_OR_RETURN(const ResultRun run, FindRun(client, arguments.thing));
  return FindInRun(client, run, arguments);
}

HeatMap HeatOf(FoundMap found, const AttentionArguments& arguments) {
  const std::int64_t train_length =
      arguments.train_length > 0 ? arguments.train_length : found.train_length;
  std::vector<std::string> subtitle = std::move(found.origin);
  subtitle.push_back(Counted(found.map.n_tokens, "token"));
  subtitle.push_back(Averaged(found.map));
  HeatMap heat =
      MakeHeatMap(std::move(found.map),
                  arguments.pool_by == "max" ? AttentionMap::Pool::kMax : AttentionMap::Pool::kMean,
                  train_length, found.is_difference);
  heat.title = found.title;
  heat.subtitle = {Join(subtitle, " · ")};
  return heat;
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

Status WritePicture(const HeatMap& heat, const std::string& output, const PlotSize& size) {
  const Drawing drawing = LayOut(heat, size.width > 0 ? size.width : kPictureWidth,
                                 size.height > 0 ? size.height : kPictureHeight);
  ASSIGN_OR_RETURN(const std::string bytes, RenderPicture(drawing, output));
  RETURN_IF_ERROR(WriteOutputFile(output, bytes));
  std::fprintf(stderr, "%s: %s\n", output.c_str(), heat.title.c_str());
  return {};
}

Status Draw(const AttentionArguments& arguments, const std::string& state) {
  const std::string& output = arguments.output;
  const bool as_it_is = output.ends_with(".safetensors");
  const bool is_known = output == "text" || output == "json" || IsPictureFile(output) ||
                        output.ends_with(".txt") || as_it_is;
  if (!is_known) {
    return Status(Code::kInvalidArgument,
                  Str("-o \"", output,
                      "\": expected text, json, or a file that ends in .svg, .png, .pdf, .txt "
                      "or .safetensors"));
  }
  ASSIGN_OR_RETURN(const PlotSize size, ReadPlotSize(arguments.size));
  ASSIGN_OR_RETURN(FoundMap found, FindMap(arguments, state));
  if (as_it_is) {
    if (found.is_difference) {
      return Status(
          Code::kInvalidArgument,
          Str("-o \"", output, "\": a difference was not measured; write json, or a picture"));
    }
    if (found.bytes.empty()) {
      return Status(Code::kInvalidArgument, Str("-o \"", output, "\": ", arguments.thing,
                                                " is already a file of this kind: copy it"));
    }
    return WriteOutputFile(output, found.bytes);
  }
  const HeatMap heat = HeatOf(std::move(found), arguments);
  if (output == "text") {
    Print(TextOf(heat, arguments, size, true));
    return {};
  }
  if (output == "json") {
    Print(RenderJson(HeatMapJson(heat)));
    return {};
  }
  if (output.ends_with(".txt")) {
    return WriteOutputFile(output, TextOf(heat, arguments, size, false));
  }
  return WritePicture(heat, output, size);
}

}  // namespace

void AddAttention(Verbs& verbs) {
  Verb verb = verbs.AddVerb("attention", "show a trained model's averaged attention as a heat map");
  verb.AddExamples({"longrun attention 1f2e3d4c", "longrun attention 1f2e3d4c -o map.png",
                    "longrun attention 1f2e3d4c --context-length 64 --document 0 -o map.svg",
                    "longrun attention 1f2e3d4c --extension gali --minus none -o difference.svg"});
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
      "draw the difference; if THING is a file, give another file to subtract");
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
          "text | json | FILE.svg | FILE.png | FILE.pdf | FILE.txt | FILE.safetensors (as it was "
          "measured)")
      .ShowDefault();
  verb.AddArgument("--size", arguments->size,
                   Str("size of a picture in pixels (default: ", kPictureWidth, "x", kPictureHeight,
                       "); of a text, only the width is used, in characters"));
  verb.AddFlag("--ascii", arguments->ascii, "plain ASCII text without colours");
  verb.SetRun([&verbs, arguments] {
    const Status status = Draw(*arguments, verbs.state);
    return status.ok() ? static_cast<int>(kExitOk) : Report(status);
  });
}

}  // namespace longrun::client
