// The reference behind the contract of kernels/attention.h: every type is read into double, every
// term is carried out, and what is written is rounded once.
#pragma once

#include "kernels/attention.h"

namespace longrun {

extern const AttentionKernel kReferenceAttention;
// The same forward; backward gives GradientSums::kMagnitudes. For those who check another kernel.
extern const AttentionKernel kReferenceMagnitudes;

}  // namespace longrun
