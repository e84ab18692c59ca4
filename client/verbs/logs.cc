// longrun logs THING: a trainer's log; with -f also the progress of its run.
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdio>
#include <optional>
#include <set>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/letter_case.h"
#include "base/str.h"
#include "base/thread.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/embedded.h"
#include "client/wire/retrying_client.h"
#include "client/words/run_of.h"
#include "client/words/sweep_view.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kQueryMs = 10'000;
constexpr std::int64_t kLookMs = 1'000;  // between two checks of a run's progress
constexpr int kPauseMs = 20;

// Prints the text as it comes, or each complete line as a JSON object.
class LogPrinter {
 public:
  explicit LogPrinter(bool as_json) : as_json_(as_json) {}

  void Add(const v1::GetLogsResponse& message) {
    const std::string& text = message.text();
    wrote_ = wrote_ || !text.empty();
    if (!as_json_) {
      Print(text);
    } else {
      if (message.attempt() != attempt_) End();
      attempt_ = message.attempt();
      rest_ += text;
      for (std::size_t end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n')) {
        PrintLine(rest_.substr(0, end));
        rest_.erase(0, end + 1);
      }
    }
    std::fflush(stdout);  // so that a follower sees it now
  }

  // Prints a last line that has no newline.
  void End() {
    if (!rest_.empty()) PrintLine(rest_);
    rest_.clear();
  }

  bool wrote() const { return wrote_; }

 private:
  void PrintLine(const std::string& line) const {
    Print(Str(CanonicalJson({{"attempt", attempt_}, {"line", line}}), "\n"));
  }

  bool as_json_;
  bool wrote_ = false;
  std::string attempt_;
  std::string rest_;  // of a line that is not complete yet
};

// The run key of a run, a task or an attempt, given the start of its id; "" if there is none.
Result<std::string> RunKeyOf(RetryingClient& client, const std::string& thing) {
  const Result<v1::GetRunResponse> found = client.GetRun(thing);
  if (found.ok()) return found->run().run_key();
  const bool is_id = std::ranges::all_of(
      thing, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; });
  if (!is_id) return std::string();
  const auto begins = [](const char* id, const std::string& with) {
    return Str(id, " >= '", with, "' AND ", id, " < '", with, "~'");
  };
  // Ids of tasks have small letters, those of attempts capitals. Users may give either.
  const std::string sql =
      Str("SELECT run_key FROM tasks WHERE ", begins("task", InSmallLetters(thing)),
          " UNION SELECT run_key FROM attempts WHERE ", begins("attempt", InCapitals(thing)));
  ASSIGN_OR_RETURN(const v1::QueryResponse answer,
                   client.Query(sql, {.timeout_ms = kQueryMs, .rows_max = 1}));
  const Json rows = JsonIn(answer.rows_json());
  return rows.empty() ? std::string() : rows.at(0).at(0).get<std::string>();
}

// Reports a run's progress at each tenth of its work while this object lives, since the log of a
// healthy trainer is silent.
class ProgressLines {
 public:
  ProgressLines(const std::string& state, const std::string& thing)
      : thread_(StartThread([this, state, thing] { Follow(state, thing); })) {}
  ~ProgressLines() {
    is_over_ = true;
    thread_.join();
  }
  ProgressLines(const ProgressLines&) = delete;
  ProgressLines& operator=(const ProgressLines&) = delete;

