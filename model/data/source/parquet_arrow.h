// The Parquet reader, in the optional library longrun::parquet (-DLONGRUN_PARQUET=ON).
#pragma once

#include <string>

#include "base/status.h"
#include "model/data/source/source.h"

namespace longrun {

// Each value of column `options.field` ("text") is a document; `options.filter` compares another
// column. Row groups are read one by one, in batches of rows.
Status ReadParquetColumn(const std::string& path, const SourceOptions& options, DocumentSink& sink);

}  // namespace longrun
