// See damage.h.
#include "coordinator/store/damage.h"

#include <cctype>

#include "base/json.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::size_t kShownBytes = 80;
constexpr std::size_t kShortIdBytes = 8;

// What may be any bytes, on one line.
std::string Shown(std::string text) {
  if (text.size() > kShownBytes) text.resize(kShownBytes);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return ToUtf8(text);
}

std::string ShortOf(const RowValues& row, std::string_view column) {
  return Shown(row.Text(column).substr(0, kShortIdBytes));
}

constexpr std::string_view kSubmitAgain = "submit its sweep again, which writes it anew";

std::string ResultName(const std::string& metric, const std::string& length,
                       const std::string& variant, const std::string& run,
                       const std::string& task) {
  return Str("the result ", metric, length.empty() ? "" : " at " + length,
             variant.empty() ? "" : " (" + variant + ")", " of run ", run, " (task ", task, ")");
}

std::string MeasureAgain(const std::string& run) {
  return Str("measure it again: `longrun retry ", run, "`");
}

}  // namespace

DamagedRow DescribeDamage(const std::string& table, const std::vector<std::string>& key_columns,
                          const RowValues& row) {
  DamagedRow damaged;
  damaged.table = table;
  std::vector<std::string> key;
  for (const std::string& column : key_columns)
    key.push_back(Str(column, " ", Shown(row.Text(column))));
  damaged.key = Join(key, ", ");
  if (table == "result") {
    const std::string run = ShortOf(row, "run_key");
    damaged.object = ResultName(Shown(row.Text("metric")), Shown(row.Text("context_length")),
                                Shown(row.Text("variant")), run, ShortOf(row, "task"));
    damaged.remedy = MeasureAgain(run);
  } else if (table == "run") {
    damaged.object = Str("the stored configuration of run ", ShortOf(row, "run_key"));
    damaged.remedy = kSubmitAgain;
  } else if (table == "task") {
    damaged.object = Str(Shown(row.Text("kind")), " task ", ShortOf(row, "id"), " of run ",
                         ShortOf(row, "run_key"));
    damaged.remedy = kSubmitAgain;
  } else if (table == "sweep" || table == "sweep_run" || table == "sweep_cell" ||
             table == "sweep_task" || table == "cell") {
    damaged.object = Str("the row of table ", table, " with ", damaged.key);
    damaged.remedy = kSubmitAgain;
  } else if (table == "dataset") {
    damaged.object = Str("what is registered of dataset \"", Shown(row.Text("name")), "\"");
    damaged.remedy = "register it again: `longrun data register NAME FOLDER`";
  } else if (table == "model") {
    damaged.object = Str("what is registered of model \"", Shown(row.Text("name")), "\"");
    damaged.remedy = "import it again: `longrun import NAME FOLDER`";
  } else if (table == "worker") {
    damaged.object = Str("what is known of worker ", Shown(row.Text("id")));
    damaged.remedy = "start that worker again, which writes it anew";
  } else {
    damaged.object = Str("the row of table ", table, " with ", damaged.key);
    damaged.remedy = "go on without it: no number of a table rests on it";
  }
  return damaged;
}

DamagedRow DescribeLostResult(const std::string& run_key, const std::string& task,
                              const std::string& metric, std::int64_t context_length,
                              const std::string& variant) {
  const std::string run = run_key.substr(0, kShortIdBytes);
  return {.table = "result",
          .key = "",
          .object =
              ResultName(metric, Str(context_length), variant, run, task.substr(0, kShortIdBytes)),
          .remedy = MeasureAgain(run)};
}

DamagedRow DescribeLostObject(const std::string& table, const std::string& id) {
  return {.table = table,
          .key = "",
          .object = Str(table == "run" ? "the stored configuration of run " : "task ",
                        id.substr(0, kShortIdBytes)),
          .remedy = std::string(kSubmitAgain)};
}

std::string DamageText(const DamagedRow& row) {
  return Str(
      row.object,
      " is damaged: it does not have the checksum that it is stored with; it is left out, and "
      "all else stands: ",
      kRestoreRemedy, ", or ", row.remedy);
}

}  // namespace longrun
