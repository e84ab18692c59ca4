// The seed of a randomised test: another one for each commit, so that each looks where nobody has
// looked. A failing test prints it, and LONGRUN_TEST_SEED=N runs it again.
#pragma once

#include <cstdint>
#include <string>

#include "base/process.h"
#include "base/random.h"
#include "base/version.h"

namespace longrun::testing {

inline std::uint64_t CommitSeed() {
  static const std::uint64_t seed = [] {
    if (const auto given = GetEnv("LONGRUN_TEST_SEED")) return std::stoull(*given);
    unsigned long long hash = 0;
    for (const char c : BuildCommit()) hash = Sm64(hash ^ static_cast<unsigned char>(c));
    return hash;
  }();
  return seed;
}

}  // namespace longrun::testing
