// See record.h.
#include "sweeps/record.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/utf8.h"

namespace longrun {
namespace {

constexpr std::size_t kShownBytesMax = 80;  // of a wrong value, in a message
// As many as a model folder may have (model/hugging_face/manifest.h), with its manifest.
constexpr std::size_t kCheckpointFilesMax = 1025;
constexpr std::size_t kSeriesMetricsMax = 256;
constexpr std::size_t kMetricNameBytesMax = 256;

// Takes an object's members out of it by their types: null and absent members are nothing, and one
// of another type is the reason why the object does not have its form.
class Members {
 public:
  explicit Members(Json& object) : object_(object) {
    if (!object.is_object()) {
      why_ = Str("expected an object, found a value of type ", object.type_name());
    }
  }

  std::optional<std::string> Text(const char* key) {
    Json* const member = Find(key);
    if (member == nullptr) return std::nullopt;
    if (!member->is_string()) return Wrong(key, "text", *member);
    return std::move(member->get_ref<std::string&>());
  }
  std::optional<double> Real(const char* key) {
    const Json* const member = Find(key);
    if (member == nullptr) return std::nullopt;
    if (!member->is_number()) return Wrong(key, "a number", *member);
    return member->get<double>();
  }
  std::optional<std::int64_t> Int(const char* key) {
    const Json* const member = Find(key);
    if (member == nullptr) return std::nullopt;
    const bool is_too_large =
        member->is_number_unsigned() && member->get<std::uint64_t>() > INT64_MAX;
    if (is_too_large || !member->is_number_integer()) return Wrong(key, "an integer", *member);
    return member->get<std::int64_t>();
  }
  // At least 0.
  std::optional<std::int64_t> Count(const char* key) {
    const std::optional<std::int64_t> n = Int(key);
    if (n && *n < 0) return Wrong(key, "0 or more", *n);
    return n;
  }
  // "": absent.
  std::string Digest(const char* key) {
    std::optional<std::string> text = Text(key);
    if (text && !IsSha256Hex(*text)) Wrong(key, "a SHA-256", *text);
    return text && IsSha256Hex(*text) ? *std::move(text) : std::string();
  }
  // Here null is of another type.
  bool Flag(const char* key) {
    const auto member = object_.is_object() ? object_.find(key) : object_.end();
    if (member == object_.end()) return false;
    if (!member->is_boolean()) Wrong(key, "true or false", *member);
    return member->is_boolean() && member->get<bool>();
  }

  template <typename T>
  T Need(const char* key, std::optional<T> value) {
    if (!value) Lacks(key);
    return value ? *std::move(value) : T();
  }
  std::string NeedDigest(const char* key) {
    std::string sha256 = Digest(key);
    if (sha256.empty()) Lacks(key);
    return sha256;
  }

  const std::string& why() const { return why_; }  // "": every member asked for has its form

