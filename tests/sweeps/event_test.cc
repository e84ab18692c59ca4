// The journal: what is written is read, and what is broken is never given.
#include "sweeps/event.h"

#include <gtest/gtest.h>

#include <fstream>
#include <utility>

#include "base/files.h"
#include "base/str.h"

namespace longrun {
namespace {

constexpr std::size_t kNoLimit = 1u << 30;

// Five records: attempt, started, two results, final.
std::string WriteJournal(const std::string& path) {
  Result<JournalWriter> writer = JournalWriter::Create(path);
  EXPECT_TRUE(writer.ok());
  EXPECT_TRUE(writer->Append(RecordKind::kAttempt, {{"format", 1}}).ok());
  EXPECT_TRUE(writer->Append(RecordKind::kStarted, {{"steps", 600}}).ok());
  const auto result = [](const Json& value) -> Json {
    return {{"cell", "c"}, {"metric", "nll"}, {"status", "ok"}, {"value", value}};
  };
  EXPECT_TRUE(writer->Append(RecordKind::kResult, result(1.25), 600).ok());
  EXPECT_TRUE(writer->Append(RecordKind::kResult, result(nullptr), 600).ok());
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(writer->last_seq(), 5);
  return *ReadFile(path);
}

void Overwrite(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

class JournalTest : public testing::Test {
 protected:
  const TempFolder folder_;
  const std::string path_ = JoinPath(folder_.path(), "journal.jsonl");
};

TEST_F(JournalTest, ReaderGivesBackWhatTheWriterWrote) {
  WriteJournal(path_);
  JournalReader reader(path_);

  const auto lines = reader.Next(100, kNoLimit);

  ASSERT_TRUE(lines.ok()) << lines.status().message();
  ASSERT_EQ(lines->size(), 5u);
  const JournalRecord& result = (*lines)[2].record;
  EXPECT_EQ(result.seq, 3);
  EXPECT_EQ(result.kind, RecordKind::kResult);
  EXPECT_EQ(result.step, 600);
  EXPECT_EQ(std::get<ResultRecord>(result.body).value, 1.25);
  EXPECT_EQ((*lines)[0].record.step, std::nullopt);
  EXPECT_TRUE(reader.Next(100, kNoLimit)->empty());
}

TEST(RecordKindTest, EachNameIsFoundAgain) {
  for (int i = 0; i <= static_cast<int>(RecordKind::kFinal); ++i) {
    const auto kind = static_cast<RecordKind>(i);
    EXPECT_EQ(FindEnum<RecordKind>(EnumName(kind)), kind) << EnumName(kind);
  }
  EXPECT_EQ(EnumName(RecordKind::kAttempt), "attempt");
  EXPECT_EQ(EnumName(RecordKind::kCheckpoint), "checkpoint");
  EXPECT_EQ(EnumName(RecordKind::kFinal), "final");
  EXPECT_EQ(FindEnum<RecordKind>("results"), std::nullopt);
}

TEST(JournalLineTest, TheCrcIsCrc32cOfTheBytesBeforeIt) {
  // The crc comes from a bitwise CRC32C in Python.
  const std::string_view line =
      R"({"body":{},"kind":"warning","seq":1,"step":null,"t_ms":0,"crc":"9581c408"})";
  EXPECT_TRUE(ParseJournalLine(line).ok());
}

TEST_F(JournalTest, FinalCountsTheRecordsAndDigestsTheResultLines) {
  WriteJournal(path_);
  JournalReader reader(path_);
  const auto lines = reader.Next(100, kNoLimit);
  ASSERT_TRUE(lines.ok());

  JournalTally tally;
  for (std::size_t i = 0; i < 4; ++i) tally.Add((*lines)[i].record.kind, (*lines)[i].bytes);

  const auto& final = std::get<FinalRecord>((*lines)[4].record.body);
  EXPECT_EQ(final, tally.Final());
  EXPECT_EQ(final.counts, (Json{{"attempt", 1}, {"result", 2}, {"started", 1}}));
  EXPECT_EQ(final.digest, Sha256Hex(Str((*lines)[2].bytes, "\n", (*lines)[3].bytes, "\n")));
}

TEST_F(JournalTest, AJournalIsNeverReopenedForWriting) {
  WriteJournal(path_);
  EXPECT_EQ(JournalWriter::Create(path_).status().code(), Code::kAlreadyExists);
}

TEST_F(JournalTest, AJournalThatIsNotThereYetHasNothingNew) {
  JournalReader reader(path_);
  const auto lines = reader.Next(100, kNoLimit);
  ASSERT_TRUE(lines.ok());
  EXPECT_TRUE(lines->empty());
}

TEST_F(JournalTest, ATornLastLineWaitsForItsRest) {
  const std::string whole = WriteJournal(path_);
  const std::size_t last = whole.rfind('\n', whole.size() - 2) + 1;
  JournalReader reader(path_);
  for (const std::size_t cut : {last + 1, last + 40, whole.size() - 1}) {
    Overwrite(path_, whole.substr(0, cut));
    reader.Rewind(0);
    EXPECT_EQ(reader.Next(100, kNoLimit)->size(), 4u);
    EXPECT_TRUE(reader.Next(100, kNoLimit)->empty());
  }
  Overwrite(path_, whole);
  EXPECT_EQ(reader.Next(100, kNoLimit)->size(), 1u);
  EXPECT_EQ(reader.last_seq(), 5);
}

TEST_F(JournalTest, EveryFlippedByteIsFound) {
  const std::string whole = WriteJournal(path_);
  const std::size_t third = whole.find('\n', whole.find('\n') + 1) + 1;
  const std::size_t fourth = whole.find('\n', third) + 1;
  for (std::size_t i = third; i + 1 < fourth; ++i) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    Overwrite(path_, flipped);
    JournalReader reader(path_);
    ASSERT_EQ(reader.Next(100, kNoLimit)->size(), 2u) << i;
    ASSERT_EQ(reader.Next(100, kNoLimit).status().code(), Code::kDataLoss) << i;
    ASSERT_EQ(reader.Next(100, kNoLimit).status().code(), Code::kDataLoss) << i;
    ASSERT_EQ(reader.last_seq(), 2);
  }
}

TEST_F(JournalTest, AGapInTheNumbersIsFound) {
  const std::string whole = WriteJournal(path_);
  const std::size_t second = whole.find('\n') + 1;
  const std::size_t third = whole.find('\n', second) + 1;
  Overwrite(path_, whole.substr(0, second) + whole.substr(third));
  JournalReader reader(path_);
  EXPECT_EQ(reader.Next(100, kNoLimit)->size(), 1u);
  const Status status = reader.Next(100, kNoLimit).status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_NE(status.message().find("record 3 was found where record 2 was expected"),
            std::string::npos)
      << status.message();
}

TEST_F(JournalTest, AJournalThatWasCutIsFound) {
  const std::string whole = WriteJournal(path_);
  JournalReader reader(path_);
  ASSERT_TRUE(reader.Next(100, kNoLimit).ok());
  Overwrite(path_, whole.substr(0, 10));
  EXPECT_EQ(reader.Next(100, kNoLimit).status().code(), Code::kDataLoss);
}

TEST_F(JournalTest, ALineThatIsTooLongIsNeitherWrittenNorRead) {
  Result<JournalWriter> writer = JournalWriter::Create(path_);
  ASSERT_TRUE(writer.ok());
  const Json body = {{"message", std::string(kJournalLineBytesMax, 'x')}};
  EXPECT_EQ(writer->Append(RecordKind::kWarning, body).code(), Code::kInvalidArgument);
  EXPECT_EQ(writer->last_seq(), 0);
  ASSERT_TRUE(writer->Append(RecordKind::kWarning, {{"message", "short"}}).ok());
  std::ofstream(path_, std::ios::app) << std::string(2 * kJournalLineBytesMax, 'x');
  JournalReader reader(path_);
  EXPECT_EQ(reader.Next(100, kNoLimit)->size(), 1u);
  EXPECT_EQ(reader.Next(100, kNoLimit).status().code(), Code::kDataLoss);
}

TEST_F(JournalTest, RecordsComeInBatchesOfTheAskedSize) {
  WriteJournal(path_);
  JournalReader by_count(path_);
  EXPECT_EQ(by_count.Next(2, kNoLimit)->size(), 2u);
  EXPECT_EQ(by_count.Next(2, kNoLimit)->front().record.seq, 3);
  EXPECT_EQ(by_count.Next(2, kNoLimit)->size(), 1u);
  // A single record may pass bytes_max, or it would never come.
  JournalReader by_bytes(path_);
  for (std::int64_t seq = 1; seq <= 5; ++seq) {
    const auto lines = by_bytes.Next(100, 1);
    ASSERT_EQ(lines->size(), 1u);
    EXPECT_EQ(lines->front().record.seq, seq);
  }
}

TEST_F(JournalTest, RewindContinuesBehindTheGivenRecord) {
  WriteJournal(path_);
  JournalReader reader(path_);
  ASSERT_EQ(reader.Next(100, kNoLimit)->size(), 5u);
  reader.Rewind(3);
  const auto lines = reader.Next(1, kNoLimit);
  ASSERT_EQ(lines->size(), 1u);
  EXPECT_EQ(lines->front().record.seq, 4);
  reader.Rewind(0);
  EXPECT_EQ(reader.Next(100, kNoLimit)->size(), 5u);
}

TEST_F(JournalTest, RewindFindsEachRecordOfALongJournal) {
  Result<JournalWriter> writer = JournalWriter::Create(path_);
  ASSERT_TRUE(writer.ok());
  constexpr std::int64_t kRecords = 3000;
  for (int i = 0; i < kRecords; ++i)
    ASSERT_TRUE(writer->Append(RecordKind::kWarning, Json::object()).ok());
  JournalReader reader(path_);
  ASSERT_EQ(reader.Next(kRecords, kNoLimit)->size(), kRecords);
  for (const std::int64_t seq : {1025, 0, 2047, 2048, 1023, 1024, 2998, 2999}) {
    reader.Rewind(seq);
    const auto lines = reader.Next(1, kNoLimit);
    ASSERT_EQ(lines->size(), 1u);
    EXPECT_EQ(lines->front().record.seq, seq + 1);
  }
  reader.Rewind(kRecords);
  EXPECT_EQ(reader.Next(1, kNoLimit)->size(), 0u);
  EXPECT_EQ(reader.last_seq(), kRecords);
}

// What was stored is not needed again, so damage to it must not keep back what follows.
TEST_F(JournalTest, RecordsBeforeTheGivenOneAreNotParsed) {
  WriteJournal(path_);
  std::string journal = ReadFile(path_).value();
  journal[journal.find("\"seq\":2") + 1] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path_, journal).ok());
  JournalReader reader(path_);
  reader.Rewind(3);
  const auto lines = reader.Next(100, kNoLimit);
  ASSERT_TRUE(lines.ok()) << lines.status().message();
  ASSERT_EQ(lines->size(), 2u);
  EXPECT_EQ(lines->front().record.seq, 4);
}

