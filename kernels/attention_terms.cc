#include "kernels/attention_terms.h"

#include <cstddef>

#include "base/str.h"

namespace longrun {

std::string MemoryName(const MemorySpace& memory) {
  return memory.kind == MemorySpace::Kind::kHost ? "host memory"
                                                 : Str("the memory of GPU ", memory.ordinal);
}

std::vector<std::int32_t> DocumentBegins(std::span<const std::int32_t> cu_seqlens) {
  std::vector<std::int32_t> begins;
  for (std::size_t document = 0; document + 1 < cu_seqlens.size(); ++document) {
    const std::int32_t end = cu_seqlens[document + 1];
    begins.resize(static_cast<std::size_t>(end), cu_seqlens[document]);
  }
  return begins;
}

}  // namespace longrun
