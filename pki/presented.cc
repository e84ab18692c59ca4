// See presented.h.
#include "pki/presented.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/str.h"
#include "pki/certificate.h"

namespace longrun {
namespace {

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeSession {
  void operator()(SSL* session) const { SSL_free(session); }
};

// While it lives, a write to a peer that has gone raises no SIGPIPE in this thread: OpenSSL writes
// without MSG_NOSIGNAL.
class NoSigPipe {
 public:
  NoSigPipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigPipe() {
    const timespec now{};
    while (sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigPipe(const NoSigPipe&) = delete;
  NoSigPipe& operator=(const NoSigPipe&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
};

bool IsReady(int fd, short events, std::int64_t deadline_ms) {
  pollfd waiting{.fd = fd, .events = events, .revents = 0};
  const std::int64_t left_ms = std::max<std::int64_t>(0, deadline_ms - BootMs());
  return poll(&waiting, 1, static_cast<int>(left_ms)) > 0;
}

// A connected socket, which the caller closes.
Result<int> ConnectTo(const HostPort& place, std::int64_t deadline_ms) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(place.host.c_str(), Str(place.port).c_str(), &hints, &found);
  if (failed != 0) {
    // Not final: a machine that has just started may have no name server yet.
    return Status(Code::kUnavailable,
                  Str("the name \"", place.host, "\" cannot be resolved (", gai_strerror(failed),
                      "): check its spelling, and this machine's network"));
  }
  const std::unique_ptr<addrinfo, FreeAddresses> addresses(found);
  int error_number = 0;
  for (const addrinfo* one = addresses.get(); one != nullptr; one = one->ai_next) {
    Descriptor fd(socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd.get() < 0) {
      error_number = errno;
      continue;
    }
    if (connect(fd.get(), one->ai_addr, one->ai_addrlen) == 0) return fd.Release();
    error_number = errno;
    if (error_number != EINPROGRESS) continue;
    if (!IsReady(fd.get(), POLLOUT, deadline_ms)) {
      error_number = ETIMEDOUT;
      continue;
    }
    socklen_t size = sizeof error_number;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error_number, &size);
    if (error_number == 0) return fd.Release();
  }
  return Status(
      Code::kUnavailable,
      Str("no coordinator answers at ", place.Text(), " (", std::strerror(error_number),
          "): check host, port and firewall, and that the coordinator runs with --listen"));
}

Result<std::string> PemOf(X509* certificate) {
  BIO* const bio = BIO_new(BIO_s_mem());
  const bool written = PEM_write_bio_X509(bio, certificate) == 1;
  char* data = nullptr;
  const long n_bytes = BIO_get_mem_data(bio, &data);
  std::string pem(data, static_cast<std::size_t>(n_bytes));
  BIO_free(bio);
  if (!written) return Status(Code::kInternal, "cannot write a certificate");
  return pem;
}

}  // namespace

Result<std::vector<std::string>> PresentedCertificates(const HostPort& place,
                                                       std::int64_t timeout_ms) {
  const std::int64_t deadline_ms = BootMs() + timeout_ms;
  const NoSigPipe no_sigpipe;
  ASSIGN_OR_RETURN(const int connected, ConnectTo(place, deadline_ms));
  const Descriptor fd(connected);
  const std::unique_ptr<SSL_CTX, FreeContext> context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  const std::unique_ptr<SSL, FreeSession> session(SSL_new(context.get()));
  constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(session.get(), kHttp2, sizeof kHttp2);
  SSL_set_tlsext_host_name(session.get(), place.host.c_str());
  SSL_set_fd(session.get(), fd.get());
  while (true) {
    const int done = SSL_connect(session.get());
    if (done == 1) break;
    const int wants = SSL_get_error(session.get(), done);
    const bool waits = wants == SSL_ERROR_WANT_READ || wants == SSL_ERROR_WANT_WRITE;
    const bool is_cut = wants == SSL_ERROR_SYSCALL ||
                        (wants == SSL_ERROR_SSL &&
                         ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
    ERR_clear_error();
    if (is_cut) {
      return Status(Code::kUnavailable,
                    Str("the connection to ", place.Text(),
                        " was cut before TLS began: try again, since the coordinator or a proxy in "
                        "between may be restarting; if this lasts, check that the address is that "
                        "of a coordinator that runs with --listen"));
    }
    if (!waits) {
      return Status(Code::kFailedPrecondition,
                    Str(place.Text(),
                        " does not speak TLS 1.3: is this the address of a "
                        "coordinator that runs with --listen, without a proxy in between?"));
    }
    const short events = wants == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    if (IsReady(fd.get(), events, deadline_ms)) continue;
    return Status(Code::kUnavailable, Str(place.Text(),
                                          " accepts a connection, but says nothing "
                                          "in TLS: is it the address of a coordinator? If so, "
                                          "the coordinator is stopped or overloaded"));
  }
  std::vector<std::string> chain;
  STACK_OF(X509)* const presented = SSL_get_peer_cert_chain(session.get());
  for (int i = 0; presented != nullptr && i < sk_X509_num(presented); ++i) {
    ASSIGN_OR_RETURN(std::string pem, PemOf(sk_X509_value(presented, i)));
    chain.push_back(std::move(pem));
  }
  return chain;
}

Status CheckServer(const std::vector<std::string>& chain, const HostPort& place,
                   std::int64_t now_ms) {
  ASSIGN_OR_RETURN(const CertificateFacts own, ReadCertificate(chain.front()));
  if (const Status in_time = CheckTime(own, place.Text(), now_ms); !in_time.ok()) {
    return Status(in_time.code(),
                  Str(in_time.message(),
                      ": set the clock, or renew the certificate (`longrun admin pki renew` on the "
                      "coordinator's machine)"));
  }
  if (IsForHost(own, place.host)) return Status();
  // Those that are not given again would be lost.
  std::string names;
  for (const std::string& name : own.names) names += Str(" --name ", name);
  return Status(Code::kFailedPrecondition,
                Str("the certificate of ", place.Text(), " is for ", Join(own.names, ", "),
                    ": use one of these names, or add this one (`longrun admin pki renew", names,
                    " --name ", place.host, "` on the coordinator's machine)"));
}

Result<std::string> AuthorityOf(const std::vector<std::string>& chain, const HostPort& place) {
  for (const std::string& pem : chain) {
    ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(pem));
    if (!facts.is_authority) continue;
    RETURN_IF_ERROR(CheckSignedBy(chain.front(), pem).In(place.Text()));
    return pem;
  }
  return Status(Code::kFailedPrecondition,
                Str(place.Text(),
                    " presents no authority (CA): is it a coordinator whose "
                    "certificates `longrun admin pki init` has made?"));
}

Status CheckPresented(const HostPort& place, const TrustedAuthority& authority,
                      std::int64_t timeout_ms) {
  ASSIGN_OR_RETURN(const std::vector<std::string> chain, PresentedCertificates(place, timeout_ms));
  ASSIGN_OR_RETURN(const std::string found, AuthorityOf(chain, place));
  ASSIGN_OR_RETURN(const CertificateFacts trusted, ReadCertificate(std::string(authority.pem)));
  ASSIGN_OR_RETURN(const CertificateFacts presented, ReadCertificate(found));
  if (presented.fingerprint != trusted.fingerprint) {
    return Status(
        Code::kFailedPrecondition,
        Str(place.Text(), " presents the authority ", presented.fingerprint, ", but ",
            authority.trusted_by, " ", trusted.fingerprint, ": if its operator has replaced it, ",
            authority.trust_another, "; if not, somebody may stand in between"));
  }
  return CheckServer(chain, place, WallMs());
}

}  // namespace longrun
