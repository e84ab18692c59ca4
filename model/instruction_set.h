// The instruction sets under the names that a run's record has (Execution::simd):
//
//   x86   avx512, avx2, default    as LibTorch's dispatcher names its code
//   ARM   sve256, neon             the same, but for "neon", which LibTorch calls its default too
//
// One name stands for LibTorch's operators and for ours (kernels/simd.h), and never for those of two
// architectures. SVE of another length than 256 bits is not made use of: neither LibTorch nor we have
// code for it, so a machine with vectors of 128 bits (Grace, Neoverse V2 and N2) is a "neon" one.
#pragma once

#include <string>
#include <string_view>

namespace longrun {

// What a trainer takes on this processor: LibTorch's own questions, asked without it.
std::string DetectSimd();

// The name of what at::get_cpu_capability() answers in this program: "AVX512", "NO AVX", "DEFAULT".
std::string SimdOfCapability(std::string_view capability);
// LibTorch's name of it, for ATEN_CPU_CAPABILITY.
std::string_view CapabilityOfSimd(std::string_view simd);

// Whether a processor whose best is `own` also runs the code of `wanted`.
bool RunsSimd(std::string_view own, std::string_view wanted);

}  // namespace longrun
