#include "client/console/input.h"

#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/files.h"
#include "base/program.h"
#include "base/str.h"
#include "base/units.h"

namespace longrun::client {

Result<std::string> ReadStdin(std::string_view what, std::string_view instead,
                              std::size_t bytes_max) {
  if (InputIsClosed()) {
    return Status(Code::kInvalidArgument,
                  Str("standard input is closed, so ", what, " cannot be read from it: ", instead));
  }
  std::string text;
  std::array<char, 4096> part{};
  while (text.size() <= bytes_max) {
    const ssize_t n = read(STDIN_FILENO, part.data(), part.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, Str("cannot read ", what, " from standard input"));
    if (n == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(n));
  }
  return Status(Code::kInvalidArgument,
                Str(what, " on standard input is too long: expected at most ",
                    FormatBytes(static_cast<std::int64_t>(bytes_max)), "; ", instead));
}

Result<std::string> ReadGivenFile(const std::string& file, std::string_view what,
                                  std::size_t bytes_max) {
  if (file.empty()) {
    return Status(Code::kInvalidArgument, Str("the name of the ", what, " is empty: name a file"));
  }
  Result<std::string> text = ReadFile(file, bytes_max);
  const bool is_wrong =
      text.status().code() != Code::kNotFound && text.status().code() != Code::kPermissionDenied;
  if (text.ok() || !is_wrong) return text;
  return Status(Code::kInvalidArgument, text.status().message());
}

}  // namespace longrun::client