 private:
  void Follow(const std::string& state, const std::string& thing) {
    RetryingClient client(state);
    const Result<std::string> found = RunKeyOf(client, thing);
    if (!found.ok()) return SayLine(Str("no progress is shown: ", found.status().message()));
    const std::string& run_key = *found;
    if (run_key.empty()) return;  // the log's stream reports that
    std::string milestone;
    while (true) {
      const bool is_last = is_over_;
      const Result<v1::GetRunResponse> answer = client.GetRun(run_key);
      if (!answer.ok()) return;
      const v1::RunInfo& run = answer->run();
      if (const std::string now = Milestone(run, milestone); now != milestone) {
        milestone = now;
        SayLine(ChangeLine(run, {}));
      }
      if (is_last) return;
      const std::int64_t next_ms = BootMs() + kLookMs;
      while (!is_over_ && BootMs() < next_ms) poll(nullptr, 0, kPauseMs);
    }
  }

  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

// Whether the command shows the attempt's log. Of a run or a task, that is the newest attempt's.
bool IsShown(const v1::RunInfo& run, const v1::TaskInfo& task, const v1::AttemptInfo& attempt,
             const std::string& thing) {
  const auto begins = [&thing](std::string_view id) {
    return std::ranges::equal(id.substr(0, thing.size()), thing, {}, &ToLower, &ToLower);
  };
  if (begins(attempt.attempt())) return true;
  const bool is_newest = attempt.attempt() == task.attempt();
  return is_newest && (begins(run.run_key()) || begins(task.task()));
}

// Why nothing of a log is stored, as far as it is known.
std::string NothingStored(const std::string& state, const std::string& thing) {
  static const std::set<std::string_view> kInOrder = {"", "preempted", "cancelled"};
  const bool is_served = ServiceRuns(state);  // before the client starts one of its own
  RetryingClient client(state);
  v1::RunInfo run;
  if (const Result<std::string> key = RunKeyOf(client, thing); key.ok() && !key->empty()) {
    const Result<v1::GetRunResponse> answer = client.GetRun(*key);
    if (answer.ok()) run = answer->run();
  }
  for (const v1::TaskInfo& task : run.tasks()) {
    for (const v1::AttemptInfo& attempt : task.attempt_list()) {
      if (!IsShown(run, task, attempt, thing)) continue;
      // Of an attempt that was withdrawn, no trainer was started.
      if (kInOrder.contains(attempt.failure_class()) || attempt.state() == "REJECTED") continue;
      return Str(
          "attempt ", attempt.attempt(), " ended (", attempt.failure_class(),
          "), but no log of it is stored: its trainer wrote nothing, or its files were removed");
    }
  }
  return Str("the log is empty: a trainer writes to it when something is wrong",
             is_served ? "; `longrun watch` shows progress" : "");
}

int Logs(const std::string& target, const bool follow, bool as_json, const std::string& state) {
  LogPrinter printer(as_json);
  std::string thing = target;
  // Without a service nothing makes progress.
  const bool shows_progress = follow && ServiceRuns(state);
  bool follows = follow;
  const auto print = [&] {
    std::optional<ProgressLines> progress;
    if (shows_progress) progress.emplace(state, thing);
    return ReadLogs(state, thing, follows, [&printer](const v1::GetLogsResponse& message) {
      printer.Add(message);
      return std::ferror(stdout) == 0;  // whether somebody still reads it
    });
  };
  Status status = print();
  if (status.code() == Code::kNotFound || status.code() == Code::kInvalidArgument) {
    RetryingClient client(state);
    const Result<std::string> run =
        RunOf(client, target, {.verb = "logs"}, NoSuchRun(target, status));
    if (run.ok()) thing = *run;
    status = run.ok() ? print() : run.status();
  }
  printer.End();
  if (!status.ok()) return Report(status);
  if (!printer.wrote() && !shows_progress) SayLine(NothingStored(state, thing));
  if (follow && !follows) {
    SayLine(Str("no service runs on ", state, ": there is nothing to follow"));
  }
  return kExitOk;
}

}  // namespace

void AddLogs(Verbs& verbs) {
  Verb verb = verbs.AddVerb("logs", "show the trainer's log of a run, task or attempt");
  verb.AddExamples(
      {"longrun logs 1f2e3d4c", "longrun logs -f 1f2e3d4c", "longrun logs -f 1f2e3d4c -o json"});
  const auto target = std::make_shared<std::string>();
  const auto follow = std::make_shared<bool>(false);
  verb.AddArgument("THING", *target,
                   "the id of a run, a task or an attempt (8 characters or more), or a sweep that "
                   "has only one run")
      .Required();
  verb.AddFlag("-f,--follow", *follow,
               "follow the log until the attempt has ended, and report the progress");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, target, follow, output] {
    return Logs(*target, *follow, *output == "json", verbs.state);
  });
}

}  // namespace longrun::client
