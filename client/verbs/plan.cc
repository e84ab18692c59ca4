// longrun plan FILE: what a submission would do and cost.
#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/str.h"
#include "base/units.h"
#include "client/claims/judge.h"
#include "client/claims/power.h"
#include "client/claims/sweep_claims.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/tables/sweep_results.h"
#include "client/verb.h"
#include "client/wire/context.h"
#include "client/wire/retrying_client.h"
#include "client/words/no_service.h"
#include "client/words/render.h"
#include "client/words/run_limit.h"
#include "client/words/submission.h"
#include "client/words/sweep_file.h"
#include "client/words/sweep_view.h"
#include "client/words/waiting_line.h"
#include "sweeps/claim.h"

namespace longrun::client {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string AxesText(const v1::PlannedRunInfo& run) {
  const Json axes = JsonIn(run.axes_json());
  std::vector<std::string> parts;
  for (const auto& [axis, value] : axes.items()) {
    parts.push_back(Str(ShortAxis(axis), "=", AxisText(value)));
  }
  return Join(parts, " ");
}

std::string FlopsText(double flops) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", flops);
  return text;
}

std::string SecondsText(double seconds) {
  return FormatDurationMs(seconds < 10 ? static_cast<std::int64_t>(seconds * 1000)
                                       : static_cast<std::int64_t>(seconds) * 1000);
}

bool HasTime(const v1::TimeEstimate& time) { return time.n() > 0; }

// "41s (33s to 52s)"
std::string TimeText(const v1::TimeEstimate& time) {
  if (!HasTime(time)) return "not measured yet";
  return EstimateText(SecondsText(time.likely_s()), SecondsText(time.low_s()),
                      SecondsText(time.high_s()));
}

bool IsToTrain(const v1::PlannedRunInfo& run) {
  return run.training() == "to_do" || run.training() == "under_way";
}

bool HasWork(const v1::PlannedRunInfo& run) {
  return IsToTrain(run) || run.cells_missing() + run.cells_under_way() + run.cells_refreshed() > 0;
}

double WorkFlops(const v1::PlannedRunInfo& run) {
  return run.evaluate_flops() + (IsToTrain(run) ? run.train_flops() : 0);
}

std::string RunTimeText(const v1::PlannedRunInfo& run) {
  std::vector<std::string> parts;
  if (run.training() == "to_do") parts.push_back(TimeText(run.train_time()));
  if (run.cells_missing() + run.cells_refreshed() > 0) {
    parts.push_back(TimeText(run.evaluate_time()));
  }
  if (parts.size() == 2 && parts[0] == parts[1]) parts.pop_back();
  return Join(parts, " + ");
}

// Of tasks that are stored and have not ended. Without a service nothing is under way.
std::string_view Pending(bool service_runs) { return service_runs ? "under way" : "unfinished"; }

std::string CellsText(const v1::PlannedRunInfo& run, bool service_runs) {
  const std::int64_t n_under_way = run.cells_under_way();
  const std::pair<std::int64_t, std::string_view> counts[] = {
      {run.cells_known() - n_under_way - run.cells_refreshed(), "known"},
      {run.cells_refreshed(), "to measure again"},
      {n_under_way, Pending(service_runs)},
      {run.cells_missing(), "to do"}};
  std::vector<std::string> parts;
  for (const auto& [n, what] : counts) {
    if (n > 0) parts.push_back(Str(n, " ", what));
  }
  if (const std::int64_t n = run.cells_not_applicable(); n > 0) {
    parts.back() += Str(" (", n, " not_applicable)");
  }
  return Join(parts, ", ");
}

std::string TrainingText(const v1::PlannedRunInfo& run, bool service_runs) {
  const std::string& training = run.training();
  if (training == "under_way") return std::string(Pending(service_runs));
  return training == "to_do" ? "to do" : training;
}

// "2.29 GiB (gpu, micro-batch 4)" of training; "2.29 GiB (gpu, evaluation)", if that needs more.
std::string MemoryText(const v1::PlannedRunInfo& run) {
  const std::int64_t n_bytes = std::max(run.memory_bytes(), run.evaluate_memory_bytes());
  std::string text = FormatBytes(n_bytes);
  if (n_bytes == 0 || run.device_kind().empty()) return text;  // an earlier service does not say
  const bool evaluates = run.evaluate_memory_bytes() > run.memory_bytes();
  return Str(text, " (", run.device_kind(), ", ",
             evaluates ? "evaluation" : Str("micro-batch ", run.micro_batch()), ")");
}

