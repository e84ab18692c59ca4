// See identity.h.
#include "coordinator/rpc/identity.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/str.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/method_rules.h"
#include "coordinator/rpc/names.h"
#include "longrun/v1/identity.grpc.pb.h"
#include "pki/certificate.h"
#include "pki/files.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kAuditRowsDefault = 1000;

const char* StateOf(bool has_ended, bool is_used, bool has_expired) {
  if (is_used) return "USED";
  if (has_ended) return "REVOKED";
  return has_expired ? "EXPIRED" : "VALID";
}

void Fill(const TokenRow& row, std::int64_t now_ms, v1::TokenInfo* info) {
  const bool is_join = row.role == kWorkerRole;
  const bool is_used = is_join && row.ended_by.starts_with("worker ");
  info->set_id(row.id);
  info->set_kind(is_join ? "join" : "access");
  info->set_role(row.role);
  info->set_note(row.worker.empty()
                     ? row.note
                     : Str("for worker ", row.worker, row.note.empty() ? "" : "; ", row.note));
  info->set_state(StateOf(row.ended_ms.has_value(), is_used, now_ms > row.expires_ms));
  info->set_created_ms(row.created_ms);
  info->set_expires_ms(row.expires_ms);
  info->set_ended_ms(row.ended_ms.value_or(0));
  info->set_ended_by(row.ended_by);
}

void Fill(const WorkerCertificateRow& row, std::int64_t now_ms, v1::TokenInfo* info) {
  info->set_id(row.worker);
  info->set_kind("certificate");
  info->set_role(std::string(kWorkerRole));
  info->set_state(StateOf(row.revoked_ms.has_value(), false, now_ms > row.expires_ms));
  info->set_created_ms(row.issued_ms);
  info->set_expires_ms(row.expires_ms);
  info->set_ended_ms(row.revoked_ms.value_or(0));
}

// The caller as the audit log names it. Every caller of these methods is known by now.
Result<Principal> Caller(Call& call) { return CallerOf(call.parts.access, *call.context); }

Status GetCaller(Call& call, const v1::GetCallerRequest& request, v1::GetCallerResponse* response) {
  ASSIGN_OR_RETURN(const Principal caller, Caller(call));
  response->set_principal(caller.Name());
  response->set_role(caller.RoleText());
  if (request.method().empty()) return Status();
  const MethodRule* const rule = FindRuleOfMethod(request.method());
  if (rule == nullptr || !Allows(*rule, caller)) {
    response->set_refusal(WhyNotAllowed(caller, rule, request.method()));
  }
  return Status();
}

Status CreateToken(Call& call, const v1::CreateTokenRequest& request,
                   v1::CreateTokenResponse* response) {
  if (!request.worker().empty()) RETURN_IF_ERROR(CheckName(request.worker(), "worker"));
  const std::int64_t now_ms = WallMs();
  ASSIGN_OR_RETURN(CreatedToken created,
                   call.parts.access.CreateToken(request.role(), request.note(), request.worker(),
                                                 request.valid_ms(), now_ms));
  call.error.subject = Str(request.role(), " token ", created.row.id);
  response->set_token(std::move(created.text));
  Fill(created.row, now_ms, response->mutable_info());
  return Status();
}

Status ListTokens(Call& call, const v1::ListTokensRequest&, v1::ListTokensResponse* response) {
  const std::int64_t now_ms = WallMs();
  for (const TokenRow& row : call.parts.access.tokens()) {
    Fill(row, now_ms, response->add_tokens());
  }
  for (const WorkerCertificateRow& row : call.parts.access.certificates()) {
    Fill(row, now_ms, response->add_tokens());
  }
  return Status();
}

Status RevokeToken(Call& call, const v1::RevokeTokenRequest& request,
                   v1::RevokeTokenResponse* response) {
  call.error.subject = request.id();
  ASSIGN_OR_RETURN(const Principal caller, Caller(call));
  ASSIGN_OR_RETURN(const std::string ended,
                   call.parts.access.Revoke(request.id(), caller.Name(), WallMs()));
  call.error.subject = ended;
  response->set_ended(ended);
  return Status();
}

Status ListAudit(Call& call, const v1::ListAuditRequest& request, v1::ListAuditResponse* response) {
  const std::int64_t n_rows_max = request.rows_max() > 0 ? request.rows_max() : kAuditRowsDefault;
  ASSIGN_OR_RETURN(const std::vector<AuditRow> rows,
                   call.reader.Audit(request.since_ms(), std::min(n_rows_max, kAuditRowsMax),
                                     request.only_changes()));
  for (const AuditRow& row : rows) {
    v1::AuditEntry* const entry = response->add_entries();
    entry->set_seq(row.seq);
    entry->set_at_ms(row.at_ms);
    entry->set_principal(row.principal);
    entry->set_role(row.role);
    entry->set_peer(row.peer);
    entry->set_method(row.method);
    entry->set_subject(row.subject);
    entry->set_outcome(row.outcome);
    entry->set_message(row.message);
    entry->set_repeats(row.repeats);
  }
  return Status();
}

