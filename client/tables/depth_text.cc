#include "client/tables/depth_text.h"

#include <charconv>
#include <set>

namespace longrun::client {
namespace {

constexpr int kDigitsMin = 2;
constexpr std::size_t kExactBytesMax = 5;  // "0.125"
constexpr int kDigitsMax = 17;             // of any double

std::string Rounded(double value, int digits) {
  char buffer[400];  // the largest double has 309 digits before the point
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, digits);
  return {buffer, end.ptr};
}

}  // namespace

std::map<double, std::string> DepthTexts(const std::vector<Json>& depths) {
  std::map<double, std::string> texts;
  for (const Json& depth : depths) {
    if (depth.is_number()) texts.emplace(depth.get<double>(), "");
  }
  for (int digits = kDigitsMin; digits <= kDigitsMax; ++digits) {
    std::set<std::string> different;
    for (auto& [depth, text] : texts) {
      text = CanonicalJson(depth);
      if (text.size() > kExactBytesMax) text = Rounded(depth, digits);
      different.insert(text);
    }
    if (different.size() == texts.size()) break;
  }
  return texts;
}

}  // namespace longrun::client