Rows PlanRows(const v1::PlanSweepResponse& plan, bool service_runs, std::size_t n_shown) {
  Rows rows;
  rows.reserve(n_shown);
  for (int i = 0; i < static_cast<int>(n_shown); ++i) {
    const v1::PlannedRunInfo& run = plan.runs(i);
    rows.push_back({ShortId(run.run_key()), AxesText(run), FormatCount(run.parameters()),
                    FlopsText(WorkFlops(run)), MemoryText(run), FormatBytes(run.disk_bytes()),
                    TrainingText(run, service_runs), CellsText(run, service_runs),
                    RunTimeText(run)});
  }
  return rows;
}

std::string MoreText(std::size_t n_more) {
  return n_more == 0 ? "" : Str("… ", n_more, " more (--limit 0 shows all)\n");
}

// Of a sweep that needs a GPU; "" if it does not. Only a worker knows its GPUs.
std::string NeededGpuText(const v1::PlanSweepResponse& plan) {
  bool needs_gpu = false;
  const v1::PlannedRunInfo* largest = nullptr;
  for (const v1::PlannedRunInfo& run : plan.runs()) {
    if (run.device_kind() != "gpu" || !HasWork(run)) continue;
    needs_gpu = true;
    if (!IsToTrain(run)) continue;
    if (largest == nullptr || run.memory_bytes() > largest->memory_bytes()) largest = &run;
  }
  if (!needs_gpu) return "";
  if (largest == nullptr) return "a gpu slot";
  return Str("a gpu slot of at least ", FormatBytes(largest->memory_bytes()),
             ", for training with micro-batch ", largest->micro_batch());
}

std::string NoWorkerText(const v1::PlanSweepResponse& plan, bool is_remote) {
  const std::string_view machine = is_remote ? "the coordinator's machine" : "this machine";
  const std::string needed = NeededGpuText(plan);
  if (needed.empty()) {
    return Str("no worker is known yet: the memory and disk needed were compared with those of ",
               machine, "\n");
  }
  return Str("no worker is known yet: the tasks need ", needed, "; ",
             is_remote ? "start longrun-worker on a machine that has one, with a token that "
                         "`longrun admin join-token create` makes, or `longrun pilot slurm` "
                         "on a machine of a cluster"
                       : "`longrun run` and `longrun up` start a worker on this machine, which "
                         "must have one",
             "\nthe disk needed was compared with that of ", machine, "\n");
}

// "run 1a2b3c4d: its training failed before": the run and the reason; the run is "" if the problem
// is not that of one run.
std::pair<std::string, std::string> RunAndReason(const std::string& problem) {
  constexpr std::string_view kRun = "run ";
  const std::size_t colon = problem.find(": ");
  if (!problem.starts_with(kRun) || colon == std::string::npos) return {"", problem};
  return {problem.substr(kRun.size(), colon - kRun.size()), problem.substr(colon + 2)};
}

// The problems in their order. The runs that have the same one share a line:
// "12 runs (1a2b3c4d, 5e6f7a8b, 9c0d1e2f, ...): training needs about 5 GiB, ..."
std::vector<std::string> ProblemLines(const Repeated<std::string>& problems) {
  constexpr std::size_t kRunsShown = 3;
  std::vector<std::string> reasons;
  std::map<std::string, std::vector<std::string>> runs_of;
  for (const std::string& problem : problems) {
    const auto [run, reason] = RunAndReason(problem);
    std::vector<std::string>& runs = runs_of[reason];
    if (runs.empty()) reasons.push_back(reason);
    runs.push_back(run);
  }
  std::vector<std::string> lines;
  for (const std::string& reason : reasons) {
    std::vector<std::string>& runs = runs_of.at(reason);
    const std::size_t n_runs = runs.size();
    if (n_runs == 1 || runs[0].empty()) {
      lines.push_back(runs[0].empty() ? reason : Str("run ", runs[0], ": ", reason));
      continue;
    }
    if (n_runs > kRunsShown) runs.resize(kRunsShown);
    lines.push_back(Str(n_runs, " runs (", Join(runs, ", "), n_runs > kRunsShown ? ", ..." : "",
                        "): ", reason));
  }
  return lines;
}

