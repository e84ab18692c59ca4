// See caller.h.
#include "coordinator/rpc/caller.h"

#include <string_view>
#include <vector>

#include "base/clock.h"
#include "pki/certificate.h"

namespace longrun::coordinator {
namespace {

constexpr std::string_view kScheme = "Bearer ";
constexpr const char* kCommonName = "x509_common_name";
constexpr const char* kCertificate = "x509_pem_cert";

std::string_view View(const grpc::string_ref& text) { return {text.data(), text.size()}; }

}  // namespace

Result<Principal> NetworkCaller(const Access& access, const grpc::AuthContext& connection,
                                const RpcMetadata& metadata) {
  const auto header = metadata.find("authorization");
  if (header != metadata.end()) {
    std::string_view text = View(header->second);
    if (!text.starts_with(kScheme)) {
      return Status(Code::kPermissionDenied,
                    "the header \"authorization\" has another form than \"Bearer TOKEN\"");
    }
    text.remove_prefix(kScheme.size());
    return access.OfToken(text, WallMs());
  }
  // gRPC has checked that our authority signed the certificate, and that it is valid now.
  const std::vector<grpc::string_ref> names = connection.FindPropertyValues(kCommonName);
  const std::vector<grpc::string_ref> certificates = connection.FindPropertyValues(kCertificate);
  if (names.size() == 1 && certificates.size() == 1) {
    ASSIGN_OR_RETURN(const CertificateFacts facts,
                     ReadCertificate(std::string(View(certificates.front()))));
    return access.OfWorker(std::string(View(names.front())), facts.key, WallMs());
  }
  return Status(Code::kPermissionDenied,
                "this call has neither an access token nor a worker's certificate: people use "
                "`longrun login`, workers join with --join");
}

Result<Principal> CallerOf(const Access& access, const grpc::ServerContextBase& context) {
  if (context.peer().starts_with("unix:")) return Principal();
  return NetworkCaller(access, *context.auth_context(), context.client_metadata());
}

}  // namespace longrun::coordinator
