#include "model/net/out_of_memory.h"

#include <c10/util/Exception.h>

#include <new>

namespace longrun {

Status WithinMemory(const std::function<Status()>& body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    return Status(Code::kResourceExhausted, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return Status(Code::kResourceExhausted, "the host has too little memory");
  }
}

}  // namespace longrun
