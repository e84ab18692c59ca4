// What a command that follows a sweep says while its coordinator does not answer, and when it gives
// up. Time is passed in, in milliseconds of BootMs().
#pragma once

#include <cstdint>
#include <string>

namespace longrun::client {

// What a user reads once if the coordinator does not answer at first.
std::string TryingAgainText(const std::string& folder, std::int64_t patience_ms);

class Silence {
 public:
  // `folder`: the coordinator's state folder, or a context's folder.
  Silence(std::string folder, std::int64_t now_ms)
      : folder_(std::move(folder)), since_ms_(now_ms) {}

  // The coordinator has answered. Returns a line to print if the user was told that it did not,
  // else "".
  std::string Heard();
  // The connection is lost, or was not made. A silence lasts from the first time.
  void Lost(std::int64_t now_ms);
  // Called while nobody may be answering: returns a line to print once, after two seconds, else "".
  std::string Due(std::int64_t now_ms);

  bool IsTooLong(std::int64_t now_ms) const;
  // The error when it is; `go_on` is the command that continues.
  std::string GivenUpText(const std::string& go_on) const;

 private:
  std::string folder_;
  std::int64_t since_ms_;
  bool is_silent_ = true;
  bool told_ = false;
};

}  // namespace longrun::client
