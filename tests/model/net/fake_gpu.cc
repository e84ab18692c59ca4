#include "tests/model/net/fake_gpu.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/enum_tag.h>
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
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
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

// ---- memory -------------------------------------------------------------------------------------

class Memory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t n) override {
    void* const data = std::malloc(std::max<std::size_t>(1, n));
    return {data, data, &std::free, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, std::size_t n) const override {
    default_copy_data(to, from, n);
  }
};

class PinnedMemory final : public at::HostAllocator {
 public:
  c10::DataPtr allocate(std::size_t n) override {
    void* const data = std::malloc(std::max<std::size_t>(1, n));
    const std::lock_guard lock(TheNotes().mutex);
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

  static bool Has(const void* address) {
    const auto* const at = static_cast<const char*>(address);
    const std::lock_guard lock(TheNotes().mutex);
    const auto after = TheNotes().pinned.upper_bound(at);
    if (after == TheNotes().pinned.begin()) return false;
    const auto& [begin, n] = *std::prev(after);
    return at < begin + n;
  }

 private:
  static void Free(void* data) {
    {
      const std::lock_guard lock(TheNotes().mutex);
      TheNotes().pinned.erase(static_cast<const char*>(data));
    }
    std::free(data);
  }
};

Memory memory;
PinnedMemory pinned_memory;

// ---- the device, its only stream, and events ----------------------------------------------------

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return TheStream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return TheStream(); }
  c10::Stream exchangeStream(c10::Stream) const override { return TheStream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** event, const c10::Stream&, const c10::DeviceIndex,
              const c10::EventFlag) const override {
    static char an_event;
    *event = &an_event;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {
    Note("read");
    Arrive();
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
  static c10::Stream TheStream() { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
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

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  const bool is_from_here = IsHere(from), is_to_here = IsHere(to);
  const bool is_between = is_from_here != is_to_here;
  const bool waits = is_between && !(non_blocking && (is_from_here ? to : from).is_pinned());
  const at::Tensor source = is_from_here ? OnCpu(from) : from;
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

// An argument of a CPU's operator for one of this device's.
c10::IValue ArgumentOnCpu(const c10::IValue& value) {
  const auto converted = [](const at::Tensor& x) {
    // As a GPU's operators, which take only single numbers of the host.
    TORCH_CHECK(!x.defined() || IsHere(x) || x.dim() == 0,
                "an operator of the fake GPU was given a tensor of the host");
    return IsHere(x) ? OnCpu(x) : x;
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
  OnCpu(here).copy_(x);
  return here;
}

// Every operator without a kernel below.
void ByCpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const auto given = torch::jit::last(*stack, schema.arguments().size()).vec();
  if (IsForTheHost(op, given)) NoteWait(schema.name());
  if (schema.name() == "aten::_fused_adamw_") Note("update");
  torch::jit::drop(*stack, given.size());
  std::vector<at::Tensor> resized;  // empty tensors for results, each with the CPU's after it
  for (std::size_t i = 0; i < given.size(); ++i) {
    const bool is_empty_result = schema.arguments()[i].is_out() && given[i].toTensor().numel() == 0;
    if (is_empty_result) {
      resized.push_back(given[i].toTensor());
      resized.push_back(at::empty({0}, resized.back().options().device(at::kCPU)));
      stack->push_back(resized.back());
    } else {
      stack->push_back(ArgumentOnCpu(given[i]));
    }
  }
  op.callBoxed(stack);
  for (std::size_t i = 0; i < resized.size(); i += 2) {
    const at::Tensor result = ResultHere(resized[i + 1]);
    resized[i].unsafeGetTensorImpl()->shallow_copy_from(result.getIntrusivePtr());
  }
  const auto results = torch::jit::pop(*stack, schema.returns().size());
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
      stack->push_back(ResultHere(results[i].toTensor()));
    } else if (results[i].isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& x : results[i].toTensorVector()) list.push_back(ResultHere(x));
      stack->push_back(list);
    } else {
      stack->push_back(results[i]);
    }
  }
}

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

std::vector<std::string> TakeFakeGpuLog() {
  const std::lock_guard lock(TheNotes().mutex);
  return std::exchange(TheNotes().log, {});
}

}  // namespace longrun::testing
