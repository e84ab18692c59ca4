// Memory of a GPU for tests of kernels: what a call over host memory views is copied there, and its
// results are copied back.
//
// All that lies on the GPU stands between guards and begins as NaN, working memory too. An element
// that a kernel writes beside its view fails the call.
//
// That is one allocation, all of which has been written, so tools that watch allocations see little
// there. LONGRUN_TEST_GPU_PIECES (set by tools/gpu_tests.py) gives each piece an allocation of its
// own instead, without guards: "own", which begins as NaN, for memcheck, and "unwritten", in which
// nothing is written but what a call views, for initcheck. "pool" is the default.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/attention.h"

namespace longrun::testing {

inline constexpr MemorySpace kTestGpu = {.kind = MemorySpace::Kind::kCuda, .ordinal = 0};

// Beside the folder of the tests, so that a build can be copied to a machine with a GPU.
std::string TestPluginPath();

// Loads the plug-in, and takes a stream and memory, once for the process. The error says why this
// machine has no GPU to test: no plug-in, no CUDA runtime, or no GPU.
Status OpenTestGpu();

// The names of libcudart, that of the build's toolkit first.
std::vector<std::string> CudaRuntimeNames();
// The first of these libraries that the process has loaded; the error lists them.
Result<void*> LoadedLibrary(const std::vector<std::string>& names);

// The functions of libcudart that the copies need, by their C signatures: an enum is an int there.
struct CudaRuntime {
  int (*get_device_count)(int* count);
  int (*allocate)(void** address, std::size_t n);
  int (*release)(void* address);
  int (*create_stream)(void** stream, unsigned flags);
  int (*copy)(void* to, const void* from, std::size_t n, int kind, void* stream);
  int (*set)(void* to, int byte, std::size_t n, void* stream);
  int (*synchronize)(void* stream);
  const char* (*error_text)(int error);
};

enum class GpuPieces { kPool, kOwn, kUnwritten };

struct TestGpuOptions {
  GpuPieces pieces = GpuPieces::kPool;
  std::size_t pool_bytes = std::size_t{1} << 30;
};

// As OpenTestGpu, but without a plug-in, with this runtime, and again at each call.
Status OpenTestGpuWith(const CudaRuntime& runtime, const TestGpuOptions& options);

// Of the present call; it ends with its CudaCopies.
void* TestGpuStream();
WorkingMemory TestGpuMemory();

// The copies on the GPU of what one call views.
class CudaCopies {
 public:
  CudaCopies();
  CudaCopies(const CudaCopies&) = delete;
  CudaCopies& operator=(const CudaCopies&) = delete;

  // n bytes; `result`: where Finish copies them to, or null if they are only read. The copy lies at
  // a multiple of 256 bytes, plus what the address is beyond a multiple of 16.
  void* Copy(const void* data, std::size_t n, void* result);
  Status status() const { return status_; }
  // Copies the results back, and looks at the guards. Pieces of their own are freed.
  Status Finish();

 private:
  struct Piece {
    std::byte* device;
    std::size_t n;
    void* result;
  };
  void Note(int error, std::string_view what);

  std::vector<Piece> pieces_;
  Status status_;
};

}  // namespace longrun::testing
