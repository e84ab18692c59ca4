// Checks rows that contain their own digests: data stored under a hash must have that hash, and the
// columns beside a journal line must agree with the line. The check is made when a checksum is
// first written, and by the deep check; otherwise the row's checksum suffices (row_sum.h).
#pragma once

#include <string>

#include "coordinator/store/row_values.h"

namespace longrun::coordinator {

// Checks in table run that run_key is the SHA-256 of `run`, and that the other columns agree with
// `run`; in task, that id is the hash of the task's content, and each cell's id the hash of the
// cell's parameters; in result, that the line's crc is correct, and that the columns agree with the
// line; in record, that the line's crc is correct. Returns true for rows of other tables, and for
// rows that only another build can read.
bool RowAgrees(const std::string& table, const RowValues& row);
bool HasOwnDigests(const std::string& table);  // one of these four

}  // namespace longrun::coordinator
