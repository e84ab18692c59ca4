// Runs a user's SQL (query.h) in a child process: `longrun-coordinator --answer-query`.
//
// SQLite counts and limits memory only for a whole process. In the coordinator, one expensive query
// would make the writing connection fail. In a process of its own, a query that uses too much
// memory, crashes or is killed affects nothing else.
//
// A question and an answer each consist of one line of JSON, followed by plain text: the SQL, or
// the answer's rows. Before its answer, the child sends an empty line: a query's time does not
// include the start of its process.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "coordinator/store/query.h"

namespace longrun::coordinator {

inline constexpr const char* kAnswerQueryFlag = "--answer-query";

// Starts `program` with that flag, and kills it if it exceeds a limit or `is_cancelled` (which may
// be empty) returns true. The child dies with this process. May be called from any thread. Errors:
// those of RunQuery; kResourceExhausted if SQLite needs more than limits.memory_bytes_max, or the
// machine has no room for a process; kCancelled; kInternal: the child could not be started, or
// ended without an answer.
Result<QueryAnswer> AskQuery(const std::string& program, const std::string& database_path,
                             const std::string& sql, const std::string& claims_json,
                             const QueryLimits& limits, std::function<bool()> is_cancelled = {});

// The child: reads a question from standard input, writes its answer to standard output, and
// returns the exit code. Must come before any other use of SQLite in the process.
int AnswerQuery();

}  // namespace longrun::coordinator
