// Says on a terminal what a command waits for, while a call of several seconds gives no other sign.
#pragma once

#include <atomic>
#include <string>
#include <thread>

namespace longrun::client {

// While this object lives, a line on stderr is redrawn from the second second on, with the time so
// far: "planning sweep.yaml: 12s". Prints nothing without a terminal.
class WaitingLine {
 public:
  explicit WaitingLine(std::string text);
  ~WaitingLine();  // clears the line
  WaitingLine(const WaitingLine&) = delete;
  WaitingLine& operator=(const WaitingLine&) = delete;

 private:
  void Redraw() const;

  const std::string text_;
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

}  // namespace longrun::client
