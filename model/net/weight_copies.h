// Copies of matrices in the type of products, kept from pass to pass while a network is trained.
// Without them, every pass rounds every matrix again: for GPT-2 small's body in bf16 it reads
// 340 MB and writes 170 MB.
//
// A copy always has the bits that rounding its weight gives. AdamW writes it together with the
// weight (kernels/adamw.h). Operators of LibTorch that change a weight count up its version, and
// its copy is then rounded again when the next pass asks for it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <unordered_map>

#include "kernels/elements.h"

namespace longrun {

class WeightCopies {
 public:
  // bf16: the only type in which products are trained, other than the weights' own.
  WeightCopies() = default;
  WeightCopies(const WeightCopies&) = delete;
  WeightCopies& operator=(const WeightCopies&) = delete;

  // The weight in bf16, with its gradient in the weight's own type, as weight.to(bf16) would have
  // it. The copy is made if there is none yet.
  at::Tensor Rounded(const at::Tensor& weight);
  // Where whoever writes the weight through its address also writes its rounded elements, in their
  // order in memory; null if the weight has no copy.
  Bf16* Written(const at::Tensor& weight);

 private:
  struct Entry {
    at::Tensor weight;  // kept, so that no other tensor gets its address
    at::Tensor copy;
    std::int64_t version = 0;  // of the weight when its copy was rounded
  };
  const at::Tensor& Current(const at::Tensor& weight);

  std::unordered_map<const c10::TensorImpl*, Entry> entries_;
};

}  // namespace longrun
