#include "tests/model/net/fake_gpu.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/enum_tag.h>
#include <ATen/core/grad_mode.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace longrun::testing {
namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
const c10::Device kDevice(kType, 0);

// ---- what it notes ------------------------------------------------------------------------------

struct Notes {
  std::mutex mutex;
  std::vector<std::string> log;
  // Copies to pinned memory that have not arrived: where to, and the numbers.
  std::vector<std::pair<at::Tensor, at::Tensor>> on_their_way;
  std::map<const char*, std::size_t> pinned;  // bytes at each address
  std::size_t n_pinned = 0, n_pinned_max = std::numeric_limits<std::size_t>::max();
  int pin_error = 0;
};
// Never destroyed: memory may be freed until the end of the process.
Notes& TheNotes() {
  static Notes& notes = *new Notes;
  return notes;
}

void Note(std::string what) {
  const std::lock_guard lock(TheNotes().mutex);
  TheNotes().log.push_back(std::move(what));
}
void NoteWait(const std::string& name) { Note("wait: " + name); }

void Arrive() {
  std::vector<std::pair<at::Tensor, at::Tensor>> arriving;
  {
    const std::lock_guard lock(TheNotes().mutex);
    arriving.swap(TheNotes().on_their_way);
  }
  for (auto& [to, numbers] : arriving) to.copy_(numbers);
}

// The numbers of those copies that are on their way into the tensor's memory: a later copy by the
// device finds them there.
void ArriveAt(const at::Tensor& host) {
  const auto* const begin = static_cast<const char*>(host.const_data_ptr());
  const auto* const end = begin + host.nbytes();
  std::vector<std::pair<at::Tensor, at::Tensor>> arriving;
  {
    const std::lock_guard lock(TheNotes().mutex);
    auto& all = TheNotes().on_their_way;
    const auto rest = std::ranges::stable_partition(all, [&](const auto& copy) {
      const auto* const to = static_cast<const char*>(copy.first.const_data_ptr());
      return to >= end || to + copy.first.nbytes() <= begin;
    });
    arriving.assign(rest.begin(), rest.end());
    all.erase(rest.begin(), rest.end());
  }
  for (auto& [to, numbers] : arriving) to.copy_(numbers);
}

// ---- streams ------------------------------------------------------------------------------------

// The main stream, and one for copies beside it. All work is done when it is queued. Whether it
// could have been too early on a GPU is told by clocks: each stream counts its work, and knows how
// much of the other's was done before (Lamport 1978; vector clocks).
constexpr std::size_t kStreams = 2;
using Clock = std::array<std::uint64_t, kStreams>;

// The last uses of a piece of memory, by stream.
struct Uses {
  std::array<std::uint64_t, kStreams> read = {}, written = {};
};

struct Streams {
  std::mutex mutex;
  std::array<Clock, kStreams> known = {};  // by stream
  std::map<const char*, Uses> of_pinned;   // by the beginning of the block
  std::vector<std::size_t> leads;          // of copies from the host
};
Streams& TheStreams() {
  static Streams& streams = *new Streams;
  return streams;
}
thread_local std::size_t current_stream = 0;

// Whether the stream cannot yet know that all other streams have done what they did with it.
bool IsUsedElsewhere(const Uses& uses, std::size_t stream, bool for_writing) {
  for (std::size_t other = 0; other < kStreams; ++other) {
    if (other == stream) continue;
    const std::uint64_t known = TheStreams().known[stream][other];
    if (uses.written[other] > known || (for_writing && uses.read[other] > known)) return true;
  }
  return false;
}

// ---- recordings ---------------------------------------------------------------------------------

// An operator with the tensors that it made, or a copy of its argument to its result. Tensors are
// those of the CPU at the same addresses, and keep no memory.
struct RecordedCall {
  std::optional<c10::OperatorHandle> op = {};  // nullopt: the copy
  std::vector<c10::IValue> arguments = {};
  // nullopt: an argument that is changed in place.
  std::vector<std::optional<at::Tensor>> results = {};
  // Arguments that begin as empty tensors. Their results come last.
  std::vector<std::size_t> resized = {};
};

struct Work {
  std::vector<RecordedCall> calls;
  std::vector<char*> made;            // memory of tensors that were made in it
  std::map<char*, std::string> held;  // what other memory held when it was first used
};

