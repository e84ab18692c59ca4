// See identity.h.
#include "coordinator/store/identity.h"

#include <map>
#include <optional>
#include <utility>

#include "base/str.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {
namespace {

// The kinds of the audit log's entries: a change; a failure or refusal of somebody who is known;
// one of somebody who is not.
#define LONGRUN_AUDIT_KIND \
  "(CASE WHEN outcome = 'OK' THEN 0 WHEN principal <> 'nobody' THEN 1 ELSE 2 END)"

std::optional<std::int64_t> OptionalInt(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return row.Int(column);
}

Result<bool> HasColumn(Connection& connection, const char* table, const char* column) {
  ASSIGN_OR_RETURN(const std::int64_t n,
                   connection.ReadInt(Str("SELECT count(*) FROM pragma_table_info('", table,
                                          "', 'main') WHERE name = '", column, "'")));
  return n > 0;
}

}  // namespace

bool TokenRow::IsUsed() const {
  return ended_ms && role == kWorkerRole && ended_by.starts_with("worker ");
}

Result<IdentityRows> ReadIdentity(Connection& connection) {
  IdentityRows rows;
  ASSIGN_OR_RETURN(const bool has_tables, HasColumn(connection, "access_token", "id"));
  if (!has_tables) return rows;
  ASSIGN_OR_RETURN(const bool has_keys, HasColumn(connection, "worker_certificate", "key"));
  RETURN_IF_ERROR(ForEach(connection,
                          "SELECT id, hash, role, note, worker, created_ms, expires_ms, ended_ms,"
                          " ended_by FROM access_token ORDER BY created_ms, id",
                          [&](const Statement& row) {
                            rows.tokens.push_back({.id = row.Text(0),
                                                   .hash = row.Text(1),
                                                   .role = row.Text(2),
                                                   .note = row.Text(3),
                                                   .worker = row.Text(4),
                                                   .created_ms = row.Int(5),
                                                   .expires_ms = row.Int(6),
                                                   .ended_ms = OptionalInt(row, 7),
                                                   .ended_by = row.Text(8)});
                          }));
  RETURN_IF_ERROR(ForEach(connection,
                          has_keys ? "SELECT worker, serial, issued_ms, expires_ms, revoked_ms, key"
                                     " FROM worker_certificate ORDER BY worker"
                                   : "SELECT worker, serial, issued_ms, expires_ms, revoked_ms, ''"
                                     " FROM worker_certificate ORDER BY worker",
                          [&](const Statement& row) {
                            rows.certificates.push_back({.worker = row.Text(0),
                                                         .serial = row.Text(1),
                                                         .issued_ms = row.Int(2),
                                                         .expires_ms = row.Int(3),
                                                         .revoked_ms = OptionalInt(row, 4),
                                                         .key = row.Text(5)});
                          }));
  return rows;
}

Result<IdentityRows> Store::LoadIdentity() {
  RETURN_IF_ERROR(OpenReader());
  ASSIGN_OR_RETURN(IdentityRows rows, ReadIdentity(*reader_));
  NoteDamaged(reader_->row_sums().TakeDamaged());
  return rows;
}

Status Store::PutToken(const TokenRow& token) {
  RETURN_IF_ERROR(DropIfDamaged("access_token", token.id));
  ASSIGN_OR_RETURN(
      Statement put,
      connection_->Prepare("INSERT INTO access_token (id, hash, role, note, worker, created_ms,"
                           " expires_ms, ended_ms, ended_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                           " ON CONFLICT (id) DO UPDATE SET ended_ms = excluded.ended_ms,"
                           " ended_by = excluded.ended_by"));
  return put.Bind(token.id)
      .Bind(token.hash)
      .Bind(token.role)
      .Bind(token.note)
      .Bind(token.worker)
      .Bind(token.created_ms)
      .Bind(token.expires_ms)
      .Bind(token.ended_ms)
      .Bind(token.ended_by)
      .Run();
}

Status Store::DropToken(const std::string& id) {
  ASSIGN_OR_RETURN(Statement drop, connection_->Prepare("DELETE FROM access_token WHERE id = ?"));
  return drop.Bind(id).Run();
}

