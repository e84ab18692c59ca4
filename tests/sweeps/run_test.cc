// The canonical run, and the task file.
#include "sweeps/run.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/str.h"
#include "base/version.h"
#include "model/extension/extension.h"
#include "model/position/method.h"
#include "sweeps/evaluated_dataset.h"
#include "sweeps/extended.h"
#include "sweeps/run_errors.h"
#include "sweeps/run_reader.h"
#include "sweeps/task.h"

namespace longrun {
namespace {

// In a test's body `Run` is testing::Test::Run: there the type is longrun::Run.

// The micro preset on a byte vocabulary.
Run MicroRun(std::string_view method) {
  Run run;
  run.model = *ModelConfig::Preset("micro");
  run.model.vocab_size = 256;
  run.model.position = *ResolvePosition(std::string(method));
  run.train.train_length = 64;
  run.train.tokens = 614'400;
  run.train.batch_tokens = 1024;
  if (method == "learned") run.model.n_positions = run.train.train_length;
  run.dataset_digest = Sha256Hex("dataset");
  run.tokenizer_fingerprint = Sha256Hex("tokenizer");
  run.seed = 1;
  run.numerics = 1;
  return run;
}

TEST(RunTest, ReadsBackWhatItWrote) {
  for (const std::string& method : PositionMethodNames()) {
    const longrun::Run run = MicroRun(method);
    const Result<longrun::Run> read =
        longrun::Run::FromJson(*ParseJson(CanonicalJson(run.ToJson())));
    ASSERT_TRUE(read.ok()) << method << ": " << read.status().message();
    EXPECT_EQ(read->ToJson(), run.ToJson());
    EXPECT_EQ(read->Key(), run.Key());
    EXPECT_EQ(read->model.n_positions, run.model.n_positions);
  }
}

// The second run of a group comes from the first one's parse.
TEST(RunReaderTest, RunsThatDifferInTheSeedAreReadAsEachByItself) {
  RunReader reader;
  for (const std::string& method : PositionMethodNames()) {
    for (const std::int64_t seed : {1, 7, 0, -3, 1'000'000}) {
      longrun::Run run = MicroRun(method);
      run.seed = seed;
      const Result<longrun::Run> read = reader.Read(CanonicalJson(run.ToJson()));
      ASSERT_TRUE(read.ok()) << method << ": " << read.status().message();
      EXPECT_EQ(read->seed, seed);
      EXPECT_EQ(read->Key(), run.Key());
      EXPECT_EQ(read->model.n_positions, run.model.n_positions);
    }
  }
}

TEST(RunReaderTest, WhatIsNoRunIsRefusedAlsoAfterOneThatIs) {
  const std::string text = CanonicalJson(MicroRun("alibi").ToJson());
  const std::string seed = ",\"seed\":1,";
  const std::size_t at = text.find(seed);
  ASSERT_NE(at, std::string::npos);
  RunReader reader;
  ASSERT_TRUE(reader.Read(text).ok());
  for (const char* other :
       {",", ",\"seed\":,", ",\"seed\":01,", ",\"seed\":\"1\",", ",\"seed\":1.5,",
        ",\"seed\":1,\"seed\":2,", ",\"seeds\":1,", ",\"seed\":99999999999999999999,"}) {
    std::string wrong = text;
    wrong.replace(at, seed.size(), other);
    const Result<longrun::Run> read = reader.Read(wrong);
    EXPECT_FALSE(read.ok()) << other;
    const Result<Json> json = ParseJson(wrong);
    const Status alone = json.ok() ? longrun::Run::FromJson(*json).status() : json.status();
    EXPECT_EQ(read.status().message(), alone.message());
  }
  // A number in another form is the same number.
  std::string other_form = text;
  other_form.replace(at, seed.size(), ",\"seed\":2.0,");
  const Result<longrun::Run> read = reader.Read(other_form);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->seed, 2);
}

TEST(RunTest, TheKeyIsTheDigestOfTheCanonicalJson) {
  const longrun::Run run = MicroRun("alibi");
  EXPECT_EQ(run.Key(), Sha256Hex(CanonicalJson(run.ToJson())));
}

TEST(RunTest, TheKeyChangesWithEverythingThatChangesTheNumbers) {
  const longrun::Run run = MicroRun("alibi");
  std::vector<longrun::Run> others(6, run);
  others[0].seed = 2;
  others[1].numerics = 2;
  others[2].train.optimizer.lr *= 2;
  others[3].model.n_layer += 1;
  others[4].dataset_digest = Sha256Hex("another");
  others[5].model.position = *ResolvePosition("rope");
  for (const longrun::Run& other : others) EXPECT_NE(other.Key(), run.Key());
}

TEST(RunTest, AParentIsPartOfTheKeyAndNoParentIsNoPartOfIt) {
  const longrun::Run run = MicroRun("rope");
  EXPECT_FALSE(run.ToJson().contains("parent"));
  longrun::Run child = run;
  child.parent = Sha256Hex("parent");
  EXPECT_NE(child.Key(), run.Key());
  const auto read = longrun::Run::FromJson(child.ToJson());
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->parent, child.parent);
  EXPECT_EQ(read->Key(), child.Key());

