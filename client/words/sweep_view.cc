#include "client/words/sweep_view.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/ulid.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/wire/embedded.h"
#include "client/wire/held_state.h"
#include "client/wire/lasting_notice.h"
#include "client/words/change_lines.h"
#include "client/words/render.h"
#include "client/words/window.h"
#include "sweeps/coordinator_address.h"

namespace longrun {
namespace {

constexpr std::size_t kSparkWidth = 20;
constexpr std::int64_t kReconnectMs = 60'000;  // after so long, a coordinator counts as gone
constexpr std::int64_t kPollMs = 50;
constexpr std::size_t kRefusedShown = 20;
constexpr std::size_t kFailuresShown = 20;
constexpr std::string_view kRefused = "offered again: ";  // a worker refused the task
// How the scheduler's reasons begin.
constexpr std::string_view kNobodyCan = "no worker can";
constexpr std::string_view kTriedAgain = "tried again";

std::atomic<bool> g_interrupted{false};

extern "C" void OnInterrupt(int) { g_interrupted = true; }

std::string Number(const Json& value, int digits) {
  if (!value.is_number()) return "";
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value.get<double>());
  return buffer;
}

// The task that is at work, else the first unfinished one; null if all have succeeded.
const Json* CurrentTask(const Json& run) {
  const Json* current = nullptr;
  for (const Json& task : run.at("tasks")) {
    const std::string state = task.at("state").get<std::string>();
    if (state == "RUNNING" || state == "RESERVED" || state == "STOPPING") return &task;
    if (current == nullptr && state != "SUCCEEDED") current = &task;
  }
  return current;
}

// Why no present worker can take the task, ever or now; "" if one can. Otherwise a user would wait
// without knowing for what.
std::string NobodyCan(const Json& task) {
  const std::string reason = task.at("reason").get<std::string>();
  const bool is_told = reason.starts_with(kNobodyCan) || reason.starts_with(kRefused);
  return task.at("state") == "READY" && is_told ? reason : "";
}

std::string DoneText(const std::string& phase, const Json& progress) {
  const auto done = progress.at("done").get<std::int64_t>();
  const auto of = progress.at("of").get<std::int64_t>();
  if (phase == "evaluate") return Str(of > 0 ? 100 * done / of : 0, "%");
  return Str(done, "/", of, phase == "train" ? " steps" : phase == "validate" ? " windows" : "");
}

std::string RunState(const Json& run) {
  const Json* task = CurrentTask(run);
  if (task == nullptr) return "done";
  const Json& progress = task->at("progress");
  const std::string phase = progress.at("phase").get<std::string>();
  const std::string state = task->at("state").get<std::string>();
  const auto attempts = task->at("attempts").get<std::int64_t>();
  const std::string again = attempts > 1 ? Str(" (attempt ", attempts, ")") : "";
  if (state == "RUNNING" && !phase.empty()) {
    return Str(phase, " ", DoneText(phase, progress), again);
  }
  std::string text = task->at("kind").get<std::string>() + " " + state;
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (state != "READY") return text + again;
  const std::string reason = task->at("reason").get<std::string>();
  const bool is_told = reason.starts_with(kTriedAgain) || !NobodyCan(*task).empty();
  return is_told ? Str(text, ": ", reason) : text;
}

std::vector<std::string> RunAxes(const Json& run, const std::set<std::string>& other_axes) {
  std::vector<std::string> fields;
  for (const char* axis : {"position", "train_length"}) {
    fields.push_back(AxisText(run.at("axes").value(axis, Json(""))));
  }
  std::vector<std::string> others;
  others.reserve(other_axes.size());
  for (const std::string& axis : other_axes) {
    others.push_back(Str(ShortAxis(axis), "=", AxisText(run.at("axes").value(axis, Json("")))));
  }
  fields.push_back(Join(others, " "));
  return fields;
}

// The training task's newest loss and its curve, also while the run is being evaluated.
const Json* LossOf(const Json& run) {
  for (const Json& task : run.at("tasks")) {
    if (task.at("kind") == "train" && !task.at("progress").at("loss_tail").empty()) {
      return &task.at("progress");
    }
  }
  return nullptr;
}

std::vector<std::string> RunFields(const Json& run, const std::set<std::string>& other_axes) {
  std::vector<std::string> fields = RunAxes(run, other_axes);
  fields.push_back(RunState(run));
  const Json* loss = LossOf(run);
  fields.push_back(loss == nullptr ? "" : Number(loss->at("loss"), 3));
  const Json* task = CurrentTask(run);
  const bool runs = task != nullptr && task->at("state") == "RUNNING";
  const Json* progress = runs ? &task->at("progress") : nullptr;
  const bool timed = progress != nullptr && progress->at("tokens_per_s").is_number() &&
                     progress->at("tokens_per_s").get<double>() > 0.0;
  fields.push_back(timed ? Number(progress->at("tokens_per_s"), 0) : "");
  // 0: not known yet, or nothing is left of this phase. Shown in whole seconds.
  const std::int64_t eta_s = timed ? (progress->at("eta_ms").get<std::int64_t>() + 999) / 1000 : 0;
  fields.push_back(eta_s > 0 ? FormatDurationMs(eta_s * 1000) : "");
  // Last, since a narrow terminal clips the line.
  fields.push_back(loss == nullptr ? "" : Sparkline(loss->at("loss_tail"), kSparkWidth));
  return fields;
}

// "worker-host READY 1/2 busy, ..." for the workers that matter; one that left in order does not.
std::string WorkersLine(const Json& workers) {
  std::vector<std::string> parts;
  parts.reserve(workers.size());
  for (const Json& worker : workers) {
    const std::string state = worker.at("state").get<std::string>();
    if (state == "STOPPED") continue;
    const Json& devices = worker.at("devices");
    const auto busy = std::ranges::count_if(
        devices, [](const Json& device) { return !device.at("task").get<std::string>().empty(); });
    parts.push_back(Str(worker.at("host").get<std::string>(), " ", state, " ", busy, "/",
                        devices.size(), " busy"));
  }
  return parts.empty() ? "workers: none" : Str("workers: ", Join(parts, ", "));
}

class Display {
 public:
  void Show(const Json& message) {
    if (OnTerminal()) {
      Redraw(message);
    } else {
      PrintChanges(message);
    }
  }