 private:
  Json* Find(const char* key) {
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  std::nullopt_t Wrong(const char* key, std::string_view expected, const Json& found) {
    if (why_.empty()) {
      const std::string text = found.dump(-1, ' ', true, Json::error_handler_t::replace);
      why_ = Str(key, ": expected ", expected, ", found ", Shortened(text, kShownBytesMax));
    }
    return std::nullopt;
  }
  void Lacks(const char* key) {
    if (why_.empty()) why_ = Str(key, ": expected, but absent");
  }

  Json& object_;
  std::string why_;
};

// The record whose members were taken, if they have their form.
template <typename Body>
RecordBody Readable(const Members& members, Body&& body) {
  if (!members.why().empty()) return UnreadableBody{.why = members.why()};
  return std::forward<Body>(body);
}

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

template <typename T>
std::optional<T> ObjectOf(const Json& body, const char* key) {
  const auto member = body.find(key);
  if (member == body.end() || !member->is_object()) return std::nullopt;
  Result<T> parsed = T::FromJson(*member);
  return parsed.ok() ? std::optional(std::move(parsed).value()) : std::nullopt;
}

RecordBody ParseAttempt(Json& body) {
  Members members(body);
  return AttemptRecord{.task = members.Text("task").value_or(""),
                       .resume = ObjectOf<CheckpointRef>(body, "resume")};
}

RecordBody ParseStarted(const Json& body) {
  return StartedRecord{.execution = ObjectOf<Execution>(body, "execution")};
}

RecordBody ParseProgress(Json& body) {
  Members members(body);
  ProgressRecord progress = {.phase = members.Text("phase").value_or(""),
                             .done = members.Int("done"),
                             .of = members.Int("of"),
                             .tokens_per_s = members.Real("tokens_per_s"),
                             .eta_ms = members.Int("eta_ms")};
  return Readable(members, std::move(progress));
}

RecordBody ParseSeries(const Json& body, std::optional<std::int64_t> step) {
  if (!step) return UnreadableBody{.why = "series without a step"};
  if (body.empty()) return UnreadableBody{.why = "series without a metric"};
  // Each name gets a row in the database that stays.
  if (body.size() > kSeriesMetricsMax) {
    return UnreadableBody{.why = Str("a series of ", body.size(), " metrics: at most ",
                                     kSeriesMetricsMax, " are allowed")};
  }
  SeriesRecord series;
  series.values.reserve(body.size());
  for (const auto& [name, value] : body.items()) {
    if (name.size() > kMetricNameBytesMax) {
      return UnreadableBody{.why = Str("a metric's name has ", name.size(), " bytes: at most ",
                                       kMetricNameBytesMax, " are allowed")};
    }
    if (!value.is_number() && !value.is_null()) {
      return UnreadableBody{.why = Str(name, ": expected a number or null, found a value of type ",
                                       value.type_name())};
    }
    series.values.emplace_back(name,
                               value.is_null() ? std::nullopt : std::optional(value.get<double>()));
  }
  return series;
}

RecordBody ParseResult(Json& body) {
  Members members(body);
  ResultRecord result = {.cell = members.Need("cell", members.Text("cell")),
                         .metric = members.Need("metric", members.Text("metric")),
                         .context_length = members.Int("context_length"),
                         .split = members.Text("split"),
                         .protocol = members.Text("protocol"),
                         .averaging = members.Text("averaging"),
                         .variant = members.Text("variant"),
                         .depth = members.Real("depth"),
                         .value = members.Real("value"),
                         .se = members.Real("se"),
                         .nll_sum = members.Real("nll_sum"),
                         .n = members.Int("n"),
                         .n_bytes = members.Int("bytes"),
                         .status = members.Need("status", members.Text("status"))};
  if (!members.why().empty()) return UnreadableBody{.why = members.why()};
  if (const auto extra = body.find("extra"); extra != body.end()) {
    result.extra = CanonicalJson(*extra);
  }
  return result;
}

std::optional<std::vector<ArtifactFile>> FilesOf(Json& body) {
  const auto list = body.find("files");
  if (list == body.end() || !list->is_array()) return std::nullopt;
  if (list->size() > kCheckpointFilesMax) return std::nullopt;
  std::vector<ArtifactFile> files;
  for (Json& json : *list) {
    Members members(json);
    ArtifactFile file = {.name = members.Need("name", members.Text("name")),
                         .sha256 = members.NeedDigest("sha256"),
                         .n_bytes = members.Need("bytes", members.Count("bytes"))};
    if (!members.why().empty() || !IsSafeName(file.name)) return std::nullopt;
    files.push_back(std::move(file));
  }
  return files;
}

RecordBody ParseCheckpoint(Json& body) {
  Members members(body);
  CheckpointRecord checkpoint = {.sha256 = members.NeedDigest("sha256"),
                                 .step = members.Count("step"),
                                 .files = FilesOf(body),
                                 .is_final = members.Flag("final"),
                                 .is_best = members.Flag("best")};
  checkpoint.is_whole =
      members.why().empty() && checkpoint.step && checkpoint.files && !checkpoint.files->empty();
  checkpoint.path = members.Text("path");
  return checkpoint;
}

RecordBody ParseArtifact(Json& body) {
  Members members(body);
  ArtifactRecord artifact = {.name = members.Need("name", members.Text("name")),
                             .sha256 = members.NeedDigest("sha256"),
                             .n_bytes = members.Need("bytes", members.Int("bytes"))};
  if (!members.why().empty()) return UnreadableBody{.why = members.why()};
  artifact.path = members.Text("path");
  return artifact;
}

RecordBody ParseFailed(Json& body) {
  Members members(body);
  return FailedRecord{.failure_class = members.Text("class").value_or(""),
                      .message = members.Text("message").value_or(""),
                      .where = members.Text("where").value_or("")};
}

RecordBody ParseFinal(Json& body) {
  FinalRecord final;
  if (const auto it = body.find("counts"); it != body.end()) final.counts = std::move(*it);
  if (const auto it = body.find("digest"); it != body.end()) final.digest = std::move(*it);
  return final;
}

}  // namespace

ExpectedCell ResultRecord::asked() const {
  return {.cell = cell,
          .metric = metric,
          .context_length = context_length.value_or(0),
          .variant = variant.value_or(""),
          .depth = depth};
}

std::optional<double> SeriesRecord::ValueOf(std::string_view metric) const {
  for (const auto& [name, value] : values) {
    if (name == metric) return value;
  }
  return std::nullopt;
}

Json ProgressRecord::ToJson() const {
  return {{"phase", phase},
          {"done", OrNull(done)},
          {"of", OrNull(of)},
          {"tokens_per_s", OrNull(tokens_per_s)},
          {"eta_ms", OrNull(eta_ms)}};
}

Json SeriesRecord::ToJson() const {
  Json body = Json::object();
  for (const auto& [name, value] : values) body[name] = OrNull(value);
  return body;
}

Json CheckpointRecord::ToJson() const {
  Json list = Json::array();
  for (const ArtifactFile& file : files.value()) {
    list.push_back({{"name", file.name}, {"sha256", file.sha256}, {"bytes", file.n_bytes}});
  }
  return {{"path", OrNull(path)},     {"step", OrNull(step)}, {"sha256", sha256},
          {"files", std::move(list)}, {"final", is_final},    {"best", is_best}};
}

Json ArtifactRecord::ToJson() const {
  return {{"name", name}, {"path", OrNull(path)}, {"sha256", sha256}, {"bytes", n_bytes}};
}

Json FailedRecord::ToJson() const {
  return {{"class", failure_class}, {"message", message}, {"where", where}};
}

Json FinalRecord::ToJson() const {
  return {{"counts", OrNull(counts)}, {"digest", OrNull(digest)}};
}

RecordBody ParseRecordBody(RecordKind kind, std::optional<std::int64_t> step, Json body) {
  if (!body.is_object()) {
    return UnreadableBody{.why =
                              Str("expected an object, found a value of type ", body.type_name())};
  }
  switch (kind) {
    case RecordKind::kAttempt:
      return ParseAttempt(body);
    case RecordKind::kStarted:
      return ParseStarted(body);
    case RecordKind::kProgress:
      return ParseProgress(body);
    case RecordKind::kSeries:
      return ParseSeries(body, step);
    case RecordKind::kResult:
      return ParseResult(body);
    case RecordKind::kCheckpoint:
      return ParseCheckpoint(body);
    case RecordKind::kArtifact:
      return ParseArtifact(body);
    case RecordKind::kWarning:
      return std::monostate();
    case RecordKind::kFailed:
      return ParseFailed(body);
    case RecordKind::kFinal:
      return ParseFinal(body);
  }
  LR_CHECK(false);
}

}  // namespace longrun
