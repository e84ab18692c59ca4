// The code paths of a run that begins on this machine's CPU. A worker offers its slots under these
// names and `longrun doctor` shows them, both before any trainer starts: plain C++.
#pragma once

#include <string>

#include "base/cpu.h"

namespace longrun {

struct CpuPaths {
  CpuIdentity cpu;
  std::string simd;       // instruction set (instruction_set.h)
  std::string linear;     // matrix path: "onednn/AuthenticAMD"
  std::string bf16 = {};  // products in bf16 (instruction_set.h)
};

CpuPaths DetectCpuPaths();

}  // namespace longrun