Status Store::PutWorkerCertificate(const WorkerCertificateRow& certificate) {
  RETURN_IF_ERROR(DropIfDamaged("worker_certificate", certificate.worker));
  ASSIGN_OR_RETURN(
      Statement put,
      connection_->Prepare(
          "INSERT INTO worker_certificate (worker, serial, issued_ms, expires_ms, revoked_ms, key)"
          " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (worker) DO UPDATE SET serial = excluded.serial,"
          " issued_ms = excluded.issued_ms, expires_ms = excluded.expires_ms,"
          " revoked_ms = excluded.revoked_ms, key = excluded.key"));
  return put.Bind(certificate.worker)
      .Bind(certificate.serial)
      .Bind(certificate.issued_ms)
      .Bind(certificate.expires_ms)
      .Bind(certificate.revoked_ms)
      .Bind(certificate.key)
      .Run();
}

// Reads the whole table, since no index tells the kinds apart: so it is done only once.
Status Store::CountAudit() {
  std::map<std::int64_t, AuditCount> counts;
  RETURN_IF_ERROR(ForEach(*connection_,
                          "SELECT " LONGRUN_AUDIT_KIND ", seq FROM audit ORDER BY seq",
                          [&](const Statement& row) {
                            const AuditCount first{.n = 0, .first_seq = row.Int(1)};
                            counts.try_emplace(row.Int(0), first).first->second.n += 1;
                          }));
  audit_counts_ = std::move(counts);
  return Status();
}

Status Store::AddAudit(const AuditRow& entry, std::int64_t n_rows_max) {
  if (!audit_counts_) RETURN_IF_ERROR(CountAudit());
  ASSIGN_OR_RETURN(
      Statement put,
      connection_->Prepare("INSERT INTO audit (at_ms, principal, role, peer, method, subject,"
                           " outcome, message, repeats) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                           " RETURNING " LONGRUN_AUDIT_KIND));
  put.Bind(entry.at_ms)
      .Bind(entry.principal)
      .Bind(entry.role)
      .Bind(entry.peer)
      .Bind(entry.method)
      .Bind(entry.subject)
      .Bind(entry.outcome)
      .Bind(entry.message)
      .Bind(entry.repeats);
  std::int64_t kind = 0;
  RETURN_IF_ERROR(ForEachRow(put, [&](const Statement& row) { kind = row.Int(0); }));
  AuditCount& kept = (*audit_counts_)[kind];
  kept.n += 1;
  ASSIGN_OR_RETURN(
      Statement drop,
      connection_->Prepare("DELETE FROM audit WHERE seq = (SELECT seq FROM audit WHERE seq >= ?"
                           " AND " LONGRUN_AUDIT_KIND " = ? ORDER BY seq LIMIT 1) RETURNING seq"));
  // Each search goes on where the last one ended, so that all together read an entry once.
  while (kept.n > n_rows_max) {
    std::optional<std::int64_t> dropped;
    drop.Again().Bind(kept.first_seq).Bind(kind);
    RETURN_IF_ERROR(ForEachRow(drop, [&](const Statement& row) { dropped = row.Int(0); }));
    if (!dropped) {  // another program has removed entries: the next call counts again
      audit_counts_.reset();
      return Status();
    }
    kept = {.n = kept.n - 1, .first_seq = *dropped + 1};
  }
  return Status();
}

Result<std::vector<AuditRow>> StoreReader::Audit(std::int64_t since_ms, std::int64_t n_rows_max,
                                                 bool only_changes) {
  ASSIGN_OR_RETURN(
      Statement row,
      connection_->Prepare("SELECT seq, at_ms, principal, role, peer, method, subject, outcome,"
                           " message, repeats FROM (SELECT * FROM audit WHERE at_ms >= ?"
                           " AND (outcome = 'OK' OR NOT ?)"
                           " ORDER BY seq DESC LIMIT ?) ORDER BY seq"));
  std::vector<AuditRow> rows;
  RETURN_IF_ERROR(
      ForEachRow(row.Bind(since_ms).Bind(only_changes).Bind(n_rows_max), [&](const Statement& one) {
        rows.push_back({.seq = one.Int(0),
                        .at_ms = one.Int(1),
                        .principal = one.Text(2),
                        .role = one.Text(3),
                        .peer = one.Text(4),
                        .method = one.Text(5),
                        .subject = one.Text(6),
                        .outcome = one.Text(7),
                        .message = one.Text(8),
                        .repeats = one.Int(9)});
      }));
  return rows;
}

}  // namespace longrun::coordinator
