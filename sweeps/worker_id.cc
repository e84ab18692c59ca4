// See worker_id.h.
#include "sweeps/worker_id.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/checked_line.h"
#include "base/files.h"
#include "base/random.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::size_t kShownBytes = 160;
constexpr std::size_t kBytesMax = 4096;

// The text for a message, whatever bytes it has.
std::string Shown(std::string_view text) {
  const bool is_text =
      std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~' && c != '"'; });
  if (!is_text || text.size() > kShownBytes) return Str(text.size(), " bytes that are not an id");
  return Str("\"", text, "\"");
}

// What to do about a file without a readable name.
std::string Remedy(const std::string& path) {
  return Str(
      "Either write the name that `longrun workers` shows for this machine into the file "
      "(`echo NAME > ",
      path,
      "`), or remove the file: the machine then becomes a new worker, and the old worker's "
      "tasks continue from their last checkpoints once its lease is over");
}

}  // namespace

std::string WorkerIdText(std::string_view id) { return CheckedLine(id); }

Result<std::string> ParseWorkerId(std::string_view text, const std::string& path) {
  const std::string_view line = Trim(text);
  const std::size_t space = line.find(' ');
  const std::string_view id = line.substr(0, space);
  const bool holds = space == std::string_view::npos || line.substr(space + 1) == ChecksumText(id);
  if (IsSafeName(id) && holds) return std::string(id);
  return Status(
      Code::kDataLoss,
      Str(path, " is damaged: it holds ", Shown(line),
          IsSafeName(id) ? Str(", but the checksum of ", id, " is ", ChecksumText(id)) : "", ". ",
          Remedy(path)));
}

Result<std::string> ReadWorkerId(const std::string& path) {
  if (IsFolder(path)) {
    return Status(Code::kDataLoss,
                  Str(path,
                      " is a folder, and should be a file with the worker's name: move it "
                      "away first. ",
                      Remedy(path)));
  }
  const Result<std::string> text = ReadFile(path, kBytesMax);
  if (text.ok()) return ParseWorkerId(*text, path);
  if (text.status().code() == Code::kResourceExhausted) {
    return Status(Code::kDataLoss, Str(text.status().message(), ". ", Remedy(path)));
  }
  return text.status();
}

Result<std::string> ReadFolderId(const std::string& path) {
  const Result<std::string> text = ReadFile(path, kBytesMax);
  const bool is_too_long = text.status().code() == Code::kResourceExhausted;
  if (!text.ok() && !is_too_long) return text.status();
  std::optional<std::string> id;
  if (text.ok()) id = ReadCheckedLine(Trim(*text));
  if (!id || !IsUlid(*id)) return Status(Code::kDataLoss, Str(path, " is damaged"));
  return *std::move(id);
}

}  // namespace longrun
