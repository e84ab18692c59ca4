// The global memory that a call of the plug-in views: what its kernels may access, besides the
// working memory they ask for. In heads, the gaps between rows do not belong to it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "kernels/cuda_plugin.h"

namespace longrun::testing {

class GlobalRegions {
 public:
  GlobalRegions() = default;
  explicit GlobalRegions(const LongrunAttentionForwardCall& call);
  explicit GlobalRegions(const LongrunAttentionBackwardCall& call);
  explicit GlobalRegions(const LongrunNormForwardCall& call);
  explicit GlobalRegions(const LongrunNormBackwardCall& call);
  explicit GlobalRegions(const LongrunActivationForwardCall& call);
  explicit GlobalRegions(const LongrunActivationBackwardCall& call);
  explicit GlobalRegions(const LongrunCrossEntropyCall& call);
  explicit GlobalRegions(const LongrunColumnSumCall& call);
  explicit GlobalRegions(const LongrunKeyBiasForwardCall& call);
  explicit GlobalRegions(const LongrunKeyBiasBackwardCall& call);
  explicit GlobalRegions(const LongrunAdamWCall& call);

  void Add(const LongrunAttentionTerms& terms);
  // n bytes from `data`; nothing if it is null.
  void AddBytes(const void* data, std::int64_t n);

  // Whether the bytes [at, at + n) lie in one region.
  bool Contain(std::uintptr_t at, std::int64_t n) const;

 private:
  // Pieces of the same length, at multiples of three steps from `begin`. The steps descend, and
  // those of one piece only are 0.
  struct Region {
    std::uintptr_t begin = 0;
    std::int64_t n_byte = 0;  // of a piece
    std::int64_t count[3] = {1, 1, 1}, step[3] = {0, 0, 0};
    bool Contains(std::uintptr_t at, std::int64_t n) const;
  };

  void Add(const LongrunHeads& heads);
  void Add(const LongrunNumbers& numbers);
  // The structures of a pointer and a number of elements.
  template <typename Numbers>
  void AddNumbers(const Numbers& numbers);
  template <typename T>
  void Add(const T* data, std::int64_t n);
  void Add(const LongrunElements& elements, std::int64_t n);

  std::vector<Region> regions_;
  mutable std::size_t last_ = 0;  // where a byte was found last: the next one is often near
};

}  // namespace longrun::testing
