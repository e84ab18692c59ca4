// longrun pilot slurm: keeps jobs in Slurm's queue that serve as workers, as many as there is work.
#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/host_port.h"
#include "base/process.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/pilot/manager.h"
#include "client/pilot/pilot_table.h"
#include "client/verb.h"
#include "client/wire/context.h"
#include "client/wire/embedded.h"
#include "client/wire/retrying_client.h"
#include "client/words/render.h"
#include "client/words/sweep_view.h"
#include "pki/certificate.h"
#include "pki/files.h"
#include "sweeps/coordinator_address.h"

namespace longrun::client {
namespace {

constexpr int kWaitMs = 100;
constexpr std::size_t kPemBytesMax = 1 << 20;
constexpr std::size_t kHashDigits = 6;

struct SlurmArguments {
  std::string partition;
  std::string time = "4h";
  std::int64_t gpus = 0;
  std::optional<std::int64_t> cpus;
  std::int64_t jobs_max = 1;
  std::string idle_exit = "5min";
  std::string grace = "20s";
  std::string poll = "10s";
  std::optional<std::string> name;
  std::optional<std::string> folder;
  std::optional<std::string> coordinator;
  std::optional<std::string> ca_fingerprint;
  std::optional<std::string> program;
  std::vector<std::string> sbatch;
  std::vector<std::string> labels;
  bool dry_run = false;
};

Result<std::int64_t> Duration(std::string_view option, const std::string& text,
                              std::int64_t least_ms) {
  Result<std::int64_t> ms = ParseDurationMs(text);
  if (!ms.ok()) return std::move(ms).status().In(option);
  if (*ms >= least_ms) return ms;
  return Status(Code::kInvalidArgument,
                Str(option, " ", text, ": expected at least ", FormatDurationMs(least_ms)));
}

// The fingerprint of the authority that workers are to trust: that of the context, or of the state
// folder's own coordinator.
Result<std::string> FingerprintOf(const std::string& state) {
  std::string pem;
  if (IsContext(state)) {
    ASSIGN_OR_RETURN(Context context, ReadContext(state));
    pem = std::move(context.authority);
  } else {
    ASSIGN_OR_RETURN(pem, ReadFile(PkiPathsOf(state).authority, kPemBytesMax));
  }
  ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(pem));
  return facts.fingerprint;
}

Status FillCoordinator(const SlurmArguments& arguments, const std::string& state,
                       SlurmPilot& pilot) {
  if (arguments.coordinator) {
    pilot.coordinator = *arguments.coordinator;
  } else {
    const Result<Destination> destination = DestinationOf(state);
    if (destination.status().code() == Code::kNotFound) {
      return Status(Code::kNotFound, Str("no coordinator runs on ", state,
                                         ": start one with `longrun up --listen HOST:PORT`, or "
                                         "give --coordinator"));
    }
    RETURN_IF_ERROR(destination.status());
    pilot.coordinator = destination->address;
  }
  constexpr std::string_view kUnix = "unix:";
  if (pilot.coordinator.starts_with(kUnix)) {
    return CheckSocketPath(pilot.coordinator.substr(kUnix.size())).In("--coordinator");
  }
  RETURN_IF_ERROR(ParseHostPort(pilot.coordinator).status());
  if (!arguments.ca_fingerprint) {
    Result<std::string> fingerprint = FingerprintOf(state);
    if (!fingerprint.ok()) {
      return std::move(fingerprint)
          .status()
          .In("cannot find out which authority (CA) the jobs are to trust: give --ca-fingerprint, "
              "which `longrun admin pki show` on the coordinator's machine prints");
    }
    pilot.ca_fingerprint = *std::move(fingerprint);
    return Status();
  }
  pilot.ca_fingerprint = PlainFingerprint(*arguments.ca_fingerprint);
  if (!pilot.ca_fingerprint.empty()) return Status();
  return Status(Code::kInvalidArgument, Str("--ca-fingerprint \"", *arguments.ca_fingerprint,
                                            "\": expected a SHA-256 as 64 hex digits"));
}

Result<ManagerOptions> OptionsOf(const SlurmArguments& arguments, const std::string& state) {
  ManagerOptions options;
  SlurmPilot& pilot = options.pilot;
  options.state = state;
  RETURN_IF_ERROR(CheckSlurmPartition(arguments.partition));
  options.name = arguments.name.value_or(arguments.partition);
  if (!IsSafeName(options.name) || options.name.size() > 40) {
    // A list of partitions ("gpu,gpu2") is valid, and only its use as a name is not.
    const bool is_given = arguments.name.has_value();
    return Status(Code::kInvalidArgument,
                  Str(is_given ? "--name \"" : "--partition \"", Printable(options.name),
                      "\": expected at most 40 letters, digits, '.', '_' and '-'",
                      is_given ? "" : ", since it is also the pilot's name; --name gives another"));
  }
  options.jobs_max = static_cast<int>(arguments.jobs_max);
  ASSIGN_OR_RETURN(options.idle_exit_ms, Duration("--idle-exit", arguments.idle_exit, 0));
  ASSIGN_OR_RETURN(pilot.grace_ms, Duration("--grace", arguments.grace, 0));
  ASSIGN_OR_RETURN(pilot.time_ms, Duration("--time", arguments.time, 1000));
  if (pilot.time_ms <= 2 * pilot.grace_ms) {
    return Status(
        Code::kInvalidArgument,
        Str("--time ", arguments.time, " leaves no time for work: trainers are stopped ",
            FormatDurationMs(2 * pilot.grace_ms), " before a job ends, which is twice --grace"));
  }
  if (arguments.folder) {
    ASSIGN_OR_RETURN(pilot.folder, AbsolutePath(*arguments.folder));
  } else {
    ASSIGN_OR_RETURN(const std::string own,
                     IsContext(state) ? StateFolder("") : AbsolutePath(state));
    pilot.folder = JoinPath(JoinPath(own, "pilots"), options.name);
  }
  // Two pilots of a user never take each other's jobs.
  pilot.prefix =
      Str("longrun-", options.name, "-", Sha256Hex(pilot.folder).substr(0, kHashDigits), "-");
  pilot.partition = arguments.partition;
  pilot.gpus = arguments.gpus;
  pilot.cpus = arguments.cpus;
  pilot.sbatch = arguments.sbatch;
  pilot.program = arguments.program.value_or(JoinPath(ProgramFolder(), "longrun-worker"));
  pilot.idle_exit = arguments.idle_exit;
  pilot.labels = arguments.labels;
  RETURN_IF_ERROR(CheckSlurmPilot(pilot));
  RETURN_IF_ERROR(FillCoordinator(arguments, state, pilot));
  return options;
}

int Pilot(const SlurmArguments& arguments, const std::string& state) {
  const Result<ManagerOptions> options = OptionsOf(arguments, state);
  if (!options.ok()) return Report(options.status());
  if (options->pilot.coordinator.starts_with("unix:")) {
    SayLine(Str("the jobs' workers use ", options->pilot.coordinator,
                ", a socket that only programs on this machine can reach: jobs on other nodes need "
                "--coordinator HOST:PORT, and a coordinator that runs with --listen"));
  }
  if (arguments.dry_run) {
    Print(SbatchScript(options->pilot, 1));
    return kExitOk;
  }
  const Result<std::int64_t> poll_ms = Duration("--poll", arguments.poll, 100);
  if (!poll_ms.ok()) return Report(poll_ms.status());
  CatchInterrupts();
  Result<PilotManager> manager = PilotManager::Start(*options);
  if (!manager.ok()) return Report(manager.status());
  std::fprintf(
      stderr,
      "pilot %s: up to %d jobs in partition %s, for the coordinator at %s; Ctrl-C ends it, "
      "and its jobs go on\n",
      options->name.c_str(), options->jobs_max, options->pilot.partition.c_str(),
      options->pilot.coordinator.c_str());
  while (!Interrupted()) {
    manager->Look(BootMs());
    const std::int64_t next_ms = BootMs() + *poll_ms;
    while (!Interrupted() && BootMs() < next_ms) poll(nullptr, 0, kWaitMs);
  }
  manager->Stop();
  std::fprintf(stderr,
               "pilot %s: ended; `scancel` ends its jobs (`squeue --me` lists them, named %s...), "
               "and the same command takes them over again\n",
               options->name.c_str(), options->pilot.prefix.c_str());
  return kExitOk;
}

void AddList(Verbs& verbs, Verb& pilot) {
  Verb verb = pilot.AddVerb("list", "list the pilots and their jobs, also those that wait");
  verb.AddExamples({"longrun pilot list", "longrun pilot list -o json"});
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, output] {
    RetryingClient client(verbs.state);
    const Result<v1::ListWorkersResponse> answer = client.ListWorkers();
    if (!answer.ok()) return Report(answer.status());
    if (*output == "json") {
      Print(RenderJson(ToJson(answer->pilots())));
    } else {
      Print(answer->pilots().empty() ? "no pilot has reported to this coordinator\n"
                                     : PilotTable(answer->pilots()));
    }
    return static_cast<int>(kExitOk);
  });
}

}  // namespace

