// See membership.h.
#include "worker/agent/membership.h"

#include <grpcpp/grpcpp.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/units.h"
#include "longrun/v1/identity.grpc.pb.h"
#include "pki/certificate.h"
#include "pki/presented.h"
#include "pki/token.h"

namespace longrun::agent {
namespace {

constexpr std::int64_t kLookMs = 20'000;
// Shorter, since a worker that ends waits for it.
constexpr std::int64_t kCauseLookMs = 5'000;
constexpr std::int64_t kCausePauseMs = 60'000;
constexpr std::chrono::seconds kCallDeadline{20};
constexpr std::size_t kFileBytesMax = 64 << 10;
constexpr int kJoinPauseMs = 200;
constexpr std::int64_t kBusyPauseMs = 200;  // doubles with each try
constexpr std::int64_t kBusyPauseMsMax = 5'000;
constexpr std::int64_t kRetryMsMin = 500;
constexpr std::int64_t kRetryMsMax = 600'000;
constexpr std::int64_t kEndedPauseMs = 60'000;
constexpr std::int64_t kClockPauseMsMax = 600'000;

Status FromRpc(const grpc::Status& status) {
  if (status.ok()) return Status();
  const bool is_unknown = status.error_code() == grpc::StatusCode::UNAUTHENTICATED;
  return Status(is_unknown ? Code::kPermissionDenied : static_cast<Code>(status.error_code()),
                status.error_message());
}

struct Lifetime {
  std::int64_t left_ms = 0;
  std::int64_t whole_ms = 0;
};

// Of the certificate in the folder; nothing if there is none that can be used.
std::optional<Lifetime> FindLifetime(const MemberFiles& files, const std::string& worker_id,
                                     const std::string& ca_fingerprint) {
  const Result<std::string> authority = ReadFile(files.authority, kFileBytesMax);
  const Result<std::string> key = ReadFile(files.key, kFileBytesMax);
  const Result<std::string> certificate = ReadFile(files.certificate, kFileBytesMax);
  if (!authority.ok() || !key.ok() || !certificate.ok()) return std::nullopt;
  const Result<CertificateFacts> ca = ReadCertificate(*authority);
  const Result<CertificateFacts> own = ReadCertificate(*certificate);
  if (!ca.ok() || !own.ok() || own->common_name != worker_id) return std::nullopt;
  if (!ca_fingerprint.empty() && ca->fingerprint != ca_fingerprint) return std::nullopt;
  if (!CheckKeyOf(*key, *certificate).ok()) return std::nullopt;
  if (!CheckSignedBy(*certificate, *authority).ok()) return std::nullopt;
  const Lifetime lifetime{.left_ms = own->not_after_ms - WallMs(),
                          .whole_ms = own->not_after_ms - own->not_before_ms - kClockSkewMs};
  if (lifetime.left_ms <= 0) return std::nullopt;
  return lifetime;
}

// kFailedPrecondition unless the worker's own certificate is valid now. If it is not, the clock may
// be off, or the worker was away for long. Ok if there is no certificate.
Status CheckOwnTime(const MemberFiles& files, const std::string& worker_id) {
  const Result<std::string> pem = ReadFile(files.certificate, kFileBytesMax);
  if (!pem.ok()) return Status();
  const Result<CertificateFacts> own = ReadCertificate(*pem);
  if (!own.ok() || own->common_name != worker_id) return Status();
  const Status in_time = CheckTime(*own, Str("worker ", worker_id), WallMs());
  if (in_time.ok()) return in_time;
  return Status(in_time.code(), Str(in_time.message(),
                                    ": set the clock or, if it is right, join again with a new "
                                    "token (--join)"));
}

// Of the authority to trust: the one that is given, or else the one that this worker joined. "" if
// there is neither.
std::string FingerprintToTrust(const MemberFiles& files, const JoinOptions& options) {
  if (!options.ca_fingerprint.empty()) return PlainFingerprint(options.ca_fingerprint);
  const Result<std::string> pem = ReadFile(files.authority, kFileBytesMax);
  if (!pem.ok()) return "";
  const Result<CertificateFacts> joined = ReadCertificate(*pem);
  return joined.ok() ? joined->fingerprint : "";
}

// The authority that the coordinator presents, if it has the fingerprint that is trusted.
Result<std::string> TrustedAuthority(const HostPort& place, const std::string& fingerprint) {
  ASSIGN_OR_RETURN(const std::vector<std::string> chain, PresentedCertificates(place, kLookMs));
  ASSIGN_OR_RETURN(std::string authority, AuthorityOf(chain, place));
  ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(authority));
  if (facts.fingerprint != fingerprint) {
    return Status(
        Code::kFailedPrecondition,
        Str(place.Text(), " presents an authority with the fingerprint ", facts.fingerprint,
            ", but the one to trust (--ca-fingerprint, or what this worker has joined) is ",
            fingerprint, ": compare with `longrun admin pki show` on the coordinator's machine"));
  }
  RETURN_IF_ERROR(CheckServer(chain, place, WallMs()));
  return authority;
}

// The token of a file, or the tokens of a folder: each file in it that is not hidden (where a
// container's Secret is mounted, hidden names are its versions). Workers that share a folder begin
// at different tokens.
Result<std::vector<std::string>> JoinTokens(const std::string& path, const std::string& worker_id) {
  std::vector<std::string> files{path};
  if (IsFolder(path)) {
    ASSIGN_OR_RETURN(files, ListFolder(path));
    std::erase_if(files, [](const std::string& name) { return name.starts_with("."); });
    if (files.empty()) {
      return Status(Code::kFailedPrecondition,
                    Str("the folder ", path,
                        " has no file with a join token: put one there for each worker (`longrun "
                        "admin join-token create`)"));
    }
    const auto first = static_cast<std::ptrdiff_t>(Crc32c(worker_id) % files.size());
    std::ranges::rotate(files, files.begin() + first);
    for (std::string& file : files) file = JoinPath(path, file);
  }
  std::vector<std::string> tokens;
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kFileBytesMax));
    const std::string token(Trim(text));
    if (TokenId(token).empty()) {
      return Status(Code::kFailedPrecondition,
                    Str(file,
                        " does not hold a join token: expected the text \"lr_...\" "
                        "that `longrun admin join-token create` has printed"));
    }
    tokens.push_back(token);
  }
  return tokens;
}

