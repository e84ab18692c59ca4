// See submit.h.
#include "coordinator/rpc/submit.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "base/access.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/str.h"
#include "coordinator/one_line.h"
#include "coordinator/plan.h"
#include "coordinator/prompts.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/kept_files.h"
#include "coordinator/rpc/parents.h"
#include "coordinator/rpc/plan.h"
#include "coordinator/rpc/planned.h"
#include "coordinator/rpc/refresh.h"
#include "coordinator/rpc/views.h"
#include "sweeps/limits.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kFileNameBytesMax = 4096;
// As many as one step of the core takes, which then holds up all others for some 50 ms.
constexpr std::size_t kRunsOfStep = 250;

std::vector<std::pair<std::string, std::string>> Overrides(
    const google::protobuf::RepeatedPtrField<v1::Override>& overrides) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const v1::Override& one : overrides) pairs.emplace_back(one.path(), one.value());
  return pairs;
}

// Checks the file name and overrides, which are stored with the sweep and shown in messages.
Status CheckFile(const std::string& file_name,
                 const google::protobuf::RepeatedPtrField<v1::Override>& overrides) {
  if (!IsShortLine(file_name, kFileNameBytesMax)) {
    return Status(Code::kInvalidArgument,
                  Str("the sweep file's name has ", file_name.size(), " bytes: expected at most ",
                      kFileNameBytesMax, ", without control characters: rename the file"));
  }
  std::size_t n_bytes = 0;
  for (const v1::Override& one : overrides) n_bytes += one.path().size() + one.value().size();
  if (n_bytes > kSweepBytesMax) {
    return Status(Code::kInvalidArgument, Str("the overrides have ", n_bytes, " bytes: at most ",
                                              kSweepBytesMax, " are allowed"));
  }
  return Status();
}

// The sweep of a request's file.
template <typename Request>
Result<Sweep> SweepOf(Call& call, const std::vector<DatasetRow>& datasets, const Request& request) {
  RETURN_IF_ERROR(CheckFile(request.file_name(), request.overrides()));
  ASSIGN_OR_RETURN(Sweep sweep,
                   ParseSweep(request.yaml(), request.file_name(), Overrides(request.overrides()),
                              Catalogue(datasets, call.parts.core, call.reader)));
  std::ranges::move(MeasurePrompts(datasets, sweep), std::back_inserter(sweep.notes));
  return sweep;
}

// Those of the sweep's runs that are stored.
Result<std::set<std::string>> KnownRuns(Core& core, const Sweep& sweep) {
  std::set<std::string> known_runs;
  const std::span<const PlannedRun> runs = sweep.runs;
  for (std::size_t begin = 0; begin < runs.size(); begin += kRunsOfStep) {
    RETURN_IF_ERROR(core.LookAndWait([&](const State& state) {
      for (const PlannedRun& run :
           runs.subspan(begin, std::min(kRunsOfStep, runs.size() - begin))) {
        const auto known = state.runs.find(run.run_key);
        if (known != state.runs.end() && !known->second.damaged) known_runs.insert(run.run_key);
      }
    }));
  }
  return known_runs;
}

// A large submission goes in parts, so that others need not wait for all of it.
Result<StepResult> Submit(Core& core, SweepSubmitted event) {
  const std::optional<std::size_t> n_tasks =
      event.sweep.runs.size() > kRunsOfStep ? TasksOfParts(event) : std::nullopt;
  bool in_parts = false;
  if (n_tasks) {
    RETURN_IF_ERROR(core.LookAndWait(
        [&](const State& state) { in_parts = MaySubmitInParts(state, event, *n_tasks); }));
  }
  StepResult result = in_parts ? core.SubmitInParts(InParts(std::move(event), kRunsOfStep))
                               : core.PostAndWait(std::move(event));
  RETURN_IF_ERROR(result.status);
  return result;
}

}  // namespace

