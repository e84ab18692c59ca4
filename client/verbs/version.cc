// longrun version.
#include "base/version.h"

#include <CLI/CLI.hpp>

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/console/version_text.h"
#include "client/verb.h"
#include "client/words/render.h"

namespace longrun {

void AddVersion(Verbs& verbs) {
  CLI::App* verb = verbs.app->add_subcommand("version", "release, commit, protocol");
  AddExamples(*verb, {"longrun version", "longrun version -o json"});
  const auto output = AddOutput(*verb, {"table", "json"});
  verb->callback([&verbs, output] {
    verbs.run = [output] {
      if (*output == "json") {
        Print(RenderJson({{"version", kVersion},
                          {"commit", BuildCommit()},
                          {"protocol_version", kProtocolVersion},
                          {"numerics", kNumericsVersion}}));
      } else {
        Print(VersionText() + "\n");
      }
      return static_cast<int>(kExitOk);
    };
  });
}

}  // namespace longrun
