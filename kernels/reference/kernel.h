// The reference behind the contract of kernels/attention.h: every type is read into double, every
// term is carried out, and what is written is rounded once.
#pragma once

#include "kernels/attention.h"

namespace longrun {

extern const AttentionKernel kReferenceAttention;

}  // namespace longrun
