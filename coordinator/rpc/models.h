// Imported checkpoints: their names, and what a sweep needs to know about them. Also the files of any
// checkpoint, for an export.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"
#include "sweeps/sweep.h"

namespace longrun {

// For DatasetCatalogue::find_model: finds a model by its name. Each is parsed only once.
std::function<std::optional<ModelInfo>(const std::string&)> ModelFinder(
    const std::vector<ModelRow>& models);

grpc::ServerUnaryReactor* HandleRegisterModel(Parts& parts, grpc::CallbackServerContext* context,
                                              const v1::RegisterModelRequest* request,
                                              v1::RegisterModelResponse* response);
grpc::ServerUnaryReactor* HandleListModels(Parts& parts, grpc::CallbackServerContext* context,
                                           v1::ListModelsResponse* response);
grpc::ServerUnaryReactor* HandleRemoveModel(Parts& parts, grpc::CallbackServerContext* context,
                                            const v1::RemoveModelRequest* request,
                                            v1::RemoveModelResponse* response);
grpc::ServerUnaryReactor* HandleFindCheckpoint(Parts& parts, grpc::CallbackServerContext* context,
                                               const v1::FindCheckpointRequest* request,
                                               v1::FindCheckpointResponse* response);

}  // namespace longrun
