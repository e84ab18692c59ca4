#include "client/tables/pivot_arguments.h"

#include <utility>

#include "base/split_outside.h"
#include "base/str.h"
#include "client/words/older_sweeps.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kBucketsMax = 256;  // as many as an evaluation can have

// "position=rope": an axis' name and what follows. After a comma with a space, text belongs to a
// value, as in "evaluation=k=8, every=64".
bool IsCondition(const std::string& part) {
  const std::size_t at = part.find('=');
  if (at == std::string::npos || at == 0) return false;
  return part.find_first_of("( ") > at;
}

}  // namespace

std::shared_ptr<PivotArguments> AddPivot(Verb& verb) {
  auto arguments = std::make_shared<PivotArguments>();
  verb.AddArgument("SWEEP", arguments->sweeps,
                   "names or ids of sweeps; several sweeps share one table")
      .Required();
  const auto list = [&verb](const std::string& name, std::vector<std::string>& values,
                            const std::string& meaning) {
    verb.AddArgument(name, values, meaning).SplitAt(',').OneEach();
  };
  list("--rows", arguments->rows,
       "axes of the rows (default: the matrix): any axis of the matrix by its path or last name,\n"
       "dataset, seed, sweep, any key of a run, metric, split, protocol, evaluation, variant,\n"
       "depth, tokens_of_context, context_length. An axis in neither rows nor columns makes a "
       "table\n"
       "for each of its values; seeds are combined");
  list("--cols", arguments->cols,
       "axes of the columns (default: context_length, or tokens_of_context for a metric by "
       "position)");
  list("--metric", arguments->metrics,
       "perplexity | nll | bits_per_byte | bits_per_token | pseudo_perplexity | nll_by_position | "
       "perplexity_by_position | any other metric of the results");
  verb.AddArgument("--where", arguments->where,
                   "axis=value, axis=value,value or axis=value,other_axis=value; can be repeated; "
                   "a result is shown only if it fulfils all conditions")
      .OneEach();
  verb.AddFlag("--relative", arguments->relative,
               "divide each number by the number at the train length");
  verb.AddArgument(
      "--against", arguments->against,
      "axis=value, such as position=alibi or context_length=64: compare each number with "
      "the\nnumber for this value of the axis, with all other axes the same. The comparison is "
      "paired:\neach seed and each block of the text with the same seed and block. The table shows "
      "ratios\nof perplexities, speeds and bytes, and differences of nll, bits and accuracies");
  verb.AddArgument("--buckets", arguments->buckets_max,
                   "for a metric by position: show at most this many buckets, merging neighbours; "
                   "0: all\n(default: 8 in text tables, else 0)")
      .Between(0, kBucketsMax);
  return arguments;
}

Result<PivotRequest> ReadPivotRequest(const PivotArguments& arguments) {
  PivotRequest request{.rows = arguments.rows,
                       .cols = arguments.cols,
                       .metrics = arguments.metrics,
                       .relative = arguments.relative,
                       .buckets_max = arguments.buckets_max.value_or(0)};
  if (arguments.against) {
    const std::string& against = *arguments.against;
    const std::size_t at = against.find('=');
    if (at == 0 || at == std::string::npos || at + 1 == against.size()) {
      return Status(Code::kInvalidArgument,
                    Str("--against \"", against, "\": expected axis=value, as in position=alibi"));
    }
    if (arguments.relative) {
      return Status(
          Code::kInvalidArgument,
          "--against and --relative both choose the number to compare with: use only one of them");
    }
    request.against = {.axis = against.substr(0, at), .values = {against.substr(at + 1)}};
  }
  request.where.reserve(arguments.where.size());
  for (const std::string& text : arguments.where) {
    bool is_first = true;
    for (const std::string& part : SplitOutside(text, ',')) {
      if (IsCondition(part)) {
        const std::size_t at = part.find('=');
        const std::string value = part.substr(at + 1);
        request.where.push_back({.axis = part.substr(0, at), .values = {value}, .whole = value});
      } else if (is_first) {
        return Status(Code::kInvalidArgument,
                      Str("--where \"", text, "\": expected axis=value, as in position=rope"));
      } else {
        request.where.back().values.push_back(part);
        request.where.back().whole += "," + part;
      }
      is_first = false;
    }
  }
  return request;
}

Result<std::vector<SweepResults>> AskResults(SweepCalls& client,
                                             const std::vector<std::string>& sweeps) {
  std::vector<SweepResults> results;
  results.reserve(sweeps.size());
  std::vector<std::string> ids;
  for (const std::string& sweep : sweeps) {
    ASSIGN_OR_RETURN(const v1::GetResultsResponse answer, client.GetResultsOfSweep(sweep));
    ids.push_back(answer.info().sweep_id());
    results.push_back(ReadResults(sweep, answer));
  }
  for (const std::string& sweep : sweeps) SayOlderSweeps(client, sweep, ids);
  TellDatasetsApart(results);
  return results;
}

}  // namespace longrun::client