Status PlanSweep(Call& call, const v1::PlanSweepRequest& request, v1::PlanSweepResponse* response) {
  call.error.subject = request.file_name();
  Failpoint("plan_begins");
  const std::vector<DatasetRow> datasets = call.parts.core.datasets();
  ASSIGN_OR_RETURN(const Sweep sweep,
                   call.WithReason("SWEEP_INVALID", SweepOf(call, datasets, request)));
  if (request.with_rows()) {
    FillAsked(sweep, response->mutable_asked());
    RETURN_IF_ERROR(FillAncestors(call.reader, response->mutable_asked()));
  } else {
    for (std::string& note : call.parts.overlaps.Notes(datasets, sweep))
      response->add_notes(std::move(note));
  }
  ASSIGN_OR_RETURN(auto known_cells, call.reader.CellOwners(sweep));
  Refresh refresh;
  if (request.refresh_errors()) {
    ASSIGN_OR_RETURN(refresh, FindRefresh(call, known_cells));
  }
  ASSIGN_OR_RETURN(const bool is_remote, IsRemote(call));
  return FillPlan(call.parts.core, call.reader, is_remote, sweep, std::move(known_cells),
                  request.refresh_errors() ? &refresh : nullptr, response);
}

Status SubmitSweep(Call& call, SeededRandom& random, const v1::SubmitSweepRequest& request,
                   v1::SubmitSweepResponse* response) {
  call.error.subject = request.file_name();
  RETURN_IF_ERROR(call.WithReason("DISK_LOW", call.parts.core.CheckDiskSpace()));
  const std::vector<DatasetRow> datasets = call.parts.core.datasets();
  ASSIGN_OR_RETURN(Sweep sweep, call.WithReason("SWEEP_INVALID", SweepOf(call, datasets, request)));
  ASSIGN_OR_RETURN(const Principal caller, CallerOf(call.parts.access, *call.context));
  const bool is_sent = caller.kind != Principal::Kind::kLocal;
  NewlyKept kept;
  RETURN_IF_ERROR(call.WithReason("SWEEP_INVALID",
                                  KeepNamedFiles(call, sweep, is_sent ? caller.Name() : "", kept)));
  for (const std::string& note : sweep.notes) response->add_notes(note);
  for (std::string& note : call.parts.overlaps.Notes(datasets, sweep))
    response->add_notes(std::move(note));
  for (std::string& problem : DatasetProblems(sweep, datasets, is_sent)) {
    response->add_notes(std::move(problem));
  }
  SweepSubmitted event;
  for (const DatasetRow& dataset : datasets) {
    event.dataset_paths[dataset.info.name] = dataset.folder;
  }
  // Submissions run one at a time, on the submitter's thread: the same file submitted twice at once
  // is one sweep. What can be computed here does not hold up the core.
  ASSIGN_OR_RETURN(const std::set<std::string> known_runs, KnownRuns(call.parts.core, sweep));
  event.texts = TextsOf(sweep, known_runs);
  ASSIGN_OR_RETURN(event.known_cells, call.reader.CellOwners(sweep, &event.unrecorded_cells));
  Refresh refresh;
  if (request.refresh_errors()) {
    ASSIGN_OR_RETURN(refresh, FindRefresh(call, event.known_cells));
    event.stale = refresh.stale;
  }
  ASSIGN_OR_RETURN(event.sweep_id, call.reader.SameSweep(sweep.name, event.texts.digest));
  response->set_created(event.sweep_id.empty());
  if (event.sweep_id.empty()) event.sweep_id = MakeUlid(WallMs(), random);
  response->set_sweep_id(event.sweep_id);
  response->set_name(sweep.name);
  event.sweep = std::move(sweep);
  event.first = request.first();
  // Only the coordinator's own user can open its socket.
  event.owner = is_sent ? caller.Name() : OwnUserName();
  bool was_paused = false;
  RETURN_IF_ERROR(call.parts.core.LookAndWait(
      [&](const State& state) { was_paused = state.paused_sweeps.contains(event.sweep_id); }));
  ASSIGN_OR_RETURN(const StepResult result, Submit(call.parts.core, std::move(event)));
  kept.Stay();
  if (was_paused) {
    response->add_notes(Str(response->name(), " was paused, and this submission has resumed it"));
  }
  Failpoint("submission_before_answer");
  FillCounts(result.submit, response->mutable_counts());
  if (request.refresh_errors()) FillRefresh(refresh, result.refreshed, response->mutable_refresh());
  response->set_disk_bytes(result.submit.checkpoint_bytes);
  const Result<std::int64_t> disk_free_bytes = call.parts.core.FreeDiskBytes();
  if (disk_free_bytes.ok())
    response->set_disk_free_bytes(*disk_free_bytes);  // otherwise left unset
  const std::string& id = response->sweep_id();
  RETURN_IF_ERROR(call.parts.core.LookAndWait(
      [&](const State& state) { response->set_finished(!IsActiveSweep(state, id)); }));
  return FillActive(call.parts.core, call.reader, "", id, response->mutable_others());
}

}  // namespace longrun::coordinator
