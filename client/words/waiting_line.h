// Says on a terminal what a command waits for, while a call of several seconds gives no other sign.
#pragma once

#include <atomic>
#include <string>
#include <thread>

namespace longrun::client {

// While this object lives, it writes a line on stderr after two seconds, and then every ten, with
// the time so far: "planning sweep.yaml: 10s". They are whole lines, since the call may have
// messages of its own. Prints nothing without a terminal.
class WaitingLine {
 public:
  explicit WaitingLine(std::string text);
  ~WaitingLine();
  WaitingLine(const WaitingLine&) = delete;
  WaitingLine& operator=(const WaitingLine&) = delete;

 private:
  void Tell() const;

  const std::string text_;
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

}  // namespace longrun::client
