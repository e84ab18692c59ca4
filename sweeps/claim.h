// The statements that a sweep sets out to show: `spec.claims`. They change no run, and are judged
// from the results when somebody asks (client/claims/).
//
//   claims:
//     - below: {of: cable, than: alibi, context_lengths: [256, 1024], margin: 0.05}
//     - flat: {of: alibi, from: 64, to: 1024, factor: 1.05}
//
// `of` and `than` are values of `axis` as a table shows them: "cable", "rope(base=500000)"; a
// method's name is enough if only one value of the axis has it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/param.h"

namespace longrun {

struct ClaimKind {
  std::string_view name;  // "below"
  std::string_view meaning;
  std::vector<ParamSpec> params;
  // See WhyWrongTogether.
  std::string (*check)(const Json& params) = nullptr;
};
// The reason why parameters that are right one by one are wrong together; "" if they are not.
std::string WhyWrongTogether(const ClaimKind& kind, const Json& params);

std::span<const ClaimKind> ClaimKinds();
const ClaimKind* FindClaimKind(std::string_view name);  // null: unknown
std::vector<std::string> ClaimKindNames();

struct Claim {
  std::string kind;  // of ClaimKinds()
  Json params;       // complete
  // Where it begins in the file, from 1; 0: `--set` has given it.
  int line = 0, column = 0;
};

// The claims of a sweep file that was accepted, with the values that --set gave. Does not need the
// datasets that the rest of the file needs. kInvalidArgument with place and path if the claims have
// errors.
Result<std::vector<Claim>> SweepClaims(
    std::string_view yaml, std::string_view file_name,
    const std::vector<std::pair<std::string, std::string>>& overrides);

// The parts of a list of values: "cable, rope(base=1, x=2)" has two.
std::vector<std::string> ValuesInList(std::string_view text);

}  // namespace longrun
