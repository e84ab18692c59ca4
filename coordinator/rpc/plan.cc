// See plan.h.
#include "coordinator/rpc/plan.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "coordinator/costs.h"
#include "coordinator/plan.h"
#include "coordinator/rpc/views.h"

namespace longrun::coordinator {
namespace {

void FillRun(const PlannedRun& planned, const RunPlan& plan, v1::PlannedRunInfo* info) {
  info->set_run_key(planned.run_key);
  info->set_axes_json(CanonicalJson(planned.axes));
  info->set_dataset(planned.dataset_name);
  info->set_parameters(plan.parameters);
  info->set_train_flops(plan.train_flops);
  info->set_device_kind(std::string(EnumName(plan.device_kind)));
  info->set_micro_batch(plan.micro_batch);
  info->set_memory_bytes(plan.memory_bytes);
  info->set_disk_bytes(plan.disk_bytes);
  info->set_training(std::string(PlannedTrainingName(plan.training)));
  info->set_trained(plan.training != PlannedTraining::kToDo &&
                    plan.training != PlannedTraining::kFailed);
  info->set_cells_known(static_cast<std::int32_t>(plan.cells_known));
  info->set_cells_under_way(static_cast<std::int32_t>(plan.cells_under_way));
  info->set_cells_missing(static_cast<std::int32_t>(plan.cells_missing));
  info->set_cells_refreshed(static_cast<std::int32_t>(plan.cells_refreshed));
  info->set_cells_not_applicable(static_cast<std::int32_t>(plan.cells_not_applicable));
  info->set_evaluate_flops(plan.evaluate_flops);
  info->set_evaluate_memory_bytes(plan.evaluate_memory_bytes);
  if (plan.train_time) FillTime(*plan.train_time, info->mutable_train_time());
  if (plan.evaluate_time) FillTime(*plan.evaluate_time, info->mutable_evaluate_time());
}

void FillResponse(const Sweep& sweep, const SweepPlan& plan, v1::PlanSweepResponse* response) {
  response->set_name(sweep.name);
  FillCounts(plan.counts, response->mutable_counts());
  for (std::size_t i = 0; i < plan.runs.size(); ++i) {
    FillRun(sweep.runs[i], plan.runs[i], response->add_runs());
  }
  response->set_train_flops(plan.train_flops);
  response->set_evaluate_flops(plan.evaluate_flops);
  response->set_under_way_flops(plan.under_way_flops);
  response->set_disk_bytes(plan.counts.checkpoint_bytes);
  response->set_disk_free_bytes(plan.disk_free_bytes);
  response->set_slots(static_cast<std::int32_t>(plan.slots.n));
  response->set_slots_of(std::string(plan.slots.of));
  response->set_device(plan.device);
  if (plan.slot_time) FillTime(*plan.slot_time, response->mutable_slot_time());
  if (plan.wall_time) FillTime(*plan.wall_time, response->mutable_wall_time());
  if (plan.time_left) FillTimeLeft(*plan.time_left, response->mutable_time_left());
  for (const std::string& problem : plan.problems) response->add_problems(problem);
  for (const std::string& problem : plan.dataset_problems) response->add_dataset_problems(problem);
  for (const std::string& note : sweep.notes) response->add_notes(note);
}

// Of a dataset that cannot be listed, the plan's problems say why.
void FillTravels(const ByteSources& bytes, const SweepPlan& plan, v1::PlanSweepResponse* response) {
  for (const DatasetTravel& travel : plan.travels) {
    const Result<DatasetListing> listing = bytes.List(travel.folder);
    if (!listing.ok()) continue;
    v1::DatasetTravel* const info = response->add_travels();
    const std::int64_t n_bytes = BytesOf(listing->files);
    info->set_name(travel.name);
    info->set_digest(travel.digest);
    info->set_bytes(n_bytes);
    info->set_workers(static_cast<std::int32_t>(travel.n_workers));
    info->set_travel_bytes(n_bytes * travel.n_workers);
  }
}

}  // namespace

Status FillPlan(Core& core, StoreReader& reader, bool is_remote, const Sweep& sweep,
                std::map<std::string, std::string> known_cells, const Refresh* refresh,
                v1::PlanSweepResponse* response) {
  const std::vector<DatasetRow> datasets = core.datasets();
  CellCosts costs(datasets);
  ASSIGN_OR_RETURN(const std::vector<MeasuredTask> measured,
                   NewestMeasured(reader, sweep.device_kind, costs));
  SubmissionPlanner planner(sweep, std::move(known_cells),
                            refresh != nullptr ? refresh->cells : std::set<std::string>());
  RETURN_IF_ERROR(
      core.LookAndWait([&](const State& state) { planner.Look(state, BootMs(), WallMs()); }));
  ASSIGN_OR_RETURN(const std::int64_t disk_free_bytes, core.FreeDiskBytes());
  const SweepPlan plan = planner.Plan(datasets, costs, measured, disk_free_bytes, is_remote);
  FillResponse(sweep, plan, response);
  FillTravels(core.bytes(), plan, response);
  if (refresh == nullptr) return Status();
  std::vector<std::string> tasks;
  for (const StaleResult& one : refresh->stale) tasks.push_back(one.task);
  FillRefresh(*refresh, tasks, response->mutable_refresh());
  return Status();
}

}  // namespace longrun::coordinator
