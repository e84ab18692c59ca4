// See dataset_documents.h.
#include "coordinator/dataset_documents.h"

#include <vector>

#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/documents.h"
#include "model/data/manifest.h"

namespace longrun::coordinator {
namespace {

Result<std::vector<TextSpan>> DocumentsOf(const std::string& folder, const std::string& digest,
                                          const std::string& split, std::int64_t n_tokens) {
  ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(folder));
  if (dataset.digest() != digest) {
    return Status(Code::kDataLoss,
                  Str(folder, " does not contain the registered dataset: its digest is ",
                      dataset.digest(), ", expected ", digest));
  }
  ASSIGN_OR_RETURN(const TokenSplit* const tokens, dataset.Split(split));
  return TextOfDocuments(*tokens, dataset.eot_id(), n_tokens);
}

}  // namespace

std::map<std::string, std::int64_t> SplitDocuments(const DatasetRow& row) {
  std::map<std::string, std::int64_t> n_documents;
  const Result<Manifest> manifest = ReadManifest(row.folder);
  if (!manifest.ok() || manifest->digest != row.info.digest) return n_documents;
  for (const ManifestSplit& split : manifest->splits) {
    n_documents[split.identity.name] = split.identity.n_documents;
  }
  return n_documents;
}

// If the folder cannot be read here, a worker may still have a copy, and its trainer checks the
// documents.
DatasetInfo WithDocuments(const DatasetRow& row) {
  DatasetInfo info = row.info;
  info.documents = [folder = row.folder, digest = info.digest](const std::string& split,
                                                               std::int64_t n_tokens) {
    return DocumentsOf(folder, digest, split, n_tokens);
  };
  info.split_documents = SplitDocuments(row);
  return info;
}

}  // namespace longrun::coordinator
