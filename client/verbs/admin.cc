// longrun admin: who may use a coordinator from other machines, and what they did; backups
// (admin_backup.cc).
#include <netdb.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/files.h"
#include "base/host_name.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/embedded.h"
#include "client/words/render.h"
#include "pki/certificate.h"
#include "pki/files.h"

namespace longrun::client {
namespace {

constexpr std::size_t kPemBytesMax = 64 << 10;

int ReportOrOk(const Status& status) {
  return status.ok() ? static_cast<int>(kExitOk) : Report(status);
}

// ---- pki ----------------------------------------------------------------------------------------

// The names under which this machine is usually reached.
std::vector<std::string> OwnNames() {
  std::vector<std::string> names;
  if (const std::string host = HostName(); !host.empty()) {
    addrinfo hints{};
    hints.ai_flags = AI_CANONNAME;
    addrinfo* found = nullptr;
    if (getaddrinfo(host.c_str(), nullptr, &hints, &found) == 0) {
      if (found->ai_canonname != nullptr) names.emplace_back(found->ai_canonname);
      freeaddrinfo(found);
    }
    names.push_back(host);
  }
  names.insert(names.end(), {"localhost", "127.0.0.1", "::1"});
  std::vector<std::string> unique;
  for (const std::string& name : names) {
    if (std::ranges::find(unique, name) == unique.end()) unique.push_back(name);
  }
  return unique;
}

Status ShowPki(const std::string& state, const std::string& output) {
  const PkiPaths paths = PkiPathsOf(state);
  ASSIGN_OR_RETURN(const Authority authority, ReadAuthority(state));
  ASSIGN_OR_RETURN(const CertificateFacts ca, ReadCertificate(authority.certificate));
  ASSIGN_OR_RETURN(const std::string chain, ReadFile(paths.chain, kPemBytesMax));
  ASSIGN_OR_RETURN(const CertificateFacts own, ReadCertificate(chain));
  if (output == "json") {
    Print(RenderJson({{"ca_fingerprint", ca.fingerprint},
                      {"ca_expires", FormatWallMs(ca.not_after_ms)},
                      {"names", own.names},
                      {"expires", FormatWallMs(own.not_after_ms)}}));
    return Status();
  }
  Print(Str("CA fingerprint  ", ca.fingerprint, "\nCA valid until  ", FormatWallMs(ca.not_after_ms),
            "\nnames           ", Join(own.names, ", "), "\nvalid until     ",
            FormatWallMs(own.not_after_ms), "\n"));
  return Status();
}

void AddPki(Verbs& verbs, Verb& admin) {
  Verb pki = admin.AddVerb("pki", "the coordinator's certificates: init, show, renew");
  pki.RequireVerb();
  pki.AddExamples({"longrun admin pki init", "longrun admin pki show"});
  const auto names = std::make_shared<std::vector<std::string>>();

  Verb init = pki.AddVerb("init", "make an authority (CA) and the coordinator's certificate");
  init.AddExamples({"longrun admin pki init --name gpu.example.org --name 10.0.0.7"});
  init.AddArgument("--name", *names,
                   "name or IP address under which other machines reach this one; can be repeated "
                   "(default: the host's name, and localhost)")
      .OneEach();
  const auto init_output = AddOutput(init, {"table", "json"});
  init.SetRun([&verbs, names, init_output] {
    if (const Status made = MakeFolders(verbs.state, 0700); !made.ok()) return Report(made);
    const Status status = InitPki(verbs.state, names->empty() ? OwnNames() : *names, WallMs());
    return ReportOrOk(status.ok() ? ShowPki(verbs.state, *init_output) : status);
  });

  Verb show = pki.AddVerb("show", "show the fingerprint of the authority, names and expiry");
  show.AddExamples({"longrun admin pki show"});
  const auto format = AddOutput(show, {"table", "json"});
  show.SetRun([&verbs, format] { return ReportOrOk(ShowPki(verbs.state, *format)); });

  Verb renew = pki.AddVerb(
      "renew", "give the coordinator another certificate; a running one uses it within seconds");
  renew.AddExamples({"longrun admin pki renew", "longrun admin pki renew --name gpu.example.org"});
  renew.AddArgument("--name", *names, "as of `init`, instead of the present names; can be repeated")
      .OneEach();
  const auto renew_output = AddOutput(renew, {"table", "json"});
  renew.SetRun([&verbs, names, renew_output] {
    const Status status = RenewCoordinator(verbs.state, *names, WallMs());
    return ReportOrOk(status.ok() ? ShowPki(verbs.state, *renew_output) : status);
  });
}

// ---- tokens -------------------------------------------------------------------------------------

struct TokenArguments {
  std::string role;
  std::string expires;
  std::string note;
  std::string worker;
};

Result<v1::CreateTokenResponse> CreateToken(const TokenArguments& arguments,
                                            const std::string& state) {
  v1::CreateTokenRequest request;
  ASSIGN_OR_RETURN(const std::int64_t valid_ms, ParseDurationMs(arguments.expires));
  request.set_role(arguments.role);
  request.set_note(arguments.note);
  request.set_worker(arguments.worker);
  request.set_valid_ms(valid_ms);
  ASSIGN_OR_RETURN(const auto coordinator, Coordinator::Reach(state));
  v1::CreateTokenResponse answer;
  RETURN_IF_ERROR(coordinator->connection().Send(request, kAnswerMs, &answer));
  return answer;
}

int Create(const TokenArguments& arguments, const std::string& output, const std::string& state) {
  const Result<v1::CreateTokenResponse> answer = CreateToken(arguments, state);
  if (!answer.ok()) return Report(answer.status());
  if (output == "json") {
    Print(RenderJson(ToJson(*answer)));
    return kExitOk;
  }
  const v1::TokenInfo& info = answer->info();
  std::fprintf(stderr, "%s token %s, valid until %s; it is not shown again:\n", info.role().c_str(),
               info.id().c_str(), FormatWallMs(info.expires_ms()).c_str());
  Print(answer->token() + "\n");
  return kExitOk;
}

int List(const std::string& output, const std::string& state, bool is_join) {
  const auto coordinator = Coordinator::ReachToRead(state);
  if (!coordinator.ok()) return Report(coordinator.status());
  v1::ListTokensResponse answer;
  const Status sent =
      (*coordinator)->connection().Send(v1::ListTokensRequest(), kAnswerMs, &answer);
  if (!sent.ok()) return Report(sent);
  Repeated<v1::TokenInfo> shown;
  for (const v1::TokenInfo& token : answer.tokens()) {
    if (!is_join || token.kind() == "join") *shown.Add() = token;
  }
  if (output == "json") {
    Print(RenderJson(ToJson(shown)));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const v1::TokenInfo& token : shown) {
    rows.push_back({token.id(), token.kind(), token.role(), token.state(),
                    FormatWallMs(token.expires_ms()), token.ended_by(), token.note()});
  }
  Print(RenderColumns({"id", "kind", "role", "state", "expires", "ended by", "note"},
                      std::vector<Align>(7, Align::kLeft), rows));
  return kExitOk;
}

int Revoke(const std::string& id, const std::string& output, const std::string& state) {
  const auto coordinator = Coordinator::Reach(state);
  if (!coordinator.ok()) return Report(coordinator.status());
  v1::RevokeTokenRequest request;
  request.set_id(id);
  v1::RevokeTokenResponse answer;
  const Status sent = (*coordinator)->connection().Send(request, kAnswerMs, &answer);
  if (!sent.ok()) return Report(sent);
  Print(output == "json" ? RenderJson(ToJson(answer)) : Str(answer.ended(), " is revoked\n"));
  return kExitOk;
}

void AddRevoke(Verbs& verbs, Verb& above, const std::string& example) {
  Verb revoke =
      above.AddVerb("revoke", "end a token, or a worker's certificate, and its running calls");
  revoke.AddExamples({example});
  const auto id = std::make_shared<std::string>();
  revoke.AddArgument("ID", *id, "a token's id or its beginning, or a worker's id").Required();
  const auto output = AddOutput(revoke, {"text", "json"});
  revoke.SetRun([&verbs, id, output] { return Revoke(*id, *output, verbs.state); });
}

void AddToken(Verbs& verbs, Verb& admin) {
  Verb token = admin.AddVerb("token", "access tokens for people: create, list, revoke");
  token.RequireVerb();
  token.AddExamples({"longrun admin token create --role viewer", "longrun admin token list"});

  Verb create = token.AddVerb("create", "make an access token, and print it once");
  create.AddExamples({"longrun admin token create --role submitter --expires 30d --note Ada"});
  const auto arguments = std::make_shared<TokenArguments>();
  arguments->expires = "30d";
  create
      .AddArgument("--role", arguments->role,
                   "viewer: reads; submitter: also submits and changes sweeps; operator: also "
                   "manages workers and all data; admin: also manages tokens")
      .Required()
      .OneOf({"viewer", "submitter", "operator", "admin"});
  create.AddArgument("--expires", arguments->expires, "how long it is valid, such as 12h or 30d")
      .ShowDefault();
  create.AddArgument("--note", arguments->note, "whose it is, for the list");
  const auto output = AddOutput(create, {"text", "json"});
  create.SetRun([&verbs, arguments, output] { return Create(*arguments, *output, verbs.state); });

  Verb list = token.AddVerb("list", "list tokens and workers' certificates, without their secrets");
  list.AddExamples({"longrun admin token list"});
  const auto format = AddOutput(list, {"table", "json"});
  list.SetRun([&verbs, format] { return List(*format, verbs.state, false); });
  AddRevoke(verbs, token, "longrun admin token revoke 3f2a91c0");
}

void AddJoinToken(Verbs& verbs, Verb& admin) {
  Verb token = admin.AddVerb("join-token", "tokens with which workers join: create, list, revoke");
  token.RequireVerb();
  token.AddExamples({"longrun admin join-token create", "longrun admin join-token list"});

  Verb create = token.AddVerb("create", "make a token with which one worker can join once");
  create.AddExamples({"longrun admin join-token create",
                      "longrun admin join-token create --worker gpu-7 --expires 10min"});
  const auto arguments = std::make_shared<TokenArguments>();
  arguments->role = "worker";
  arguments->expires = "1h";
  create.AddArgument("--worker", arguments->worker,
                     "only the worker of this id may join, even if it has joined before (default: "
                     "any new id)");
  create.AddArgument("--expires", arguments->expires, "how long it is valid, such as 10min or 1h")
      .ShowDefault();
  create.AddArgument("--note", arguments->note, "what it is for, for the list");
  const auto output = AddOutput(create, {"text", "json"});
  create.SetRun([&verbs, arguments, output] { return Create(*arguments, *output, verbs.state); });

  Verb list = token.AddVerb("list", "list join tokens, without their secrets");
  list.AddExamples({"longrun admin join-token list"});
  const auto format = AddOutput(list, {"table", "json"});
  list.SetRun([&verbs, format] { return List(*format, verbs.state, true); });
  AddRevoke(verbs, token, "longrun admin join-token revoke 3f2a91c0");
}

// ---- audit --------------------------------------------------------------------------------------

struct AuditArguments {
  std::string since;
  std::int64_t limit = 1000;
  bool changes = false;
};

Result<v1::ListAuditResponse> Entries(const AuditArguments& arguments, const std::string& state) {
  v1::ListAuditRequest request;
  if (!arguments.since.empty()) {
    ASSIGN_OR_RETURN(const std::int64_t since_ms, ParseDurationMs(arguments.since));
    request.set_since_ms(std::max<std::int64_t>(WallMs() - since_ms, 0));
  }
  request.set_rows_max(arguments.limit);
  request.set_only_changes(arguments.changes);
  ASSIGN_OR_RETURN(const auto coordinator, Coordinator::ReachToRead(state));
  v1::ListAuditResponse answer;
  RETURN_IF_ERROR(coordinator->connection().Send(request, kAnswerMs, &answer));
  return answer;
}

int Audit(const AuditArguments& arguments, const std::string& output, const std::string& state) {
  const Result<v1::ListAuditResponse> answer = Entries(arguments, state);
  if (!answer.ok()) return Report(answer.status());
  if (output == "json") {
    Print(RenderJson(ToJson(answer->entries())));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const v1::AuditEntry& entry : answer->entries()) {
    rows.push_back({FormatWallMs(entry.at_ms()), entry.principal(), entry.role(), entry.method(),
                    entry.subject(), entry.outcome(),
                    entry.repeats() > 1 ? Str(entry.repeats(), " times: ", entry.message())
                                        : entry.message()});
  }
  Print(RenderColumns({"time", "who", "role", "call", "subject", "outcome", "message"},
                      std::vector<Align>(7, Align::kLeft), rows));
  return kExitOk;
}

void AddAudit(Verbs& verbs, Verb& admin) {
  Verb audit =
      admin.AddVerb("audit", "show the calls that changed something, and the refused ones");
  audit.AddExamples({"longrun admin audit --since 1d", "longrun admin audit -o json"});
  const auto arguments = std::make_shared<AuditArguments>();
  audit.AddArgument("--since", arguments->since,
                    "only entries of the last 12h, 7d, ... (default: all)");
  audit.AddArgument("--limit", arguments->limit, "show at most this many entries, the newest")
      .Between(1, 100'000)
      .ShowDefault();
  audit.AddFlag(
      "--changes", arguments->changes,
      "show only the calls that changed something, not those that failed or were refused");
  const auto output = AddOutput(audit, {"table", "json"});
  audit.SetRun([&verbs, arguments, output] { return Audit(*arguments, *output, verbs.state); });
}

}  // namespace

void AddAdmin(Verbs& verbs) {
  Verb admin =
      verbs.AddVerb("admin", "backups, and who may use the coordinator from other machines");
  admin.RequireVerb();
  admin.AddExamples({"longrun admin pki init", "longrun admin token create --role submitter",
                     "longrun admin audit --since 1d"});
  AddPki(verbs, admin);
  AddToken(verbs, admin);
  AddJoinToken(verbs, admin);
  AddAudit(verbs, admin);
  AddAdminBackup(verbs, admin);
  AddAdminRestore(verbs, admin);
  AddAdminCheck(verbs, admin);
}

}  // namespace longrun::client
