// Plug-ins that are not the trainer's: of another version, too old to have one, or of the trainer's
// version with functions that say what they were called with.
#include <cstdio>

#include "kernels/cuda_plugin.h"

extern "C" {

#ifdef LONGRUN_FOREIGN_other
std::int32_t LongrunGetCudaVersion();
std::int32_t LongrunGetCudaVersion() { return kLongrunCudaVersion + 1; }
#endif

const char* LongrunDescribeGpu(int ordinal, LongrunGpu* gpu);
#ifndef LONGRUN_FOREIGN_same
const char* LongrunDescribeGpu(int, LongrunGpu*) { return "never called"; }
#else
// GPU n is of compute capability n.6.
const char* LongrunDescribeGpu(int ordinal, LongrunGpu* gpu) {
  std::snprintf(gpu->name, sizeof gpu->name, "GPU %d", ordinal);
  gpu->capability_major = ordinal;
  gpu->capability_minor = 6;
  return nullptr;
}
#endif

#ifdef LONGRUN_FOREIGN_same
std::int32_t LongrunGetCudaVersion();
std::int32_t LongrunGetCudaVersion() { return kLongrunCudaVersion; }

const char* LongrunGetCudaArchitectures();
const char* LongrunGetCudaArchitectures() { return "80-real 90-real 100-real"; }

// Forward of nothing succeeds, all else fails.
const char* LongrunAttentionForward(const LongrunAttentionForwardCall* call,
                                    const LongrunAttentionTerms* terms,
                                    const LongrunAttentionOptions* options);
const char* LongrunAttentionForward(const LongrunAttentionForwardCall* call,
                                    const LongrunAttentionTerms* terms,
                                    const LongrunAttentionOptions* options) {
  static char text[128];
  std::snprintf(text, sizeof text, "forward of %d queries, scale %g, epsilon %g",
                static_cast<int>(call->q.n_row), terms->scale, options->skip_epsilon);
  return call->q.n_row == 0 ? nullptr : text;
}

const char* LongrunAttentionBackward(const LongrunAttentionBackwardCall* call,
                                     const LongrunAttentionTerms* terms,
                                     const LongrunAttentionOptions* options);
const char* LongrunAttentionBackward(const LongrunAttentionBackwardCall*,
                                     const LongrunAttentionTerms*,
                                     const LongrunAttentionOptions* options) {
  return options->backward == kLongrunTwoKernels     ? "backward"
         : options->backward == kLongrunSingleKernel ? "backward in a single kernel"
                                                     : "backward that adds in any order";
}

#define LONGRUN_SAY(Name, text)                                                                 \
  const char* Longrun##Name(const Longrun##Name##Call* call, const LongrunRowOptions* options); \
  const char* Longrun##Name(const Longrun##Name##Call*, const LongrunRowOptions*) { return text; }
LONGRUN_SAY(NormForward, "norm forward")
LONGRUN_SAY(NormBackward, "norm backward")
LONGRUN_SAY(ActivationForward, "activation forward")
LONGRUN_SAY(ActivationBackward, "activation backward")
LONGRUN_SAY(CrossEntropy, "cross-entropy")
LONGRUN_SAY(ColumnSum, "column sum")
LONGRUN_SAY(KeyBiasForward, "key bias forward")
LONGRUN_SAY(KeyBiasBackward, "key bias backward")
LONGRUN_SAY(AdamW, "adamw")
#endif

}  // extern "C"
