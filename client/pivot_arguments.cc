#include "client/pivot_arguments.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "base/str.h"
#include "client/ask.h"

namespace longrun {

std::shared_ptr<PivotArguments> AddPivot(CLI::App& verb) {
  auto arguments = std::make_shared<PivotArguments>();
  verb.add_option("SWEEP", arguments->sweeps, "names or ids: several go into one table")
      ->required();
  const auto list = [&verb](const std::string& name, std::vector<std::string>& values,
                            const std::string& meaning) {
    verb.add_option(name, values, meaning)->delimiter(',')->allow_extra_args(false);
  };
  list("--rows", arguments->rows,
       "axes down (default: the matrix): any of the matrix by path or last name, dataset, seed,\n"
       "sweep, any key of a run, metric, split, protocol, evaluation, variant, depth,\n"
       "context_length. One that is neither down nor across makes a table for each of its values; "
       "seeds are folded");
  list("--cols", arguments->cols, "axes across (default: context_length)");
  list("--metric", arguments->metrics,
       "perplexity | nll | bits_per_byte | bits_per_token | pseudo_perplexity | any that the rows "
       "have");
  verb.add_option("--where", arguments->where, "axis=value, or axis=value,value; any number")
      ->allow_extra_args(false);
  verb.add_flag("--relative", arguments->relative, "divided by the value at the train length");
  return arguments;
}

Result<PivotRequest> ReadPivotRequest(const PivotArguments& arguments) {
  PivotRequest request{.rows = arguments.rows,
                       .cols = arguments.cols,
                       .metrics = arguments.metrics,
                       .relative = arguments.relative};
  request.where.reserve(arguments.where.size());
  for (const std::string& text : arguments.where) {
    const std::size_t at = text.find('=');
    if (at == std::string::npos || at == 0) {
      return Status(Code::kInvalidArgument,
                    Str("--where \"", text, "\": expected axis=value, as in position=rope"));
    }
    PivotFilter filter{.axis = text.substr(0, at)};
    const std::string values = text.substr(at + 1);
    filter.values = Split(values, ',');
    if (filter.values.size() > 1) filter.values.push_back(values);  // one that has a comma
    request.where.push_back(std::move(filter));
  }
  return request;
}

Result<std::vector<Json>> AskResults(const std::string& state,
                                     const std::vector<std::string>& sweeps) {
  Asker asker(state);
  std::vector<Json> results;
  results.reserve(sweeps.size());
  for (const std::string& sweep : sweeps) {
    ASSIGN_OR_RETURN(Json result, asker.Ask("GetResults", {{"sweep", sweep}}));
    result["name"] = sweep;
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace longrun
