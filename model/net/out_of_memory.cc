#include "model/net/out_of_memory.h"

#include <c10/util/Exception.h>

#include <new>
#include <string>
#include <string_view>

namespace longrun {

Status WithinMemory(const std::function<Status()>& body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    return Status(Code::kResourceExhausted, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    // LibTorch's CPU allocator throws a plain c10::Error.
    const std::string_view what = error.what_without_backtrace();
    if (what.find("DefaultCPUAllocator") == std::string_view::npos) throw;
    return Status(Code::kResourceExhausted, std::string(what));
  } catch (const std::bad_alloc&) {
    return Status(Code::kResourceExhausted, "the host has too little memory");
  }
}

}  // namespace longrun
