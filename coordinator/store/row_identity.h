// Checks rows that contain their own digests: data stored under a hash must have that hash, and the
// columns beside a journal line must agree with the line. The check is made when a checksum is
// first written, and by the deep check; otherwise the row's checksum suffices (row_sum.h).
#pragma once

#include <string>

#include "coordinator/store/row_values.h"

namespace longrun::coordinator {

// Checks, by table:
//   run     run_key is the SHA-256 of `run`, and the other columns agree with `run`
//   task    id is the hash of the task's content, and each cell's id that of the cell's parameters
//   result  the line's crc is correct, and the columns agree with the line
//   record  the line's crc is correct
// Returns true for rows of other tables, and for rows that only another build can read.
bool RowAgrees(const std::string& table, const RowValues& row);
bool HasOwnDigests(const std::string& table);  // one of these four

}  // namespace longrun::coordinator
