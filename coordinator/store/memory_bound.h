// Bounds the memory that SQLite holds for one thread.
//
// SQLite itself counts and limits memory only for the whole process, where one expensive query
// would make the writing connection fail. A connection that one thread uses from opening to close
// allocates and frees only on that thread (we start no worker threads of SQLite), so a count per
// thread is a count per connection. While a bound exists, an allocation of its thread beyond it
// fails: SQLite returns SQLITE_NOMEM to this connection, and no other is affected.
//
// The count needs our wrapper around SQLite's allocator, which is installed before main() begins.
#pragma once

#include <cstdint>

namespace longrun::coordinator {

// At most one per thread at a time.
class SqliteMemoryBound {
 public:
  explicit SqliteMemoryBound(std::int64_t bytes_max);
  ~SqliteMemoryBound();
  SqliteMemoryBound(const SqliteMemoryBound&) = delete;
  SqliteMemoryBound& operator=(const SqliteMemoryBound&) = delete;

  bool was_met() const;  // an allocation has failed
};

}  // namespace longrun::coordinator
