// Checks that a file is text. Other files read by mistake (token ids, a PDF, an archive) would
// train without a complaint, and their results would mean nothing.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/data/source/stream.h"

namespace longrun {

// Passes the stream through, and refuses it if it is not text: if it has the header of a known
// binary format, a NUL byte, or invalid UTF-8. The error names the byte (from 0) and the line
// (from 1) of the decompressed file. Bytes of `separator` that cannot occur in text are allowed
// anywhere, since they separate documents.
std::unique_ptr<ByteStream> CheckedText(std::unique_ptr<ByteStream> stream, std::string path,
                                        std::string_view separator);

// Checks only the beginning, for formats whose own reader finds faults in the rest.
std::unique_ptr<ByteStream> CheckedBeginning(std::unique_ptr<ByteStream> stream);

}  // namespace longrun