TEST_F(JournalTest, AJournalLongerThanTheReadBufferIsReadWhole) {
  Result<JournalWriter> writer = JournalWriter::Create(path_);
  ASSERT_TRUE(writer.ok());
  const Json body = {{"message", std::string(3000, 'x')}};
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(writer->Append(RecordKind::kWarning, body).ok());
  JournalReader reader(path_);
  EXPECT_EQ(reader.Next(1000, kNoLimit)->size(), 200u);
}

// Of a line as the writer makes it, of others that mean the same, and of those that are refused.
TEST(JournalLineTest, TheBodyIsThatOfTheParsedRecord) {
  for (const char* const prefix :
       {R"({"body":{"a":1,"b":[0.5,null]},"kind":"result","seq":3,"step":null,"t_ms":5)",
        R"({"body":{},"kind":"series","seq":1,"step":-7,"t_ms":-5)",
        R"({"body":{"z":1,"a":2.0},"kind":"result","seq":3,"step":1,"t_ms":5)",
        "{\"body\":{\"a\":\"\xc3\xa4\"},\"kind\":\"warning\",\"seq\":3,\"step\":null,\"t_ms\":5",
        R"({"kind":"result","body":{"a": 1},"seq":3,"step":null,"t_ms":5)",
        R"({"body":{},"kind":"result","seq":0,"step":null,"t_ms":5)",
        R"({"body":[],"kind":"result","seq":1,"step":null,"t_ms":5)",
        R"({"body":{},"kind":"nonsense","seq":1,"step":null,"t_ms":5)",
        R"({"body":{},"kind":"result","seq":1.5,"step":null,"t_ms":5)",
        R"({"body":{},"kind":"result","seq":1,"step":"x","t_ms":5)",
        R"({"body":{},"kind":"result","seq":1,"step":null,"t_ms":null)",
        R"({"body":{},"kind":"result","seq":1,"step":null)",
        R"({"body":{},"kind":"result","more":1,"seq":1,"step":null,"t_ms":5)"}) {
    const std::string line = CloseJournalLine(prefix);
    const auto record = ParseJournalLine(line);
    const auto body = BodyOfJournalLine(line);
    ASSERT_EQ(body.ok(), record.ok()) << line;
    if (record.ok()) {
      EXPECT_EQ(*body, CanonicalJson(ParseJson(line).value().at("body")));
    } else {
      EXPECT_EQ(body.status().message(), record.status().message());
    }
    std::string flipped = line;
    flipped[line.size() / 2] ^= 1;
    EXPECT_FALSE(BodyOfJournalLine(flipped).ok()) << flipped;
  }
}

TEST(JournalLineTest, RefusesUnknownKindsAndMembers) {
  const auto line = [](std::string_view prefix) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(Crc32c(prefix)));
    return Str(prefix, R"(,"crc":")", digits, R"("})");
  };
  for (const std::string_view prefix :
       {R"({"body":{},"kind":"gossip","seq":1,"step":null,"t_ms":0)",
        R"({"body":{},"extra":1,"kind":"warning","seq":1,"step":null,"t_ms":0)",
        R"({"body":{},"kind":"warning","seq":0,"step":null,"t_ms":0)",
        R"({"body":3,"kind":"warning","seq":1,"step":null,"t_ms":0)",
        R"({"body":{},"kind":"warning","seq":1,"step":"2","t_ms":0)",
        R"({"body":{},"kind":"warning","seq":1,"t_ms":0)", R"({"body":{)", ""}) {
    EXPECT_EQ(ParseJournalLine(line(prefix)).status().code(), Code::kDataLoss) << prefix;
  }
}

}  // namespace
}  // namespace longrun
