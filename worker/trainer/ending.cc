#include "worker/trainer/ending.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/shortage.h"
#include "base/str.h"

namespace longrun {
namespace {

FailureClass ClassOf(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
    case Code::kFailedPrecondition:
    case Code::kUnimplemented:
    case Code::kAlreadyExists:
      return FailureClass::kInvalid;
    case Code::kNotFound:
    case Code::kDataLoss:
      return FailureClass::kData;
    case Code::kResourceExhausted:
    case Code::kPermissionDenied:
    case Code::kUnavailable:
      return FailureClass::kStorage;
    case Code::kAborted:
      return FailureClass::kNumerical;
    case Code::kCancelled:
      return FailureClass::kPreempted;
    case Code::kOk:
    case Code::kUnknown:
    case Code::kDeadlineExceeded:
    case Code::kInternal:
      return FailureClass::kCrashed;
  }
  return FailureClass::kCrashed;
}

Ending OutOfMemory(std::string_view what) {
  return {.status = Status(Code::kResourceExhausted, Str("out of memory: ", what)),
          .failure_class = FailureClass::kOutOfMemory};
}

std::terminate_handler g_terminate_before = nullptr;

// What is thrown on a thread of LibTorch's, or where nothing may be thrown, comes to no handler.
[[noreturn]] void EndWithoutMemory() {
  if (const std::exception_ptr thrown = std::current_exception()) {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::bad_alloc&) {
      // By a plain write, which asks for no memory; where it fails there is nobody to tell.
      constexpr std::string_view kWords = "longrun-trainer: out of memory: the host has no more\n";
      static_cast<void>(write(STDERR_FILENO, kWords.data(), kWords.size()) < 0);
      _exit(FailureOf(FailureClass::kOutOfMemory).exit_code);
    } catch (...) {
      g_terminate_before();  // as without us
    }
  }
  g_terminate_before();
  std::abort();
}

}  // namespace

int Ending::ExitCode() const { return status.ok() ? 0 : FailureOf(failure_class).exit_code; }

Ending EndingOf(Status status) {
  const std::optional<Shortage> shortage = ShortageOf(status);
  const FailureClass failure_class = shortage ? ClassOfShortage(*shortage) : ClassOf(status.code());
  return {.status = std::move(status), .failure_class = failure_class, .others = {}};
}

Ending EndingOf(const ErrorList& errors) {
  Ending ending = EndingOf(errors.First());
  ending.others.assign(errors.all().begin() + 1, errors.all().end());
  return ending;
}

Ending RunGuarded(const std::function<Status()>& body) {
  return EndGuarded([&] { return EndingOf(body()); });
}

Ending EndGuarded(const std::function<Ending()>& body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    return OutOfMemory(error.what_without_backtrace());
  } catch (const c10::NotImplementedError& error) {
    return EndingOf(Status(Code::kUnimplemented, error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    const std::string_view what = error.what_without_backtrace();
    // The allocator of the host throws a plain error.
    if (what.find("DefaultCPUAllocator") != std::string_view::npos) return OutOfMemory(what);
    return EndingOf(Status(Code::kInternal, Str("LibTorch: ", what)));
  } catch (const std::bad_alloc&) {
    return OutOfMemory("the host has no more");
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) {
      return EndingOf(Status(Code::kInternal, error.what()));
    }
    return {.status = Status(Code::kResourceExhausted,
                             "no thread can be started: the limit on processes (`ulimit -u`) or on "
                             "memory (`ulimit -v`) is reached"),
            .failure_class = FailureClass::kLimit};
  } catch (const std::exception& error) {
    return EndingOf(Status(Code::kInternal, error.what()));
  }
}

void EndByClassWithoutMemory() { g_terminate_before = std::set_terminate(&EndWithoutMemory); }

}  // namespace longrun
