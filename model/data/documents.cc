#include "model/data/documents.h"

#include <cstddef>
#include <span>

#include "model/data/dataset.h"

namespace longrun {

Result<std::vector<TextSpan>> TextOfDocuments(const TokenSplit& split, std::int32_t eot_id,
                                              std::int64_t enough) {
  const std::span<const std::int64_t> starts = split.document_starts();
  const auto is_eot = [&](std::int64_t t) -> Result<bool> {
    std::int32_t id = 0;
    RETURN_IF_ERROR(split.Read(t, std::span(&id, 1)));
    return id == eot_id;
  };
  std::vector<TextSpan> documents;
  std::int64_t n_tokens = 0;
  for (std::size_t d = 0; d + 1 < starts.size() && n_tokens < enough; ++d) {
    TextSpan document = {starts[d], starts[d + 1]};
    while (document.begin < document.end) {
      ASSIGN_OR_RETURN(const bool eot, is_eot(document.end - 1));
      if (!eot) break;
      --document.end;
    }
    while (document.begin < document.end) {
      ASSIGN_OR_RETURN(const bool eot, is_eot(document.begin));
      if (!eot) break;
      ++document.begin;
    }
    if (document.begin < document.end) documents.push_back(document);
    n_tokens += document.end - document.begin;
  }
  return documents;
}

}  // namespace longrun
