// See host_port.h.
#include "base/host_port.h"

#include <algorithm>
#include <charconv>

#include "base/str.h"

namespace longrun {
namespace {

constexpr int kPortMax = 65535;
constexpr std::size_t kHostMax = 253;  // RFC 1035, section 2.3.4, as text
constexpr std::size_t kLabelMax = 63;  // between two dots

bool IsLetterOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Whether a name or an IPv4 address can be meant. A name that cannot be resolved may be known
// later; one that can be no name, never.
bool IsHost(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);  // the root, as in "gpu.example.org."
  if (host.empty() || host.size() > kHostMax) return false;
  std::size_t n_label = 0;
  for (const char c : host) {
    if (c == '.' && n_label == 0) return false;
    n_label = c == '.' ? 0 : n_label + 1;
    if (n_label > kLabelMax) return false;
    if (c != '.' && c != '-' && c != '_' && !IsLetterOrDigit(c)) return false;
  }
  return n_label > 0;
}

// With its scope, as in "fe80::1%eth0".
bool IsIpv6(std::string_view host) {
  return host.find(':') != std::string_view::npos && std::ranges::all_of(host, [](char c) {
           return IsLetterOrDigit(c) || std::string_view(":.%-_").find(c) != std::string_view::npos;
         });
}

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
  if (!IsHost(place.host) && !(text.starts_with('[') && IsIpv6(place.host))) {
    return NotAPlace(text);
  }
  if (rest.empty()) return port_default > 0 ? Result<HostPort>(place) : NotAPlace(text);
  rest.remove_prefix(1);
  const auto end = std::from_chars(rest.data(), rest.data() + rest.size(), place.port);
  const bool is_number = end.ec == std::errc() && end.ptr == rest.data() + rest.size();
  if (!is_number || place.port < 0 || place.port > kPortMax) return NotAPlace(text);
  return place;
}

}  // namespace longrun
