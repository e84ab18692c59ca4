#include "client/wire/coordinator_program.h"

#include <optional>

#include "base/files.h"
#include "base/memory_file.h"
#include "base/process.h"
#include "base/str.h"

namespace longrun::client {

Result<ProgramAnswer> RunCoordinatorProgram(const std::vector<std::string>& arguments) {
  // A disk may be full: that may be why somebody calls the program.
  ASSIGN_OR_RETURN(const MemoryFile said, MemoryFile::Make());
  ASSIGN_OR_RETURN(const MemoryFile complained, MemoryFile::Make());
  std::vector<std::string> argv = {JoinPath(ProgramFolder(), "longrun-coordinator")};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  std::vector<std::string> env = {"PATH=/usr/bin:/bin"};
  for (const char* const name : {"TMPDIR", "LONGRUN_FAILPOINTS"}) {
    if (const auto value = GetEnv(name)) env.push_back(Str(name, "=", *value));
  }
  ASSIGN_OR_RETURN(const int pid, Spawn({.argv = std::move(argv),
                                         .env = std::move(env),
                                         .stdout_path = said.path(),
                                         .stderr_path = complained.path(),
                                         .die_with_parent = true}));
  ASSIGN_OR_RETURN(const std::optional<ExitInfo> ended, WaitFor(pid, -1));
  ProgramAnswer answer;
  if (ended) answer.exit_code = ended->code;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(said.path()));
  for (const std::string& line : Split(text, '\n')) {
    if (line.empty()) continue;
    ASSIGN_OR_RETURN(Json json, ParseJson(line));
    answer.lines.push_back(std::move(json));
  }
  const Result<std::string> complaint = ReadFile(complained.path());
  answer.complaint = complaint.ok() && !complaint->empty() ? Split(Trim(*complaint), '\n').back()
                                                           : "no reason was given";
  return answer;
}

}  // namespace longrun::client
