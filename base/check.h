// LR_CHECK asserts something that our own code guarantees, in release builds too. If it is false,
// the program stops and says where. It is never used to check input.
#pragma once

namespace longrun {

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace longrun

#define LR_CHECK(condition)                                                   \
  do {                                                                        \
    if (!(condition)) ::longrun::CheckFailed(#condition, __FILE__, __LINE__); \
  } while (false)
