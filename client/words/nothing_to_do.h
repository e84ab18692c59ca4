// Why a command that ends, pauses or resumes a sweep has nothing to do.
#pragma once

#include <string>
#include <string_view>

namespace longrun::client {

// "a has already ended (SUCCEEDED): there is nothing to pause"; "" if the sweep, which is called as
// the user called it, has not ended in this state.
std::string NothingToDo(const std::string& sweep, const std::string& state, std::string_view verb);

}  // namespace longrun::client
