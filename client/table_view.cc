#include "client/table_view.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/str.h"
#include "client/render.h"

namespace longrun {
namespace {

constexpr double kNatsPerBit = 0.69314718055994530942;

// One measured value: the body of a result row with its perplexity.
struct Measured {
  std::string status;
  double nll = 0.0;
  std::optional<double> nll_se = {};
  std::int64_t n = 0;
  std::int64_t bytes = 0;
  double nll_sum = 0.0;

  double perplexity() const { return std::exp(nll); }
};

Measured Measure(const Json& body) {
  Measured m{.status = body.at("status").get<std::string>()};
  if (m.status != "ok") return m;
  m.n = body.at("n").get<std::int64_t>();
  m.nll_sum = body.at("nll_sum").get<double>();
  m.nll = m.nll_sum / static_cast<double>(m.n);
  if (body.at("se").is_number()) m.nll_se = body.at("se").get<double>();
  if (body.at("bytes").is_number()) m.bytes = body.at("bytes").get<std::int64_t>();
  return m;
}

Json OptionalNumber(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json(nullptr);
}

// Folds the seeds of one cell. `wanted` seeds have a run in the sweep.
Json FoldSeeds(std::int64_t context_length, const std::vector<Measured>& seeds,
               std::size_t wanted) {
  Json cell = {{"context_length", context_length},
               {"of", wanted},
               {"answered", 0},
               {"seeds", 0},
               {"perplexity", nullptr},
               {"se", nullptr},
               {"nll", nullptr},
               {"n", 0},
               {"bits_per_byte", nullptr},
               {"status", "missing"}};
  std::vector<Measured> ok;
  std::size_t answered = 0;  // "not applicable" is an answer too
  for (const Measured& m : seeds) {
    if (m.status != "missing") ++answered;
    if (m.status == "ok") {
      ok.push_back(m);
    } else {
      cell["status"] = m.status;
    }
  }
  cell["answered"] = answered;
  if (ok.empty()) return cell;
  const auto count = static_cast<double>(ok.size());
  double mean = 0.0;
  double nll = 0.0;
  double nll_sum = 0.0;
  std::int64_t n = 0;
  std::int64_t bytes = 0;
  for (const Measured& m : ok) {
    mean += m.perplexity() / count;
    nll += m.nll / count;
    nll_sum += m.nll_sum;
    n += m.n;
    bytes += m.bytes;
  }
  std::optional<double> se;
  if (ok.size() == 1) {
    if (ok[0].nll_se) se = mean * *ok[0].nll_se;
  } else {
    double squares = 0.0;
    for (const Measured& m : ok) squares += (m.perplexity() - mean) * (m.perplexity() - mean);
    se = std::sqrt(squares / (count - 1.0) / count);
  }
  if (cell.at("status") == "missing") cell["status"] = "ok";
  cell["seeds"] = ok.size();
  cell["perplexity"] = OptionalNumber(mean);
  cell["se"] = OptionalNumber(se);
  cell["nll"] = nll;
  cell["n"] = n;
  if (bytes > 0) cell["bits_per_byte"] = nll_sum / kNatsPerBit / static_cast<double>(bytes);
  return cell;
}

// A point of the matrix without its seed, in the order in which it first came.
struct Point {
  Json dimensions = Json::object();
  std::int64_t train_length = 0;
  std::vector<std::string> run_keys = {};
  Json seeds = Json::array();
};

struct Group {  // one evaluation: a split and a protocol
  std::set<std::int64_t> context_lengths;
  // run key (or, for a baseline, dataset) and context length -> value
  std::map<std::pair<std::string, std::int64_t>, Measured> values;
  std::map<std::string, std::map<std::pair<std::string, std::int64_t>, Measured>> baselines;
};

std::vector<Point> Points(const Json& results) {
  std::vector<Point> points;
  std::map<std::string, std::size_t> at;
  for (const Json& run : results.at("runs")) {
    Point point{.train_length = run.at("run").at("train").at("train_length").get<std::int64_t>()};
    point.dimensions = run.at("axes");
    const Json seed =
        point.dimensions.contains("seed") ? point.dimensions.at("seed") : run.at("run").at("seed");
    point.dimensions.erase("seed");
    const std::string key = CanonicalJson(point.dimensions);
    const auto [found, fresh] = at.emplace(key, points.size());
    if (fresh) points.push_back(std::move(point));
    points[found->second].run_keys.push_back(run.at("run_key").get<std::string>());
    points[found->second].seeds.push_back(seed);
  }
  return points;
}

// "validation, nonoverlap" -> its rows; also the lengths that are only wanted so far.
std::map<std::pair<std::string, std::string>, Group> Groups(const Json& results) {
  std::map<std::string, std::string> dataset_of;
  std::map<std::pair<std::string, std::string>, Group> groups;
  for (const Json& run : results.at("runs")) {
    dataset_of[run.at("run_key").get<std::string>()] = run.at("dataset").get<std::string>();
  }
  for (const Json& row : results.at("rows")) {
    const Json& body = row.at("body");
    if (body.at("metric") != "nll") continue;
    Group& group =
        groups[{body.at("split").get<std::string>(), body.at("protocol").get<std::string>()}];
    const auto length = body.at("context_length").get<std::int64_t>();
    const std::string run_key = row.at("run_key").get<std::string>();
    group.context_lengths.insert(length);
    if (body.at("variant").is_string()) {
      group.baselines[body.at("variant").get<std::string>()][{dataset_of[run_key], length}] =
          Measure(body);
    } else {
      group.values[{run_key, length}] = Measure(body);
    }
  }
  return groups;
}

Json PointRow(const Point& point, const Group& group) {
  Json row = point.dimensions;
  row["seeds"] = point.seeds;
  row["cells"] = Json::array();
  for (const std::int64_t length : group.context_lengths) {
    std::vector<Measured> seeds;
    for (const std::string& run_key : point.run_keys) {
      const auto found = group.values.find({run_key, length});
      if (found != group.values.end()) seeds.push_back(found->second);
    }
    Json cell = FoldSeeds(length, seeds, point.run_keys.size());
    cell["at_train_length"] = length == point.train_length;
    cell["best"] = false;
    row["cells"].push_back(std::move(cell));
  }
  return row;
}

// Marks the smallest perplexity of each column.
void MarkBest(Json& rows, std::size_t columns) {
  for (std::size_t c = 0; c < columns; ++c) {
    Json* best = nullptr;
    for (Json& row : rows) {
      Json& cell = row.at("cells").at(c);
      if (!cell.at("perplexity").is_number()) continue;
      if (best == nullptr || cell.at("perplexity") < best->at("perplexity")) best = &cell;
    }
    if (best != nullptr && rows.size() > 1) (*best)["best"] = true;
  }
}

Json Baselines(const Group& group) {
  Json list = Json::array();
  for (const auto& [name, values] : group.baselines) {
    std::set<std::string> datasets;
    for (const auto& [key, value] : values) datasets.insert(key.first);
    for (const std::string& dataset : datasets) {
      Json row = {{"name", name}, {"dataset", dataset}, {"cells", Json::array()}};
      for (const std::int64_t length : group.context_lengths) {
        const auto found = values.find({dataset, length});
        row["cells"].push_back(found == values.end() ? FoldSeeds(length, {}, 1)
                                                     : FoldSeeds(length, {found->second}, 1));
      }
      list.push_back(std::move(row));
    }
  }
  return list;
}

std::string Fixed(double value, int digits) {
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, digits);
  return end.ec == std::errc() ? std::string(buffer, end.ptr) : Str(value);
}

// "6.69", "[6.69]" at the train length, "6.69*" for the best of the column; "±" where it is known.
std::string CellText(const Json& cell) {
  std::string text;
  const std::string status = cell.at("status").get<std::string>();
  if (cell.at("perplexity").is_number()) {
    const double value = cell.at("perplexity").get<double>();
    const int digits = value < 100 ? 2 : value < 10'000 ? 1 : 0;
    text = Fixed(value, digits);
    if (cell.at("se").is_number()) text += Str("±", Fixed(cell.at("se").get<double>(), digits));
    if (cell.at("seeds") < cell.at("of")) {
      text +=
          Str(" ", cell.at("seeds").get<std::int64_t>(), "/", cell.at("of").get<std::int64_t>());
    }
  } else {
    text = status == "missing" ? "–" : status;
  }
  if (cell.value("at_train_length", false)) text = Str("[", text, "]");
  if (cell.value("best", false)) text += "*";
  return text;
}

}  // namespace

