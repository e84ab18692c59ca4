// See access.h.
#include "coordinator/access.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "base/units.h"
#include "base/utf8.h"
#include "coordinator/one_line.h"
#include "pki/token.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kTokensMax = 10'000;
constexpr std::size_t kBucketsMax = 10'000;
constexpr std::size_t kRefusalsMax = 10'000;
constexpr std::int64_t kRefusalKeptMs = 600'000;  // a refused worker tries again far more often
constexpr std::size_t kIdPrefixMin = 4;
constexpr std::size_t kNoteBytesMax = 256;
constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kValidMsMax = 3650LL * 86'400'000;

Status Denied(std::string_view what) { return Status(Code::kPermissionDenied, what); }

// Lets a worker of this name join although the coordinator knows the name.
std::string TokenFor(const std::string& worker) {
  return Str("a token of `longrun admin join-token create --worker ", worker, "`");
}

std::string JoinAgain(const std::string& worker) {
  return Str("let worker ", worker, " join again: put ", TokenFor(worker),
             " into the file of its --join, and start it again");
}

Status Refused(const std::string& worker, std::string_view cause) {
  return Denied(Str(cause, "; ", JoinAgain(worker)));
}

std::string AskFor(const TokenRow& token) {
  return token.role == kWorkerRole ? "ask for another one (`longrun admin join-token create`)"
                                   : "ask an administrator for another one, then `longrun login`";
}

}  // namespace

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kViewer:
      return "viewer";
    case Role::kSubmitter:
      return "submitter";
    case Role::kOperator:
      return "operator";
    case Role::kAdmin:
      return "admin";
  }
  return "";
}

std::optional<Role> FindRole(std::string_view name) {
  for (const Role role : kRoles) {
    if (RoleName(role) == name) return role;
  }
  return std::nullopt;
}

std::string Principal::Name() const {
  if (kind == Kind::kLocal) return "local";
  return Str(kind == Kind::kPerson ? "token " : "worker ", id);
}

std::string Principal::RoleText() const {
  return std::string(kind == Kind::kWorker ? kWorkerRole : RoleName(role));
}

Access::Access(Core& core, IdentityRows rows, AccessLimits limits) : core_(core), limits_(limits) {
  for (TokenRow& token : rows.tokens) tokens_.emplace(token.id, std::move(token));
  for (WorkerCertificateRow& one : rows.certificates) {
    certificates_.emplace(one.worker, std::move(one));
  }
}

Status Access::CheckToken(const TokenRow& token, std::int64_t now_ms) const {
  if (token.IsUsed()) {
    return Denied(Str("join token ", token.id, " has been used by ", token.ended_by,
                      ": each lets one worker join; ", AskFor(token)));
  }
  if (token.ended_ms) {
    return Denied(Str("token ", token.id, " was revoked at ", FormatWallMs(*token.ended_ms), ": ",
                      AskFor(token)));
  }
  if (now_ms > token.expires_ms) {
    return Denied(Str("token ", token.id, " expired at ", FormatWallMs(token.expires_ms), ": ",
                      AskFor(token)));
  }
  return Status();
}

std::string Access::CauseOfRefusal(const std::string& worker, const std::string& key,
                                   std::int64_t now_ms) const {
  const auto found = certificates_.find(worker);
  if (found == certificates_.end()) {
    return Str("no worker \"", worker, "\" has joined this coordinator");
  }
  // Before the revocation, which concerns only the certificates with the known key.
  if (!found->second.key.empty() && found->second.key != key) {
    return Str("this certificate of worker ", worker,
               " has another key than the coordinator knows: a worker of this name joined later, "
               "or a backup from before this worker joined was restored");
  }
  if (found->second.revoked_ms) {
    return Str("the certificate of worker ", worker, " was revoked at ",
               FormatWallMs(*found->second.revoked_ms));
  }
  if (now_ms > found->second.expires_ms) {
    return Str("the certificate of worker ", worker, " expired at ",
               FormatWallMs(found->second.expires_ms));
  }
  return "";
}

Status Access::CheckWorker(const std::string& worker, const std::string& key,
                           std::int64_t now_ms) const {
  const std::string cause = CauseOfRefusal(worker, key, now_ms);
  return cause.empty() ? Status() : Refused(worker, cause);
}

