// The room that a person's datasets and models take on the coordinator's disk. They stay until
// somebody removes them, so each counts for its owner, who may have only so much together.
//
// A model under several names of one owner counts once. If two owners have the same model, it
// counts for both, since each of them can remove only their own names.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun::coordinator {

class Connection;

inline constexpr std::int64_t kNoOwnedLimit = std::numeric_limits<std::int64_t>::max();

struct OwnedBytes {
  std::int64_t in_datasets = 0;
  std::int64_t in_models = 0;
};

// Names that are about to get a new row: the present one does not count.
struct ReplacedNames {
  std::string_view dataset = {}, model = {};
};
Result<OwnedBytes> ReadOwned(Connection& connection, const std::string& owner,
                             const ReplacedNames& replaced = {});

struct NewlyOwned {
  std::string_view what;  // "dataset", "model"
  const std::string& name;
  const std::string& owner;
  std::int64_t n_bytes = 0;
};
// kResourceExhausted, with the remedies, if the owner would have more than `bytes_max` then.
Status CheckOwned(const NewlyOwned& newly, const OwnedBytes& before, std::int64_t bytes_max);

}  // namespace longrun::coordinator
