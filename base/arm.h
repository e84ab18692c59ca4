// What an ARM processor has beyond NEON, which every 64-bit one has. On others: nothing.
#pragma once

namespace longrun {

// The length of this thread's SVE vectors, which is the machine's unless it was told another; 0 where
// there is no SVE.
int SveBits();
// Products of bfloat16.
bool HasArmBf16();

}  // namespace longrun
