// See owned.h.
#include "coordinator/store/owned.h"

#include "base/str.h"
#include "coordinator/store/sqlite.h"

namespace longrun::coordinator {

// The writing connection also sees damaged rows: their bytes are on the disk all the same.
Result<OwnedBytes> ReadOwned(Connection& connection, const std::string& owner,
                             const ReplacedNames& replaced) {
  ASSIGN_OR_RETURN(Statement row,
                   connection.Prepare("SELECT (SELECT ifnull(sum(owner_bytes), 0) FROM dataset"
                                      "         WHERE owner = ? AND name <> ?),"
                                      " (SELECT ifnull(sum(bytes), 0)"
                                      "  FROM (SELECT DISTINCT digest, bytes FROM model"
                                      "        WHERE owner = ? AND name <> ?))"));
  row.Bind(owner).Bind(replaced.dataset).Bind(owner).Bind(replaced.model);
  RETURN_IF_ERROR(row.Step().status());
  return OwnedBytes{.in_datasets = row.Int(0), .in_models = row.Int(1)};
}

Status CheckOwned(const NewlyOwned& newly, const OwnedBytes& before, std::int64_t bytes_max) {
  const std::int64_t n_before = before.in_datasets + before.in_models;
  if (newly.n_bytes <= bytes_max - n_before) return Status();
  return Status(
      Code::kResourceExhausted,
      Str(newly.what, " \"", newly.name, "\" has ", newly.n_bytes, " bytes, in addition to the ",
          n_before, " bytes that ", newly.owner, " has (", before.in_datasets, " in datasets, ",
          before.in_models, " in models); the datasets and models of one owner may take ",
          bytes_max,
          " bytes (--registered-bytes of longrun-coordinator): remove those that you "
          "do not need (`longrun data rm`, `longrun models rm`), or ask for a higher limit"));
}

}  // namespace longrun::coordinator
