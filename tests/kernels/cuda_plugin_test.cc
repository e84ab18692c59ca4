// The C interface of the CUDA kernels: its mirror of attention calls, its version, and the back-end
// that calls through it.
#include "kernels/cuda_plugin.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/str.h"
#include "kernels/cuda_architectures.h"
#include "kernels/cuda_attention.h"
#include "kernels/cuda_calls.h"
#include "kernels/cuda_library.h"
#include "kernels/cuda_row_calls.h"

namespace longrun {
namespace {

// ---- all fields of a structure, in their order -------------------------------------------------

using Fields = std::vector<std::string>;

template <typename T>
void Add(T* address, Fields& to) {
  to.push_back(Str("@", reinterpret_cast<std::uintptr_t>(address)));
}
void Add(double x, Fields& to) { to.push_back(Str(x)); }
void Add(std::int32_t x, Fields& to) { to.push_back(Str(x)); }
void Add(std::uint32_t x, Fields& to) { to.push_back(Str(x)); }
void Add(std::int64_t x, Fields& to) { to.push_back(Str(x)); }
void Add(std::uint64_t x, Fields& to) { to.push_back(Str(x)); }
void Add(const LongrunMemory& x, Fields& to);
void Add(const LongrunHeads& x, Fields& to);
void Add(const LongrunNumbers& x, Fields& to);
void Add(const LongrunDoubles& x, Fields& to);
void Add(const LongrunFloats& x, Fields& to);
void Add(const LongrunInts& x, Fields& to);
void Add(const LongrunVisibility& x, Fields& to);
void Add(const LongrunKeyBias& x, Fields& to);
void Add(const LongrunRotation& x, Fields& to);
void Add(const LongrunRegion& x, Fields& to);
void Add(const LongrunDistanceTable& x, Fields& to);
void Add(const LongrunPiecewise& x, Fields& to);
void Add(const LongrunDropout& x, Fields& to);

template <typename... Parts>
void AddAll(Fields& to, const Parts&... parts) {
  (Add(parts, to), ...);
}
void Add(const LongrunMemory& x, Fields& to) {
  const auto& [a, b] = x;
  AddAll(to, a, b);
}
void Add(const LongrunHeads& x, Fields& to) {
  const auto& [a, b, c, d, e, f, g, h, i, j] = x;
  AddAll(to, a, b, c, d, e, f, g, h, i, j);
}
void Add(const LongrunNumbers& x, Fields& to) {
  const auto& [a, b, c, d] = x;
  AddAll(to, a, b, c, d);
}
void Add(const LongrunDoubles& x, Fields& to) {
  const auto& [a, b] = x;
  AddAll(to, a, b);
}
void Add(const LongrunFloats& x, Fields& to) {
  const auto& [a, b] = x;
  AddAll(to, a, b);
}
void Add(const LongrunInts& x, Fields& to) {
  const auto& [a, b] = x;
  AddAll(to, a, b);
}
void Add(const LongrunVisibility& x, Fields& to) {
  const auto& [a, b, c, d, e, f] = x;
  AddAll(to, a, b, c, d, e, f);
}
void Add(const LongrunKeyBias& x, Fields& to) {
  const auto& [a, b, c, d, e] = x;
  AddAll(to, a, b, c, d, e);
}
void Add(const LongrunRotation& x, Fields& to) {
  const auto& [a, b, c, d, e, f] = x;
  AddAll(to, a, b, c, d, e, f);
}
void Add(const LongrunRegion& x, Fields& to) {
  const auto& [a, b, c, d, e, f] = x;
  AddAll(to, a, b, c, d, e, f);
}
void Add(const LongrunDistanceTable& x, Fields& to) {
  const auto& [a, b, c] = x;
  AddAll(to, a, b, c);
}
void Add(const LongrunPiecewise& x, Fields& to) {
  const auto& [a, b, c, d, e] = x;
  AddAll(to, a, b, c, d, e);
}
void Add(const LongrunDropout& x, Fields& to) {
  const auto& [a, b, c] = x;
  AddAll(to, a, b, c);
}

Fields FieldsOf(const LongrunAttentionTerms& x) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o] = x;
  Fields to;
  AddAll(to, a, b, c, d, e, f, g, h[0], h[1], h[2], i, j, k, l, m, n, o);
  return to;
}
Fields FieldsOf(const LongrunAttentionForwardCall& x) {
  const auto& [a, b, c, d, e, f, g, h] = x;
  Fields to;
  AddAll(to, a, b, c, d, e, f, g, h);
  return to;
}
Fields FieldsOf(const LongrunAttentionBackwardCall& x) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = x;
  Fields to;
  AddAll(to, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
  return to;
}

