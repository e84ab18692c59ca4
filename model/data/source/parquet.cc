// Parquet, the format of FineWeb: a column of text. The reader needs Arrow, which Debian does not
// have, so it is built only on request.
#include "base/str.h"
#include "model/data/source/field.h"
#include "model/data/source/formats.h"
#ifdef LONGRUN_PARQUET
#include "model/data/source/parquet_arrow.h"
#endif

namespace longrun {
namespace {

Status CheckParquet(const SourceOptions& options) {
#ifdef LONGRUN_PARQUET
  return CheckFieldOptions(options);
#else
  (void)options;
  return Status(Code::kUnimplemented,
                "format parquet: this build does not support it; to add it, configure with "
                "-DLONGRUN_PARQUET=ON and a Python that has pyarrow (docs/data.md), or write the "
                "column as JSON lines with pandas: df[[\"text\"]].to_json(f, orient=\"records\", "
                "lines=True)");
#endif
}

Status ReadParquet(SourceInput& input, const SourceOptions& options, DocumentSink& sink) {
#ifdef LONGRUN_PARQUET
  RETURN_IF_ERROR(input.Hash(input.path()));
  return ReadParquetColumn(input.path(), options, sink);
#else
  (void)input;
  (void)sink;
  return CheckParquet(options);
#endif
}

}  // namespace

const SourceFormat& ParquetFormat() {
  static const SourceFormat format = {
      .name = "parquet",
      .meaning = "a column of text in Parquet files; only in builds with -DLONGRUN_PARQUET=ON",
      .gives = SourceFormat::Gives::kText,
      .takes = {"field", "filter"},
      .check = &CheckParquet,
      .read = &ReadParquet,
  };
  return format;
}

}  // namespace longrun
