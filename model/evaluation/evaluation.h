// An evaluation: something measured on a trained model at a context length. One file and one line
// of registry.cc each; its parameters are a table of data, from which the sweep file's schema is
// derived. Torch-free: the model is a LanguageModel.
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
#include "model/data/documents.h"
#include "model/evaluation/prefix_pass.h"
#include "model/evaluation/window.h"
#include "model/language_model.h"
#include "model/param.h"

namespace longrun {

class Tokenizer;  // model/data/tokenizer.h

// Work that the cells of one task share: one evaluation of one trained model at several lengths.
// Only exact results are shared: the text is read once, a model call that was made before is not
// repeated (window.h), and a document is read once for all lengths (prefix_pass.h). All cells that
// use the same object must have the same dataset, model per variant, and parameters except the
// length.
struct SharedWork {
  std::vector<std::int32_t> tokens;             // the split's tokens, from its beginning
  std::map<std::string, WindowCache> windows;   // by variant
  std::map<std::string, PrefixStore> prefixes;  // by variant
};

struct EvaluationRequest {
  const Dataset* dataset = nullptr;
  bool is_own_dataset = true;  // the one that the model was trained on
  // Resolved parameters; the list of lengths may be absent (a task works on single cells).
  Json params = Json::object();
  std::int64_t context_length = 0;
  // All lengths of the cells that use `shared`, to be read at once where that is possible. May be
  // empty; does not affect the result.
  std::vector<std::int64_t> task_lengths{};
  // "": the run's own model. Otherwise the name of a baseline, which is written into the rows; the
  // caller passes that model ("unigram": UnigramModel of model/data/unigram.h).
  std::string variant{};
  std::int64_t windows_per_call = 1;  // per call of the model; does not affect the result
  SharedWork* shared = nullptr;       // null: nothing is kept
  Json machine = nullptr;             // the measuring machine, for rows that depend on it
  std::string dataset_folder{};       // of `dataset`, with its tokenizer
  std::string files_dir{};            // where files named by parameters are kept (input_file.h)
  Json extension = nullptr;           // resolved, which the model is read under; null: none
};

// A dataset as a sweep knows it before any token is read.
struct DatasetShape {
  std::string_view name;
  std::map<std::string, std::int64_t> split_tokens;
  std::map<std::string, std::int64_t> split_documents =
      {};  // of those splits for which it is known
  // The documents of a split until they have n tokens, without end-of-text tokens (documents.h).
  // Null: the tokens cannot be read here.
  std::function<Result<std::vector<TextSpan>>(const std::string& split, std::int64_t n)> documents =
      {};
};

// The name of a row of a cell: {"nll", ""}, {"nll", "unigram"}. A cell has each name once.
struct RowName {
  std::string_view metric;
  std::string variant;            // "": the model itself
  std::optional<double> depth{};  // place in the context, 0 to 1; nullopt where it has no meaning

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

// (done, of) in units of the evaluation; returning false stops it.
using EvaluationProgress = std::function<bool(std::int64_t, std::int64_t)>;

// A parameter that names a file, by a path or by "sha256:HEX"; in resolved parameters it is always
// "sha256:HEX" (input_file.h).
struct FileParam {
  std::string_view name;
  // Checks the file, given complete parameters; an error begins with "NAME:LINE: ".
  Status (*check)(std::string_view name, std::string_view bytes, const Json& params) = nullptr;
};

struct Evaluation {
  std::string_view name;
  std::string_view source;  // where the protocol is defined
  std::string_view meaning;
  std::vector<ParamSpec> params;
  // The rows of a cell (one context length) with resolved parameters: first the model's own rows,
  // then the rows of one variant after the other.
  std::vector<RowName> (*rows)(const Json& params);
  // Whether rows with these parameters have buckets by position in the context; null: never.
  bool (*has_positions)(const Json& params) = nullptr;
  // Whether a variant is another model that is scored in the same way ("unigram") and
  // passed by the caller.
  bool variants_are_models = false;
  // Completes resolved parameters (with context_lengths ascending) from the dataset, so that a cell
  // says what it measures independently of other cells. Returns an error, with the parameter's
  // name, if the dataset does not suffice.
  std::optional<ParamError> (*fit)(const DatasetShape& dataset, Json& params);
  // Returns parameters for a sweep file from which `fit` makes the given ones. Null: they are the
  // same.
  Json (*as_given)(Json params) = nullptr;
  // The models that the evaluation can read: those that predict the next token, those that predict
  // hidden tokens, or all.
  enum class Reads { kAny, kCausal, kBidirectional };
  Reads reads = Reads::kAny;
  // Errors are those of the request (a missing split, too few tokens; both named) and of the
  // dataset. If the model cannot do something, that is not an error but a row with a status other
  // than ok. kCancelled if `progress` returned false.
  Result<EvaluationOutput> (*run)(LanguageModel& model, const EvaluationRequest& request,
                                  const EvaluationProgress& progress);
  // The number of tokens that the model reads for one cell with fitted parameters; time forecasts
  // are based on it. It is counted for the beginning of the split, and scaled. For prompts, it is
  // that of prompts as long as the context length. Null: not known.
  double (*tokens_read)(const DatasetShape& dataset, const Json& params,
                        std::int64_t context_length) = nullptr;
  // The tokens of a cell's longest prompt, with fitted parameters, if the evaluation makes prompts
  // from text without fitting them into the context length. Measured for the cell's first prompts,
  // without making long ones. `bos`: Dataset::bos_id(). 0: prompts are no longer than the context
  // length. Null: always 0.
  std::int64_t (*longest_prompt)(const Tokenizer& tokenizer, std::int32_t bos, const Json& params,
                                 std::int64_t context_length) = nullptr;
  // Why a cell cannot be measured although its prompts may be as short as they can, with fitted
  // parameters: a prompt and its answer do not fit into the context length. "": they fit, or are
  // not fitted. Measured for the cell's first prompts. Null: always "".
  std::string (*why_no_prompt_fits)(const Tokenizer& tokenizer, std::int32_t bos,
                                    const Json& params, std::int64_t context_length) = nullptr;
  // Whether the model continues texts, and so holds the keys and values of all tokens of a call.
  bool writes = false;
  // Whether, with these resolved parameters, one pass over a text serves all context lengths of a
  // task. The pass holds the keys and values of what it has read. Null: never.
  bool (*reads_once)(const Json& params) = nullptr;
  // Whether the model reads a text that several others begin with once (LanguageModel::BranchNll).
  bool branches = false;
  // The parameters that name files. All files of a task are kept in one folder.
  std::vector<FileParam> files = {};
};

// The names of the files that these parameters have: optional ones may be absent.
std::vector<std::string> FileParamsIn(const Evaluation& evaluation, const Json& params);
// The values in {name: parameters} that name files. None for null, and if this build does not know
// the name.
std::vector<Json*> InputFilesOf(Json& evaluation);

// The reason why the evaluation cannot use a model, for example "needs model.causal: true ...". It
// is the end of a sentence that begins with the evaluation's name. "" if the evaluation can use it.
std::string WhyUnsupported(const Evaluation& evaluation, bool causal);

// All evaluations, in listing order.
std::span<const Evaluation* const> Evaluations();
// kNotFound with the nearest name and the list.
Result<const Evaluation*> FindEvaluation(std::string_view name);
std::vector<std::string> EvaluationNames();
// Evaluation::writes of {name: parameters}; false if this build does not know the name.
bool EvaluationWrites(const Json& evaluation);
// Evaluation::reads_once of {name: parameters}; false if this build does not know the name.
bool EvaluationReadsOnce(const Json& evaluation);
// How many copies of the keys and values of a call's tokens the model holds at most, in an
// evaluation {name: parameters}: 0, 1, or 2 (a context's, and those of what goes on from it). 0 if
// this build does not know the name.
int EvaluationKeysHeld(const Json& evaluation);

}  // namespace longrun
