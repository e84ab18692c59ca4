// The output of `longrun-trainer train`, run by hand, while it trains: its progress, and the folder
// of its checkpoints.
//
//   step 120 of 1600   loss 3.4123 (validation 3.5012)   8.21K tokens/s   2min 3s left
//
// In a terminal, one line that is redrawn at most twice a second. Elsewhere, for example in a file,
// a line for the first step, for each tenth of the training, and one per minute.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "sweeps/event.h"

namespace longrun::trainer {

class TrainingView {
 public:
  struct Of {
    std::int64_t n_steps = 0;
    std::int64_t batch_tokens = 0;
    std::int64_t batch_documents = 0;  // 0: its samples are no documents
    std::int64_t first_step = 0;       // of the checkpoint that it continues; 0: none
    std::int64_t checkpoint_every_ms = 0;
    std::string output;  // the attempt's folder, as the user wrote it
    bool on_terminal = false;
  };
  explicit TrainingView(Of of) : of_(std::move(of)), shown_step_(of_.first_step) {}

  // The text before training.
  std::string Begin() const;
  // The text for a record of the journal; "": none.
  std::string Show(const RecordBody& body, std::int64_t step, std::int64_t now_ms);
  // Returns the end of a line that would be redrawn; "" if there is none.
  std::string End();

  // The folder of the newest checkpoint; "" if there is none yet.
  const std::string& checkpoint() const { return checkpoint_; }

 private:
  bool IsDue(std::int64_t step, std::int64_t now_ms) const;

  Of of_;
  std::int64_t shown_step_ = 0;
  std::int64_t shown_ms_ = 0;  // 0: nothing yet
  bool is_open_ = false;       // a line without its end
  std::optional<double> val_loss_ = {};
  std::string checkpoint_;
};

}  // namespace longrun::trainer
