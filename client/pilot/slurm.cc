// See slurm.h.
#include "client/pilot/slurm.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/process.h"
#include "base/run_child.h"
#include "base/str.h"
#include "client/console/suggestion.h"

extern char** environ;

namespace longrun::client {
namespace {

constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kCommandMs = 20'000;
constexpr std::size_t kOutputBytesMax = 64 << 20;

// Lines of #SBATCH have rules of their own for quotes, and Slurm replaces %j and others.
bool IsPlain(std::string_view text, std::string_view more = "") {
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-/+@").find(c) != std::string_view::npos ||
           more.find(c) != std::string_view::npos;
  });
}

JobState StateOf(std::string_view state, std::string_view reason) {
  if (state == "PENDING" || state == "REQUEUED" || state == "CONFIGURING") {
    return reason.starts_with("JobHeld") || reason.find("held") != std::string_view::npos
               ? JobState::kHeld
               : JobState::kPending;
  }
  if (state == "REQUEUE_HOLD" || state == "SPECIAL_EXIT" || state == "RESV_DEL_HOLD") {
    return JobState::kHeld;
  }
  if (state == "COMPLETING" || state == "SIGNALING" || state == "STAGE_OUT") {
    return JobState::kEnding;
  }
  for (const char* const running : {"RUNNING", "SUSPENDED", "STOPPED", "RESIZING"}) {
    if (state == running) return JobState::kRunning;
  }
  return JobState::kEnded;
}

bool IsFailure(std::string_view state) {
  for (const char* const failed : {"FAILED", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY"}) {
    if (state == failed) return true;
  }
  return false;
}

Result<std::string> FindProgram(const std::string& name) {
  for (const std::string& folder : Split(GetEnv("PATH").value_or(""), ':')) {
    if (folder.empty()) continue;
    std::string path = JoinPath(folder, name);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return Status(Code::kNotFound,
                Str(name,
                    " is not on the PATH: run `longrun pilot slurm` on a machine from which "
                    "jobs are submitted to Slurm (Debian: the package slurm-client)"));
}

// Options of sbatch on which the pilot relies.
constexpr std::array<std::string_view, 8> kOwnOptions = {"--job-name", "--array",     "--clusters",
                                                         "--output",   "--open-mode", "--nodes",
                                                         "--ntasks",   "--wrap"};

// Whether the variable of the environment, "NAME=value", is an option of Slurm's commands that
// would change which jobs there are, or which of them squeue lists. The options for resources and
// accounts, such as SBATCH_ACCOUNT, stay.
bool HidesJobs(std::string_view variable) {
  constexpr std::array<std::string_view, 6> kBeginnings = {
      "SQUEUE_",          "SLURM_CLUSTERS=",   "SBATCH_CLUSTERS=",
      "SBATCH_JOB_NAME=", "SBATCH_ARRAY_INX=", "SBATCH_OUTPUT="};
  return std::ranges::any_of(
      kBeginnings, [&](std::string_view beginning) { return variable.starts_with(beginning); });
}

// Runs a command of Slurm, and returns what it printed.
Result<std::string> Run(const std::vector<std::string>& argv) {
  SpawnOptions options = {.argv = argv, .own_group = true};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!HidesJobs(*entry)) options.env.emplace_back(*entry);
  }
  ASSIGN_OR_RETURN(ChildRun run, RunChild(options, {.timeout_ms = kCommandMs,
                                                    .printed_bytes_max = kOutputBytesMax}));
  if (run.ok()) return std::move(run.printed);
  const std::string name = BaseName(argv.front());
  if (run.is_late) {  // sbatch tries again for minutes when the queue is full
    return Status(Code::kUnavailable,
                  Str(name, " has not succeeded within ", kCommandMs / 1000, " s",
                      run.last_line.empty() ? "" : Str(": ", run.last_line)));
  }
  return Status(Code::kFailedPrecondition, Str(name, ": ", run.Complaint()));
}

Status NotPlain(std::string_view option, std::string_view value) {
  return Status(Code::kInvalidArgument,
                Str(option, " \"", Printable(value),
                    "\": expected only letters, digits and the "
                    "characters . _ - / + @, since it becomes a line of a batch script"));
}

}  // namespace

std::string SeatFolder(const SlurmPilot& pilot, int seat) {
  return JoinPath(pilot.folder, Str("seat-", seat));
}
std::string SeatWorkerFolder(const SlurmPilot& pilot, int seat) {
  return JoinPath(SeatFolder(pilot, seat), "worker");
}
std::string SeatTokenFile(const SlurmPilot& pilot, int seat) {
  return JoinPath(SeatFolder(pilot, seat), "join-token");
}
std::string SeatJobLog(const SlurmPilot& pilot, int seat, const std::string& job) {
  return JoinPath(SeatFolder(pilot, seat), Str("job-", job, ".log"));
}
std::string SeatName(const SlurmPilot& pilot, int seat) { return Str(pilot.prefix, seat); }

Status CheckSlurmPartition(std::string_view partition) {
  if (IsPlain(partition, ",")) return Status();
  return NotPlain("--partition", partition);
}

Status CheckSlurmPilot(const SlurmPilot& pilot) {
  if (!IsPlain(pilot.folder)) return NotPlain("--folder", pilot.folder);
  RETURN_IF_ERROR(CheckSlurmPartition(pilot.partition));
  for (const std::string& option : pilot.sbatch) {
    if (!option.starts_with("--") || !IsPlain(option, "=,:*[]")) {
      return Status(Code::kInvalidArgument,
                    Str("--sbatch \"", Printable(option),
                        "\": expected an option of sbatch such as --account=lab, without spaces "
                        "and quotes"));
    }
    // sbatch takes the beginning of an option's name for the option.
    const std::string_view name = std::string_view(option).substr(0, option.find('='));
    for (const std::string_view own : kOwnOptions) {
      if (!own.starts_with(name)) continue;
      return Status(Code::kInvalidArgument, Str("--sbatch \"", option, "\": the pilot decides ",
                                                own, ", by which it knows its jobs: leave it out"));
    }
  }
  return Status();
}

