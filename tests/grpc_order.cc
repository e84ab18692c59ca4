// Tells the thread sanitizer how gRPC orders what it calls, in a build with that sanitizer.
//
// Debian's gRPC was not compiled for it, so that its locks are not seen: each callback would seem
// to run beside the call that asked for it. Some functions of gRPC and Abseil are therefore
// replaced by ones that call them, and say: what was done before an operation began is seen by
// whoever is told of its end, what was done before a closure was handed over is seen when it runs,
// what was done under a lock is seen by whoever has it next, and what a call's callbacks did is
// seen where the call is destroyed after the last of them. No other order is claimed, so that
// races between callbacks are found.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)

#include <dlfcn.h>
#include <grpc/grpc.h>

#include <cstddef>
#include <cstdint>

extern "C" {

void __tsan_acquire(void* address);
void __tsan_release(void* address);

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, std::size_t n_ops,
                                      void* tag, void* reserved);
grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline,
                                      void* reserved);

}  // extern "C"

namespace {

// grpc_closure of gRPC's src/core/lib/iomgr/closure.h. An absl::Status is passed by its address.
using RunClosure = void (*)(void* argument, void* status);
struct Closure {
  void* next;
  RunClosure run;
  void* argument;
};
struct Wrapped {
  Closure* closure;
  RunClosure run;
  void* argument;
};

// What the closure was, it is again when it runs, since gRPC uses some of them again and again. The
// order of gRPC's own accesses to closures is not known here: ours are not judged.
#define LR_NOT_JUDGED __attribute__((no_sanitize("thread")))

LR_NOT_JUDGED void RunWrapped(void* argument, void* status) {
  __tsan_acquire(argument);
  auto* const wrapped = static_cast<Wrapped*>(argument);
  const Wrapped closure = *wrapped;
  delete wrapped;
  closure.closure->run = closure.run;
  closure.closure->argument = closure.argument;
  closure.run(closure.argument, status);
}

// A tag may be any number.
bool IsAddress(const void* tag) { return reinterpret_cast<std::uintptr_t>(tag) >= 4096; }

// grpc_core::Executor::Run(grpc_closure*, absl::Status, ExecutorType, ExecutorJobType)
#define LR_EXECUTOR_RUN                                                            \
  "_ZN9grpc_core8Executor3RunEP12grpc_closureN4absl7debian36StatusENS_12ExecutorT" \
  "ypeENS_15ExecutorJobTypeE"
// absl::Mutex::Lock() and Unlock()
#define LR_MUTEX_LOCK "_ZN4absl7debian35Mutex4LockEv"
#define LR_MUTEX_UNLOCK "_ZN4absl7debian35Mutex6UnlockEv"
// grpc::internal::ServerCallbackCall::ScheduleOnDone(bool)
#define LR_SCHEDULE_ON_DONE "_ZN4grpc8internal18ServerCallbackCall14ScheduleOnDoneEb"

// Of ServerCallbackCall (grpcpp/support/server_callback.h): how many callbacks are outstanding.
// Before it are the pointer to the virtual functions, and another counter.
constexpr std::size_t kCallbacksOutstandingAt = sizeof(void*) + sizeof(int);

}  // namespace

extern "C" {

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, std::size_t n_ops,
                                      void* tag, void* reserved) {
  static const auto real =
      reinterpret_cast<decltype(&grpc_call_start_batch)>(dlsym(RTLD_NEXT, "grpc_call_start_batch"));
  if (IsAddress(tag)) __tsan_release(tag);
  return real(call, ops, n_ops, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline,
                                      void* reserved) {
  static const auto real = reinterpret_cast<decltype(&grpc_completion_queue_next)>(
      dlsym(RTLD_NEXT, "grpc_completion_queue_next"));
  const grpc_event event = real(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE && IsAddress(event.tag)) __tsan_acquire(event.tag);
  return event;
}

void LockMutex(void* mutex) asm(LR_MUTEX_LOCK);
void LockMutex(void* mutex) {
  static const auto real = reinterpret_cast<decltype(&LockMutex)>(dlsym(RTLD_NEXT, LR_MUTEX_LOCK));
  real(mutex);
  __tsan_acquire(mutex);
}

void UnlockMutex(void* mutex) asm(LR_MUTEX_UNLOCK);
void UnlockMutex(void* mutex) {
  static const auto real =
      reinterpret_cast<decltype(&UnlockMutex)>(dlsym(RTLD_NEXT, LR_MUTEX_UNLOCK));
  __tsan_release(mutex);
  real(mutex);
}

// Each callback of a call, when it has ended, counts down what is left of the call. Whoever counts
// to 0 comes here, and the call and its reactor are destroyed. The others count in our code, since
// gRPC's headers do, but for a call that was cancelled the last one may count in gRPC's: it is then
// not seen that it counted after them.
void ScheduleOnDone(char* call, bool is_inline) asm(LR_SCHEDULE_ON_DONE);
void ScheduleOnDone(char* call, bool is_inline) {
  static const auto real =
      reinterpret_cast<decltype(&ScheduleOnDone)>(dlsym(RTLD_NEXT, LR_SCHEDULE_ON_DONE));
  __tsan_acquire(call + kCallbacksOutstandingAt);
  real(call, is_inline);
}

void RunOnExecutor(Closure* closure, void* status, int type, int job) asm(LR_EXECUTOR_RUN);
LR_NOT_JUDGED void RunOnExecutor(Closure* closure, void* status, int type, int job) {
  static const auto real =
      reinterpret_cast<decltype(&RunOnExecutor)>(dlsym(RTLD_NEXT, LR_EXECUTOR_RUN));
  auto* const wrapped = new Wrapped{closure, closure->run, closure->argument};
  __tsan_release(wrapped);
  closure->run = &RunWrapped;
  closure->argument = wrapped;
  real(closure, status, type, job);
}

}  // extern "C"

#endif
#endif