// Numbers and addresses that differ from field to field, in the order of the C structures; `fields`
// has what they must become.
struct Counter {
  std::int64_t Next() {
    fields.push_back(Str(++last));
    return last;
  }
  double NextDouble() { return static_cast<double>(Next()); }
  template <typename T>
  T* Address() {
    last += 64;
    fields.push_back(Str("@", last));
    return reinterpret_cast<T*>(last);
  }
  template <typename T>
  std::span<const T> Span() {
    const T* const data = Address<const T>();
    return {data, static_cast<std::size_t>(Next())};
  }
  template <typename T>
  T Flag(T x) {  // an enum or a bool: 1 is not what a zeroed structure has
    fields.push_back("1");
    return x;
  }
  MemorySpace Memory() {
    MemorySpace memory = {.kind = Flag(MemorySpace::Kind::kCuda)};
    memory.ordinal = static_cast<std::int32_t>(Next());
    return memory;
  }
  template <typename Pointer>
  HeadsViewOf<Pointer> Heads() {
    HeadsViewOf<Pointer> x;
    x.data = Address<void>();
    x.scalar = Flag(Scalar::kBf16);
    for (std::int64_t* field :
         {&x.batch, &x.n_row, &x.n_head, &x.head_dim, &x.batch_step, &x.row_step, &x.head_step}) {
      *field = Next();
    }
    x.memory = Memory();
    return x;
  }
  template <typename View>
  View Numbers() {
    View x;
    x.data = Address<void>();
    x.n = Next();
    x.scalar = Flag(Scalar::kBf16);
    x.memory = Memory();
    return x;
  }
  std::int64_t last = 0;
  Fields fields;
};

Region NextRegion(Counter& next) {
  Region region;
  region.key_begin = next.Span<std::int32_t>();
  region.query_row = next.Span<std::int32_t>();
  region.key_row = next.Span<std::int32_t>();
  region.blended = next.Flag(BlendedKeys());
  region.blended->row = next.Span<std::int32_t>();
  region.blended->weight = next.Span<double>();
  return region;
}

// Every term, with its numbers in the order of the fields of the C structure.
AttentionTerms AllTerms(Counter& next, std::vector<Region>& regions) {
  AttentionTerms terms;
  terms.scale = next.NextDouble();
  Visibility& see = terms.visibility;
  see.causal = next.Flag(true);
  for (std::int64_t* field : {&see.q_offset, &see.k_offset, &see.window, &see.n_sink}) {
    *field = next.Next();
  }
  see.document_begin = next.Span<std::int32_t>();
  KeyBias& bias = terms.key_bias.emplace(next.Flag(KeyBias()));
  bias.values = next.Span<double>();
  bias.two_sided = next.Flag(true);
  bias.local = next.Span<float>();
  bias.anchor = next.Span<double>();
  bias.slope = next.Span<double>();
  RotationTable& rotation = terms.rotation.emplace(next.Flag(RotationTable()));
  rotation.cos = next.Span<double>();
  rotation.sin = next.Span<double>();
  rotation.n_rotary = next.Next();
  rotation.layout = next.Flag(RotationTable::Layout::kInterleaved);
  rotation.growth = next.Span<double>();
  rotation.row = next.Span<std::int32_t>();
  next.fields.push_back("3");
  for (int r = 0; r < 3; ++r) regions.push_back(NextRegion(next));
  terms.regions = regions;
  DistanceTable& table = terms.distance_table.emplace(next.Flag(DistanceTable()));
  table.values = next.Span<double>();
  table.n_distance = next.Next();
  table.n_ahead = next.Next();
  PiecewiseLinear& pieces = terms.piecewise.emplace(next.Flag(PiecewiseLinear()));
  pieces.psi = next.Span<double>();
  pieces.row_factor = next.Span<double>();
  pieces.knots = next.Span<double>();
  pieces.slope = next.Span<double>();
  pieces.intercept = next.Span<double>();
  Dropout& dropout = terms.dropout.emplace(next.Flag(Dropout()));
  dropout.probability = next.NextDouble();
  dropout.seed = static_cast<std::uint64_t>(next.Next());
  dropout.offset = static_cast<std::uint32_t>(next.Next());
  terms.memory = next.Memory();
  return terms;
}

