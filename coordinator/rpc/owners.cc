// See owners.h.
#include "coordinator/rpc/owners.h"

#include "base/access.h"
#include "base/str.h"
#include "coordinator/rpc/caller.h"

namespace longrun::coordinator {

Result<Storing> StoringOf(const Call& call) {
  ASSIGN_OR_RETURN(const Principal caller, CallerOf(call.parts.access, *call.context));
  if (caller.kind == Principal::Kind::kLocal) return Storing{.owner = OwnUserName()};
  return Storing{.owner = caller.Name(), .bytes_max = call.parts.registered_bytes_max};
}

bool IsOperator(const Principal& caller) {
  return caller.kind != Principal::Kind::kWorker && caller.role >= Role::kOperator;
}

bool MayChange(const Principal& caller, const std::string& owner) {
  return IsOperator(caller) || owner == caller.Name();
}

Status CheckMayRemove(const Principal& caller, std::string_view what, const std::string& name,
                      const std::string& owner) {
  if (MayChange(caller, owner)) return Status();
  const std::string of = owner.empty()
                             ? "was registered by an earlier release, which did not note its owner"
                             : Str("belongs to ", owner);
  return Status(Code::kPermissionDenied,
                Str(what, " \"", name, "\" ", of, ", and ", caller.Name(), " has the role ",
                    caller.RoleText(), ": have it removed by ",
                    owner.empty() ? "" : "its owner, or by ", "an operator"));
}

}  // namespace longrun::coordinator
