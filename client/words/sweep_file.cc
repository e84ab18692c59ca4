#include "client/words/sweep_file.h"

#include "base/files.h"
#include "base/str.h"
#include "sweeps/limits.h"
#include "sweeps/named_files.h"

namespace longrun::client {

std::shared_ptr<SweepFileArguments> AddSweepFile(Verb& verb) {
  auto arguments = std::make_shared<SweepFileArguments>();
  verb.AddArgument("FILE", arguments->file, "sweep file (YAML)").Required();
  verb.AddArgument("--set", arguments->sets,
                   "PATH=VALUE: replaces a key, as train.optimizer.lr=1e-3")
      .OneEach();
  return arguments;
}

void AddRefreshErrors(Verb& verb, SweepFileArguments& arguments) {
  verb.AddFlag("--refresh-errors", arguments.refresh_errors,
               "also measure again, from the final checkpoints, known numbers whose error\n"
               "over the text an earlier version took from windows");
}

namespace {

// Stores named files. A file given as "sha256:HEX" must have been stored by an earlier submission.
Status KeepFiles(const NamedFiles& named, const std::string& state) {
  const std::string folder = JoinPath(state, "files");
  for (const std::string& id : named.ids) RETURN_IF_ERROR(ReadKeptFile(id, folder).status());
  for (const InputFile& file : named.files) {
    RETURN_IF_ERROR(MakeFolders(state, 0700));
    RETURN_IF_ERROR(KeepInputFile(file, folder));
  }
  return Status();
}

// Reads the file and those that it names, which are stored in `state`/files unless that is "".
template <typename Request>
Result<Request> RequestOf(const SweepFileArguments& arguments, const std::string& state) {
  Result<std::string> yaml = ReadFile(arguments.file, kSweepBytesMax);
  if (!yaml.ok()) {
    const bool absent = yaml.status().code() == Code::kNotFound;
    return Status(absent ? Code::kNotFound : Code::kInvalidArgument, yaml.status().message());
  }
  if (!IsUtf8(*yaml)) {
    return Status(Code::kInvalidArgument,
                  Str(arguments.file, " is not UTF-8 text: a sweep file is YAML"));
  }
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
  ASSIGN_OR_RETURN(const NamedFiles named,
                   ReadNamedFiles(*yaml, arguments.file, FolderOf(path), given));
  if (!state.empty()) RETURN_IF_ERROR(KeepFiles(named, state));
  Request request;
  request.set_yaml(std::move(yaml).value());
  request.set_file_name(arguments.file);
  request.set_refresh_errors(arguments.refresh_errors);
  for (const auto& [key, value] : named.overrides) {
    v1::Override& one = *request.add_overrides();
    one.set_path(key);
    one.set_value(value);
  }
  return request;
}

}  // namespace

Result<v1::PlanSweepRequest> PlanRequest(const SweepFileArguments& arguments) {
  return RequestOf<v1::PlanSweepRequest>(arguments, "");
}

Result<v1::SubmitSweepRequest> SubmitRequest(const SweepFileArguments& arguments,
                                             const std::string& state) {
  return RequestOf<v1::SubmitSweepRequest>(arguments, state);
}

}  // namespace longrun::client
