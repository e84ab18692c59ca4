#include "model/data/masking.h"

#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace longrun {
namespace {

// Separates the key from that of the weights (model/net/parameters.cc), which is the seed itself.
constexpr std::uint64_t kMaskingKey = 0x6d61736b696e6721;  // "masking!"

}  // namespace

Masking::Masking(const MaskConfig& config, std::uint64_t seed, MaskStream stream,
                 std::vector<std::int32_t> random_ids)
    : config_(config), seed_(seed), stream_(stream), random_ids_(std::move(random_ids)) {
  LR_CHECK(!random_ids_.empty());
}

Masking::Draw Masking::At(std::int64_t g, std::int64_t t) const {
  LR_CHECK(g >= 0 && t >= 0 && t >> 32 == 0);
  const auto words =
      Philox4x32(static_cast<std::uint64_t>(t) | static_cast<std::uint64_t>(stream_) << 32,
                 static_cast<std::uint64_t>(g), seed_ ^ kMaskingKey);
  constexpr double kScale = 0x1p-32;
  return {.chosen = (static_cast<double>(words[0]) + 0.5) * kScale,
          .kind = static_cast<double>(words[1]) * kScale,
          .word = words[2]};
}

std::vector<std::int64_t> Masking::Positions(std::int64_t g, std::int64_t n) const {
  std::vector<std::int64_t> positions;
  double nearest = 2.0;
  std::int64_t nearest_at = 0;
  for (std::int64_t t = 0; t < n; ++t) {
    const double chosen = At(g, t).chosen;
    if (chosen < config_.probability) positions.push_back(t);
    if (chosen < nearest) {
      nearest = chosen;
      nearest_at = t;
    }
  }
  if (positions.empty() && n > 0) positions.push_back(nearest_at);
  return positions;
}

std::int32_t Masking::Replacement(const Draw& draw, std::int32_t token) const {
  if (draw.kind < config_.mask_replace_prob) return static_cast<std::int32_t>(config_.token);
  if (draw.kind >= config_.mask_replace_prob + config_.random_replace_prob) return token;
  // The high half of a product: uniform up to 2^-32 of the number of ids.
  return random_ids_[(std::uint64_t{draw.word} * random_ids_.size()) >> 32];
}

MaskedSequence Masking::Mask(std::int64_t g, std::span<const std::int32_t> sample) const {
  MaskedSequence masked = {.tokens = {sample.begin(), sample.end()},
                           .positions = Positions(g, static_cast<std::int64_t>(sample.size())),
                           .targets = {}};
  masked.targets.reserve(masked.positions.size());
  for (const std::int64_t t : masked.positions) {
    std::int32_t& token = masked.tokens[static_cast<std::size_t>(t)];
    masked.targets.push_back(token);
    token = Replacement(At(g, t), token);
  }
  return masked;
}

std::int64_t Masking::Count(std::int64_t g, std::int64_t n) const {
  return static_cast<std::int64_t>(Positions(g, n).size());
}

}  // namespace longrun
