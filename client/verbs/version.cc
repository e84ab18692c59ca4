// longrun version.
#include "base/version.h"

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/console/version_text.h"
#include "client/verb.h"
#include "client/words/render.h"

namespace longrun::client {

void AddVersion(Verbs& verbs) {
  Verb verb = verbs.AddVerb("version", "print release, commit and protocol version");
  verb.AddExamples({"longrun version", "longrun version -o json"});
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([output] {
    if (*output == "json") {
      Print(RenderJson({{"version", kVersion},
                        {"commit", BuildCommit()},
                        {"protocol_version", kProtocolNewest},
                        {"protocol_oldest", kProtocolOldest},
                        {"numerics", kNumericsVersion}}));
    } else {
      Print(VersionText() + "\n");
    }
    return static_cast<int>(kExitOk);
  });
}

}  // namespace longrun::client
