#include "sweeps/window_baseline.h"

#include <utility>

#include "model/extension/extension.h"

namespace longrun {

Json WindowBaseline(const Run& run) {
  if (!run.train.extension.is_null()) return nullptr;
  Result<Json> window =
      ResolveExtension(WithOriginalLength({{"method", "window"}}, run.train.train_length));
  // A train length of 1 token is no original length.
  if (!window.ok() || WhyNotExtended(*window, run.model)) return nullptr;
  return std::move(window).value();
}

std::int64_t BaselineWindow(const Json& extension, std::int64_t train_length) {
  const bool is_window = extension.is_object() && extension.value("method", Json()) == "window" &&
                         extension.value("window", Json()) == train_length;
  return is_window ? train_length : 0;
}

}  // namespace longrun
