// A device that stands in for a GPU, in the host's memory: LibTorch's operators compute on it with
// the CPU's kernels, and it notes whatever would make the host of a GPU wait. Its numbers arrive on
// the host as late as a GPU's may: when the host waits for them.
#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "model/net/recorder.h"

namespace longrun::testing {

// Can be used from now on; it stays the process's only accelerator.
c10::Device FakeGpu();

// What has happened on the device since the last call, in order:
//   "wait: NAME"  NAME made the host wait for all work that was queued before: an operator whose
//                 result the host needs, or a copy that blocks or is not from or to pinned memory
//   "any order: NAME"  an operator whose sums have other bits each time on a GPU
//   "read"        the host waited for an event, after which copies to the host have arrived
//   "update"      a call of the fused optimizer was queued
//   "record"      work was recorded
//   "replay"      a recording was queued
//   "race: NAME"  NAME uses memory that another stream may still be using, as may the owner of
//                 memory that is given back. New memory may still be used by whatever was queued
//                 before on the stream that it was allocated for
//   "recorded copy from the host"  a replay would read memory that the host may have changed
//   "freed under a recording"      memory that a recording reads or writes, and did not make itself
std::vector<std::string> TakeFakeGpuLog();

// How early the copies from the host are that have been queued on the stream beside the main one
// since the last call: of the uses of memory that were queued on the main stream before, the number
// that each need not wait for.
std::vector<std::size_t> TakeFakeGpuLeads();

// From now on memory of the device and pinned memory can be allocated only until so many bytes more
// are in use than now.
struct FakeGpuRoom {
  std::size_t of_device = std::numeric_limits<std::size_t>::max();
  std::size_t pinned = std::numeric_limits<std::size_t>::max();
  int pin_error = 2;  // CUDA's, where no more can be pinned: cudaErrorMemoryAllocation
};
void SetFakeGpuRoom(const FakeGpuRoom& room);
// The most bytes in use on the device since the last call.
std::size_t TakeFakeGpuPeak();

// Records operators of LibTorch. As on a GPU, what it records does nothing before a replay: memory
// that is made meanwhile then holds NaN, other memory what it held before.
std::unique_ptr<Recorder> FakeGpuRecorder();

}  // namespace longrun::testing