  for (const Json& bad : {Json(""), Json("01234567"), Json(7), Json()}) {
    Json json = run.ToJson();
    json["parent"] = bad;
    const auto refused = longrun::Run::FromJson(json);
    EXPECT_EQ(refused.status().code(), Code::kInvalidArgument) << bad;
    EXPECT_EQ(refused.status().message().substr(0, 11), "run.parent:") << bad;
  }
}

TEST(RunTest, RefusesMembersThatItDoesNotKnow) {
  Json json = MicroRun("rope").ToJson();
  json["flavour"] = "vanilla";
  const Result<longrun::Run> run = longrun::Run::FromJson(json);
  EXPECT_EQ(run.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(run.status().message(), "run.flavour: unknown member");
}

TEST(RunTest, RefusesWhatIsMissingOrMalformed) {
  const Json good = MicroRun("rope").ToJson();
  for (const auto& [key, value] : good.items()) {
    Json json = good;
    json.erase(key);
    EXPECT_FALSE(longrun::Run::FromJson(json).ok()) << key;
  }
  Json json = good;
  json["dataset"]["digest"] = "ABC";
  EXPECT_FALSE(longrun::Run::FromJson(json).ok());
  json = good;
  json["numerics"] = 0;
  EXPECT_FALSE(longrun::Run::FromJson(json).ok());
  EXPECT_FALSE(longrun::Run::FromJson(Json::array()).ok());
}

TEST(RunTest, EveryErrorIsTold) {
  Json json = MicroRun("alibi").ToJson();
  json["dataset"] = {{"digest", "short"}};
  json["model"]["n_layers"] = json["model"]["n_layer"];
  json["model"].erase("n_layer");
  json["seed"] = 1.5;
  json["train"]["batch_tokens"] = 1000;
  json["train"]["optimizer"]["lr"] = -1;

  KeyErrors errors;
  ReadRun(json, errors);

  std::vector<std::string> paths;
  for (const KeyError& error : errors.all()) paths.push_back(error.key);
  EXPECT_EQ(paths,
            (std::vector<std::string>{"run.seed", "run.dataset.digest", "train.optimizer.lr",
                                      "train.batch_tokens", "model.n_layers", "model.n_layer"}));
  EXPECT_EQ(longrun::Run::FromJson(json).status().message(), errors.First().message());
}

// With a learned position table of no known length nothing is said of the table.
TEST(RunTest, AnErrorDrawsNoOtherOneBehindIt) {
  Json json = MicroRun("learned").ToJson();
  json["train"].erase("train_length");
  KeyErrors errors;
  ReadRun(json, errors);
  ASSERT_EQ(errors.all().size(), 1u);
  EXPECT_EQ(errors.First().message(), "train.train_length: missing");

  json = MicroRun("alibi").ToJson();
  json["init"] = 3;
  json["train"] = {{"train_length", 64}};
  KeyErrors of_init;
  ReadRun(json, of_init);
  ASSERT_EQ(of_init.all().size(), 1u);
  EXPECT_EQ(of_init.all()[0].key, "run.init");

  json = MicroRun("alibi").ToJson();
  json["position"] = {{"method", "rope"}, {"bass", 1}};
  KeyErrors of_position;
  ReadRun(json, of_position);
  ASSERT_EQ(of_position.all().size(), 1u);
  EXPECT_EQ(of_position.all()[0].key, "position.bass");
}

TEST(ExecutionTest, ReadsBackWhatItWrote) {
  const Execution execution = {.device_kind = DeviceKind::kGpu,
                               .device_name = "NVIDIA H200",
                               .threads = 4,
                               .micro_batch = 16,
                               .attention = AttentionBackend::kTorch,
                               .linear = "aten/cuda",
                               .operators = OperatorSet::kLongrun,
                               .simd = "avx2",
                               .subnormals = Subnormals::kFlushed};
  const Result<Execution> read = Execution::FromJson(execution.ToJson());
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(*read, execution);
  Json json = execution.ToJson();
  json["micro_batch"] = 0;
  EXPECT_FALSE(Execution::FromJson(json).ok());
  json = execution.ToJson();
  json["device"]["kind"] = "tpu";
  EXPECT_FALSE(Execution::FromJson(json).ok());
  json = execution.ToJson();
  json["paths"]["operators"] = "mkl";
  EXPECT_FALSE(Execution::FromJson(json).ok());
  json = execution.ToJson();
  json["paths"]["attention"] = "auto";  // a record says what was decided
  EXPECT_FALSE(Execution::FromJson(json).ok());
  json = execution.ToJson();
  json["paths"]["subnormals"] = "rounded";
  EXPECT_EQ(Execution::FromJson(json).status().message(),
            "execution.paths.subnormals: expected kept or flushed, found \"rounded\"");
}

TEST(ExecutionTest, OnlyARunInBf16HasAPathForIt) {
  Execution execution;
  execution.micro_batch = 1;
  EXPECT_FALSE(execution.ToJson()["paths"].contains("bf16"));
  execution.bf16 = "amx";
  const Result<Execution> read = Execution::FromJson(execution.ToJson());
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->bf16, "amx");
}

