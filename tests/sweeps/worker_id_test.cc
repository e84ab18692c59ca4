#include "sweeps/worker_id.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/checked_line.h"
#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

const std::string kPath = "/state/worker_id";

// CRC32C of "123456789", from the catalogue of CRC algorithms (CRC-32/ISCSI).
TEST(WorkerIdTest, TheCheckSumIsTheOneOfTheCatalogue) {
  EXPECT_EQ(WorkerIdText("123456789"), "123456789 crc32c=e3069283\n");
}

TEST(WorkerIdTest, WhatIsWrittenIsReadAgain) {
  EXPECT_EQ(ParseWorkerId(WorkerIdText("box-1"), kPath).value(), "box-1");
}

TEST(WorkerIdTest, AnIdAloneIsOfAnEarlierRelease) {
  EXPECT_EQ(ParseWorkerId("box-1\n", kPath).value(), "box-1");
}

TEST(WorkerIdTest, EveryFlippedBitIsFoundOrLeavesTheIdAsItWas) {
  const std::string whole = WorkerIdText("box-AB12CD");
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string text = whole;
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
    const Result<std::string> id = ParseWorkerId(text, kPath);
    if (id.ok()) {
      EXPECT_EQ(*id, "box-AB12CD") << "bit " << bit;
    } else {
      EXPECT_EQ(id.status().code(), Code::kDataLoss) << "bit " << bit;
    }
  }
}

TEST(WorkerIdTest, WhatIsNoIdIsToldWithTheRemedy) {
  const std::vector<std::string> texts = {"",
                                          "\n",
                                          std::string(16, '\0'),
                                          "a/b",
                                          std::string(4000, 'a'),
                                          "\xff\xfe",
                                          "box-1 crc32c=00000000"};
  for (const std::string& text : texts) {
    const Result<std::string> id = ParseWorkerId(text, kPath);

    ASSERT_FALSE(id.ok()) << text;
    EXPECT_EQ(id.status().code(), Code::kDataLoss);
    const std::string message = id.status().message();
    EXPECT_TRUE(message.starts_with("/state/worker_id is damaged: it holds "));
    EXPECT_NE(message.find("`echo NAME > /state/worker_id`"), std::string::npos);
    for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~');
  }
}

TEST(WorkerIdTest, AFolderOrAHugeFileInItsPlaceIsToldWithTheRemedy) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "worker_id");
  EXPECT_EQ(ReadWorkerId(path).status().code(), Code::kNotFound);
  const auto expect = [&](const std::string& beginning) {
    const Status status = ReadWorkerId(path).status();
    EXPECT_EQ(status.code(), Code::kDataLoss);
    EXPECT_TRUE(status.message().starts_with(path + beginning)) << status.message();
    EXPECT_NE(status.message().find(Str("`echo NAME > ", path, "`")), std::string::npos)
        << status.message();
  };
  ASSERT_TRUE(MakeFolder(path).ok());
  expect(" is a folder, and should be a file with the worker's name: move it away first. Either ");
  ASSERT_TRUE(RemoveAll(path).ok());
  ASSERT_TRUE(WriteFileAtomic(path, std::string(5000, 'a')).ok());
  expect(" is too large: expected at most 4096 bytes. Either ");
}

TEST(WorkerIdTest, AFolderIdIsAUlidWithItsChecksum) {
  const TempFolder folder;
  const std::string path = JoinPath(folder.path(), "folder_id");
  const std::string ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";  // from the specification of ULIDs
  ASSERT_TRUE(WriteFileAtomic(path, CheckedLine(ulid)).ok());
  EXPECT_EQ(ReadFolderId(path).value(), ulid);

  for (const std::string& text : {ulid, CheckedLine("box-1"), std::string("x"), std::string()}) {
    ASSERT_TRUE(WriteFileAtomic(path, text).ok());
    EXPECT_EQ(ReadFolderId(path).status().code(), Code::kDataLoss) << text;
  }
}

}  // namespace
}  // namespace longrun