Result<Access::Joined> IssueTo(const CoordinatorParts& parts, const std::string& worker,
                               const std::string& request, std::int64_t now_ms) {
  ASSIGN_OR_RETURN(const Authority authority, ReadAuthority(parts.core.store().folder()));
  const std::int64_t valid_ms = parts.access.limits().worker_certificate_ms;
  ASSIGN_OR_RETURN(
      const std::string certificate,
      IssueForWorker(authority, request, worker, {.now_ms = now_ms, .valid_ms = valid_ms}));
  ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(certificate));
  return Access::Joined{.certificate = certificate,
                        .row = {.worker = worker,
                                .serial = facts.serial,
                                .issued_ms = now_ms,
                                .expires_ms = now_ms + valid_ms,
                                .revoked_ms = {},
                                .key = facts.key}};
}

Status JoinWorker(Call& call, const v1::JoinWorkerRequest& request,
                  v1::JoinWorkerResponse* response) {
  call.error.subject = Str("worker ", request.worker_id());
  RETURN_IF_ERROR(CheckName(request.worker_id(), "worker"));
  bool is_known = false;
  RETURN_IF_ERROR(call.parts.core.LookAndWait(
      [&](const State& state) { is_known = state.workers.contains(request.worker_id()); }));
  const std::int64_t now_ms = WallMs();
  ASSIGN_OR_RETURN(const Access::Joined joined,
                   call.parts.access.Join(
                       request.token(), request.worker_id(),
                       [&] { return KeyOfRequest(request.signing_request()); }, is_known, now_ms,
                       [&] {
                         return IssueTo(call.parts, request.worker_id(), request.signing_request(),
                                        now_ms);
                       }));
  Failpoint("join_before_answer");
  response->set_certificate(joined.certificate);
  response->set_valid_ms(joined.row.expires_ms - now_ms);
  return Status();
}

Status RenewWorker(Call& call, const v1::RenewWorkerRequest& request,
                   v1::RenewWorkerResponse* response) {
  ASSIGN_OR_RETURN(const Principal caller, Caller(call));
  if (caller.kind != Principal::Kind::kWorker) {
    return Status(Code::kPermissionDenied, "only a worker can renew its certificate");
  }
  const std::int64_t now_ms = WallMs();
  ASSIGN_OR_RETURN(const Access::Joined joined, call.parts.access.Renew(caller, now_ms, [&] {
    return IssueTo(call.parts, caller.id, request.signing_request(), now_ms);
  }));
  response->set_certificate(joined.certificate);
  response->set_valid_ms(joined.row.expires_ms - now_ms);
  return Status();
}

using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;

class IdentityService final : public v1::IdentityService::CallbackService {
 public:
  explicit IdentityService(CoordinatorParts& parts) : parts_(parts) {}

  Unary* GetCaller(Context* context, const v1::GetCallerRequest* request,
                   v1::GetCallerResponse* response) override {
    return Answer(context, "GetCaller", &coordinator::GetCaller, request, response);
  }
  Unary* CreateToken(Context* context, const v1::CreateTokenRequest* request,
                     v1::CreateTokenResponse* response) override {
    return Answer(context, "CreateToken", &coordinator::CreateToken, request, response);
  }
  Unary* ListTokens(Context* context, const v1::ListTokensRequest* request,
                    v1::ListTokensResponse* response) override {
    return Answer(context, "ListTokens", &coordinator::ListTokens, request, response);
  }
  Unary* RevokeToken(Context* context, const v1::RevokeTokenRequest* request,
                     v1::RevokeTokenResponse* response) override {
    return Answer(context, "RevokeToken", &coordinator::RevokeToken, request, response);
  }
  Unary* ListAudit(Context* context, const v1::ListAuditRequest* request,
                   v1::ListAuditResponse* response) override {
    return Answer(context, "ListAudit", &coordinator::ListAudit, request, response);
  }
  Unary* JoinWorker(Context* context, const v1::JoinWorkerRequest* request,
                    v1::JoinWorkerResponse* response) override {
    return Answer(context, "JoinWorker", &coordinator::JoinWorker, request, response);
  }
  Unary* RenewWorker(Context* context, const v1::RenewWorkerRequest* request,
                     v1::RenewWorkerResponse* response) override {
    return Answer(context, "RenewWorker", &coordinator::RenewWorker, request, response);
  }

 private:
  template <typename Request, typename Response>
  Unary* Answer(Context* context, const char* method,
                Status (*answer)(Call&, const Request&, Response*), const Request* request,
                Response* response) {
    return Handle(parts_, context, method,
                  [=](Call& call) { return answer(call, *request, response); });
  }

  CoordinatorParts& parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeIdentityService(CoordinatorParts& parts) {
  return std::make_unique<IdentityService>(parts);
}

}  // namespace longrun::coordinator
