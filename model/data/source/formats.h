// The formats, each defined in the file of its name.
#pragma once

#include "model/data/source/source.h"

namespace longrun {

const SourceFormat& TextFormat();
const SourceFormat& JsonlFormat();
const SourceFormat& NpyFormat();
const SourceFormat& RawFormat();
const SourceFormat& MegatronFormat();
const SourceFormat& ParquetFormat();
const SourceFormat& RuleFormat();

}  // namespace longrun
