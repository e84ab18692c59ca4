#include "model/net/planned_reading.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace longrun {
namespace {

// Numbers the rows that are used, in rising order: plans that use the same have the same table.
class RowTable {
 public:
  void Use(const std::vector<std::int32_t>& rows, std::int64_t from) {
    if (std::ssize(rows) > from) used_.insert(used_.end(), rows.begin() + from, rows.end());
  }
  std::vector<double> Positions(std::int64_t steps) {
    std::ranges::sort(used_);
    const auto rest = std::ranges::unique(used_);
    used_.erase(rest.begin(), rest.end());
    std::vector<double> positions;
    positions.reserve(used_.size());
    for (const std::int32_t row : used_) {
      positions.push_back(static_cast<double>(row) / static_cast<double>(steps));
    }
    return positions;
  }
  // Those before `from` become 0.
  void Number(std::vector<std::int32_t>& rows, std::int64_t from) const {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const bool is_used = static_cast<std::int64_t>(i) >= from;
      rows[i] =
          is_used
              ? static_cast<std::int32_t>(std::ranges::lower_bound(used_, rows[i]) - used_.begin())
              : 0;
    }
  }

 private:
  std::vector<std::int32_t> used_;
};

}  // namespace

PlannedReading PlanReading(Reading reading, const Stretch& stretch, std::int64_t keys_from) {
  LR_CHECK((!reading.noise && !reading.regions.front().pair_blend) ||
           (reading.regions.size() == 1 && reading.window == 0));
  LR_CHECK(reading.window > 0 || stretch.held.n_forgotten == 0);
  RowTable table;
  for (const ReadingRegion& region : reading.regions) {
    LR_CHECK(std::ssize(region.query_row) == stretch.n_query &&
             region.key_set < reading.key_sets.size());
    LR_CHECK(!region.pair_blend || (region.pair_blend->other_set < reading.key_sets.size() &&
                                    std::ssize(region.pair_blend->query) == stretch.n_query &&
                                    std::ssize(region.pair_blend->key) == stretch.n_held()));
    table.Use(region.query_row, 0);
  }
  for (const KeySet& keys : reading.key_sets) {
    LR_CHECK(std::ssize(keys.row) == stretch.n_held());
    table.Use(keys.row, keys_from);
    table.Use(keys.blended_row, keys_from);
  }
  std::vector<double> position = table.Positions(reading.steps);
  for (ReadingRegion& region : reading.regions) table.Number(region.query_row, 0);
  for (KeySet& keys : reading.key_sets) {
    table.Number(keys.row, keys_from);
    table.Number(keys.blended_row, keys_from);
  }
  return {.stretch = stretch,
          .keys_from = keys_from,
          .reading = std::move(reading),
          .position = std::move(position)};
}

std::vector<Stretch> ReadingPlanner::Pieces(std::int64_t q_begin, std::int64_t n_query,
                                            std::int64_t n_to_come, const HeldKeys& held) const {
  std::vector<Stretch> pieces;
  for (const std::int64_t end = q_begin + n_query; q_begin < end;) {
    const std::int64_t n_left = end - q_begin;
    const std::int64_t n_piece =
        extension_->piece == nullptr ? n_left : extension_->piece(params_, q_begin);
    const std::int64_t n = std::min(n_piece, n_left);
    pieces.push_back({.q_begin = q_begin,
                      .n_query = n,
                      .n_to_come = std::min(n_piece - n, n_to_come),
                      .held = held});
    q_begin += n;
  }
  return pieces;
}

KeysSeen ReadingPlanner::Seen() const {
  const Reading any = extension_->read(params_, {.n_query = 1});
  return {.window = any.window, .n_sink = any.n_sink};
}

std::shared_ptr<const PlannedReading> ReadingPlanner::Plan(const Stretch& stretch) {
  if (!last_ || last_->stretch != stretch) {
    last_ = std::make_shared<const PlannedReading>(
        PlanReading(extension_->read(params_, stretch), stretch, 0));
  }
  return last_;
}

std::shared_ptr<const PlannedReading> ReadingPlanner::PlanToken(const Stretch& token,
                                                                std::int64_t keys_from) {
  if (!last_token_ || last_token_->stretch != token || last_token_->keys_from != keys_from) {
    const auto read = extension_->read_token != nullptr ? extension_->read_token : extension_->read;
    last_token_ =
        std::make_shared<const PlannedReading>(PlanReading(read(params_, token), token, keys_from));
  }
  return last_token_;
}

std::int64_t ReadingPlanner::KeysKept(std::int64_t n_before, std::int64_t n_now) const {
  const auto kept = extension_->keys_kept_by_tokens != nullptr ? extension_->keys_kept_by_tokens
                                                               : extension_->keys_kept;
  return kept == nullptr ? n_before : kept(params_, n_before, n_now);
}

}  // namespace longrun
