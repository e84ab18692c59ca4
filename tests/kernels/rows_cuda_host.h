// The layer of the kernels over rows (kernels/cuda/row_layer.h) of the host.
#pragma once

#include "tests/kernels/cuda_host.h"

namespace longrun::testing {

struct HostRowLayer : HostLayer {
  static void StoreWords(void* to, const std::uint32_t (&words)[4]) {
    if (reinterpret_cast<std::uintptr_t>(to) % 16 != 0) {
      HostBlock::Current().Fail("a vector in global memory that is not aligned");
    }
    std::memcpy(to, words, sizeof words);
  }
  static float Reciprocal(float x) { return 1.0F / x; }
};

}  // namespace longrun::testing