struct Block {
  std::size_t n_byte = 0;
  const Work* made_in = nullptr;  // memory of a recording is given back with it
  bool is_free = false;
  int n_user = 0;         // recordings that use it, but did not make it
  std::size_t owner = 0;  // the stream for which it was allocated
  Uses uses = {};
};

struct Blocks {
  std::mutex mutex;
  std::map<char*, Block> blocks;
  Work* recording = nullptr;  // now
  std::size_t n_byte = 0, peak = 0;
  std::size_t n_byte_max = std::numeric_limits<std::size_t>::max();
};
// Never destroyed, as the notes.
Blocks& TheBlocks() {
  static Blocks& blocks = *new Blocks;
  return blocks;
}

Work* Recorded() {
  const std::lock_guard lock(TheBlocks().mutex);
  return TheBlocks().recording;
}

// ---- memory -------------------------------------------------------------------------------------

class Memory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t n) override {
    const std::lock_guard lock(TheBlocks().mutex);
    TORCH_CHECK_WITH(OutOfMemoryError, n <= TheBlocks().n_byte_max - TheBlocks().n_byte,
                     "the fake GPU has no memory for ", n, " bytes");
    TheBlocks().n_byte += n;
    TheBlocks().peak = std::max(TheBlocks().peak, TheBlocks().n_byte);
    auto* const data = static_cast<char*>(std::malloc(std::max<std::size_t>(1, n)));
    Work* const work = TheBlocks().recording;
    Block& block = TheBlocks().blocks[data] =
        Block{.n_byte = n, .made_in = work, .owner = current_stream};
    if (work != nullptr) {
      work->made.push_back(data);
    } else {
      // LibTorch's allocator gives out what earlier work of the stream has freed and still uses.
      const std::lock_guard lock_streams(TheStreams().mutex);
      block.uses.written[block.owner] = TheStreams().known[block.owner][block.owner];
    }
    return {data, data, &Free, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, std::size_t n) const override {
    default_copy_data(to, from, n);
  }

  static void Free(void* data) {
    const std::lock_guard lock(TheBlocks().mutex);
    const auto found = TheBlocks().blocks.find(static_cast<char*>(data));
    found->second.is_free = true;
    if (found->second.n_user > 0) Note("freed under a recording");
    FreeUnlessHeld(found);
  }

  // With the lock held.
  static void FreeUnlessHeld(std::map<char*, Block>::iterator block) {
    const Block& is = block->second;
    if (!is.is_free || is.made_in != nullptr || is.n_user > 0) return;
    {
      // The same stream gets it again.
      const std::lock_guard lock(TheStreams().mutex);
      if (IsUsedElsewhere(is.uses, is.owner, true)) Note("race: given back");
    }
    TheBlocks().n_byte -= is.n_byte;
    std::free(block->first);
    TheBlocks().blocks.erase(block);
  }
};

class PinnedMemory final : public at::HostAllocator {
 public:
  c10::DataPtr allocate(std::size_t n) override {
    const std::lock_guard lock(TheNotes().mutex);
    // Not OutOfMemoryError: CUDA's allocator throws an error of the runtime.
    if (n > TheNotes().n_pinned_max - TheNotes().n_pinned) {
      throw c10::AcceleratorError({__func__, __FILE__, static_cast<std::uint32_t>(__LINE__)},
                                  TheNotes().pin_error, "the host has no memory to pin");
    }
    TheNotes().n_pinned += n;
    void* const data = std::malloc(std::max<std::size_t>(1, n));
    TheNotes().pinned[static_cast<const char*>(data)] = n;
    return {data, data, &Free, c10::DeviceType::CPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, std::size_t n) const override {
    default_copy_data(to, from, n);
  }
  bool record_event(void*, void*, c10::Stream) override { return true; }
  void empty_cache() override {}
  at::HostStats get_stats() override { return {}; }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}

  static bool Has(const void* address) { return BeginOf(address) != nullptr; }

  // Of the block that has the address; null: none.
  static const char* BeginOf(const void* address) {
    const auto* const at = static_cast<const char*>(address);
    const std::lock_guard lock(TheNotes().mutex);
    const auto after = TheNotes().pinned.upper_bound(at);
    if (after == TheNotes().pinned.begin()) return nullptr;
    const auto& [begin, n] = *std::prev(after);
    return at < begin + n ? begin : nullptr;
  }

