// What a user gives on standard input, or in a small file.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun::client {

// All of standard input. `what` names it in errors ("the query"); `instead` says how to give it in
// another way if standard input is closed. kInvalidArgument if it is longer than `bytes_max`.
Result<std::string> ReadStdin(std::string_view what, std::string_view instead,
                              std::size_t bytes_max);

// All of a file that the user has named; `what` is its kind in errors ("sweep file"). kNotFound if
// there is none; kInvalidArgument if the name is empty or it cannot be read, for example because it
// is a folder or longer than `bytes_max`.
Result<std::string> ReadGivenFile(const std::string& file, std::string_view what,
                                  std::size_t bytes_max);

}  // namespace longrun::client
