#include "client/words/sweep_file.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/str.h"
#include "client/console/exit_code.h"
#include "client/console/input.h"
#include "client/wire/retrying_client.h"
#include "client/words/progress_line.h"
#include "client/words/sending.h"
#include "sweeps/limits.h"
#include "sweeps/named_files.h"
#include "sweeps/spec.h"
#include "sweeps/yaml_tree.h"

namespace longrun::client {

std::shared_ptr<SweepFileArguments> AddSweepFile(Verb& verb) {
  auto arguments = std::make_shared<SweepFileArguments>();
  verb.AddArgument("FILE", arguments->file, "sweep file (YAML); -: read it from standard input")
      .Required();
  verb.AddArgument("--set", arguments->sets,
                   "a key and its new value, such as train.optimizer.lr=1e-3")
      .OneEach();
  return arguments;
}

void AddRefreshErrors(Verb& verb, SweepFileArguments& arguments) {
  verb.AddFlag("--refresh-errors", arguments.refresh_errors,
               "also measure again, without training, the numbers for which an earlier\nversion of "
               "longrun did not fully measure the error over the text");
}

namespace {

// Sends named files to a coordinator on another machine, which keeps them at the submission. It
// knows itself whether it has those that are given as "sha256:HEX".
Status SendNamedFiles(const NamedFiles& named, const std::string& context) {
  const TempFolder temporary;
  std::vector<LocalArtifact> files;
  for (const InputFile& file : named.files) {
    const std::string path = KeptFilePath(file.id, temporary.path());
    RETURN_IF_ERROR(KeepInputFile(file, temporary.path()));
    files.push_back({.path = path, .sha256 = BaseName(path), .n_bytes = std::ssize(file.bytes)});
  }
  if (files.empty()) return Status();
  ProgressLine line;
  return SendFiles(context, files, line);
}

// Stores named files. A file given as "sha256:HEX" must have been stored by an earlier submission.
Status KeepFiles(const NamedFiles& named, const std::string& state) {
  if (IsContext(state)) return SendNamedFiles(named, state);
  const std::string folder = JoinPath(state, "files");
  for (const std::string& id : named.ids) RETURN_IF_ERROR(ReadKeptFile(id, folder).status());
  for (const InputFile& file : named.files) {
    RETURN_IF_ERROR(MakeFolders(state, 0700));
    RETURN_IF_ERROR(KeepInputFile(file, folder));
  }
  return Status();
}

template <typename Request>
Request RequestFor(const SweepFileArguments& arguments, std::string yaml, const NamedFiles& named) {
  Request request;
  request.set_yaml(std::move(yaml));
  request.set_file_name(arguments.file);
  request.set_refresh_errors(arguments.refresh_errors);
  for (const auto& [key, value] : named.overrides) {
    v1::Override& one = *request.add_overrides();
    one.set_path(key);
    one.set_value(value);
  }
  return request;
}

// Where a line about a sweep file begins: "FILE:7:12: ...". Lines about --set come last.
std::pair<std::int64_t, std::int64_t> PlaceOf(const std::string& line, const std::string& file) {
  constexpr std::pair<std::int64_t, std::int64_t> kLast = {std::numeric_limits<std::int64_t>::max(),
                                                           0};
  if (!line.starts_with(Str(file, ":"))) return kLast;
  std::pair<std::int64_t, std::int64_t> place;
  const char* const end = line.data() + line.size();
  const auto row = std::from_chars(line.data() + file.size() + 1, end, place.first);
  if (row.ec != std::errc() || row.ptr == end || *row.ptr != ':') return kLast;
  const auto column = std::from_chars(row.ptr + 1, end, place.second);
  return column.ec == std::errc() ? place : kLast;
}

// "FILE:9:31: spec.evaluate[0].multiple_choice.file: ", which two errors of one place share.
std::string_view UpToKey(std::string_view line) {
  const std::size_t key = line.find("spec.");
  const std::size_t end = key == std::string_view::npos ? key : line.find(": ", key);
  return line.substr(0, end);
}

// Adds to the mistakes of files that cannot be read how to use what an earlier submission of the
// sweep kept of them. It is not used by itself: the missing file may have had other content.
Status WithKeptCopies(const NamedFiles& named, const std::string& state) {
  if (named.sweep.empty()) return named.problems;
  RetryingClient client(state, RetryingClient::NoDatabase::kIsMade);
  const Result<v1::GetSweepResponse> earlier = client.GetSweepFile(named.sweep);
  if (!earlier.ok()) return named.problems;
  std::vector<std::string> lines = Split(named.problems.message(), '\n');
  for (const v1::Override& one : earlier->overrides()) {
    if (!IsInputFileId(one.value())) continue;
    const std::string unread = Str("spec.", one.path(), ": cannot read ");
    for (std::string& line : lines) {
      if (line.find(unread) == std::string::npos) continue;
      line +=
          Str("; the coordinator keeps the file that sweep \"", earlier->info().name(),
              "\" had at this place: put the file back, or, if it is the same one, add --set \"",
              one.path(), "=", one.value(), "\"");
    }
  }
  return {named.problems.code(), Join(lines, "\n")};
}

// The mistakes in named files, and those that only the coordinator can find, in one list.
Status WithOtherMistakes(const Status& of_files, const v1::PlanSweepRequest& request,
                         const std::string& state) {
  RetryingClient client(state, RetryingClient::NoDatabase::kIsMade);
  if (client.PlanSweep(request).ok() || client.violations().empty()) return of_files;
  std::vector<std::string> lines = Split(of_files.message(), '\n');
  const std::size_t n_of_files = lines.size();
  for (const std::string& other : client.violations()) {
    // The coordinator refuses such a file, too, since it was not given its content.
    const bool is_known =
        std::any_of(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(n_of_files),
                    [&other](const std::string& line) { return UpToKey(line) == UpToKey(other); });
    if (!is_known) lines.push_back(other);
  }
  std::ranges::stable_sort(lines, {}, [&request](const std::string& line) {
    return PlaceOf(line, request.file_name());
  });
  return {Code::kInvalidArgument, Join(lines, "\n")};
}

bool HasNameOfSweepFile(std::string_view file) {
  return file.ends_with(".yaml") || file.ends_with(".yml");
}

// What to write instead of a missing file: the sweep file beside it with a similar name, or what a
// name that does not look like a file's would have to be. "" if nothing is known.
std::string MeantFile(const std::string& file) {
  std::vector<std::string> beside;
  const Result<std::vector<std::string>> names = ListFolder(FolderOf(file));
  for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
    if (HasNameOfSweepFile(name)) beside.push_back(name);
  }
  std::string meant = Nearest(BaseName(file), beside);
  const std::string with_ending = Str(BaseName(file), ".yaml");
  if (std::ranges::find(beside, with_ending) != beside.end()) meant = with_ending;
  if (!meant.empty()) {
    const std::size_t n_folder = file.size() - BaseName(file).size();
    return Str("; did you mean ", file.substr(0, n_folder), meant, "?");
  }
  if (HasNameOfSweepFile(file)) return "";
  return "; expected the name of a sweep file, such as sweep.yaml";
}

// Text in another encoding has a line that is wrong; what has a NUL byte is no text at all.
Status NotUtf8(const std::string& file, std::string_view yaml) {
  if (yaml.find('\0') != std::string_view::npos) {
    return {Code::kInvalidArgument, Str(file, " is not UTF-8 text: a sweep file is YAML")};
  }
  std::vector<Problem> problems;
  const std::optional<YamlNode> root = ParseYaml(yaml, /*source=*/0, problems);
  LR_CHECK(!root && !problems.empty());
  return ToStatus(std::move(problems), file, {});
}

// Reads the file and those that it names, which are stored in `state`/files if `keeps`. A sweep
// from standard input is called "-", and names files of the working folder.
template <typename Request>
Result<Request> RequestOf(const SweepFileArguments& arguments, const std::string& state,
                          bool keeps) {
  if (arguments.file.empty()) {
    return Status(Code::kInvalidArgument,
                  "the name of the sweep file is empty: name a file, or give - for standard input");
  }
  Result<std::string> yaml =
      arguments.file == "-"
          ? ReadStdin("the sweep file", "give the name of the file", kSweepBytesMax)
          : ReadGivenFile(arguments.file, "sweep file", kSweepBytesMax);
  if (yaml.status().code() == Code::kNotFound) {
    return Status(Code::kNotFound, Str(yaml.status().message(), MeantFile(arguments.file)));
  }
  RETURN_IF_ERROR(yaml.status());
  if (!IsUtf8(*yaml)) return NotUtf8(arguments.file, *yaml);
  std::vector<std::pair<std::string, std::string>> given;
  given.reserve(arguments.sets.size());
  for (const std::string& set : arguments.sets) {
    const std::size_t equals = set.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Status(Code::kInvalidArgument,
                    Str("--set ", set, ": expected PATH=VALUE, as in train.optimizer.lr=1e-3"));
    }
    given.emplace_back(set.substr(0, equals), set.substr(equals + 1));
  }
  ASSIGN_OR_RETURN(const std::string path, AbsolutePath(arguments.file));
  const NamedFiles named = ReadNamedFiles(*yaml, arguments.file, FolderOf(path), given);
  if (!named.problems.ok()) {
    return WithOtherMistakes(
        WithKeptCopies(named, state),
        RequestFor<v1::PlanSweepRequest>(arguments, std::move(yaml).value(), named), state);
  }
  if (keeps) RETURN_IF_ERROR(KeepFiles(named, state));
  return RequestFor<Request>(arguments, std::move(yaml).value(), named);
}

}  // namespace

Result<v1::PlanSweepRequest> PlanRequest(const SweepFileArguments& arguments,
                                         const std::string& state) {
  return RequestOf<v1::PlanSweepRequest>(arguments, state, /*keeps=*/false);
}

Result<v1::SubmitSweepRequest> SubmitRequest(const SweepFileArguments& arguments,
                                             const std::string& state) {
  return RequestOf<v1::SubmitSweepRequest>(arguments, state, /*keeps=*/true);
}

int ReportRequest(const Status& status) {
  // Several lines are the mistakes of a file, each of which begins with its place.
  const std::vector<std::string> lines = Split(status.message(), '\n');
  return lines.size() > 1 ? Report(status, lines) : Report(status);
}

}  // namespace longrun::client
