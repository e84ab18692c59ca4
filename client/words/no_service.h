// Shows sweeps while no service runs, for commands that read: the states in the database are still
// those of the moment when the service ended.
#pragma once

#include <cstdint>
#include <string>

#include "client/wire/sweep_calls.h"

namespace longrun::client {

// Replaces "RUNNING" by "INTERRUPTED". For a task, also replaces "RESERVED" and "STOPPING".
std::string StateWithoutService(const std::string& state);
std::string TaskStateWithoutService(const std::string& state);

// Does the same for the sweep and the tasks in a message that is shown to people. Removes notices
// about workers and trainers, since such notices assume that a service is waiting for them.
void ShowInterrupted(v1::GetSweepResponse& message);
void ShowInterrupted(v1::GetRunResponse& message);
void ShowInterrupted(v1::GetReasonsResponse& message);

// Whether the last coordinator worked with the worker, or waited for it. ShowInterrupted() shows
// such workers as OFFLINE.
bool WasAtWork(const v1::WorkerInfo& worker);
void ShowInterrupted(v1::ListWorkersResponse& message);

// Trainers of the state folder's own worker that live. They outlive their worker, and finish their
// task without it.
std::int64_t TrainersAtWork(const std::string& state);

// "no service runs on /state, but 1 of its trainers still runs, and the next service stores what it
// reports; worker box-1 was last heard from at 2026-01-02T03:04:05Z:
// `longrun up` continues all work; `longrun run FILE` continues only the sweep in FILE"
std::string NoServiceText(SweepCalls& calls, const std::string& state);
// The same, from an answer of ListWorkers.
std::string NoServiceText(const Repeated<v1::WorkerInfo>& workers, const std::string& state);

// For commands that give a service work, and for those that make trainers stop.
inline constexpr const char* kNothingRuns = "nothing is running: `longrun up` starts the work";
std::string TrainersGoOnText(const std::string& state);

}  // namespace longrun::client
