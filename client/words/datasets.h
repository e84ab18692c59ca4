// Shared by the verbs below `longrun data`: the folder of a dataset, and its registration with the
// coordinator.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"
#include "client/verb.h"

namespace CLI {
class App;
}

namespace longrun {

// STATE/datasets/NAME
std::string DatasetFolder(const std::string& state, const std::string& name);

// Registers the folder, prints name, digest and the contents of its splits (as JSON for "json"), and
// returns the exit code.
int RegisterDataset(const std::string& name, const std::string& folder, const std::string& state,
                    const std::string& output);

// The folder of NAME|FOLDER: a folder that holds a dataset; else the one in the state folder; else the one
// that the coordinator has registered under that name. kNotFound lists the places searched.
Result<std::string> FindDataset(const std::string& name_or_folder, const std::string& state);

// One sub-verb each.
void AddDataImport(Verbs& verbs, CLI::App& data);
void AddDataPrepare(Verbs& verbs, CLI::App& data);
void AddDataInspect(Verbs& verbs, CLI::App& data);
void AddDataVerify(Verbs& verbs, CLI::App& data);

}  // namespace longrun
