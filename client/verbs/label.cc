// longrun label SWEEP KEY=VALUE ..., longrun note SWEEP TEXT: users' labels and notes for a sweep.
// They are not part of its content, and are kept when the same file is submitted again.

#include "base/str.h"
#include "base/utf8.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/retrying_client.h"
#include "client/words/labels.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

// "suite=long" sets a label, "suite-" removes it.
Result<v1::LabelChange> ChangeOf(const std::string& word) {
  v1::LabelChange change;
  const std::size_t equals = word.find('=');
  if (equals != std::string::npos && equals > 0) {
    change.set_key(word.substr(0, equals));
    change.set_value(word.substr(equals + 1));
    return change;
  }
  if (equals == std::string::npos && word.size() > 1 && word.ends_with('-')) {
    change.set_key(word.substr(0, word.size() - 1));
    change.set_remove(true);
    return change;
  }
  return Status(
      Code::kInvalidArgument,
      Str(Quoted(word), " is not a label: expected KEY=VALUE to set one, or KEY- to remove it"));
}

int Annotate(const v1::AnnotateSweepRequest& request, const std::string& output,
             const std::string& state) {
  // Safe to repeat: the same annotation twice changes nothing.
  const Result<v1::AnnotateSweepResponse> answer = RetryingClient(state).AnnotateSweep(request);
  if (!answer.ok()) return Report(answer.status());
  if (output == "json") {
    Print(RenderJson(ToJson(*answer)));
    return kExitOk;
  }
  const std::string labels = LabelsText(answer->labels());
  const std::string& note = answer->note();
  const std::string noted = note.empty() ? "" : Str("note: ", note);
  const std::string what = labels.empty()  ? (noted.empty() ? "no labels" : noted)
                           : noted.empty() ? labels
                                           : Str(labels, "; ", noted);
  Print(Str(answer->name(), ": ", what, "\n"));
  return kExitOk;
}

}  // namespace

void AddLabel(Verbs& verbs) {
  Verb verb = verbs.AddVerb("label", "set or remove labels of a sweep");
  verb.AddExamples({"longrun label my-sweep suite=long team=nlp", "longrun label my-sweep team-"});
  const auto sweep = std::make_shared<std::string>();
  const auto words = std::make_shared<std::vector<std::string>>();
  verb.AddArgument("SWEEP", *sweep, "name or id").Required();
  verb.AddArgument("LABEL", *words,
                   "KEY=VALUE sets a label, KEY- removes it; without any, the labels are shown");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, sweep, words, output] {
    v1::AnnotateSweepRequest request;
    request.set_sweep(*sweep);
    for (const std::string& word : *words) {
      Result<v1::LabelChange> change = ChangeOf(word);
      if (!change.ok()) return Report(change.status());
      *request.add_labels() = std::move(change).value();
    }
    return Annotate(request, *output, verbs.state);
  });
}

void AddNote(Verbs& verbs) {
  Verb verb = verbs.AddVerb("note", "attach a line of text to a sweep");
  verb.AddExamples({"longrun note my-sweep 'lr too high, see the next one'"});
  const auto sweep = std::make_shared<std::string>();
  const auto text = std::make_shared<std::string>();
  verb.AddArgument("SWEEP", *sweep, "name or id").Required();
  verb.AddArgument("TEXT", *text, "replaces the note; '' removes it").Required();
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, sweep, text, output] {
    v1::AnnotateSweepRequest request;
    request.set_sweep(*sweep);
    request.set_set_note(true);
    request.set_note(*text);
    return Annotate(request, *output, verbs.state);
  });
}

}  // namespace longrun::client
