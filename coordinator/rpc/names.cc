#include "coordinator/rpc/names.h"

#include "base/files.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun::coordinator {

Status CheckName(const std::string& name, std::string_view of) {
  if (IsSafeName(name)) return Status();
  return Status(Code::kInvalidArgument,
                Str(Quoted(name), " is not a name for a ", of,
                    ": expected 1 to 128 letters, digits, '.', '_' or '-', not starting with '.'"));
}

}  // namespace longrun::coordinator
