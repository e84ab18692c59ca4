#include "tests/kernels/cuda_device.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/str.h"
#include "kernels/attention_check.h"
#include "kernels/cuda_attention.h"

namespace longrun::testing {
namespace {

// The functions of libcudart, by their C signatures: an enum is an int there.
struct CudaRuntime {
  int (*get_device_count)(int* count);
  int (*allocate)(void** address, std::size_t n);
  int (*create_stream)(void** stream, unsigned flags);
  int (*copy)(void* to, const void* from, std::size_t n, int kind, void* stream);
  int (*set)(void* to, int byte, std::size_t n, void* stream);
  int (*synchronize)(void* stream);
  const char* (*error_text)(int error);
};

constexpr std::size_t kPoolBytes = std::size_t{1} << 30;
constexpr std::size_t kGuardBytes = 256;  // behind every piece of the pool
constexpr int kToDevice = 1, kToHost = 2;
constexpr unsigned kNonBlocking = 1;  // not ordered with the default stream
constexpr MemorySpace kGpu = {.kind = MemorySpace::Kind::kCuda, .ordinal = 0};

// The GPU's memory that calls take pieces of, and what is needed to call it.
struct Gpu {
  CudaRuntime runtime = {};
  const AttentionKernel* kernel = nullptr;
  std::byte* pool = nullptr;
  void* stream = nullptr;
  std::size_t used = 0;            // by the present call
  std::vector<std::byte*> guards;  // of its pieces
  std::size_t dirty = kPoolBytes;  // by the call before: not NaN any more
};

Gpu& TheGpu() {
  static Gpu gpu;
  return gpu;
}

Status FromCuda(int error, std::string_view what) {
  if (error == 0) return {};
  return Status(Code::kInternal, Str(what, ": ", TheGpu().runtime.error_text(error)));
}

void* Allocate(void* context, std::int64_t n_byte, void*) {
  Gpu& gpu = *static_cast<Gpu*>(context);
  const auto size = static_cast<std::size_t>(n_byte);
  const std::size_t n = (size + kGuardBytes + 255) / 256 * 256;
  if (gpu.used + n > kPoolBytes) return nullptr;
  std::byte* const address = gpu.pool + gpu.used;
  gpu.used += n;
  gpu.guards.push_back(address + size);
  return address;
}
void Release(void*, void*, void*) {}

std::int64_t BytesOf(Scalar scalar) {
  return scalar == Scalar::kFp64 ? 8 : scalar == Scalar::kFp32 ? 4 : 2;
}

// The copies on the GPU of what one call views.
class Copies {
 public:
  explicit Copies(Gpu& gpu) : gpu_(gpu) {
    gpu_.used = 0;
    gpu_.guards.clear();
    Note(gpu_.runtime.set(gpu_.pool, 0xff, gpu_.dirty, gpu_.stream), "poisoning");
  }

  template <typename T>
  std::span<const T> In(std::span<const T> x) {
    return {static_cast<const T*>(Copy(x.data(), x.size_bytes(), nullptr)), x.size()};
  }
  template <typename Pointer>
  HeadsViewOf<Pointer> Heads(HeadsViewOf<Pointer> x) {
    x.memory = kGpu;
    if (x.batch == 0 || x.n_row == 0) return x;
    const std::int64_t reach = (x.batch - 1) * x.batch_step + (x.n_row - 1) * x.row_step +
                               (x.n_head - 1) * x.head_step + x.head_dim;
    x.data = CopyOf(x.data, reach * BytesOf(x.scalar));
    return x;
  }
  template <typename View>
  View Numbers(View x) {
    x.memory = kGpu;
    x.data = CopyOf(x.data, x.n * BytesOf(x.scalar));
    return x;
  }
  std::span<std::int32_t> Out(std::span<std::int32_t> x) {
    return {static_cast<std::int32_t*>(Copy(x.data(), x.size_bytes(), x.data())), x.size()};
  }

