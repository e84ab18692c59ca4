// What sources call before they access memory, if they are compiled with -fsanitize=thread and not
// linked with it. These functions stand in for the thread sanitizer's own, which know nothing of
// fibres, or of blocks that run at the same time on a GPU.
#include "tests/kernels/cuda_host.h"

using longrun::testing::HostBlock;

#define LR_BEFORE(name, way, n)                                      \
  void __tsan_##name(void* data) {                                   \
    HostBlock::Current().AccessGlobal(data, n, HostBlock::Way::way); \
  }
#define LR_BEFORE_ACCESSES(n)            \
  LR_BEFORE(read##n, kRead, n)           \
  LR_BEFORE(write##n, kWrite, n)         \
  LR_BEFORE(unaligned_read##n, kRead, n) \
  LR_BEFORE(unaligned_write##n, kWrite, n)

extern "C" {

LR_BEFORE_ACCESSES(1)
LR_BEFORE_ACCESSES(2)
LR_BEFORE_ACCESSES(4)
LR_BEFORE_ACCESSES(8)
LR_BEFORE_ACCESSES(16)
void __tsan_read_range(void* data, unsigned long n) {
  HostBlock::Current().AccessGlobal(data, static_cast<int>(n), HostBlock::Way::kRead);
}
void __tsan_write_range(void* data, unsigned long n) {
  HostBlock::Current().AccessGlobal(data, static_cast<int>(n), HostBlock::Way::kWrite);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
// Of the guard of a static variable in a function.
unsigned char __tsan_atomic8_load(const volatile unsigned char* from, int) {
  return __atomic_load_n(from, __ATOMIC_SEQ_CST);
}

}  // extern "C"