 private:
  void Redraw(const Json& message) {
    // Go back to the first line drawn before and clear from there,
    // but do not overwrite messages printed since.
    if (const std::int64_t n_said = SaidLines(); n_said != n_said_) {
      n_said_ = n_said;
      lines_ = 0;
    }
    if (lines_ > 0) std::fprintf(stderr, "\x1b[%zuA\x1b[J", lines_);
    const std::string text = FitProgress(message, SizeOfStderr());
    std::fputs(text.c_str(), stderr);
    lines_ = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }

  void PrintChanges(const Json& message) {
    for (const std::string& line : changes_.Of(message, BootMs())) {
      std::fprintf(stderr, "%s\n", line.c_str());
    }
  }

  std::size_t lines_ = 0;
  std::int64_t n_said_ = SaidLines();
  ChangeLines changes_;
};

// Prints the notices of the newest message; called also while no message comes.
class Announcer {
 public:
  void Set(const Json& message) {
    std::vector<LastingNotices::Notice> notices;
    for (const Json& notice : message.at("notices")) {
      notices.push_back({.about = notice.at("about").get<std::string>(),
                         .text = notice.at("text").get<std::string>(),
                         .over = notice.at("over").get<std::string>()});
    }
    const std::lock_guard lock(mutex_);
    notices_.Set(std::move(notices));
  }
  void SayWhatIsDue() {
    std::vector<std::string> lines;
    {
      const std::lock_guard lock(mutex_);
      lines = notices_.Due(BootMs());
    }
    for (const std::string& line : lines) SayLine(line);
  }

 private:
  std::mutex mutex_;  // guards the member below
  LastingNotices notices_;
};

// Axes whose values differ between runs.
std::set<std::string> VaryingAxes(const Json& runs) {
  std::set<std::string> varied;
  for (const Json& run : runs) {
    for (const auto& [axis, value] : run.at("axes").items()) {
      if (value != runs[0].at("axes").value(axis, Json())) varied.insert(axis);
    }
  }
  return varied;
}

}  // namespace

