// See runner.h.
#include "tests/cli/runner.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "tests/cli/file_steps.h"
#include "tests/deadline.h"
#include "tests/wait_until.h"

namespace longrun {
namespace {

// A command that takes longer hangs, also on a busy machine.
constexpr std::int64_t kStepMsMax = DeadlineMs(240'000);
constexpr int kPollMs = 10;
constexpr std::string_view kPrograms[] = {"longrun", "longrun-coordinator", "longrun-worker",
                                          "longrun-trainer"};

// ---- patterns -----------------------------------------------------------------------------------

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f'); }

// Whether `text` as a whole is of the class; nothing when there is no such class.
std::optional<bool> IsOfClass(std::string_view name, std::string_view text) {
  const auto all = [&](auto test) { return std::ranges::all_of(text, test); };
  if (name == "ID") return IsUlid(text);
  if (name == "HEX") return text.size() >= 8 && all(IsHex);
  if (name == "NUM") {
    return std::ranges::any_of(text, IsDigit) &&
           all([](char c) { return IsDigit(c) || c == '.' || c == '-' || c == '+' || c == 'e'; });
  }
  if (name == "TIME") {
    return text.size() >= 10 && all([](char c) {
             return IsDigit(c) || c == '-' || c == ':' || c == '.' || c == 'T' || c == 'Z';
           });
  }
  if (name == "ws") return !text.empty() && all([](char c) { return c == ' '; });
  if (name == "*") return true;
  return std::nullopt;
}

// "[HEX:run]" at the start of a pattern.
struct Placeholder {
  std::string_view name, kept_as;
  std::size_t n_bytes = 0;
};

std::optional<Placeholder> PlaceholderAt(std::string_view pattern) {
  const std::size_t end = pattern.find(']');
  if (pattern.empty() || pattern[0] != '[' || end == std::string_view::npos) return std::nullopt;
  const std::string_view inside = pattern.substr(1, end - 1);
  const std::size_t colon = inside.find(':');
  Placeholder found{.name = inside.substr(0, colon), .kept_as = {}, .n_bytes = end + 1};
  if (colon != std::string_view::npos) found.kept_as = inside.substr(colon + 1);
  if (!IsOfClass(found.name, "")) return std::nullopt;
  return found;
}

bool Match(std::string_view pattern, std::string_view text, Captures& captures) {
  while (!pattern.empty()) {
    if (const auto placeholder = PlaceholderAt(pattern)) {
      const std::string_view rest = pattern.substr(placeholder->n_bytes);
      for (std::size_t n = text.size() + 1; n-- > 0;) {
        if (!*IsOfClass(placeholder->name, text.substr(0, n))) continue;
        Captures with = captures;
        if (!placeholder->kept_as.empty()) {
          with[std::string(placeholder->kept_as)] = text.substr(0, n);
        }
        if (!Match(rest, text.substr(n), with)) continue;
        captures = std::move(with);
        return true;
      }
      return false;
    }
    if (text.empty() || text[0] != pattern[0]) return false;
    pattern.remove_prefix(1);
    text.remove_prefix(1);
  }
  return text.empty();
}

std::string ReplaceAll(std::string text, std::string_view from, std::string_view to) {
  if (from.empty()) return text;
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string WithCaptures(std::string text, const Captures& captures) {
  for (const auto& [name, value] : captures) text = ReplaceAll(text, Str("{", name, "}"), value);
  return text;
}

bool MatchFrom(const std::vector<std::string>& patterns, std::size_t p,
               const std::vector<std::string>& lines, std::size_t l, Captures& captures) {
  if (p == patterns.size()) return l == lines.size();
  if (patterns[p] == "[...]") {
    for (std::size_t next = l; next <= lines.size(); ++next) {
      if (MatchFrom(patterns, p + 1, lines, next, captures)) return true;
    }
    return false;
  }
  Captures with = captures;
  if (l == lines.size() || !MatchLine(patterns[p], lines[l], with) ||
      !MatchFrom(patterns, p + 1, lines, l + 1, with)) {
    return false;
  }
  captures = std::move(with);
  return true;
}

// ---- files of steps -----------------------------------------------------------------------------

struct Output {
  std::vector<std::string> out, err;  // patterns when expected, lines when it came
  int code = 0;
};

struct Step {
  std::vector<std::string> before;  // prose and empty lines
  std::string command;              // less its "$ "
  std::size_t line = 0;
  Output expected;
};

struct CliFile {
  std::vector<Step> steps;
  std::vector<std::string> after;
  std::string problem;
};

CliFile ParseCliFile(const std::string& text) {
  CliFile file;
  std::vector<std::string> prose;
  std::vector<std::string> lines = Split(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  bool in_step = false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    if (line.starts_with("$ ")) {
      file.steps.push_back(
          {.before = std::move(prose), .command = line.substr(2), .line = i + 1, .expected = {}});
      prose.clear();
      in_step = true;
    } else if (line.empty() || line.starts_with("#")) {
      prose.push_back(line);
      in_step = false;
    } else if (!in_step) {
      file.problem = Str("line ", i + 1, ": \"", line, "\" belongs to no \"$ command\"");
    } else if (line.starts_with("  ")) {
      file.steps.back().expected.out.push_back(line.substr(2));
    } else if (line.starts_with("! ")) {
      file.steps.back().expected.err.push_back(line.substr(2));
    } else if (line.starts_with("? ")) {
      file.steps.back().expected.code = std::atoi(line.c_str() + 2);
    } else {
      file.problem = Str("line ", i + 1, ": \"", line, "\" is no \"  \", \"! \" or \"? \" line");
    }
  }
  file.after = std::move(prose);
  return file;
}

std::string RenderOutput(const Output& output) {
  std::string text;
  for (const std::string& line : output.out) text += Str("  ", line, "\n");
  for (const std::string& line : output.err) text += Str("! ", line, "\n");
  if (output.code != 0) text += Str("? ", output.code, "\n");
  return text;
}

std::string RenderCliFile(const CliFile& file) {
  std::string text;
  for (const Step& step : file.steps) {
    for (const std::string& line : step.before) text += line + "\n";
    text += Str("$ ", step.command, "\n", RenderOutput(step.expected));
  }
  for (const std::string& line : file.after) text += line + "\n";
  return text;
}

// The words of a command: '...' and "..." keep spaces.
std::vector<std::string> Words(const std::string& command) {
  std::vector<std::string> words;
  std::string word;
  bool open = false;
  char quote = 0;
  for (const char c : command) {
    if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      open = true;
    } else if (c == ' ') {
      if (open) words.push_back(std::exchange(word, {}));
      open = false;
    } else {
      word += c;
      open = true;
    }
  }
  if (open) words.push_back(word);
  return words;
}

// What varies from run to run, as the patterns that an updated file gets.
std::string AsPattern(const std::string& line, const std::string& folder) {
  const std::string text = ReplaceAll(line, folder, "[TMP]");
  std::string pattern;
  for (std::size_t i = 0; i < text.size();) {
    const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
    if (!is_word(text[i]) || (i > 0 && is_word(text[i - 1]))) {
      pattern += text[i++];
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && is_word(text[end])) ++end;
    const std::string_view word = std::string_view(text).substr(i, end - i);
    // 2026-11-20T08:03:46Z, or with milliseconds
    const std::size_t time_end = text.find('Z', i);
    if (time_end != std::string::npos && time_end < i + 25 && text[i + 4] == '-' &&
        *IsOfClass("TIME", std::string_view(text).substr(i, time_end - i))) {
      pattern += "[TIME]";
      i = time_end + 1;
      continue;
    }
    const bool is_hex = *IsOfClass("HEX", word) && std::ranges::any_of(word, IsDigit) &&
                        !std::ranges::all_of(word, IsDigit);
    pattern += IsUlid(word) ? "[ID]" : is_hex ? "[HEX]" : std::string(word);
    i = end;
  }
  return pattern;
}

// ---- running ------------------------------------------------------------------------------------

// What a process has written so far; "" where the file is not there yet.
std::string TextOf(const std::string& path) {
  const Result<std::string> text = ReadFile(path);
  return text.ok() ? *text : "";
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  for (std::string& line : Split(text, '\n')) {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

class Runner {
 public:
  Runner() {
    env_ = {{"PATH", "/usr/bin:/bin"},
            {"HOME", folder_.path()},
            {"TMPDIR", "/tmp"},
            {"LONGRUN_HOME", JoinPath(folder_.path(), "home")},
            {"LONGRUN_WORKER_TRAINER", LONGRUN_BIN_DIR "/longrun-fake-trainer"},
            {"OMP_WAIT_POLICY", "passive"},
            {"OMP_NUM_THREADS", "1"}};
  }
  ~Runner() {
    while (!started_.empty()) static_cast<void>(End(SIGKILL).ok());
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  const std::string& folder() const { return folder_.path(); }

  Result<Output> Run(const std::vector<std::string>& words, const std::vector<std::string>& body) {
    if (words.empty()) return Status(Code::kInvalidArgument, "an empty command");
    const std::string& name = words[0];
    const auto argument = [&](std::size_t i) { return i < words.size() ? words[i] : ""; };
    if (name == "start" && words.size() >= 3) return StartUntil(words);
    if (name == "until" && words.size() >= 3) return RepeatUntil(words);
    if (name == "stop") return End(SIGINT);
    if (name == "kill") return End(SIGKILL);
    if (name == "hangup") return End(SIGHUP);
    if (name == "end") return End(0);  // no signal
    if (const FileStep* const step = FindFileStep(name)) {
      ASSIGN_OR_RETURN(std::vector<std::string> lines, step->run(folder_.path(), words, body));
      return Output{.out = std::move(lines), .err = {}, .code = 0};
    }
    if (name == "env") return Done(SetEnv(argument(1)));
    ASSIGN_OR_RETURN(Process process, Launch(words));
    return Finish(process);
  }

 private:
  struct Process {
    int pid = 0;
    std::string out, err;
  };

  static Result<Output> Done(const Status& status) {
    RETURN_IF_ERROR(status);
    return Output{};
  }
  Result<Process> Launch(const std::vector<std::string>& words) {
    if (std::ranges::find(kPrograms, words[0]) == std::end(kPrograms)) {
      return Status(Code::kInvalidArgument, Str("\"", words[0], "\" is no command of such a file"));
    }
    SpawnOptions options;
    options.argv = words;
    options.argv[0] = JoinPath(LONGRUN_BIN_DIR, words[0]);
    for (const auto& [name, value] : env_) options.env.push_back(Str(name, "=", value));
    options.cwd = folder_.path();
    Process process;
    process.out = JoinPath(output_.path(), Str(++n_launched_, ".out"));
    process.err = JoinPath(output_.path(), Str(n_launched_, ".err"));
    options.stdout_path = process.out;
    options.stderr_path = process.err;
    options.own_group = true;
    options.die_with_parent = true;
    ASSIGN_OR_RETURN(process.pid, Spawn(options));
    return process;
  }

  static Result<Output> Finish(const Process& process) {
    ASSIGN_OR_RETURN(const auto ended, WaitFor(process.pid, kStepMsMax));
    if (!ended) {
      kill(process.pid, SIGKILL);
      static_cast<void>(WaitFor(process.pid, kStepMsMax).ok());
      return Status(Code::kDeadlineExceeded,
                    Str("it did not end within ", kStepMsMax / 1000, " s: ", TextOf(process.err)));
    }
    Output output;
    ASSIGN_OR_RETURN(const std::string out, ReadFile(process.out));
    ASSIGN_OR_RETURN(const std::string err, ReadFile(process.err));
    for (const char c : out + err) {
      if (static_cast<unsigned char>(c) < ' ' && c != '\n') {
        return Status(Code::kInternal, Str("it wrote the control character ", static_cast<int>(c),
                                           " though nothing is a terminal: ", out, err));
      }
    }
    output.out = LinesOf(out);
    output.err = LinesOf(err);
    output.code = ended->signal != 0 ? 128 + ended->signal : ended->code;
    return output;
  }

  Result<Output> StartUntil(const std::vector<std::string>& words) {
    ASSIGN_OR_RETURN(Process process, Launch({words.begin() + 2, words.end()}));
    const std::int64_t deadline = BootMs() + kStepMsMax;
    while (true) {
      const std::string said = TextOf(process.out) + TextOf(process.err);
      if (said.find(words[1]) != std::string::npos) break;
      ASSIGN_OR_RETURN(const auto ended, WaitFor(process.pid, 0));
      if (ended || BootMs() > deadline) {
        return Status(Code::kInternal, Str("it never said \"", words[1], "\" but: ", said));
      }
      poll(nullptr, 0, kPollMs);
    }
    started_.push_back(std::move(process));
    return Output{};
  }

  Result<Output> RepeatUntil(const std::vector<std::string>& words) {
    const std::int64_t deadline = BootMs() + kStepMsMax;
    while (true) {
      ASSIGN_OR_RETURN(const Process process, Launch({words.begin() + 2, words.end()}));
      RETURN_IF_ERROR(Finish(process).status());
      const std::string said = TextOf(process.out) + TextOf(process.err);
      if (said.find(words[1]) != std::string::npos) return Output{};
      if (BootMs() > deadline) {
        return Status(Code::kInternal, Str("it never said \"", words[1], "\" but: ", said));
      }
    }
  }

  Result<Output> End(int signal_number) {
    if (started_.empty()) return Status(Code::kInvalidArgument, "nothing was started");
    const Process process = started_.back();
    started_.pop_back();
    kill(process.pid, signal_number);
    ASSIGN_OR_RETURN(Output output, Finish(process));
    if (signal_number == SIGKILL) RETURN_IF_ERROR(WaitUntilNobodyServes());
    return output;
  }

  // The daemons of one that was killed are killed by the kernel, in its own time.
  Status WaitUntilNobodyServes() const {
    const std::string home = JoinPath(folder_.path(), "home");
    const std::string locks[] = {JoinPath(home, "coordinator.lock"), JoinPath(home, "worker/lock")};
    if (WaitUntil(kStepMsMax, [&] { return std::ranges::none_of(locks, FileLock::IsHeld); })) {
      return Status();
    }
    return Status(Code::kDeadlineExceeded, "a daemon outlives what had started it");
  }

  Status SetEnv(const std::string& word) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) {
      env_.erase(word);
    } else {
      env_[word.substr(0, equals)] = word.substr(equals + 1);
    }
    return Status();
  }

  TempFolder folder_{"cli"};
  TempFolder output_{"cli-output"};
  std::map<std::string, std::string> env_;
  std::vector<Process> started_;
  int n_launched_ = 0;
};

bool Same(const Output& expected, const Output& came, Captures& captures) {
  Captures with = captures;
  if (expected.code != came.code || !MatchLines(expected.out, came.out, with) ||
      !MatchLines(expected.err, came.err, with)) {
    return false;
  }
  captures = std::move(with);
  return true;
}

Output AsPatterns(Output output, const std::string& folder) {
  for (auto* lines : {&output.out, &output.err}) {
    for (std::string& line : *lines) line = AsPattern(line, folder);
  }
  return output;
}

}  // namespace

bool MatchLine(std::string_view pattern, std::string_view text, Captures& captures) {
  return Match(WithCaptures(std::string(pattern), captures), text, captures);
}

bool MatchLines(const std::vector<std::string>& patterns, const std::vector<std::string>& lines,
                Captures& captures) {
  return MatchFrom(patterns, 0, lines, 0, captures);
}

std::vector<std::string> RunCliFile(const std::string& path) {
  const Result<std::string> text = ReadFile(path);
  if (!text.ok()) return {text.status().message()};
  CliFile file = ParseCliFile(*text);
  if (!file.problem.empty()) return {Str(path, ": ", file.problem)};

  const bool update = GetEnv("LONGRUN_UPDATE").has_value();
  std::vector<std::string> failures;
  Runner runner;
  Captures captures = {{"TMP", runner.folder()}};
  for (Step& step : file.steps) {
    const std::vector<std::string> words = Words(WithCaptures(step.command, captures));
    const FileStep* const file_step = words.empty() ? nullptr : FindFileStep(words[0]);
    const bool takes_body = file_step != nullptr && file_step->takes_body;
    Output expected = step.expected;
    for (auto* lines : {&expected.out, &expected.err}) {
      for (std::string& line : *lines) line = ReplaceAll(line, "[TMP]", runner.folder());
    }
    const Result<Output> came = runner.Run(words, expected.out);
    const std::string place = Str(path, ":", step.line, ": $ ", step.command);
    if (!came.ok()) {
      failures.push_back(Str(place, "\n", came.status().message()));
    } else if (!takes_body && !Same(expected, *came, captures)) {
      const Output shown = AsPatterns(*came, runner.folder());
      if (update) {
        // A part that is right stays, with its patterns.
        if (!MatchLines(expected.out, came->out, captures)) step.expected.out = shown.out;
        if (!MatchLines(expected.err, came->err, captures)) step.expected.err = shown.err;
        step.expected.code = shown.code;
      } else {
        failures.push_back(Str(place, "\nexpected:\n", RenderOutput(step.expected), "but came:\n",
                               RenderOutput(shown)));
      }
    }
  }
  if (update) {
    if (const Status written = WriteFileAtomic(path, RenderCliFile(file)); !written.ok()) {
      failures.push_back(written.message());
    }
  }
  return failures;
}

}  // namespace longrun
