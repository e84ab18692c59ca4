// That a file is text at all: what is read as text by mistake (token ids, a PDF, an archive) trains
// without a complaint, and its numbers mean nothing.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/data/source/stream.h"

namespace longrun {

// The stream, refused where it is no text, with byte (from 0) and line (from 1) of the unpacked file:
// it begins as a known format does that is none, holds NUL, or is not UTF-8. Bytes of `separator` that
// text could not have are passed over wherever they stand: they come between documents.
std::unique_ptr<ByteStream> CheckedText(std::unique_ptr<ByteStream> stream, std::string path,
                                        std::string_view separator);

// The beginning alone, for a format whose own reader finds the rest.
std::unique_ptr<ByteStream> CheckedBeginning(std::unique_ptr<ByteStream> stream);

}  // namespace longrun
