#include "client/tables/table_json.h"

#include <cmath>

#include "client/tables/table_parts.h"
#include "client/words/render.h"

namespace longrun::client {
namespace {

Json SeedJson(const SeedValue& seed) {
  return {{"seed", seed.seed},
          {"run", seed.run_key},
          {"cell", seed.cell.empty() ? Json() : Json(seed.cell)},
          {"attempt", seed.attempt.empty() ? Json() : Json(seed.attempt)},
          {"value", NumberOrNull(seed.value)},
          {"se", NumberOrNull(seed.se)},
          {"n", seed.n},
          {"status", seed.status}};
}

// The key of the number itself: the metric's name where the table has one.
std::string ValueKey(const PivotTable& table) {
  return table.metrics.size() == 1 ? table.metrics.front().name : "value";
}

// {"se_seeds","df_seeds","se_text","df_text","ci95",..}; of a share also "wilson95", which is not
// `ci95` where the seeds vary more.
void AddErrors(const PivotTable& table, const PivotCell& cell, Json& json) {
  const ErrorPart &seeds = cell.estimate.seeds, &text = cell.estimate.text;
  const auto finite = [](double value) { return std::isfinite(value) ? Json(value) : Json(); };
  json["se_seeds"] = NumberOrNull(OnValueScale(table, cell, seeds.se));
  json["df_seeds"] = seeds.se ? finite(seeds.df) : Json();
  json["se_text"] = NumberOrNull(OnValueScale(table, cell, text.se));
  json["df_text"] = text.se ? finite(text.df) : Json();
  json["ci95"] = nullptr;
  if (const auto interval = Interval95(table, cell)) {
    json["ci95"] = Json::array({finite(interval->first), finite(interval->second)});
  }
  if (IsShare(table, cell)) {
    const auto& wilson = text.ends95;
    json["wilson95"] = wilson ? Json::array({wilson->first, wilson->second}) : Json();
  }
  const std::string_view clusters = ClustersName(cell.clusters);
  json["clusters"] = clusters.empty() ? Json() : Json(clusters);
  json["n_clusters"] = cell.n_clusters ? Json(*cell.n_clusters) : Json();
  if (!table.relative && table.against.empty()) {
    json["p_best"] = NumberOrNull(cell.p_best);
    return;
  }
  json["p"] = NumberOrNull(OnlyP(cell.p));
  json["p_holm"] = NumberOrNull(cell.p_holm);
  json["text_is_paired"] = cell.is_text_paired;
  if (!table.against.empty()) json["seeds_matched"] = cell.n_seeds_matched;
}

Json CellJson(const PivotTable& table, std::size_t column, const PivotCell& cell) {
  Json json = {{"se", NumberOrNull(cell.se)},
               {"se_over", !cell.se ? Json() : Json(ErrorSourceName(cell.error.source))},
               {"nll", NumberOrNull(cell.nll)},
               {"n", cell.n},
               {"bits_per_byte", NumberOrNull(cell.bits_per_byte)},
               {"seeds", cell.n_ok},
               {"answered", cell.n_answered},
               {"of", cell.n_wanted},
               {"status", cell.status},
               {"at_train_length", cell.at_train_length},
               {"best", cell.is_best}};
  AddErrors(table, cell, json);
  if (cell.window_tokens > 0) {
    json["window_tokens"] = cell.window_tokens;
    json["p_window"] = NumberOrNull(cell.p_window_holm);
    json["like_window"] = cell.is_like_window;
    if (cell.is_window_of_base) json["window_of"] = "base";
  } else if (cell.lacks_window) {
    json["like_window"] = nullptr;
  }
  if (cell.longest_prompt > 0) json["longest_prompt"] = cell.longest_prompt;
  if (cell.metric.is_speed()) {
    json["quantiles"] = nullptr;
    for (std::size_t i = 0; cell.quantiles && i < kQuantiles.size(); ++i) {
      json["quantiles"][kQuantiles[i]] = (*cell.quantiles)[i];
    }
  }
  json[ValueKey(table)] = NumberOrNull(cell.value);
  for (std::size_t a = 0; a < table.col_axes.size(); ++a) {
    json[table.col_axes[a]] = table.columns[column][a];
  }
  json["values"] = Json::array();
  for (const SeedValue& seed : cell.seeds) json["values"].push_back(SeedJson(seed));
  return json;
}

Json RowJson(const PivotTable& table, const PivotRow& row) {
  Json json = Json::object();
  if (row.baseline.empty()) {
    for (std::size_t a = 0; a < table.row_axes.size(); ++a) json[table.row_axes[a]] = row.key[a];
    json["seeds"] = row.seeds;
    json["runs"] = row.run_keys;
  } else {
    json["name"] = row.baseline;
    json["dataset"] = row.dataset;
  }
  json["cells"] = Json::array();
  for (std::size_t c = 0; c < row.cells.size(); ++c) {
    json["cells"].push_back(CellJson(table, c, row.cells[c]));
  }
  return json;
}

Json TableJson(const PivotTable& table) {
  Json json = {{"relative", table.relative},
               {"against", table.against.empty() ? Json() : Json(table.against)},
               {"axes", table.row_axes},
               {"column_axes", table.col_axes},
               {"columns", table.columns},
               {"rows", Json::array()},
               {"baselines", Json::array()}};
  json["metric"] = Json::array();
  for (const ResultMetric& metric : table.metrics) json["metric"].push_back(metric.name);
  if (table.metrics.size() == 1) json["metric"] = table.metrics.front().name;
  for (const auto& [axis, value] : table.fixed) json[axis] = value;
  for (const PivotRow& row : table.rows) {
    json[row.baseline.empty() ? "rows" : "baselines"].push_back(RowJson(table, row));
  }
  return json;
}

}  // namespace

Json TablesJson(const std::vector<PivotTable>& tables) {
  Json list = Json::array();
  for (const PivotTable& table : tables) list.push_back(TableJson(table));
  return list;
}

std::string RenderTablesJson(const std::vector<PivotTable>& tables) {
  return RenderJson(TablesJson(tables));
}

std::string RenderTablesJsonl(const std::vector<PivotTable>& tables) {
  std::string out;
  for (const PivotTable& table : tables) {
    for (const PivotRow& row : table.rows) {
      for (std::size_t c = 0; c < row.cells.size(); ++c) {
        const PivotCell& cell = row.cells[c];
        if (cell.status == "not_asked") continue;
        Json line = CellJson(table, c, cell);
        for (std::size_t a = 0; a < table.row_axes.size(); ++a)
          line[table.row_axes[a]] = row.key[a];
        for (const auto& [axis, value] : table.fixed) line[axis] = value;
        line["metric"] = cell.metric.name;
        line["relative"] = table.relative;
        line["against"] = table.against.empty() ? Json() : Json(table.against);
        line["baseline"] = row.baseline.empty() ? Json() : Json(row.baseline);
        out += CanonicalJson(line) + "\n";
      }
    }
  }
  return out;
}

}  // namespace longrun::client
