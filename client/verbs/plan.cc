// longrun plan FILE: what a submission would do and cost.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/no_service.h"
#include "client/words/render.h"
#include "client/words/run_limit.h"
#include "client/words/submission.h"
#include "client/words/sweep_file.h"
#include "client/words/sweep_view.h"

namespace longrun {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::int64_t Int(const Json& json, const char* name) { return json.at(name).get<std::int64_t>(); }
double Number(const Json& json, const char* name) { return json.at(name).get<double>(); }

std::string AxesText(const Json& run) {
  std::vector<std::string> axes;
  for (const auto& [axis, value] : run.at("axes").items()) {
    axes.push_back(Str(ShortAxis(axis), "=", AxisText(value)));
  }
  return Join(axes, " ");
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

bool HasTime(const Json& time) { return Int(time, "n") > 0; }

// "41s (33s to 52s)"
std::string TimeText(const Json& time) {
  if (!HasTime(time)) return "not measured yet";
  return Str(SecondsText(Number(time, "likely_s")), " (", SecondsText(Number(time, "low_s")),
             " to ", SecondsText(Number(time, "high_s")), ")");
}

double WorkFlops(const Json& run) {
  const bool trains = run.at("training") == "to_do";
  return Number(run, "evaluate_flops") + (trains ? Number(run, "train_flops") : 0);
}

std::string RunTimeText(const Json& run) {
  std::vector<std::string> parts;
  if (run.at("training") == "to_do") parts.push_back(TimeText(run.at("train_time")));
  if (Int(run, "cells_missing") > 0) parts.push_back(TimeText(run.at("evaluate_time")));
  if (parts.size() == 2 && parts[0] == parts[1]) parts.pop_back();
  return Join(parts, " + ");
}

// Of tasks that are stored and have not ended. Without a service nothing is under way.
std::string_view Pending(bool service_runs) { return service_runs ? "under way" : "unfinished"; }

std::string CellsText(const Json& run, bool service_runs) {
  const std::int64_t n_under_way = Int(run, "cells_under_way");
  const std::pair<std::int64_t, std::string_view> counts[] = {
      {Int(run, "cells_known") - n_under_way, "known"},
      {n_under_way, Pending(service_runs)},
      {Int(run, "cells_missing"), "to do"}};
  std::vector<std::string> parts;
  for (const auto& [n, what] : counts) {
    if (n > 0) parts.push_back(Str(n, " ", what));
  }
  if (const std::int64_t n = Int(run, "cells_not_applicable"); n > 0) {
    parts.back() += Str(" (", n, " not_applicable)");
  }
  return Join(parts, ", ");
}

std::string TrainingText(const Json& run, bool service_runs) {
  const auto training = run.at("training").get<std::string>();
  if (training == "under_way") return std::string(Pending(service_runs));
  return training == "to_do" ? "to do" : training;
}

Rows PlanRows(const Json& plan, bool service_runs, std::size_t n_shown) {
  Rows rows;
  rows.reserve(n_shown);
  for (std::size_t i = 0; i < n_shown; ++i) {
    const Json& run = plan.at("runs")[i];
    rows.push_back(
        {ShortId(run.at("run_key").get<std::string>()), AxesText(run),
         FormatCount(Int(run, "parameters")), FlopsText(WorkFlops(run)),
         FormatBytes(std::max(Int(run, "memory_bytes"), Int(run, "evaluate_memory_bytes"))),
         FormatBytes(Int(run, "disk_bytes")), TrainingText(run, service_runs),
         CellsText(run, service_runs), RunTimeText(run)});
  }
  return rows;
}

std::string MoreText(std::size_t n_more) {
  return n_more == 0 ? "" : Str("… ", n_more, " more (--limit 0 shows all)\n");
}

std::string PlanText(const Json& plan, bool service_runs, const RunLimit& limit) {
  const std::size_t n_runs = plan.at("runs").size();
  const std::size_t n_shown = limit.Of("table", n_runs);
  std::string text =
      RenderColumns({"run", "axes", "parameters", "FLOPs", "memory", "disk", "training", "cells",
                     "time (training + evaluation)"},
                    {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight,
                     Align::kRight, Align::kLeft, Align::kLeft, Align::kLeft},
                    PlanRows(plan, service_runs, n_shown));
  text += MoreText(n_runs - n_shown);
  text += SubmissionText(plan) + "\n";
  const double flops = Number(plan, "train_flops") + Number(plan, "evaluate_flops");
  if (flops > 0) {
    text += Str("in all ", FlopsText(flops), " FLOPs, ", FormatBytes(Int(plan, "disk_bytes")),
                " of checkpoints");
    if (HasTime(plan.at("slot_time"))) {
      text += Str(", ", TimeText(plan.at("slot_time")), " of one slot's time");
    }
    text += "\n";
  }
  if (HasTime(plan.at("wall_time"))) {
    const std::int64_t n_slots = Int(plan, "slots");
    const bool are_there = plan.at("slots_of") == "workers";
    text += Str("on the ", Counted(n_slots, "slot"),
                are_there ? " known now: " : " known last: ", TimeText(plan.at("wall_time")),
                ", based on what ran on ", plan.at("device").get<std::string>(), "\n");
  }
  if (const std::string left = TimeLeftText(plan); !left.empty()) {
    text += Str(left, ", with what is ", Pending(service_runs), " or waits for a slot\n");
  }
  std::int64_t n_not_applicable = 0;
  for (const Json& run : plan.at("runs")) n_not_applicable += Int(run, "cells_not_applicable");
  if (n_not_applicable > 0) {
    text += Str(
        Counted(n_not_applicable, "cell"),
        " will be not_applicable: the context length is more than the position method can read\n");
  }
  const Json& problems = plan.at("problems");
  const std::size_t n_told = limit.Of("table", problems.size());
  for (std::size_t i = 0; i < n_told; ++i) {
    text += Str("will not run: ", problems[i].get<std::string>(), "\n");
  }
  text += MoreText(problems.size() - n_told);
  if (plan.at("slots_of") == "machine") {
    text += "no worker is known yet: memory and disk were compared with this machine's\n";
  }
  return text;
}

// Some of it was submitted before and has not ended: with a service it goes on.
bool IsUnderWay(const Json& plan) {
  return std::ranges::any_of(plan.at("runs"), [](const Json& run) {
    return run.at("training") == "under_way" || Int(run, "cells_under_way") > 0;
  });
}

// Plain numbers, for programs. Times are empty where nothing was measured.
std::string PlanCsv(const Json& plan, std::size_t n_shown) {
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
                                           "cells_not_applicable"};
  Rows rows;
  rows.reserve(n_shown);
  for (std::size_t i = 0; i < n_shown; ++i) {
    const Json& run = plan.at("runs")[i];
    std::vector<std::string>& row = rows.emplace_back();
    row = {run.at("run_key").get<std::string>(),
           AxesText(run),
           Str(Int(run, "parameters")),
           Str(Number(run, "train_flops")),
           Str(Number(run, "evaluate_flops")),
           Str(Int(run, "memory_bytes")),
           Str(Int(run, "disk_bytes")),
           run.at("training").get<std::string>(),
           Str(Int(run, "cells_known") - Int(run, "cells_under_way")),
           Str(Int(run, "cells_under_way")),
           Str(Int(run, "cells_missing"))};
    for (const char* which : {"train_time", "evaluate_time"}) {
      const Json& time = run.at(which);
      for (const char* part : {"likely_s", "low_s", "high_s"}) {
        row.push_back(HasTime(time) ? Str(Number(time, part)) : "");
      }
    }
    row.push_back(Str(Int(run, "cells_not_applicable")));
  }
  return RenderCsv(header, rows);
}

}  // namespace

