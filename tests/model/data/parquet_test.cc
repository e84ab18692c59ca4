// Built with -DLONGRUN_PARQUET=ON alone. The file was written by pyarrow 26.0.1:
//
//   pa.table({"text": ["one", "", "three\r\n", None, "five"], "kind": ["a", "a", "b", "a", "b"],
//             "n": pa.array([1, 2, 3, 4, 5], pa.int64())})
//   pq.write_table(table, file, row_group_size=3, compression="zstd", use_dictionary=False,
//                  write_statistics=False, store_schema=False)
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/hash.h"
#include "base/str.h"
#include "model/data/dataset.h"
#include "model/data/prepare.h"
#include "model/data/source/source.h"

namespace longrun {
namespace {

const char* const kParquet =
    "5041523115001538154a2c15061500150615061c00000028b52ffd201ce1000002000000060103000000"
    "6f6e65000000000700000074687265650d0a1500152a153c2c15061500150615061c00000028b52ffd20"
    "15a900000200000006010100000061010000006101000000621500153c15462c15061500150615061c00"
    "000028b52ffd201ed5000090020000000601010002000300000000000000020060e00170011500151c15"
    "2e2c15041500150615061c00000028b52ffd200e71000002000000030204000000666976651500152015"
    "322c15041500150615061c00000028b52ffd201081000002000000040101000000610100000062150015"
    "2c153e2c15041500150615061c00000028b52ffd2016b100000200000004010400000000000000050000"
    "00000000001504194c35001806736368656d61150600150c250218047465787425004c1c000000150c25"
    "0218046b696e6425004c1c0000001504250218016e00160a192c193c26001c150c192506001918047465"
    "7874150c1606165e16702608491c150015001502003c161419061926000600000026001c150c19250600"
    "1918046b696e64150c1606165016622678491c150015001502003c160619061926000600000026001c15"
    "04192506001918016e150c16061662166c26da01491c150015001502003c290619260006000000169002"
    "1606260816be0200193c26001c150c1925060019180474657874150c16041642165426c602491c150015"
    "001502003c160819061926020200000026001c150c192506001918046b696e64150c160416461658269a"
    "03491c150015001502003c160419061926000400000026001c1504192506001918016e150c1604165216"
    "6426f203491c150015001502003c29061926000400000016da01160426c6021690020028207061727175"
    "65742d6370702d6172726f772076657273696f6e2032362e302e31193c1c00001c00001c0000009c0100"
    "0050415231";

// A column of structs before the text:
//
//   pa.table({"meta": pa.array([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]), "text": ["one", "two"]})
//   pq.write_table(table, file, compression="none", use_dictionary=False, write_statistics=False,
//                  store_schema=False)
const char* const kStructs =
    "504152311500152c152c2c15041500150615061c00000002000000040201000000000000000200000000"
    "0000001500152015202c15041500150615061c0000000200000004020100000078010000007915001528"
    "15282c15041500150615061c000000020000000401030000006f6e650300000074776f1504195c350018"
    "06736368656d61150400350218046d6574611504001504250218016100150c250218016225004c1c0000"
    "00150c250218047465787425004c1c0000001604191c193c26001c1504192506001928046d6574610161"
    "15001604165216522608491c150015001502003c2906193600000400000026001c150c19250600192804"
    "6d65746101621500160416461646265a491c150015001502003c16041906193600000400000026001c15"
    "0c192506001918047465787415001604164e164e26a001491c150015001502003c160c19061926000400"
    "000016e6011604260816e601002820706172717565742d6370702d6172726f772076657273696f6e2032"
    "362e302e31193c1c00001c00001c0000001401000050415231";

std::string Bytes(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  }
  return bytes;
}

struct Documents final : DocumentSink {
  std::vector<std::string> all = {""};
  Status Text(std::string_view bytes) override {
    all.back() += bytes;
    return Status();
  }
  Status Ids(std::span<const std::int32_t>) override { return Status(); }
  Status EndDocument() override {
    all.emplace_back();
    return Status();
  }
};

class ParquetTest : public testing::Test {
 protected:
  // The documents, or the error's message alone.
  std::vector<std::string> Read(const std::string& bytes, SourceOptions options) {
    options.format = "parquet";
    const std::string path = JoinPath(folder_.path(), "a.parquet");
    std::ofstream(path, std::ios::binary) << bytes;
    const Result<const SourceFormat*> format = CheckSourceOptions(options);
    if (!format.ok()) return {format.status().message()};
    SourceInput input(path, [](std::int64_t) { return Status(); });
    Documents documents;
    const Status status = (*format)->read(input, options, documents);
    if (!status.ok()) return {status.message()};
    EXPECT_EQ(input.Files().at(0).sha256, Sha256Hex(bytes));
    documents.all.pop_back();
    return documents.all;
  }

