// What a program does with a GPU, recorded by CUPTI without a change to the program:
//
//   CUDA_INJECTION64_PATH=liblongrun_gpu_timeline.so LONGRUN_GPU_TIMELINE=FILE program ...
//
// CUDA loads the library and calls InitializeInjection. FILE gets a line for each kernel, copy,
// fill and call of the runtime, with tabs between its fields:
//
//   kernel|copy|fill|call  begin_ns  end_ns  name
//
// tools/gpu_timeline.py reads it. Recording makes each call some microseconds longer, so a program
// whose host is the slower part looks slower than it is.
#include <cupti.h>
#include <cxxabi.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>

namespace longrun {
namespace {

class Timeline {
 public:
  explicit Timeline(const std::string& path) : file_(std::fopen(path.c_str(), "w")) {}
  bool is_open() const { return file_ != nullptr; }

  void Write(const char* kind, std::uint64_t begin, std::uint64_t end, const std::string& name) {
    const std::scoped_lock lock(mutex_);
    if (file_ == nullptr) return;
    std::fprintf(file_, "%s\t%llu\t%llu\t%s\n", kind, static_cast<unsigned long long>(begin),
                 static_cast<unsigned long long>(end), name.c_str());
  }
  void Close() {
    const std::scoped_lock lock(mutex_);
    if (file_ != nullptr) std::fclose(file_);
    file_ = nullptr;
  }

 private:
  std::mutex mutex_;
  std::FILE* file_;
};

Timeline* timeline = nullptr;  // lives until the program ends

void Check(CUptiResult result, const char* what) {
  if (result == CUPTI_SUCCESS) return;
  const char* message = nullptr;
  cuptiGetResultString(result, &message);
  std::fprintf(stderr, "gpu timeline: %s: %s\n", what, message == nullptr ? "?" : message);
  std::exit(1);
}

std::string Demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> demangled(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  std::string text = status == 0 ? demangled.get() : name;
  std::ranges::replace(text, '\t', ' ');
  return text;
}

void Write(const CUpti_Activity* record) {
  switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
      const auto* const kernel = reinterpret_cast<const CUpti_ActivityKernel10*>(record);
      timeline->Write("kernel", kernel->start, kernel->end, Demangled(kernel->name));
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
      const auto* const copy = reinterpret_cast<const CUpti_ActivityMemcpy6*>(record);
      const bool to_gpu = copy->copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_HTOD;
      const bool to_host = copy->copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_DTOH;
      timeline->Write("copy", copy->start, copy->end,
                      to_gpu    ? "host to GPU"
                      : to_host ? "GPU to host"
                                : "other");
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMSET: {
      const auto* const fill = reinterpret_cast<const CUpti_ActivityMemset4*>(record);
      timeline->Write("fill", fill->start, fill->end, "fill");
      break;
    }
    case CUPTI_ACTIVITY_KIND_RUNTIME: {
      const auto* const call = reinterpret_cast<const CUpti_ActivityAPI*>(record);
      const char* name = nullptr;
      cuptiGetCallbackName(CUPTI_CB_DOMAIN_RUNTIME_API, call->cbid, &name);
      timeline->Write("call", call->start, call->end, name == nullptr ? "?" : name);
      break;
    }
    default:
      break;
  }
}

void CUPTIAPI GiveBuffer(std::uint8_t** buffer, std::size_t* n_byte, std::size_t* n_record_max) {
  *n_byte = 8U << 20;
  *n_record_max = 0;  // as many as fit
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, *n_byte));
}
void CUPTIAPI TakeBuffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t,
                         std::size_t n_valid) {
  CUpti_Activity* record = nullptr;
  while (n_valid > 0 && cuptiActivityGetNextRecord(buffer, n_valid, &record) == CUPTI_SUCCESS) {
    Write(record);
  }
  std::free(buffer);
}

// The process is ending: all that it can do about an error is to say it, and to leave no timeline
// that seems whole.
void Finish() {
  std::size_t n_dropped = 0;
  const bool is_whole =
      cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED) == CUPTI_SUCCESS &&
      cuptiActivityGetNumDroppedRecords(nullptr, 0, &n_dropped) == CUPTI_SUCCESS && n_dropped == 0;
  if (!is_whole) {
    std::fprintf(stderr, "gpu timeline: records are missing (%zu dropped)\n", n_dropped);
    timeline->Write("missing", 0, 0, "");
  }
  timeline->Close();
}

}  // namespace
}  // namespace longrun

// 1: the program goes on with it.
extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
  using namespace longrun;
  const char* const given = std::getenv("LONGRUN_GPU_TIMELINE");
  const std::string path = given == nullptr ? "" : given;
  static Timeline of_program(path);
  timeline = &of_program;
  if (!timeline->is_open()) {
    std::fprintf(stderr, "gpu timeline: cannot write LONGRUN_GPU_TIMELINE=%s\n", path.c_str());
    std::exit(1);
  }
  Check(cuptiActivityRegisterCallbacks(GiveBuffer, TakeBuffer), "callbacks");
  for (const CUpti_ActivityKind kind :
       {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY,
        CUPTI_ACTIVITY_KIND_MEMSET, CUPTI_ACTIVITY_KIND_RUNTIME}) {
    Check(cuptiActivityEnable(kind), "activities");
  }
  std::atexit(Finish);
  return 1;
}
