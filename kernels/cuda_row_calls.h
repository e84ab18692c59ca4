// Calls of the kernels over rows as the C structures of cuda_plugin.h, with the checks that a bug
// of the caller fails (LR_CHECK). Nothing is copied but the structures themselves.
#pragma once

#include <span>
#include <vector>

#include "kernels/cuda_plugin.h"
#include "kernels/cuda_rows.h"

namespace longrun {

LongrunRowOptions ToPlugin(const CudaRowOptions& options);
LongrunNormForwardCall ToPlugin(const NormForwardCall& call);
LongrunNormBackwardCall ToPlugin(const NormBackwardCall& call);
LongrunActivationForwardCall ToPlugin(const ActivationForwardCall& call);
LongrunActivationBackwardCall ToPlugin(const ActivationBackwardCall& call);
LongrunActivationForwardCall ToPlugin(const GatedForwardCall& call);
LongrunActivationBackwardCall ToPlugin(const GatedBackwardCall& call);
LongrunCrossEntropyCall ToPlugin(const CrossEntropyCall& call);
LongrunColumnSumCall ToPlugin(const ColumnSumCall& call);
LongrunKeyBiasForwardCall ToPlugin(const KeyBiasForwardCall& call);
LongrunKeyBiasBackwardCall ToPlugin(const KeyBiasBackwardCall& call);
// `vectors` are the AdamWVectors of the call's tensors, and must outlive the result.
std::vector<LongrunAdamWVector> AdamWVectors(std::span<const AdamWTensor> tensors);
LongrunAdamWCall ToPlugin(const CudaAdamWCall& call, std::span<const LongrunAdamWVector> vectors);

}  // namespace longrun
