// For tests of what a process has in memory.
#pragma once

// The address and the thread sanitizer have allocators of their own, which hold back what was
// freed: what is resident beside them says nothing.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LONGRUN_RESIDENT_IS_HELD_BACK
#endif
#endif