// The id of the token in a file, or "" if there is none.
std::string TokenIdIn(const std::string& path) {
  if (path.empty()) return "";
  const Result<std::string> text = ReadFile(path, kFileBytesMax);
  return text.ok() ? TokenId(Trim(*text)) : "";
}

// Whether this worker has joined before, but with another token. An operator gives a new one if the
// coordinator does not accept the certificate, though it is valid: it was revoked, or the database
// was restored from a backup that does not know it.
bool IsNewToken(const std::string& joined_path, const std::string& token_id) {
  const Result<std::string> before = ReadFile(joined_path, kFileBytesMax);
  return before.ok() && !token_id.empty() && Trim(*before) != token_id;
}

// Asks again while the coordinator is not reached. It was there a moment ago, so that this is a
// connection that broke. gRPC also reports an attempt to connect that is still under way as failed,
// if an allocation of memory changes errno at that moment, as it may where there is no /sys.
//
// Asks again, too, while the coordinator has too many calls. Thousands of workers of one batch job
// may ask at the same moment, so each waits longer each time, for a time of its own.
Status AskToJoin(v1::IdentityService::Stub& stub, const v1::JoinWorkerRequest& request,
                 std::int64_t patience_ms, v1::JoinWorkerResponse* answer) {
  const auto deadline = std::chrono::system_clock::now() + std::chrono::milliseconds(patience_ms);
  const std::int64_t begin_ms = BootMs();
  SeededRandom random(EntropySeed());
  std::int64_t busy_pause_ms = kBusyPauseMs;
  Status broken;
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    // gRPC connects only while a call waits for that. The first call does not wait, so that it
    // tells at once if nobody is there.
    context.set_wait_for_ready(!broken.ok());
    context.AddMetadata(kJoinTokenMetadata, request.token());
    Status joined = FromRpc(stub.JoinWorker(&context, request, answer));
    // The cause is worth more than that the time is over.
    if (joined.code() == Code::kDeadlineExceeded && !broken.ok()) return broken;
    std::int64_t pause_ms = kJoinPauseMs;
    if (joined.code() == Code::kResourceExhausted) {
      pause_ms = busy_pause_ms / 2 + static_cast<std::int64_t>(
                                         random.Uniform() * static_cast<double>(busy_pause_ms / 2));
      busy_pause_ms = std::min(2 * busy_pause_ms, kBusyPauseMsMax);
      const std::int64_t tried_ms = BootMs() - begin_ms;
      // Not this machine's shortage, which is what kResourceExhausted means for the exit code.
      broken = Status(Code::kUnavailable, Str("it still refuses this after ",
                                              FormatDurationMs(tried_ms), ": ", joined.message()));
      if (tried_ms + pause_ms >= patience_ms) return broken;
      LogWarning("not_joined_yet", {{"why", joined.message()}, {"again_in_ms", Str(pause_ms)}});
    } else if (joined.code() == Code::kUnavailable) {
      broken = std::move(joined);
    } else {
      return joined;
    }
    poll(nullptr, 0, static_cast<int>(pause_ms));
  }
}

