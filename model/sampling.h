// The choice of the next token: a function of all tokens' logits and one uniform number, in double,
// so that a device or a batch affects a text only through its logits.
//
//   temperature 0:  the token with the largest logit, and of equal ones the smallest id
//   else:  1. keep the top_k largest logits, and let p = softmax(logits / temperature) over these
//          2. keep the most likely tokens until their p sum to top_p or more (Holtzman et al. 2020,
//             arXiv:1904.09751, section 3.1)
//          3. add up the p of the kept tokens in the order of ids; choose the id at which this sum
//             first exceeds u times the whole sum
//
// The sum is in the order of ids, not of p: if rounding swaps two logits,
// the sums change only by that rounding. Tokens that are held back are left out from the start, as
// if their logits were minus infinity.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"

namespace longrun {

struct Sampling {
  double temperature = 0.0;
  std::int64_t top_k = 0;  // 0: all; among equal logits the smaller ids
  double top_p = 1.0;
  std::uint64_t seed = 0;

  bool operator==(const Sampling&) const = default;

  // kInvalidArgument names the option (--temperature, --top-k, --top-p) that is out of range or has
  // no effect at temperature 0.
  Status Check() const;
};

// `sampling` must have passed Check(); u in [0, 1). Not all ids may be held back. kAborted if a
// logit is not finite.
Result<std::int64_t> ChooseToken(std::span<const double> logits, const Sampling& sampling, double u,
                                 std::span<const std::int32_t> held_back = {});

}  // namespace longrun
