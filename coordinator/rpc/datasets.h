// Calls about registered datasets.
#pragma once

#include <optional>

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status RegisterDataset(Call& call, const v1::RegisterDatasetRequest& request,
                       v1::RegisterDatasetResponse* response);
// The part of StoreDataset that takes only a moment: nullopt if the rest must follow.
std::optional<Status> CheckStoreDataset(Call& call, const v1::StoreDatasetRequest& request,
                                        v1::StoreDatasetResponse* response);
Status StoreDataset(Call& call, const v1::StoreDatasetRequest& request,
                    v1::StoreDatasetResponse* response);
Status ListDatasets(Call& call, const v1::ListDatasetsRequest& request,
                    v1::ListDatasetsResponse* response);
Status RemoveDataset(Call& call, const v1::RemoveDatasetRequest& request,
                     v1::RemoveDatasetResponse* response);

}  // namespace longrun::coordinator
