// Sizes and durations: exact decimal arithmetic, so that 1.5K is 1500 and 1.0001K is refused.
#include "base/units.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <span>

#include "base/letter_case.h"
#include "base/str.h"

namespace longrun {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor = 1;
};

constexpr Unit kCountUnits[] = {
    {"", 1},
    {"K", 1'000},
    {"M", 1'000'000},
    {"G", 1'000'000'000},
    {"B", 1'000'000'000},
    {"Ki", std::int64_t{1} << 10},
    {"Mi", std::int64_t{1} << 20},
    {"Gi", std::int64_t{1} << 30},
};
constexpr Unit kDurationUnits[] = {
    {"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"min", 60'000}, {"h", 3'600'000}, {"d", 86'400'000},
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// "<sign><digits>[.<digits>]<unit>" as number * factor; `kind` and `example` are for the message.
Result<std::int64_t> ParseWithUnit(std::string_view text, std::span<const Unit> units,
                                   std::string_view kind, std::string_view example) {
  const auto refuse = [&](std::string_view why) {
    return Status(Code::kInvalidArgument, Str("\"", ToUtf8(text), "\" is not a ", kind, ": ", why,
                                              " (for example ", example, ")"));
  };
  std::string_view rest = text;
  const bool is_negative = rest.starts_with('-');
  if (is_negative) rest.remove_prefix(1);
  const auto end_of_digits = [](std::string_view s) {
    return static_cast<std::size_t>(std::find_if_not(s.begin(), s.end(), IsDigit) - s.begin());
  };
  const std::size_t n_whole = end_of_digits(rest);
  if (n_whole == 0) return refuse("it must start with a digit");
  std::string digits(rest.substr(0, n_whole));
  rest.remove_prefix(n_whole);
  std::size_t n_fraction = 0;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    n_fraction = end_of_digits(rest);
    if (n_fraction == 0) return refuse("a digit must follow the point");
    digits += rest.substr(0, n_fraction);
    rest.remove_prefix(n_fraction);
  }
  const auto unit = std::ranges::find(units, rest, &Unit::name);
  if (unit == units.end()) {
    std::vector<std::string> names;
    for (const Unit& known : units) {
      if (!known.name.empty()) names.emplace_back(known.name);
    }
    return refuse(Str(rest.empty() ? "a unit is needed" : "unknown unit", ", use one of ",
                      Join(names, ", ")));
  }
  // Zeros at the end of the fraction have no meaning.
  for (; n_fraction > 0 && digits.back() == '0'; --n_fraction) digits.pop_back();

  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return refuse("it does not fit into 63 bits");
  }
  // Divides by the fraction's power of ten, prime by prime,
  // in the unit's factor or else in the number.
  std::int64_t factor = unit->factor;
  for (std::size_t i = 0; i < n_fraction; ++i) {
    for (const std::int64_t prime : {std::int64_t{2}, std::int64_t{5}}) {
      std::int64_t& part = factor % prime == 0 ? factor : value;
      if (part % prime != 0) return refuse("it is not a whole number");
      part /= prime;
    }
  }
  std::int64_t product = 0;
  if (__builtin_mul_overflow(value, factor, &product))
    return refuse("it does not fit into 63 bits");
  return is_negative ? -product : product;
}

// At most three significant digits, without trailing zeros after the point: "44.7", "200", "1.5".
std::string ThreeDigits(double value) {
  char text[64];
  const int n_behind = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  const auto end =
      std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, n_behind);
  std::string out(text, end.ptr);
  if (n_behind > 0) {
    while (out.back() == '0') out.pop_back();
    if (out.back() == '.') out.pop_back();
  }
  return out;
}

// `value` in the first unit in which it is below `step` after rounding to three digits.
std::string Scaled(std::int64_t value, double step, std::span<const std::string_view> units) {
  double scaled = std::abs(static_cast<double>(value));
  std::size_t unit = 0;
  while (unit + 1 < units.size() && scaled >= (unit == 0 ? step : step - 0.5)) {
    scaled /= step;
    ++unit;
  }
  return Str(value < 0 ? "-" : "", ThreeDigits(scaled), units[unit]);
}

}  // namespace

Result<std::int64_t> ParseCount(std::string_view text) {
  return ParseWithUnit(text, kCountUnits, "count", "200M, 64Ki, 1.5K or 4096");
}

std::string NearestCount(std::string_view text) {
  std::string plain(text);
  std::erase(plain, '_');
  if (ParseCount(plain).ok()) return plain;
  const std::size_t n_digits = std::min(plain.find_first_not_of("0123456789."), plain.size());
  const std::string unit = plain.substr(n_digits);
  const std::string lower = InSmallLetters(unit);
  for (const Unit& known : kCountUnits) {
    const std::string with_unit = Str(plain.substr(0, n_digits), known.name);
    if (lower == InSmallLetters(known.name) && ParseCount(with_unit).ok()) {
      return with_unit;
    }
  }
  // "200KB", "8KiB": a count is not in bytes. B without a prefix is a billion.
  const bool has_bytes = unit.size() > 1 && (unit.back() == 'B' || unit.back() == 'b');
  if (has_bytes) return NearestCount(plain.substr(0, plain.size() - 1));
  double number = 0;
  const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), number);
  constexpr double kExactMax = 9007199254740992.0;  // 2^53
  const bool is_count = error == std::errc() && end == plain.data() + plain.size() && number >= 0 &&
                        number <= kExactMax && number == std::floor(number);
  return is_count ? Str(static_cast<std::int64_t>(number)) : "";
}

