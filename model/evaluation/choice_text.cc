#include "model/evaluation/choice_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "model/evaluation/case_table.h"

namespace longrun {
namespace {

bool Continues(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

// The number of bytes of the character that begins at `at`.
std::size_t CharacterBytes(std::string_view text, std::size_t at) {
  std::size_t end = at + 1;
  while (end < text.size() && Continues(text[end])) ++end;
  return end - at;
}

char32_t Decode(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character.front());
  if (character.size() == 1) return lead;
  char32_t point = lead & (0xffU >> (character.size() + 1));
  for (const char byte : character.substr(1)) {
    point = (point << 6) | (static_cast<unsigned char>(byte) & 0x3fU);
  }
  return point;
}

void Append(char32_t point, std::string& text) {
  const auto low = [&](unsigned shift) {
    text += static_cast<char>(0x80U | ((point >> shift) & 0x3fU));
  };
  if (point < 0x80) {
    text += static_cast<char>(point);
  } else if (point < 0x800) {
    text += static_cast<char>(0xc0U | (point >> 6));
    low(0);
  } else if (point < 0x10000) {
    text += static_cast<char>(0xe0U | (point >> 12));
    low(6);
    low(0);
  } else {
    text += static_cast<char>(0xf0U | (point >> 18));
    low(12);
    low(6);
    low(0);
  }
}

// str.isspace() of one character.
bool IsSpace(char32_t point) {
  constexpr std::array<std::pair<char32_t, char32_t>, 10> kSpaces = {{{0x09, 0x0d},
                                                                      {0x1c, 0x20},
                                                                      {0x85, 0x85},
                                                                      {0xa0, 0xa0},
                                                                      {0x1680, 0x1680},
                                                                      {0x2000, 0x200a},
                                                                      {0x2028, 0x2029},
                                                                      {0x202f, 0x202f},
                                                                      {0x205f, 0x205f},
                                                                      {0x3000, 0x3000}}};
  return std::ranges::any_of(kSpaces, [point](const auto& range) {
    return point >= range.first && point <= range.second;
  });
}

// Appends `point` in the other case to `out`: one character by a shift, or several.
void AppendInCase(char32_t point, std::span<const CaseShift> shifts,
                  std::span<const CaseText> texts, std::string& out) {
  const auto text = std::ranges::lower_bound(texts, point, {}, &CaseText::code);
  if (text != texts.end() && text->code == point) {
    out += text->text;
    return;
  }
  const auto shift = std::ranges::lower_bound(shifts, point, {}, &CaseShift::last);
  if (shift != shifts.end() && point >= shift->first && (point - shift->first) % shift->step == 0) {
    point = static_cast<char32_t>(static_cast<std::int32_t>(point) + shift->shift);
  }
  Append(point, out);
}

bool IsIn(std::span<const CaseRange> ranges, char32_t point) {
  const auto range = std::ranges::lower_bound(ranges, point, {}, &CaseRange::last);
  return range != ranges.end() && point >= range->first;
}

// Whether the first of these characters that is not case-ignorable is cased.
template <typename Iterator>
bool MeetsCased(Iterator begin, Iterator end) {
  const auto ignorable = [](char32_t point) { return IsIn(kCaseIgnorable, point); };
  const Iterator met = std::find_if_not(begin, end, ignorable);
  return met != end && IsIn(kCased, *met);
}

// Unicode's condition Final_Sigma.
bool EndsWord(std::span<const char32_t> points, std::size_t at) {
  const std::span<const char32_t> before = points.first(at), after = points.subspan(at + 1);
  return MeetsCased(before.rbegin(), before.rend()) && !MeetsCased(after.begin(), after.end());
}

// str.replace(what, with).
std::string Replaced(std::string_view text, std::string_view what, std::string_view with) {
  std::string out;
  out.reserve(text.size());
  std::size_t begin = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos;
       at = text.find(what, begin)) {
    out += text.substr(begin, at - begin);
    out += with;
    begin = at + what.size();
  }
  out += text.substr(begin);
  return out;
}

// re.sub(r"\[.*?\]", "", text): '.' does not match a line's end.
std::string WithoutBrackets(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (true) {
    const std::size_t open = text.find('[');
    out += text.substr(0, open);
    if (open == std::string_view::npos) return out;
    const std::size_t end = text.find_first_of("]\n", open);
    // If this bracket is not closed on its line, no other bracket before the line's end is.
    if (end == std::string_view::npos || text[end] != ']') out += text.substr(open, end - open);
    if (end == std::string_view::npos) return out;
    if (text[end] != ']') out += text[end];
    text = text.substr(end + 1);
  }
}

}  // namespace

std::int64_t CountCharacters(std::string_view text) {
  return std::ranges::count_if(text, [](char byte) { return !Continues(byte); });
}

std::string_view StripEndPython(std::string_view text) {
  while (!text.empty()) {
    std::size_t begin = text.size() - 1;
    while (begin > 0 && Continues(text[begin])) --begin;
    if (!IsSpace(Decode(text.substr(begin)))) break;
    text = text.substr(0, begin);
  }
  return text;
}

std::string_view StripPython(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n_bytes = CharacterBytes(text, 0);
    if (!IsSpace(Decode(text.substr(0, n_bytes)))) break;
    text = text.substr(n_bytes);
  }
  return StripEndPython(text);
}

std::string CapitalizePython(std::string_view text) {
  constexpr char32_t kCapitalSigma = 0x3a3, kFinalSigma = 0x3c2;
  std::vector<char32_t> points;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t n_bytes = CharacterBytes(text, at);
    points.push_back(Decode(text.substr(at, n_bytes)));
    at += n_bytes;
  }
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i == 0) {
      AppendInCase(points[i], kTitleShifts, kTitleTexts, out);
    } else if (points[i] == kCapitalSigma && EndsWord(points, i)) {
      Append(kFinalSigma, out);
    } else {
      AppendInCase(points[i], kLowerShifts, kLowerTexts, out);
    }
  }
  return out;
}

std::string PreprocessHellaSwag(std::string_view text) {
  const std::string with_stops = Replaced(StripPython(text), " [title]", ". ");
  return Replaced(WithoutBrackets(with_stops), "  ", " ");
}

}  // namespace longrun
