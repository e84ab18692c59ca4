#include "client/words/waiting_line.h"

#include <poll.h>

#include <cstdint>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/units.h"
#include "client/words/progress_line.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kSilentMs = 2'000;
constexpr int kPauseMs = 20;

}  // namespace

WaitingLine::WaitingLine(std::string text) : text_(std::move(text)) {
  if (OnTerminal()) thread_ = StartThread([this] { Redraw(); });
}

WaitingLine::~WaitingLine() {
  is_over_ = true;
  if (thread_.joinable()) thread_.join();
}

void WaitingLine::Redraw() const {
  ProgressLine line;
  const std::int64_t begin_ms = BootMs();
  while (!is_over_) {
    poll(nullptr, 0, kPauseMs);
    const std::int64_t so_far_ms = BootMs() - begin_ms;
    if (so_far_ms < kSilentMs) continue;
    line.Show(Str(text_, ": ", FormatDurationMs(so_far_ms / 1000 * 1000)));
  }
}

}  // namespace longrun::client
