// Whether this is built with the address or the thread sanitizer: each has an allocator of its own,
// and takes terabytes of addresses for its notes.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LONGRUN_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LONGRUN_SANITIZED
#endif
#endif
