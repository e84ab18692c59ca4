// What the sanitizers are told, in every program and test of a build with one: as the options stand
// in the program, a child with a small environment has them too.
extern "C" {

// Tests ask for an allocation beyond all memory, which is to be refused as it is
// without a sanitizer.
const char* __asan_default_options();
const char* __asan_default_options() { return "allocator_may_return_null=1"; }

// fontconfig, under cairo, keeps some bytes for the life of a process that drew text.
const char* __lsan_default_suppressions();
const char* __lsan_default_suppressions() { return "leak:libfontconfig\n"; }
const char* __lsan_default_options();
const char* __lsan_default_options() { return "print_suppressions=0"; }

// The thread sanitizer does not judge what Debian's gRPC does, as that library was not compiled for
// it. Every access of ours is judged, also in what gRPC calls and destroys: grpc_order.cc says how
// gRPC orders that, so that no report needs to be suppressed.
//
// A race ends the process, so that a test fails that waits for a daemon. Its report lies in a file,
// where `./dev soak tsan` also finds those of processes that a test kills, or whose output nobody
// reads. A daemon that ends does not wait for its threads (coordinator/server.cc): that is no race.
const char* __tsan_default_options();
const char* __tsan_default_options() {
  return "ignore_noninstrumented_modules=1:halt_on_error=1:report_thread_leaks=0:log_exe_name=1:"
         "log_path=" LONGRUN_RACES;
}

}  // extern "C"
