// The progress of long work: on a terminal, one line that is redrawn; elsewhere a line every half
// minute, so that short work prints nothing.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "client/words/window.h"

namespace longrun::client {

class ProgressLine {
 public:
  ProgressLine() = default;
  ~ProgressLine();  // clears the line
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Show(const std::string& text);
  // Prints a line that stays above the progress line.
  void Tell(const std::string& text);

 private:
  void Clear();

  std::int64_t shown_ms_ = BootMs();
  bool drawn_ = false;
};

// What fits the terminal's line. A longer text would wrap, and each redrawing would leave a line
// behind; some terminals wrap as soon as the last column is written.
std::string FitLine(const std::string& text, const TerminalSize& window);

// "storing: 1.2 MB of 3.4 MB"
std::string BytesProgress(const std::string& what, std::int64_t done, std::int64_t of);

}  // namespace longrun::client