 private:
  static void Free(void* data) {
    {
      const std::lock_guard lock(TheStreams().mutex);
      TheStreams().of_pinned.erase(static_cast<const char*>(data));
    }
    {
      const std::lock_guard lock(TheNotes().mutex);
      const auto found = TheNotes().pinned.find(static_cast<const char*>(data));
      TheNotes().n_pinned -= found->second;
      TheNotes().pinned.erase(found);
    }
    std::free(data);
  }
};

Memory memory;
PinnedMemory pinned_memory;

// ---- the device, its streams, and events ----------------------------------------------------

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return StreamOf(current_stream); }
  c10::Stream getDefaultStream(c10::Device) const override { return StreamOf(0); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return StreamOf(1); }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return StreamOf(std::exchange(current_stream, IndexOf(stream)));
  }
  // Kernels of our own are given it, and compute at once.
  void* getStreamNativeHandle(const c10::Stream) const override { return nullptr; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex,
              const c10::EventFlag) const override {
    if (*event == nullptr) *event = new Clock;
    const std::lock_guard lock(TheStreams().mutex);
    *static_cast<Clock*>(*event) = TheStreams().known[IndexOf(stream)];
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Clock*>(event);
  }
  void block(void* event, const c10::Stream& stream) const override {
    const std::lock_guard lock(TheStreams().mutex);
    Learn(TheStreams().known[IndexOf(stream)], *static_cast<const Clock*>(event));
  }
  bool queryEvent(void*) const override { return true; }
  // What is queued later begins after it, on every stream.
  void synchronizeEvent(void* event) const override {
    Note("read");
    Arrive();
    const std::lock_guard lock(TheStreams().mutex);
    for (Clock& known : TheStreams().known) Learn(known, *static_cast<const Clock*>(event));
  }
  void synchronizeStream(const c10::Stream&) const override {
    NoteWait("synchronizeStream");
    Arrive();
  }
  void synchronizeDevice(const c10::DeviceIndex) const override {
    NoteWait("synchronizeDevice");
    Arrive();
  }

 private:
  static c10::Stream StreamOf(std::size_t index) {
    return c10::Stream(c10::Stream::UNSAFE, kDevice, static_cast<c10::StreamId>(index));
  }
  static std::size_t IndexOf(const c10::Stream& stream) {
    return static_cast<std::size_t>(stream.id());
  }
  static void Learn(Clock& clock, const Clock& other) {
    for (std::size_t s = 0; s < kStreams; ++s) clock[s] = std::max(clock[s], other[s]);
  }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  bool isPinnedPtr(const void* data) const override { return PinnedMemory::Has(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
};

// ---- operators ----------------------------------------------------------------------------------

bool IsHere(const at::Tensor& x) { return x.defined() && x.device().type() == kType; }

// The same memory as a tensor of the CPU.
at::Tensor OnCpu(const at::Tensor& x) {
  return at::from_blob(x.data_ptr(), x.sizes(), x.strides(),
                       at::TensorOptions().dtype(x.scalar_type()));
}

at::Tensor Empty(c10::IntArrayRef sizes, std::optional<c10::ScalarType> type,
                 std::optional<c10::Layout>, std::optional<c10::Device>, std::optional<bool>,
                 std::optional<c10::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &memory,
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   type.value_or(at::kFloat), format);
}

at::Tensor EmptyStrided(c10::IntArrayRef sizes, c10::IntArrayRef strides,
                        std::optional<c10::ScalarType> type, std::optional<c10::Layout>,
                        std::optional<c10::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(sizes, strides, &memory,
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           type.value_or(at::kFloat));
}

// With the lock of the streams held.
void NoteUse(Uses& uses, bool for_writing, const std::string& name) {
  Clock& clock = TheStreams().known[current_stream];
  if (IsUsedElsewhere(uses, current_stream, for_writing)) Note("race: " + name);
  (for_writing ? uses.written : uses.read)[current_stream] = ++clock[current_stream];
}

void UseBlockOnStream(char* data, bool for_writing, const std::string& name) {
  const std::lock_guard lock(TheBlocks().mutex);
  const auto found = TheBlocks().blocks.find(data);
  const std::lock_guard lock_streams(TheStreams().mutex);
  if (found != TheBlocks().blocks.end()) NoteUse(found->second.uses, for_writing, name);
}

