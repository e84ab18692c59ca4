// See message_size.h.
#include "sweeps/message_size.h"

#include <string>
#include <vector>

namespace longrun {
namespace {

// A key of a byte or two, and a length or a number; an enclosing message has the same.
constexpr std::int64_t kFieldBytesMax = 2 + 10;

std::int64_t TextBytes(const std::string& text) { return std::ssize(text) + kFieldBytesMax; }

std::int64_t FileBytes(const std::vector<ArtifactFile>& files) {
  std::int64_t n_bytes = 0;
  for (const ArtifactFile& file : files) {
    n_bytes += TextBytes(file.name) + TextBytes(file.sha256) + 2 * kFieldBytesMax;
  }
  return n_bytes;
}

}  // namespace

std::int64_t WireBytesMax(const StartMessage& message) {
  std::int64_t n_bytes = 3 * kFieldBytesMax;  // the message itself and its two numbers
  for (const std::string* const text :
       {&message.attempt, &message.task_json, &message.dataset_digest, &message.dataset_path}) {
    n_bytes += TextBytes(*text);
  }
  for (const CheckpointSource& one : message.checkpoints) {
    n_bytes += kFieldBytesMax + TextBytes(one.sha256) + FileBytes(one.files);
  }
  for (const DatasetSource& one : message.datasets) {
    n_bytes += kFieldBytesMax + TextBytes(one.digest) + TextBytes(one.problem) +
               TextBytes(one.folder) + FileBytes(one.files);
  }
  return n_bytes + FileBytes(message.input_files);
}

}  // namespace longrun
