// See lasting_notice.h.
#include "client/wire/lasting_notice.h"

#include <utility>

namespace longrun::client {
namespace {

constexpr std::int64_t kAgainMs = 60'000;

}  // namespace

std::string LastingNotice::While(const std::string& about, const std::string& text,
                                 std::int64_t now_ms) {
  if (about == about_ && now_ms - said_ms_ < kAgainMs) return "";
  about_ = about;
  said_ms_ = now_ms;
  return text;
}

std::string LastingNotice::Over(const std::string& text) {
  return std::exchange(about_, "").empty() ? "" : text;
}

void LastingNotices::Set(std::vector<Notice> notices) {
  for (auto& [about, known] : known_) known.lasts = false;
  for (Notice& notice : notices) {
    Known& known = known_[notice.about];
    known.lasts = true;
    known.notice = std::move(notice);
  }
}

std::vector<std::string> LastingNotices::Due(std::int64_t now_ms) {
  std::vector<std::string> lines;
  const auto add = [&lines](std::string line) {
    if (!line.empty()) lines.push_back(std::move(line));
  };
  for (auto it = known_.begin(); it != known_.end();) {
    Known& known = it->second;
    if (known.lasts) {
      add(known.said.While(it->first, known.notice.text, now_ms));
      ++it;
    } else {
      add(known.said.Over(known.notice.over));
      it = known_.erase(it);
    }
  }
  return lines;
}

}  // namespace longrun::client
