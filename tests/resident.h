// For tests of what a process has in memory.
#pragma once

// The address sanitizer holds back what was freed: what is resident beside it says nothing.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LONGRUN_RESIDENT_IS_HELD_BACK
#endif
#endif
