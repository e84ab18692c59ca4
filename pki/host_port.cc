// See host_port.h.
#include "pki/host_port.h"

#include <charconv>

#include "base/str.h"

namespace longrun {
namespace {

constexpr int kPortMax = 65535;

Status NotAPlace(std::string_view text) {
  return Status(Code::kInvalidArgument,
                Str("\"", text,
                    "\" is not a network address: expected HOST:PORT, as in "
                    "\"coordinator.example.org:7443\" or \"[::1]:7443\""));
}

}  // namespace

std::string HostPort::Text() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return is_v6 ? Str("[", host, "]:", port) : Str(host, ":", port);
}

Result<HostPort> ParseHostPort(std::string_view text, int port_default) {
  HostPort place{.host = "", .port = port_default};
  std::string_view rest = text;
  if (rest.starts_with('[')) {
    const std::size_t end = rest.find(']');
    if (end == std::string_view::npos) return NotAPlace(text);
    place.host = rest.substr(1, end - 1);
    rest = rest.substr(end + 1);
  } else {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    place.host = rest.substr(0, end);
    rest = rest.substr(end);
  }
  for (const char c : place.host) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '/' || c == '@') return NotAPlace(text);
  }
  if (place.host.empty()) return NotAPlace(text);
  if (rest.empty()) return port_default > 0 ? Result<HostPort>(place) : NotAPlace(text);
  rest.remove_prefix(1);
  const auto end = std::from_chars(rest.data(), rest.data() + rest.size(), place.port);
  const bool is_number = end.ec == std::errc() && end.ptr == rest.data() + rest.size();
  if (!is_number || place.port < 0 || place.port > kPortMax) return NotAPlace(text);
  return place;
}

}  // namespace longrun
