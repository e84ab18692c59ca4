// longrun plan FILE: what a submission would do.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/str.h"
#include "base/units.h"
#include "client/ask.h"
#include "client/output.h"
#include "client/render.h"
#include "client/submission.h"
#include "client/sweep_file.h"
#include "client/verb.h"

namespace longrun {
namespace {

std::vector<std::vector<std::string>> PlanRows(const Json& plan) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& run : plan.at("runs")) {
    std::vector<std::string> axes;
    for (const auto& [axis, value] : run.at("axes").items()) {
      axes.push_back(axis.substr(axis.rfind('.') + 1) + "=" + AxisText(value));
    }
    char flops[32];
    std::snprintf(flops, sizeof flops, "%.3g", run.at("train_flops").get<double>());
    rows.push_back({ShortId(run.at("run_key").get<std::string>()), Join(axes, " "),
                    FormatCount(run.at("parameters").get<std::int64_t>()), flops,
                    FormatBytes(run.at("memory_bytes").get<std::int64_t>()),
                    run.at("trained").get<bool>() ? "known or under way" : "to train",
                    Str(run.at("cells_known").get<std::int64_t>(), " known or under way, ",
                        run.at("cells_missing").get<std::int64_t>(), " to do")});
  }
  return rows;
}

}  // namespace

void AddPlan(Verbs& verbs) {
  CLI::App* verb = verbs.app->add_subcommand("plan", "what a sweep would run; stores nothing");
  AddExamples(*verb, {"longrun plan sweep.yaml", "longrun plan sweep.yaml -o json"});
  const auto file = AddSweepFile(*verb);
  const auto output = AddOutput(*verb, {"table", "json", "csv"});
  verb->callback([&verbs, file, output] {
    verbs.run = [&verbs, file, output] {
      const Result<Json> request = SweepRequest(*file);
      if (!request.ok()) return Report(request.status());
      Asker asker(verbs.state);
      const Result<Json> plan = asker.Ask("PlanSweep", *request);
      if (!plan.ok()) return asker.ReportFailure(plan.status());
      const std::vector<std::string> header = {"run",    "axes",     "parameters", "train FLOPs",
                                               "memory", "training", "cells"};
      if (*output == "json") {
        Print(RenderJson(*plan));
      } else if (*output == "csv") {
        Print(RenderCsv(header, PlanRows(*plan)));
      } else {
        Print(RenderColumns(header,
                            {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight,
                             Align::kRight, Align::kLeft, Align::kLeft},
                            PlanRows(*plan)));
        Print(SubmissionText(*plan) + "\n");
      }
      return static_cast<int>(kExitOk);
    };
  });
}

}  // namespace longrun
