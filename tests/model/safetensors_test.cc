#include "model/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/files.h"
#include "base/hash.h"

namespace longrun {
namespace {

class SafetensorsTest : public testing::Test {
 protected:
  std::string Path() const { return JoinPath(folder_.path(), "x.safetensors"); }

  // A file with this header and `n_data` bytes behind it, opened.
  Status Open(const std::string& header, std::size_t n_data) {
    const std::uint64_t n_header = header.size();
    std::string bytes(sizeof n_header, '\0');
    std::memcpy(bytes.data(), &n_header, sizeof n_header);
    bytes += header + std::string(n_data, '\0');
    return OpenBytes(bytes);
  }
  Status OpenBytes(const std::string& bytes) {
    EXPECT_TRUE(WriteFileAtomic(Path(), bytes).ok());
    return SafetensorsFile::Open(Path()).status();
  }
  void ExpectDataLoss(const Status& status, const std::string& part) {
    EXPECT_EQ(status.code(), Code::kDataLoss) << status.message();
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    EXPECT_NE(status.message().find(Path()), std::string::npos) << status.message();
  }

  TempFolder folder_;
};

TEST_F(SafetensorsTest, WhatWasWrittenIsRead) {
  const float values[] = {1.5f, -2.0f, 3.0f, 0.25f};
  const std::int64_t ids[] = {7, -1};
  const std::map<std::string, StoredTensor> tensors = {
      {"b", {.type = StoredType::kI64, .shape = {2}, .bytes = std::as_bytes(std::span(ids))}},
      {"a", {.type = StoredType::kF32, .shape = {2, 2}, .bytes = std::as_bytes(std::span(values))}},
      {"empty", {.type = StoredType::kF64, .shape = {0, 3}, .bytes = {}}}};

  const Result<WrittenFile> written = WriteSafetensors(Path(), tensors, {{"format", "pt"}});
  ASSERT_TRUE(written.ok());
  const Result<SafetensorsFile> file = SafetensorsFile::Open(Path());

  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(written->sha256, Sha256OfFile(Path()).value());
  EXPECT_EQ(written->n_bytes, FileBytes(Path()).value());
  EXPECT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(file->metadata().at("format"), "pt");
  const StoredTensor& a = *file->Find("a");
  EXPECT_EQ(a.shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(std::memcmp(a.bytes.data(), values, sizeof values), 0);
  EXPECT_EQ(file->Find("b")->type, StoredType::kI64);
  EXPECT_EQ(file->Find("c"), nullptr);
  EXPECT_EQ(SafetensorsBytes(tensors, {{"format", "pt"}}), ReadFile(Path()).value());
}

TEST_F(SafetensorsTest, AFileWithoutRoomForItsHeaderIsRefused) {
  ExpectDataLoss(OpenBytes("abc"), "not a safetensors file");
  ExpectDataLoss(OpenBytes(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10)),
                 "the header claims 9223372036854775807 bytes");
}

TEST_F(SafetensorsTest, ABrokenHeaderIsRefused) {
  ExpectDataLoss(Open("{\"a\":", 0), "header");
  ExpectDataLoss(Open("[]", 0), "not a JSON object");
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "data_offsets");
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), "shape is missing");
  ExpectDataLoss(Open(R"({"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}})", 4), "dtype Q4");
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4),
                 "unknown header key");
  ExpectDataLoss(Open(R"({"__metadata__":{"a":1}})", 0), "is not text");
}

TEST_F(SafetensorsTest, ShapesAndOffsetsThatLieAreRefused) {
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4), "truncated");
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
                 "needs 8 bytes");
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4),
                 "not a whole number");
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4),
                 "not a whole number");
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[8,4]}})", 16),
                 "are outside the");
  ExpectDataLoss(
      Open(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
      "overflows");
}

TEST_F(SafetensorsTest, OverlapsHolesAndBytesThatNobodyNamesAreRefused) {
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                      8),
                 "overlap");
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8), "hole");
  ExpectDataLoss(Open(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8), "cover 4");
}

}  // namespace
}  // namespace longrun
