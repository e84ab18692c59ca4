#include "tests/kernels/cuda_memory.h"

#include <dlfcn.h>

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "kernels/cuda_library.h"

namespace longrun::testing {
namespace {

constexpr std::size_t kGuardBytes = 256;  // behind every piece of the pool
constexpr std::size_t kVectorBytes = 16;
constexpr int kToDevice = 1, kToHost = 2;
constexpr unsigned kNonBlocking = 1;  // not ordered with the default stream

// The GPU's memory that calls take pieces of, and what is needed to call it.
struct Gpu {
  CudaRuntime runtime = {};
  TestGpuOptions options = {};
  void* stream = nullptr;
  // With a pool:
  std::byte* pool = nullptr;
  std::size_t used = 0;                 // by the present call
  std::vector<std::byte*> guards = {};  // of its pieces
  std::size_t dirty = 0;                // by the call before: not NaN any more
  std::vector<std::byte*> pieces = {};  // of their own, of the present call

  bool HasPool() const { return options.pieces == GpuPieces::kPool; }
};

Gpu& TheGpu() {
  static Gpu gpu;
  return gpu;
}

Status FromCuda(int error, std::string_view what) {
  if (error == 0) return {};
  return Status(Code::kInternal, Str(what, ": ", TheGpu().runtime.error_text(error)));
}

std::byte* OfPool(Gpu& gpu, std::size_t size) {
  const std::size_t n = (size + kGuardBytes + 255) / 256 * 256;
  if (gpu.used + n > gpu.options.pool_bytes) return nullptr;
  std::byte* const address = gpu.pool + gpu.used;
  gpu.used += n;
  gpu.guards.push_back(address + size);
  return address;
}

std::byte* OfItsOwn(Gpu& gpu, std::size_t size) {
  void* address = nullptr;
  if (gpu.runtime.allocate(&address, size) != 0) return nullptr;
  gpu.pieces.push_back(static_cast<std::byte*>(address));
  if (gpu.options.pieces == GpuPieces::kOwn &&
      gpu.runtime.set(address, 0xff, size, gpu.stream) != 0) {
    return nullptr;
  }
  return gpu.pieces.back();
}

void* Allocate(void* context, std::int64_t n_byte, void*) {
  Gpu& gpu = *static_cast<Gpu*>(context);
  const auto size = static_cast<std::size_t>(n_byte);
  return gpu.HasPool() ? OfPool(gpu, size) : OfItsOwn(gpu, size);
}

// A kernel that is given back memory may still work on it: the stream ends first. An error of that
// stays, so that Finish sees it as well.
void Release(void* context, void* address, void*) {
  Gpu& gpu = *static_cast<Gpu*>(context);
  if (gpu.HasPool()) return;
  (void)gpu.runtime.synchronize(gpu.stream);
  if (std::erase(gpu.pieces, address) > 0) (void)gpu.runtime.release(address);
}

// The first error of all, 0 if there is none.
int ReleasePieces(Gpu& gpu) {
  if (gpu.pieces.empty()) return 0;
  int error = gpu.runtime.synchronize(gpu.stream);
  for (std::byte* const piece : std::exchange(gpu.pieces, {})) {
    const int of_piece = gpu.runtime.release(piece);
    if (error == 0) error = of_piece;
  }
  return error;
}

template <typename Function>
Status Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function != nullptr) return {};
  return Status(Code::kFailedPrecondition, Str("libcudart has no ", name));
}

Result<GpuPieces> AskedPieces() {
  const std::string asked = GetEnv("LONGRUN_TEST_GPU_PIECES").value_or("pool");
  if (asked == "pool") return GpuPieces::kPool;
  if (asked == "own") return GpuPieces::kOwn;
  if (asked == "unwritten") return GpuPieces::kUnwritten;
  return Status(Code::kInvalidArgument,
                Str("LONGRUN_TEST_GPU_PIECES is \"", asked, "\": expected pool, own or unwritten"));
}

Status OpenGpu() {
  ASSIGN_OR_RETURN(const GpuPieces pieces, AskedPieces());
  const std::vector<std::string> names = CudaRuntimeNames();
  // The plug-in's own. It has no path of its toolkit, since it is shipped; this program has.
  dlopen(names.front().c_str(), RTLD_NOW);
  RETURN_IF_ERROR(OpenCudaLibrary(TestPluginPath()).status());
  ASSIGN_OR_RETURN(void* const library, LoadedLibrary(names));
  CudaRuntime runtime = {};
  RETURN_IF_ERROR(Find(library, "cudaGetDeviceCount", runtime.get_device_count));
  RETURN_IF_ERROR(Find(library, "cudaMalloc", runtime.allocate));
  RETURN_IF_ERROR(Find(library, "cudaFree", runtime.release));
  RETURN_IF_ERROR(Find(library, "cudaStreamCreateWithFlags", runtime.create_stream));
  RETURN_IF_ERROR(Find(library, "cudaMemcpyAsync", runtime.copy));
  RETURN_IF_ERROR(Find(library, "cudaMemsetAsync", runtime.set));
  RETURN_IF_ERROR(Find(library, "cudaStreamSynchronize", runtime.synchronize));
  RETURN_IF_ERROR(Find(library, "cudaGetErrorString", runtime.error_text));
  return OpenTestGpuWith(runtime, {.pieces = pieces});
}

}  // namespace

