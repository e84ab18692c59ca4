// Rows that carry their own digests: what is stored under a hash has that hash, and the columns beside a
// journal line are what the line says. Checked where a checksum is written for the first time, and by
// the deep check; in between the row's checksum stands for it (row_sum.h).
#pragma once

#include <string>

#include "coordinator/store/row_values.h"

namespace longrun {

// run: run_key is the SHA-256 of `run`, whose values the columns have. task: id is the hash of what it
// asks for, each cell's that of its parameters. result: the line's crc holds, and the columns are what it
// says. record: the line's crc holds. True for rows of other tables, and for what only another build
// can read.
bool RowAgrees(const std::string& table, const RowValues& row);
bool HasOwnDigests(const std::string& table);  // one of these four

}  // namespace longrun