  TempFolder folder_;
};

using Strings = std::vector<std::string>;

TEST_F(ParquetTest, EachRowOfTheColumnIsADocumentAndNothingIsNoText) {
  EXPECT_EQ(Read(Bytes(kParquet), {}), (Strings{"one", "", "three\r\n", "", "five"}));
  EXPECT_EQ(Read(Bytes(kParquet), {.universal_newlines = true})[2], "three\n");
  EXPECT_EQ(Read(Bytes(kParquet), {.field = "kind"}), (Strings{"a", "a", "b", "a", "b"}));
}

TEST_F(ParquetTest, AColumnAfterOneOfStructsIsFound) {
  EXPECT_EQ(Read(Bytes(kStructs), {}), (Strings{"one", "two"}));
  EXPECT_EQ(Read(Bytes(kStructs), {.field = "meta"})[0],
            "field: the column holds struct<a: int64, b: string>, expected text");
}

TEST_F(ParquetTest, TheFilterComparesAnotherColumn) {
  EXPECT_EQ(Read(Bytes(kParquet), {.filter = "kind==b"}), (Strings{"three\r\n", "five"}));
  EXPECT_EQ(Read(Bytes(kParquet), {.filter = "n==5"}), Strings{"five"});
}

TEST_F(ParquetTest, WhatIsNoColumnOfTextOrNoParquetIsRefused) {
  EXPECT_EQ(Read(Bytes(kParquet), {.field = "txt"})[0],
            "field: there is no column \"txt\"; there is text, kind, n");
  EXPECT_EQ(Read(Bytes(kParquet), {.field = "n"})[0],
            "field: the column holds int64, expected text");
  EXPECT_NE(Read("PAR1 and no more", {})[0].find("Parquet: "), std::string::npos);
  const std::string good = Bytes(kParquet);
  for (std::size_t n = 0; n < good.size(); n += 7) {
    EXPECT_NE(Read(good.substr(0, n), {})[0].find("Parquet: "), std::string::npos) << n;
  }
}

// What is imported is tokens and documents, whatever they came in.
TEST_F(ParquetTest, AnImportHasTheDigestOfTheSameTextAsJsonLines) {
  const auto digest = [&](const std::string& format, const std::string& bytes) {
    const std::string file = JoinPath(folder_.path(), Str("text.", format));
    std::ofstream(file, std::ios::binary) << bytes;
    const std::string folder = JoinPath(folder_.path(), format);
    const Status status =
        PrepareDataset({.source = {.format = format}, .files = {{"train", {file}}}}, folder, {});
    EXPECT_TRUE(status.ok()) << status.message();
    return Dataset::Open(folder).value().digest();
  };
  const std::string lines =
      "{\"text\":\"one\"}\n{\"text\":\"\"}\n{\"text\":\"three\\r\\n\"}\n{\"text\":\"five\"}\n";
  EXPECT_EQ(digest("parquet", Bytes(kParquet)), digest("jsonl", lines));
}

}  // namespace
}  // namespace longrun