TEST(ExecutionTest, OnlyARunWithWideChunksOfLogitsNamesThem) {
  Execution execution;
  execution.micro_batch = 1;
  EXPECT_FALSE(execution.ToJson()["paths"].contains("head"));
  EXPECT_EQ(Execution::FromJson(execution.ToJson()).value().head, HeadChunks::kByLogits);
  execution.head = HeadChunks::kByWidth;
  Json json = execution.ToJson();
  EXPECT_EQ(json["paths"]["head"], "width");
  EXPECT_EQ(Execution::FromJson(json).value().head, HeadChunks::kByWidth);
  json["paths"]["head"] = "rows";
  EXPECT_EQ(Execution::FromJson(json).status().message(),
            "execution.paths.head: expected logits or width, found \"rows\"");
}

TEST(ExecutionTest, AnEvaluationDoesNotDependOnWhatOnlyTrainingUses) {
  Execution execution, plain;
  execution.bf16 = "amx";
  execution.head = HeadChunks::kByWidth;
  ClearTraining(execution);
  EXPECT_EQ(execution, plain);
}

// A run that began before there was a choice goes on with LibTorch's operators.
TEST(ExecutionTest, ARecordWithoutOperatorsIsOfLibTorchs) {
  Execution execution;
  execution.micro_batch = 1;
  execution.operators = OperatorSet::kLongrun;
  Json json = execution.ToJson();
  json["paths"].erase("operators");
  const Result<Execution> read = Execution::FromJson(json);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->operators, OperatorSet::kAten);
}

// A run that began before there was a choice goes on with the bits that it would have had.
TEST(ExecutionTest, ARecordWithoutSubnormalsKeepsThem) {
  Execution execution;
  execution.micro_batch = 1;
  execution.subnormals = Subnormals::kFlushed;
  Json json = execution.ToJson();
  json["paths"].erase("subnormals");
  const Result<Execution> read = Execution::FromJson(json);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->subnormals, Subnormals::kKept);
}

