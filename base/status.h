// Errors from outside (input, file, network, disk, a peer) as values. A broken guarantee of our own
// code is not an error but a bug: LR_CHECK (base/check.h) stops the program.
//
//   Result<Run> ParseRun(const Json& json) {
//     ASSIGN_OR_RETURN(const Model model, ParseModel(json));   // passes an error up
//     if (model.n_layer <= 0) return Status(Code::kInvalidArgument, "n_layer must be positive");
//     return Run{.model = model};
//   }
//
// Context is added on the way up, outermost first: `std::move(status).In("reading shard 3")`.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"

namespace longrun {

// The canonical codes of gRPC, so that a Status crosses the wire unchanged.
enum class Code {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,  // invalid in any state of the system
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,   // disk, memory, quota, one of our limits
  kFailedPrecondition = 9,  // may be valid later, in another state
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,  // the same call may succeed when repeated
  kDataLoss = 15,     // a wrong checksum or a broken format
};

// "INVALID_ARGUMENT", ...
std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  // The message is made Printable (str.h), since it may quote any input.
  Status(Code code, std::string_view message);

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  // Puts "context: " in front of the message.
  Status In(std::string_view context) &&;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

// From errno: "cannot open /x/y: No such file or directory", with the matching code (kNotFound,
// kPermissionDenied, kResourceExhausted for a full disk, ...).
Status ErrnoStatus(int error_number, std::string_view what);

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}        // NOLINT: implicit by intent
  Result(Status status) : state_(std::move(status)) {  // NOLINT: implicit by intent
    LR_CHECK(!std::get<Status>(state_).ok());
  }

  bool ok() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return ok(); }

  const T& value() const& {
    LR_CHECK(ok());
    return std::get<T>(state_);
  }
  T& value() & {
    LR_CHECK(ok());
    return std::get<T>(state_);
  }
  T&& value() && {
    LR_CHECK(ok());
    return std::get<T>(std::move(state_));
  }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

  // The error; an ok Status if there is a value.
  Status status() const& { return ok() ? Status() : std::get<Status>(state_); }
  Status status() && { return ok() ? Status() : std::get<Status>(std::move(state_)); }

 private:
  std::variant<T, Status> state_;
};

#define RETURN_IF_ERROR(expression)                                      \
  do {                                                                   \
    if (::longrun::Status lr_status_ = (expression); !lr_status_.ok()) { \
      return lr_status_;                                                 \
    }                                                                    \
  } while (false)

#define LR_CONCAT_INNER(a, b) a##b
#define LR_CONCAT(a, b) LR_CONCAT_INNER(a, b)
#define ASSIGN_OR_RETURN(declaration, expression) \
  LR_ASSIGN_OR_RETURN(LR_CONCAT(lr_result_, __LINE__), declaration, expression)
#define LR_ASSIGN_OR_RETURN(result, declaration, expression) \
  auto result = (expression);                                \
  if (!result.ok()) return std::move(result).status();       \
  declaration = std::move(result).value()

}  // namespace longrun
