// Windows of the joined text, whatever documents they are of. There is no padding.
//
//   tokens [s, s + T), targets [s + 1, s + T + 1),   s as model/data/order.h says
//
// With a position schedule, the sample is taken from the text that begins at s, which has fewer
// than the schedule's tokens at the end of the split. The text has one more token, which can only
// be a target.
#include <algorithm>
#include <memory>
#include <utility>

#include "model/data/order.h"
#include "model/position_schedule/schedule.h"
#include "model/sample_source/source.h"

namespace longrun {
namespace {

class Windows final : public SampleSource {
 public:
  Windows(const SampleRequest& request, const SampleOrder& order)
      : split_(request.split), train_(request.train), order_(order) {}

  SampleSize Size(std::int64_t) const override {
    return {.n_tokens = train_.train_length, .n_targets = train_.train_length};
  }

  Status Read(std::int64_t g, Sample& sample) const override {
    sample.tokens.resize(static_cast<std::size_t>(train_.train_length + 1));
    const std::int64_t begin = order_.Start(g);
    if (train_.positions.is_null()) {
      RETURN_IF_ERROR(split_.Read(begin, sample.tokens));
    } else {
      const std::int64_t n_text = std::min(
          ScheduleTextLength(train_.positions, train_.train_length), order_.n_tokens - 1 - begin);
      NumberedSample numbered =
          NumberSample(train_.positions, train_.train_length, n_text, order_.seed, g);
      RETURN_IF_ERROR(ReadPlaces(split_, begin, numbered.place, sample.tokens));
      sample.positions = std::move(numbered.position);
    }
    sample.targets.assign(sample.tokens.begin() + 1, sample.tokens.end());
    sample.tokens.pop_back();
    return Status();
  }

 private:
  const TokenSplit& split_;
  const TrainConfig& train_;
  const SampleOrder order_;
};

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenWindows(const SampleRequest& request) {
  const SampleOrder order = {.kind = request.train.order,
                             .seed = request.seed,
                             .n_tokens = request.split.n_tokens(),
                             .train_length = request.train.train_length};
  RETURN_IF_ERROR(order.Check());
  return std::unique_ptr<SampleSource>(std::make_unique<Windows>(request, order));
}

}  // namespace longrun
