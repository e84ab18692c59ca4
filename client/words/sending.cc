#include "client/words/sending.h"

#include <cstdint>

#include "base/failpoint.h"
#include "client/wire/artifacts.h"

namespace longrun::client {
namespace {

constexpr int kRoundsMax = 3;

}  // namespace

Status SendFiles(const std::string& state, const std::vector<LocalArtifact>& files,
                 ProgressLine& line) {
  ASSIGN_OR_RETURN(const auto store, ArtifactClient::Connect(state));
  std::int64_t n_bytes = 0;
  for (const LocalArtifact& file : files) n_bytes += file.n_bytes;
  const auto progress = [&](std::int64_t so_far) {
    Failpoint("client_mid_upload");
    line.Show(BytesProgress("storing", so_far, n_bytes));
  };
  return store->Upload(files, progress, [&line](const std::string& text) { line.Tell(text); });
}

Status SendAndName(const std::string& state, const std::vector<LocalArtifact>& files,
                   ProgressLine& line, const std::function<Status()>& name_them) {
  for (int round = 1;; ++round) {
    RETURN_IF_ERROR(SendFiles(state, files, line));
    Status named = name_them();
    const bool again =
        named.code() == Code::kFailedPrecondition || named.code() == Code::kUnavailable;
    if (!again || round == kRoundsMax) return named;
  }
}

}  // namespace longrun::client