std::string MembershipFolder(const std::string& state) { return JoinPath(state, "membership"); }

MemberFiles FilesOf(const std::string& state) {
  const std::string folder = MembershipFolder(state);
  return {.authority = JoinPath(folder, "authority.pem"),
          .key = JoinPath(folder, "key.pem"),
          .certificate = JoinPath(folder, "certificate.pem")};
}

std::string Beside(const std::string& path) { return path + ".new"; }

// The key of an earlier attempt to join, if there was one: the coordinator may have accepted it,
// and accepts its token only with this key again.
Result<std::string> KeyToJoinWith(const std::string& path) {
  const Result<std::string> kept = ReadFile(path, kFileBytesMax);
  if (!kept.ok() && kept.status().code() != Code::kNotFound) return kept.status();
  if (kept.ok() && NewSigningRequest(*kept, "any").ok()) return *kept;
  ASSIGN_OR_RETURN(std::string key, NewPrivateKey());
  RETURN_IF_ERROR(MakeFolders(FolderOf(path), 0700));
  RETURN_IF_ERROR(WriteFileAtomic(path, key, 0600));
  return key;
}

// Puts what a join has brought in the place of what was there, if it is complete: then the new key
// fits the certificate. The key goes last, so that a start after a crash goes on here.
Status TakeJoined(const MemberFiles& files, const std::string& joined_path) {
  const auto certificate =
      PathExists(Beside(files.certificate)) ? Beside(files.certificate) : files.certificate;
  const Result<std::string> key = ReadFile(Beside(files.key), kFileBytesMax);
  const Result<std::string> pem = ReadFile(certificate, kFileBytesMax);
  if (!key.ok() || !pem.ok() || !CheckKeyOf(*key, *pem).ok()) return Status();
  for (const std::string& path : {files.authority, joined_path, files.certificate, files.key}) {
    if (PathExists(Beside(path))) RETURN_IF_ERROR(RenameSync(Beside(path), path));
  }
  return Status();
}

