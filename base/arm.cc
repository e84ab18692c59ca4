// See arm.h.
#include "base/arm.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#include <sys/prctl.h>
#endif

namespace longrun {

#if defined(__aarch64__)

// Constants of the kernel (arch/arm64/include/uapi/asm/hwcap.h, include/uapi/linux/prctl.h),
// which older systems' headers lack.
int SveBits() {
  constexpr unsigned long kSve = 1UL << 22;
  constexpr int kGetLength = 51, kLengthMask = 0xffff;
  if ((getauxval(AT_HWCAP) & kSve) == 0) return 0;
  const int answer = prctl(kGetLength, 0, 0, 0, 0);
  return answer < 0 ? 0 : 8 * (answer & kLengthMask);
}

bool HasArmBf16() {
  constexpr unsigned long kBf16 = 1UL << 14;
  return (getauxval(AT_HWCAP2) & kBf16) != 0;
}

#else

int SveBits() { return 0; }
bool HasArmBf16() { return false; }

#endif

}  // namespace longrun