Result<Principal> Access::OfToken(std::string_view text, std::int64_t now_ms) const {
  const std::string id = TokenId(text);
  const std::string hash = TokenHash(text);
  const std::lock_guard lock(mutex_);
  const auto found = tokens_.find(id);
  if (found == tokens_.end() || !IsEqualInConstantTime(found->second.hash, hash)) {
    return Denied(
        "the coordinator does not know this access token: was all of it copied, and from this "
        "coordinator? After a restore, tokens that were made since the backup are gone. "
        "`longrun login` replaces it");
  }
  const TokenRow& token = found->second;
  RETURN_IF_ERROR(CheckToken(token, now_ms));
  const std::optional<Role> role = FindRole(token.role);
  if (!role) {
    return Denied(Str("token ", id,
                      " is a join token, with which a worker joins once: it gives no "
                      "access; `longrun admin token create` makes an access token"));
  }
  return Principal{.kind = Principal::Kind::kPerson, .id = id, .role = *role};
}

Result<Principal> Access::OfWorker(const std::string& worker, const std::string& key,
                                   std::int64_t now_ms) const {
  const std::lock_guard lock(mutex_);
  if (std::string cause = CauseOfRefusal(worker, key, now_ms); !cause.empty()) {
    Status refused = Refused(worker, cause);
    if (refusals_.size() >= kRefusalsMax) {
      std::erase_if(refusals_,
                    [&](const auto& one) { return now_ms - one.second.at_ms > kRefusalKeptMs; });
    }
    if (refusals_.size() < kRefusalsMax || refusals_.contains(worker)) {
      refusals_[worker] = {.cause = std::move(cause), .at_ms = now_ms};
    }
    return refused;
  }
  return Principal{
      .kind = Principal::Kind::kWorker, .id = worker, .role = Role::kViewer, .key = key};
}

RefusedWorkers Access::RefusedAt(std::int64_t now_ms) const {
  RefusedWorkers refused;
  const auto add = [&](const std::string& worker, const std::string& cause) {
    refused.emplace(worker, WorkerRefusal{.cause = cause, .remedy = JoinAgain(worker)});
  };
  const std::lock_guard lock(mutex_);
  for (const auto& [worker, refusal] : refusals_) {
    if (now_ms - refusal.at_ms <= kRefusalKeptMs) add(worker, refusal.cause);
  }
  for (const auto& [worker, certificate] : certificates_) {
    if (certificate.revoked_ms) add(worker, CauseOfRefusal(worker, certificate.key, now_ms));
  }
  return refused;
}

Status Access::StillHolds(const Principal& principal, std::int64_t now_ms) const {
  if (principal.kind == Principal::Kind::kLocal) return Status();
  const std::lock_guard lock(mutex_);
  if (principal.kind == Principal::Kind::kWorker) {
    return CheckWorker(principal.id, principal.key, now_ms);
  }
  const auto found = tokens_.find(principal.id);
  return found == tokens_.end() ? Denied("the token has been removed")
                                : CheckToken(found->second, now_ms);
}

std::string Access::CallerWhoJoins(std::string_view text, std::int64_t now_ms) const {
  const std::string everybody_else = "everybody without a valid join token";
  const std::string id = TokenId(text);
  const std::lock_guard lock(mutex_);
  const auto found = tokens_.find(id);
  if (found == tokens_.end()) return everybody_else;
  const TokenRow& token = found->second;
  const bool holds = token.role == kWorkerRole && now_ms <= token.expires_ms &&
                     (!token.ended_ms || token.IsUsed()) &&
                     IsEqualInConstantTime(token.hash, TokenHash(text));
  return holds ? Str("join token ", id) : everybody_else;
}

Status Access::TakeCall(const std::string& caller, std::int64_t now_ms) {
  const std::lock_guard lock(mutex_);
  if (buckets_.size() >= kBucketsMax) {
    std::erase_if(buckets_, [&](const auto& one) {
      const auto idle_s = static_cast<double>(now_ms - one.second.at_ms) / 1000;
      return one.second.calls + idle_s * limits_.calls_per_s >= limits_.calls_burst;
    });
  }
  const auto [at, added] =
      buckets_.try_emplace(caller, Bucket{.calls = limits_.calls_burst, .at_ms = now_ms});
  Bucket& bucket = at->second;
  const auto passed_s = static_cast<double>(now_ms - bucket.at_ms) / 1000;
  bucket.calls = std::min(limits_.calls_burst, bucket.calls + passed_s * limits_.calls_per_s);
  bucket.at_ms = now_ms;
  if (bucket.calls >= 1) {
    bucket.calls -= 1;
    return Status();
  }
  const auto wait_ms =
      static_cast<std::int64_t>(std::ceil((1 - bucket.calls) / limits_.calls_per_s * 1000));
  return Status(Code::kResourceExhausted, Str(caller, " makes more than ", limits_.calls_per_s,
                                              " calls per second: try again in ", wait_ms, " ms"));
}

