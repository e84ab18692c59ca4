// The C interface of liblongrun_cuda.so, the part of longrun that nvcc compiles. The trainer loads
// it at run time, so that one build serves machines with and without a GPU. The interface uses no
// types from CUDA's or LibTorch's headers.
#pragma once

#include <cstdint>

extern "C" {

struct LongrunGpu {
  char name[256];
  std::int64_t memory_bytes;
  int capability_major;
  int capability_minor;
};

// Returns null, or CUDA's own message about the error (static memory).
using LongrunGpuDescribe = const char* (*)(int ordinal, LongrunGpu* gpu);

}  // extern "C"

inline constexpr const char* kLongrunGpuDescribeSymbol = "LongrunDescribeGpu";