// `submitted`: the sweep of the plan's name, "" if there is none.
std::string PlanText(const v1::PlanSweepResponse& plan, const std::string& submitted,
                     bool service_runs, bool is_remote, const RunLimit& limit) {
  const auto n_runs = static_cast<std::size_t>(plan.runs_size());
  const std::size_t n_shown = limit.Of("table", n_runs);
  std::string text =
      RenderColumns({"run", "axes", "parameters", "FLOPs", "memory", "disk", "training", "cells",
                     "time (training + evaluation)"},
                    {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight,
                     Align::kRight, Align::kLeft, Align::kLeft, Align::kLeft},
                    PlanRows(plan, service_runs, n_shown));
  text += MoreText(n_runs - n_shown);
  text += SubmissionText(plan.name(), plan.counts(), RefreshOf(plan)) + "\n";
  const double flops = plan.train_flops() + plan.evaluate_flops();
  if (flops > 0) {
    text += Str("in total: ", FlopsText(flops), " FLOPs, ", FormatBytes(plan.disk_bytes()),
                " of checkpoints");
    if (HasTime(plan.slot_time())) {
      text += Str(", ", TimeText(plan.slot_time()), " of one slot's time");
    }
    text += "\n";
  }
  if (plan.under_way_flops() > 0) {
    text += Str(Pending(service_runs), ": ", FlopsText(plan.under_way_flops()),
                " FLOPs, including the part that is done\n");
  }
  // Tasks without a slot take no time on any slot; the time left says so.
  if (HasTime(plan.wall_time()) && plan.time_left().tasks_without_slot() == 0) {
    const std::int64_t n_slots = plan.slots();
    const bool are_there = plan.slots_of() == "workers";
    text += Str("on the ", Counted(n_slots, "slot"),
                are_there ? " known now: " : " known last: ", TimeText(plan.wall_time()),
                ", estimated from tasks that ran on ", plan.device(), "\n");
  }
  if (const std::string left = TimeLeftText(plan.time_left(), submitted); !left.empty()) {
    text += left;
    if (HasTime(plan.time_left().time())) {
      text += Str(", including tasks that are ", Pending(service_runs), " or wait for a slot");
    }
    text += "\n";
  }
  std::int64_t n_not_applicable = 0;
  for (const v1::PlannedRunInfo& run : plan.runs()) n_not_applicable += run.cells_not_applicable();
  if (n_not_applicable > 0) {
    text += Str(Counted(n_not_applicable, "cell"),
                " will be not_applicable: the context length is longer than the position method "
                "can read\n");
  }
  for (const v1::DatasetTravel& travel : plan.travels()) {
    text += Str("dataset ", travel.name(), ": up to ", FormatBytes(travel.travel_bytes()),
                " will be sent, to ", Counted(travel.workers(), "worker"),
                travel.workers() == 1 ? " that does not have it\n" : " that do not have it\n");
  }
  const std::vector<std::string> problems = ProblemLines(plan.problems());
  const std::size_t n_problems = problems.size();
  const std::size_t n_told = limit.Of("table", n_problems);
  for (std::size_t i = 0; i < n_told; ++i) text += Str("will not run: ", problems[i], "\n");
  text += MoreText(n_problems - n_told);
  if (plan.slots_of() == "machine") text += NoWorkerText(plan, is_remote);
  return text;
}

std::size_t SeedsOf(const v1::PlanSweepResponse& plan) {
  std::set<Json> seeds;
  for (const v1::PlannedRunInfo& run : plan.runs()) {
    const Json axes = JsonIn(run.axes_json());
    if (axes.contains("seed")) seeds.insert(axes.at("seed"));
  }
  return seeds.size();
}

// What the file's claims can become with its seeds, by the variances of a pilot.
struct ClaimsPlan {
  std::size_t n_claims = 0;
  std::size_t n_seeds = 0;
  bool is_of_interest = false;  // there is something to run, or a forecast was asked for
  std::string pilot = {};       // the sweep of the variances; "": there is none
  std::vector<ClaimForecast> forecasts = {};
};

// `pilot`: as the user named it; "": the sweep of the file's own name, if there is one.
Result<ClaimsPlan> PlanClaims(const v1::PlanSweepRequest& request,
                              const v1::PlanSweepResponse& plan, const std::string& pilot,
                              RetryingClient& client) {
  ASSIGN_OR_RETURN(const std::vector<Claim> claims,
                   SweepClaims(request.yaml(), request.file_name(), OverridesOf(request)));
  ClaimsPlan out{.n_claims = claims.size(), .n_seeds = SeedsOf(plan)};
  if (claims.empty() && !pilot.empty()) {
    return Status(Code::kInvalidArgument,
                  Str("--pilot ", pilot, ": ", request.file_name(), " has no claims"));
  }
  const bool has_work = std::ranges::any_of(plan.runs(), [](const v1::PlannedRunInfo& run) {
    return run.training() == "to_do" || run.cells_missing() > 0 || run.cells_refreshed() > 0;
  });
  out.is_of_interest = has_work || !pilot.empty();
  if (claims.empty() || out.n_seeds < 2 || !out.is_of_interest) return out;
  const std::string name = pilot.empty() ? plan.name() : pilot;
  const Result<v1::GetResultsResponse> answer = client.GetResultsOfSweep(name);
  if (!answer.ok() && pilot.empty() && answer.status().code() == Code::kNotFound) return out;
  RETURN_IF_ERROR(answer.status());
  out.pilot = name;
  out.forecasts = ForecastClaims(JudgeClaims(claims, {ReadResults(name, *answer)}), out.n_seeds);
  return out;
}