TEST(CudaCalls, EveryFieldOfTheTermsGoesThereAndBack) {
  Counter next;
  std::vector<Region> regions, regions_back;
  const LongrunAttentionTerms there = ToPlugin(AllTerms(next, regions));
  EXPECT_EQ(FieldsOf(there), next.fields);
  EXPECT_EQ(FieldsOf(ToPlugin(FromPlugin(there, regions_back))), next.fields);
}

TEST(CudaCalls, TermsThatAreAbsentStayAbsent) {
  std::vector<Region> regions = {Region()}, regions_back;
  const LongrunAttentionTerms there = ToPlugin(AttentionTerms{.regions = regions});
  const AttentionTerms back = FromPlugin(there, regions_back);
  EXPECT_FALSE(back.key_bias || back.rotation || back.distance_table || back.piecewise ||
               back.dropout);
  ASSERT_EQ(back.regions.size(), 1U);
  EXPECT_FALSE(back.regions[0].blended);
  EXPECT_EQ(FieldsOf(ToPlugin(back)), FieldsOf(there));
}

TEST(CudaCalls, EveryFieldOfAForwardCallGoesThereAndBack) {
  Counter next;
  AttentionForwardCall call;
  call.inputs.q = next.Heads<const void*>();
  call.inputs.k = next.Heads<const void*>();
  call.inputs.v = next.Heads<const void*>();
  call.o = next.Heads<void*>();
  call.lse = next.Numbers<NumbersBuffer>();
  auto* const first_key = next.Address<std::int32_t>();
  call.first_key = {first_key, static_cast<std::size_t>(next.Next())};
  call.n_tiles = next.Address<std::int64_t>();
  const LongrunAttentionForwardCall there = ToPlugin(call);
  EXPECT_EQ(FieldsOf(there), next.fields);
  EXPECT_EQ(FieldsOf(ToPlugin(FromPlugin(there))), next.fields);
}

TEST(CudaCalls, EveryFieldOfABackwardCallGoesThereAndBack) {
  Counter next;
  AttentionBackwardCall call;
  call.inputs.q = next.Heads<const void*>();
  call.inputs.k = next.Heads<const void*>();
  call.inputs.v = next.Heads<const void*>();
  call.o = next.Heads<const void*>();
  call.do_ = next.Heads<const void*>();
  call.lse = next.Numbers<NumbersView>();
  call.first_key = next.Span<std::int32_t>();
  for (HeadsBuffer* gradient : {&call.dq, &call.dk, &call.dv}) *gradient = next.Heads<void*>();
  for (NumbersBuffer* gradient : {&call.d_key_bias, &call.d_distance_table, &call.d_slope,
                                  &call.d_intercept, &call.d_psi, &call.d_row_factor}) {
    *gradient = next.Numbers<NumbersBuffer>();
  }
  const LongrunAttentionBackwardCall there = ToPlugin(call);
  EXPECT_EQ(FieldsOf(there), next.fields);
  EXPECT_EQ(FieldsOf(ToPlugin(FromPlugin(there))), next.fields);
}

TEST(CudaCalls, EveryOptionButTheHostsThreadsGoesThereAndBack) {
  int stream = 0, context = 0;
  const AttentionKernelOptions options = {
      .skip_epsilon = 0.25,
      .subnormals = Subnormals::kFlushed,
      .stream = &stream,
      .working_memory = {.context = &context,
                         .allocate = [](void* of, std::int64_t, void*) { return of; },
                         .release = [](void*, void*, void*) {}}};
  for (const Subnormals subnormals : {Subnormals::kFlushed, Subnormals::kKept}) {
    AttentionKernelOptions given = options;
    given.subnormals = subnormals;
    const AttentionKernelOptions back = FromPlugin(ToPlugin(given));
    EXPECT_EQ(back.skip_epsilon, 0.25);
    EXPECT_EQ(back.subnormals, subnormals);
    EXPECT_EQ(back.stream, &stream);
    EXPECT_EQ(back.working_memory.context, &context);
    EXPECT_EQ(back.working_memory.allocate, options.working_memory.allocate);
    EXPECT_EQ(back.working_memory.release, options.working_memory.release);
  }
}

