// The averaged attention of a network (model/attention_map.h).
//
// Memory: A is held once, in fp32, T x T; a head's attention exists for at most 128 queries at a
// time (attention.h). Heads are averaged in double. The B L maps of texts and layers are then added
// up in fp32, so that an entry of A is off by at most B L 2^-24 times the sum of the magnitudes
// that it averages. Entropies of heads are summed in double.
#pragma once

#include "model/attention_probe.h"
#include "model/net/net.h"

namespace longrun {

class NetAttention final : public AttentionProbe {
 public:
  // The network must outlive this.
  explicit NetAttention(Net& net) : net_(net) {}

  Result<AttentionMap> Map(
      const AttentionMapRequest& request,
      const std::function<bool(std::int64_t, std::int64_t)>& progress) override;

 private:
  Status Check(const AttentionMapRequest& request, std::int64_t n_tokens) const;

  Net& net_;
};

}  // namespace longrun