std::set<std::string> OtherAxes(const Json& runs) {
  std::set<std::string> others = VaryingAxes(runs);
  others.erase("position");
  others.erase("train_length");
  return others;
}

std::vector<std::size_t> RunsToShow(const Json& runs, std::size_t n_max) {
  std::vector<std::size_t> shown(runs.size());
  std::iota(shown.begin(), shown.end(), std::size_t{0});
  if (runs.size() <= n_max) return shown;
  std::vector<int> ranks;
  ranks.reserve(runs.size());
  for (const Json& run : runs) ranks.push_back(IsDone(run) ? 2 : IsWaiting(run) ? 1 : 0);
  std::ranges::stable_sort(shown, {}, [&ranks](std::size_t i) { return ranks[i]; });
  shown.resize(n_max);
  std::ranges::sort(shown);
  return shown;
}

std::string FirstSubmitted(const Json& info) {
  const auto wall_ms = UlidWallMs(info.at("sweep_id").get_ref<const std::string&>());
  return wall_ms ? FormatWallMs(*wall_ms) : "–";
}

std::string RunNames::Of(const Json& run) {
  if (!varying_axes_) varying_axes_ = VaryingAxes(runs_);
  std::string name = AxisText(run.at("axes").value("position", Json("run")));
  for (const std::string& axis : *varying_axes_) {
    if (axis == "position") continue;
    name += Str(" ", ShortAxis(axis), "=", AxisText(run.at("axes").value(axis, Json(""))));
  }
  return name;
}

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = &OnInterrupt;
  sigemptyset(&action.sa_mask);
  // If the terminal closes (SIGHUP) or the reader of our output is gone (SIGPIPE), the signal would
  // end us before our daemons and leave the trainers running.
  // A signal that nohup ignores stays ignored.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    struct sigaction before = {};
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
}

bool Interrupted() { return g_interrupted; }

std::string Headline(const Json& info) {
  return Str(info.at("name").get<std::string>(), " ", info.at("state").get<std::string>(), "  ",
             info.at("tasks_succeeded").get<std::int64_t>(), " of ",
             Counted(info.at("tasks").get<std::int64_t>(), "task"), " done, ",
             info.at("tasks_running").get<std::int64_t>(),
             info.at("state") == "INTERRUPTED" ? " interrupted, " : " running, ",
             info.at("tasks_failed").get<std::int64_t>(), " failed");
}

std::string Milestone(const Json& run, const std::string& last) {
  const Json* task = CurrentTask(run);
  if (task == nullptr) return "done";
  const Json& progress = task->at("progress");
  const std::string phase = progress.at("phase").get<std::string>();
  if (phase == "validate" || phase == "checkpoint") return last;
  const auto of = progress.at("of").get<std::int64_t>();
  const std::int64_t tenth = of > 0 ? 10 * progress.at("done").get<std::int64_t>() / of : 0;
  const char* const blocked = NobodyCan(*task).empty() ? "" : "blocked";
  return Str(task->at("task").get<std::string>(), " ", task->at("attempts").get<std::int64_t>(),
             task->at("state").get<std::string>(), phase, tenth, blocked);
}

bool IsWaiting(const Json& run) {
  return std::ranges::all_of(run.at("tasks"), [](const Json& task) {
    const bool waits = task.at("state") == "READY" || task.at("state") == "BLOCKED";
    return waits && task.at("attempts") == 0 && NobodyCan(task).empty();
  });
}

bool IsDone(const Json& run) { return CurrentTask(run) == nullptr; }

std::string ChangeLine(const Json& run, const std::set<std::string>& other_axes) {
  const std::vector<std::string> f = RunFields(run, other_axes);
  std::string line = Str(ShortId(run.at("run_key").get<std::string>()), " ", f[0], " ", f[1],
                         f[2].empty() ? "" : " ", f[2], ": ", f[3]);
  if (!f[4].empty()) line += ", loss " + f[4];
  if (!f[5].empty()) line += ", " + f[5] + " tokens/s";
  if (!f[6].empty()) line += ", ETA " + f[6];
  return line;
}