// ---- the version -------------------------------------------------------------------------------

std::string ErrorOf(const std::string& name) {
  const Result<CudaLibrary> library = LoadCudaLibrary(Str(LONGRUN_TEST_DIR, "/", name));
  EXPECT_EQ(library.status().code(), Code::kFailedPrecondition);
  return library.status().message();
}

TEST(CudaLibrary, APluginOfAnotherVersionIsRefusedWithBothVersions) {
  const std::string error = ErrorOf("libforeign_cuda_other.so");
  EXPECT_TRUE(error.ends_with(Str("has version ", kLongrunCudaVersion + 1,
                                  " of the plug-in's interface, but this trainer needs version ",
                                  kLongrunCudaVersion, ": build both from the same commit")))
      << error;
}

TEST(CudaLibrary, APluginWithoutAVersionIsRefused) {
  const std::string error = ErrorOf("libforeign_cuda_none.so");
  EXPECT_TRUE(error.ends_with("has no LongrunGetCudaVersion: it is from another build of longrun"))
      << error;
}

TEST(CudaLibrary, NoPluginIsAnErrorThatSaysWhatToDo) {
  EXPECT_TRUE(ErrorOf("no_such_plugin.so").find("build longrun on a machine with nvcc") !=
              std::string::npos);
}

// ---- the GPUs that its code runs on ------------------------------------------------------------

TEST(CudaArchitectures, MachineCodeRunsOnItsFamilyAndPtxOnAllThatIsNewer) {
  struct Case {
    std::string_view architectures;
    std::vector<int> runs_on;
  };
  const std::vector<int> gpus = {75, 80, 86, 89, 90, 100, 103, 110, 120, 121};
  const std::vector<Case> cases = {
      {"80-real", {80, 86, 89}},
      {"89-real", {89}},
      {"90a-real", {90}},
      {"90a-virtual", {90}},
      {"100-real", {100, 103}},
      {"100a-real", {100}},
      {"103f-real", {103}},
      {"100f-virtual", {100, 103}},
      {"80-virtual", {80, 86, 89, 90, 100, 103, 110, 120, 121}},
      {"89", {89, 90, 100, 103, 110, 120, 121}},
      {"86-real 90a-real", {86, 89, 90}},
      {"80-real 89-real 90a-real 100-real 120-virtual", {80, 86, 89, 90, 100, 103, 120, 121}},
      {"", {}}};
  for (const Case& one : cases) {
    for (const int gpu : gpus) {
      const bool runs = std::ranges::find(one.runs_on, gpu) != one.runs_on.end();
      EXPECT_EQ(HasCudaCode(one.architectures, gpu / 10, gpu % 10), runs)
          << one.architectures << " on " << gpu;
    }
  }
  // What is advised helps.
  for (const int gpu : gpus) {
    EXPECT_TRUE(HasCudaCode(CudaArchitectureOf(gpu / 10, gpu % 10), gpu / 10, gpu % 10)) << gpu;
  }
}

// ---- the back-end ------------------------------------------------------------------------------

constexpr MemorySpace kGpu = {.kind = MemorySpace::Kind::kCuda, .ordinal = 1};

