// Token ids without a header, as nanoGPT (train.bin), DRT (data) and Landmark write them: uint16 or
// uint32, little-endian.
#include "base/str.h"
#include "model/data/source/formats.h"
#include "model/data/source/ids.h"

namespace longrun {
namespace {

Result<IdType> RawType(const SourceOptions& options) {
  const std::string dtype = options.dtype.value_or("");
  if (dtype == "u16") return IdType::kU16;
  if (dtype == "u32") return IdType::kU32;
  return Status(
      Code::kInvalidArgument,
      Str("dtype: expected u16 or u32, found ", options.dtype ? Str('"', dtype, '"') : "nothing",
          ": a file without a header does not say how wide its ids are"));
}

Status CheckRaw(const SourceOptions& options) { return RawType(options).status(); }

Status ReadRaw(SourceInput& input, const SourceOptions& options, DocumentSink& sink) {
  ASSIGN_OR_RETURN(const IdType type, RawType(options));
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteStream> stream, input.Open());
  return ReadIds(*stream, type, sink).status();
}

}  // namespace

const SourceFormat& RawFormat() {
  static const SourceFormat format = {
      .name = "raw",
      .meaning = "token ids without a header, uint16 or uint32",
      .gives = SourceFormat::Gives::kTokenStream,
      .takes = {"dtype"},
      .check = &CheckRaw,
      .read = &ReadRaw,
  };
  return format;
}

}  // namespace longrun
