// longrun submit FILE: gives a sweep to the coordinator. Idempotent.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/str.h"
#include "client/embedded.h"
#include "client/output.h"
#include "client/render.h"
#include "client/submission.h"
#include "client/sweep_file.h"
#include "client/sweep_view.h"
#include "client/verb.h"

namespace longrun {

std::string SubmissionText(const Json& answer) {
  const Json& counts = answer.at("counts");
  const auto count = [&counts](const char* name) { return counts.at(name).get<std::int64_t>(); };
  const auto some = [](std::int64_t n, const char* one, const char* many) {
    return Str(n, " ", n == 1 ? one : many);
  };
  std::vector<std::string> parts;
  if (count("train_tasks_new") > 0) {
    parts.push_back(some(count("train_tasks_new"), "run", "runs") + " to train");
  }
  if (count("cells_new") > 0) {
    parts.push_back(Str(some(count("cells_new"), "cell", "cells"), " to evaluate in ",
                        some(count("evaluate_tasks_new"), "task", "tasks")));
  }
  if (count("tasks_retried") > 0) {
    parts.push_back(some(count("tasks_retried"), "task", "tasks") + " tried again");
  }
  std::string text = answer.at("name").get<std::string>() + ": ";
  text += parts.empty() ? "nothing new" : Join(parts, ", ");
  if (count("runs_reused") + count("cells_reused") > 0) {
    text += Str("; known or under way: ", some(count("runs_reused"), "run", "runs"), ", ",
                some(count("cells_reused"), "cell", "cells"));
  }
  return text;
}

void AddSubmit(Verbs& verbs) {
  CLI::App* verb = verbs.app->add_subcommand("submit", "submit a sweep; twice adds nothing");
  AddExamples(*verb, {"longrun submit sweep.yaml",
                      "longrun submit sweep.yaml --set train.optimizer.lr=1e-3 --wait"});
  const auto file = AddSweepFile(*verb);
  const auto output = AddOutput(*verb, {"table", "json"});
  const auto wait = std::make_shared<bool>(false);
  verb->add_flag("--wait", *wait, "show progress until the sweep has ended (Ctrl-C detaches)");
  verb->callback([&verbs, file, output, wait] {
    verbs.run = [&verbs, file, output, wait] {
      const Result<Json> request = SweepRequest(*file);
      if (!request.ok()) return Report(request.status());
      if (*wait && !CoordinatorRuns(verbs.state)) {
        return Report(Status(Code::kUnavailable, "--wait: nothing runs on " + verbs.state +
                                                     ": start `longrun up`, or use `longrun run`"));
      }
      const auto coordinator = Coordinator::Reach(verbs.state);
      if (!coordinator.ok()) return Report(coordinator.status());
      Connection& connection = (*coordinator)->connection();
      const Result<Json> answer = connection.Call("SubmitSweep", *request);
      if (!answer.ok()) return Report(answer.status(), connection.violations());
      Print(*output == "json" ? RenderJson(*answer) : SubmissionText(*answer) + "\n");
      if ((*coordinator)->momentary()) {
        std::fprintf(stderr, "nothing is running: `longrun up` starts the work\n");
      }
      if (!*wait) return static_cast<int>(kExitOk);
      const std::string sweep = answer->at("sweep_id").get<std::string>();
      CatchInterrupts();
      const Result<Json> end = FollowSweep(verbs.state, sweep, true);
      if (!end.ok()) {
        if (Interrupted())
          std::fprintf(stderr, "detached: `longrun watch %s` comes back\n", sweep.c_str());
        return Report(end.status());
      }
      PrintFailures(*end);
      return SweepExitCode(end->at("info"));
    };
  });
}

}  // namespace longrun
