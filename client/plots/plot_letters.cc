#include "client/plots/plot_letters.h"

#include <utility>

#include "base/str.h"

namespace longrun::client {
namespace {

// The text is UTF-8; each letter is about as wide as the class it belongs to.
double LetterWidth(unsigned char c) {
  if ((c & 0xc0) == 0x80) return 0.0;  // continuation byte
  const std::string_view narrow = "iljtfrI.,:;|!'()[] ";
  if (narrow.find(static_cast<char>(c)) != std::string_view::npos) return 0.38;
  if (c == 'm' || c == 'w' || c == 'M' || c == 'W' || c == '@') return 0.98;
  return c >= 'A' && c <= 'Z' ? 0.7 : 0.62;
}

}  // namespace

double TextWidth(std::string_view text, double size) {
  double width = 0.0;
  for (const char c : text) width += LetterWidth(static_cast<unsigned char>(c));
  return width * size;
}

std::string Clipped(const std::string& text, double size, double width) {
  if (TextWidth(text, size) <= width) return text;
  std::string out;
  for (const char c : text) {
    const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && TextWidth(out, size) + size > width) break;
    out += c;
  }
  return out + "…";
}

std::vector<std::string> Wrapped(const std::string& text, double size, double width) {
  std::vector<std::string> lines;
  std::string line;
  for (const std::string& word : Split(text, ' ')) {
    const std::string longer = line.empty() ? word : Str(line, " ", word);
    if (!line.empty() && TextWidth(longer, size) > width) {
      lines.push_back(line);
      line = word;
    } else {
      line = longer;
    }
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

Mark TextMark(const std::string& text, double x, double y, Mark::Anchor anchor, Ink ink,
              double size) {
  return {.kind = Mark::Kind::kText,
          .ink = ink,
          .points = {{.x = x, .y = y}},
          .width = size,
          .anchor = anchor,
          .text = text};
}

double PutTitle(Drawing& drawing, const std::string& title,
                const std::vector<std::string>& subtitles) {
  const double room = drawing.width - 2 * kEdge;
  double y = kEdge + kTitleSize / 2;
  Mark mark = TextMark(Clipped(title, kTitleSize * 1.06, room), kEdge, y, Mark::Anchor::kStart,
                       Ink::kText, kTitleSize);
  mark.is_bold = true;
  drawing.marks.push_back(std::move(mark));
  for (const std::string& subtitle : subtitles) {
    for (const std::string& line : Wrapped(subtitle, kTextSize, room)) {
      y += kTextSize + 6;
      drawing.marks.push_back(
          TextMark(line, kEdge, y, Mark::Anchor::kStart, Ink::kFaintText, kTextSize));
    }
  }
  return y;
}

double PutNotes(Drawing& drawing, const std::vector<std::string>& notes) {
  std::vector<std::string> lines;
  for (const std::string& note : notes) {
    for (std::string& line : Wrapped(note, kNoteSize, drawing.width - 2 * kEdge)) {
      lines.push_back(std::move(line));
    }
  }
  double y = drawing.height - kEdge;
  for (std::size_t i = lines.size(); i > 0; --i) {
    drawing.marks.push_back(
        TextMark(lines[i - 1], kEdge, y, Mark::Anchor::kStart, Ink::kFaintText, kNoteSize));
    y -= kNoteSize + 4;
  }
  return y;
}

}  // namespace longrun::client
