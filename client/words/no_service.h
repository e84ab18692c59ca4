// How reading commands show sweeps on which no service works: the states in the database are those
// of the moment when the service ended.
#pragma once

#include <string>

#include "client/wire/connection.h"

namespace longrun::client {

// Replaces "RUNNING" by "INTERRUPTED"; for a task, also the other states of one that has begun.
std::string StateWithoutService(const std::string& state);
std::string TaskStateWithoutService(const std::string& state);

// The same in a message, for people: for the sweep and the tasks that had begun. Removes notices
// about workers and trainers, since they assume a waiting service.
void ShowInterrupted(v1::GetSweepResponse& message);
void ShowInterrupted(v1::GetRunResponse& message);

// Workers that the last coordinator worked with or waited for become OFFLINE.
bool WasAtWork(const v1::WorkerInfo& worker);
void ShowInterrupted(v1::ListWorkersResponse& message);

// "no service runs on /state: worker box-1 was last heard of at 2026-01-02T03:04:05Z;
// `longrun up` goes on"
std::string NoServiceText(CoordinatorConnection& connection, const std::string& state);
// From an answer of ListWorkers.
std::string NoServiceText(const Repeated<v1::WorkerInfo>& workers, const std::string& state);

}  // namespace longrun::client
