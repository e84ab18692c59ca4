#include "client/plots/colour_bar.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "client/plots/plot_letters.h"
#include "client/plots/viridis.h"

namespace longrun::client {
namespace {

constexpr double kWidth = 14.0;
constexpr double kGap = 20.0;

std::shared_ptr<const PixelImage> BarImage() {
  auto image = std::make_shared<PixelImage>();
  image->width = 1;
  image->height = kHeatColours;
  for (int i = 0; i < kHeatColours; ++i) {
    image->argb.push_back(0xff000000 | HeatColour(1.0 - i / (kHeatColours - 1.0)));
  }
  return image;
}

double WidestTick(const std::vector<double>& ticks) {
  double widest = 0.0;
  for (const double tick : ticks) widest = std::max(widest, TextWidth(TickText(tick), kTextSize));
  return widest;
}

}  // namespace

std::uint32_t HeatColour(double unit) {
  const double clamped = std::clamp(unit, 0.0, 1.0);
  return kViridis[static_cast<std::size_t>(std::lround(clamped * (kHeatColours - 1)))];
}

ColourBar::ColourBar(const PlotScale& scale, double height)
    : scale_(scale),
      height_(height),
      ticks_(Ticks(scale, std::clamp(static_cast<int>(height / 60), 2, 6))) {}

double ColourBar::Room() const { return kGap + kWidth + 8 + WidestTick(ticks_) + 10 + kTextSize; }

void ColourBar::Put(DrawPoint corner, const std::string& name, Drawing& drawing) const {
  const double left = corner.x + kGap, right = left + kWidth, bottom = corner.y + height_;
  drawing.marks.push_back({.kind = Mark::Kind::kImage,
                           .points = {{.x = left, .y = corner.y}, {.x = right, .y = bottom}},
                           .image = BarImage()});
  for (const double tick : ticks_) {
    const double y = bottom - scale_.Unit(tick) * height_;
    drawing.marks.push_back(
        {.ink = Ink::kAxis, .points = {{.x = right, .y = y}, {.x = right + 4, .y = y}}});
    drawing.marks.push_back(
        TextMark(TickText(tick), right + 8, y, Mark::Anchor::kStart, Ink::kText, kTextSize));
  }
  Mark title = TextMark(name, right + 8 + WidestTick(ticks_) + 6 + kTextSize / 2,
                        corner.y + height_ / 2, Mark::Anchor::kMiddle, Ink::kText, kTextSize);
  title.is_upright = false;
  drawing.marks.push_back(std::move(title));
}

}  // namespace longrun::client