std::string PercentText(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f %%", 100.0 * share);
  return text;
}

std::string ShortText(const std::optional<double>& value) {
  if (!value) return "–";
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", *value);
  return text;
}

std::string ForecastsText(const ClaimsPlan& claims) {
  Rows rows;
  for (const ClaimForecast& claim : claims.forecasts) {
    if (claim.comparisons.empty()) rows.push_back({claim.statement, "", "", "", "", claim.error});
    bool is_first = true;
    for (const ComparisonForecast& one : claim.comparisons) {
      rows.push_back({is_first ? claim.statement : "", one.what, ShortText(one.effect),
                      one.power ? PercentText(*one.power) : "–", ShortText(one.smallest),
                      one.reason});
      is_first = false;
    }
  }
  return Str(
      "predictions for the claims, assuming the effects and variances of ", claims.pilot, ":\n",
      RenderColumns(
          {"claim", "comparison", "pilot effect", Str("decided by ", claims.n_seeds, " seeds"),
           "smallest margin confirmed in 80 % of sweeps", ""},
          {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kLeft},
          rows));
}

// "" if the file has no claims.
std::string ClaimsText(const ClaimsPlan& claims) {
  if (claims.n_claims == 0 || !claims.is_of_interest) return "";
  const std::string its_claims = Counted(static_cast<std::int64_t>(claims.n_claims), "claim");
  if (claims.n_seeds < 2) {
    return Str(
        its_claims,
        " will stay undecided: one seed says nothing about other seeds; write `seed: [1, 2, 3]`\n");
  }
  std::string text;
  if (claims.n_seeds == 2) {
    text = Str(its_claims,
               ": with 2 seeds a 95 % interval reaches 12.7 standard errors to each side; with 3 "
               "seeds, only 4.3\n");
  }
  if (!claims.pilot.empty()) return text + ForecastsText(claims);
  return Str(text, its_claims, ": to predict whether ", claims.n_claims == 1 ? "it" : "they",
             " will be decided, longrun needs results of the same runs "
             "with at least 2 seeds (--pilot SWEEP)\n");
}

Json ClaimsJson(const ClaimsPlan& claims) {
  Json list = Json::array();
  for (const ClaimForecast& claim : claims.forecasts) {
    Json comparisons = Json::array();
    for (const ComparisonForecast& one : claim.comparisons) {
      comparisons.push_back({{"what", one.what},
                             {"effect", NumberOrNull(one.effect)},
                             {"power", NumberOrNull(one.power)},
                             {"smallest", NumberOrNull(one.smallest)},
                             {"reason", one.reason.empty() ? Json() : Json(one.reason)}});
    }
    list.push_back({{"statement", claim.statement},
                    {"error", claim.error.empty() ? Json() : Json(claim.error)},
                    {"comparisons", std::move(comparisons)}});
  }
  return {{"count", claims.n_claims},
          {"seeds", claims.n_seeds},
          {"pilot", claims.pilot.empty() ? Json() : Json(claims.pilot)},
          {"forecasts", std::move(list)}};
}

// Some of it was submitted before and has not ended: with a service it goes on.
bool IsUnderWay(const v1::PlanSweepResponse& plan) {
  return std::ranges::any_of(plan.runs(), [](const v1::PlannedRunInfo& run) {
    return run.training() == "under_way" || run.cells_under_way() > 0;
  });
}

