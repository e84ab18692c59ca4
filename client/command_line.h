// The whole command line: all verbs, with the options that stand before any of them. What main.cc
// parses, what the completion scripts ask, and what the tests read the examples of.
#pragma once

#include <memory>
#include <string>

#include "client/verb.h"

namespace CLI {
class App;
}

namespace longrun {

// `verbs` and `state` (of --state, as given) are filled by its parse() and must outlive it.
std::unique_ptr<CLI::App> MakeCommandLine(Verbs& verbs, std::string& state);

}  // namespace longrun
