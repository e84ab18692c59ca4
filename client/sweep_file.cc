#include "client/sweep_file.h"

#include <CLI/CLI.hpp>

#include "base/files.h"
#include "base/str.h"
#include "sweeps/limits.h"

namespace longrun {

std::shared_ptr<SweepFileArguments> AddSweepFile(CLI::App& verb) {
  auto arguments = std::make_shared<SweepFileArguments>();
  verb.add_option("FILE", arguments->file, "sweep file (YAML)")->required();
  verb.add_option("--set", arguments->sets,
                  "PATH=VALUE: replaces a key, as train.optimizer.lr=1e-3")
      ->type_size(1)
      ->allow_extra_args(false);
  return arguments;
}

Result<Json> SweepRequest(const SweepFileArguments& arguments) {
  Result<std::string> yaml = ReadFile(arguments.file, kSweepBytesMax);
  if (!yaml.ok()) {
    const bool absent = yaml.status().code() == Code::kNotFound;
    return Status(absent ? Code::kNotFound : Code::kInvalidArgument, yaml.status().message());
  }
  if (!IsUtf8(*yaml)) {
    return Status(Code::kInvalidArgument,
                  Str(arguments.file, " is no text in UTF-8: a sweep file is YAML"));
  }
  Json overrides = Json::array();
  for (const std::string& set : arguments.sets) {
    const std::size_t equals = set.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Status(Code::kInvalidArgument,
                    Str("--set ", set, ": expected PATH=VALUE, as in train.optimizer.lr=1e-3"));
    }
    overrides.push_back({{"path", set.substr(0, equals)}, {"value", set.substr(equals + 1)}});
  }
  return Json{{"yaml", *yaml}, {"file_name", arguments.file}, {"overrides", overrides}};
}

}  // namespace longrun
