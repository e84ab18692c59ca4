// How much memory SQLite holds for one thread, and a bound on it.
//
// SQLite itself counts and limits its memory for the whole process only, where one hungry query would
// fail the connection that writes. A connection that is used by one thread from its opening to its
// close allocates and frees on that thread only (we start no worker threads of SQLite), so counting
// by thread is counting by connection. While a bound stands, an allocation of its thread beyond it
// fails: SQLite answers SQLITE_NOMEM to this connection, and nobody else notices.
//
// The count needs our cover over SQLite's allocator, which is installed before main() begins.
#pragma once

#include <cstdint>

namespace longrun {

// One at a time on a thread.
class SqliteMemoryBound {
 public:
  explicit SqliteMemoryBound(std::int64_t bytes_max);
  ~SqliteMemoryBound();
  SqliteMemoryBound(const SqliteMemoryBound&) = delete;
  SqliteMemoryBound& operator=(const SqliteMemoryBound&) = delete;

  bool was_met() const;  // an allocation has failed
};

}  // namespace longrun