TEST(ExecutionTest, ANewRunFlushesSubnormalsOnACpu) {
  EXPECT_EQ(SubnormalsFor(DeviceKind::kCpu), Subnormals::kFlushed);
  EXPECT_EQ(SubnormalsFor(DeviceKind::kGpu), Subnormals::kKept);
}

TaskFile EvaluateTask() {
  TaskFile task;
  task.run = MicroRun("cable");
  task.attempt = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  task.task = Sha256Hex("task");
  task.run_key = task.run.Key();
  task.epoch = (std::uint64_t{7} << 32) + 3;
  task.kind = TaskKind::kEvaluate;
  task.evaluation = Json{{"perplexity", {{"split", "validation"}}}};
  task.init = CheckpointRef{.attempt = "01ARZ3NDEKTSV4RRFFQ69G5FAW",
                            .checkpoint = "attempts/X/checkpoints/600",
                            .sha256 = Sha256Hex("manifest"),
                            .step = 600};
  task.dataset_name = "austen";
  task.dataset_path = "datasets/austen";
  task.execution.micro_batch = 16;
  task.execution.linear = "aten/AuthenticAMD";
  task.execution.simd = "avx2";
  task.activation_checkpointing = true;
  task.devices = {0};
  task.attempt_dir = "attempts/X";
  task.cache_dir = "cache";
  task.expected_cells = {
      {.cell = Sha256Hex("a"), .metric = "nll", .context_length = 64},
      {.cell = Sha256Hex("a"), .metric = "nll", .context_length = 64, .variant = "unigram"}};
  return task;
}

TEST(TaskFileTest, ReadsBackWhatItWrote) {
  const TaskFile task = EvaluateTask();
  const Result<TaskFile> read = TaskFile::FromJson(*ParseJson(CanonicalJson(task.ToJson())));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(CanonicalJson(read->ToJson()), CanonicalJson(task.ToJson()));
  EXPECT_EQ(read->epoch, task.epoch);
  EXPECT_EQ(read->execution, task.execution);
  EXPECT_EQ(read->init, task.init);
  EXPECT_EQ(read->expected_cells, task.expected_cells);
  EXPECT_EQ(read->resume, std::nullopt);
  EXPECT_TRUE(read->activation_checkpointing);
}

// An older trainer would leave out a member that it does not know, but refuses this one.
TEST(TaskFileTest, AnExtensionStandsBesideTheEvaluation) {
  TaskFile task = EvaluateTask();
  const Json yarn =
      ResolveExtension({{"method", "yarn"}, {"factor", 4}, {"original_length", 64}}).value();
  const Json plain = task.evaluation;
  task.evaluation = WithExtension(plain, yarn);
  const Json json = task.ToJson();
  EXPECT_EQ(json.at("evaluation"), plain);
  EXPECT_EQ(json.at("extension"), yarn);
  const Result<TaskFile> read = TaskFile::FromJson(json);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->evaluation, task.evaluation);
  EXPECT_EQ(EvaluateTask().ToJson().at("extension"), Json());
}

TEST(TaskFileTest, AnotherDatasetThanTheRunsStandsBesideTheEvaluationWithItsPath) {
  TaskFile task = EvaluateTask();
  EXPECT_FALSE(task.ToJson().contains("evaluated_dataset"));
  const Json plain = task.evaluation;
  const std::string digest = Sha256Hex("books");
  task.evaluation =
      WithEvaluatedDataset(plain, {.name = "books", .digest = digest, .path = "datasets/books"});
  const Json json = task.ToJson();
  EXPECT_EQ(json.at("evaluation"), plain);
  EXPECT_EQ(json.at("dataset").at("name"), "austen");
  EXPECT_EQ(json.at("evaluated_dataset"),
            Json({{"name", "books"}, {"digest", digest}, {"path", "datasets/books"}}));
  const Result<TaskFile> read = TaskFile::FromJson(json);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->evaluation, task.evaluation);
  EXPECT_EQ(EvaluatedDatasetOf(read->evaluation)->path, "datasets/books");
  Json wrong = json;
  wrong["evaluated_dataset"]["digest"] = "5f";
  EXPECT_FALSE(TaskFile::FromJson(wrong).ok());
}

