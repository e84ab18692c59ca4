#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "client/tables/sweep_results.h"

namespace longrun::client {

// Text that distinguishes evaluations of one dataset, split and protocol from each other:
// "stride=32". Numbers of two evaluations are computed on different text or context, and are never
// in one table without this text.
// Each dataset is treated separately, since the number of tokens scored by default depends
// on a split's size.
class Evaluations {
 public:
  void Add(const ResultRow& row, const std::string& dataset);
  // Null if there is only one such evaluation. To be called after all rows were added.
  const Json& TextOf(const ResultRow& row, const std::string& dataset);

 private:
  // The data that many rows share.
  struct Known {
    std::string dataset;
    std::string metric;
    std::optional<std::string> split, protocol;
    Json evaluation;
    std::string group;  // all but the evaluation
    Json params = {};   // of the evaluation, without those that are axes
    std::optional<Json> text = {};
    Known* next = nullptr;  // of the rows that followed the last time
  };
  Known& Find(const ResultRow& row, const std::string& dataset);

  std::map<std::string, Known> known_;
  Known* last_ = nullptr;
  // What the evaluations of a group have under one key; some may not have it.
  struct Values {
    std::vector<Json> different;
    std::size_t n_evaluations = 0;
  };
  std::map<std::pair<std::string, std::string>, Values> values_;  // by group and key
  std::map<std::string, std::size_t> n_in_group_;                 // evaluations
};

// The parts of an evaluation's text that its name does not have: "score_tokens=8192" of "k=8,
// score_tokens=8192" and "last_k(every=64,k=8)".
std::string RestOfEvaluation(const std::string& name, const std::string& text);
// The part of a table's title for an evaluation: the protocol with its parameters, and the rest.
std::string TitleOfEvaluation(const std::string& name, const Json& text);

}  // namespace longrun::client
