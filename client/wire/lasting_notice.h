// Reports a lasting condition once, then once a minute, and reports its end. Time is passed in, in
// milliseconds of BootMs(); each function returns a line to print, or "".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace longrun::client {

class LastingNotice {
 public:
  // Called while the condition lasts. `about` identifies it, even if numbers in `text` change.
  std::string While(const std::string& about, const std::string& text, std::int64_t now_ms);
  // Returns `text` if something was reported since the last Over().
  std::string Over(const std::string& text);

 private:
  std::string about_;  // "": no condition
  std::int64_t said_ms_ = 0;
};

// Any number of lasting conditions, each identified by `about`.
class LastingNotices {
 public:
  struct Notice {
    std::string about, text;
    std::string over;  // printed when it is over
  };

  // Sets all current conditions; earlier ones that are not among them are over.
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

}  // namespace longrun::client
