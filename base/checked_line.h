// One line of a small file, with its checksum: "TEXT crc32c=1a2b3c4d".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace longrun {

std::string ChecksumText(std::string_view text);  // "crc32c=1a2b3c4d"
std::string CheckedLine(std::string_view text);   // with a line feed

// The text of a line. If one bit of the line has flipped, it is flipped back: CRC32C shows which
// one in a line of up to 655 bytes (Koopman 2002). Returns nullopt for a line without a checksum,
// and for a line with more damage.
std::optional<std::string> ReadCheckedLine(std::string_view line);

}  // namespace longrun