std::string NearestBool(std::string_view text) {
  const std::string lower = InSmallLetters(text);
  if (lower == "true" || lower == "yes" || lower == "on") return "true";
  return lower == "false" || lower == "no" || lower == "off" ? "false" : "";
}

Result<std::int64_t> ParseDurationMs(std::string_view text) {
  return ParseWithUnit(text, kDurationUnits, "duration", "10min, 1.5h or 500ms");
}

std::function<std::string(const std::string&)> WholeNumberCheck(std::int64_t least) {
  return [least](const std::string& text) {
    // As CLI11 reads it afterwards: also with a plus, and 0x10.
    char* end = nullptr;
    errno = 0;
    const long long value = std::strtoll(text.c_str(), &end, 0);
    const bool is_number = !text.empty() && end == text.c_str() + text.size();
    if (is_number && errno == 0 && value >= least) return std::string();
    const bool is_too_large = is_number && errno == ERANGE && value > 0;
    return Str("expected a whole number",
               is_too_large ? Str(" from ", least, " to ", value) : Str(", ", least, " or more"),
               ", not \"", Printable(text), "\"");
  };
}

std::string FormatCount(std::int64_t count) {
  static constexpr std::string_view kUnits[] = {"", "K", "M", "G"};
  return Scaled(count, 1000, kUnits);
}

std::string FormatBytes(std::int64_t n_bytes) {
  static constexpr std::string_view kUnits[] = {" B", " KiB", " MiB", " GiB", " TiB"};
  return Scaled(n_bytes, 1024, kUnits);
}

std::string FormatDurationMs(std::int64_t ms) {
  if (ms < 0) {
    if (ms == std::numeric_limits<std::int64_t>::min()) ++ms;
    return Str("-", FormatDurationMs(-ms));
  }
  if (ms < 1000) return Str(ms, "ms");
  if (ms < 10'000) return Str(ms / 1000, ms / 100 % 10 == 0 ? "" : Str(".", ms / 100 % 10), "s");
  const std::int64_t s = ms / 1000;
  const auto two = [](std::int64_t big, std::string_view big_unit, std::int64_t small,
                      std::string_view small_unit) {
    if (small == 0) return Str(big, big_unit);
    return Str(big, big_unit, " ", small, small_unit);
  };
  if (s < 60) return Str(s, "s");
  if (s < 3600) return two(s / 60, "min", s % 60, "s");
  if (s < 86'400) return two(s / 3600, "h", s / 60 % 60, "min");
  return two(s / 86'400, "d", s / 3600 % 24, "h");
}

}  // namespace longrun
