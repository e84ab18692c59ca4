#include "client/plots/drawing.h"

namespace longrun::client {

std::vector<DrawPoint> SymbolCorners(const Mark& mark) {
  const auto [x, y] = mark.points.front();
  const double r = mark.width;
  switch (mark.kind) {
    case Mark::Kind::kSquare:
      return {{x - r, y - r}, {x + r, y - r}, {x + r, y + r}, {x - r, y + r}};
    case Mark::Kind::kTriangle:
      return {{x, y - 1.3 * r}, {x + 1.2 * r, y + r}, {x - 1.2 * r, y + r}};
    default:
      return {{x, y - 1.4 * r}, {x + 1.4 * r, y}, {x, y + 1.4 * r}, {x - 1.4 * r, y}};
  }
}

}  // namespace longrun::client
