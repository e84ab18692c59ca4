// The owners of datasets and models: who stores one, how much room the owner may take, and who may
// remove it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "coordinator/access.h"
#include "coordinator/rpc/call.h"
#include "coordinator/store/owned.h"

namespace longrun::coordinator {

struct Storing {
  std::string owner;
  std::int64_t bytes_max = kNoOwnedLimit;  // of all that the owner has (store/owned.h)
};
// What the caller of `call` stores. The coordinator's own user has no limit.
Result<Storing> StoringOf(const Call& call);

// Whether the caller may remove what is of others.
bool IsOperator(const Principal& caller);

// Whether the caller may remove or repair what `owner` has: the owner, and operators.
bool MayChange(const Principal& caller, const std::string& owner);

// kPermissionDenied unless the caller may change what `owner` has. `what`: "dataset", "model".
Status CheckMayRemove(const Principal& caller, std::string_view what, const std::string& name,
                      const std::string& owner);

}  // namespace longrun::coordinator
