#include "client/plots/plot_size.h"

#include <cstdio>

#include "base/str.h"

namespace longrun::client {
namespace {

constexpr int kPictureMax = 8000;
constexpr int kWidthExample = 800;
constexpr int kHeightExample = 480;

}  // namespace

Result<PlotSize> ReadPlotSize(const std::string& text, const PlotSize& smallest) {
  PlotSize size;
  if (text.empty()) return size;
  char rest = 0;
  const bool is_size =
      std::sscanf(text.c_str(), "%dx%d%c", &size.width, &size.height, &rest) == 2 &&
      size.width > 0 && size.height > 0 && size.width <= kPictureMax && size.height <= kPictureMax;
  if (!is_size) {
    return Status(Code::kInvalidArgument,
                  Str("--size \"", text, "\": expected WIDTHxHEIGHT, as in ", kWidthExample, "x",
                      kHeightExample, ", each at most ", kPictureMax));
  }
  if (size.width >= smallest.width && size.height >= smallest.height) return size;
  return Status(
      Code::kInvalidArgument,
      Str("--size ", text, ": nothing can be drawn in so little space; the smallest size is ",
          smallest.width, "x", smallest.height));
}

}  // namespace longrun::client
