// What an ARM processor has beyond NEON, which every 64-bit one has.
// On other processors: 0 and false.
#pragma once

namespace longrun {

// The length in bits of this thread's SVE vectors: the machine's, unless the thread was given
// another. 0 without SVE.
int SveBits();
// Whether it has instructions that multiply bfloat16.
bool HasArmBf16();

}  // namespace longrun
