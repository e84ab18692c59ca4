#include "client/wire/coordinator_program.h"

#include <utility>

#include "base/files.h"
#include "base/process.h"
#include "base/run_child.h"
#include "base/str.h"

namespace longrun::client {

Result<ProgramAnswer> RunCoordinatorProgram(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {JoinPath(ProgramFolder(), "longrun-coordinator")};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  std::vector<std::string> env = {"PATH=/usr/bin:/bin"};
  for (const char* const name : {"TMPDIR", "LONGRUN_FAILPOINTS"}) {
    if (const auto value = GetEnv(name)) env.push_back(Str(name, "=", *value));
  }
  ASSIGN_OR_RETURN(
      const ChildRun run,
      RunChild({.argv = std::move(argv), .env = std::move(env), .die_with_parent = true}));
  ProgramAnswer answer = {.exit_code = run.exit.code, .complaint = run.Complaint()};
  for (const std::string& line : Split(run.printed, '\n')) {
    if (line.empty()) continue;
    ASSIGN_OR_RETURN(Json json, ParseJson(line));
    answer.lines.push_back(std::move(json));
  }
  return answer;
}

}  // namespace longrun::client
