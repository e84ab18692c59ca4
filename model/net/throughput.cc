#include "model/net/throughput.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>

#include "base/check.h"
#include "base/random.h"
#include "base/str.h"
#include "model/net/gradient.h"
#include "model/net/head.h"
#include "model/net/out_of_memory.h"

namespace longrun {
namespace {

using Direction = ProbeShape::Direction;

// Any values will do: a step's time depends on its shape. Small, so that weights stay finite.
constexpr double kLearningRate = 1e-5;
constexpr std::uint64_t kTokenSeed = 1;

at::Tensor RandomIds(std::int64_t batch, std::int64_t n, std::int64_t vocab_size) {
  SeededRandom random(kTokenSeed);
  at::Tensor ids = at::empty({batch, n}, at::kLong);
  std::int64_t* const id = ids.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < batch * n; ++i) {
    id[i] = static_cast<std::int64_t>(random.Below(static_cast<std::uint64_t>(vocab_size)));
  }
  return ids;
}

Result<std::unique_ptr<Net>> CopyOf(const Net& source, Precision precision) {
  Compute compute = source.compute();
  // A training step is measured as a new run computes it; the source is that of an evaluation.
  compute.head_chunks = HeadChunksFor(source.config().model, compute.device_kind());
  switch (precision) {
    case Precision::kFp32:
      break;
    case Precision::kBf16:
      compute.product = c10::ScalarType::BFloat16;
      break;
    case Precision::kFp16:
      LR_CHECK(false);  // not among kTrainedPrecisions
  }
  ParameterMap parameters;
  for (const auto& [name, tensor] : source.parameters()) {
    parameters[name] = tensor.detach().clone();
  }
  return MakeNet(source.config(), std::move(parameters), source.backend(), compute);
}

}  // namespace

NetThroughput::NetThroughput(const Net& net) : source_(net), meter_(net.compute().device) {}

void NetThroughput::WaitForDevice() const {
  const c10::Device device = source_.compute().device;
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

Status NetThroughput::Prepare(const ProbeShape& shape) {
  Release();
  before_bytes_ = meter_.AllocatedBytes();
  meter_.ResetPeak();
  return WithinMemory([&] { return Begin(shape); });
}

Status NetThroughput::Begin(const ProbeShape& shape) {
  shape_ = shape;
  const std::int64_t length = shape.context_length;
  const bool trains = shape.direction == Direction::kTrainStep;
  RETURN_IF_ERROR(source_.CheckLength(length));
  if (trains) RETURN_IF_ERROR(source_.CheckGradients());
  ASSIGN_OR_RETURN(net_, CopyOf(source_, shape.precision));
  const std::int64_t n_ids = trains ? length + 1 : length;
  ids_BT_ =
      RandomIds(shape.batch, n_ids, source_.config().model.vocab_size).to(source_.compute().device);
  if (trains) {
    net_->KeepWeightCopies();
    optimizer_.emplace(OptimizerConfig(), *net_);
  } else if (shape.direction == Direction::kGenerate) {
    ASSIGN_OR_RETURN(Decoder decoder, Decoder::Make(*net_, shape.batch, length + shape.new_tokens));
    decoder_.emplace(std::move(decoder));
    // No step then pays for the growth of the cache.
    decoder_->Reserve();
    ids_BT_ = at::argmax(decoder_->Feed(ids_BT_), 1, true);
  }
  WaitForDevice();
  return {};
}

void NetThroughput::TrainStep() {
  const std::int64_t length = shape_.context_length;
  ClearGradients(*net_);
  AddGradients(*net_, ids_BT_.narrow(1, 0, length), ids_BT_.narrow(1, 1, length),
               1.0 / static_cast<double>(shape_.batch * length));
  optimizer_->Step(kLearningRate, optimizer_->ClipGradients());
}

void NetThroughput::Carry() {
  switch (shape_.direction) {
    case Direction::kTrainStep:
      return TrainStep();
    case Direction::kForward: {
      const at::NoGradGuard no_grad;
      const at::Tensor hidden_BTC = net_->Hidden(ids_BT_);
      HeadLogits(hidden_BTC.select(1, hidden_BTC.size(1) - 1), net_->head(), net_->compute());
      return;
    }
    case Direction::kGenerate:
      ids_BT_ = at::argmax(decoder_->Feed(ids_BT_), 1, true);
      return;
  }
  LR_CHECK(false);
}

Result<double> NetThroughput::Step() {
  LR_CHECK(net_ != nullptr);
  const auto begin = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(WithinMemory([&]() -> Status {
    Carry();
    WaitForDevice();
    return {};
  }));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void NetThroughput::ResetPeak() { meter_.ResetPeak(); }

PeakMemory NetThroughput::Peak() {
  return {.allocated_bytes = meter_.PeakAllocatedBytes() - before_bytes_,
          .reserved_bytes = meter_.PeakReservedBytes(),
          .source = meter_.source()};
}

void NetThroughput::Release() {
  decoder_.reset();
  optimizer_.reset();
  net_.reset();
  ids_BT_.reset();
  meter_.Trim();
}

}  // namespace longrun