// Notes that an operator on the current stream uses the memory of a tensor.
void UseOnStream(const at::Tensor& x, bool for_writing, const std::string& name) {
  if (!x.defined() || x.numel() == 0) return;
  if (IsHere(x)) {
    UseBlockOnStream(static_cast<char*>(x.storage().mutable_data()), for_writing, name);
  } else if (const char* const begin = PinnedMemory::BeginOf(x.const_data_ptr())) {
    const std::lock_guard lock(TheStreams().mutex);
    NoteUse(TheStreams().of_pinned[begin], for_writing, name);
  }
}

// Notes how early a copy from the host to this device is.
void NoteLead() {
  if (current_stream == 0) return;
  const std::lock_guard lock(TheStreams().mutex);
  TheStreams().leads.push_back(TheStreams().known[0][0] - TheStreams().known[current_stream][0]);
}

// Notes that the work that is being recorded uses the memory of a tensor of this device.
void Use(const at::Tensor& x) {
  const std::lock_guard lock(TheBlocks().mutex);
  Work* const work = TheBlocks().recording;
  if (work == nullptr || !IsHere(x)) return;
  auto* const data = static_cast<char*>(x.storage().mutable_data());
  const auto found = TheBlocks().blocks.find(data);
  if (found == TheBlocks().blocks.end() || found->second.made_in == work) return;
  if (work->held.try_emplace(data, data, found->second.n_byte).second) ++found->second.n_user;
}

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  const bool is_from_here = IsHere(from), is_to_here = IsHere(to);
  const bool is_between = is_from_here != is_to_here;
  // From or to the host, a copy of other than contiguous tensors goes through memory that is not
  // pinned.
  const bool waits = is_between && !(non_blocking && (is_from_here ? to : from).is_pinned() &&
                                     from.is_contiguous() && to.is_contiguous());
  UseOnStream(from, false, "copy");
  UseOnStream(to, true, "copy");
  if (is_between && is_to_here) {
    NoteLead();
    ArriveAt(from);
  }
  const at::Tensor source = is_from_here ? OnCpu(from) : from;
  if (Work* const work = Recorded(); work != nullptr && is_to_here) {
    if (is_from_here) {
      Use(from);
    } else {
      Note("recorded copy from the host");
    }
    Use(to);
    work->calls.push_back({.arguments = {source}, .results = {OnCpu(to)}});
  }
  if (waits) NoteWait(is_from_here ? "copy to the host" : "copy from the host");
  if (is_between && is_from_here && !waits) {
    at::Tensor numbers = source.clone();
    const std::lock_guard lock(TheNotes().mutex);
    TheNotes().on_their_way.emplace_back(to, std::move(numbers));
  } else {
    (is_to_here ? OnCpu(to) : to).copy_(source);
  }
  return to;
}

// Whether a GPU's host must wait for the result of an operator, or for its shape.
bool IsForTheHost(const c10::OperatorHandle& op, const std::vector<c10::IValue>& arguments) {
  if (op.hasTag(at::Tag::data_dependent_output)) return true;
  if (!op.hasTag(at::Tag::dynamic_output_shape)) return false;
  const std::string& name = op.schema().name();
  if (name == "aten::index") return false;  // a mask is first made into indices, by nonzero
  return name != "aten::repeat_interleave" || arguments.back().isNone();  // its output_size
}

// Whether a GPU adds several numbers at a place in any order, so that the sums have other bits each
// time: scatter_add(self, dim, index, src).
bool AddsInAnyOrder(const std::string& name, const std::vector<c10::IValue>& arguments) {
  return name.starts_with("aten::scatter_add") &&
         arguments[2].toTensor().size(arguments[1].toInt()) > 1;
}

// An argument of a CPU's operator for one of this device's.
c10::IValue ArgumentOnCpu(const c10::IValue& value) {
  const auto converted = [](const at::Tensor& x) -> at::Tensor {
    // As a GPU's operators, which take only single numbers of the host.
    TORCH_CHECK(!x.defined() || IsHere(x) || x.dim() == 0,
                "an operator of the fake GPU was given a tensor of the host");
    Use(x);
    if (IsHere(x)) UseOnStream(x, false, "an operator");
    if (IsHere(x)) return OnCpu(x);
    return Recorded() != nullptr && x.defined() ? x.clone() : x;  // by value
  };
  if (value.isTensor()) return converted(value.toTensor());
  if (value.isDevice()) return c10::Device(c10::DeviceType::CPU);
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& x : value.toTensorVector()) list.push_back(converted(x));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& x : value.toOptionalTensorVector()) {
      list.push_back(x ? std::optional(converted(*x)) : std::nullopt);
    }
    return list;
  }
  return value;
}

