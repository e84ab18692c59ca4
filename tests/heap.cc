#include "tests/heap.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#include <sanitizer/allocator_interface.h>
#define LONGRUN_HEAP_BY_HOOKS
#endif
#endif

namespace {

std::atomic<std::int64_t> heap_asked{0};
std::atomic<std::int64_t> heap_held{0};
std::atomic<std::int64_t> heap_most{0};

void Count(const volatile void* memory) {
  const auto n = static_cast<std::int64_t>(malloc_usable_size(const_cast<void*>(memory)));
  heap_asked += n;
  const std::int64_t now = heap_held.fetch_add(n) + n;
  std::int64_t most = heap_most.load();
  while (now > most && !heap_most.compare_exchange_weak(most, now)) {
  }
}
void Discount(const volatile void* memory) {
  heap_held -= static_cast<std::int64_t>(malloc_usable_size(const_cast<void*>(memory)));
}

#if defined(LONGRUN_HEAP_BY_HOOKS)
// A sanitizer has operators of its own, and would miss the ones that are not replaced here.
[[maybe_unused]] const int installed = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void* memory, std::size_t) { Count(memory); },
    [](const volatile void* memory) {
      if (memory != nullptr) Discount(memory);
    });
#endif

}  // namespace

#if !defined(LONGRUN_HEAP_BY_HOOKS)
void* operator new(std::size_t n) {
  void* const memory = std::malloc(n);
  if (memory == nullptr) std::abort();
  Count(memory);
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  Discount(memory);
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
#endif

namespace longrun {

Heap HeapNow() { return {.asked = heap_asked, .held = heap_held, .most = heap_most}; }
void ForgetMost() { heap_most = heap_held.load(); }

}  // namespace longrun
