// Which token is written next: a function of all tokens' logits and one uniform number, in double, so
// that a device or a batch changes a text through its logits alone.
//
//   temperature 0:  the largest logit, of equal ones the smallest id
//   else, over the top_k largest logits:  p = softmax(logits / temperature)
//   of these the most likely whose p first sum to top_p or more (Holtzman et al. 2020,
//   arXiv:1904.09751, section 3.1);  the id at which their p, added up in the order of ids, first
//   exceeds u times their sum
//
// In the order of ids, not of p: two logits that change places by their rounding move the sums by that
// rounding only.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"

namespace longrun {

struct Sampling {
  double temperature = 0.0;
  std::int64_t top_k = 0;  // 0: all; of equal logits the smaller ids
  double top_p = 1.0;
  std::uint64_t seed = 0;

  // kInvalidArgument names the option (--temperature, --top-k, --top-p) that is out of its range, or
  // would do nothing at temperature 0.
  Status Check() const;
};

// `sampling` passed Check(); u in [0, 1). kAborted when a logit is not a finite number.
Result<std::int64_t> ChooseToken(std::span<const double> logits, const Sampling& sampling,
                                 double u);

}  // namespace longrun