at::Tensor ResultHere(const at::Tensor& x) {
  if (!x.defined()) return x;
  const at::Tensor here = at::empty_strided(x.sizes(), x.strides(), x.options().device(kDevice));
  UseOnStream(here, true, "an operator");
  OnCpu(here).copy_(x);
  return here;
}

// Every operator without a kernel below.
void ByCpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const auto given = torch::jit::last(*stack, schema.arguments().size()).vec();
  if (IsForTheHost(op, given)) NoteWait(schema.name());
  if (AddsInAnyOrder(schema.name(), given)) Note("any order: " + schema.name());
  if (schema.name() == "aten::_fused_adamw_") Note("update");
  torch::jit::drop(*stack, given.size());
  Work* const work = Recorded();
  RecordedCall recorded;
  recorded.op = op;
  std::vector<at::Tensor> resized;  // empty tensors for results, each with the CPU's after it
  for (std::size_t i = 0; i < given.size(); ++i) {
    const c10::AliasInfo* const changed = schema.arguments()[i].alias_info();
    if (changed != nullptr && changed->isWrite() && given[i].isTensor()) {
      UseOnStream(given[i].toTensor(), true, schema.name());
    }
    const bool is_empty_result = schema.arguments()[i].is_out() && given[i].toTensor().numel() == 0;
    if (is_empty_result) {
      resized.push_back(given[i].toTensor());
      resized.push_back(at::empty({0}, resized.back().options().device(at::kCPU)));
      stack->push_back(resized.back());
      recorded.resized.push_back(i);
    } else {
      stack->push_back(ArgumentOnCpu(given[i]));
    }
    recorded.arguments.push_back(stack->back());
  }
  op.callBoxed(stack);
  for (std::size_t i = 0; i < resized.size(); i += 2) {
    const at::Tensor result = ResultHere(resized[i + 1]);
    resized[i].unsafeGetTensorImpl()->shallow_copy_from(result.getIntrusivePtr());
  }
  const auto results = torch::jit::pop(*stack, schema.returns().size());
  const auto made = [&](const at::Tensor& x) {
    const at::Tensor here = ResultHere(x);
    recorded.results.push_back(here.defined() ? std::optional(OnCpu(here)) : std::nullopt);
    return here;
  };
  for (std::size_t i = 0; i < results.size(); ++i) {
    const c10::AliasInfo* const alias = schema.returns()[i].alias_info();
    if (alias != nullptr) {
      TORCH_CHECK(alias->isWrite(), "the fake GPU has no view ", schema.name());
      // The argument itself, which was changed in place.
      const auto at = std::ranges::find_if(schema.arguments(), [&](const c10::Argument& argument) {
        return argument.alias_info() != nullptr && *argument.alias_info() == *alias;
      });
      stack->push_back(given[static_cast<std::size_t>(at - schema.arguments().begin())]);
    } else if (results[i].isTensor()) {
      stack->push_back(made(results[i].toTensor()));
    } else if (results[i].isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& x : results[i].toTensorVector()) list.push_back(made(x));
      stack->push_back(list);
    } else {
      stack->push_back(results[i]);
    }
  }
  if (work == nullptr) return;
  for (std::size_t i = 0; i < resized.size(); i += 2) recorded.results.push_back(OnCpu(resized[i]));
  work->calls.push_back(std::move(recorded));
}

// ---- replays ------------------------------------------------------------------------------------

