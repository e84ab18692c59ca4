// What SQLite's errors are told as.
#include "coordinator/store/sqlite.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <string>

#include "base/files.h"
#include "base/shortage.h"
#include "base/str.h"

namespace longrun::coordinator {
namespace {

// Lowers a limit of this process for the life of the object.
class Lowered {
 public:
  Lowered(int resource, rlim_t limit) : resource_(resource) {
    EXPECT_EQ(getrlimit(resource_, &before_), 0);
    const rlimit low = {.rlim_cur = limit, .rlim_max = before_.rlim_max};
    EXPECT_EQ(setrlimit(resource_, &low), 0);
  }
  ~Lowered() { setrlimit(resource_, &before_); }
  Lowered(const Lowered&) = delete;
  Lowered& operator=(const Lowered&) = delete;

 private:
  int resource_;
  rlimit before_{};
};

TEST(SqliteTest, ALimitOnTheSizeOfAFileIsNoFullDisk) {
  for (const char* const journal : {"WAL", "DELETE"}) {
    SCOPED_TRACE(journal);
    const TempFolder folder;
    const auto database =
        Connection::Open(JoinPath(folder.path(), "a.db"), Connection::Mode::kWrite);
    ASSERT_TRUE(database.ok()) << database.status().message();
    ASSERT_TRUE((*database)->Execute(Str("PRAGMA journal_mode = ", journal)).ok());
    ASSERT_TRUE((*database)->Execute("CREATE TABLE t (x BLOB)").ok());
    const auto handler = signal(SIGXFSZ, SIG_IGN);  // as RunMain does
    Status status;
    {
      const Lowered limit(RLIMIT_FSIZE, 64 << 10);
      status = (*database)->Execute("INSERT INTO t VALUES (zeroblob(1 << 20))");
    }
    signal(SIGXFSZ, handler);
    EXPECT_EQ(ShortageOf(status), Shortage::kFileSize) << status.message();
    EXPECT_NE(status.message().find("the disk is not full"), std::string::npos) << status.message();
  }
}

TEST(SqliteTest, TooManyOpenFilesAreSaidToBeThat) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "a.db");
  Status status;
  {
    const Lowered limit(RLIMIT_NOFILE, 0);
    status = Connection::Open(path, Connection::Mode::kWrite).status();
  }
  EXPECT_EQ(ShortageOf(status), Shortage::kOpenFiles) << status.message();
  EXPECT_NE(status.message().find(path), std::string::npos) << status.message();
}

}  // namespace
}  // namespace longrun::coordinator
