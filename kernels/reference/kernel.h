// The reference with the interface of kernels/attention.h: reads every type into double, supports
// every term and every type of a result, and rounds each result once.
#pragma once

#include "kernels/attention.h"

namespace longrun {

extern const AttentionKernel kReferenceAttention;
// The same forward; backward returns GradientSums::kMagnitudes. For tests of other kernels.
extern const AttentionKernel kReferenceMagnitudes;

}  // namespace longrun