// Attention of one head of 8 channels. No address is one of this process.
struct GpuCalls {
  explicit GpuCalls(std::int64_t n_row) {
    const auto heads = [&](auto pointer) {
      return HeadsViewOf<decltype(pointer)>{.data = pointer,
                                            .batch = 1,
                                            .n_row = n_row,
                                            .n_head = 1,
                                            .head_dim = 8,
                                            .batch_step = 8 * n_row,
                                            .row_step = 8,
                                            .head_step = 8,
                                            .memory = kGpu};
    };
    const HeadsView view = heads(static_cast<const void*>(address));
    const HeadsBuffer buffer = heads(address);
    forward = {
        .inputs = {view, view, view}, .o = buffer, .lse = {address, n_row, Scalar::kFp32, kGpu}};
    backward = {.inputs = forward.inputs,
                .o = view,
                .do_ = view,
                .lse = {address, n_row, Scalar::kFp32, kGpu},
                .dq = buffer,
                .dk = buffer,
                .dv = buffer};
  }
  void* address = reinterpret_cast<void*>(std::uintptr_t{4096});
  AttentionForwardCall forward;
  AttentionBackwardCall backward;
  AttentionKernelOptions options = {
      .skip_epsilon = 0.0,
      .working_memory = {.allocate = [](void*, std::int64_t, void*) -> void* { return nullptr; },
                         .release = [](void*, void*, void*) {}}};
};

const AttentionKernel& TestedKernel() {
  return *CudaAttention(Str(LONGRUN_TEST_DIR, "/libforeign_cuda_same.so")).value();
}

TEST(CudaAttention, ACallGoesToThePluginAndItsTextBecomesAStatus) {
  const AttentionKernel& kernel = TestedKernel();
  EXPECT_EQ(kernel.name, "cuda");
  const GpuCalls one(1), nothing(0);
  const AttentionTerms terms = {.scale = 0.5};
  EXPECT_TRUE(kernel.forward(nothing.forward, {.scale = 0.5, .memory = kGpu}, one.options).ok());
  const Status forward = kernel.forward(one.forward, terms, one.options);
  EXPECT_EQ(forward.code(), Code::kInternal);
  EXPECT_EQ(forward.message(),
            "attention: the cuda back-end: forward of 1 queries, scale 0.5, epsilon 0");
  EXPECT_EQ(kernel.backward(one.backward, terms, one.options).message(),
            "attention: the cuda back-end: backward");
  const AttentionKernel& single =
      *CudaAttentionWithSingleBackward(Str(LONGRUN_TEST_DIR, "/libforeign_cuda_same.so")).value();
  EXPECT_EQ(single.backward(one.backward, terms, one.options).message(),
            "attention: the cuda back-end: backward in a single kernel");
  const AttentionKernel& unordered =
      *CudaAttentionWithUnorderedBackward(Str(LONGRUN_TEST_DIR, "/libforeign_cuda_same.so"))
           .value();
  EXPECT_EQ(unordered.backward(one.backward, terms, one.options).message(),
            "attention: the cuda back-end: backward that adds in any order");
}

TEST(CudaAttention, AnOldGpuIsRefused) {
  const std::string plugin = Str(LONGRUN_TEST_DIR, "/libforeign_cuda_same.so");
  const Status status = CheckCudaGpu(plugin, /*ordinal=*/7);
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_EQ(status.message(),
            "longrun's kernels need a GPU of compute capability 8.0 or newer, but GPU 7 has 7.6: "
            "use the attention back-end \"reference\" and the operators \"aten\"");
  EXPECT_EQ(CudaHeadDimMaxOf(plugin, 7), 0);
  for (const int newer : {8, 9, 10}) {
    EXPECT_TRUE(CheckCudaGpu(plugin, newer).ok());
    EXPECT_EQ(CudaHeadDimMaxOf(plugin, newer), kCudaHeadDimMax);
  }
}

TEST(CudaAttention, WhatItLacksIsRefusedByName) {
  const AttentionKernel& kernel = TestedKernel();
  const auto expect_refused = [&](const AttentionForwardCall& call, const AttentionTerms& terms,
                                  Code code, std::string_view named) {
    const GpuCalls any(1);
    const Status status = kernel.forward(call, terms, any.options);
    EXPECT_EQ(status.code(), code);
    EXPECT_TRUE(status.message().find(named) != std::string::npos) << status.message();
  };
  const GpuCalls good(1);
  AttentionForwardCall call = good.forward;
  call.inputs.q.memory = {};
  expect_refused(call, {.scale = 1.0}, Code::kInvalidArgument,
                 "q: lies in host memory, but this back-end reads the memory of a GPU");
  call = good.forward;
  call.inputs.k.memory.ordinal = 0;
  expect_refused(call, {.scale = 1.0}, Code::kInvalidArgument,
                 "k: lies in the memory of GPU 0, but this back-end reads the memory of GPU 1");
  call = good.forward;
  for (HeadsView* view : {&call.inputs.q, &call.inputs.k, &call.inputs.v}) {
    view->scalar = Scalar::kFp64;
  }
  call.o.scalar = Scalar::kFp64;
  expect_refused(call, {.scale = 1.0}, Code::kUnimplemented, "q: the cuda back-end");
  expect_refused(good.forward, {.scale = 1.0, .visibility = {.q_offset = kCudaOffsetMax + 1}},
                 Code::kUnimplemented, "visibility.q_offset: 536870913 is beyond 536870912");
}

