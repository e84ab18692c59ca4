#include "worker/trainer/weights.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/str.h"
#include "model/hugging_face/manifest.h"
#include "model/net/checkpoint.h"
#include "model/net/model_folder.h"

namespace longrun::trainer {
namespace {

Status OfAnotherModel(const std::string& folder) {
  return Status(Code::kDataLoss,
                Str("checkpoint ", folder, " contains another model than the run's"));
}

}  // namespace

Result<NetConfig> ConfigOfRun(const NetConfig& stored, const Run& run, const std::string& folder) {
  const Json& extension = run.train.extension;
  if (run.init && !extension.is_null()) {
    // A file may say the extension in other words, as by a larger base, but no others for ours.
    NetConfig config = stored;
    config.model = run.model;
    config.extension = extension;
    if (ModelConfigJson(stored) != ModelConfigJson(config)) return OfAnotherModel(folder);
    return config;
  }
  const NetConfig own = {.model = run.model, .extension = extension};
  const NetConfig shape = run.init ? NetConfig{.model = stored.model} : stored;
  if (ModelConfigJson(shape) != ModelConfigJson(own)) return OfAnotherModel(folder);
  if (!run.init) return own;
  NetConfig config = stored;
  config.model = run.model;
  return config;
}

Result<StartWeights> LoadImported(const CheckpointRef& init, const Run& run) {
  RETURN_IF_ERROR(VerifyFolder(init.checkpoint, init.sha256).status());
  ASSIGN_OR_RETURN(ModelFolder folder, LoadModelFolder(init.checkpoint));
  if (folder.config.model.ToJson() != run.model.ToJson()) return OfAnotherModel(init.checkpoint);
  const std::vector<std::string> anew = NewPositionTensors(folder.config.model, run.model);
  ASSIGN_OR_RETURN(const std::vector<ParameterSpec> specs, ParametersOf(run.model));
  std::vector<ParameterSpec> random;
  StartWeights imported = {.config = folder.config, .parameters = {}};
  for (const ParameterSpec& spec : specs) {
    if (std::ranges::find(anew, spec.name) != anew.end()) {
      random.push_back(spec);
    } else {
      imported.parameters[spec.name] = std::move(folder.parameters.at(spec.name));
    }
  }
  imported.parameters.merge(InitialParameters(random, static_cast<std::uint64_t>(run.seed)));
  imported.config.model = run.model;
  // Only rope has an extension.
  if (run.model.position.method != "rope") imported.config.extension = Json();
  return imported;
}

Result<StartWeights> LoadBase(const CheckpointRef& init, const Run& run) {
  RETURN_IF_ERROR(VerifyCheckpointFolder(init.checkpoint, init.sha256).status());
  ASSIGN_OR_RETURN(ModelFolder folder, LoadModelFolder(init.checkpoint));
  if (folder.config.model.ToJson() != run.model.ToJson()) return OfAnotherModel(init.checkpoint);
  StartWeights base = {.config = folder.config, .parameters = std::move(folder.parameters)};
  base.config.model = run.model;
  if (!run.train.extension.is_null()) base.config.extension = run.train.extension;
  return base;
}

Status SetExtension(const Json& extension, NetConfig& net) {
  if (extension.is_null()) return Status();
  if (!net.extension.is_null()) {
    return Status(
        Code::kInvalidArgument,
        Str("config.json already extends the model (rope_scaling or rope_parameters, method \"",
            net.extension.at("method").get<std::string>(),
            "\"); remove that, or leave out --extend"));
  }
  net.extension = extension;
  return Status();
}

}  // namespace longrun::trainer
