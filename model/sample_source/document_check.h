// Whether the documents of a split can be training samples (train.samples: documents,
// documents_with_bos). A submission is checked by the numbers of the dataset's manifest; the
// trainer checks again.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "model/train_config.h"

namespace longrun {

struct DocumentCount {
  std::int64_t n_documents = 0;
  std::int64_t n_tokens = 0;  // of all of them
};
// kInvalidArgument: the split has no document boundaries, or no document has a target.
Status CheckDocuments(SampleKind samples, const DocumentCount& count);

}  // namespace longrun
