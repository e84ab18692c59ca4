// Which of LibTorch's two CPU code paths the products of a model's fp32 linears take. The path
// changes bits, so it is decided once for a run, from what the machine is and never from a timing,
// and stands in the run's record; plain C++, because a worker names it before any trainer starts.
//
// On AMD processors LibTorch's default (MKL) runs its AVX2 code even where there is AVX-512; oneDNN,
// in the same library, does not. `./dev bench linear` measures both; docs/benchmarks.md says on which
// makes that was done.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace longrun {

enum class MatrixPath { kAten, kOneDnn };

// Of a new run on a CPU of this vendor ("AuthenticAMD") whose instruction set is `simd`
// (model/instruction_set.h): oneDNN where it was measured to take less time, else ATen.
MatrixPath NewRunMatrixPath(std::string_view vendor, std::string_view simd);

// As a run's record has it: "onednn/AuthenticAMD", "aten/GenuineIntel".
std::string MatrixPathName(MatrixPath path, std::string_view vendor);
// The path of such a name; nothing for another vendor's name and for a path that does not exist.
std::optional<MatrixPath> FindMatrixPath(std::string_view name, std::string_view vendor);
// Whether a machine that would take `own` for a new run can go on with one that began with `wanted`:
// ATen's path is there beside oneDNN's.
bool HonoursMatrixPath(std::string_view own, std::string_view wanted);

}  // namespace longrun
