// Loads the plug-in of the CUDA kernels (cuda_plugin.h).
#pragma once

#include <string>

#include "base/status.h"
#include "kernels/cuda_plugin.h"

namespace longrun {

// The functions of a loaded plug-in, which stays loaded.
struct CudaLibrary {
  LongrunGpuDescribe describe = nullptr;
  LongrunCudaArchitectures architectures = nullptr;
  LongrunAttentionForwardFunction attention_forward = nullptr;
  LongrunAttentionBackwardFunction attention_backward = nullptr;
  LongrunNormForwardFunction norm_forward = nullptr;
  LongrunNormBackwardFunction norm_backward = nullptr;
  LongrunActivationForwardFunction activation_forward = nullptr;
  LongrunActivationBackwardFunction activation_backward = nullptr;
  LongrunCrossEntropyFunction cross_entropy = nullptr;
  LongrunColumnSumFunction column_sum = nullptr;
  LongrunKeyBiasForwardFunction key_bias_forward = nullptr;
  LongrunKeyBiasBackwardFunction key_bias_backward = nullptr;
  LongrunAdamWFunction adamw = nullptr;
};

// kFailedPrecondition if there is no plug-in at `path`, if it cannot be loaded, or if it is of
// another version than kLongrunCudaVersion: the error names both versions.
Result<CudaLibrary> LoadCudaLibrary(const std::string& path);

// Loads the plug-in at `path`, once for the process. kFailedPrecondition if it cannot be loaded, or
// if another one is loaded already.
Result<const CudaLibrary*> OpenCudaLibrary(const std::string& path);

// The one that was opened.
const CudaLibrary& OpenedCudaLibrary();

}  // namespace longrun
