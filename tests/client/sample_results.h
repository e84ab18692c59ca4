// Results as a test writes them: a run is a line, a row is a line.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "client/tables/sweep_results.h"

namespace longrun::client {

inline ResultRun RunOf(const std::string& key, const Json& position, int train_length, int seed,
                       const std::string& dataset = "austen") {
  return {
      .run_key = key,
      .dataset = dataset,
      .axes = {{"position", position},
               {"train_length", train_length},
               {"dataset", dataset},
               {"seed", seed}},
      .resolved = {{"seed", seed},
                   {"model", {{"n_layer", 3}}},
                   {"position", position},
                   {"dataset", {{"digest", dataset}}},
                   {"train", {{"train_length", train_length}, {"optimizer", {{"lr", 0.002}}}}}}};
}

// The body of a row as a trainer writes it: of n tokens, one byte each, whose mean is
// ln(perplexity) and whose error is se.
inline Json BodyOf(int context_length, double perplexity, int n, const Json& variant = nullptr,
                   double se = 0.01) {
  return {{"metric", "nll"},
          {"context_length", context_length},
          {"split", "validation"},
          {"protocol", "nonoverlap"},
          {"averaging", "token"},
          {"variant", variant},
          {"value", std::log(perplexity)},
          {"se", se},
          {"n", n},
          {"nll_sum", n * std::log(perplexity)},
          {"bytes", n},
          {"status", "ok"}};
}

inline ResultRow RowWith(const std::string& key, const Json& body) {
  return {.run_key = key,
          .cell = key + "-" + body.at("context_length").dump(),
          .attempt = "attempt-" + key,
          .body = ReadBody(body)};
}

inline ResultRow RowOf(const std::string& key, int context_length, double perplexity, int n,
                       const Json& variant = nullptr, double se = 0.01) {
  return RowWith(key, BodyOf(context_length, perplexity, n, variant, se));
}

// A row of 100 tokens in each block of the text, with these means.
inline ResultRow RowOfBlocks(const std::string& key, int context_length,
                             const std::vector<double>& nll, double se = 0.3) {
  Json begin = Json::array(), n = Json::array();
  double mean = 0.0;
  for (std::size_t b = 0; b < nll.size(); ++b) {
    begin.push_back(100 * b);
    n.push_back(100);
    mean += nll[b] / static_cast<double>(nll.size());
  }
  Json body =
      BodyOf(context_length, std::exp(mean), static_cast<int>(100 * nll.size()), nullptr, se);
  body["extra"] = {{"clusters", "block"},
                   {"n_clusters", nll.size()},
                   {"df", static_cast<double>(nll.size()) - 1.0},
                   {"blocks", {{"begin", begin}, {"n", n}, {"nll", nll}}}};
  return RowWith(key, body);
}

// A row whose nll is finite and whose perplexity, exp(1000), is beyond every double.
inline ResultRow RowBeyond(const std::string& key, int context_length) {
  ResultRow row = RowOf(key, context_length, 1.0, 10);
  row.body.value = 1000.0;
  row.body.nll_sum = 10'000.0;
  return row;
}

// What one direction of a throughput gives at a length.
inline ResultRow ThroughputRow(const std::string& key, const char* metric, const char* direction,
                               int context_length, double value) {
  Json body = BodyOf(context_length, 1.0, 2, direction);
  body["metric"] = metric;
  body["value"] = value;
  for (const char* name : {"split", "protocol", "averaging", "se", "nll_sum", "bytes"}) {
    body[name] = nullptr;
  }
  ResultRow row = RowWith(key, body);
  row.evaluation = {{"throughput", {{"iterations", 2}}}};
  return row;
}

// A row without a number. One that is only owed ("missing") has less, as the coordinator says it.
inline ResultRow RowWithout(const std::string& key, int context_length, const std::string& status) {
  Json body = BodyOf(context_length, 1.0, 1);
  body["status"] = status;
  for (const char* name : {"value", "se", "nll_sum"}) body[name] = nullptr;
  if (status != "missing") return RowWith(key, body);
  for (const char* name : {"averaging", "value", "se", "n", "nll_sum", "bytes"}) body.erase(name);
  ResultRow row = RowWith(key, body);
  row.attempt = "";
  return row;
}

// A row of the protocol per_position at a context of 4 tokens, with this curve as a trainer writes
// it.
inline ResultRow RowOfCurve(const std::string& key, double nll_sum, int n, const Json& curve) {
  Json body = BodyOf(4, 1.0, n);
  body["protocol"] = "per_position";
  body["nll_sum"] = nll_sum;
  body["value"] = nll_sum / n;
  body["extra"]["buckets"] = curve;
  ResultRow row = RowWith(key, body);
  row.evaluation["perplexity"] = {
      {"protocol", "per_position"}, {"buckets", 64}, {"spacing", "fixed"}};
  return row;
}

// The same, of two targets at each position: perplexities by position.
inline ResultRow RowByPosition(const std::string& key, const std::vector<double>& perplexities) {
  Json nll = Json::array();
  double sum = 0.0;
  for (const double perplexity : perplexities) {
    nll.push_back(std::log(perplexity));
    sum += 2 * std::log(perplexity);
  }
  return RowOfCurve(key, sum, 8, {{"begin", {1, 2, 3, 4}}, {"n", {2, 2, 2, 2}}, {"nll", nll}});
}

inline SweepResults ResultsOf(std::vector<ResultRun> runs, std::vector<ResultRow> rows) {
  return {.axes = {"position", "train_length", "dataset", "seed"},
          .runs = std::move(runs),
          .rows = std::move(rows)};
}

}  // namespace longrun::client
