#include "coordinator/scrubber.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/files.h"
#include "base/str.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"
#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kWallMs = 1'700'000'000'000;

// A database with the sample sweep, and a worker that has taken a task.
class ScrubTest : public ::testing::Test {
 protected:
  ScrubTest() : store(Store::Open(folder.path()).value()) {
    State state = store->Load().value();
    AfterLoad(state, 1000, 1);
    for (const SchedulerEvent& event :
         {SchedulerEvent(SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVRZ")),
          SchedulerEvent(WorkerArrived{.session = 1, .worker = SampleWorker(1), .attempts = {}})}) {
      const StepResult result = Step(state, event, 1000, kWallMs);
      EXPECT_TRUE(store->Begin().ok());
      ApplyCounts counts;
      EXPECT_TRUE(store->Apply(result.writes, kWallMs, counts).ok());
      EXPECT_TRUE(store->Commit().ok());
    }
  }

  // As another program would; no checksum is kept.
  void Execute(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(store->database_path().c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sql;
    sqlite3_close(db);
  }

  std::set<std::string> ScrubbedTables(std::int64_t n_rows, std::int64_t* n_read = nullptr) {
    const auto scrub = Scrub::Open(store->database_path()).value();
    std::set<std::string> tables;
    do {
      EXPECT_TRUE(scrub->Step(n_rows).ok());
      for (const DamagedRow& row : scrub->TakeDamaged()) tables.insert(row.table);
    } while (!scrub->is_at_begin());
    if (n_read != nullptr) *n_read = scrub->n_rows();
    return tables;
  }

  TempFolder folder;
  std::unique_ptr<Store> store;
};

TEST_F(ScrubTest, EveryRowIsReadOnceHoweverSmallTheParts) {
  std::int64_t n_all = 0;
  EXPECT_TRUE(ScrubbedTables(1'000'000, &n_all).empty());
  EXPECT_GT(n_all, 20);
  for (const std::int64_t n_rows : {1, 2, 3, 7}) {
    std::int64_t n_read = 0;
    EXPECT_TRUE(ScrubbedTables(n_rows, &n_read).empty());
    EXPECT_EQ(n_read, n_all) << n_rows;
  }
}

TEST_F(ScrubTest, ADamagedRowOfAnyTableIsFound) {
  for (const char* const table : {"sweep", "sweep_run", "sweep_cell", "task", "sweep_task", "cell",
                                  "run", "attempt", "transition", "worker"}) {
    Execute(Str("UPDATE ", table, " SET sum = -2 - sum"));
    EXPECT_EQ(ScrubbedTables(2), std::set<std::string>{table});
    Execute(Str("UPDATE ", table, " SET sum = -2 - sum"));
  }
}

TEST_F(ScrubTest, TheThreadTellsWhatItFindsAndComesBack) {
  Execute("UPDATE transition SET sum = -2 - sum WHERE seq = 1");
  std::mutex mutex;
  std::condition_variable noted;
  int n_told = 0;
  const auto note = [&](const std::vector<DamagedRow>& rows) {
    store->NoteDamaged(rows);
    const std::lock_guard lock(mutex);
    ++n_told;
    noted.notify_all();
  };
  const Scrubber scrubber(Scrub::Open(store->database_path()).value(), note,
                          {.first_ms = 0, .again_ms = 1, .pause_ms = 0, .n_rows = 5});
  std::unique_lock lock(mutex);
  ASSERT_TRUE(noted.wait_for(lock, std::chrono::seconds(60), [&] { return n_told >= 2; }));
  ASSERT_EQ(store->damaged().size(), 1u);
  EXPECT_EQ(store->damaged().front().table, "transition");
}

TEST_F(ScrubTest, ItEndsAtOnce) {
  const Scrubber scrubber(Scrub::Open(store->database_path()).value(),
                          [](const std::vector<DamagedRow>&) {});
}

}  // namespace
}  // namespace longrun::coordinator
