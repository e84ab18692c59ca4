// The whole command line: all verbs, and the options that come before any of them. main.cc parses
// with it, the completion scripts query it, and the tests read its examples.
#pragma once

#include <memory>
#include <string>

#include "client/verb.h"

namespace CLI {
class App;
}

namespace longrun::client {

// Its parse() fills `verbs` and `state` (--state as given), which must outlive it.
std::unique_ptr<CLI::App> MakeCommandLine(Verbs& verbs, std::string& state);

}  // namespace longrun::client
