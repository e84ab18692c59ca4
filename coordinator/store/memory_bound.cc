// See memory_bound.h.
#include "coordinator/store/memory_bound.h"

#include <sqlite3.h>

#include <limits>

#include "base/check.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kNoBound = std::numeric_limits<std::int64_t>::max();

struct ThreadMemory {
  std::int64_t n_bytes = 0;  // held since the bound was set
  std::int64_t n_bytes_max = kNoBound;
  bool was_met = false;
};
thread_local ThreadMemory t_memory;

sqlite3_mem_methods plain;  // SQLite's own

bool Fits(std::int64_t n_more) {
  if (t_memory.n_bytes_max == kNoBound || t_memory.n_bytes + n_more <= t_memory.n_bytes_max) {
    return true;
  }
  t_memory.was_met = true;
  return false;
}

void* Malloc(int n_bytes) {
  if (!Fits(n_bytes)) return nullptr;
  void* const memory = plain.xMalloc(n_bytes);
  if (memory != nullptr) t_memory.n_bytes += plain.xSize(memory);
  return memory;
}

void Free(void* memory) {
  if (memory == nullptr) return;
  t_memory.n_bytes -= plain.xSize(memory);
  plain.xFree(memory);
}

void* Realloc(void* memory, int n_bytes) {
  const int n_before = plain.xSize(memory);
  if (!Fits(n_bytes - n_before)) return nullptr;
  void* const moved = plain.xRealloc(memory, n_bytes);
  if (moved != nullptr) t_memory.n_bytes += plain.xSize(moved) - n_before;
  return moved;
}

// Must come before the first use of SQLite.
bool Install() {
  // SQLite's own count for the process would cost a lock for every allocation.
  LR_CHECK(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
  LR_CHECK(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain) == SQLITE_OK);
  sqlite3_mem_methods counting = plain;
  counting.xMalloc = &Malloc;
  counting.xFree = &Free;
  counting.xRealloc = &Realloc;
  LR_CHECK(sqlite3_config(SQLITE_CONFIG_MALLOC, &counting) == SQLITE_OK);
  return true;
}
const bool kIsInstalled = Install();

}  // namespace

SqliteMemoryBound::SqliteMemoryBound(std::int64_t bytes_max) {
  LR_CHECK(kIsInstalled && t_memory.n_bytes_max == kNoBound);
  t_memory = {.n_bytes = 0, .n_bytes_max = bytes_max, .was_met = false};
}

SqliteMemoryBound::~SqliteMemoryBound() { t_memory.n_bytes_max = kNoBound; }

bool SqliteMemoryBound::was_met() const { return t_memory.was_met; }

}  // namespace longrun::coordinator