TEST(TaskFileTest, ADepthStandsOnlyInACellThatHasOne) {
  TaskFile task = EvaluateTask();
  const ExpectedCell plain = task.expected_cells[0];
  EXPECT_EQ(CanonicalJson(plain.ToJson()),
            Str("{\"cell\":\"", plain.cell,
                "\",\"context_length\":64,\"metric\":\"nll\",\"variant\":null}"));
  for (const double depth : {0.0, 0.3, 1.0}) {
    ExpectedCell cell = plain;
    cell.depth = depth;
    EXPECT_NE(cell, plain);
    task.expected_cells.push_back(cell);
  }
  const Result<TaskFile> read = TaskFile::FromJson(*ParseJson(CanonicalJson(task.ToJson())));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->expected_cells, task.expected_cells);
}

// Keys of tasks and digests of sweeps have cells as trainers get them.
TEST(TaskFileTest, TheLengthOfPromptsIsStoredAndIsNotPartOfWhatACellAsksFor) {
  TaskFile task = EvaluateTask();
  const ExpectedCell plain = task.expected_cells[0];
  ExpectedCell cell = plain;
  cell.prompt_tokens = 32'021;
  EXPECT_EQ(cell, plain);
  EXPECT_EQ(cell.ToJson(), plain.ToJson());
  EXPECT_EQ(plain.ToStoredJson(), plain.ToJson());
  const Result<ExpectedCell> read = ExpectedCell::FromJson(cell.ToStoredJson());
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->prompt_tokens, 32'021);
  task.expected_cells = {cell};
  EXPECT_EQ(task.ToJson()["expected_cells"][0], plain.ToJson());
  Json wrong = cell.ToStoredJson();
  wrong["prompt_tokens"] = -1;
  EXPECT_FALSE(ExpectedCell::FromJson(wrong).ok());
}

TEST(TaskFileTest, TheDepthOfARowIsANumberOrNothing) {
  EXPECT_EQ(DepthOf({{"depth", 0.5}}), 0.5);
  EXPECT_EQ(DepthOf({{"depth", 1}}), 1.0);
  EXPECT_EQ(DepthOf({{"depth", nullptr}}), std::nullopt);
  EXPECT_EQ(DepthOf({{"metric", "nll"}}), std::nullopt);
  EXPECT_EQ(DepthText(0.5), " at depth 0.5");
  EXPECT_EQ(DepthText(std::nullopt), "");
}

// Trainers of earlier releases refuse a member that they do not know.
TEST(TaskFileTest, ResultsOfEarlierAttemptsStandInTheFileWhereThereAreAny) {
  TaskFile task = EvaluateTask();
  EXPECT_FALSE(task.ToJson().contains("earlier"));
  EXPECT_TRUE(TaskFile::FromJson(task.ToJson())->earlier.empty());
  task.earlier = {
      {.attempt = "01ARZ3NDEKTSV4RRFFQ69G5FAX",
       .measured_with = {{"commit", "5f"}},
       .results = {{.row = {{"metric", "nll"}, {"value", 1.5}}, .artifacts = {{{"name", "map"}}}},
                   {.row = {{"metric", "nll"}}}}},
      {.attempt = "01ARZ3NDEKTSV4RRFFQ69G5FAY", .measured_with = {}}};
  const Json json = task.ToJson();
  const Result<TaskFile> read = TaskFile::FromJson(*ParseJson(CanonicalJson(json)));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->earlier, task.earlier);
  for (const auto& [place, wrong] :
       {std::pair("/earlier", Json::object()), std::pair("/earlier/0/attempt", Json("1")),
        std::pair("/earlier/0/results", Json(3)), std::pair("/earlier/0/results/1", Json(3)),
        std::pair("/earlier/0/results/1/row", Json(3)),
        std::pair("/earlier/0/results/0/artifacts/0", Json(3))}) {
    Json changed = json;
    changed[Json::json_pointer(place)] = wrong;
    EXPECT_FALSE(TaskFile::FromJson(changed).ok()) << place;
  }
}