std::string TimeLeftText(const Json& message) {
  const auto left = message.find("time_left");
  if (left == message.end()) return "";
  const Json& time = left->at("time");
  if (time.at("n").get<std::int64_t>() == 0) return "";
  const auto seconds = [&time](const char* name) {
    const std::int64_t whole = std::llround(time.at(name).get<double>());
    return FormatDurationMs(std::max<std::int64_t>(whole, 1) * 1000);
  };
  const auto n_slots = left->at("slots").get<std::int64_t>();
  const auto n_unknown = left->at("tasks_not_measured").get<std::int64_t>();
  return Str("time left: about ", seconds("likely_s"), " (", seconds("low_s"), " to ",
             seconds("high_s"), ")", n_slots > 0 ? Str(" on ", Counted(n_slots, "slot")) : "",
             n_unknown > 0 ? Str(", without ", Counted(n_unknown, "task"),
                                 " of kinds that were never measured")
                           : "");
}

std::string RenderProgress(const Json& message, std::size_t n_lines) {
  const Json& runs = message.at("runs");
  const std::set<std::string> other_axes = OtherAxes(runs);
  const std::string left = TimeLeftText(message);
  const auto workers = message.find("workers");
  const std::string last = Str(left.empty() ? "" : left + "\n",
                               workers == message.end() ? "" : WorkersLine(*workers) + "\n");
  // The headline, the column names and the last lines are always shown.
  const auto n_fixed = 2 + static_cast<std::size_t>(std::ranges::count(last, '\n'));
  const std::size_t room = n_lines > n_fixed ? n_lines - n_fixed : 1;
  // One line says how many runs there is no room for.
  const std::size_t n_shown = runs.size() <= room ? room : room - 1;
  std::vector<std::vector<std::string>> rows;
  for (const std::size_t i : RunsToShow(runs, n_shown)) {
    rows.push_back(RunFields(runs[i], other_axes));
  }
  const std::string more =
      rows.size() < runs.size() ? Str("… ", runs.size() - rows.size(), " more\n") : "";
  return Headline(message.at("info")) + "\n" +
         RenderColumns({"position", "train_length", "", "now", "loss", "tokens/s", "ETA", ""},
                       {Align::kLeft, Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight,
                        Align::kRight, Align::kRight, Align::kLeft},
                       rows) +
         more + last;
}

std::string FitProgress(const Json& message, const TerminalSize& window, const std::string& after) {
  // One row is the cursor's own, below the last line. A log has room for what comes after.
  const std::size_t n_taken = (window.columns > 0 ? RowsOf(after, window.columns) : 0) + 1;
  const std::string text =
      RenderProgress(message, window.rows > n_taken ? window.rows - n_taken : 1);
  // A line that wraps would take two rows, and the next redraw would be one line off.
  return window.columns > 0 ? ClipLines(text, window.columns) : text;
}

Result<Json> FollowSweep(const std::string& state, const std::string& sweep,
                         const FollowOptions& options) {
  const Result<HeldState> held = HeldState::Open(state);
  const auto own = [&] { return options.own ? options.own() : nullptr; };
  // The reason why no more messages can come, if any.
  const auto broken = [&] {
    Status status = held.ok() ? held->Check() : Status();
    return status.ok() && own() != nullptr ? own()->Check() : status;
  };
  Display display;
  Announcer announcer;
  Json last;
  Status given_up;
  std::int64_t deadline = BootMs() + kReconnectMs;
  while (true) {
    const Result<std::string> address = ReadCoordinatorAddress(state);
    Status status(Code::kUnavailable, "no coordinator");
    if (address.ok()) {
      CoordinatorConnection connection{*address};
      std::atomic<bool> done{false};
      // Ends a blocked read if the user interrupts or nothing more can come, and repeats notices
      // while their cause lasts.
      std::thread watcher = StartThread([&] {
        while (!done) {
          if (Interrupted() || !broken().ok()) connection.CancelStream();
          announcer.SayWhatIsDue();
          poll(nullptr, 0, static_cast<int>(kPollMs));
        }
      });
      status = connection.Stream(
          "WatchSweep", {{"sweep", sweep}, {"first", own() != nullptr}}, [&](const Json& message) {
            deadline = BootMs() + kReconnectMs;
            last = message;
            announcer.Set(message);
            if (options.show) {
              options.show(message);
            } else {
              display.Show(message);
            }
            if (options.give_up) given_up = options.give_up(message);
            return given_up.ok() && !Interrupted() && !message.at("finished").get<bool>();
          });
      done = true;
      watcher.join();
    }
    if (Interrupted()) return Status(Code::kCancelled, "interrupted");
    if (!given_up.ok()) return given_up;
    if (!last.is_null() && last.at("finished").get<bool>()) return last;
    RETURN_IF_ERROR(broken());
    const bool away =
        status.ok() || status.code() == Code::kUnavailable || status.code() == Code::kCancelled;
    if (!away) return status;
    if (options.away) options.away();
    if (own() == nullptr && BootMs() > deadline) {
      return Status(Code::kUnavailable, "the coordinator went away; `longrun watch " + sweep +
                                            "` takes up again when it is back");
    }
    poll(nullptr, 0, static_cast<int>(kPollMs));
  }
}