// ---- the kernels over rows ---------------------------------------------------------------------

// No address is one of this process.
template <typename T>
T* At(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

CudaRowOptions RowOptionsOnGpu() {
  return {.memory = kGpu,
          .stream = At<void>(8),
          .working_memory = {.context = At<void>(16),
                             .allocate = [](void* of, std::int64_t, void*) { return of; },
                             .release = [](void*, void*, void*) {}}};
}

TEST(CudaRows, EveryFieldOfANormGoesToThePlugin) {
  const NormShape shape = {.n_row = 3, .n_channel = 5, .centred = true, .epsilon = 0.25};
  const LongrunNormForwardCall forward = ToPlugin(NormForwardCall{.shape = shape,
                                                                  .x = At<float>(16),
                                                                  .addend = At<const Bf16>(32),
                                                                  .gamma = At<float>(48),
                                                                  .beta = At<float>(64),
                                                                  .sum = At<float>(80),
                                                                  .y = At<float>(96),
                                                                  .mean = At<float>(112),
                                                                  .rstd = At<float>(128)});
  EXPECT_EQ(forward.shape.n_row, 3);
  EXPECT_EQ(forward.shape.n_channel, 5);
  EXPECT_EQ(forward.shape.centred, 1);
  EXPECT_EQ(forward.shape.epsilon, 0.25);
  EXPECT_EQ(forward.x, At<float>(16));
  EXPECT_EQ(forward.addend.data, At<void>(32));
  EXPECT_EQ(forward.addend.scalar, static_cast<int>(Scalar::kBf16));
  EXPECT_EQ(forward.gamma, At<float>(48));
  EXPECT_EQ(forward.beta, At<float>(64));
  EXPECT_EQ(forward.sum, At<float>(80));
  EXPECT_EQ(forward.y.data, At<void>(96));
  EXPECT_EQ(forward.y.scalar, static_cast<int>(Scalar::kFp32));
  EXPECT_EQ(forward.mean, At<float>(112));
  EXPECT_EQ(forward.rstd, At<float>(128));

  const LongrunNormBackwardCall backward = ToPlugin(NormBackwardCall{.shape = shape,
                                                                     .dy = At<const Bf16>(16),
                                                                     .sum = At<float>(32),
                                                                     .gamma = At<float>(48),
                                                                     .mean = At<float>(64),
                                                                     .rstd = At<float>(80),
                                                                     .d_sum = At<float>(96),
                                                                     .dx = At<float>(112),
                                                                     .d_addend = At<Bf16>(128),
                                                                     .d_gamma = At<float>(144),
                                                                     .d_beta = At<float>(160)});
  EXPECT_EQ(backward.shape.n_row, 3);
  EXPECT_EQ(backward.dy.data, At<void>(16));
  EXPECT_EQ(backward.dy.scalar, static_cast<int>(Scalar::kBf16));
  EXPECT_EQ(backward.sum, At<float>(32));
  EXPECT_EQ(backward.gamma, At<float>(48));
  EXPECT_EQ(backward.mean, At<float>(64));
  EXPECT_EQ(backward.rstd, At<float>(80));
  EXPECT_EQ(backward.d_sum, At<float>(96));
  EXPECT_EQ(backward.dx, At<float>(112));
  EXPECT_EQ(backward.d_addend, At<void>(128));
  EXPECT_EQ(backward.d_gamma, At<float>(144));
  EXPECT_EQ(backward.d_beta, At<float>(160));
}

TEST(CudaRows, EveryFieldOfAnActivationGoesToThePlugin) {
  const ActivationShape shape = {3, 5, Activation::kSilu};
  const LongrunActivationBackwardCall plain =
      ToPlugin(ActivationBackwardCall{.shape = shape,
                                      .h = At<const Bf16>(16),
                                      .bias = At<float>(32),
                                      .dy = At<const Bf16>(48),
                                      .dh = At<Bf16>(64),
                                      .d_bias = At<float>(80)});
  EXPECT_EQ(plain.shape.n_row, 3);
  EXPECT_EQ(plain.shape.n_channel, 5);
  EXPECT_EQ(plain.shape.activation, 2);
  EXPECT_EQ(plain.h.data, At<void>(16));
  EXPECT_EQ(plain.h.scalar, static_cast<int>(Scalar::kBf16));
  EXPECT_EQ(plain.up.data, nullptr);
  EXPECT_EQ(plain.bias, At<float>(32));
  EXPECT_EQ(plain.dy.data, At<void>(48));
  EXPECT_EQ(plain.dh.data, At<void>(64));
  EXPECT_EQ(plain.d_bias, At<float>(80));
  const LongrunActivationBackwardCall gated = ToPlugin(GatedBackwardCall{.shape = shape,
                                                                         .gate = At<float>(16),
                                                                         .up = At<float>(32),
                                                                         .dy = At<float>(48),
                                                                         .d_gate = At<float>(64),
                                                                         .d_up = At<float>(80)});
  EXPECT_EQ(gated.h.data, At<void>(16));
  EXPECT_EQ(gated.h.scalar, static_cast<int>(Scalar::kFp32));
  EXPECT_EQ(gated.up.data, At<void>(32));
  EXPECT_EQ(gated.dy.data, At<void>(48));
  EXPECT_EQ(gated.dh.data, At<void>(64));
  EXPECT_EQ(gated.d_up.data, At<void>(80));
  const LongrunRowOptions options = ToPlugin(RowOptionsOnGpu());
  EXPECT_EQ(options.memory.kind, 1);
  EXPECT_EQ(options.memory.ordinal, 1);
  EXPECT_EQ(options.stream, At<void>(8));
  EXPECT_EQ(options.allocate_context, At<void>(16));
}

TEST(CudaRows, EveryFieldOfALossGoesToThePlugin) {
  const LongrunCrossEntropyCall call = ToPlugin(CrossEntropyCall{.n_row = 3,
                                                                 .n_vocab = 5,
                                                                 .logits = At<const Bf16>(16),
                                                                 .targets = At<std::int64_t>(32),
                                                                 .nll = At<float>(48),
                                                                 .lse = At<float>(64),
                                                                 .d_logits = At<Bf16>(80),
                                                                 .weight = 0.25});
  EXPECT_EQ(call.n_row, 3);
  EXPECT_EQ(call.n_vocab, 5);
  EXPECT_EQ(call.logits.data, At<void>(16));
  EXPECT_EQ(call.logits.scalar, static_cast<int>(Scalar::kBf16));
  EXPECT_EQ(call.targets, At<std::int64_t>(32));
  EXPECT_EQ(call.nll, At<float>(48));
  EXPECT_EQ(call.lse, At<float>(64));
  EXPECT_EQ(call.d_logits.data, At<void>(80));
  EXPECT_EQ(call.d_logits.scalar, static_cast<int>(Scalar::kBf16));
  EXPECT_EQ(call.weight, 0.25);
}

TEST(CudaRows, ACallGoesToItsFunctionOfThePluginAndItsTextBecomesAStatus) {
  TestedKernel();
  const CudaRowOptions options = RowOptionsOnGpu();
  const auto message = [](const Status& status) {
    EXPECT_EQ(status.code(), Code::kInternal);
    return status.message();
  };
  const NormShape norm = {.n_row = 0, .n_channel = 1};
  const ActivationShape activation = {.n_row = 0, .n_channel = 1};
  EXPECT_EQ(message(CudaNormForward({.shape = norm}, options)),
            "norm in the memory of GPU 1: norm forward");
  EXPECT_EQ(message(CudaNormBackward({.shape = norm}, options)),
            "gradient of a norm in the memory of GPU 1: norm backward");
  EXPECT_EQ(message(CudaActivationForward({.shape = activation}, options)),
            "activation in the memory of GPU 1: activation forward");
  EXPECT_EQ(message(CudaActivationBackward({.shape = activation}, options)),
            "gradient of an activation in the memory of GPU 1: activation backward");
  EXPECT_EQ(message(CudaGatedForward({.shape = activation}, options)),
            "gated activation in the memory of GPU 1: activation forward");
  EXPECT_EQ(message(CudaGatedBackward({.shape = activation}, options)),
            "gradient of a gated activation in the memory of GPU 1: activation backward");
  EXPECT_EQ(message(CudaCrossEntropy({.n_vocab = 1}, options)),
            "cross-entropy in the memory of GPU 1: cross-entropy");
  EXPECT_EQ(message(CudaColumnSum({.n_channel = 1, .total = At<float>(16)}, options)),
            "sum over rows in the memory of GPU 1: column sum");
  EXPECT_EQ(message(CudaKeyBiasForward({}, options)),
            "key bias in the memory of GPU 1: key bias forward");
  EXPECT_EQ(message(CudaKeyBiasBackward({}, options)),
            "gradient of a key bias in the memory of GPU 1: key bias backward");
  EXPECT_EQ(message(CudaAdamW({.t = At<float>(16), .lr = At<float>(16)}, options)),
            "AdamW in the memory of GPU 1: adamw");
}

TEST(CudaRows, ANullArgumentIsABugOfTheCaller) {
  EXPECT_DEATH(ToPlugin(NormForwardCall{.shape = {.n_row = 1, .n_channel = 1}}), "");
  EXPECT_DEATH(ToPlugin(ActivationForwardCall{.shape = {.n_row = 1, .n_channel = 1}}), "");
  EXPECT_DEATH(ToPlugin(CrossEntropyCall{.n_row = 1, .n_vocab = 1}), "");
  EXPECT_DEATH(ToPlugin(ColumnSumCall{.n_row = -1, .n_channel = 1, .total = At<float>(16)}), "");
  const KeyBiasShape keys = {.n_head = 1, .n_key = 1};
  EXPECT_DEATH(ToPlugin(KeyBiasForwardCall{.shape = keys, .a = At<const float>(16)}), "");
  EXPECT_DEATH(ToPlugin(KeyBiasBackwardCall{.shape = keys, .a = At<const float>(16)}), "");
  EXPECT_DEATH(ToPlugin(CudaAdamWCall{.t = At<float>(16)}, {}), "");
  const AdamWTensor without_moments[] = {
      {.n = 1, .gradient = At<const float>(16), .parameter = At<float>(16)}};
  EXPECT_DEATH(AdamWVectors(without_moments), "");
  EXPECT_DEATH(
      ToPlugin(ActivationForwardCall{
          .shape = {.n_row = 1, .n_channel = 1}, .h = At<const Bf16>(16), .y = At<float>(16)}),
      "");
}

TEST(CudaAttention, AGpuForWhichThereIsNoCodeIsRefusedWithTheRemedy) {
  const std::string plugin = Str(LONGRUN_TEST_DIR, "/libforeign_cuda_same.so");
  const std::string error =
      Str("GPU 12: GPU 12 has compute capability 12.6, but ", plugin,
          " was compiled for 80-real 90-real 100-real: configure with "
          "-DLONGRUN_CUDA_ARCHITECTURES=126-real (if nvcc is too old for that: 80-virtual), and "
          "build again");
  for (const Status& status : {DescribeCudaGpu(plugin, 12).status(), CheckCudaGpu(plugin, 12)}) {
    EXPECT_EQ(status.code(), Code::kFailedPrecondition);
    EXPECT_EQ(status.message(), error);
  }
  EXPECT_EQ(CudaHeadDimMaxOf(plugin, 12), 0);
  // An older GPU can have LibTorch's operators.
  EXPECT_TRUE(DescribeCudaGpu(plugin, 7).ok());
  EXPECT_TRUE(DescribeCudaGpu(plugin, 10).ok());
}

TEST(CudaAttention, OnePluginServesAProcess) {
  TestedKernel();
  const Result<const AttentionKernel*> other =
      CudaAttention(Str(LONGRUN_TEST_DIR, "/libforeign_cuda_other.so"));
  EXPECT_EQ(other.status().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(other.status().message().find("is already loaded from") != std::string::npos);
}

}  // namespace
}  // namespace longrun
