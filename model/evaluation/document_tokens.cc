#include "model/evaluation/document_tokens.h"

#include <string>
#include <utility>
#include <vector>

#include "base/str.h"

namespace longrun {

std::optional<ParamError> FitDocumentTokens(const DatasetShape& dataset, Json& params) {
  const auto scored = params.at("score_tokens").get<std::int64_t>();
  const auto split = params.at("split").get<std::string>();
  const std::string of_split = Str("split ", split, " of dataset \"", dataset.name, "\"");
  Result<std::vector<TextSpan>> documents =
      dataset.documents == nullptr
          ? Status(Code::kUnavailable, Str("the documents of ", of_split, " are not known here"))
          : dataset.documents(split, scored);
  if (!documents.ok()) {
    return ParamError{
        "score_tokens",
        Str("the end of ", scored, " scored tokens depends on the documents of ", of_split,
            ", which cannot be read: ", documents.status().message(),
            "; instead, you can give `text_tokens`: the number of tokens of the split that the "
            "windows cover, including the end-of-text tokens between the documents")};
  }
  std::int64_t n_left = scored;
  for (const TextSpan& document : *documents) {
    const std::int64_t n = document.end - document.begin;
    if (n_left <= n) {
      params["score_tokens"] = document.begin + n_left;
      return std::nullopt;
    }
    n_left -= n;
  }
  return ParamError{"score_tokens", Str("expected from 1 to ", scored - n_left, ", the tokens of ",
                                        of_split, " without end-of-text tokens, found ", scored)};
}

}  // namespace longrun
