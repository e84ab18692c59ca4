// What a run computes with that begins on the CPU of this machine. A worker offers its slots under
// these names and `longrun doctor` shows them, both before any trainer starts: plain C++.
#pragma once

#include <string>

#include "base/cpu.h"

namespace longrun {

struct CpuPaths {
  CpuIdentity cpu;
  std::string simd;    // instruction set (instruction_set.h)
  std::string linear;  // matrix path: "onednn/AuthenticAMD"
};

CpuPaths DetectCpuPaths();

}  // namespace longrun
