// See damage.h.
#include "coordinator/store/damage.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun {
namespace {

constexpr std::size_t kShownBytes = 80;
constexpr std::size_t kShortIdBytes = 8;

// What may be any bytes, on one line. Every name and key goes through here: the text is sent to clients, logged
// and printed.
std::string Shown(std::string_view text) {
  if (text.size() <= kShownBytes) return PrintableBytes(text);
  // Not inside a character, which has at most 4 bytes.
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

// What a row of a table is for people, and what to do when it is damaged.
struct Wording {
  std::string_view table;
  std::string (*object)(const RowValues& row);
  std::string (*remedy)(const RowValues& row);
};

std::string SubmitAgain(const RowValues&) { return std::string(kSubmitAgain); }

// Those of other tables are named by their keys (kByKey, and what is not here).
constexpr Wording kWordings[] = {
    {.table = "result",
     .object =
         [](const RowValues& row) {
           return ResultName(Shown(row.Text("metric")), Shown(row.Text("context_length")),
                             Shown(row.Text("variant")), ShortOf(row, "run_key"),
                             ShortOf(row, "task"));
         },
     .remedy = [](const RowValues& row) { return MeasureAgain(ShortOf(row, "run_key")); }},
    {.table = "run",
     .object =
         [](const RowValues& row) {
           return Str("the stored configuration of run ", ShortOf(row, "run_key"));
         },
     .remedy = &SubmitAgain},
    {.table = "task",
     .object =
         [](const RowValues& row) {
           return Str(Shown(row.Text("kind")), " task ", ShortOf(row, "id"), " of run ",
                      ShortOf(row, "run_key"));
         },
     .remedy = &SubmitAgain},
    {.table = "dataset",
     .object =
         [](const RowValues& row) {
           return Str("what is registered of dataset \"", Shown(row.Text("name")), "\"");
         },
     .remedy =
         [](const RowValues&) {
           return std::string("register it again: `longrun data register NAME FOLDER`");
         }},
    {.table = "model",
     .object =
         [](const RowValues& row) {
           return Str("what is registered of model \"", Shown(row.Text("name")), "\"");
         },
     .remedy =
         [](const RowValues&) {
           return std::string("import it again: `longrun import NAME FOLDER`");
         }},
    {.table = "worker",
     .object =
         [](const RowValues& row) {
           return Str("what is known of worker ", Shown(row.Text("id")));
         },
     .remedy =
         [](const RowValues&) {
           return std::string("start that worker again, which rewrites it");
         }},
};
constexpr std::string_view kByKey[] = {"sweep", "sweep_run", "sweep_cell", "sweep_task", "cell"};
// No number rests on them, but they say which files are needed.
constexpr std::string_view kSayWhatIsNeeded[] = {"artifact", "attempt", "checkpoint",
                                                 "checkpoint_file"};

const Wording* WordingOf(std::string_view table) {
  const auto* const found = std::ranges::find(kWordings, table, &Wording::table);
  return found == std::end(kWordings) ? nullptr : found;
}

}  // namespace

bool NumbersRestOn(std::string_view table) {
  return WordingOf(table) != nullptr || std::ranges::find(kByKey, table) != std::end(kByKey);
}

DamagedRow DescribeDamage(const std::string& table, const std::vector<std::string>& key_columns,
                          const RowValues& row) {
  std::vector<std::string> key;
  key.reserve(key_columns.size());
  for (const std::string& column : key_columns)
    key.push_back(Str(column, " ", Shown(row.Text(column))));
  DamagedRow damaged{.table = table, .key = Join(key, ", "), .object = "", .remedy = ""};
  if (const Wording* const wording = WordingOf(table)) {
    damaged.object = wording->object(row);
    damaged.remedy = wording->remedy(row);
    return damaged;
  }
  damaged.object = Str("the row of table ", table, " with ", damaged.key);
  damaged.remedy = "nothing has to be done: no number in a table depends on it";
  if (NumbersRestOn(table)) damaged.remedy = kSubmitAgain;
  if (std::ranges::find(kSayWhatIsNeeded, table) != std::end(kSayWhatIsNeeded)) {
    damaged.remedy =
        "go on without it: no number in a table depends on it, but `longrun gc` removes nothing "
        "until it is restored";
  }
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

std::vector<DamagedRow> InBrief(const std::vector<DamagedRow>& rows) {
  std::vector<DamagedRow> brief;
  std::set<std::string> tables;
  std::size_t n_others = 0;
  for (const DamagedRow& row : rows) {
    if (NumbersRestOn(row.table)) {
      brief.push_back(row);
    } else {
      tables.insert(row.table);
      n_others += 1;
    }
  }
  if (n_others == 0) return brief;
  brief.push_back({.table = *tables.begin(),
                   .key = "",
                   .object = Str("history (rows: ", n_others, ", of ",
                                 Join({tables.begin(), tables.end()}, ", "), ")"),
                   .remedy = "nothing has to be done: no number in a table depends on it, and "
                             "`longrun doctor --deep` lists it"});
  return brief;
}

std::string DamageText(const DamagedRow& row) {
  return Str(
      row.object,
      row.is_lost ? " cannot be found, although it was stored: its row, or what leads to it, "
                    "is damaged"
                  : " is damaged: it does not have the checksum that it is stored with",
      "; it is left out, and everything else is kept: ", kRestoreRemedy, ", or ", row.remedy);
}

}  // namespace longrun
