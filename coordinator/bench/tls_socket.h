// The ceiling of a transfer over TLS: a file through one connection of OpenSSL over the loopback
// interface, without a protocol, and thrown away at its end.
#pragma once

#include <string>

namespace longrun::coordinator {

// The seconds in which all of the file has arrived, with TLS 1.3; connecting does not count. The
// key and the chain are paths of PEM files.
double TlsSocketSeconds(const std::string& key_path, const std::string& chain_path,
                        const std::string& file_path);

}  // namespace longrun::coordinator
