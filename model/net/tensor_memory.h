// The memory of CPU tensors, counted.
//
// LibTorch asks the C library for blocks that begin at a cache line. glibc cannot give such a block
// again to an equal request: it looks for a free block that also has room for the alignment. A step
// frees and requests the same sizes over and over, so its heap grew by a quarter or more. Here a
// tensor lies within an ordinary block that is a cache line larger, and a freed block fits again.
#pragma once

#include <cstdint>

namespace longrun {

// Makes this LibTorch's allocator, for tensors and for memory that operators request through
// LibTorch. Call it first in a program that computes with tensors; later calls change nothing.
// When the host has no room, LibTorch throws c10::OutOfMemoryError.
void UseTensorMemory();

// Bytes in use, including what rounds blocks up; 0 before UseTensorMemory. From any thread.
std::int64_t TensorBytes();
void ResetTensorBytesPeak();
std::int64_t TensorBytesPeak();  // the most since ResetTensorBytesPeak

}  // namespace longrun
