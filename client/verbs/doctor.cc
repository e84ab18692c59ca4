// longrun doctor: checks this machine, and says how to fix what is wrong.

#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/doctor/checks.h"
#include "client/doctor/deep.h"
#include "client/verb.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

// Compares everything stored with the digest under which it is stored.
int DoctorDeep(const std::string& output, const std::string& state, bool repairs) {
  const Result<DeepFindings> found = LookDeep(state, repairs);
  if (!found.ok()) return Report(found.status());
  Json damaged = Json::array();
  std::string text;
  for (const std::string& what : found->repaired) text += Str("repaired: ", what, "\n");
  for (const DeepFinding& one : found->damaged) {
    damaged.push_back({{"object", one.object}, {"remedy", one.remedy}});
    text += Str(one.object, "\n  ", one.remedy, "\n");
  }
  const bool is_whole = found->damaged.empty();
  if (output == "json") {
    Print(RenderJson({{"repaired", found->repaired},
                      {"damaged", damaged},
                      {"rows", found->n_rows},
                      {"files", found->n_files},
                      {"healthy", is_whole}}));
  } else {
    PrintText(Str(text, "read: ", Counted(found->n_rows, "row"), ", ",
                  Counted(found->n_files, "file"), "; damaged: ", found->damaged.size(), "\n"));
  }
  return is_whole ? kExitOk : kExitFailed;
}

int Doctor(const std::string& output, const std::string& state) {
  const MachineFacts machine = LookAtMachine(state);
  Json findings = Json::array();
  std::string remedies;
  bool failed = false;
  std::vector<std::vector<std::string>> rows;
  rows.reserve(Checks().size());
  for (const Check& check : Checks()) {
    const Finding finding = check.run(machine);
    const std::string verdict(VerdictName(finding.verdict));
    failed = failed || finding.verdict == CheckVerdict::kFail;
    rows.push_back({std::string(check.name), verdict, finding.found});
    if (!finding.remedy.empty()) remedies += Str("  ", check.name, ": ", finding.remedy, "\n");
    Json one = finding.facts;
    one.update({{"check", check.name},
                {"verdict", verdict},
                {"found", finding.found},
                {"remedy", finding.remedy}});
    findings.push_back(std::move(one));
  }
  if (output == "json") {
    Print(RenderJson({{"checks", findings}, {"healthy", !failed}}));
  } else {
    Print(RenderColumns({"check", "", "found"}, {Align::kLeft, Align::kLeft, Align::kLeft}, rows));
    if (!remedies.empty()) PrintText(Str("\nwhat to do:\n", remedies));
  }
  return failed ? kExitFailed : kExitOk;
}

}  // namespace

void AddDoctor(Verbs& verbs) {
  Verb verb = verbs.AddVerb("doctor", "check this machine, and say how to fix what is wrong");
  verb.AddExamples({"longrun doctor", "longrun doctor --deep -o json", "longrun doctor --repair"});
  const auto output = AddOutput(verb, {"table", "json"});
  const auto deep = std::make_shared<bool>(false);
  verb.AddFlag("--deep", *deep,
               "instead of the usual checks, read all stored data and list what is damaged");
  const auto repair = std::make_shared<bool>(false);
  verb.AddFlag("--repair", *repair,
               "repair the database as far as possible, then do the same as --deep; no coordinator "
               "may be running");
  verb.SetRun([&verbs, output, deep, repair] {
    return *deep || *repair ? DoctorDeep(*output, verbs.state, *repair)
                            : Doctor(*output, verbs.state);
  });
}

}  // namespace longrun::client
