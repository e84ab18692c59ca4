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
#include "base/decimal_text.h"
#include "base/files.h"
#include "base/letter_case.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/ulid.h"
#include "base/units.h"
#include "base/utf8.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/console/suggestion.h"
#include "client/wire/embedded.h"
#include "client/wire/held_state.h"
#include "client/wire/lasting_notice.h"
#include "client/wire/silence.h"
#include "client/words/change_lines.h"
#include "client/words/evaluation_of.h"
#include "client/words/render.h"
#include "client/words/window.h"
#include "sweeps/failure.h"

namespace longrun::client {
namespace {

constexpr std::size_t kSparkWidth = 20;
constexpr std::int64_t kPollMs = 50;
constexpr std::int64_t kRemotePauseMs = 200;  // each try costs a connection over the network
constexpr std::size_t kFailuresShown = 20;
// Of the reason why a task waits, in a table; `longrun why` has all of it. That of a task that is
// tried again says how its attempt ended.
constexpr std::size_t kUnfitBytes = 60, kTriedAgainBytes = 120;
constexpr std::string_view kRefused = "offered again: ";  // a worker refused the task
// How the scheduler's reasons begin.
constexpr std::string_view kNobodyCan = "no worker can";
constexpr std::string_view kTriedAgain = "tried again";
constexpr std::string_view kCut = " …";

std::atomic<bool> g_interrupted{false};

extern "C" void OnInterrupt(int) { g_interrupted = true; }

std::string Number(double value, int digits) {
  if (!std::isfinite(value)) return "";
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return buffer;
}

// The task that is at work, else the first unfinished one; null if all have succeeded.
const v1::TaskInfo* CurrentTask(const v1::RunInfo& run) {
  const v1::TaskInfo* current = nullptr;
  for (const v1::TaskInfo& task : run.tasks()) {
    const std::string& state = task.state();
    if (state == "RUNNING" || state == "RESERVED" || state == "STOPPING") return &task;
    if (current == nullptr && state != "SUCCEEDED") current = &task;
  }
  return current;
}

// Why no present worker can take the task, ever or now; "" if one can. Otherwise a user would wait
// without knowing for what.
std::string NobodyCan(const v1::TaskInfo& task) {
  const std::string reason = OneLine(Printable(task.reason()));
  const bool is_told = reason.starts_with(kNobodyCan) || reason.starts_with(kRefused);
  return task.state() == "READY" && is_told ? reason : "";
}

std::string DoneText(const std::string& phase, const v1::TaskProgress& progress) {
  const auto done = progress.done();
  const auto of = progress.of();
  if (phase == "evaluate") return Str(of > 0 ? 100 * done / of : 0, "%");
  return Str(done, "/", of, phase == "train" ? " steps" : phase == "validate" ? " windows" : "");
}

// Of the reason why a task waits, a table has room for the beginning only.
enum class Reasons { kWhole, kShort };

// "tried again after a pause of 10 s: attempt 1 ended (killed): ...": a cut at the end would hide
// the cause.
std::string CauseFirst(std::string_view reason) {
  constexpr std::string_view kCause = ": attempt ";
  const std::size_t at = reason.find(kCause);
  if (at == std::string_view::npos) return std::string(reason);
  return Str(reason.substr(at + 2), "; ", reason.substr(0, at));
}

std::string RunState(const v1::RunInfo& run, Reasons reasons) {
  const v1::TaskInfo* task = CurrentTask(run);
  if (task == nullptr) return "done";
  const v1::TaskProgress& progress = task->progress();
  const std::string& phase = progress.phase();
  const std::string& state = task->state();
  const auto attempts = task->attempts();
  const std::string again = attempts > 1 ? Str(" (attempt ", attempts, ")") : "";
  // Otherwise the lines of two evaluations would be the same.
  const std::string evaluation = HasSeveralEvaluations(run) ? EvaluationOf(*task) : "";
  const std::string of_which = evaluation.empty() ? "" : Str(evaluation, " ");
  if (state == "RUNNING" && !phase.empty()) {
    return Str(OneLine(Printable(phase)), " ", of_which, DoneText(phase, progress), again);
  }
  const std::string text = Str(task->kind(), " ", of_which, InSmallLetters(state));
  if (state != "READY") return text + again;
  const std::string& reason = task->reason();
  const bool is_unfit = !NobodyCan(*task).empty();
  if (!is_unfit && !reason.starts_with(kTriedAgain)) return text;
  if (reasons == Reasons::kWhole) return Str(text, ": ", reason);
  return Str(text, ": ",
             is_unfit ? Shortened(reason, kUnfitBytes, kCut)
                      : Shortened(CauseFirst(reason), kTriedAgainBytes, kCut));
}

std::vector<std::string> RunAxes(const v1::RunInfo& run, const std::set<std::string>& other_axes) {
  const Json axes = JsonIn(run.axes_json());
  std::vector<std::string> fields;
  for (const char* axis : {"position", "train_length"}) {
    fields.push_back(AxisText(axes.value(axis, Json(""))));
  }
  std::vector<std::string> others;
  others.reserve(other_axes.size());
  for (const std::string& axis : other_axes) {
    others.push_back(Str(ShortAxis(axis), "=", AxisText(axes.value(axis, Json("")))));
  }
  fields.push_back(Join(others, " "));
  return fields;
}

// The training task's newest loss and its curve, also while the run is being evaluated.
const v1::TaskProgress* LossOf(const v1::RunInfo& run) {
  for (const v1::TaskInfo& task : run.tasks()) {
    if (task.kind() == "train" && !task.progress().loss_tail().empty()) {
      return &task.progress();
    }
  }
  return nullptr;
}

std::vector<std::string> RunFields(const v1::RunInfo& run, const std::set<std::string>& other_axes,
                                   Reasons reasons) {
  std::vector<std::string> fields = RunAxes(run, other_axes);
  fields.push_back(RunState(run, reasons));
  const v1::TaskProgress* loss = LossOf(run);
  fields.push_back(loss == nullptr || !std::isfinite(loss->loss()) ? ""
                                                                   : DecimalText(loss->loss(), 3));
  const v1::TaskInfo* task = CurrentTask(run);
  const bool runs = task != nullptr && task->state() == "RUNNING";
  const v1::TaskProgress* progress = runs ? &task->progress() : nullptr;
  const bool timed = progress != nullptr && std::isfinite(progress->tokens_per_s()) &&
                     progress->tokens_per_s() > 0.0;
  fields.push_back(timed ? Number(progress->tokens_per_s(), 0) : "");
  // 0: not known yet, or nothing is left of this phase. Shown in whole seconds. After the last
  // step, it is only that of a validation, and not of the checkpoint that is still to come.
  const bool goes_on = timed && (progress->of() == 0 || progress->done() < progress->of());
  const std::int64_t eta_s = goes_on ? (progress->eta_ms() + 999) / 1000 : 0;
  fields.push_back(eta_s > 0 ? FormatDurationMs(eta_s * 1000) : "");
  // Last, since a narrow terminal clips the line.
  fields.push_back(loss == nullptr ? "" : Sparkline(loss->loss_tail(), kSparkWidth));
  return fields;
}

// "worker-host READY 1/2 busy, ..." for the workers that matter; one that left in order does not.
std::string WorkersLine(const Repeated<v1::WorkerInfo>& workers) {
  std::vector<std::string> parts;
  parts.reserve(static_cast<std::size_t>(workers.size()));
  for (const v1::WorkerInfo& worker : workers) {
    const std::string& state = worker.state();
    if (state == "STOPPED") continue;
    const Repeated<v1::WorkerDeviceInfo>& devices = worker.devices();
    const auto busy = std::ranges::count_if(
        devices, [](const v1::WorkerDeviceInfo& device) { return !device.task().empty(); });
    parts.push_back(Str(worker.host(), " ", state, " ", busy, "/", devices.size(), " busy"));
  }
  return parts.empty() ? "workers: none" : Str("workers: ", Join(parts, ", "));
}

class Display {
 public:
  void Show(const v1::WatchSweepResponse& message) {
    if (OnTerminal()) {
      Redraw(message);
    } else {
      PrintChanges(message);
    }
  }