Result<CreatedToken> Access::CreateToken(const std::string& role, const std::string& note,
                                         const std::string& worker, std::int64_t valid_ms,
                                         std::int64_t now_ms) {
  if (role != kWorkerRole && !FindRole(role)) {
    return Status(
        Code::kInvalidArgument,
        Str(Quoted(role), " is not a role: expected viewer, submitter, operator or admin"));
  }
  if (valid_ms < kMinuteMs || valid_ms > kValidMsMax) {
    return Status(Code::kInvalidArgument,
                  Str("a token cannot be valid for ", FormatDurationMs(valid_ms),
                      ": give a time from 1min to 3650d (ten years), such as 12h or 30d"));
  }
  RETURN_IF_ERROR(CheckOneLine("the note", note, kNoteBytesMax));
  ASSIGN_OR_RETURN(NewToken made, MakeToken());
  CreatedToken created{.text = std::move(made.text),
                       .row = {.id = std::move(made.id),
                               .hash = std::move(made.hash),
                               .role = role,
                               .note = note,
                               .worker = worker,
                               .created_ms = now_ms,
                               .expires_ms = now_ms + valid_ms}};
  const std::lock_guard change(changing_);
  std::string forgotten;  // the one that ended longest ago, if there are too many
  {
    const std::lock_guard lock(mutex_);
    std::int64_t oldest_ms = now_ms;
    for (const auto& [id, token] : tokens_) {
      const std::int64_t end_ms = token.ended_ms.value_or(token.expires_ms);
      if (tokens_.size() < kTokensMax || end_ms >= oldest_ms) continue;
      oldest_ms = end_ms;
      forgotten = id;
    }
    if (tokens_.size() >= kTokensMax && forgotten.empty()) {
      return Status(Code::kResourceExhausted,
                    Str("there are ", kTokensMax,
                        " valid tokens: revoke some (`longrun admin token "
                        "list`, `longrun admin token revoke ID`)"));
    }
  }
  const Status written = core_.Write([&](Store& store) -> Status {
    if (!forgotten.empty()) RETURN_IF_ERROR(store.DropToken(forgotten));
    return store.PutToken(created.row);
  });
  RETURN_IF_ERROR(written);
  const std::lock_guard lock(mutex_);
  tokens_.erase(forgotten);
  tokens_.emplace(created.row.id, created.row);
  return created;
}

Result<std::string> Access::Revoke(const std::string& id, const std::string& by,
                                   std::int64_t now_ms) {
  const std::lock_guard change(changing_);
  std::optional<TokenRow> token;
  std::optional<WorkerCertificateRow> certificate;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = certificates_.find(id); found != certificates_.end()) {
      certificate = found->second;
    }
    int n_found = 0;
    for (auto one = tokens_.lower_bound(id);
         one != tokens_.end() && one->first.starts_with(id) && id.size() >= kIdPrefixMin; ++one) {
      token = one->second;
      n_found += 1;
    }
    if (n_found + (certificate ? 1 : 0) > 1) {
      return Status(Code::kInvalidArgument,
                    Str(Quoted(id), " is the beginning of several ids: give more characters"));
    }
  }
  if (!token && !certificate) {
    return Status(Code::kNotFound, Str("there is no token and no worker with a certificate ",
                                       Quoted(id), ": `longrun admin token list` lists both"));
  }
  const bool has_ended = token ? token->ended_ms.has_value() : certificate->revoked_ms.has_value();
  if (has_ended) {
    return Status(Code::kFailedPrecondition,
                  Str(token ? Str("token ", token->id) : Str("the certificate of worker ", id),
                      " has ended already"));
  }
  if (token) {
    token->ended_ms = now_ms;
    token->ended_by = by;
    RETURN_IF_ERROR(core_.Write([&](Store& store) { return store.PutToken(*token); }));
    const std::lock_guard lock(mutex_);
    tokens_[token->id] = *token;
    return Str("token ", token->id);
  }
  certificate->revoked_ms = now_ms;
  RETURN_IF_ERROR(
      core_.Write([&](Store& store) { return store.PutWorkerCertificate(*certificate); }));
  const std::lock_guard lock(mutex_);
  certificates_[certificate->worker] = *certificate;
  return Str("worker ", certificate->worker);
}

