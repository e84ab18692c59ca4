// The certificates that a TLS server presents, before anybody trusts them: `longrun login` and a
// worker that joins compare the authority's fingerprint with what the operator told them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "pki/host_port.h"

namespace longrun {

// The chain in PEM form, the server's own certificate first. Trusts nothing and sends nothing.
// kNotFound if the name resolves nowhere; kUnavailable if nobody listens there, or not in time, or
// the connection is cut; kFailedPrecondition if what listens there does not speak TLS 1.3.
Result<std::vector<std::string>> PresentedCertificates(const HostPort& place,
                                                       std::int64_t timeout_ms);

// The authority (CA) among them, which must have signed the first. kFailedPrecondition if there is
// none.
Result<std::string> AuthorityOf(const std::vector<std::string>& chain, const HostPort& place);

// Whether the server's own certificate is valid at `now_ms` and for the host: kFailedPrecondition
// with the remedy.
Status CheckServer(const std::vector<std::string>& chain, const HostPort& place,
                   std::int64_t now_ms);

}  // namespace longrun