// A training that is repeated on a GPU may give other weights.
TEST(EarlierResultsTest, WhatWasMeasuredWithIsTheProgramItsExecutionAndTheWeights) {
  const Json started = {{"version", "0.1.0"},
                        {"commit", "5f"},
                        {"numerics", 3},
                        {"compiler", "g++"},
                        {"torch", "2"},
                        {"cuda", ""},
                        {"execution", {{"threads", 2}}},
                        {"init", "7e"},
                        {"host", {{"name", "a"}}},
                        {"device", {{"name", "some CPU"}}},
                        {"pid", 7}};
  Json elsewhere = started;
  elsewhere["host"]["name"] = "b";
  elsewhere["device"]["name"] = "another CPU";
  elsewhere["pid"] = 8;
  EXPECT_EQ(MeasuredWith(started), MeasuredWith(elsewhere));
  for (const char* const name :
       {"version", "commit", "numerics", "compiler", "torch", "cuda", "init"}) {
    Json other = started;
    other[name] = "other";
    EXPECT_NE(MeasuredWith(started), MeasuredWith(other)) << name;
  }
  elsewhere["execution"]["threads"] = 4;
  EXPECT_NE(MeasuredWith(started), MeasuredWith(elsewhere));
}

TEST(TaskFileTest, ActivationCheckpointingStandsInTheFileWhereItIsOn) {
  TaskFile task = EvaluateTask();
  task.activation_checkpointing = false;
  EXPECT_FALSE(task.ToJson().contains("activation_checkpointing"));
  EXPECT_FALSE(TaskFile::FromJson(task.ToJson()).value().activation_checkpointing);
}

TEST(TaskFileTest, HoldsTheMembersOfTheContract) {
  const Json json = EvaluateTask().ToJson();
  for (const char* const key : {"format",      "attempt",
                                "task",        "run_key",
                                "epoch",       "kind",
                                "run",         "evaluation",
                                "extension",   "init",
                                "resume",      "dataset",
                                "devices",     "threads",
                                "micro_batch", "paths",
                                "rank",        "world",
                                "rendezvous",  "attempt_dir",
                                "cache_dir",   "checkpoint_every_ms",
                                "grace_ms",    "expected_cells"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_EQ(json["epoch"], "30064771075");  // (7 << 32) + 3, a string
}

TEST(TaskFileTest, RefusesWhatDoesNotFitTogether) {
  const Json good = EvaluateTask().ToJson();
  const auto refuses = [&](const char* pointer, const Json& value) {
    Json json = good;
    json[Json::json_pointer(pointer)] = value;
    return !TaskFile::FromJson(json).ok();
  };
  EXPECT_TRUE(refuses("/format", 2));
  EXPECT_TRUE(refuses("/attempt", "x"));
  EXPECT_TRUE(refuses("/run_key", Sha256Hex("another run")));
  EXPECT_TRUE(refuses("/epoch", 3));
  EXPECT_TRUE(refuses("/epoch", "18446744073709551616"));  // 2^64
  EXPECT_TRUE(refuses("/epoch", "-1"));
  EXPECT_TRUE(refuses("/kind", "train"));
  EXPECT_TRUE(refuses("/world", 2));
  EXPECT_TRUE(refuses("/extension", "yarn"));
  EXPECT_TRUE(refuses("/init", nullptr));
  EXPECT_TRUE(refuses("/dataset/digest", Sha256Hex("another dataset")));
  EXPECT_TRUE(refuses("/devices", Json{-1}));
  EXPECT_TRUE(refuses("/expected_cells", Json::array()));
  EXPECT_TRUE(refuses("/expected_cells/0/context_length", 0));
  EXPECT_TRUE(refuses("/expected_cells/0/depth", 1.5));
  EXPECT_TRUE(refuses("/expected_cells/0/depth", nullptr));
  EXPECT_TRUE(refuses("/unknown", 1));
}

TEST(TaskFileTest, ANewerFormatIsNamed) {
  const Result<TaskFile> task = TaskFile::FromJson(Json{{"format", 9}});
  EXPECT_EQ(task.status().message(), "task.format: this trainer reads format 1, found 9");
}

}  // namespace
}  // namespace longrun
