// longrun logs THING: what a trainer wrote to its log.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/str.h"
#include "client/ask_stream.h"
#include "client/output.h"
#include "client/run_of.h"
#include "client/verb.h"

namespace longrun {
namespace {

// The text as it comes, or each whole line as an object of its own.
class LogPrinter {
 public:
  explicit LogPrinter(bool as_json) : as_json_(as_json) {}

  void Add(const Json& message) {
    const std::string text = message.at("text").get<std::string>();
    wrote_ = wrote_ || !text.empty();
    if (!as_json_) {
      Print(text);
    } else {
      const std::string attempt = message.at("attempt").get<std::string>();
      if (attempt != attempt_) End();
      attempt_ = attempt;
      rest_ += text;
      for (std::size_t end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n')) {
        PrintLine(rest_.substr(0, end));
        rest_.erase(0, end + 1);
      }
    }
    std::fflush(stdout);  // who follows reads it now
  }

  // A last line that has no end.
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
  std::string rest_;  // of a line that is not whole yet
};

int Logs(const std::string& target, bool follow, bool as_json, const std::string& state) {
  LogPrinter printer(as_json);
  const auto print = [&](const std::string& thing) {
    return AskStream(state, "GetLogs", {{"target", thing}, {"follow", follow}},
                     [&printer](const Json& message) {
                       printer.Add(message);
                       return std::ferror(stdout) == 0;  // somebody reads it
                     });
  };
  Status status = print(target);
  if (status.code() == Code::kNotFound || status.code() == Code::kInvalidArgument) {
    Asker asker(state);
    const Result<std::string> run = RunOf(asker, target, {.verb = "logs"}, status);
    status = run.ok() ? print(*run) : run.status();
  }
  printer.End();
  if (!status.ok()) return Report(status);
  if (!printer.wrote()) {
    std::fprintf(stderr,
                 "the log is empty: a trainer writes to it when something is wrong; "
                 "`longrun watch` shows progress\n");
  }
  return kExitOk;
}

}  // namespace

void AddLogs(Verbs& verbs) {
  CLI::App* verb =
      verbs.app->add_subcommand("logs", "show the trainer's log of a run, task or attempt");
  AddExamples(*verb, {"longrun logs 1f2e3d4c", "longrun logs -f 1f2e3d4c",
                      "longrun logs -f 1f2e3d4c -o json"});
  const auto target = std::make_shared<std::string>();
  const auto follow = std::make_shared<bool>(false);
  verb->add_option("THING", *target, "a run, a task or an attempt (8 digits or more)")->required();
  verb->add_flag("-f,--follow", *follow, "follow the log until the attempt has ended");
  const auto output = AddOutput(*verb, {"table", "json"});
  verb->callback([&verbs, target, follow, output] {
    verbs.run = [&verbs, target, follow, output] {
      return Logs(*target, *follow, *output == "json", verbs.state);
    };
  });
}

}  // namespace longrun
