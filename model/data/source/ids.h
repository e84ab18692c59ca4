// Token ids as other programs store them: little-endian integers of some width.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/data/source/source.h"

namespace longrun {

enum class IdType { kU8, kI8, kU16, kI16, kU32, kI32, kI64 };

std::size_t IdBytes(IdType type);

// Appends the ids in `bytes`, which holds whole ids; `first` is the index of the first one, for the
// error about an id that no tokenizer can have (negative, or 2^31 and more).
Status DecodeIds(IdType type, std::span<const char> bytes, std::int64_t first,
                 std::vector<std::int32_t>& ids);

// Reads the rest of a stream as ids; returns their number. kDataLoss if it ends within an id.
Result<std::int64_t> ReadIds(ByteStream& stream, IdType type, DocumentSink& sink);

}  // namespace longrun