std::string SbatchScript(const SlurmPilot& pilot, int seat) {
  // Slurm counts in minutes.
  const std::int64_t minutes = (pilot.time_ms + kMinuteMs - 1) / kMinuteMs;
  std::string text = "#!/bin/bash\n";
  const auto option = [&](const auto&... parts) { text += Str("#SBATCH ", parts..., "\n"); };
  option("--job-name=", SeatName(pilot, seat));
  option("--partition=", pilot.partition);
  option("--time=", minutes);
  option("--nodes=1");
  option("--ntasks=1");
  if (pilot.gpus > 0) option("--gpus=", pilot.gpus);
  if (pilot.cpus) option("--cpus-per-task=", *pilot.cpus);
  option("--requeue");
  option("--open-mode=append");
  option("--output=", SeatJobLog(pilot, seat, "%j"));
  for (const std::string& more : pilot.sbatch) option(more);
  const std::int64_t seconds = std::max<std::int64_t>(1, pilot.time_ms / 1000);
  text += Str(R"(
# When this job ends, in seconds since 1970: after its time limit, or earlier if Slurm says so.
end=$(( $(date +%s) + )",
              seconds, R"( ))
slurm_end=$(squeue -h -j "$SLURM_JOB_ID" -o %e 2>/dev/null)
if [ -n "$slurm_end" ] && slurm_end=$(date -d "$slurm_end" +%s 2>/dev/null) &&
    [ "$slurm_end" -lt "$end" ]; then
  end=$slurm_end
fi
)");
  std::vector<std::string> words = {"exec",          ShellQuoted(pilot.program),
                                    "--state",       ShellQuoted(SeatWorkerFolder(pilot, seat)),
                                    "--id",          SeatName(pilot, seat),
                                    "--coordinator", ShellQuoted(pilot.coordinator)};
  const auto add = [&](const std::string& name, const std::string& value) {
    words.push_back(name);
    words.push_back(value);
  };
  if (!pilot.ca_fingerprint.empty()) {
    add("--join", ShellQuoted(SeatTokenFile(pilot, seat)));
    add("--ca-fingerprint", pilot.ca_fingerprint);
  }
  if (pilot.gpus == 0) add("--cpu-slots", "1");
  add("--job", "\"slurm $SLURM_JOB_ID\"");
  add("--allocation-end", "\"$end\"");
  add("--idle-exit", ShellQuoted(pilot.idle_exit));
  add("--grace-ms", Str(pilot.grace_ms));
  for (const std::string& label : pilot.labels) add("--label", ShellQuoted(label));
  return Str(text, Join(words, " "), "\n");
}

Result<std::vector<PilotJob>> ParseSqueue(const std::string& text, const std::string& prefix) {
  std::vector<PilotJob> jobs;
  for (const std::string& line : Split(text, '\n')) {
    if (line.empty()) continue;
    const std::vector<std::string> parts = Split(line, '|');
    if (parts.size() < 4) {
      return Status(Code::kDataLoss,
                    Str("squeue printed \"", Printable(line), "\": expected ", kSqueueFormat));
    }
    const std::string& name = parts[2];
    if (!name.starts_with(prefix)) continue;
    PilotJob job = {.id = parts[0]};
    const char* const end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + prefix.size(), end, job.seat);
    if (parsed.ec != std::errc() || parsed.ptr != end || job.seat < 1) continue;
    const std::string& state = parts[1];
    job.reason = parts[3] == "None" ? "" : parts[3];
    job.state = StateOf(state, job.reason);
    if (state != "PENDING" && state != "RUNNING") job.reason = state;
    job.failed = IsFailure(state);
    jobs.push_back(std::move(job));
  }
  std::ranges::sort(jobs, [](const PilotJob& a, const PilotJob& b) {
    return a.id.size() != b.id.size() ? a.id.size() < b.id.size() : a.id < b.id;
  });
  return jobs;
}

Result<SlurmCommands> SlurmCommands::Find() {
  SlurmCommands commands;
  ASSIGN_OR_RETURN(commands.sbatch_, FindProgram("sbatch"));
  ASSIGN_OR_RETURN(commands.squeue_, FindProgram("squeue"));
  ASSIGN_OR_RETURN(commands.scancel_, FindProgram("scancel"));
  return commands;
}

Result<std::vector<PilotJob>> SlurmCommands::Jobs(const std::string& prefix) const {
  ASSIGN_OR_RETURN(const std::string text,
                   Run({squeue_, "--noheader", "--states=all", Str("--user=", getuid()),
                        Str("--format=", kSqueueFormat)}));
  return ParseSqueue(text, prefix);
}

Result<std::string> SlurmCommands::Submit(const std::string& script) const {
  ASSIGN_OR_RETURN(const std::string text, Run({sbatch_, "--parsable", script}));
  // "1234" or "1234;cluster"
  const std::string id(Trim(text.substr(0, text.find(';'))));
  if (!id.empty() && std::ranges::all_of(id, [](char c) { return c >= '0' && c <= '9'; })) {
    return id;
  }
  return Status(Code::kDataLoss,
                Str("sbatch printed \"", Printable(text), "\": expected the id of a job"));
}

Status SlurmCommands::Cancel(const std::string& job) const { return Run({scancel_, job}).status(); }

}  // namespace longrun::client
