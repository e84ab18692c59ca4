// The Highway SVE targets that are left out of a source compiled once for each instruction set. SVE
// of unknown length cannot be used, since the compiler must know the length of the vectors in
// tiles, sums and arrays. SVE of 256 bits is used if the build allows it (CMakeLists.txt); SVE of
// 128 bits is no wider than NEON.
#pragma once

#if defined(LONGRUN_SVE256)
#define LONGRUN_DISABLED_SVE (HWY_SVE | HWY_SVE2 | HWY_SVE2_128)
#else
#define LONGRUN_DISABLED_SVE (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif
