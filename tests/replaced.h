// Changes a text, such as a sweep file, for a test.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace longrun {

// `text` with every `what` replaced; there must be one.
inline std::string Replaced(std::string text, std::string_view what, std::string_view with) {
  std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << "\"" << what << "\" is not in the text";
  for (; at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

}  // namespace longrun
