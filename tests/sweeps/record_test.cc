// The bodies of journal records: what has the form of its kind, and what it says then.
#include "sweeps/record.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace longrun {
namespace {

const std::string kDigest(64, 'a');
const std::string kUpper(64, 'A');
constexpr std::uint64_t kTooLarge = 9'223'372'036'854'775'808u;  // 2^63

RecordBody Parse(RecordKind kind, const Json& body) { return ParseRecordBody(kind, 600, body); }

// The reason why `body` does not have its kind's form; "" if it does.
std::string WhyNot(RecordKind kind, const Json& body) {
  const RecordBody parsed = Parse(kind, body);
  const auto* const other = std::get_if<UnreadableBody>(&parsed);
  return other == nullptr ? std::string() : other->why;
}

Json Without(Json body, const char* key) {
  body.erase(key);
  return body;
}
Json With(Json body, const char* where, const Json& value) {
  body[Json::json_pointer(where)] = value;
  return body;
}

// ---- attempt, started, failed, warning ----------------------------------------------------------

Json Resume() {
  return {{"attempt", "01ARZ3NDEKTSV4RRFFQ69G5FAV"},
          {"checkpoint", ""},
          {"sha256", kDigest},
          {"step", 40}};
}

TEST(AttemptRecordTest, SaysItsTaskAndWhereItResumes) {
  const RecordBody body =
      Parse(RecordKind::kAttempt, {{"format", 1}, {"task", "t"}, {"resume", Resume()}});

  const auto& attempt = std::get<AttemptRecord>(body);
  EXPECT_EQ(attempt.task, "t");
  ASSERT_TRUE(attempt.resume.has_value());
  EXPECT_EQ(attempt.resume->attempt, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
  EXPECT_EQ(attempt.resume->sha256, kDigest);
  EXPECT_EQ(attempt.resume->step, 40);
}

TEST(ResultRecordTest, TheReasonShowsTheValue) {
  const auto why = [](const Json& n) {
    const Json body = {{"cell", "c"}, {"metric", "nll"}, {"status", "ok"}, {"n", n}};
    return std::get<UnreadableBody>(Parse(RecordKind::kResult, body)).why;
  };
  EXPECT_EQ(why(1000.0), "n: expected an integer, found 1000.0");
  EXPECT_EQ(why("many"), "n: expected an integer, found \"many\"");
  EXPECT_LT(why(std::string(1000, 'x')).size(), 150u);
}

TEST(AttemptRecordTest, AMemberOfAnotherFormIsAbsent) {
  for (const Json& task : {Json(), Json(3), Json::array()}) {
    EXPECT_EQ(std::get<AttemptRecord>(Parse(RecordKind::kAttempt, {{"task", task}})).task, "");
  }
  EXPECT_EQ(std::get<AttemptRecord>(Parse(RecordKind::kAttempt, Json::object())).task, "");
  for (const Json& resume :
       {Json(), Json("x"), Json::array(), Json::object(), With(Resume(), "/sha256", kUpper),
        With(Resume(), "/step", -1), With(Resume(), "/more", 1), Without(Resume(), "step")}) {
    const RecordBody body = Parse(RecordKind::kAttempt, {{"task", "t"}, {"resume", resume}});
    EXPECT_FALSE(std::get<AttemptRecord>(body).resume.has_value()) << resume.dump();
    EXPECT_EQ(std::get<AttemptRecord>(body).task, "t");
  }
}

TEST(StartedRecordTest, HasItsExecutionIfThatCanBeRead) {
  const Json execution = {{"device", {{"kind", "cpu"}, {"name", ""}}},
                          {"micro_batch", 4},
                          {"paths", {{"attention", "fused"}, {"linear", "aten"}, {"simd", "avx2"}}},
                          {"threads", 3}};
  const RecordBody body = Parse(RecordKind::kStarted, {{"execution", execution}, {"pid", 7}});

  ASSERT_TRUE(std::get<StartedRecord>(body).execution.has_value());
  EXPECT_EQ(std::get<StartedRecord>(body).execution->threads, 3);
  EXPECT_EQ(std::get<StartedRecord>(body).execution->micro_batch, 4);
  EXPECT_EQ(std::get<StartedRecord>(body).execution->attention, AttentionBackend::kFused);
  for (const Json& other : {Json(), Json(1), Json::object(), Without(execution, "threads"),
                            With(execution, "/paths", nullptr)}) {
    const RecordBody without = Parse(RecordKind::kStarted, {{"execution", other}});
    EXPECT_FALSE(std::get<StartedRecord>(without).execution.has_value()) << other.dump();
  }
}

TEST(FailedRecordTest, AMemberOfAnotherFormIsEmpty) {
  const RecordBody body =
      Parse(RecordKind::kFailed, {{"class", "storage"}, {"message", "full"}, {"where", "step 3"}});
  EXPECT_EQ(std::get<FailedRecord>(body).where, "step 3");
  EXPECT_EQ(std::get<FailedRecord>(body).failure_class, "storage");
  EXPECT_EQ(std::get<FailedRecord>(body).message, "full");

  const RecordBody odd = Parse(RecordKind::kFailed, {{"class", 3}, {"message", nullptr}});
  EXPECT_EQ(std::get<FailedRecord>(odd).failure_class, "");
  EXPECT_EQ(std::get<FailedRecord>(odd).message, "");
}

TEST(RecordBodyTest, OfAWarningNothingIsRead) {
  EXPECT_EQ(Parse(RecordKind::kWarning, {{"message", 3}}).index(), 0u);
}

TEST(RecordBodyTest, WhatIsNotAnObjectIsOfAnotherForm) {
  for (int i = 0; i <= static_cast<int>(RecordKind::kFinal); ++i) {
    const auto kind = static_cast<RecordKind>(i);
    for (const Json& body : {Json(), Json(3), Json("x"), Json::array()}) {
      EXPECT_NE(WhyNot(kind, body), "") << EnumName(kind) << " " << body.dump();
    }
  }
}

// ---- progress -----------------------------------------------------------------------------------

TEST(ProgressRecordTest, SaysHowFarThePhaseIs) {
  const RecordBody body =
      Parse(RecordKind::kProgress,
            {{"phase", "train"}, {"done", 3}, {"of", 40}, {"tokens_per_s", 12.5}, {"eta_ms", 700}});

  const auto& progress = std::get<ProgressRecord>(body);
  EXPECT_EQ(progress.phase, "train");
  EXPECT_EQ(progress.done, 3);
  EXPECT_EQ(progress.of, 40);
  EXPECT_EQ(progress.tokens_per_s, 12.5);
  EXPECT_EQ(progress.eta_ms, 700);
}

TEST(ProgressRecordTest, EveryMemberMayBeAbsentOrNull) {
  for (const Json& body : {Json::object(), Json{{"phase", nullptr},
                                                {"done", nullptr},
                                                {"of", nullptr},
                                                {"tokens_per_s", nullptr},
                                                {"eta_ms", nullptr}}}) {
    const RecordBody parsed = Parse(RecordKind::kProgress, body);
    const auto& progress = std::get<ProgressRecord>(parsed);
    EXPECT_EQ(progress.phase, "");
    EXPECT_FALSE(progress.done || progress.of || progress.tokens_per_s || progress.eta_ms);
  }
}

TEST(ProgressRecordTest, AMemberOfAnotherTypeMakesItUnreadable) {
  const std::pair<const char*, Json> wrong[] = {
      {"phase", 1},
      {"done", "3"},
      {"done", 0.5},
      {"of", 2.0},
      {"of", true},
      {"eta_ms", kTooLarge},
      {"tokens_per_s", "fast"},
  };
  for (const auto& [key, value] : wrong) {
    const std::string why = WhyNot(RecordKind::kProgress, {{key, value}});
    EXPECT_TRUE(why.starts_with(key)) << key << " = " << value.dump() << ": " << why;
  }
}

// ---- series -------------------------------------------------------------------------------------

TEST(SeriesRecordTest, HasItsMetricsByName) {
  const RecordBody body =
      Parse(RecordKind::kSeries, {{"lr", nullptr}, {"loss", 2}, {"any name", 0.5}});

  const auto& series = std::get<SeriesRecord>(body);
  using Values = std::vector<std::pair<std::string, std::optional<double>>>;
  EXPECT_EQ(series.values, (Values{{"any name", 0.5}, {"loss", 2.0}, {"lr", std::nullopt}}));
  EXPECT_EQ(series.ValueOf("loss"), 2.0);
  EXPECT_EQ(series.ValueOf("lr"), std::nullopt);
  EXPECT_EQ(series.ValueOf("los"), std::nullopt);
}

TEST(SeriesRecordTest, NeedsAStepAndOnlyNumbers) {
  EXPECT_NE(WhyNot(RecordKind::kSeries, Json::object()), "");
  for (const Json& value : {Json("2"), Json(true), Json::array(), Json::object()}) {
    EXPECT_NE(WhyNot(RecordKind::kSeries, {{"loss", 1.0}, {"lr", value}}), "") << value.dump();
  }
  EXPECT_TRUE(std::holds_alternative<UnreadableBody>(
      ParseRecordBody(RecordKind::kSeries, std::nullopt, {{"loss", 1.0}})));
}

// Each name has a row in the database that stays.
TEST(SeriesRecordTest, HasAtMost256MetricsWithShortNames) {
  Json body = Json::object();
  for (int i = 0; i < 256; ++i) body[std::to_string(i)] = 1.0;
  EXPECT_TRUE(std::holds_alternative<SeriesRecord>(Parse(RecordKind::kSeries, body)));
  body["one more"] = 1.0;
  EXPECT_EQ(WhyNot(RecordKind::kSeries, body), "a series of 257 metrics: at most 256 are allowed");
  EXPECT_EQ(WhyNot(RecordKind::kSeries, {{std::string(257, 'm'), 1.0}}),
            "a metric's name has 257 bytes: at most 256 are allowed");
}

// ---- result -------------------------------------------------------------------------------------

Json Result() {
  return {{"cell", "c"},
          {"metric", "nll"},
          {"context_length", 128},
          {"split", "validation"},
          {"protocol", "rolling"},
          {"averaging", "token"},
          {"depth", 0.5},
          {"variant", "unigram"},
          {"value", 2.5},
          {"se", 0.25},
          {"n", 1000},
          {"nll_sum", 2500},
          {"bytes", 1001},
          {"status", "ok"},
          {"extra", {{"b", 2.0}, {"a", nullptr}}}};
}

TEST(ResultRecordTest, HasTheColumnsOfARow) {
  const RecordBody body = Parse(RecordKind::kResult, Result());

  const auto& row = std::get<ResultRecord>(body);
  EXPECT_EQ(row.cell, "c");
  EXPECT_EQ(row.metric, "nll");
  EXPECT_EQ(row.context_length, 128);
  EXPECT_EQ(row.split, "validation");
  EXPECT_EQ(row.protocol, "rolling");
  EXPECT_EQ(row.averaging, "token");
  EXPECT_EQ(row.depth, 0.5);
  EXPECT_EQ(row.variant, "unigram");
  EXPECT_EQ(row.value, 2.5);
  EXPECT_EQ(row.se, 0.25);
  EXPECT_EQ(row.n, 1000);
  EXPECT_EQ(row.nll_sum, 2500.0);
  EXPECT_EQ(row.n_bytes, 1001);
  EXPECT_EQ(row.status, "ok");
  EXPECT_EQ(row.extra, R"({"a":null,"b":2})");
}

TEST(ResultRecordTest, OptionalMembersMayBeAbsentOrNull) {
  const Json least = {{"cell", ""}, {"metric", ""}, {"status", ""}};
  Json nulls = least;
  for (const char* const key : {"context_length", "split", "protocol", "averaging", "depth",
                                "variant", "value", "se", "n", "nll_sum", "bytes"}) {
    nulls[key] = nullptr;
  }
  for (const Json& body : {least, nulls}) {
    const RecordBody parsed = Parse(RecordKind::kResult, body);
    const auto& row = std::get<ResultRecord>(parsed);
    EXPECT_FALSE(row.context_length || row.n || row.n_bytes) << body.dump();
    EXPECT_FALSE(row.split || row.protocol || row.averaging || row.variant) << body.dump();
    EXPECT_FALSE(row.depth || row.value || row.se || row.nll_sum) << body.dump();
    EXPECT_EQ(row.extra, "{}");
  }
}

TEST(ResultRecordTest, ExtraIsKeptWhateverItIs) {
  for (const Json& extra : {Json(), Json(3), Json("x"), Json::array({1, 2})}) {
    const RecordBody body = Parse(RecordKind::kResult, With(Result(), "/extra", extra));
    EXPECT_EQ(std::get<ResultRecord>(body).extra, extra.dump());
  }
}

TEST(ResultRecordTest, IsNoRowIfANeededMemberIsAbsentOrAnyIsOfAnotherType) {
  for (const char* const key : {"cell", "metric", "status"}) {
    EXPECT_TRUE(WhyNot(RecordKind::kResult, Without(Result(), key)).starts_with(key)) << key;
    const Json with_null = With(Result(), (std::string("/") + key).c_str(), nullptr);
    EXPECT_TRUE(WhyNot(RecordKind::kResult, with_null).starts_with(key)) << key;
  }
  const std::pair<const char*, Json> wrong[] = {
      {"/cell", 7},
      {"/metric", true},
      {"/status", 0},
      {"/context_length", "128"},
      {"/context_length", 2.0},
      {"/context_length", kTooLarge},
      {"/n", "many"},
      {"/n", 1000.0},
      {"/n", kTooLarge},
      {"/bytes", 0.5},
      {"/split", 1},
      {"/protocol", Json::array()},
      {"/averaging", false},
      {"/variant", 2},
      {"/depth", "0.5"},
      {"/value", "2.5"},
      {"/se", true},
      {"/nll_sum", Json::object()},
  };
  for (const auto& [where, value] : wrong) {
    const std::string why = WhyNot(RecordKind::kResult, With(Result(), where, value));
    EXPECT_TRUE(why.starts_with(where + 1)) << where << " = " << value.dump() << ": " << why;
  }
}

TEST(ResultRecordTest, ReadsTheLargestAndSmallestIntegers) {
  Json body = With(Result(), "/n", kTooLarge - 1);
  body["context_length"] = std::numeric_limits<std::int64_t>::min();
  const RecordBody parsed = Parse(RecordKind::kResult, body);
  EXPECT_EQ(std::get<ResultRecord>(parsed).n, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(std::get<ResultRecord>(parsed).context_length,
            std::numeric_limits<std::int64_t>::min());
}

// ---- checkpoint ---------------------------------------------------------------------------------

Json Checkpoint() {
  return {{"path", "checkpoints/600"},
          {"sha256", kDigest},
          {"step", 600},
          {"files", {{{"name", "model.bin"}, {"sha256", kDigest}, {"bytes", 12}}}},
          {"final", true},
          {"best", false}};
}

CheckpointRecord ParseCheckpoint(const Json& body) {
  return std::get<CheckpointRecord>(Parse(RecordKind::kCheckpoint, body));
}

TEST(CheckpointRecordTest, SaysItsFilesAndFlags) {
  const CheckpointRecord checkpoint = ParseCheckpoint(Checkpoint());

  EXPECT_TRUE(checkpoint.is_whole);
  EXPECT_EQ(checkpoint.path, "checkpoints/600");
  EXPECT_EQ(checkpoint.sha256, kDigest);
  EXPECT_EQ(checkpoint.step, 600);
  ASSERT_TRUE(checkpoint.files.has_value());
  ASSERT_EQ(checkpoint.files->size(), 1u);
  EXPECT_EQ(checkpoint.files->front().name, "model.bin");
  EXPECT_EQ(checkpoint.files->front().sha256, kDigest);
  EXPECT_EQ(checkpoint.files->front().n_bytes, 12);
  EXPECT_TRUE(checkpoint.is_final);
  EXPECT_FALSE(checkpoint.is_best);
}

TEST(CheckpointRecordTest, NeedsNeitherPathNorFlagsAndMayHaveUnknownMembers) {
  Json body = Checkpoint();
  body["of_a_newer_trainer"] = 1;
  body["files"][0]["of_a_newer_trainer"] = nullptr;
  EXPECT_TRUE(ParseCheckpoint(body).is_whole);
  EXPECT_TRUE(ParseCheckpoint(With(body, "/path", 3)).is_whole);
  EXPECT_FALSE(ParseCheckpoint(With(body, "/path", 3)).path.has_value());
  for (const char* const key : {"path", "final", "best"}) body.erase(key);
  EXPECT_TRUE(ParseCheckpoint(body).is_whole);
  EXPECT_FALSE(ParseCheckpoint(body).is_final);
}

TEST(CheckpointRecordTest, IsNotWholeIfAMemberIsAbsentNullOrWrong) {
  for (const char* const key : {"sha256", "step", "files"}) {
    EXPECT_FALSE(ParseCheckpoint(Without(Checkpoint(), key)).is_whole) << key;
  }
  for (const char* const key : {"name", "sha256", "bytes"}) {
    Json body = Checkpoint();
    body["files"][0].erase(key);
    EXPECT_FALSE(ParseCheckpoint(body).is_whole) << "files." << key;
  }
  const std::pair<const char*, Json> wrong[] = {
      {"/sha256", nullptr},
      {"/sha256", "aa"},
      {"/sha256", kUpper},
      {"/step", nullptr},
      {"/step", -1},
      {"/step", "600"},
      {"/step", 600.0},
      {"/step", kTooLarge},
      {"/final", nullptr},
      {"/final", 1},
      {"/best", nullptr},
      {"/best", "yes"},
      {"/files", nullptr},
      {"/files", Json::array()},
      {"/files", Json::object()},
      {"/files/0", nullptr},
      {"/files/0/sha256", kUpper},
      {"/files/0/name", "../name"},
      {"/files/0/name", ""},
      {"/files/0/bytes", -1},
      {"/files/0/bytes", nullptr},
      {"/files/0/bytes", 12.0},
  };
  for (const auto& [where, value] : wrong) {
    EXPECT_FALSE(ParseCheckpoint(With(Checkpoint(), where, value)).is_whole)
        << where << " = " << value.dump();
  }
}

TEST(CheckpointRecordTest, HasAtMostTheFilesOfAModelFolder) {
  Json body = Checkpoint();
  const Json file = body["files"][0];
  body["files"] = Json(1025, file);
  EXPECT_TRUE(ParseCheckpoint(body).is_whole);
  body["files"] = Json(1026, file);
  EXPECT_FALSE(ParseCheckpoint(body).is_whole);
}

// A worker that has lost the files of a final checkpoint says so, whatever else the record lacks;
// and it uploads the files that a record names before it sends the record.
TEST(CheckpointRecordTest, OfOneThatIsNotWholeTheOtherMembersAreRead) {
  const CheckpointRecord no_step = ParseCheckpoint(Without(Checkpoint(), "step"));
  EXPECT_TRUE(no_step.is_final);
  EXPECT_EQ(no_step.path, "checkpoints/600");
  ASSERT_TRUE(no_step.files.has_value());
  EXPECT_EQ(no_step.files->front().name, "model.bin");
  EXPECT_FALSE(no_step.step.has_value());
  Json second = Checkpoint();
  second["files"].push_back({{"name", "../other"}, {"sha256", kDigest}, {"bytes", 1}});
  EXPECT_FALSE(ParseCheckpoint(second).files.has_value());
  EXPECT_EQ(ParseCheckpoint(With(Checkpoint(), "/sha256", kUpper)).sha256, "");
}

// ---- artifact -----------------------------------------------------------------------------------

Json Artifact() {
  return {{"name", "documents"}, {"path", "a/documents.csv"}, {"sha256", kDigest}, {"bytes", 9}};
}

TEST(ArtifactRecordTest, NamesOneFile) {
  const RecordBody body = Parse(RecordKind::kArtifact, Artifact());

  const auto& artifact = std::get<ArtifactRecord>(body);
  EXPECT_EQ(artifact.name, "documents");
  EXPECT_EQ(artifact.path, "a/documents.csv");
  EXPECT_EQ(artifact.sha256, kDigest);
  EXPECT_EQ(artifact.n_bytes, 9);
}

TEST(ArtifactRecordTest, NeedsNameDigestAndBytesButNoPath) {
  for (const char* const key : {"name", "sha256", "bytes"}) {
    EXPECT_TRUE(WhyNot(RecordKind::kArtifact, Without(Artifact(), key)).starts_with(key)) << key;
  }
  const std::pair<const char*, Json> wrong[] = {
      {"/name", nullptr},  {"/name", 1},          {"/sha256", nullptr}, {"/sha256", "aa"},
      {"/sha256", kUpper}, {"/sha256", 3},        {"/bytes", nullptr},  {"/bytes", "9"},
      {"/bytes", 9.0},     {"/bytes", kTooLarge},
  };
  for (const auto& [where, value] : wrong) {
    const std::string why = WhyNot(RecordKind::kArtifact, With(Artifact(), where, value));
    EXPECT_TRUE(why.starts_with(where + 1)) << where << " = " << value.dump() << ": " << why;
  }
  for (const Json& body : {Without(Artifact(), "path"), With(Artifact(), "/path", nullptr),
                           With(Artifact(), "/path", 3)}) {
    const RecordBody parsed = Parse(RecordKind::kArtifact, body);
    EXPECT_FALSE(std::get<ArtifactRecord>(parsed).path.has_value()) << body.dump();
  }
}

// ---- what a trainer writes ----------------------------------------------------------------------

TEST(RecordBodyTest, IsWrittenWithEveryMemberOfItsKind) {
  EXPECT_EQ(
      CanonicalJson(
          ProgressRecord{.phase = "train", .done = 3, .of = 40, .tokens_per_s = 2.0}.ToJson()),
      R"({"done":3,"eta_ms":null,"of":40,"phase":"train","tokens_per_s":2})");
  EXPECT_EQ(CanonicalJson(SeriesRecord{.values = {{"lr", std::nullopt}, {"loss", 0.5}}}.ToJson()),
            R"({"loss":0.5,"lr":null})");
  EXPECT_EQ(CanonicalJson(
                ArtifactRecord{.name = "d", .path = "a/d", .sha256 = "5", .n_bytes = 9}.ToJson()),
            R"({"bytes":9,"name":"d","path":"a/d","sha256":"5"})");
  EXPECT_EQ(CanonicalJson(
                FailedRecord{.failure_class = "data", .message = "m", .where = "step 3"}.ToJson()),
            R"({"class":"data","message":"m","where":"step 3"})");
  EXPECT_EQ(CanonicalJson(CheckpointRecord{.path = "c/6",
                                           .sha256 = "7",
                                           .step = 6,
                                           .files = {{{.name = "m", .sha256 = "8", .n_bytes = 2}}},
                                           .is_best = true}
                              .ToJson()),
            R"({"best":true,"files":[{"bytes":2,"name":"m","sha256":"8"}],"final":false,)"
            R"("path":"c/6","sha256":"7","step":6})");
}

// ---- final --------------------------------------------------------------------------------------

TEST(FinalRecordTest, KeepsWhatItSaysAsItIs) {
  const Json body = {{"counts", {{"result", 2}}}, {"digest", kDigest}};
  const RecordBody parsed = Parse(RecordKind::kFinal, body);

  const auto& final = std::get<FinalRecord>(parsed);
  EXPECT_EQ(final.counts, (Json{{"result", 2}}));
  EXPECT_EQ(final.digest, kDigest);
  EXPECT_EQ(final.ToJson(), body);
  const RecordBody odd = Parse(RecordKind::kFinal, {{"counts", nullptr}});
  EXPECT_EQ(std::get<FinalRecord>(odd).counts, Json());
  EXPECT_FALSE(std::get<FinalRecord>(odd).digest.has_value());
}

}  // namespace
}  // namespace longrun