Status Join(const MemberFiles& files, const std::string& joined_path, const HostPort& place,
            const std::string& worker_id, const JoinOptions& options) {
  if (options.token_file.empty()) {
    return Status(Code::kInvalidArgument,
                  Str("this worker has no valid certificate for ", place.Text(),
                      ": give --join FILE with a token of `longrun admin join-token create`"));
  }
  const std::string fingerprint = FingerprintToTrust(files, options);
  if (fingerprint.empty()) {
    return Status(Code::kInvalidArgument,
                  Str("--ca-fingerprint \"", options.ca_fingerprint,
                      "\": expected the 64 hex digits that `longrun admin pki show` on the "
                      "coordinator's machine prints"));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> tokens,
                   JoinTokens(options.token_file, worker_id));
  ASSIGN_OR_RETURN(const std::string authority, TrustedAuthority(place, fingerprint));
  ASSIGN_OR_RETURN(const std::string key, KeyToJoinWith(Beside(files.key)));
  v1::JoinWorkerRequest request;
  request.set_worker_id(worker_id);
  ASSIGN_OR_RETURN(*request.mutable_signing_request(), NewSigningRequest(key, worker_id));
  grpc::SslCredentialsOptions trust;
  trust.pem_root_certs = authority;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto stub = v1::IdentityService::NewStub(
      grpc::CreateCustomChannel(place.Text(), grpc::SslCredentials(trust), arguments));
  v1::JoinWorkerResponse answer;
  Status joined;
  for (const std::string& token : tokens) {
    request.set_token(token);
    joined = AskToJoin(*stub, request, options.patience_ms, &answer);
    if (joined.code() != Code::kPermissionDenied) break;  // another worker may have used this token
  }
  if (!joined.ok()) {
    const std::string refused = tokens.size() == 1 || joined.code() != Code::kPermissionDenied
                                    ? std::string()
                                    : Str(", which refuses all ", tokens.size(), " tokens in ",
                                          options.token_file, "; the last one");
    return std::move(joined).In(Str("joining the coordinator at ", place.Text(), refused));
  }
  // On a full disk, the earlier files stay. The certificate is written last, since only with it a
  // join is complete.
  RETURN_IF_ERROR(WriteFileAtomic(Beside(files.authority), authority, 0600));
  RETURN_IF_ERROR(WriteFileAtomic(Beside(joined_path), TokenIdIn(options.token_file) + "\n", 0600));
  Failpoint("worker_before_joined");
  RETURN_IF_ERROR(WriteFileAtomic(Beside(files.certificate), answer.certificate(), 0600));
  Failpoint("worker_after_joined");
  RETURN_IF_ERROR(TakeJoined(files, joined_path));
  LogInfo("worker_joined", {{"id", worker_id}, {"coordinator", place.Text()}});
  return Status();
}

}  // namespace

bool HasJoined(const std::string& state) {
  const std::string certificate = FilesOf(state).certificate;
  return PathExists(certificate) || PathExists(Beside(certificate));
}

Result<std::unique_ptr<Membership>> Membership::Enter(const std::string& state,
                                                      const HostPort& place,
                                                      const std::string& worker_id,
                                                      const JoinOptions& options) {
  MemberFiles files = FilesOf(state);
  const std::string joined_path = JoinPath(MembershipFolder(state), "joined-by");
  RETURN_IF_ERROR(TakeJoined(files, joined_path));
  const std::string token_id = TokenIdIn(options.token_file);
  const bool is_valid =
      FindLifetime(files, worker_id, PlainFingerprint(options.ca_fingerprint)).has_value();
  if (!is_valid || IsNewToken(joined_path, token_id)) {
    const Status joined = Join(files, joined_path, place, worker_id, options);
    if (!joined.ok() && !is_valid) {
      const Status in_time = CheckOwnTime(files, worker_id);
      if (in_time.ok()) return joined;
      return Status(joined.code(), Str(joined.message(), "; ", in_time.message()));
    }
    if (!joined.ok()) {
      LogWarning("not_joined_again",
                 {{"why", joined.message()}, {"meaning", "its certificate from before is used"}});
    }
  }
  ASSIGN_OR_RETURN(CoordinatorChannel coordinator, ConnectTo(place, files));
  return std::unique_ptr<Membership>(
      new Membership(std::move(files), place, worker_id, std::move(coordinator)));
}

Membership::Membership(MemberFiles files, HostPort place, std::string worker_id,
                       CoordinatorChannel coordinator)
    : files_(std::move(files)),
      place_(std::move(place)),
      worker_id_(std::move(worker_id)),
      coordinator_(std::move(coordinator)),
      thread_(StartThread([this] { Run(); })) {}

Membership::~Membership() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void Membership::LookWhyUnreached() {
  {
    const std::lock_guard lock(mutex_);
    unreached_ = true;
  }
  stop_.notify_all();
}

