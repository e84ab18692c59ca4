// See method_rules.h.
#include "coordinator/rpc/method_rules.h"

#include <algorithm>
#include <string>

#include "base/str.h"

namespace longrun::coordinator {
namespace {

constexpr Role kViewer = Role::kViewer, kSubmitter = Role::kSubmitter, kOperator = Role::kOperator,
               kAdmin = Role::kAdmin;

constexpr MethodRule kRules[] = {
    {.path = "/longrun.v1.SweepService/GetServerInfo", .people = kViewer},
    {.path = "/longrun.v1.SweepService/PlanSweep", .people = kViewer},
    {.path = "/longrun.v1.SweepService/SubmitSweep",
     .people = kSubmitter,
     .does = "submit a sweep",
     .changes = true},
    {.path = "/longrun.v1.SweepService/ListSweeps", .people = kViewer},
    {.path = "/longrun.v1.SweepService/GetSweep", .people = kViewer},
    {.path = "/longrun.v1.SweepService/GetRun", .people = kViewer},
    {.path = "/longrun.v1.SweepService/GetReasons", .people = kViewer},
    {.path = "/longrun.v1.SweepService/WatchSweep", .people = kViewer},
    {.path = "/longrun.v1.SweepService/GetResults", .people = kViewer},
    {.path = "/longrun.v1.SweepService/GetSeries", .people = kViewer},
    {.path = "/longrun.v1.SweepService/CancelSweep",
     .people = kSubmitter,
     .does = "cancel a sweep",
     .changes = true},
    {.path = "/longrun.v1.SweepService/PauseSweep",
     .people = kSubmitter,
     .does = "pause a sweep",
     .changes = true},
    {.path = "/longrun.v1.SweepService/ResumeSweep",
     .people = kSubmitter,
     .does = "resume a sweep",
     .changes = true},
    {.path = "/longrun.v1.SweepService/RemoveSweep",
     .people = kSubmitter,
     .does = "remove a sweep",
     .changes = true},
    {.path = "/longrun.v1.SweepService/AnnotateSweep",
     .people = kSubmitter,
     .does = "change a sweep's labels or note",
     .changes = true},
    {.path = "/longrun.v1.SweepService/RetryTasks",
     .people = kSubmitter,
     .does = "retry tasks",
     .changes = true},
    {.path = "/longrun.v1.SweepService/CollectGarbage",
     .people = kOperator,
     .does = "remove what nothing needs",
     .changes = true},
    {.path = "/longrun.v1.SweepService/GetLogs", .people = kViewer},
    {.path = "/longrun.v1.SweepService/ListWorkers", .people = kViewer},
    {.path = "/longrun.v1.SweepService/DrainWorker",
     .people = kOperator,
     .does = "drain a worker",
     .changes = true},
    {.path = "/longrun.v1.SweepService/UndrainWorker",
     .people = kOperator,
     .does = "end the drain of a worker",
     .changes = true},
    {.path = "/longrun.v1.SweepService/RemoveWorker",
     .people = kOperator,
     .does = "forget a worker",
     .changes = true},
    {.path = "/longrun.v1.SweepService/ReleaseSlots",
     .people = kOperator,
     .does = "release a quarantined slot",
     .changes = true},
    // Every few seconds, and it changes nothing that is stored: not for the audit log.
    // A pilot makes a join token for each job, so it would go no further with another role.
    {.path = "/longrun.v1.SweepService/ReportPilot", .people = kAdmin, .does = "run a pilot"},
    // Makes the coordinator open a folder of its own machine, which nobody else's business is.
    {.path = "/longrun.v1.SweepService/RegisterDataset", .changes = true},
    {.path = "/longrun.v1.SweepService/StoreDataset",
     .people = kSubmitter,
     .does = "send a dataset",
     .changes = true},
    {.path = "/longrun.v1.SweepService/ListDatasets", .people = kViewer},
    // Whoever is not an operator may remove only their own (owners.h).
    {.path = "/longrun.v1.SweepService/RemoveDataset",
     .people = kSubmitter,
     .does = "remove a dataset",
     .changes = true},
    {.path = "/longrun.v1.SweepService/RegisterModel",
     .people = kSubmitter,
     .does = "send a model",
     .changes = true},
    {.path = "/longrun.v1.SweepService/ListModels", .people = kViewer},
    {.path = "/longrun.v1.SweepService/RemoveModel",
     .people = kSubmitter,
     .does = "remove a model",
     .changes = true},
    {.path = "/longrun.v1.SweepService/FindCheckpoint", .people = kViewer},
    {.path = "/longrun.v1.SweepService/Query", .people = kViewer},
    {.path = "/longrun.v1.SweepService/ListViews", .people = kViewer},

    {.path = "/longrun.v1.ArtifactService/HasArtifacts", .people = kViewer, .workers = true},
    {.path = "/longrun.v1.ArtifactService/UploadArtifact",
     .people = kSubmitter,
     .does = "send files",
     .workers = true,
     .changes = true},
    // For each checkpoint, and never by a person: not for the audit log.
    {.path = "/longrun.v1.ArtifactService/AdoptArtifacts", .workers = true},
    {.path = "/longrun.v1.ArtifactService/DownloadArtifact", .people = kViewer, .workers = true},

    {.path = "/longrun.v1.WorkerSessionService/Session", .workers = true},

    {.path = "/longrun.v1.IdentityService/GetCaller", .people = kViewer, .workers = true},
    {.path = "/longrun.v1.IdentityService/CreateToken",
     .people = kAdmin,
     .does = "create a token",
     .changes = true},
    {.path = "/longrun.v1.IdentityService/ListTokens", .people = kAdmin, .does = "list the tokens"},
    {.path = "/longrun.v1.IdentityService/RevokeToken",
     .people = kAdmin,
     .does = "revoke a token or a certificate",
     .changes = true},
    {.path = "/longrun.v1.IdentityService/ListAudit",
     .people = kAdmin,
     .does = "read the audit log"},
    // The join token in the request is the credential.
    {.path = "/longrun.v1.IdentityService/JoinWorker",
     .people = kViewer,
     .workers = true,
     .anyone = true,
     .changes = true},
    {.path = "/longrun.v1.IdentityService/RenewWorker", .workers = true, .changes = true},

    {.path = "/grpc.health.v1.Health/Check", .people = kViewer, .workers = true},
    {.path = "/grpc.health.v1.Health/Watch", .people = kViewer, .workers = true},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", .people = kViewer},
};

}  // namespace

std::span<const MethodRule> MethodRules() { return kRules; }

const MethodRule* FindMethodRule(std::string_view path) {
  const auto* const found = std::ranges::find(kRules, path, &MethodRule::path);
  return found == std::end(kRules) ? nullptr : found;
}

const MethodRule* FindRuleOfMethod(std::string_view method) {
  const auto* const found = std::ranges::find_if(kRules, [&](const MethodRule& rule) {
    return rule.path.substr(rule.path.rfind('/') + 1) == method;
  });
  return found == std::end(kRules) ? nullptr : found;
}

bool Allows(const MethodRule& rule, const Principal& principal) {
  switch (principal.kind) {
    case Principal::Kind::kLocal:
      return true;
    case Principal::Kind::kPerson:
      return rule.people && principal.role >= *rule.people;
    case Principal::Kind::kWorker:
      return rule.workers;
  }
  return false;
}

std::string WhyNotAllowed(const Principal& caller, const MethodRule* rule, std::string_view path) {
  const std::string begin =
      Str(caller.Name(), " has the role ", caller.RoleText(), ", and may not ");
  if (rule == nullptr || !rule->people) return Str(begin, "call ", path);
  const std::string_view role = RoleName(*rule->people);
  return Str(begin, rule->does.empty() ? Str("call ", path) : std::string(rule->does),
             ": that needs the role ", role, "; `longrun admin token create --role ", role,
             "` on the coordinator's machine makes a token with it");
}

}  // namespace longrun::coordinator
