// This program's version as text.
#pragma once

#include <string>

namespace longrun::client {

std::string VersionText();  // release, commit, protocol: one line

}  // namespace longrun::client
