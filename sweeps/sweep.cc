// Parses a sweep file from text to runs; also the keys of tasks and cells.
#include "sweeps/sweep.h"

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "base/str.h"
#include "base/utf8.h"
#include "sweeps/claim.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"
#include "sweeps/limits.h"
#include "sweeps/schema.h"
#include "sweeps/spec.h"

namespace longrun {
namespace {

// In the order of the file, each once.
std::vector<std::string> LinesOf(std::vector<Problem> problems, std::string_view file_name,
                                 const Overrides& overrides) {
  std::ranges::sort(problems);
  problems.erase(std::unique(problems.begin(), problems.end()), problems.end());
  std::vector<std::string> lines;
  for (const Problem& problem : problems) {
    if (lines.size() == kErrorsMax) {
      lines.push_back("and more: the first 50 are shown");
      break;
    }
    const Place& place = problem.place;
    if (place.source == 0) {
      lines.push_back(
          OneLine(Str(file_name, ":", place.line, ":", place.column, ": ", problem.message)));
    } else {
      const auto& [path, value] = overrides[static_cast<std::size_t>(place.source) - 1];
      lines.push_back(OneLine(Str("--set ", path, "=", CutAt(value, 60), ": ", problem.message)));
    }
  }
  return lines;
}

}  // namespace

Status ToStatus(std::vector<Problem> problems, std::string_view file_name,
                const Overrides& overrides) {
  return Status(Code::kInvalidArgument,
                Join(LinesOf(std::move(problems), file_name, overrides), "\n"));
}

Result<Sweep> ParseSweep(std::string_view yaml, std::string_view file_name,
                         const Overrides& overrides, const DatasetCatalogue& datasets) {
  return ParseSweepOf(SweepOrigin::kSubmitted, yaml, file_name, overrides, datasets);
}

Result<Sweep> ParseSweepOf(SweepOrigin origin, std::string_view yaml, std::string_view file_name,
                           const Overrides& overrides, const DatasetCatalogue& datasets) {
  if (overrides.size() > kOverridesMax) {
    return Status(Code::kInvalidArgument,
                  Str("found ", overrides.size(), " overrides (--set); at most ", kOverridesMax,
                      " are allowed"));
  }
  std::vector<Problem> problems;
  std::optional<YamlNode> root = ParseYaml(yaml, /*source=*/0, problems);
  if (!root) {
    const auto empty = std::ranges::find(problems, kEmptyText, &Problem::message);
    if (empty != problems.end()) {
      empty->message =
          "the file is empty: a sweep file has `apiVersion: longrun/v1`, `kind: Sweep`, `metadata: "
          "{name: ...}`, and the experiment below `spec`; README.md has a short one to start from";
    }
    return ToStatus(std::move(problems), file_name, overrides);
  }
  const std::size_t n_of_file = problems.size();
  ApplyOverrides(overrides, *root, problems);
  const bool are_set = problems.size() == n_of_file;
  SweepSpec spec = ReadSweep(*root, datasets, problems);
  spec.origin = origin;
  std::vector<Problem> notes;
  std::vector<PlannedRun> runs;
  if (spec.is_complete && are_set) runs = ExpandSweep(spec, problems, notes);
  if (!are_set) {
    // Without a value that could not be set, the file may seem to have mistakes that it has not.
    const auto begin = problems.begin() + static_cast<std::ptrdiff_t>(n_of_file);
    const auto is_of_file = [](const Problem& one) { return one.place.source == 0; };
    problems.erase(std::remove_if(begin, problems.end(), is_of_file), problems.end());
  }
  if (!problems.empty()) return ToStatus(std::move(problems), file_name, overrides);

  const Json& metadata = spec.document["metadata"];
  const Json& body = spec.document["spec"];
  Sweep sweep;
  sweep.name = metadata["name"].get<std::string>();
  for (const auto& [key, value] : metadata["labels"].items()) {
    sweep.labels[key] = value.get<std::string>();
  }
  sweep.export_to = metadata["export"].get<std::string>();
  sweep.yaml = yaml;
  sweep.file_name = file_name;
  sweep.overrides = overrides;
  for (const Axis& axis : spec.axes) sweep.axes.push_back(axis.name);
  sweep.runs = std::move(runs);
  sweep.devices = body["resources"]["devices"];
  sweep.device_kind = body["resources"]["kind"].get<DeviceChoice>();
  sweep.retry = {.failures_max = body["retry"]["failures_max"],
                 .losses_max = body["retry"]["losses_max"]};
  sweep.priority = body["priority"];
  sweep.checkpoint_every_ms = body["train"]["checkpoint"]["every"];
  sweep.checkpoint_keep = body["train"]["checkpoint"]["keep"];
  sweep.activation_checkpointing = body["train"]["activation_checkpointing"];
  sweep.notes = LinesOf(std::move(notes), file_name, overrides);
  return sweep;
}

Result<std::vector<Claim>> SweepClaims(std::string_view yaml, std::string_view file_name,
                                       const Overrides& overrides) {
  std::vector<Problem> problems;
  std::optional<YamlNode> root = ParseYaml(yaml, /*source=*/0, problems);
  std::vector<Claim> claims;
  if (root) {
    ApplyOverrides(overrides, *root, problems);
    claims = ReadClaims(*root, problems);
  }
  if (!problems.empty()) return ToStatus(std::move(problems), file_name, overrides);
  return claims;
}

std::string SweepExport(std::string_view yaml, const Overrides& overrides) {
  std::vector<Problem> problems;
  std::optional<YamlNode> root = ParseYaml(yaml, /*source=*/0, problems);
  if (!root) return Sweep().export_to;
  ApplyOverrides(overrides, *root, problems);
  const YamlNode::Entry* const metadata = root->Find("metadata");
  const YamlNode::Entry* const wanted =
      metadata == nullptr ? nullptr : metadata->value.Find("export");
  return wanted == nullptr ? Sweep().export_to : wanted->value.text;
}

namespace {

// As keys have it.
Json ExtensionIn(const Json& evaluation) {
  const Json extension = ExtensionOf(evaluation);
  return extension.is_null() ? Json(kNoExtension) : extension;
}

}  // namespace

EvaluationText::EvaluationText(const Json& with_extension)
    : evaluation(CanonicalJson(WithDigestOnly(WithoutExtension(with_extension)))),
      extension(CanonicalJson(ExtensionIn(with_extension))) {}

// Keys are made of canonical JSON that is written by hand: a large sweep has hundreds of thousands.
std::string TrainTaskKey(const std::string& run_key) {
  return Sha256Hex(Str("{\"kind\":\"train\",\"run_key\":", CanonicalJson(run_key), "}"));
}

std::string EvaluateTaskKey(const std::string& run_key, const EvaluationText& text,
                            const std::vector<ExpectedCell>& cells) {
  std::set<std::string> ids;  // the variants of a cell share its id
  for (const ExpectedCell& cell : cells) ids.insert(cell.cell);
  return Sha256Hex(Str("{\"cells\":", CanonicalJson(ids), ",\"evaluation\":", text.evaluation,
                       ",\"extension\":", text.extension,
                       ",\"kind\":\"evaluate\",\"run_key\":", CanonicalJson(run_key), "}"));
}

std::string CellKey(const std::string& run_key, const EvaluationText& text,
                    std::int64_t context_length) {
  return Sha256Hex(Str("{\"context_length\":", context_length, ",\"evaluation\":", text.evaluation,
                       ",\"extension\":", text.extension, ",\"run_key\":", CanonicalJson(run_key),
                       "}"));
}

}  // namespace longrun
