// Named contexts: coordinators on other machines, as `longrun login` stores them.
//
//   CONFIG/longrun/current-context            the name of the one in use; "" or absent: none
//   CONFIG/longrun/contexts/NAME/             0700
//     context.json                            {"address": "HOST:PORT", ...}
//     authority.pem                           the authority (CA) that the user has confirmed
//     token                                   the access token
//
// CONFIG is $XDG_CONFIG_HOME, else ~/.config. Every file has the mode 0600. The folder of a context
// stands in for a state folder wherever a command only calls the coordinator: both say how to reach
// one.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::client {

struct Context {
  std::string name;
  std::string address;    // HOST:PORT
  std::string authority;  // PEM
  std::string token;
};

// How to reach a coordinator.
struct Destination {
  std::string address;         // "unix:/path", or HOST:PORT
  std::string authority = {};  // PEM; "": no TLS, over a unix socket
  std::string token = {};
};

// Whether the folder is that of a context.
bool IsContext(const std::string& folder);
// For messages: "/home/me/state", or "context gpu (gpu.example.org:7443)".
std::string PlaceText(const std::string& folder);

// Of a state folder's running coordinator (kNotFound if there is none), or of a context.
Result<Destination> DestinationOf(const std::string& folder);

Result<std::string> ContextFolder(const std::string& name);
Result<std::vector<std::string>> ContextNames();
Result<Context> ReadContext(const std::string& folder);
Status SaveContext(const Context& context);
// kNotFound names the contexts that there are.
Status RemoveContext(const std::string& name);
Result<std::string> CurrentContext();  // "" if there is none
Status UseContext(const std::string& name);
// "", or what keeps commands from the context in use: "; but LONGRUN_HOME is set …".
std::string GoesBeforeContext(const std::string& name);
Status CheckContext(const std::string& name);  // kNotFound unless there is one of this name

// After a call over the network that nobody answered: the reason with its remedy, found by looking
// at what the server presents. kUnavailable if the next call may succeed.
Status WhyNotReached(const Destination& destination);

}  // namespace longrun::client