Json BuildTables(const Json& results) {
  const std::vector<Point> points = Points(results);
  Json axes = Json::array();
  for (const Json& axis : results.at("axes")) {
    if (axis != "seed") axes.push_back(axis);
  }
  Json tables = Json::array();
  for (const auto& [key, group] : Groups(results)) {
    Json table = {{"metric", "perplexity"},
                  {"split", key.first},
                  {"protocol", key.second},
                  {"axes", axes},
                  {"rows", Json::array()}};
    table["context_lengths"] = group.context_lengths;
    for (const Point& point : points) table["rows"].push_back(PointRow(point, group));
    MarkBest(table["rows"], group.context_lengths.size());
    table["baselines"] = Baselines(group);
    tables.push_back(std::move(table));
  }
  return tables;
}

bool TablesComplete(const Json& tables) {
  for (const Json& table : tables) {
    for (const Json& row : table.at("rows")) {
      for (const Json& cell : row.at("cells")) {
        if (cell.at("answered") < cell.at("of")) return false;
      }
    }
  }
  return !tables.empty();
}

std::string RenderTables(const Json& tables) {
  std::string out;
  for (const Json& table : tables) {
    if (!out.empty()) out += "\n";
    std::vector<std::string> header;
    std::vector<Align> align;
    for (const Json& axis : table.at("axes")) {
      const std::string name = axis.get<std::string>();
      header.push_back(name.substr(name.rfind('.') + 1));
      align.push_back(Align::kLeft);
    }
    for (const Json& length : table.at("context_lengths")) {
      header.push_back(AxisText(length));
      align.push_back(Align::kRight);
    }
    std::vector<std::vector<std::string>> rows;
    for (const Json& row : table.at("rows")) {
      std::vector<std::string> fields;
      for (const Json& axis : table.at("axes")) {
        fields.push_back(AxisText(row.value(axis.get<std::string>(), Json(""))));
      }
      for (const Json& cell : row.at("cells")) fields.push_back(CellText(cell));
      rows.push_back(std::move(fields));
    }
    for (const Json& baseline : table.at("baselines")) {
      std::vector<std::string> fields(table.at("axes").size());
      if (!fields.empty()) fields[0] = AxisText(baseline.at("name"));
      for (std::size_t a = 1; a < fields.size(); ++a) {
        if (table.at("axes")[a] == "dataset") fields[a] = AxisText(baseline.at("dataset"));
      }
      for (const Json& cell : baseline.at("cells")) fields.push_back(CellText(cell));
      rows.push_back(std::move(fields));
    }
    out += Str("perplexity by context length (", AxisText(table.at("split")), ", ",
               AxisText(table.at("protocol")), ")\n");
    out += RenderColumns(header, align, rows);
    out += "[ ] train length   * best of the column   ± standard error\n";
  }
  return out;
}