  AttentionTerms Terms(AttentionTerms terms) {
    terms.memory = kGpu;
    terms.visibility.document_begin = In(terms.visibility.document_begin);
    if (terms.key_bias) {
      KeyBias& bias = *terms.key_bias;
      bias.values = In(bias.values);
      bias.local = In(bias.local);
      bias.anchor = In(bias.anchor);
      bias.slope = In(bias.slope);
    }
    if (terms.rotation) {
      RotationTable& rotation = *terms.rotation;
      rotation.cos = In(rotation.cos);
      rotation.sin = In(rotation.sin);
      rotation.growth = In(rotation.growth);
      rotation.row = In(rotation.row);
    }
    for (Region region : terms.regions) {
      region.key_begin = In(region.key_begin);
      region.query_row = In(region.query_row);
      region.key_row = In(region.key_row);
      if (region.blended) {
        region.blended->row = In(region.blended->row);
        region.blended->weight = In(region.blended->weight);
      }
      regions_.push_back(region);
    }
    terms.regions = regions_;
    if (terms.distance_table) terms.distance_table->values = In(terms.distance_table->values);
    if (terms.piecewise) {
      PiecewiseLinear& f = *terms.piecewise;
      f.psi = In(f.psi);
      f.row_factor = In(f.row_factor);
      f.knots = In(f.knots);
      f.slope = In(f.slope);
      f.intercept = In(f.intercept);
    }
    return terms;
  }

  AttentionKernelOptions Options(AttentionKernelOptions options) {
    options.parallel_for = {};
    options.stream = gpu_.stream;
    options.working_memory = {.context = &gpu_, .allocate = &Allocate, .release = &Release};
    return options;
  }

  Status status() const { return status_; }

  // Copies the results back, and looks at the guards.
  Status Finish() {
    for (const Piece& piece : pieces_) {
      if (piece.result == nullptr) continue;
      Note(gpu_.runtime.copy(piece.result, piece.device, piece.n, kToHost, gpu_.stream), "results");
    }
    std::vector<unsigned char> guards(gpu_.guards.size() * kGuardBytes);
    for (std::size_t at = 0; at < gpu_.guards.size(); ++at) {
      Note(gpu_.runtime.copy(guards.data() + at * kGuardBytes, gpu_.guards[at], kGuardBytes,
                             kToHost, gpu_.stream),
           "guards");
    }
    Note(gpu_.runtime.synchronize(gpu_.stream), "the kernels");
    gpu_.dirty = gpu_.used;
    RETURN_IF_ERROR(status_);
    if (std::ranges::any_of(guards, [](unsigned char byte) { return byte != 0xff; })) {
      return Status(Code::kInternal, "a kernel wrote beside what a call views");
    }
    return {};
  }

 private:
  struct Piece {
    std::byte* device;
    std::size_t n;
    void* result;  // null: only read
  };

  void Note(int error, std::string_view what) {
    if (status_.ok()) status_ = FromCuda(error, what);
  }
  const void* CopyOf(const void* data, std::int64_t n) {
    return Copy(data, static_cast<std::size_t>(n), nullptr);
  }
  void* CopyOf(void* data, std::int64_t n) { return Copy(data, static_cast<std::size_t>(n), data); }
  void* Copy(const void* data, std::size_t n, void* result) {
    if (n == 0) return nullptr;
    auto* const device =
        static_cast<std::byte*>(Allocate(&gpu_, static_cast<std::int64_t>(n), nullptr));
    if (device == nullptr) {
      if (status_.ok()) status_ = Status(Code::kResourceExhausted, "the pool of the test is full");
      return nullptr;
    }
    Note(gpu_.runtime.copy(device, data, n, kToDevice, gpu_.stream), "inputs");
    pieces_.push_back({device, n, result});
    return device;
  }

