// A plug-in whose version is not the trainer's, or that is too old to have one.
#include "kernels/cuda_plugin.h"

#ifdef LONGRUN_FOREIGN_other
extern "C" std::int32_t LongrunGetCudaVersion();
extern "C" std::int32_t LongrunGetCudaVersion() { return kLongrunCudaVersion + 1; }
#endif

extern "C" const char* LongrunDescribeGpu(int ordinal, LongrunGpu* gpu);
extern "C" const char* LongrunDescribeGpu(int, LongrunGpu*) { return "never called"; }