// Whether this worker has used the token, with this key, and has not renewed its certificate since.
bool Access::MayAskAgain(const TokenRow& token, const std::string& worker, const std::string& key,
                         std::int64_t now_ms) const {
  const auto certificate = certificates_.find(worker);
  return token.ended_ms && token.role == kWorkerRole && token.ended_by == Str("worker ", worker) &&
         now_ms <= token.expires_ms && certificate != certificates_.end() &&
         !certificate->second.revoked_ms && now_ms <= certificate->second.expires_ms &&
         certificate->second.issued_ms == *token.ended_ms && certificate->second.key == key;
}

Result<Access::Joined> Access::Join(std::string_view text, const std::string& worker,
                                    const Key& key, bool is_known, std::int64_t now_ms,
                                    const Issue& issue) {
  const std::string id = TokenId(text);
  const std::string hash = TokenHash(text);
  const std::lock_guard change(changing_);
  TokenRow token;
  bool asks_again = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = tokens_.find(id);
    if (found == tokens_.end() || !IsEqualInConstantTime(found->second.hash, hash)) {
      return Denied(
          "the coordinator does not know this join token: was all of it copied, and from this "
          "coordinator? After a restore, tokens that were made since the backup are gone. "
          "`longrun admin join-token create` makes another one");
    }
    token = found->second;
    if (token.ended_ms) {
      ASSIGN_OR_RETURN(const std::string used_key, key());
      asks_again = MayAskAgain(token, worker, used_key, now_ms);
    }
    if (!asks_again) RETURN_IF_ERROR(CheckToken(token, now_ms));
    is_known = is_known || certificates_.contains(worker);
  }
  if (token.role != kWorkerRole) {
    return Denied(Str("token ", id,
                      " is an access token for people: a worker needs a join token "
                      "(`longrun admin join-token create`)"));
  }
  if (!token.worker.empty() && token.worker != worker) {
    return Denied(Str("join token ", id, " is only for worker ", token.worker, ", but worker ",
                      worker, " uses it: give --id ", token.worker));
  }
  if (token.worker.empty() && is_known && !asks_again) {
    return Denied(Str("there is a worker \"", worker,
                      "\" already: choose another --id, or replace that worker with ",
                      TokenFor(worker)));
  }
  ASSIGN_OR_RETURN(Joined joined, issue());
  token.ended_ms = now_ms;
  token.ended_by = Str("worker ", worker);
  const Status written = core_.Write([&](Store& store) -> Status {
    RETURN_IF_ERROR(store.PutToken(token));
    return store.PutWorkerCertificate(joined.row);
  });
  RETURN_IF_ERROR(written);
  const std::lock_guard lock(mutex_);
  tokens_[id] = token;
  certificates_[worker] = joined.row;
  refusals_.erase(worker);
  return joined;
}

Result<Access::Joined> Access::Renew(const Principal& worker, std::int64_t now_ms,
                                     const Issue& issue) {
  const std::lock_guard change(changing_);
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(CheckWorker(worker.id, worker.key, now_ms));
  }
  ASSIGN_OR_RETURN(Joined joined, issue());
  if (joined.row.key != worker.key) {
    return Denied(Str("worker ", worker.id,
                      " asks for a certificate for another key than that of its present one: for "
                      "another key it must join again"));
  }
  RETURN_IF_ERROR(
      core_.Write([&](Store& store) { return store.PutWorkerCertificate(joined.row); }));
  const std::lock_guard lock(mutex_);
  certificates_[worker.id] = joined.row;
  return joined;
}

std::vector<TokenRow> Access::tokens() const {
  const std::lock_guard lock(mutex_);
  std::vector<TokenRow> rows;
  for (const auto& [id, token] : tokens_) rows.push_back(token);
  std::ranges::stable_sort(rows, {}, &TokenRow::created_ms);
  return rows;
}

std::vector<WorkerCertificateRow> Access::certificates() const {
  const std::lock_guard lock(mutex_);
  std::vector<WorkerCertificateRow> rows;
  for (const auto& [worker, certificate] : certificates_) rows.push_back(certificate);
  return rows;
}

bool Access::has_tokens() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(tokens_,
                             [](const auto& one) { return one.second.role != kWorkerRole; });
}

}  // namespace longrun::coordinator
