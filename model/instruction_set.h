// The instruction sets, with the names in a run's record (Execution::simd):
//
//   x86   avx512, avx2, default    LibTorch's dispatcher has the same names
//   ARM   sve256, neon             likewise, but LibTorch's name for "neon" is "default"
//
// One name covers LibTorch's operators and ours (kernels/simd.h), and never two architectures. SVE
// with vectors of other than 256 bits is not used: neither LibTorch nor we have code for it, so a
// machine with vectors of 128 bits (Grace, Neoverse V2 and N2) counts as "neon".
#pragma once

#include <string>
#include <string_view>

namespace longrun {

// The instruction set that a trainer uses on this processor: the widest that both LibTorch and our
// kernels run. Found without LibTorch.
std::string DetectSimd();

// The instructions with which LibTorch multiplies matrices in bf16 on a CPU with these flags
// (CpuIdentity::flags) and `simd` as its widest instruction set. On x86 oneDNN takes the best of
// "amx", "avx512_bf16" and "avx512" (which widens to fp32), on Arm "bf16". "none" stands for
// LibTorch's own loops. Each gives other bits, so a run in bf16 keeps the instructions with which
// it began (Execution::bf16).
std::string Bf16Path(std::string_view cpu_flags, std::string_view simd);

// Our name for what at::get_cpu_capability() returned in this program: "AVX512", "NO AVX" or
// "DEFAULT".
std::string SimdOfCapability(std::string_view capability);
// LibTorch's name for `simd`, for ATEN_CPU_CAPABILITY.
std::string_view CapabilityOfSimd(std::string_view simd);

// Whether a processor whose best instruction set is `own` also runs code for `wanted`.
bool RunsSimd(std::string_view own, std::string_view wanted);

}  // namespace longrun
