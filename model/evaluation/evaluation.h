// An evaluation: something that is measured of a trained model at a context length. One file and
// one line of registry.cc each; its parameters are a table of data, from which the sweep file's
// schema comes. Torch-free: the model is a LanguageModel.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "model/data/dataset.h"
#include "model/evaluation/window.h"
#include "model/language_model.h"
#include "model/param.h"

namespace longrun {

// What the cells of one task share: one evaluation of one trained model at several lengths. Only
// what is exact: the text is read once, and a call of the model that was made before is not made
// again (window.h). The request's dataset, model of a variant and parameters but for the length must
// be the same in all cells that are given the same object.
struct SharedWork {
  std::vector<std::int32_t> tokens;            // of the split, from its beginning
  std::map<std::string, WindowCache> windows;  // by variant
};

struct EvaluationRequest {
  const Dataset* dataset = nullptr;
  // Resolved parameters; the list of lengths may be left out (a task owes single cells).
  Json params = Json::object();
  std::int64_t context_length = 0;
  // "": the model of the run. Else a baseline's name, which is written into the rows: the caller
  // gives that model ("unigram": UnigramModel of model/data/unigram.h).
  std::string variant{};
  std::int64_t windows_per_call = 1;  // given to the model at once; no part of the result
  SharedWork* shared = nullptr;       // null: nothing is kept
  Json machine = nullptr;             // what measures, for rows that depend on it
  std::string dataset_folder{};       // of `dataset`, with its tokenizer
  std::string files_dir{};            // where files that parameters name are kept (input_file.h)
};

// What a sweep knows of a dataset before a token is read.
struct DatasetShape {
  std::string_view name;
  std::map<std::string, std::int64_t> split_tokens;
};

// The name of a row of a cell: {"nll", ""}, {"nll", "unigram"}.
struct RowName {
  std::string_view metric;
  std::string variant;  // "": the model itself

  bool operator==(const RowName&) const = default;
};

struct EvaluationArtifact {
  std::string name;  // "documents-nll-validation-1024.csv"
  std::string bytes;
};

struct EvaluationOutput {
  std::vector<Json> rows;  // bodies of `result` records (sweeps/event.h), without "cell"
  std::vector<EvaluationArtifact> artifacts;
};

// (done, of) in units of the evaluation's own; false stops it.
using EvaluationProgress = std::function<bool(std::int64_t, std::int64_t)>;

struct Evaluation {
  std::string_view name;
  std::string_view source;  // where the protocol is defined
  std::string_view meaning;
  std::vector<ParamSpec> params;
  // The rows of a cell (one context length) with resolved parameters, that of the model itself
  // first; those of one variant stand together.
  std::vector<RowName> (*rows)(const Json& params);
  // Whether a variant is another model, scored in the same way ("unigram"), which the caller gives.
  bool variants_are_models = false;
  // Writes into resolved parameters (context_lengths ascending among them) what depends on the
  // dataset, so that a cell says what it measures whatever stands beside it; the error, by the
  // parameter's name, when this dataset cannot serve them.
  std::optional<ParamError> (*fit)(const DatasetShape& dataset, Json& params);
  // Which models it asks: those that predict the next token, those that guess hidden ones, or all.
  enum class Reads { kAny, kCausal, kBidirectional };
  Reads reads = Reads::kAny;
  // Errors are those of the request (a split that is not there, too few tokens: named) and of the
  // dataset. What the model cannot do is no error but a row with another status than ok.
  // kCancelled when `progress` said stop.
  Result<EvaluationOutput> (*run)(LanguageModel& model, const EvaluationRequest& request,
                                  const EvaluationProgress& progress);
  // Tokens that the model reads for one cell with fitted parameters: what a forecast of its time
  // rests on. Counted on a beginning of the split, and scaled. Null: there is no such number.
  double (*tokens_read)(const DatasetShape& dataset, const Json& params,
                        std::int64_t context_length) = nullptr;
  // The parameter that names a file, by its path or as "sha256:HEX"; resolved it is the latter
  // (input_file.h). "": there is none.
  std::string_view file_param = "";
  // What is wrong in that file: it begins with "NAME:LINE: ". Given with complete parameters.
  Status (*check_file)(std::string_view name, std::string_view bytes, const Json& params) = nullptr;
};

// The refusal of a model that the evaluation cannot ask, as what stands behind its name: "needs
// model.causal true ..."; "" where it can.
std::string WhyNotOf(const Evaluation& evaluation, bool causal);

// All evaluations, in listing order.
std::span<const Evaluation* const> Evaluations();
// kNotFound with the nearest name and the list.
Result<const Evaluation*> FindEvaluation(std::string_view name);
std::vector<std::string> EvaluationNames();

}  // namespace longrun
