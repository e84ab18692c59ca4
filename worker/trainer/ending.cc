#include "worker/trainer/ending.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/shortage.h"
#include "base/str.h"

namespace longrun::trainer {
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
    return EndingOf(Status(Code::kInternal, Str("LibTorch: ", error.what_without_backtrace())));
  } catch (const std::bad_alloc&) {
    return OutOfMemory("the host has no more");
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) {
      return EndingOf(Status(Code::kInternal, error.what()));
    }
    return {.status = Status(Code::kResourceExhausted, kOutOfThreads),
            .failure_class = FailureClass::kLimit};
  } catch (const std::exception& error) {
    return EndingOf(Status(Code::kInternal, error.what()));
  }
}

}  // namespace longrun::trainer
