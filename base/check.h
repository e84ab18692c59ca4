// LR_CHECK: a promise of our own, kept in release builds too. A false one stops the program and
// says where; it is never used for input.
#pragma once

namespace longrun {

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace longrun

#define LR_CHECK(condition)                                                   \
  do {                                                                        \
    if (!(condition)) ::longrun::CheckFailed(#condition, __FILE__, __LINE__); \
  } while (false)