Status Membership::WhyUnreached() const {
  RETURN_IF_ERROR(CheckOwnTime(files_, worker_id_));
  ASSIGN_OR_RETURN(const std::string authority, ReadFile(files_.authority, kFileBytesMax));
  return CheckPresented(
      place_,
      {.pem = authority,
       .trusted_by = "this worker joined one with the authority",
       .trust_another = "join again with a new token (--join) and its --ca-fingerprint"},
      kCauseLookMs);
}

// Renews after half of the certificate's time, and tries more often as its end comes nearer. The
// wall clock, which says how much is left, may be set meanwhile: it is asked again now and then.
void Membership::Run() {
  std::int64_t renew_ms = BootMs(), end_ms = BootMs(), look_ms = BootMs();
  std::int64_t clock_ms = BootMs();  // when to ask it
  std::unique_lock lock(mutex_);
  while (true) {
    if (BootMs() >= clock_ms) {
      clock_ms = BootMs() + kClockPauseMsMax;
      if (const std::optional<Lifetime> found = FindLifetime(files_, worker_id_, "")) {
        clock_ms = BootMs() + std::clamp(found->whole_ms / 10, kRetryMsMin, kClockPauseMsMax);
        end_ms = BootMs() + found->left_ms;
        renew_ms = BootMs() + std::max<std::int64_t>(found->left_ms - found->whole_ms / 2, 0);
      }
    }
    const std::int64_t wait_ms = std::max<std::int64_t>(std::min(renew_ms, clock_ms) - BootMs(), 0);
    stop_.wait_for(lock, std::chrono::milliseconds(wait_ms),
                   [&] { return stopping_ || unreached_; });
    if (stopping_) return;
    const bool looks = std::exchange(unreached_, false) && BootMs() >= look_ms;
    lock.unlock();
    if (looks) {
      const Status why = WhyUnreached();
      if (why.code() == Code::kFailedPrecondition) {
        LogWarning("coordinator_not_trusted", {{"why", why.message()}});
      }
      look_ms = BootMs() + kCausePauseMs;
    }
    if (BootMs() >= renew_ms) renew_ms = RenewOrTell(end_ms);
    lock.lock();
  }
}

std::int64_t Membership::RenewOrTell(std::int64_t& end_ms) {
  const Result<std::int64_t> valid_ms = Renew();
  if (valid_ms.ok()) {
    end_ms = BootMs() + *valid_ms;
    LogInfo("certificate_renewed", {{"id", worker_id_}, {"valid_ms", Str(*valid_ms)}});
    return BootMs() + *valid_ms / 2;
  }
  // Once it has ended, the coordinator refuses it: another try could only find another clock.
  const Status in_time = CheckOwnTime(files_, worker_id_);
  const std::int64_t wait_ms =
      in_time.ok() ? std::clamp((end_ms - BootMs()) / 10, kRetryMsMin, kRetryMsMax) : kEndedPauseMs;
  const Status why = in_time.ok() ? valid_ms.status() : in_time;
  LogWarning("certificate_not_renewed", {{"why", why.message()}, {"again_in_ms", Str(wait_ms)}});
  return BootMs() + wait_ms;
}

// Keeps the key, so that only one file changes.
Result<std::int64_t> Membership::Renew() {
  ASSIGN_OR_RETURN(const std::string key, ReadFile(files_.key, kFileBytesMax));
  v1::RenewWorkerRequest request;
  ASSIGN_OR_RETURN(*request.mutable_signing_request(), NewSigningRequest(key, worker_id_));
  const auto stub = v1::IdentityService::NewStub(coordinator_.channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  v1::RenewWorkerResponse answer;
  RETURN_IF_ERROR(FromRpc(stub->RenewWorker(&context, request, &answer)));
  RETURN_IF_ERROR(CheckKeyOf(key, answer.certificate()));
  RETURN_IF_ERROR(WriteFileAtomic(files_.certificate, answer.certificate(), 0600));
  return answer.valid_ms();
}

}  // namespace longrun::agent
