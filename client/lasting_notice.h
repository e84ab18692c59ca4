// What lasts is said once, then once a minute, and that it is over. Time comes in, in milliseconds of
// BootMs(); a line is given to be printed, or "".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace longrun {

class LastingNotice {
 public:
  // As long as it lasts; `about` tells one thing from another, whatever numbers stand in the text.
  std::string While(const std::string& about, const std::string& text, std::int64_t now_ms);
  // `text` when something was said since the last Over().
  std::string Over(const std::string& text);

 private:
  std::string about_;  // "": nothing is the matter
  std::int64_t said_ms_ = 0;
};

// Any number of them, each under what it is about.
class LastingNotices {
 public:
  struct Notice {
    std::string about, text;
    std::string over;  // what is said when it is over
  };

  // All that lasts now; what is not among them any more is over.
  void Set(std::vector<Notice> notices);
  std::vector<std::string> Due(std::int64_t now_ms);

 private:
  struct Known {
    Notice notice;
    LastingNotice said;
    bool lasts = true;
  };
  std::map<std::string, Known> known_;  // by `about`
};

}  // namespace longrun