std::string RenderTablesCsv(const Json& tables) {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
  const auto number = [](const Json& value) {
    return value.is_null() ? std::string() : AxisText(value);
  };
  for (const Json& table : tables) {
    if (header.empty()) {
      for (const Json& axis : table.at("axes")) header.push_back(axis.get<std::string>());
      header.insert(header.end(), {"baseline", "split", "protocol", "context_length", "perplexity",
                                   "se", "nll", "n", "bits_per_byte", "seeds", "of", "status"});
    }
    const auto cells = [&](const Json& row, const std::string& baseline) {
      for (const Json& cell : row.at("cells")) {
        std::vector<std::string> fields;
        for (const Json& axis : table.at("axes")) {
          fields.push_back(AxisText(row.value(axis.get<std::string>(), Json(""))));
        }
        fields.insert(fields.end(),
                      {baseline, AxisText(table.at("split")), AxisText(table.at("protocol")),
                       number(cell.at("context_length")), number(cell.at("perplexity")),
                       number(cell.at("se")), number(cell.at("nll")), number(cell.at("n")),
                       number(cell.at("bits_per_byte")), number(cell.at("seeds")),
                       number(cell.at("of")), AxisText(cell.at("status"))});
        rows.push_back(std::move(fields));
      }
    };
    for (const Json& row : table.at("rows")) cells(row, "");
    for (const Json& row : table.at("baselines")) cells(row, AxisText(row.at("name")));
  }
  return RenderCsv(header, rows);
}

}  // namespace longrun