  Gpu& gpu_;
  std::vector<Piece> pieces_;
  std::vector<Region> regions_;
  Status status_;
};

Status Forward(const AttentionForwardCall& call, const AttentionTerms& terms,
               const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionCall(call, terms, options));
  RETURN_IF_ERROR(CheckCudaSupport(call.inputs, terms));
  if (call.n_tiles != nullptr) *call.n_tiles = 0;
  Copies copies(TheGpu());
  const AttentionForwardCall there = {.inputs = {.q = copies.Heads(call.inputs.q),
                                                 .k = copies.Heads(call.inputs.k),
                                                 .v = copies.Heads(call.inputs.v)},
                                      .o = copies.Heads(call.o),
                                      .lse = copies.Numbers(call.lse),
                                      .first_key = copies.Out(call.first_key)};
  const AttentionTerms terms_there = copies.Terms(terms);
  RETURN_IF_ERROR(copies.status());
  RETURN_IF_ERROR(TheGpu().kernel->forward(there, terms_there, copies.Options(options)));
  return copies.Finish();
}

Status Backward(const AttentionBackwardCall& call, const AttentionTerms& terms,
                const AttentionKernelOptions& options) {
  RETURN_IF_ERROR(CheckAttentionCall(call, terms, options));
  RETURN_IF_ERROR(CheckCudaSupport(call.inputs, terms));
  Copies copies(TheGpu());
  const AttentionBackwardCall there = {.inputs = {.q = copies.Heads(call.inputs.q),
                                                  .k = copies.Heads(call.inputs.k),
                                                  .v = copies.Heads(call.inputs.v)},
                                       .o = copies.Heads(call.o),
                                       .do_ = copies.Heads(call.do_),
                                       .lse = copies.Numbers(call.lse),
                                       .first_key = copies.In(call.first_key),
                                       .dq = copies.Heads(call.dq),
                                       .dk = copies.Heads(call.dk),
                                       .dv = copies.Heads(call.dv),
                                       .d_key_bias = copies.Numbers(call.d_key_bias),
                                       .d_distance_table = copies.Numbers(call.d_distance_table),
                                       .d_slope = copies.Numbers(call.d_slope),
                                       .d_intercept = copies.Numbers(call.d_intercept),
                                       .d_psi = copies.Numbers(call.d_psi),
                                       .d_row_factor = copies.Numbers(call.d_row_factor)};
  const AttentionTerms terms_there = copies.Terms(terms);
  RETURN_IF_ERROR(copies.status());
  RETURN_IF_ERROR(TheGpu().kernel->backward(there, terms_there, copies.Options(options)));
  return copies.Finish();
}

template <typename Function>
Status Find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function != nullptr) return {};
  return Status(Code::kFailedPrecondition, Str("libcudart has no ", name));
}

Status OpenGpu(Gpu& gpu) {
  // Beside the folder of the tests, so that a build can be copied to a machine with a GPU.
  ASSIGN_OR_RETURN(gpu.kernel,
                   CudaAttention(JoinPath(ProgramFolder(), "../bin/liblongrun_cuda.so")));
  // The plug-in has loaded it.
  void* const library = dlopen("libcudart.so.13", RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) return Status(Code::kFailedPrecondition, "there is no libcudart.so.13");
  CudaRuntime& runtime = gpu.runtime;
  RETURN_IF_ERROR(Find(library, "cudaGetDeviceCount", runtime.get_device_count));
  RETURN_IF_ERROR(Find(library, "cudaMalloc", runtime.allocate));
  RETURN_IF_ERROR(Find(library, "cudaStreamCreateWithFlags", runtime.create_stream));
  RETURN_IF_ERROR(Find(library, "cudaMemcpyAsync", runtime.copy));
  RETURN_IF_ERROR(Find(library, "cudaMemsetAsync", runtime.set));
  RETURN_IF_ERROR(Find(library, "cudaStreamSynchronize", runtime.synchronize));
  RETURN_IF_ERROR(Find(library, "cudaGetErrorString", runtime.error_text));
  int n_gpu = 0;
  RETURN_IF_ERROR(FromCuda(runtime.get_device_count(&n_gpu), "no GPU"));
  if (n_gpu == 0) return Status(Code::kFailedPrecondition, "this machine has no GPU");
  RETURN_IF_ERROR(FromCuda(runtime.create_stream(&gpu.stream, kNonBlocking), "a stream"));
  void* pool = nullptr;
  RETURN_IF_ERROR(FromCuda(runtime.allocate(&pool, kPoolBytes), "memory for the test"));
  gpu.pool = static_cast<std::byte*>(pool);
  return {};
}

}  // namespace

Result<AttentionKernel> KernelOnGpu() {
  static const Status status = OpenGpu(TheGpu());
  RETURN_IF_ERROR(status);
  return AttentionKernel{.name = "cuda", .forward = &Forward, .backward = &Backward};
}

}  // namespace longrun::testing