std::string TestPluginPath() { return JoinPath(ProgramFolder(), "../bin/liblongrun_cuda.so"); }

std::vector<std::string> CudaRuntimeNames() {
  std::vector<std::string> names = {"libcudart.so.13", "libcudart.so.12"};
#ifdef LONGRUN_TEST_CUDA_MAJOR
  const std::string of_build = Str("libcudart.so.", LONGRUN_TEST_CUDA_MAJOR);
  std::erase(names, of_build);
  names.insert(names.begin(), of_build);
#endif
  return names;
}

Result<void*> LoadedLibrary(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    void* const library = dlopen(name.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (library != nullptr) return library;
  }
  return Status(Code::kFailedPrecondition,
                Str("none of these CUDA runtimes is loaded: ", Join(names, ", "),
                    "; build the plug-in and the tests with the same toolkit"));
}

Status OpenTestGpu() {
  static const Status status = OpenGpu();
  return status;
}

Status OpenTestGpuWith(const CudaRuntime& runtime, const TestGpuOptions& options) {
  Gpu& gpu = TheGpu();
  gpu = {.runtime = runtime, .options = options};
  int n_gpu = 0;
  RETURN_IF_ERROR(FromCuda(runtime.get_device_count(&n_gpu), "no GPU"));
  if (n_gpu == 0) return Status(Code::kFailedPrecondition, "this machine has no GPU");
  RETURN_IF_ERROR(FromCuda(runtime.create_stream(&gpu.stream, kNonBlocking), "a stream"));
  if (!gpu.HasPool()) return {};
  void* pool = nullptr;
  RETURN_IF_ERROR(FromCuda(runtime.allocate(&pool, options.pool_bytes), "memory for the test"));
  gpu.pool = static_cast<std::byte*>(pool);
  gpu.dirty = options.pool_bytes;
  return {};
}

void* TestGpuStream() { return TheGpu().stream; }
WorkingMemory TestGpuMemory() {
  return {.context = &TheGpu(), .allocate = &Allocate, .release = &Release};
}

CudaCopies::CudaCopies() {
  Gpu& gpu = TheGpu();
  // Of a call that failed before its results were copied.
  Note(ReleasePieces(gpu), "the call before");
  if (!gpu.HasPool()) return;
  gpu.used = 0;
  gpu.guards.clear();
  Note(gpu.runtime.set(gpu.pool, 0xff, gpu.dirty, gpu.stream), "poisoning");
}

void* CudaCopies::Copy(const void* data, std::size_t n, void* result) {
  if (n == 0) return nullptr;
  Gpu& gpu = TheGpu();
  const std::size_t beyond = reinterpret_cast<std::uintptr_t>(data) % kVectorBytes;
  auto* const piece =
      static_cast<std::byte*>(Allocate(&gpu, static_cast<std::int64_t>(beyond + n), nullptr));
  if (piece == nullptr) {
    if (status_.ok()) {
      status_ = Status(Code::kResourceExhausted,
                       Str("the GPU, or the pool of the test, has no ", beyond + n, " bytes left"));
    }
    return nullptr;
  }
  std::byte* const device = piece + beyond;
  Note(gpu.runtime.copy(device, data, n, kToDevice, gpu.stream), "inputs");
  pieces_.push_back({device, n, result});
  return device;
}

Status CudaCopies::Finish() {
  Gpu& gpu = TheGpu();
  for (const Piece& piece : pieces_) {
    if (piece.result == nullptr) continue;
    Note(gpu.runtime.copy(piece.result, piece.device, piece.n, kToHost, gpu.stream), "results");
  }
  std::vector<unsigned char> guards(gpu.guards.size() * kGuardBytes);
  for (std::size_t at = 0; at < gpu.guards.size(); ++at) {
    Note(gpu.runtime.copy(guards.data() + at * kGuardBytes, gpu.guards[at], kGuardBytes, kToHost,
                          gpu.stream),
         "guards");
  }
  Note(gpu.runtime.synchronize(gpu.stream), "the kernels");
  Note(ReleasePieces(gpu), "memory for the test");
  gpu.dirty = gpu.used;
  RETURN_IF_ERROR(status_);
  if (std::ranges::any_of(guards, [](unsigned char byte) { return byte != 0xff; })) {
    return Status(Code::kInternal, "a kernel wrote beside what a call views");
  }
  return {};
}

void CudaCopies::Note(int error, std::string_view what) {
  if (status_.ok()) status_ = FromCuda(error, what);
}

}  // namespace longrun::testing
