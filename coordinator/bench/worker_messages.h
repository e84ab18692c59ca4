// What the workers of the benchmarks send to the coordinator.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "longrun/v1/session.pb.h"

namespace longrun::coordinator {

// The metrics of each `series` record: one row each.
inline constexpr const char* kMetrics[] = {"grad_norm", "loss", "lr", "tokens_per_s"};
inline constexpr int kRowsOfRecord = 4;
double MetricOf(std::size_t metric, std::int64_t step);

// The line of a `series` record, whose step is `seq`.
std::string SeriesLine(std::int64_t seq);
// The lines of the first two records of a journal.
std::vector<std::string> FirstLines(const std::string& attempt);

v1::WorkerMessage HelloOf(const Worker& worker);
v1::WorkerMessage AcceptedOf(const v1::Start& start);
v1::WorkerMessage BatchOf(const v1::Start& start, std::int64_t first_seq,
                          std::vector<std::string> lines);

}  // namespace longrun::coordinator
