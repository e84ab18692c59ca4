// Memory of a GPU for tests of kernels: what a call over host memory views is copied there, and its
// results are copied back.
//
// All that lies on the GPU stands between guards and begins as NaN, working memory too. An element
// that a kernel writes beside its view fails the call.
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
  // Copies the results back, and looks at the guards.
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
