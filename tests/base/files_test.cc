// Files: whole or not at all, and locks that end with their holder.
#include "base/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <optional>
#include <thread>

#include "base/exit_code.h"
#include "base/str.h"

namespace longrun {
namespace {

TEST(TempFolderTest, AFolderThatCannotBeMadeEndsTheCommandWithARemedy) {
  EXPECT_EXIT(
      {
        setenv("TMPDIR", "/no/such/folder", 1);
        const TempFolder folder;
      },
      ::testing::ExitedWithCode(kExitStorage),
      "cannot make a temporary folder in /no/such/folder: No such file or directory; set TMPDIR");
}

TEST(FilesTest, WrittenBytesAreReadBack) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "f");
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{100'000}}) {
    const std::string bytes(n, 'x');
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
    EXPECT_EQ(ReadFile(path).value(), bytes);
    EXPECT_EQ(FileBytes(path).value(), static_cast<std::int64_t>(n));
  }
  EXPECT_EQ(ListFolder(folder.path()).value(), std::vector<std::string>{"f"});
}

TEST(FilesTest, ModeIsThatAskedFor) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "secret");
  ASSERT_TRUE(WriteFileAtomic(path, "x", 0600).ok());
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(FilesTest, FailedWriteLeavesNothingBehind) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "taken");
  ASSERT_TRUE(MakeFolders(JoinPath(path, "inside")).ok());
  const Status status = WriteFileAtomic(path, "x");  // a file cannot replace a folder
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find(path), std::string::npos) << status.message();
  EXPECT_EQ(ListFolder(folder.path()).value(), std::vector<std::string>{"taken"});
  EXPECT_EQ(WriteFileAtomic(JoinPath(folder.path(), "absent/f"), "x").code(), Code::kNotFound);
}

// A process that was killed, and whose number this one has, left the next three temporary files.
TEST(FilesTest, ATemporaryFileThatIsThereAlreadyIsLeftAlone) {
  const TempFolder folder;
  const std::string name = Str(".f.tmp-", int{getpid()}, "-");
  // A file does not replace a folder, and the error names the temporary file.
  ASSERT_TRUE(MakeFolders(JoinPath(folder.path(), "probe/f/inside")).ok());
  const std::string probe{WriteFileAtomic(JoinPath(folder.path(), "probe/f"), "x").message()};
  const std::size_t at = probe.find(name);
  ASSERT_NE(at, std::string::npos) << probe;
  const int last = std::stoi(probe.substr(at + name.size()));
  const std::string written = JoinPath(folder.path(), "written");
  ASSERT_TRUE(MakeFolders(written).ok());
  for (int n = last + 1; n <= last + 3; ++n) {
    const int fd = open(JoinPath(written, Str(name, n)).c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
    ASSERT_GE(fd, 0);
    close(fd);
  }

  ASSERT_TRUE(WriteFileAtomic(JoinPath(written, "f"), "x").ok());

  EXPECT_EQ(ReadFile(JoinPath(written, "f")).value(), "x");
  EXPECT_EQ(ListFolder(written).value().size(), 4u);
  EXPECT_EQ(FileBytes(JoinPath(written, Str(name, last + 1))).value(), 0);
}

TEST(FilesTest, LimitOfReadingIsKept) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "f");
  ASSERT_TRUE(WriteFileAtomic(path, std::string(10, 'x')).ok());
  EXPECT_TRUE(ReadFile(path, 10).ok());
  EXPECT_EQ(ReadFile(path, 9).status().code(), Code::kResourceExhausted);
}

TEST(FilesTest, FileOfUnknownSizeIsReadToItsEnd) {
  // The kernel says 0 bytes.
  EXPECT_EQ(FileBytes("/proc/self/status").value(), 0);
  EXPECT_NE(ReadFile("/proc/self/status").value().find("Pid:"), std::string::npos);
}

TEST(FilesTest, AbsentThingsAreNotFound) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "absent");
  EXPECT_EQ(ReadFile(path).status().code(), Code::kNotFound);
  EXPECT_EQ(FileBytes(path).status().code(), Code::kNotFound);
  EXPECT_EQ(ListFolder(path).status().code(), Code::kNotFound);
  EXPECT_EQ(DiskFreeBytes(path).status().code(), Code::kNotFound);
  EXPECT_EQ(SyncFile(path).code(), Code::kNotFound);
  EXPECT_EQ(SyncFolder(path).code(), Code::kNotFound);
  EXPECT_EQ(RenameSync(path, path + "2").code(), Code::kNotFound);
  EXPECT_FALSE(MappedFile::Open(path).ok());
  EXPECT_TRUE(RemoveAll(path).ok());
  EXPECT_FALSE(PathExists(path));
}

TEST(FilesTest, FoldersAreMadeAndRemovedWithTheirContent) {
  const TempFolder folder;
  const std::string deep = JoinPath(folder.path(), "a/b/c");
  ASSERT_TRUE(MakeFolders(deep).ok());
  ASSERT_TRUE(MakeFolders(deep).ok());  // again is fine
  EXPECT_TRUE(IsFolder(deep));
  ASSERT_TRUE(WriteFileAtomic(JoinPath(deep, "f"), "x").ok());
  ASSERT_TRUE(SyncFile(JoinPath(deep, "f")).ok());
  EXPECT_FALSE(MakeFolders(JoinPath(deep, "f/g")).ok());  // below a file
  ASSERT_TRUE(RemoveAll(JoinPath(folder.path(), "a")).ok());
  EXPECT_EQ(ListFolder(folder.path()).value().size(), 0u);
  EXPECT_GT(DiskFreeBytes(folder.path()).value(), 0);
}