 private:
  void Redraw(const v1::WatchSweepResponse& message) {
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

  void PrintChanges(const v1::WatchSweepResponse& message) {
    for (const std::string& line : changes_.Of(message, BootMs())) {
      SayLine(line);
    }
  }

  std::size_t lines_ = 0;
  std::int64_t n_said_ = SaidLines();
  ChangeLines changes_;
};

// Prints the notices of the newest message, and that no message comes.
class Announcer {
 public:
  explicit Announcer(const std::string& state) : silence_(state) {}

  void Set(const v1::WatchSweepResponse& message) {
    std::vector<LastingNotices::Notice> notices;
    for (const v1::Notice& notice : message.notices()) {
      notices.push_back({.about = notice.about(), .text = notice.text(), .over = notice.over()});
    }
    std::string answers;
    {
      const std::lock_guard lock(mutex_);
      notices_.Set(std::move(notices));
      answers = silence_.Heard();
    }
    if (!answers.empty()) SayLine(answers);
  }
  // With `own_daemons`, their supervisor says why no message comes.
  void SayWhatIsDue(bool own_daemons) {
    std::vector<std::string> lines;
    {
      const std::lock_guard lock(mutex_);
      lines = notices_.Due(BootMs());
      if (!own_daemons) lines.push_back(silence_.Due(BootMs()));
    }
    for (const std::string& line : lines) {
      if (!line.empty()) SayLine(line);
    }
  }
  // The connection is lost. kUnavailable if nobody has answered for too long; `go_on` is the
  // command that continues.
  Status Lost(const Status& status, const std::string& go_on) {
    const std::lock_guard lock(mutex_);
    silence_.Lost(std::string(status.message()), BootMs());
    return silence_.IsTooLong(BootMs()) ? Status(Code::kUnavailable, silence_.GivenUpText(go_on))
                                        : Status();
  }