void CallAgain(const RecordedCall& call) {
  std::vector<c10::IValue> stack = call.arguments;
  std::vector<at::Tensor> made;
  if (!call.op) {
    made = {stack[0].toTensor()};
  } else {
    std::vector<at::Tensor> resized;
    for (const std::size_t i : call.resized) {
      resized.push_back(at::empty({0}, stack[i].toTensor().options()));
      stack[i] = resized.back();
    }
    call.op->callBoxed(&stack);
    const auto& returns = call.op->schema().returns();
    for (std::size_t i = 0; i < returns.size(); ++i) {
      if (returns[i].alias_info() != nullptr) continue;
      if (stack[i].isTensor()) made.push_back(stack[i].toTensor());
      if (!stack[i].isTensorList()) continue;
      for (const at::Tensor& x : stack[i].toTensorVector()) made.push_back(x);
    }
    made.insert(made.end(), resized.begin(), resized.end());
  }
  TORCH_CHECK(made.size() == call.results.size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    if (call.results[i]) call.results[i]->copy_(made[i]);
  }
}

class FakeRecording final : public Recording {
 public:
  ~FakeRecording() override {
    const std::lock_guard lock(TheBlocks().mutex);
    for (const auto& [data, numbers] : work_.held) {
      const auto found = TheBlocks().blocks.find(data);
      --found->second.n_user;
      Memory::FreeUnlessHeld(found);
    }
    for (char* const data : work_.made) {
      const auto found = TheBlocks().blocks.find(data);
      found->second.made_in = nullptr;
      Memory::FreeUnlessHeld(found);
    }
  }

  void Record(const std::function<void()>& work) {
    Note("record");
    SetRecording(&work_);
    try {
      work();
    } catch (...) {
      SetRecording(nullptr);
      throw;
    }
    SetRecording(nullptr);
    const std::lock_guard lock(TheBlocks().mutex);
    for (const auto& [data, numbers] : work_.held) std::ranges::copy(numbers, data);
    for (char* const data : work_.made)
      std::fill_n(data, TheBlocks().blocks.at(data).n_byte, '\xff');
  }

  void Replay() override {
    Note("replay");
    // It may read or write each of them.
    for (const auto& [data, numbers] : work_.held) UseBlockOnStream(data, true, "replay");
    const at::NoGradGuard no_grad;
    for (const RecordedCall& call : work_.calls) CallAgain(call);
  }

 private:
  static void SetRecording(Work* work) {
    const std::lock_guard lock(TheBlocks().mutex);
    TheBlocks().recording = work;
  }

  Work work_;
};

class FakeRecorder final : public Recorder {
 public:
  std::unique_ptr<Recording> Record(const std::function<void()>& work) override {
    auto recording = std::make_unique<FakeRecording>();
    recording->Record(work);
    return recording;
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&ByCpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &Empty);
  m.impl("empty_strided", &EmptyStrided);
  m.impl("_copy_from", &CopyFrom);
  m.impl("as_strided", &at::native::as_strided_tensorimpl);
  m.impl("view", &at::native::view);
  m.impl("unfold", &at::native::unfold);
  m.impl("_reshape_alias", &at::native::_reshape_alias);
}

}  // namespace

c10::Device FakeGpu() {
  static const bool is_registered = [] {
    c10::register_privateuse1_backend("fakegpu");
    c10::SetAllocator(kType, &memory);
    at::setHostAllocator(kType, &pinned_memory);
    static Hooks hooks;
    at::RegisterPrivateUse1HooksInterface(&hooks);
    return true;
  }();
  (void)is_registered;
  return kDevice;
}

std::unique_ptr<Recorder> FakeGpuRecorder() { return std::make_unique<FakeRecorder>(); }

void SetFakeGpuRoom(const FakeGpuRoom& room) {
  constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();
  {
    const std::lock_guard lock(TheBlocks().mutex);
    TheBlocks().n_byte_max = room.of_device == kAny ? kAny : TheBlocks().n_byte + room.of_device;
  }
  const std::lock_guard lock(TheNotes().mutex);
  TheNotes().n_pinned_max = room.pinned == kAny ? kAny : TheNotes().n_pinned + room.pinned;
  TheNotes().pin_error = room.pin_error;
}

std::vector<std::size_t> TakeFakeGpuLeads() {
  const std::lock_guard lock(TheStreams().mutex);
  return std::exchange(TheStreams().leads, {});
}

std::size_t TakeFakeGpuPeak() {
  const std::lock_guard lock(TheBlocks().mutex);
  return std::exchange(TheBlocks().peak, TheBlocks().n_byte);
}

std::vector<std::string> TakeFakeGpuLog() {
  const std::lock_guard lock(TheNotes().mutex);
  return std::exchange(TheNotes().log, {});
}

}  // namespace longrun::testing
