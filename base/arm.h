// Features that an ARM processor may have beyond NEON, which every 64-bit one has. On other
// processors, the functions return 0 and false.
#pragma once

namespace longrun {

// The length in bits of this thread's SVE vectors: the machine's, unless the thread was given
// another length. 0 without SVE.
int SveBits();
// Whether the processor has instructions that multiply bfloat16.
bool HasArmBf16();

}  // namespace longrun
