// Calls about registered datasets.
#pragma once

#include "coordinator/rpc/call.h"
#include "longrun/v1/sweeps.pb.h"

namespace longrun::coordinator {

Status RegisterDataset(Call& call, const v1::RegisterDatasetRequest& request,
                       v1::RegisterDatasetResponse* response);
Status StoreDataset(Call& call, const v1::StoreDatasetRequest& request,
                    v1::StoreDatasetResponse* response);
Status ListDatasets(Call& call, const v1::ListDatasetsRequest& request,
                    v1::ListDatasetsResponse* response);
Status RemoveDataset(Call& call, const v1::RemoveDatasetRequest& request,
                     v1::RemoveDatasetResponse* response);

}  // namespace longrun::coordinator
