#include "worker/trainer/training_view.h"

#include <cmath>

#include "base/decimal_text.h"
#include "base/files.h"
#include "base/str.h"
#include "base/units.h"

namespace longrun::trainer {
namespace {

constexpr std::int64_t kRedrawMs = 500;
constexpr std::int64_t kLineMs = 60'000;
constexpr std::int64_t kLines = 10;  // at least so many for a whole training

std::string LossText(double loss) { return DecimalText(loss, 4); }

}  // namespace

std::string TrainingView::Begin() const {
  const std::string batch = of_.batch_documents == 0 ? Str(of_.batch_tokens, " tokens")
                                                     : Str(of_.batch_documents, " documents");
  const std::string steps =
      of_.first_step == 0 ? Str(of_.n_steps, " steps of ", batch)
                          : Str("steps ", of_.first_step + 1, " to ", of_.n_steps, " of ", batch);
  return Str("training: ", steps, "; checkpoints in ", JoinPath(of_.output, "checkpoints"), ", ",
             of_.checkpoint_every_ms == 0 ? std::string("after each step")
                                          : Str("every ", FormatDurationMs(of_.checkpoint_every_ms),
                                                " and after the last step"),
             "\n");
}

bool TrainingView::IsDue(std::int64_t step, std::int64_t now_ms) const {
  if (shown_ms_ == 0) return true;
  if (of_.on_terminal) return step == of_.n_steps || now_ms - shown_ms_ >= kRedrawMs;
  const bool is_next_part = step * kLines / of_.n_steps > shown_step_ * kLines / of_.n_steps;
  return is_next_part || now_ms - shown_ms_ >= kLineMs;
}

std::string TrainingView::Show(const RecordBody& body, std::int64_t step, std::int64_t now_ms) {
  if (const auto* const checkpoint = std::get_if<CheckpointRecord>(&body)) {
    checkpoint_ = JoinPath(of_.output, checkpoint->path.value());
    return "";
  }
  const auto* const series = std::get_if<SeriesRecord>(&body);
  if (series == nullptr) return "";
  if (const auto val_loss = series->ValueOf("val_loss")) {
    val_loss_ = val_loss;
    return "";
  }
  if (!IsDue(step, now_ms)) return "";
  shown_step_ = step;
  shown_ms_ = now_ms;
  std::string line = Str("step ", step, " of ", of_.n_steps, "   loss ",
                         LossText(series->ValueOf("loss").value_or(NAN)));
  if (val_loss_) StrAppend(line, Str(" (validation ", LossText(*val_loss_), ")"));
  const double rate = series->ValueOf("tokens_per_s").value_or(0);
  if (rate > 0) {
    StrAppend(line, Str("   ", FormatCount(std::llround(rate)), " tokens/s"));
    // The rate does not count padding; the steps that are left have about as much of it.
    const double share = 1.0 - series->ValueOf("padding").value_or(0);
    const double left_ms =
        1e3 * share * static_cast<double>((of_.n_steps - step) * of_.batch_tokens) / rate;
    if (step < of_.n_steps) {
      StrAppend(line, Str("   ", FormatDurationMs(std::llround(left_ms)), " left"));
    }
  }
  is_open_ = of_.on_terminal;
  return of_.on_terminal ? Str("\r\x1b[K", line) : line + "\n";
}

std::string TrainingView::End() {
  if (!is_open_) return "";
  is_open_ = false;
  return "\n";
}

}  // namespace longrun::trainer
