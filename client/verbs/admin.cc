// longrun admin: what the person does who runs the coordinator, on its machine. Each verb is in a
// file of its own, admin_*.cc.
#include "client/verb.h"

namespace longrun::client {

void AddAdmin(Verbs& verbs) {
  Verb admin = verbs.AddVerb("admin", "administer the coordinator: backup, restore, check");
  admin.RequireVerb();
  admin.AddExamples({"longrun admin backup /backup/monday.tar"});
  // One line for each sub-verb.
  AddAdminBackup(verbs, admin);
  AddAdminRestore(verbs, admin);
  AddAdminCheck(verbs, admin);
}

}  // namespace longrun::client
