// Times a network (model/throughput_probe.h). Each direction works on a copy of the weights, so
// that timing a train step leaves the model unchanged.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "model/net/adamw.h"
#include "model/net/decoder.h"
#include "model/net/memory_meter.h"
#include "model/net/net.h"
#include "model/throughput_probe.h"

namespace longrun {

class NetThroughput final : public ThroughputProbe {
 public:
  // The network must outlive this.
  explicit NetThroughput(const Net& net);

  Status Prepare(const ProbeShape& shape) override;
  Result<double> Step() override;
  void ResetPeak() override;
  PeakMemory Peak() override;
  void Release() override;

 private:
  Status Begin(const ProbeShape& shape);
  void Carry();  // one step
  void TrainStep();
  void WaitForDevice() const;

  const Net& source_;
  MemoryMeter meter_;
  std::int64_t before_bytes_ = 0;  // allocated before Prepare
  ProbeShape shape_;
  std::unique_ptr<Net> net_;
  std::optional<AdamW> optimizer_;
  std::optional<Decoder> decoder_;
  at::Tensor ids_BT_;  // random; when generating, the last token written
};

}  // namespace longrun
