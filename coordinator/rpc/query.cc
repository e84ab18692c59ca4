// See query.h.
#include "coordinator/rpc/query.h"

#include <set>
#include <utility>

#include "base/str.h"
#include "coordinator/store/query_catalogue.h"
#include "coordinator/store/query_process.h"

namespace longrun::coordinator {
namespace {

Status InRange(std::string_view what, std::int64_t value, std::int64_t max) {
  if (value >= 1 && value <= max) return {};
  return {Code::kInvalidArgument, Str(what, " of a query: expected 1 to ", max, ", found ", value)};
}

// SQLite chooses how a query reads, and a row that it could not read is simply missing: a mean over
// fewer rows would be another number. So look for everything that the query may have missed.
// `sweep_id`: the only sweep of which the query uses rows; "": of any.
Status NoteUnfound(CoordinatorParts& parts, StoreReader& reader,
                   const std::set<std::string>& tables, const std::string& sweep_id) {
  reader.ForgetPages();
  if (tables.contains("result")) RETURN_IF_ERROR(reader.NoteLostNumbers(""));
  const bool has_members = tables.contains("sweep_run") || tables.contains("sweep_cell");
  if (has_members && !sweep_id.empty()) {
    RETURN_IF_ERROR(reader.IsWhole(sweep_id).status());
  } else if (has_members) {
    ASSIGN_OR_RETURN(const std::vector<SweepRow> sweeps, reader.Sweeps());
    for (const SweepRow& sweep : sweeps) RETURN_IF_ERROR(reader.IsWhole(sweep.id).status());
  }
  return NoteKnownDamage(parts, reader, tables);
}

Status Answer(Call& call, const v1::QueryRequest& request, v1::QueryResponse* response) {
  QueryLimits limits;
  if (request.timeout_ms() != 0) limits.timeout_ms = request.timeout_ms();
  if (request.rows_max() != 0) limits.rows_max = request.rows_max();
  ASSIGN_OR_RETURN(limits.hides_folders, IsRemote(call));
  RETURN_IF_ERROR(InRange("timeout_ms", limits.timeout_ms, kQueryTimeoutMsMax));
  RETURN_IF_ERROR(InRange("rows_max", limits.rows_max, kQueryRowsMax));
  ASSIGN_OR_RETURN(QueryAnswer answer,
                   AskQuery(call.parts.query_program, call.parts.core.store().database_path(),
                            request.sql(), request.claims_json(), limits, [&call] {
                              return call.parts.stopping || call.context->IsCancelled();
                            }));
  for (std::string& column : answer.columns) response->add_columns(std::move(column));
  response->set_rows_json(std::move(answer.rows_json));
  response->set_cut_by(answer.cut_by);
  call.reader.NoteDamaged(answer.damaged);
  return NoteUnfound(call.parts, call.reader, answer.tables, request.sweep_id());
}

}  // namespace

Status Query(Call& call, const v1::QueryRequest& request, v1::QueryResponse* response) {
  call.error.subject = "query";
  return call.WithReason("QUERY_REFUSED", Answer(call, request, response));
}

Status ListViews(Call&, const v1::ListViewsRequest&, v1::ListViewsResponse* response) {
  for (const QueryView& view : QueryViews()) {
    v1::ViewInfo* info = response->add_views();
    info->set_name(std::string(view.name));
    info->set_meaning(std::string(view.meaning));
    for (const QueryColumn& column : view.columns) {
      v1::ViewColumnInfo* shown = info->add_columns();
      shown->set_name(std::string(column.name));
      shown->set_type(std::string(column.type));
      shown->set_unit(std::string(column.unit));
      shown->set_meaning(std::string(column.meaning));
    }
  }
  return Status();
}

}  // namespace longrun::coordinator
