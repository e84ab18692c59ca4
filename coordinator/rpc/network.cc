// See network.h.
#include "coordinator/rpc/network.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <netdb.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>

#include "base/descriptor.h"
#include "base/str.h"
#include "pki/files.h"

namespace longrun::coordinator {
namespace {

constexpr unsigned kReadAgainS = 1;

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

}  // namespace

// gRPC 1.51 has no setting for the oldest version of TLS. Its list of ciphers is one for TLS 1.2:
// with a cipher that needs an RSA key, and keys that are not RSA, a client of TLS 1.2 finds no
// common cipher. TLS 1.3 does not use the list.
void AllowOnlyTls13() { setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384", 1); }

Status CannotListen(int error_number, const HostPort& place) {
  const std::string text = place.Text();
  switch (error_number) {
    case EADDRINUSE:
      return Status(Code::kUnavailable,
                    Str("another program listens on ", text,
                        ": choose another port, or find the program with `ss -ltnp`"));
    case EADDRNOTAVAIL:
      return Status(Code::kInvalidArgument, Str("cannot listen on ", text,
                                                ": it is no address of this machine; "
                                                "0.0.0.0:",
                                                place.port, " listens on all of its addresses"));
    default:
      return ErrnoStatus(error_number, Str("cannot listen on ", text));
  }
}

Status CheckListenPlace(const HostPort& place) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int failed = getaddrinfo(place.host.c_str(), Str(place.port).c_str(), &hints, &found);
      failed != 0) {
    return Status(Code::kInvalidArgument,
                  Str("cannot listen on ", place.Text(), ": the name cannot be resolved (",
                      gai_strerror(failed), "); 0.0.0.0:", place.port,
                      " listens on all addresses of this machine"));
  }
  const std::unique_ptr<addrinfo, FreeAddresses> addresses(found);
  for (const addrinfo* one = addresses.get(); one != nullptr; one = one->ai_next) {
    const Descriptor fd(socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.is_open()) continue;  // a family that this machine does not have
    const int yes = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd.get(), one->ai_addr, one->ai_addrlen) != 0 || listen(fd.get(), 1) != 0) {
      return CannotListen(errno, place);
    }
  }
  return Status();
}

std::shared_ptr<grpc::ServerCredentials> NetworkCredentials(const std::string& state_folder) {
  const PkiPaths paths = PkiPathsOf(state_folder);
  const auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      paths.key, paths.chain, paths.authority, kReadAgainS);
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace longrun::coordinator
