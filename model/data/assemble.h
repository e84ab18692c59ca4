// The second half of an import: assembles parts into shards and writes the manifest.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/data/part.h"
#include "model/data/source_list.h"
#include "model/data/tokenizer.h"

namespace longrun {

struct Assembly {
  const PrepareSpec& spec;
  const Tokenizer& tokenizer;
  const std::vector<ListedSource>& sources;
  const std::vector<PartFacts>& parts;  // one for each source
  SourceFormat::Gives gives = SourceFormat::Gives::kText;
  std::string part_folder;
  std::string folder;
  // Tokens written so far.
  std::function<void(std::int64_t tokens)> progress;
};

struct Overlap {
  std::int64_t n_pairs = 0;  // documents with the same bytes in two splits
  // Of each split but the largest one that shares documents with another: "189 of 2891 documents of
  // split validation".
  std::vector<std::string> shares = {};
  std::string first =
      {};  // "b.txt (split test) has the same bytes as document 3 of a.txt (split train)"
};

// Memory: 40 bytes for each document outside the largest split.
Result<Overlap> FindOverlap(const Assembly& assembly);

// Hashes what was requested and the source bytes, but not how the result is cut into files.
std::string PreparationSha256(const PrepareSpec& spec, const std::string& tokenizer_fingerprint,
                              const std::vector<ListedSource>& sources,
                              const std::vector<std::vector<SourceFile>>& files);

// Writes the shards, the tokenizer, and last the manifest. Memory does not depend on the sizes,
// except for the document tables of the current shards.
Status WriteDataset(const Assembly& assembly);

}  // namespace longrun
