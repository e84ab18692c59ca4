#include "worker/trainer/data.h"

#include <cstdio>

#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/manifest.h"

namespace longrun::trainer {

Status DataImport(const DataImportOptions& options) {
  ImportSpec spec = {.tokenizer = options.tokenizer, .splits = {}};
  spec.splits.emplace_back("train", options.train);
  if (!options.validation.empty()) spec.splits.emplace_back("validation", options.validation);
  if (!options.test.empty()) spec.splits.emplace_back("test", options.test);
  const Status imported = ImportText(spec, options.output);
  // Errors of several files are on separate lines, but an error here must be one line.
  if (!imported.ok()) {
    const std::vector<std::string> lines = Split(imported.message(), '\n');
    std::string line = lines[0];
    for (std::size_t i = 1; i < lines.size(); ++i) {
      StrAppend(line, Str(i == 1 ? " " : "; ", Trim(lines[i])));
    }
    return Status(imported.code(), line);
  }
  return DataInspect(options.output);
}

Status DataInspect(const std::string& folder) {
  ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(folder));
  std::printf("digest      %s\ntokenizer   %s\nvocabulary  %lld\n", dataset.digest().c_str(),
              dataset.tokenizer_fingerprint().c_str(),
              static_cast<long long>(dataset.vocab_size()));
  for (const std::string& name : dataset.split_names()) {
    ASSIGN_OR_RETURN(const TokenSplit* split, dataset.Split(name));
    std::printf("%-11s %lld tokens in %zu documents\n", name.c_str(),
                static_cast<long long>(split->n_tokens()), split->document_starts().size() - 1);
  }
  return Status();
}

Status DataVerify(const std::string& folder) {
  ASSIGN_OR_RETURN(const Dataset dataset, Dataset::Open(folder));
  RETURN_IF_ERROR(dataset.Verify());
  std::printf("%s is intact\n", folder.c_str());
  ASSIGN_OR_RETURN(const Json manifest, ReadManifestJson(folder));
  if (!IsSealed(manifest)) {
    std::printf("its %s has no digest of its own: `longrun data verify %s --seal` adds it\n",
                std::string(kManifestName).c_str(), folder.c_str());
  }
  return Status();
}

}  // namespace longrun::trainer