// Plain numbers, for programs. Times are empty where nothing was measured.
std::string PlanCsv(const v1::PlanSweepResponse& plan, std::size_t n_shown) {
  const std::vector<std::string> header = {"run",
                                           "axes",
                                           "parameters",
                                           "train_flops",
                                           "evaluate_flops",
                                           "memory_bytes",
                                           "disk_bytes",
                                           "training",
                                           "cells_known",
                                           "cells_under_way",
                                           "cells_missing",
                                           "train_s",
                                           "train_s_low",
                                           "train_s_high",
                                           "evaluate_s",
                                           "evaluate_s_low",
                                           "evaluate_s_high",
                                           "cells_not_applicable",
                                           "cells_refreshed",
                                           "device_kind",
                                           "micro_batch"};
  Rows rows;
  rows.reserve(n_shown);
  for (int i = 0; i < static_cast<int>(n_shown); ++i) {
    const v1::PlannedRunInfo& run = plan.runs(i);
    std::vector<std::string>& row = rows.emplace_back();
    row = {run.run_key(),
           AxesText(run),
           Str(run.parameters()),
           Str(run.train_flops()),
           Str(run.evaluate_flops()),
           Str(run.memory_bytes()),
           Str(run.disk_bytes()),
           run.training(),
           Str(run.cells_known() - run.cells_under_way()),
           Str(run.cells_under_way()),
           Str(run.cells_missing())};
    for (const v1::TimeEstimate* time : {&run.train_time(), &run.evaluate_time()}) {
      for (const double seconds : {time->likely_s(), time->low_s(), time->high_s()}) {
        row.push_back(HasTime(*time) ? Str(seconds) : "");
      }
    }
    row.push_back(Str(run.cells_not_applicable()));
    row.push_back(Str(run.cells_refreshed()));
    row.push_back(run.device_kind());
    row.push_back(Str(run.micro_batch()));
  }
  return RenderCsv(header, rows);
}

}  // namespace

void AddPlan(Verbs& verbs) {
  Verb verb = verbs.AddVerb("plan", "show what a sweep would run, without storing anything");
  verb.AddExamples({"longrun plan sweep.yaml", "longrun plan sweep.yaml -o json"});
  const auto file = AddSweepFile(verb);
  AddRefreshErrors(verb, *file);
  const auto output = AddOutput(verb, {"table", "json", "csv"});
  const auto limit = std::make_shared<RunLimit>();
  AddRunLimit(verb, *limit);
  const auto pilot = std::make_shared<std::string>();
  verb.AddArgument(
      "--pilot", *pilot,
      "a sweep with results of the same runs, whose variances are used to predict\nwhether the "
      "file's claims will be decided (default: the sweep of the same name)");
  verb.SetRun([&verbs, file, output, limit, pilot] {
    const Result<v1::PlanSweepRequest> request = PlanRequest(*file, verbs.state);
    if (!request.ok()) return ReportRequest(request.status());
    RetryingClient client(verbs.state, RetryingClient::NoDatabase::kIsMade);
    std::optional<WaitingLine> waiting(Str("planning ", file->file));
    Result<v1::PlanSweepResponse> plan = client.PlanSweep(*request);
    const Status checked = plan.ok() ? CheckClaims(client, *request) : Status();
    const Result<ClaimsPlan> claims = plan.ok() && checked.ok()
                                          ? PlanClaims(*request, *plan, *pilot, client)
                                          : Result<ClaimsPlan>(ClaimsPlan());
    // The tasks without a slot may be those of another sweep.
    const bool is_submitted = *output == "table" && plan.ok() &&
                              plan->time_left().tasks_without_slot() > 0 &&
                              client.GetSweep(plan->name(), true).ok();
    waiting.reset();
    if (!plan.ok()) return client.ReportFailure(plan.status());
    if (!checked.ok()) return client.ReportFailure(checked);
    if (!claims.ok()) return client.ReportFailure(claims.status());
    if (request->refresh_errors()) {
      SayText(NotRefreshedText(RefreshOf(*plan)));
    }
    if (PlansNoEvaluation(*plan)) SayLine(EvaluatesNothing(plan->name()));
    SayNotes(plan->notes());
    const std::size_t n_shown = limit->Of(*output, static_cast<std::size_t>(plan->runs_size()));
    if (*output == "json") {
      const auto n_kept = static_cast<int>(n_shown);
      plan->mutable_runs()->DeleteSubrange(n_kept, plan->runs_size() - n_kept);
      Json json = ToJson(*plan);
      if (claims->n_claims > 0) json["claims"] = ClaimsJson(*claims);
      Print(RenderJson(json));
    } else {
      const bool service_runs = !client.coordinator().momentary();
      if (*output == "csv") {
        Print(PlanCsv(*plan, n_shown));
      } else {
        PrintText(PlanText(*plan, is_submitted ? plan->name() : "", service_runs,
                           IsContext(verbs.state), *limit) +
                  ClaimsText(*claims));
      }
      if (!service_runs && IsUnderWay(*plan)) {
        SayLine(NoServiceText(client, verbs.state));
      }
    }
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
