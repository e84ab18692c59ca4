// longrun context: the coordinators on other machines that `longrun login` has stored.
#include "client/wire/context.h"

#include <string>
#include <vector>

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/words/render.h"
#include "pki/token.h"

namespace longrun::client {
namespace {

int ReportOrOk(const Status& status) {
  return status.ok() ? static_cast<int>(kExitOk) : Report(status);
}

int Done(const Status& status, const std::string& name, const std::string& output,
         const std::string& what) {
  if (!status.ok()) return Report(status);
  if (output == "json") {
    Print(RenderJson({{"name", name}, {"status", what}}));
  } else {
    Print(name.empty() ? std::string("the state folder of this machine is in use\n")
                       : Str("context \"", name, "\" is ", what,
                             what == "in use" ? GoesBeforeContext(name) : "", "\n"));
  }
  return kExitOk;
}

// Without a word, the next command would work on another coordinator than the last one.
int Remove(const std::string& name, const std::string& output) {
  const Result<std::string> current = CurrentContext();
  if (!current.ok()) return Report(current.status());
  const Status removed = RemoveContext(name);
  const bool was_in_use = *current == name;
  if (!removed.ok() || !was_in_use) return Done(removed, name, output, "removed");
  if (output == "json") {
    Print(RenderJson({{"name", name}, {"status", "removed"}, {"was_in_use", true}}));
  } else {
    Print(Str("context \"", name,
              "\" is removed. It was in use: from now on, commands without --context use the state "
              "folder of this machine (`longrun context use NAME` chooses another context)\n"));
  }
  return kExitOk;
}

Status List(const std::string& output) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ContextNames());
  ASSIGN_OR_RETURN(const std::string current, CurrentContext());
  Status damage;  // of the first context that cannot be read; the others are listed
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::string folder, ContextFolder(name));
    const Result<Context> context = ReadContext(folder);
    const bool is_current = name == current;
    Json one = {{"name", name}, {"current", is_current}};
    if (context.ok()) {
      one.update({{"address", context->address}, {"token", TokenId(context->token)}});
      rows.push_back({is_current ? "*" : "", name, context->address, TokenId(context->token)});
    } else {
      if (damage.ok()) damage = context.status();
      one["error"] = context.status().message();
      rows.push_back({is_current ? "*" : "", name, "damaged", ""});
    }
    list.push_back(std::move(one));
  }
  Print(output == "json" ? RenderJson(list)
                         : RenderColumns({"", "name", "address", "token"},
                                         std::vector<Align>(4, Align::kLeft), rows));
  return damage;
}

}  // namespace

void AddContext(Verbs& verbs) {
  Verb context = verbs.AddVerb("context", "coordinators on other machines: list, use, rm");
  context.RequireVerb();
  context.AddExamples({"longrun context list", "longrun context use gpu"});

  Verb list = context.AddVerb("list", "list the contexts; * is the one in use");
  list.AddExamples({"longrun context list"});
  const auto output = AddOutput(list, {"table", "json"});
  list.SetRun([output] { return ReportOrOk(List(*output)); });

  Verb use = context.AddVerb("use", "choose the context that commands use without --context");
  use.AddExamples({"longrun context use gpu"});
  const auto used = std::make_shared<std::string>();
  use.AddArgument("NAME", *used, "name of a context; '' for the state folder of this machine")
      .Required();
  const auto use_output = AddOutput(use, {"text", "json"});
  use.SetRun([used, use_output] { return Done(UseContext(*used), *used, *use_output, "in use"); });

  Verb rm = context.AddVerb("rm", "remove a context and its access token from this machine");
  rm.AddExamples({"longrun context rm gpu"});
  const auto removed = std::make_shared<std::string>();
  rm.AddArgument("NAME", *removed, "name of a context").Required();
  const auto rm_output = AddOutput(rm, {"text", "json"});
  rm.SetRun([removed, rm_output] { return Remove(*removed, *rm_output); });
}

}  // namespace longrun::client
