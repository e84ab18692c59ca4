#include "tests/allocations.h"

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "tests/sanitized.h"

namespace {

std::atomic<std::int64_t> bytes_held{0}, bytes_most{0}, bytes_largest{0};

void Raise(std::atomic<std::int64_t>& to, std::int64_t value) {
  std::int64_t before = to.load(std::memory_order_relaxed);
  while (value > before && !to.compare_exchange_weak(before, value)) {
  }
}

[[maybe_unused]] void* Count(void* memory) {
  if (memory == nullptr) return memory;
  const auto n = static_cast<std::int64_t>(malloc_usable_size(memory));
  Raise(bytes_most, bytes_held.fetch_add(n) + n);
  Raise(bytes_largest, n);
  return memory;
}

[[maybe_unused]] void Discount(void* memory) {
  if (memory != nullptr) bytes_held -= static_cast<std::int64_t>(malloc_usable_size(memory));
}

}  // namespace

#if !defined(LONGRUN_SANITIZED)
// The names under which glibc keeps its own.
extern "C" {
void* __libc_malloc(std::size_t n) noexcept;
void* __libc_calloc(std::size_t n, std::size_t size) noexcept;
void* __libc_realloc(void* memory, std::size_t n) noexcept;
void* __libc_memalign(std::size_t alignment, std::size_t n) noexcept;
void __libc_free(void* memory) noexcept;

void* malloc(std::size_t n) noexcept { return Count(__libc_malloc(n)); }
void* calloc(std::size_t n, std::size_t size) noexcept { return Count(__libc_calloc(n, size)); }
void* realloc(void* memory, std::size_t n) noexcept {
  Discount(memory);
  return Count(__libc_realloc(memory, n));
}
void* memalign(std::size_t alignment, std::size_t n) noexcept {
  return Count(__libc_memalign(alignment, n));
}
void* aligned_alloc(std::size_t alignment, std::size_t n) noexcept {
  return Count(__libc_memalign(alignment, n));
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t n) noexcept {
  *memory = Count(__libc_memalign(alignment, n));
  return *memory == nullptr ? ENOMEM : 0;
}
void free(void* memory) noexcept {
  Discount(memory);
  __libc_free(memory);
}
}
#endif

namespace longrun {

bool AllocationsAreCounted() {
#if defined(LONGRUN_SANITIZED)
  return false;
#else
  return true;
#endif
}

Allocations AllocationsNow() {
  return {.held = bytes_held, .most = bytes_most, .largest = bytes_largest};
}

void ForgetAllocations() {
  bytes_most = bytes_held.load();
  bytes_largest = 0;
}

}  // namespace longrun
