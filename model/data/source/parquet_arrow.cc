// The only file that includes Arrow, whose headers and libraries come with the Python package
// pyarrow. Arrow's exceptions are caught here.
#include "model/data/source/parquet_arrow.h"

#include <arrow/array.h>
#include <arrow/io/file.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include <exception>
#include <utility>

#include "base/str.h"
#include "model/data/source/field.h"

namespace longrun {
namespace {

// Rows decoded at a time; FineWeb's are some KiB each.
constexpr std::int64_t kBatchRows = 256;

Status FromArrow(const arrow::Status& status) {
  return status.ok() ? Status() : Status(Code::kDataLoss, Str("Parquet: ", status.ToString()));
}

Result<int> FindColumn(const arrow::Schema& schema, std::string_view option,
                       const std::string& name) {
  const int index = schema.GetFieldIndex(name);
  if (index >= 0) return index;
  return Status(Code::kInvalidArgument, Str(option, ": there is no column \"", name,
                                            "\"; there is ", Join(schema.field_names(), ", ")));
}

// Parquet reads leaves, and numbers them through the file: a column of structs has several.
void AddLeaves(const parquet::SchemaDescriptor& schema, int column, std::vector<int>& leaves) {
  const parquet::schema::Node* const root = schema.group_node()->field(column).get();
  for (int leaf = 0; leaf < schema.num_columns(); ++leaf) {
    if (schema.GetColumnRoot(leaf) == root) leaves.push_back(leaf);
  }
}

// The text of row i; null has no text.
Result<std::string_view> TextAt(const arrow::Array& column, std::int64_t i) {
  if (column.IsNull(i)) return std::string_view();
  switch (column.type_id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return static_cast<const arrow::BinaryArray&>(column).GetView(i);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return static_cast<const arrow::LargeBinaryArray&>(column).GetView(i);
    default:
      return Status(Code::kInvalidArgument,
                    Str("field: the column holds ", column.type()->ToString(), ", expected text"));
  }
}

Result<bool> Passes(const FieldFilter& filter, const arrow::Array& column, std::int64_t i) {
  if (column.IsNull(i)) return false;
  const auto scalar = column.GetScalar(i);
  RETURN_IF_ERROR(FromArrow(scalar.status()));
  return (*scalar)->ToString() == filter.value;
}

Status ReadBatch(const arrow::RecordBatch& batch, const std::string& field,
                 const std::optional<FieldFilter>& filter, const SourceOptions& options,
                 DocumentSink& sink) {
  const std::shared_ptr<arrow::Array> texts = batch.GetColumnByName(field);
  const std::shared_ptr<arrow::Array> tests =
      filter ? batch.GetColumnByName(filter->path[0]) : nullptr;
  for (std::int64_t i = 0; i < batch.num_rows(); ++i) {
    if (filter) {
      ASSIGN_OR_RETURN(const bool passes, Passes(*filter, *tests, i));
      if (!passes) continue;
    }
    ASSIGN_OR_RETURN(const std::string_view text, TextAt(*texts, i));
    RETURN_IF_ERROR(
        sink.Text(options.universal_newlines ? UniversalNewlines(text) : std::string(text)));
    RETURN_IF_ERROR(sink.EndDocument());
  }
  return Status();
}

Status ReadFile(const std::string& path, const SourceOptions& options, DocumentSink& sink) {
  const std::string field = options.field.value_or("text");
  std::optional<FieldFilter> filter;
  if (options.filter) {
    ASSIGN_OR_RETURN(filter, ParseFieldFilter(*options.filter));
    if (filter->path.size() != 1) {
      return Status(Code::kInvalidArgument, "filter: for a Parquet file, name a column");
    }
  }
  parquet::arrow::FileReaderBuilder builder;
  RETURN_IF_ERROR(FromArrow(builder.OpenFile(path, /*memory_map=*/false)));
  parquet::ArrowReaderProperties properties(/*use_threads=*/false);
  properties.set_batch_size(kBatchRows);
  properties.set_pre_buffer(false);
  builder.properties(properties);
  auto reader = builder.Build();
  RETURN_IF_ERROR(FromArrow(reader.status()));
  std::shared_ptr<arrow::Schema> schema;
  RETURN_IF_ERROR(FromArrow((*reader)->GetSchema(&schema)));
  ASSIGN_OR_RETURN(const int text_column, FindColumn(*schema, "field", field));
  const parquet::SchemaDescriptor& leaves_of = *(*reader)->parquet_reader()->metadata()->schema();
  std::vector<int> leaves;
  AddLeaves(leaves_of, text_column, leaves);
  if (filter) {
    ASSIGN_OR_RETURN(const int column, FindColumn(*schema, "filter", filter->path[0]));
    if (column != text_column) AddLeaves(leaves_of, column, leaves);
  }
  for (int group = 0; group < (*reader)->num_row_groups(); ++group) {
    auto batches = (*reader)->GetRecordBatchReader({group}, leaves);
    RETURN_IF_ERROR(FromArrow(batches.status()));
    while (true) {
      std::shared_ptr<arrow::RecordBatch> batch;
      RETURN_IF_ERROR(FromArrow((*batches)->ReadNext(&batch)));
      if (batch == nullptr) break;
      RETURN_IF_ERROR(ReadBatch(*batch, field, filter, options, sink));
    }
  }
  return Status();
}

}  // namespace

Status ReadParquetColumn(const std::string& path, const SourceOptions& options,
                         DocumentSink& sink) {
  try {
    return ReadFile(path, options, sink);
  } catch (const std::exception& error) {
    return Status(Code::kDataLoss, Str("Parquet: ", error.what()));
  }
}

}  // namespace longrun
