#include "coordinator/earlier_results.h"

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "sweeps/event.h"

namespace longrun::coordinator {
namespace {

struct Line {
  Json body;
  RecordBody parsed;
};

// A row that is taken over also names the attempt that measured it.
constexpr std::size_t kLineBytesMax = kJournalLineBytesMax - 1024;

Result<Line> ReadLine(const std::string& text) {
  if (text.size() > kLineBytesMax) return Status(Code::kResourceExhausted, "too long");
  ASSIGN_OR_RETURN(JournalRecord record, ParseJournalLine(text));
  ASSIGN_OR_RETURN(const std::string body, BodyOfJournalLine(text));
  ASSIGN_OR_RETURN(Json json, ParseJson(body));
  return Line{.body = std::move(json), .parsed = std::move(record.body)};
}

}  // namespace

std::vector<EarlierResults> ReadEarlierResults(
    const std::vector<EarlierLines>& earlier,
    const std::function<bool(const ArtifactRecord& file)>& has_file) {
  std::set<std::pair<std::string, ExpectedCell>> known;  // by what they were measured with
  std::vector<EarlierResults> read;
  for (const EarlierLines& lines : earlier) {
    const Result<Line> started = ReadLine(lines.started);
    if (!started.ok()) continue;
    EarlierResults results = {.attempt = lines.attempt,
                              .measured_with = MeasuredWith(started->body)};
    const std::string with = CanonicalJson(results.measured_with);
    std::vector<Json> artifacts;  // of the next row
    bool has_files = true;
    for (const std::string& text : lines.results) {
      Result<Line> line = ReadLine(text);
      if (!line.ok()) {
        has_files = false;  // whose it was is not known
        continue;
      }
      if (const auto* const artifact = std::get_if<ArtifactRecord>(&line->parsed)) {
        has_files = has_files && has_file(*artifact);
        artifacts.push_back(std::move(line->body));
        continue;
      }
      const auto* const row = std::get_if<ResultRecord>(&line->parsed);
      EarlierResult result = {.row = std::move(line->body),
                              .artifacts = std::exchange(artifacts, {})};
      const bool is_whole = std::exchange(has_files, true) && row != nullptr;
      if (!is_whole || row->status != "ok" || !known.emplace(with, row->asked()).second) continue;
      results.results.push_back(std::move(result));
    }
    if (!results.results.empty()) read.push_back(std::move(results));
  }
  return read;
}

}  // namespace longrun::coordinator
