#include "client/words/older_sweeps.h"

#include <algorithm>
#include <cstdint>

#include "base/json.h"
#include "base/str.h"
#include "client/console/output.h"
#include "client/wire/messages.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

// A longer search is not worth the wait: the line is left out.
constexpr std::int64_t kTimeoutMs = 2'000;

}  // namespace

void SayOlderSweeps(SweepCalls& client, const std::string& sweep,
                    const std::vector<std::string>& shown_ids) {
  const Result<v1::ListSweepsResponse> all = client.ListSweepsNamed(sweep);
  if (!all.ok()) return;
  const bool is_one = std::ranges::none_of(all->sweeps(), [&](const v1::SweepInfo& info) {
    return info.name() == sweep && std::ranges::find(shown_ids, info.sweep_id()) == shown_ids.end();
  });
  if (is_one) return;
  // The name is one of a stored sweep, so it has no quotes.
  const std::string shown = Str("('", Join(shown_ids, "', '"), "')");
  const std::string older = Str("sweep = '", sweep, "' AND sweep_id NOT IN ", shown);
  const std::string newest = Str("sweep_id IN ", shown);
  const Result<v1::QueryResponse> answer =
      client.Query(Str("SELECT count(*) FROM (SELECT sweep_id FROM sweep_runs WHERE ", older,
                       " AND run_key NOT IN (SELECT run_key FROM sweep_runs WHERE ", newest,
                       ") UNION SELECT sweep_id FROM sweep_results WHERE ", older,
                       " AND cell NOT IN (SELECT cell FROM sweep_results WHERE ", newest, "))"),
                   {.timeout_ms = kTimeoutMs, .answer_ms = 5 * kTimeoutMs});
  if (!answer.ok()) return;
  const Json rows = JsonIn(answer->rows_json());
  const bool has_count = rows.is_array() && rows.size() == 1 && rows[0].is_array() &&
                         rows[0].size() == 1 && rows[0][0].is_number_integer();
  const auto n_older = has_count ? rows[0][0].get<std::int64_t>() : 0;
  if (n_older == 0) return;
  SayLine(Str(n_older, n_older == 1 ? " older sweep" : " older sweeps", " named \"", sweep, "\" ",
              n_older == 1 ? "has" : "have",
              " runs or numbers that the newest does not have: `longrun ls ", sweep,
              "` shows the ids"));
}

}  // namespace longrun::client
