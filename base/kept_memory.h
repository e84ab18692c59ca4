// Keeps memory that was freed in this process.
#pragma once

namespace longrun {

// Call this first in a program that computes with tensors. Each step frees memory that the next one
// allocates again. If it went back to the system in between, it would return as new pages, each of
// which the kernel must clear: a step of a small model with GPT-2's vocabulary would take a fifth
// longer. So this process keeps what it has freed; of what lies at the end of its heap, it keeps at
// most 2 GiB.
void KeepFreedMemory();

}  // namespace longrun
