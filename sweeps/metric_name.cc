#include "sweeps/metric_name.h"

#include "base/str.h"

namespace longrun {

std::vector<std::string> MetricNames(std::string_view source) {
  constexpr std::string_view kNll = "nll", kByPosition = "_by_position";
  if (source == Str(kNll, kByPosition)) {
    return {Str("perplexity", kByPosition), Str(kNll, kByPosition),
            Str("bits_per_token", kByPosition)};
  }
  if (!source.ends_with(kNll)) return {std::string(source)};
  const std::string_view prefix = source.substr(0, source.size() - kNll.size());
  return {Str(prefix, "perplexity"), Str(prefix, kNll), Str(prefix, "bits_per_token"),
          Str(prefix, "bits_per_byte")};
}

}  // namespace longrun