 private:
  std::mutex mutex_;  // guards the members below
  LastingNotices notices_;
  Silence silence_;
};

// Axes whose values differ between runs.
std::set<std::string> VaryingAxes(const Runs& runs) {
  std::set<std::string> varied;
  const Json first = runs.empty() ? Json() : JsonIn(runs[0].axes_json());
  for (const v1::RunInfo& run : runs) {
    const Json axes = JsonIn(run.axes_json());
    for (const auto& [axis, value] : axes.items()) {
      if (value != first.value(axis, Json())) varied.insert(axis);
    }
  }
  return varied;
}

}  // namespace

std::set<std::string> OtherAxes(const Runs& runs) {
  std::set<std::string> others = VaryingAxes(runs);
  others.erase("position");
  others.erase("train_length");
  return others;
}

std::vector<int> RunsToShow(const Runs& runs, std::size_t n_max) {
  std::vector<int> shown(static_cast<std::size_t>(runs.size()));
  std::iota(shown.begin(), shown.end(), 0);
  if (shown.size() <= n_max) return shown;
  std::vector<int> ranks;
  ranks.reserve(shown.size());
  for (const v1::RunInfo& run : runs) ranks.push_back(IsDone(run) ? 2 : IsWaiting(run) ? 1 : 0);
  std::ranges::stable_sort(shown, {},
                           [&ranks](int i) { return ranks[static_cast<std::size_t>(i)]; });
  shown.resize(n_max);
  std::ranges::sort(shown);
  return shown;
}

std::string FirstSubmitted(const v1::SweepInfo& info) {
  const auto wall_ms = UlidWallMs(info.sweep_id());
  return wall_ms ? FormatWallMs(*wall_ms) : "–";
}

std::string RunNames::Of(const v1::RunInfo& run) {
  if (!varying_axes_) varying_axes_ = VaryingAxes(runs_);
  const Json axes = JsonIn(run.axes_json());
  std::string name = AxisText(axes.value("position", Json("run")));
  for (const std::string& axis : *varying_axes_) {
    if (axis == "position") continue;
    name += Str(" ", ShortAxis(axis), "=", AxisText(axes.value(axis, Json(""))));
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

void LetInterruptsEnd() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    struct sigaction now = {};
    if (sigaction(signal, nullptr, &now) != 0 || now.sa_handler != &OnInterrupt) continue;
    now.sa_handler = SIG_DFL;
    sigaction(signal, &now, nullptr);
  }
}

bool Interrupted() { return g_interrupted; }

std::string Headline(const v1::SweepInfo& info) {
  return Str(info.name(), " ", info.state(), "  ", info.tasks_succeeded(), " of ",
             Counted(info.tasks(), "task"), " done, ", info.tasks_running(),
             info.state() == "INTERRUPTED" ? " interrupted, " : " running, ", info.tasks_failed(),
             " failed");
}

std::string Milestone(const v1::RunInfo& run, const std::string& last) {
  const v1::TaskInfo* task = CurrentTask(run);
  if (task == nullptr) return "done";
  const std::string state = Str(task->task(), " ", task->attempts(), task->state());
  // A task that waits has the progress of an earlier attempt, which may grow as records come late.
  const bool waits = task->state() == "READY" || task->state() == "BLOCKED";
  if (waits) return Str(state, NobodyCan(*task).empty() ? "" : "blocked");
  const v1::TaskProgress& progress = task->progress();
  const std::string& phase = progress.phase();
  if (phase == "validate" || phase == "checkpoint") return last;
  const auto of = progress.of();
  return Str(state, phase, of > 0 ? 10 * progress.done() / of : 0);
}

int TriesOf(const v1::TaskInfo& task) { return task.attempts() - task.withdrawn(); }

bool IsWaiting(const v1::RunInfo& run) {
  return std::ranges::all_of(run.tasks(), [](const v1::TaskInfo& task) {
    const bool waits = task.state() == "READY" || task.state() == "BLOCKED";
    return waits && TriesOf(task) == 0 && NobodyCan(task).empty();
  });
}

bool IsDone(const v1::RunInfo& run) { return CurrentTask(run) == nullptr; }

std::string ChangeLine(const v1::RunInfo& run, const std::set<std::string>& other_axes) {
  const std::vector<std::string> f = RunFields(run, other_axes, Reasons::kWhole);
  std::string line =
      Str(ShortId(run.run_key()), " ", f[0], " ", f[1], f[2].empty() ? "" : " ", f[2], ": ", f[3]);
  if (!f[4].empty()) line += ", loss " + f[4];
  if (!f[5].empty()) line += ", " + f[5] + " tokens/s";
  if (!f[6].empty()) line += ", ETA " + f[6];
  return line;
}

std::string EstimateText(const std::string& likely, const std::string& low,
                         const std::string& high) {
  return low == high ? likely : Str(likely, " (", low, " to ", high, ")");
}

std::string TimeLeftText(const v1::TimeLeft& left, const std::string& sweep) {
  const v1::TimeEstimate& time = left.time();
  const auto n_without_slot = left.tasks_without_slot();
  const std::string why = sweep.empty() ? "" : Str(" (`longrun why ", sweep, "` says why)");
  if (time.n() == 0) {
    return n_without_slot == 0 ? std::string()
                               : Str("time left: not known, since no slot can run ",
                                     Counted(n_without_slot, "task"), why);
  }
  const auto text = [](double seconds) {
    const std::int64_t whole = std::llround(seconds);
    return FormatDurationMs(std::max<std::int64_t>(whole, 1) * 1000);
  };
  const auto n_slots = left.slots();
  std::vector<std::string> left_out;
  const auto leave_out = [&](std::int64_t n, std::string_view which) {
    if (n > 0) left_out.push_back(Str(Counted(n, "task"), which));
  };
  leave_out(left.tasks_not_measured(), " whose time cannot be predicted yet");
  leave_out(n_without_slot, Str(" that no slot can run", why));
  leave_out(left.tasks_of_others_left_out(),
            " of other sweeps that may come first and whose time cannot be predicted");
  std::string not_counting;
  for (const std::string& one : left_out) {
    StrAppend(not_counting, Str(not_counting.empty() ? ", not counting " : ", and ", one));
  }
  const auto n_others = left.tasks_of_others();
  return Str("time left: about ",
             EstimateText(text(time.likely_s()), text(time.low_s()), text(time.high_s())),
             n_slots > 0 ? Str(" on ", Counted(n_slots, "slot")) : "",
             n_others > 0 ? Str(", after ", Counted(n_others, "task"), " of other sweeps") : "",
             not_counting);
}

std::string RenderProgress(const SweepProgress& progress, std::size_t n_lines) {
  const Runs& runs = progress.runs;
  const std::set<std::string> other_axes = OtherAxes(runs);
  const std::string left = TimeLeftText(progress.time_left, progress.info.name());
  const std::string last =
      Str(left.empty() ? "" : left + "\n",
          progress.workers == nullptr ? "" : WorkersLine(*progress.workers) + "\n");
  // The headline, the column names and the last lines are always shown.
  const auto n_fixed = 2 + static_cast<std::size_t>(std::ranges::count(last, '\n'));
  const std::size_t room = n_lines > n_fixed ? n_lines - n_fixed : 1;
  // One line counts the runs for which there is no room.
  const auto n_runs = static_cast<std::size_t>(runs.size());
  const std::size_t n_shown = n_runs <= room ? room : room - 1;
  std::vector<std::vector<std::string>> rows;
  for (const int i : RunsToShow(runs, n_shown)) {
    rows.push_back(RunFields(runs[i], other_axes, Reasons::kShort));
  }
  const std::string more = rows.size() < n_runs ? Str("… ", n_runs - rows.size(), " more\n") : "";
  return Headline(progress.info) + "\n" +
         RenderColumns({"position", "train_length", "", "now", "loss", "tokens/s", "ETA", ""},
                       {Align::kLeft, Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight,
                        Align::kRight, Align::kRight, Align::kLeft},
                       rows) +
         more + last;
}

std::string FitProgress(const SweepProgress& progress, const TerminalSize& window,
                        const std::string& after) {
  // One row is the cursor's own, below the last line. A log has room for what comes after.
  const std::size_t n_taken = (window.columns > 0 ? RowsOf(after, window.columns) : 0) + 1;
  const std::string text =
      RenderProgress(progress, window.rows > n_taken ? window.rows - n_taken : 1);
  // A line that wraps would take two rows, and the next redraw would be one line off.
  return window.columns > 0 ? ClipLines(text, window.columns) : text;
}

Result<v1::WatchSweepResponse> FollowSweep(const std::string& state, const std::string& sweep,
                                           const FollowOptions& options) {
  const Result<HeldState> held = HeldState::Open(state);
  const auto own = [&] { return options.own ? options.own() : nullptr; };
  // The reason why no more messages can come, if any.
  const auto broken = [&] {
    Status status = held.ok() ? held->Check() : Status();
    return status.ok() && own() != nullptr ? own()->Check() : status;
  };
  Display display;
  Announcer announcer(state);
  std::optional<v1::WatchSweepResponse> last;
  Status given_up;
  const bool is_remote = IsContext(state);
  while (true) {
    const Result<Destination> destination = DestinationOf(state);
    Status status(Code::kUnavailable, std::string(destination.status().message()));
    if (destination.ok()) {
      CoordinatorConnection connection{*destination};
      if (is_remote) connection.WhenLost([&] { return WhyNotReached(*destination); });
      std::atomic<bool> done{false};
      // Ends a blocked read if the user interrupts or nothing more can come, and repeats notices
      // while their cause lasts.
      std::thread watcher = StartThread([&] {
        while (!done) {
          if (Interrupted() || !broken().ok()) connection.CancelStream();
          announcer.SayWhatIsDue(own() != nullptr);
          poll(nullptr, 0, static_cast<int>(kPollMs));
        }
      });
      status = connection.WatchSweep(
          sweep, /*first=*/own() != nullptr, [&](const v1::WatchSweepResponse& message) {
            last = message;
            announcer.Set(message);
            if (options.give_up) given_up = options.give_up(message);
            if (given_up.ok() && options.show) {
              options.show(message);
            } else if (given_up.ok()) {
              display.Show(message);
            }
            return given_up.ok() && !Interrupted() && !message.finished();
          });
      done = true;
      watcher.join();
    }
    if (Interrupted()) return Status(Code::kCancelled, "interrupted");
    if (!given_up.ok()) return given_up;
    if (last && last->finished()) return std::move(*last);
    RETURN_IF_ERROR(broken());
    const bool away =
        status.ok() || status.code() == Code::kUnavailable || status.code() == Code::kCancelled;
    if (!away) return status;
    if (options.away) options.away();
    const Status silent = announcer.Lost(status, "longrun watch " + sweep);
    if (own() == nullptr) RETURN_IF_ERROR(silent);
    // Without a connection there is no watcher to say so.
    announcer.SayWhatIsDue(own() != nullptr);
    poll(nullptr, 0, static_cast<int>(is_remote ? kRemotePauseMs : kPollMs));
  }
}

bool NothingFits(const v1::WatchSweepResponse& message) {
  // The entry of a worker that has not connected yet is from its last visit.
  const bool is_there = std::ranges::any_of(
      message.workers(), [](const v1::WorkerInfo& worker) { return worker.state() == "READY"; });
  if (!is_there) return false;
  bool any = false;
  for (const v1::RunInfo& run : message.runs()) {
    for (const v1::TaskInfo& task : run.tasks()) {
      const std::string& state = task.state();
      if (state == "RUNNING" || state == "RESERVED" || state == "STOPPING") return false;
      if (state != "READY") continue;
      if (!task.reason().starts_with(kNobodyCan)) return false;
      any = true;
    }
  }
  return any;
}

void PrintNotices(const Repeated<v1::Notice>& notices) {
  for (const v1::Notice& notice : notices) SayLine(Printable(notice.text()));
}

namespace {

// Not if its worker could not get what the task reads, and started no trainer.
bool MayHaveLog(const v1::TaskInfo& task) {
  const bool has_run = !task.has_duration_ms() || task.duration_ms() > 0;
  return has_run || !task.reason().starts_with(FailureOf(FailureClass::kData).name);
}

}  // namespace

std::string FailedTasksText(const SweepProgress& progress) {
  bool any_for_good = false;
  std::size_t n_failed = 0;
  std::string text;
  RunNames names(progress.runs);
  for (const v1::RunInfo& run : progress.runs) {
    for (const v1::TaskInfo& task : run.tasks()) {
      if (task.state() != "FAILED") continue;
      any_for_good = any_for_good || task.failed_for_good();
      if (++n_failed > kFailuresShown) continue;
      text += Str(task.kind(), " task of ", names.Of(run),
                  " failed: ", OneLine(Printable(task.reason())), "\n");
      if (MayHaveLog(task)) {
        text += Str("  `longrun logs ", ShortId(task.task()), "` shows its log\n");
      }
    }
  }
  if (n_failed > kFailuresShown) {
    text += Str("and ", Counted(static_cast<std::int64_t>(n_failed - kFailuresShown), "task"),
                " more failed: `longrun get ", progress.info.name(), "` shows them\n");
  }
  if (any_for_good) {
    text +=
        "diverged training runs are not retried, since they would diverge again: change the sweep "
        "file as suggested above, and run it\n";
  }
  return text;
}

void PrintFailures(const SweepProgress& progress) { SayText(FailedTasksText(progress)); }

int ShowEnd(const v1::WatchSweepResponse& message) {
  PrintFailures(message);
  return SweepExitCode({message.info().state()});
}

int ShowNow(const v1::GetSweepResponse& message, const std::string& after) {
  const int code = SweepExitCode({message.info().state()});
  std::string below;
  for (const v1::Notice& notice : message.notices()) {
    below += notice.text() + "\n";
  }
  below += FailedTasksText(message);
  if (code == kExitIncomplete && !after.empty()) below += after + "\n";
  below = WithSuggestions(below);
  std::fputs((FitProgress(message, SizeOfStderr(), below) + below).c_str(), stderr);
  return code;
}

}  // namespace longrun::client
