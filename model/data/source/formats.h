// The formats, each defined in the file of its name.
#pragma once

#include "model/data/source/source.h"

namespace longrun {

extern const SourceFormat kTextFormat;
extern const SourceFormat kJsonlFormat;
extern const SourceFormat kNpyFormat;
extern const SourceFormat kRawFormat;
extern const SourceFormat kMegatronFormat;
extern const SourceFormat kParquetFormat;

}  // namespace longrun
