#include "model/sample_source/document_check.h"

#include "base/enum_names.h"
#include "base/str.h"

namespace longrun {

Status CheckDocuments(SampleKind samples, const DocumentCount& count) {
  if (count.n_documents < 2) {
    return Status(Code::kInvalidArgument,
                  Str("\"", EnumName(samples),
                      "\" makes each document a sample, but the training split is a single "
                      "document; import each text as a document of its own, or choose windows"));
  }
  // With a begin-of-text token, a document of a single token has that token as a target.
  if (samples == SampleKind::kDocumentsWithBos || count.n_tokens > count.n_documents) {
    return Status();
  }
  return Status(Code::kInvalidArgument,
                Str("\"", EnumName(samples), "\" makes each document a sample, but each of the ",
                    count.n_documents,
                    " documents of the training split has a single token, so there is nothing to "
                    "predict; import longer documents, or choose windows"));
}

}  // namespace longrun
