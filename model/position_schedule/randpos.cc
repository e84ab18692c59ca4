// RandPos, randomised positions. Ruoss et al. 2023 (arXiv:2305.16843), section 3; in the form of
// dwzhu-pku/PoSE, src/train_pose.py.
//
//   position: T distinct ones of 0 .. Lt - 1, each set equally likely, in increasing order; the
//   first need not be 0
//   place[t] = t: one piece of text
#include <numeric>

#include "model/position_schedule/schedule.h"

namespace longrun {
namespace {

NumberedSample Number(const Json& params, std::int64_t train_length, std::int64_t,
                      const UniformDraw& draw) {
  const auto n_positions = params.at("target_length").get<std::int64_t>();
  const std::vector<std::int64_t> drawn = DrawDistinct(train_length, 0, n_positions - 1, draw);
  NumberedSample sample = {.place = std::vector<std::int64_t>(drawn.size() + 1),
                           .position = {drawn.begin(), drawn.end()}};
  std::iota(sample.place.begin(), sample.place.end(), 0);
  return sample;
}

}  // namespace

const PositionSchedule& RandposSchedule() {
  static const PositionSchedule schedule = {
      .name = "randpos",
      .source = "arXiv:2305.16843, section 3",
      .meaning = "random increasing positions below target_length, different for each sample",
      .params = {TargetLengthParam()},
      .number = &Number};
  return schedule;
}

}  // namespace longrun
