// What a command says while its coordinator does not answer, and when one that follows a sweep
// gives up. Time is passed in, in milliseconds of BootMs().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace longrun::client {

// A connection that is lost or refused is tried again for so long before the user is told: a
// coordinator that is restarted is back by then.
inline constexpr std::int64_t kSilentMs = 2'000;
// What the user is told then, once. `cause`: why nobody answers.
std::string TryingAgainText(const std::string& cause, std::int64_t patience_ms);

// When a command that tries again says so.
class RetryNotice {
 public:
  // Called after each failed attempt. True once, two seconds after the first failure: now a line is
  // to be printed.
  bool IsDue(std::int64_t now_ms);
  // After progress: the next failure counts as the first one.
  void Reset() { *this = {}; }

 private:
  std::optional<std::int64_t> since_ms_;
  bool told_ = false;
};

// The same for a command that follows a sweep.
class Silence {
 public:
  // `folder`: the coordinator's state folder, or a context's folder.
  explicit Silence(std::string folder) : folder_(std::move(folder)) {}

  // The coordinator has answered. Returns a line to print if the user was told that it did not,
  // else "".
  std::string Heard();
  // The connection is lost, or was not made, for this reason, if one is known. A silence lasts from
  // the first time.
  void Lost(const std::string& cause, std::int64_t now_ms);
  // Called while nobody may be answering: returns a line to print once, after two seconds, else "".
  std::string Due(std::int64_t now_ms);

  bool IsTooLong(std::int64_t now_ms) const;
  // The error when it is; `go_on` is the command that continues.
  std::string GivenUpText(const std::string& go_on) const;

 private:
  std::string folder_;
  std::string cause_;
  std::int64_t since_ms_ = 0;
  bool is_silent_ = false;
  bool told_ = false;
};

}  // namespace longrun::client
