// Records the work that is queued on a GPU, so that the host can queue it again with one call: a
// CUDA graph. The addresses and the numbers of the host in it are those of the recording.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"

namespace longrun {

class Recording {
 public:
  virtual ~Recording() = default;
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  // Queues the work again, on the current stream.
  virtual void Replay() = 0;

 protected:
  Recording() = default;
};

class Recorder {
 public:
  virtual ~Recorder() = default;
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  // Calls work(), which queues work on the current stream of the device and does not wait for it.
  // None of it is done before Replay. Tensors that it makes keep their memory as long as the
  // recording exists; all others that it reads or writes must be kept by the caller.
  // Throws what work() throws, and c10::Error if some of the work cannot be recorded.
  virtual std::unique_ptr<Recording> Record(const std::function<void()>& work) = 0;

 protected:
  Recorder() = default;
};

// The recorder of a GPU is in a module that is linked with LibTorch's CUDA half. It has this
// function, of the C linkage, and lets exceptions through.
inline constexpr char kCudaGraphsName[] = "liblongrun_cuda_graphs.so";
inline constexpr char kMakeRecorderSymbol[] = "LongrunMakeCudaRecorder";
using MakeRecorder = Recorder* (*)(int gpu);

// The device is a GPU. kFailedPrecondition if the module is not beside the program, or if it cannot
// be loaded.
Result<std::unique_ptr<Recorder>> OpenRecorder(const c10::Device& device);

}  // namespace longrun
