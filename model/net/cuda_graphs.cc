// A module beside the trainer: recorder.h by the CUDA graphs of LibTorch. It is the only source
// that includes headers of LibTorch's CUDA half, which the trainer loads before it loads this.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "model/net/recorder.h"

namespace longrun {
namespace {

class Graph final : public Recording {
 public:
  at::cuda::CUDAGraph& graph() { return graph_; }
  void Replay() override { graph_.replay(); }

 private:
  at::cuda::CUDAGraph graph_;
};

class CudaRecorder final : public Recorder {
 public:
  explicit CudaRecorder(c10::DeviceIndex gpu)
      : device_(c10::DeviceType::CUDA, gpu), stream_(c10::cuda::getStreamFromPool(false, gpu)) {}

  // The default stream cannot be recorded. What was queued on it comes before a replay, since that
  // is queued on it too; but the recording itself may allocate memory that it still uses.
  std::unique_ptr<Recording> Record(const std::function<void()>& work) override {
    const c10::cuda::CUDAGuard device(device_);
    c10::Event before(device_.type());
    before.record(c10::cuda::getCurrentCUDAStream(device_.index()).unwrap());
    before.block(stream_.unwrap());
    // The recording takes its memory from the GPU, and gets none that is kept for other work.
    c10::cuda::CUDACachingAllocator::emptyCache();
    auto recording = std::make_unique<Graph>();
    const c10::cuda::CUDAStreamGuard stream(stream_);
    recording->graph().capture_begin();
    try {
      work();
    } catch (...) {
      Abandon(recording->graph());
      throw;
    }
    recording->graph().capture_end();
    return recording;
  }

 private:
  // The stream must leave the mode in which it records. Work that was cut off makes no graph, which
  // is no error of its own.
  static void Abandon(at::cuda::CUDAGraph& graph) {
    try {
      graph.capture_end();
    } catch (const c10::Error&) {
    }
  }

  c10::Device device_;
  c10::cuda::CUDAStream stream_;
};

}  // namespace
}  // namespace longrun

extern "C" longrun::Recorder* LongrunMakeCudaRecorder(int gpu) {
  return new longrun::CudaRecorder(static_cast<c10::DeviceIndex>(gpu));
}
