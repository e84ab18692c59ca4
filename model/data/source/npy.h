// The header of a .npy file (NumPy Enhancement Proposal 1): "\x93NUMPY", version, length of the
// header, and a Python dictionary in ASCII, padded and ended by a newline.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "model/data/source/ids.h"

namespace longrun {

struct NpyHeader {
  IdType type = IdType::kU16;
  std::int64_t n = 0;  // ids
};

// Parses the dictionary's text. Refuses by name anything but one row of <u2, <u4,
// <i4 or <i8 in C order.
Result<NpyHeader> ParseNpyHeader(std::string_view dictionary);

}  // namespace longrun
