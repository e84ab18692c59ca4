// The matrix path: LibTorch has two CPU code paths for the products of a model's fp32 linear
// layers, and this is the one that a run uses. It changes bits, so it is decided once for a run,
// from the machine and never from a timing, and is stored in the run's record. Plain C++, because a
// worker names it before any trainer starts.
//
// On AMD processors LibTorch's default (MKL) runs its AVX2 code even where there is AVX-512;
// oneDNN, in the same library, uses AVX-512. `./dev bench linear` measures both; docs/benchmarks.md
// lists the processors on which this was measured.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace longrun {

enum class MatrixPath { kAten, kOneDnn };

// The path of a new run on a CPU of this vendor ("AuthenticAMD") with instruction set `simd`
// (model/instruction_set.h): oneDNN where it was measured to be faster, else ATen.
MatrixPath NewRunMatrixPath(std::string_view vendor, std::string_view simd);

// The name in a run's record: "onednn/AuthenticAMD", "aten/GenuineIntel".
std::string MatrixPathName(MatrixPath path, std::string_view vendor);
// The path with this name; nullopt for another vendor's name or an unknown path.
std::optional<MatrixPath> FindMatrixPath(std::string_view name, std::string_view vendor);
// Whether a machine that would choose `own` for a new run can continue a run that began with
// `wanted`: where oneDNN's path is available, so is ATen's.
bool HonoursMatrixPath(std::string_view own, std::string_view wanted);

}  // namespace longrun
