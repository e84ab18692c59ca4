// The entropy H(q) = -sum over k of A[q][k] ln A[q][k] of each query's row, or how far it is from
// the reference's: |H(q) - H_ref(q)|.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/str.h"
#include "client/plots/attention_view.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kPoints = 64;     // of a curve, unless it is said otherwise
constexpr std::size_t kMarkersMax = 24;  // points per line; more marks would touch

Status HasEntropy(const ViewedMap& viewed) {
  if (!viewed.map.entropy.empty()) return {};
  return Status(Code::kInvalidArgument,
                Str("--view entropy: the map of ", viewed.name,
                    " has logits, which have no entropy: choose one with --values probabilities"));
}

Result<AttentionPicture> DrawEntropy(const AttentionViewInput& input) {
  const std::int64_t n = input.maps.front().map.n_tokens;
  const std::int64_t every = input.every > 0 ? input.every : std::max<std::int64_t>(1, n / kPoints);
  if (input.reference) RETURN_IF_ERROR(HasEntropy(*input.reference));
  const std::string against = input.reference ? Str(" against ", input.reference->name) : "";
  Plot plot{.title = Str("Entropy of attention", against, " (", input.origin, ")"),
            .x_label = "query (token)",
            .y_label = input.reference ? "difference of entropies (nats)" : "entropy (nats)",
            .marks_label = "train length"};
  for (const ViewedMap& viewed : input.maps) {
    RETURN_IF_ERROR(HasEntropy(viewed));
    if (input.reference) {
      // The same checks as for a difference of the maps themselves.
      RETURN_IF_ERROR(AttentionDifference(viewed.map, input.reference->map).status());
    }
    PlotSeries series{.name = viewed.name, .group = viewed.name};
    for (std::int64_t q = 0; q < n; q += every) {
      const auto at = static_cast<std::size_t>(q);
      const double entropy = viewed.map.entropy[at];
      series.points.push_back(
          {.x = static_cast<double>(q),
           .y = input.reference ? std::abs(entropy - input.reference->map.entropy[at]) : entropy});
    }
    if (series.points.size() > kMarkersMax) plot.has_markers = false;
    plot.series.push_back(std::move(series));
  }
  SetStyles(plot);
  plot.y_least = 0.0;
  const bool is_inside = input.train_length > 0 && input.train_length < n;
  if (is_inside) plot.marks_x = {static_cast<double>(input.train_length)};
  if (every > 1) plot.legend = Str("a point for every ", every, " queries");
  return AttentionPicture(std::move(plot));
}

}  // namespace

const AttentionView& AttentionEntropyView() {
  static const AttentionView view = {
      .name = "entropy",
      .meaning = "the entropy of each query's row, or with --minus its distance from the other's",
      .draw = &DrawEntropy,
      .takes_every = true};
  return view;
}

}  // namespace longrun::client