Status NothingFits(const Json& message) {
  // The entry of a worker that has not connected yet is from its last visit.
  const auto workers = message.find("workers");
  const bool is_there =
      workers != message.end() && std::ranges::any_of(*workers, [](const Json& worker) {
        return worker.at("state") == "READY";
      });
  if (!is_there) return Status();
  std::vector<std::string> refused;
  RunNames names(message.at("runs"));
  for (const Json& run : message.at("runs")) {
    for (const Json& task : run.at("tasks")) {
      const std::string state = task.at("state").get<std::string>();
      if (state == "RUNNING" || state == "RESERVED" || state == "STOPPING") return Status();
      if (state != "READY") continue;
      const std::string reason = task.at("reason").get<std::string>();
      if (!reason.starts_with(kNobodyCan)) return Status();
      refused.push_back(Str(task.at("kind").get<std::string>(), " of ", names.Of(run),
                            " cannot run here: ", reason));
    }
  }
  if (refused.empty()) return Status();
  if (refused.size() > kRefusedShown) {
    const std::string more = Str("and ", refused.size() - kRefusedShown, " more tasks");
    refused.resize(kRefusedShown);
    refused.push_back(more);
  }
  return Status(
      Code::kFailedPrecondition,
      Str(Join(refused, "\n"),
          "\nthis command has no other worker: `longrun plan` says what the sweep needs; with "
          "fewer --cpu-slots, each has more memory; a worker on another machine can join"));
}

void PrintNotices(const Json& notices) {
  for (const Json& notice : notices) SayLine(notice.at("text").get<std::string>());
}

std::string FailedTasksText(const Json& message) {
  bool any_for_good = false;
  std::size_t n_failed = 0;
  std::string text;
  RunNames names(message.at("runs"));
  for (const Json& run : message.at("runs")) {
    for (const Json& task : run.at("tasks")) {
      if (task.at("state") != "FAILED") continue;
      any_for_good = any_for_good || task.at("failed_for_good").get<bool>();
      if (++n_failed > kFailuresShown) continue;
      text += Str(task.at("kind").get<std::string>(), " of ", names.Of(run),
                  " failed: ", task.at("reason").get<std::string>(), "\n  `longrun logs ",
                  ShortId(task.at("task").get<std::string>()), "` shows what it said\n");
    }
  }
  if (n_failed > kFailuresShown) {
    text += Str("and ", Counted(static_cast<std::int64_t>(n_failed - kFailuresShown), "task"),
                " more failed: `longrun get ", message.at("info").at("name").get<std::string>(),
                "` shows them\n");
  }
  if (any_for_good) {
    text +=
        "diverged trainings are not retried, since they would diverge again: change the sweep file "
        "as suggested above, and run it\n";
  }
  return text;
}

void PrintFailures(const Json& message) { std::fputs(FailedTasksText(message).c_str(), stderr); }

int ShowEnd(const Json& message) {
  PrintFailures(message);
  return SweepExitCode({message.at("info")});
}

int ShowNow(const Json& message, const std::string& after) {
  const int code = SweepExitCode({message.at("info")});
  std::string below;
  for (const Json& notice : message.at("notices")) {
    below += notice.at("text").get<std::string>() + "\n";
  }
  below += FailedTasksText(message);
  if (code == kExitIncomplete && !after.empty()) below += after + "\n";
  std::fputs((FitProgress(message, SizeOfStderr(), below) + below).c_str(), stderr);
  return code;
}

}  // namespace longrun