void AddPilot(Verbs& verbs) {
  Verb pilot = verbs.AddVerb("pilot", "jobs of a cluster that serve as workers: slurm, list");
  pilot.RequireVerb();
  pilot.AddExamples(
      {"longrun pilot slurm --partition gpu --gpus 1 --max 20 --coordinator "
       "login1.example.org:7443"});
  Verb verb =
      pilot.AddVerb("slurm", "keep as many jobs in Slurm's queue as there is work, until Ctrl-C");
  verb.AddExamples(
      {"longrun pilot slurm --partition gpu --gpus 1 --max 20 --coordinator "
       "login1.example.org:7443",
       "longrun pilot slurm --partition gpu --time 4h --gpus 1 --dry-run",
       "longrun pilot slurm --partition cpu --cpus 8 --sbatch=--account=lab"});
  const auto arguments = std::make_shared<SlurmArguments>();
  verb.AddArgument("--partition", arguments->partition, "the partition of the jobs")
      .Placeholder("NAME")
      .Required();
  verb.AddArgument("--time", arguments->time,
                   "time limit of a job; a run that needs longer continues in the next job")
      .Placeholder("DURATION")
      .ShowDefault();
  verb.AddArgument("--gpus", arguments->gpus, "GPUs of a job; 0: it computes on the CPU")
      .Between(0, 1024)
      .ShowDefault();
  verb.AddArgument("--cpus", arguments->cpus,
                   "processors of a job (default: as the partition decides)")
      .Between(1, 4096);
  verb.AddArgument("--max", arguments->jobs_max, "most jobs in the queue, running ones included")
      .Between(1, 10'000)
      .ShowDefault();
  verb.AddArgument("--idle-exit", arguments->idle_exit,
                   "a job leaves when it had no task for so long; one that still waits in the "
                   "queue is then cancelled")
      .Placeholder("DURATION")
      .ShowDefault();
  verb.AddArgument("--grace", arguments->grace,
                   "how long a trainer may take to write a checkpoint; work stops twice as long "
                   "before the time limit")
      .Placeholder("DURATION")
      .ShowDefault();
  verb.AddArgument("--sbatch", arguments->sbatch,
                   "a further option of sbatch, as in --sbatch=--account=lab; may be repeated")
      .Placeholder("OPTION")
      .OneEach();
  verb.AddArgument("--label", arguments->labels,
                   "KEY=VALUE for the workers, shown by `longrun workers`; may be repeated")
      .OneEach();
  verb.AddArgument("--name", arguments->name,
                   "name of the pilot, in the names of its jobs (default: the partition's)");
  verb.AddArgument("--folder", arguments->folder,
                   "folder for the workers of the jobs, on a file system that all nodes share "
                   "(default: pilots/NAME in the state folder)");
  verb.AddArgument("--coordinator", arguments->coordinator,
                   "the coordinator's address for the jobs: HOST:PORT, or unix:PATH on the same "
                   "machine (default: the one that this command uses, which jobs on other nodes "
                   "reach only if it is HOST:PORT)")
      .Placeholder("ADDRESS");
  verb.AddArgument("--ca-fingerprint", arguments->ca_fingerprint,
                   "SHA-256 of its authority (default: that of the context or the state folder)")
      .Placeholder("HEX");
  verb.AddArgument("--program", arguments->program,
                   "longrun-worker on the cluster's nodes (default: the one beside this program)")
      .Placeholder("FILE");
  verb.AddArgument("--poll", arguments->poll, "how often to look at the queue and at the work")
      .Placeholder("DURATION")
      .ShowDefault();
  verb.AddFlag("--dry-run", arguments->dry_run, "only print the batch script of a job");
  verb.SetRun([&verbs, arguments] { return Pilot(*arguments, verbs.state); });
  AddList(verbs, pilot);
}

}  // namespace longrun::client
