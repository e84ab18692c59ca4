// See damage.h.
#include "coordinator/store/damage.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun::coordinator {
namespace {

constexpr std::size_t kShownBytes = 80;
constexpr std::size_t kShortIdBytes = 8;

// Any bytes as one line of text. Every name and key goes through here, since the text is sent to
// clients, logged and printed.
std::string Shown(std::string_view text) {
  if (text.size() <= kShownBytes) return PrintableBytes(text);
  // Do not cut inside a character, which has at most 4 bytes.
  std::size_t end = kShownBytes;
  while (end > kShownBytes - 3 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return PrintableBytes(text.substr(0, end));
}

std::string ShortId(const std::string& id) { return Shown(id.substr(0, kShortIdBytes)); }

std::string ShortOf(const RowValues& row, std::string_view column) {
  return ShortId(row.Text(column));
}

constexpr std::string_view kSubmitAgain = "submit its sweep again, which rewrites it";

std::string ResultName(const std::string& metric, const std::string& length,
                       const std::string& variant, const std::string& run,
                       const std::string& task) {
  return Str("the result ", metric, length.empty() ? "" : " at " + length,
             variant.empty() ? "" : " (" + variant + ")", " of run ", run, " (task ", task, ")");
}

std::string MeasureAgain(const std::string& run) {
  return Str("measure it again: `longrun retry ", run, "`");
}

// What depends on the rows of a table: it decides how damage of them is reported, and what to do if
// the table has no remedy of its own.
enum class Role {
  kNumbers,  // results depend on them
  kNeeds,    // they say which files and tasks are needed
  kHistory,  // nothing depends on them
};

// Names a row for people, by at least two of its columns where it has them: a flipped bit leaves
// one readable.
using Namer = std::string (*)(const RowValues& row);
using Remedy = std::string (*)(const RowValues& row);

struct TableFacts {
  std::string_view table;
  Role role;
  Namer object = nullptr;   // null: the row is named by its key
  Remedy remedy = nullptr;  // null: that of the role
};

std::string ChangedOf(const RowValues& row) {
  const std::string subject = row.Text("subject");
  const std::string id = row.Text("id");
  return Str(Shown(subject), " ", subject == "task" ? ShortId(id) : Shown(id));
}

std::string FileName(const RowValues& row) { return Str("\"", Shown(row.Text("name")), "\""); }

// A table that is not here has the role kHistory.
constexpr TableFacts kTables[] = {
    {.table = "result",
     .role = Role::kNumbers,
     .object =
         [](const RowValues& row) {
           return ResultName(Shown(row.Text("metric")), Shown(row.Text("context_length")),
                             Shown(row.Text("variant")), ShortOf(row, "run_key"),
                             ShortOf(row, "task"));
         },
     .remedy = [](const RowValues& row) { return MeasureAgain(ShortOf(row, "run_key")); }},
    {.table = "run",
     .role = Role::kNumbers,
     .object =
         [](const RowValues& row) {
           return Str("the stored configuration of run ", ShortOf(row, "run_key"));
         }},
    {.table = "task",
     .role = Role::kNumbers,
     .object =
         [](const RowValues& row) {
           return Str(Shown(row.Text("kind")), " task ", ShortOf(row, "id"), " of run ",
                      ShortOf(row, "run_key"));
         }},
    {.table = "sweep", .role = Role::kNumbers},
    {.table = "sweep_run", .role = Role::kNumbers},
    {.table = "sweep_cell", .role = Role::kNumbers},
    {.table = "sweep_task", .role = Role::kNumbers},
    {.table = "cell", .role = Role::kNumbers},
    {.table = "dataset",
     .role = Role::kNumbers,
     .object =
         [](const RowValues& row) {
           return Str("the registration of dataset \"", Shown(row.Text("name")), "\"");
         },
     .remedy =
         [](const RowValues&) {
           return std::string("register it again: `longrun data register NAME FOLDER`");
         }},
    {.table = "model",
     .role = Role::kNumbers,
     .object =
         [](const RowValues& row) {
           return Str("the registration of model \"", Shown(row.Text("name")), "\"");
         },
     .remedy =
         [](const RowValues&) {
           return std::string("import it again: `longrun import NAME FOLDER`");
         }},
    {.table = "worker",
     .role = Role::kNumbers,
     .object =
         [](const RowValues& row) {
           return Str("the stored row of worker ", Shown(row.Text("id")), " on host \"",
                      Shown(row.Text("host")), "\"");
         },
     .remedy =
         [](const RowValues&) {
           return std::string("start that worker again, which rewrites it");
         }},
    {.table = "attempt",
     .role = Role::kNeeds,
     .object =
         [](const RowValues& row) {
           return Str("the stored row of attempt ", Shown(row.Text("n")), " of task ",
                      ShortOf(row, "task"), " (", Shown(row.Text("id")), ")");
         }},
    {.table = "checkpoint",
     .role = Role::kNeeds,
     .object =
         [](const RowValues& row) {
           return Str("the stored row of the checkpoint at step ", Shown(row.Text("step")),
                      " of task ", ShortOf(row, "task"), " (", ShortOf(row, "sha256"), ")");
         }},
    {.table = "checkpoint_file",
     .role = Role::kNeeds,
     .object =
         [](const RowValues& row) {
           return Str("the stored row of file ", FileName(row), " of checkpoint ",
                      ShortOf(row, "checkpoint"));
         }},
    {.table = "artifact",
     .role = Role::kNeeds,
     .object =
         [](const RowValues& row) {
           return Str("the stored row of file ", FileName(row), " of task ", ShortOf(row, "task"));
         }},
    {.table = "sweep_label",
     .role = Role::kNeeds,
     .object =
         [](const RowValues& row) {
           return Str("label \"", Shown(row.Text("key")), "\" of sweep ", Shown(row.Text("sweep")));
         },
     .remedy =
         [](const RowValues&) {
           return std::string("set it again: `longrun label SWEEP KEY=VALUE`");
         }},
    {.table = "record",
     .role = Role::kHistory,
     .object =
         [](const RowValues& row) {
           return Str("journal record ", Shown(row.Text("seq")), " (\"", Shown(row.Text("kind")),
                      "\") of attempt ", Shown(row.Text("attempt")));
         }},
    {.table = "series",
     .role = Role::kHistory,
     .object =
         [](const RowValues& row) {
           return Str("a point of a curve, at step ", Shown(row.Text("step")), " of attempt ",
                      Shown(row.Text("attempt")));
         }},
    {.table = "metric_name",
     .role = Role::kHistory,
     .object = [](const RowValues& row) { return Str("the name of the metric ", FileName(row)); }},
    {.table = "transition",
     .role = Role::kHistory,
     .object =
         [](const RowValues& row) {
           return Str("the change of ", ChangedOf(row), " from \"", Shown(row.Text("from_state")),
                      "\" to \"", Shown(row.Text("to_state")), "\"");
         }},
};

const TableFacts* FactsOf(std::string_view table) {
  const auto* const found = std::ranges::find(kTables, table, &TableFacts::table);
  return found == std::end(kTables) ? nullptr : found;
}

Role RoleOf(std::string_view table) {
  const TableFacts* const facts = FactsOf(table);
  return facts == nullptr ? Role::kHistory : facts->role;
}

std::string_view RemedyOf(Role role) {
  switch (role) {
    case Role::kNumbers:
      return kSubmitAgain;
    case Role::kNeeds:
      return "go on without it: no result depends on it, but `longrun gc` removes "
             "nothing until it is restored";
    case Role::kHistory:
      return "go on without it: no result depends on it";
  }
  __builtin_unreachable();
}

}  // namespace

bool NumbersRestOn(std::string_view table) { return RoleOf(table) == Role::kNumbers; }

DamagedRow DescribeDamage(const std::string& table, const std::vector<std::string>& key_columns,
                          const RowValues& row) {
  std::vector<std::string> key;
  key.reserve(key_columns.size());
  for (const std::string& column : key_columns)
    key.push_back(Str(column, " ", Shown(row.Text(column))));
  DamagedRow damaged{.table = table,
                     .key = Join(key, ", "),
                     .object = "",
                     .remedy = std::string(RemedyOf(RoleOf(table)))};
  const TableFacts* const facts = FactsOf(table);
  damaged.object = facts != nullptr && facts->object != nullptr
                       ? facts->object(row)
                       : Str("the row of table ", table, " with ", damaged.key);
  if (facts != nullptr && facts->remedy != nullptr) damaged.remedy = facts->remedy(row);
  return damaged;
}

DamagedRow DescribeLostResult(const std::string& run_key, const std::string& task,
                              const std::string& metric, std::int64_t context_length,
                              const std::string& variant, bool is_lost) {
  const std::string run = ShortId(run_key);
  return {
      .table = "result",
      .key = "",
      .object = ResultName(Shown(metric), Str(context_length), Shown(variant), run, ShortId(task)),
      .remedy = MeasureAgain(run),
      .is_lost = is_lost};
}

DamagedRow DescribeLostObject(const std::string& table, const std::string& id) {
  return DescribeLostMember(
      table, Str(table == "run" ? "the stored configuration of run " : "task ", ShortId(id)));
}

DamagedRow DescribeLostMember(const std::string& table, const std::string& what) {
  return {.table = table,
          .key = "",
          .object = PrintableBytes(what),
          .remedy = std::string(kSubmitAgain),
          .is_lost = true};
}

DamagedRow DescribeMissing(const std::string& table, const std::string& what) {
  return {.table = table,
          .key = "",
          .object = PrintableBytes(what),
          .remedy = std::string(RemedyOf(RoleOf(table))),
          .is_lost = true};
}

std::vector<DamagedRow> InBrief(const std::vector<DamagedRow>& rows) {
  std::vector<DamagedRow> brief;
  std::vector<const DamagedRow*> others;
  for (const DamagedRow& row : rows) {
    if (NumbersRestOn(row.table)) {
      brief.push_back(row);
    } else {
      others.push_back(&row);
    }
  }
  if (others.size() == 1) brief.push_back(*others.front());
  if (others.size() <= 1) return brief;
  std::set<std::string> tables;
  Role role = Role::kHistory;
  for (const DamagedRow* const row : others) {
    tables.insert(row->table);
    if (RoleOf(row->table) == Role::kNeeds) role = Role::kNeeds;
  }
  brief.push_back({.table = *tables.begin(),
                   .key = "",
                   .object = Str("part of the database's history (", others.size(), " rows of ",
                                 tables.size() == 1 ? "table " : "tables ",
                                 Join({tables.begin(), tables.end()}, ", "), ")"),
                   .remedy = Str(RemedyOf(role), "; `longrun doctor --deep` lists these rows")});
  return brief;
}

std::string DamageText(const DamagedRow& row) {
  return Str(row.object,
             row.is_lost ? " cannot be found, although it was stored: its row, or a row that leads "
                           "to it, is damaged"
                         : " is damaged: it does not match its stored checksum",
             "; longrun does not use it, and all other data is unaffected. You can ",
             kRestoreRemedy, ", or ", row.remedy);
}

}  // namespace longrun::coordinator
