// longrun admin backup, restore and check. They read and write the state folder itself, so they run
// on the coordinator's machine; `longrun-coordinator` does the work (coordinator/store/backup.h).
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/files.h"
#include "base/str.h"
#include "base/units.h"
#include "client/console/exit_code.h"
#include "client/console/output.h"
#include "client/verb.h"
#include "client/wire/coordinator_program.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

struct Administered {
  Json damaged = Json::array();
  Json answer;  // the line with "facts"
};

Result<Administered> Administer(std::vector<std::string> arguments, const std::string& state) {
  arguments.insert(arguments.end(), {"--state", state});
  ASSIGN_OR_RETURN(ProgramAnswer answer, RunCoordinatorProgram(arguments));
  Administered done;
  for (Json& line : answer.lines) {
    if (line.contains("object")) {
      done.damaged.push_back(std::move(line));
    } else if (line.contains("facts")) {
      done.answer = std::move(line);
    } else if (line.contains("code")) {
      // A coordinator that holds the folder is there: nobody is missing, and waiting does not help.
      const bool is_taken = answer.exit_code == kExitTaken;
      return Status(
          is_taken ? Code::kFailedPrecondition : static_cast<Code>(line.at("code").get<int>()),
          line.at("message").get<std::string>());
    }
  }
  const bool is_done = answer.exit_code == 0 || answer.exit_code == kExitDamaged;
  if (is_done && !done.answer.is_null()) return done;
  return Status(Code::kInternal,
                Str("longrun-coordinator ended before it had finished: ", answer.complaint));
}

Result<std::string> Absolute(const std::string& file) {
  if (file.empty()) {
    return Status(Code::kInvalidArgument, "the name of the backup is empty: name a file");
  }
  return AbsolutePath(file);
}

// What the backup has of the coordinator's keys, and what that means.
std::string KeysText(const Json& facts) {
  const std::string keys = facts.value("keys", "left out");
  if (keys == "included") {
    return Str(
        "included, of the authority ", facts.value("authority", ""),
        facts.value("keys_exposed", false)
            ? "; OTHERS CAN READ THIS FILE, and could pass for the coordinator: `chmod 600` it"
            : "; whoever can read this file can pass for the coordinator");
  }
  if (keys == "none") return "none (the coordinator has none)";
  return "left out: a coordinator that is restored on another machine needs its pki folder, too "
         "(--with-keys includes it)";
}

std::string FactsText(const Json& facts) {
  const auto number = [&](const char* name) { return facts.value(name, std::int64_t{0}); };
  std::string text;
  const auto line = [&](std::string_view name, const std::string& value) {
    text += Str("  ", name, std::string(11 - name.size(), ' '), value, "\n");
  };
  if (facts.contains("created_wall_ms")) {
    line("taken",
         Str(FormatWallMs(number("created_wall_ms")), " by longrun ", facts.value("version", "")));
  }
  line("database",
       Str(FormatBytes(number("database_bytes")), ", schema version ", number("schema_version"),
           ", restored ", Counted(number("restore_count"), "time"), ", id ",
           facts.value("coordinator_id", "")));
  line("contents",
       Str(Counted(number("sweeps"), "sweep"), ", ", Counted(number("runs"), "run"), ", ",
           Counted(number("tasks"), "task"), " (", number("tasks_succeeded"), " succeeded), ",
           Counted(number("results"), "result"), ", ", Counted(number("attempts"), "attempt"), " (",
           number("attempts_live"), " at work)"));
  if (!facts.contains("with_artifacts")) return text;
  line("artifacts",
       facts.at("with_artifacts").get<bool>()
           ? Str(Counted(number("artifacts"), "file"), ", ", FormatBytes(number("artifact_bytes")))
           : std::string("left out (--no-artifacts)"));
  line("files", Str(Counted(number("files"), "file"), ", ", FormatBytes(number("file_bytes"))));
  line("keys", KeysText(facts));
  return text;
}

// For a person: what is damaged, or that nothing is.
int PrintChecked(const std::string& what, const Administered& done, const std::string& output) {
  const bool is_whole = done.damaged.empty();
  if (output == "json") {
    Json json = done.answer;
    json.update({{"path", what}, {"damaged", done.damaged}, {"healthy", is_whole}});
    Print(RenderJson(json));
    return is_whole ? kExitOk : kExitFailed;
  }
  std::string text;
  for (const Json& one : done.damaged) {
    text +=
        Str(one.at("object").get<std::string>(), "\n  ", one.at("remedy").get<std::string>(), "\n");
  }
  PrintText(Str(text, what, ": ", Counted(done.answer.at("rows").get<std::int64_t>(), "row"),
                " and ", Counted(done.answer.at("files").get<std::int64_t>(), "file"),
                " checked; damaged: ", done.damaged.size(), "\n",
                FactsText(done.answer.at("facts"))));
  return is_whole ? kExitOk : kExitFailed;
}

// ---- backup -------------------------------------------------------------------------------------

struct BackupArguments {
  std::string file;
  bool no_artifacts = false;
  bool with_keys = false;
  bool replaces = false;
};

int Backup(const BackupArguments& given, const std::string& output, const std::string& state) {
  const Result<std::string> path = Absolute(given.file);
  if (!path.ok()) return Report(path.status());
  std::vector<std::string> arguments = {"--backup", *path};
  if (given.no_artifacts) arguments.emplace_back("--no-artifacts");
  if (given.with_keys) arguments.emplace_back("--with-keys");
  if (given.replaces) arguments.emplace_back("--replace");
  const Result<Administered> done = Administer(std::move(arguments), state);
  if (!done.ok()) return Report(done.status());
  if (done->damaged.empty()) return PrintChecked(*path, *done, output);
  PrintChecked(state, *done, output);
  return Report(Status(Code::kDataLoss,
                       Str("no backup was written, since the state folder is damaged: keep the "
                           "earlier backups, and follow the remedies above")));
}

// ---- restore ------------------------------------------------------------------------------------

struct RestoreArguments {
  std::string file;
  bool replaces = false;
};

// About the keys, without which no worker and no laptop accepts the coordinator.
std::vector<std::string> KeySteps(const Json& restored) {
  const std::string keys = restored.at("keys").get<std::string>();
  if (keys == "restored") {
    const auto names = restored.at("names").get<std::vector<std::string>>();
    return {Str("if other machines reach this one by another name than ", Join(names, ", "),
                ": `longrun admin pki renew --name HOST` (the keys were restored, and the "
                "authority is the same)")};
  }
  const auto members = restored.at("members").get<std::vector<std::string>>();
  const bool has_keys = restored.at("facts").value("keys", "left out") != "none";
  if (keys != "missing" || (members.empty() && !has_keys)) return {};
  return {
      Str("put the folder pki of the earlier coordinator back, if it listened for other "
          "machines: the backup was taken without --with-keys, and no key is here. If the "
          "folder is lost, `longrun admin pki init` makes a new authority, which nobody "
          "trusts yet: people log in again (`longrun login`), and workers join again",
          members.empty() ? "" : Str(" (", Join(members, ", "), ")"),
          " (`longrun admin join-token create --worker NAME`)")};
}

// The first few of a list that may have thousands.
std::string FirstOf(std::vector<std::string> texts) {
  constexpr std::size_t kShownMax = 20;
  const std::size_t n_more = texts.size() - std::min(texts.size(), kShownMax);
  texts.resize(texts.size() - n_more);
  return Str(Join(texts, ", "), n_more == 0 ? "" : Str(", and ", n_more, " more"));
}

std::vector<std::string> Quoted(std::string_view command, const std::vector<std::string>& names) {
  std::vector<std::string> commands;
  for (const std::string& name : names) commands.push_back(Str("`", command, name, "`"));
  return commands;
}

std::string EndedText(const Json& ended) {
  std::vector<std::string> texts;
  for (const Json& one : ended) {
    texts.push_back(Str(one.at("kind").get<std::string>(), " ", one.at("id").get<std::string>(),
                        " (", one.at("what").get<std::string>(), ")"));
  }
  if (texts.empty()) return "";
  return Str("access that ended after the backup stays ended, as in the replaced database: ",
             FirstOf(texts), "\n");
}

std::string NextSteps(const Json& restored) {
  std::vector<std::string> steps = {
      "start the coordinator (`systemctl start longrun-coordinator`, or `longrun up`); for the "
      "length of a lease (--lease-ms, 90 s) it starts no task, so that workers report first"};
  // Before the coordinator is started.
  const std::vector<std::string> key_steps = KeySteps(restored);
  steps.insert(steps.begin(), key_steps.begin(), key_steps.end());
  const auto workers = restored.at("workers").get<std::vector<std::string>>();
  steps.push_back(
      Str("leave the workers running, or start them",
          workers.empty() ? "" : Str(" (the backup knows ", Join(workers, ", "), ")"),
          ": they send the journals of the last 7 days again, so the results since the backup come "
          "back, and they continue the tasks that they are working on"));
  const auto to_join = restored.at("workers_to_join").get<std::vector<std::string>>();
  if (!to_join.empty()) {
    steps.push_back(
        Str("let the workers join again that joined since the backup, or joined again with another "
            "key; the restored coordinator refuses them: ",
            FirstOf(Quoted("longrun admin join-token create --worker ", to_join)),
            "; put each token into the file of the worker's --join, and start the worker again"));
  }
  if (const Json& unknown = restored.at("access_unknown"); !unknown.empty()) {
    std::vector<std::string> ends;
    for (const Json& one : unknown) {
      const std::string what = one.at("what").get<std::string>();
      ends.push_back(Str("`longrun admin token revoke ", one.at("id").get<std::string>(), "` (",
                         one.at("kind").get<std::string>(),
                         what.empty() ? "" : Str(" \"", what, "\""), ")"));
    }
    steps.push_back(
        Str("if you revoked any of these after ",
            FormatWallMs(restored.at("facts").value("created_wall_ms", std::int64_t{0})),
            ", revoke it again, because the backup accepts it and no replaced database says that "
            "it has ended: ",
            FirstOf(ends), "; `longrun admin token list` lists all"));
  }
  const auto sweeps = restored.at("sweeps_since").get<std::vector<std::string>>();
  const auto n_attempts = restored.at("attempts_since").get<std::int64_t>();
  if (!sweeps.empty()) {
    steps.push_back(
        Str("submit again the sweeps that the backup does not have: ", Join(sweeps, ", "),
            "; workers have kept the journals of their tasks, which are then used "
            "instead of repeating the work"));
  } else if (!restored.at("replaced_is_read").get<bool>()) {
    steps.push_back(
        Str("submit again the sweeps that were first submitted after ",
            FormatWallMs(restored.at("facts").value("created_wall_ms", std::int64_t{0})),
            "; workers have kept the journals of their tasks, which are then used instead of "
            "repeating the work (the coordinator's log says how many each worker has)"));
  }
  for (const Json& dataset : restored.at("datasets_missing")) {
    steps.push_back(
        Str("import dataset ", dataset.at("name").get<std::string>(),
            " again, or put its folder back: ", dataset.at("folder").get<std::string>()));
  }
  if (const auto n = restored.at("artifacts_missing").get<std::int64_t>(); n > 0) {
    steps.push_back(Str("put artifacts/ back: the backup was taken without it, and ",
                        Counted(n, "file"), " of it ", n == 1 ? "is" : "are", " missing here"));
  }
  std::string text = "what to do next:\n";
  for (std::size_t i = 0; i < steps.size(); ++i) text += Str("  ", i + 1, ". ", steps[i], "\n");
  if (n_attempts > 0) {
    text += Str(Counted(n_attempts, "attempt"),
                " began after the backup; what workers have of them comes back\n");
  }
  return text;
}

int Restore(const RestoreArguments& given, const std::string& output, const std::string& state) {
  const Result<std::string> path = Absolute(given.file);
  if (!path.ok()) return Report(path.status());
  std::vector<std::string> arguments = {"--restore", *path};
  if (given.replaces) arguments.emplace_back("--replace");
  const Result<Administered> done = Administer(std::move(arguments), state);
  if (!done.ok()) return Report(done.status());
  const Json& restored = done->answer;
  if (output == "json") {
    Print(RenderJson(restored));
    return kExitOk;
  }
  const std::string moved_to = restored.at("moved_to").get<std::string>();
  PrintText(Str("restored ", *path, " into ", state, " (restore count ",
                restored.at("restore_count").get<std::int64_t>(), ", ",
                Counted(restored.at("files_new").get<std::int64_t>(), "file"), " added)\n",
                FactsText(restored.at("facts")),
                moved_to.empty() ? "" : Str("the replaced database is in ", moved_to, "\n"),
                EndedText(restored.at("access_ended")), "\n", NextSteps(restored)));
  return kExitOk;
}

// ---- check --------------------------------------------------------------------------------------

int Check(const std::optional<std::string>& file, const std::string& output,
          const std::string& state) {
  if (!file) {
    const Result<Administered> done = Administer({"--check-state"}, state);
    return done.ok() ? PrintChecked(state, *done, output) : Report(done.status());
  }
  const Result<std::string> path = Absolute(*file);
  if (!path.ok()) return Report(path.status());
  const Result<Administered> done = Administer({"--check-backup", *path}, state);
  return done.ok() ? PrintChecked(*path, *done, output) : Report(done.status());
}

}  // namespace

void AddAdminBackup(Verbs& verbs, Verb& admin) {
  Verb verb = admin.AddVerb("backup", "write a checked backup, also while the coordinator runs");
  verb.AddExamples({"longrun admin backup /backup/monday.tar",
                    "longrun admin backup /backup/latest.tar --replace",
                    "longrun admin backup /backup/database.tar --no-artifacts",
                    "longrun admin backup /safe/longrun.tar --with-keys"});
  const auto given = std::make_shared<BackupArguments>();
  verb.AddArgument("FILE", given->file, "the backup: a tar archive").Required();
  verb.AddFlag("--no-artifacts", given->no_artifacts,
               "leave out artifacts/ (checkpoints and imported models), which you back up by other "
               "means");
  verb.AddFlag("--with-keys", given->with_keys,
               "include pki/, the coordinator's private keys, so that workers and laptops accept a "
               "coordinator that is restored on another machine; keep such a FILE secret");
  verb.AddFlag("--replace", given->replaces,
               "replace an existing FILE once the new backup is complete and checked");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, given, output] { return Backup(*given, *output, verbs.state); });
}

void AddAdminRestore(Verbs& verbs, Verb& admin) {
  Verb verb = admin.AddVerb("restore", "restore a backup into the state folder");
  verb.AddExamples({"longrun admin restore /backup/monday.tar --state /var/lib/longrun",
                    "longrun admin restore /backup/monday.tar --replace"});
  const auto given = std::make_shared<RestoreArguments>();
  verb.AddArgument("FILE", given->file, "a backup").Required();
  verb.AddFlag("--replace", given->replaces,
               "move the state folder's database to a folder beside it; artifacts, files, datasets "
               "and workers' folders stay");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, given, output] { return Restore(*given, *output, verbs.state); });
}

void AddAdminCheck(Verbs& verbs, Verb& admin) {
  Verb verb = admin.AddVerb("check", "read all of a backup or a state folder, and list damage");
  verb.AddExamples({"longrun admin check /backup/monday.tar",
                    "longrun admin check --state /var/lib/longrun -o json"});
  const auto file = std::make_shared<std::optional<std::string>>();
  verb.AddArgument("FILE", *file, "a backup (default: the state folder)");
  const auto output = AddOutput(verb, {"table", "json"});
  verb.SetRun([&verbs, file, output] { return Check(*file, *output, verbs.state); });
}

}  // namespace longrun::client