void AddPlan(Verbs& verbs) {
  Verb verb = verbs.AddVerb("plan", "show what a sweep would run, without storing anything");
  verb.AddExamples({"longrun plan sweep.yaml", "longrun plan sweep.yaml -o json"});
  const auto file = AddSweepFile(verb);
  const auto output = AddOutput(verb, {"table", "json", "csv"});
  const auto limit = std::make_shared<RunLimit>();
  AddRunLimit(verb, *limit);
  verb.SetRun([&verbs, file, output, limit] {
    const Result<Json> request = SweepRequest(*file);
    if (!request.ok()) return Report(request.status());
    RetryingClient client(verbs.state);
    Result<Json> plan = client.Call("PlanSweep", *request, kPlanMs);
    if (!plan.ok()) return client.ReportFailure(plan.status());
    Json& runs = plan->at("runs");
    const std::size_t n_shown = limit->Of(*output, runs.size());
    if (*output == "json") {
      runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(n_shown), runs.end());
      Print(RenderJson(*plan));
    } else {
      const bool service_runs = !client.coordinator().momentary();
      Print(*output == "csv" ? PlanCsv(*plan, n_shown) : PlanText(*plan, service_runs, *limit));
      if (!service_runs && IsUnderWay(*plan)) {
        SayLine(NoServiceText(client.coordinator().connection(), verbs.state));
      }
    }
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun
