// Which of Highway's SVE targets are left out, where a source is compiled once for each instruction set.
// SVE of an unknown length cannot be taken: tiles, sums and what lies in arrays are of vectors whose
// length the compiler knows. That of 256 bits can, where the build allows for it (CMakeLists.txt); that of
// 128 is as wide as NEON.
#pragma once

#if defined(LONGRUN_SVE256)
#define LONGRUN_DISABLED_SVE (HWY_SVE | HWY_SVE2 | HWY_SVE2_128)
#else
#define LONGRUN_DISABLED_SVE (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif
