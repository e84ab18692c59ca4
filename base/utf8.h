// Names and paths from outside must be UTF-8: they go into JSON, Protobuf and the database, which hold only
// UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace longrun {

// kInvalidArgument for bytes that are not UTF-8, with the message: WHAT ("caf\xe9.yaml") is not UTF-8,
// which names and paths must be: REMEDY.
Status CheckUtf8(std::string_view bytes, std::string_view what, std::string_view remedy);

// The text on one line, with control characters and bytes of no character written as \x1b and \xff: for the
// name of something damaged, whose bytes may tell what it was.
std::string PrintableBytes(std::string_view bytes);

}  // namespace longrun
