// longrun-trainer data import | inspect | verify: tokenised datasets, without a coordinator.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace longrun::trainer {

struct DataImportOptions {
  std::string output;
  std::string tokenizer = "bytes";
  std::vector<std::string> train, validation, test;  // text files, one document each
};

Status DataImport(const DataImportOptions& options);
Status DataInspect(const std::string& folder);  // prints digest, tokenizer, splits
Status DataVerify(const std::string& folder);   // reads every block

}  // namespace longrun::trainer