TEST(FilesTest, NamesAreSortedByTheirBytes) {
  const TempFolder folder;
  for (const char* name : {"b", "a", "B", "\xc3\xa4"}) {
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), name), "").ok());
  }
  EXPECT_EQ(ListFolder(folder.path()).value(),
            (std::vector<std::string>{"B", "a", "b", "\xc3\xa4"}));
}

TEST(FilesTest, TempFolderRemovesItself) {
  std::string path;
  {
    const TempFolder folder("prefix");
    path = folder.path();
    ASSERT_TRUE(WriteFileAtomic(JoinPath(path, "f"), "x").ok());
  }
  EXPECT_FALSE(PathExists(path));
}

TEST(PathTest, PartsAreThoseOfDirnameAndBasename) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(JoinPath("a", "/b"), "/b");
  EXPECT_EQ(BaseName("/a/b.txt"), "b.txt");
  EXPECT_EQ(BaseName("/a/b/"), "b");
  EXPECT_EQ(BaseName("b"), "b");
  EXPECT_EQ(BaseName("/"), "/");
  EXPECT_EQ(FolderOf("/a/b"), "/a");
  EXPECT_EQ(FolderOf("/a"), "/");
  EXPECT_EQ(FolderOf("a"), ".");
  EXPECT_EQ(FolderOf("a/b/"), "a");
  EXPECT_EQ(AbsolutePath("/a/./b/../c/").value(), "/a/c");
  EXPECT_EQ(AbsolutePath("x").value().front(), '/');
}

TEST(PathTest, SafeNamesCannotLeaveTheirFolder) {
  EXPECT_TRUE(IsSafeName("wikitext-103_v1.bin"));
  EXPECT_TRUE(IsSafeName(std::string(128, 'a')));
  for (const std::string& name : {std::string(""), std::string(".."), std::string(".hidden"),
                                  std::string("a/b"), std::string("a b"), std::string("a\0b", 3),
                                  std::string("\xc3\xa4"), std::string(129, 'a')}) {
    EXPECT_FALSE(IsSafeName(name)) << name;
  }
}

TEST(FileLockTest, SecondHolderIsRefusedUntilTheFirstGoes) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "lock");
  EXPECT_FALSE(FileLock::IsHeld(path));
  {
    const Result<FileLock> first = FileLock::Acquire(path, "the worker");
    ASSERT_TRUE(first.ok());
    EXPECT_TRUE(FileLock::IsHeld(path));
    const Result<FileLock> second = FileLock::Acquire(path, "the worker");
    EXPECT_EQ(second.status().code(), Code::kUnavailable);
    EXPECT_EQ(second.status().message(),
              "the worker is already running: it holds the lock " + path);
  }
  EXPECT_FALSE(FileLock::IsHeld(path));
  EXPECT_TRUE(FileLock::Acquire(path, "the worker").ok());
}

// Who waits has the removed file open. Let go, that one is nobody's, and yet not the lock.
TEST(FileLockTest, WhoWaitedForAFileThatWasRemovedWaitsForTheOneInItsPlace) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "lock");
  std::optional<FileLock> removed = FileLock::Acquire(path, "the first").value();
  std::atomic<int> n_refused = 0;
  std::atomic<bool> has_it = false;
  std::thread other([&] {
    while (!FileLock::Acquire(path, "another").ok()) n_refused += 1;
    has_it = true;
  });
  while (n_refused < 1) std::this_thread::yield();
  // In one step: the other finds one of the two files, both of which are held, at every instant.
  const std::string beside = JoinPath(folder.path(), "beside");
  std::optional<FileLock> in_its_place = FileLock::Acquire(beside, "the second").value();
  EXPECT_EQ(std::rename(beside.c_str(), path.c_str()), 0);
  const int n_before = n_refused;
  removed.reset();
  while (n_refused < n_before + 2 && !has_it) std::this_thread::yield();
  EXPECT_FALSE(has_it);
  in_its_place.reset();
  other.join();
}

TEST(FileLockTest, LockMovesWithItsObject) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "lock");
  Result<FileLock> first = FileLock::Acquire(path, "x");
  ASSERT_TRUE(first.ok());
  const FileLock kept = std::move(first).value();
  EXPECT_GE(kept.fd(), 0);
  EXPECT_TRUE(FileLock::IsHeld(path));
}

TEST(MappedFileTest, AFolderAndAPipeAreRefusedAtOnce) {
  const TempFolder folder;
  const std::string pipe = JoinPath(folder.path(), "pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {folder.path(), pipe}) {
    const Status status = MappedFile::Open(path).status();
    EXPECT_EQ(status.code(), Code::kDataLoss);
    EXPECT_EQ(status.message(), path + " is not a regular file");
  }
}

TEST(MappedFileTest, ShowsTheBytes) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "f");
  ASSERT_TRUE(WriteFileAtomic(path, "abc").ok());
  Result<MappedFile> file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  const MappedFile moved = std::move(file).value();
  ASSERT_EQ(moved.bytes().size(), 3u);
  EXPECT_EQ(std::memcmp(moved.bytes().data(), "abc", 3), 0);
  ASSERT_TRUE(WriteFileAtomic(path, "").ok());
  EXPECT_EQ(MappedFile::Open(path).value().bytes().size(), 0u);
}

}  // namespace
}  // namespace longrun
