#include "model/extension/score_noise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/random.h"

namespace longrun {
namespace {

constexpr std::size_t kWords = 4;
using Four = std::array<double, kWords>;

// In (0, 1): the logarithm of either end is finite.
double Unit(std::uint32_t word) { return (static_cast<double>(word) + 0.5) * 0x1p-32; }

Four Uniforms(const ReadingNoise& noise, const NoiseRow& row, std::size_t block) {
  const std::array<std::uint32_t, kWords> words = Philox4x32(
      {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(row.i),
       static_cast<std::uint32_t>(row.head), static_cast<std::uint32_t>(row.layer)},
      {static_cast<std::uint32_t>(noise.seed), static_cast<std::uint32_t>(noise.seed >> 32)});
  Four units = {};
  std::ranges::transform(words, units.begin(), Unit);
  return units;
}

void MakeNormal(Four& units) {
  for (std::size_t k = 0; k < kWords; k += 2) {
    const double radius = std::sqrt(-2.0 * std::log(units[k]));
    const double angle = 2.0 * std::numbers::pi * units[k + 1];
    units[k] = radius * std::cos(angle);
    units[k + 1] = radius * std::sin(angle);
  }
}

}  // namespace

void DrawNoise(const ReadingNoise& noise, const NoiseRow& row, std::span<double> of_keys) {
  for (std::size_t j = 0; j < of_keys.size(); j += kWords) {
    Four drawn = Uniforms(noise, row, j / kWords);
    if (noise.kind == ReadingNoise::Kind::kGaussian) MakeNormal(drawn);
    std::copy_n(drawn.begin(), std::min(kWords, of_keys.size() - j),
                of_keys.begin() + static_cast<std::ptrdiff_t>(j));
  }
}

}  // namespace longrun
