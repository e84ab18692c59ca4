// Imported checkpoints: their names, and the facts about them that a sweep needs. Also the files of
// any checkpoint, for an export.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"
#include "sweeps/sweep.h"

namespace longrun::coordinator {

// For DatasetCatalogue::find_model: finds a model by its name. Parses each model only once.
std::function<std::optional<ModelInfo>(const std::string&)> ModelFinder(
    const std::vector<ModelRow>& models);

// The extension of the model with this digest, as in ModelInfo; null if it has none, or is unknown.
Json ExtensionOfModel(const std::vector<ModelRow>& models, const std::string& digest);

Status RegisterModel(Call& call, const v1::RegisterModelRequest& request,
                     v1::RegisterModelResponse* response);
// The folder from which a model was imported: to a caller on another machine, without its path.
std::string SourceShown(const std::string& source, bool is_remote);
Status ListModels(Call& call, const v1::ListModelsRequest& request,
                  v1::ListModelsResponse* response);
Status RemoveModel(Call& call, const v1::RemoveModelRequest& request,
                   v1::RemoveModelResponse* response);
// nullopt if the caller, on another machine, must also be told the files of the tokenizer.
std::optional<Status> FindCheckpoint(Call& call, const v1::FindCheckpointRequest& request,
                                     v1::FindCheckpointResponse* response);
// Adds them to the answer. Looks into the folder of a dataset, whose disk may not answer for long.
Status ListTokenizer(Call& call, v1::FindCheckpointResponse* response);

}  // namespace longrun::coordinator
