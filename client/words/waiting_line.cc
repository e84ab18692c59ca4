#include "client/words/waiting_line.h"

#include <poll.h>

#include <cstdint>
#include <utility>

#include "base/clock.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/units.h"
#include "client/console/output.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kFirstMs = 2'000, kThenMs = 10'000;
constexpr int kPauseMs = 20;

}  // namespace

WaitingLine::WaitingLine(std::string text) : text_(std::move(text)) {
  if (OnTerminal()) thread_ = StartThread([this] { Tell(); });
}

WaitingLine::~WaitingLine() {
  is_over_ = true;
  if (thread_.joinable()) thread_.join();
}

void WaitingLine::Tell() const {
  const std::int64_t begin_ms = BootMs();
  std::int64_t next_ms = kFirstMs;
  while (!is_over_) {
    poll(nullptr, 0, kPauseMs);
    const std::int64_t so_far_ms = BootMs() - begin_ms;
    if (so_far_ms < next_ms) continue;
    SayLine(Str(text_, ": ", FormatDurationMs(so_far_ms / 1000 * 1000)));
    next_ms = so_far_ms / kThenMs * kThenMs + kThenMs;
  }
}

}  // namespace longrun::client
