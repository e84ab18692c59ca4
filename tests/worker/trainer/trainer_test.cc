// The trainer as a process: what a worker, and a user with a folder and a file, sees of it.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <fstream>
#include <functional>
#include <limits>
#include <map>

#include "base/files.h"
#include "base/hash.h"
#include "base/process.h"
#include "base/str.h"
#include "model/attention_map.h"
#include "model/cpu_paths.h"
#include "model/data/dataset.h"
#include "model/data/order.h"
#include "model/net/adamw.h"
#include "model/net/checkpoint.h"
#include "model/net/gradient.h"
#include "model/net/head.h"
#include "model/net/parameters.h"
#include "model/net/tensor_file.h"
#include "model/net/transformer.h"
#include "model/position_schedule/schedule.h"
#include "sweeps/event.h"
#include "sweeps/task.h"
#include "tests/deadline.h"
#include "tests/journal_json.h"
#include "tests/wait_until.h"

namespace longrun::trainer {
namespace {

constexpr std::int64_t kDeadlineMs = DeadlineMs(60'000);
const std::string kTrainer = std::string(LONGRUN_BIN_DIR) + "/longrun-trainer";

// A text whose next byte can be learned a little.
std::string SomeText(int n_words) {
  static const char* const kWords[] = {"the ", "sea ", "was ", "calm ", "and ", "a ", "ship, "};
  std::string text;
  for (int i = 0; i < n_words; ++i) text += kWords[(i * i * 3 + i / 5) % 7];
  return text;
}

Json RunJson(const Json& position) {
  return {{"model",
           {{"architecture", "gpt2"},
            {"n_layer", 2},
            {"n_head", 2},
            {"d_model", 16},
            {"d_ff", 64},
            {"vocab_size", 320},
            {"activation", "gelu_new"},
            {"layer_norm_epsilon", 1e-5},
            {"tie_embeddings", true},
            {"causal", true},
            {"init_std", 0.02}}},
          {"position", position},
          {"seed", 11},
          {"train",
           {{"train_length", 16},
            {"tokens", 20 * 64},
            {"batch_tokens", 64},
            {"precision", "fp32"},
            {"order", "shuffled"},
            {"optimizer",
             {{"name", "adamw"},
              {"lr", 1e-2},
              {"min_lr", 1e-3},
              {"betas", {0.9, 0.95}},
              {"eps", 1e-8},
              {"weight_decay", 0.1},
              {"grad_clip", 1.0}}},
            {"schedule", {{"name", "cosine"}, {"warmup_tokens", 128}}},
            {"validate", {{"every", 320}, {"tokens", 256}}}}}};
}

// Shorter than a sample of 16 tokens, as long with its end of text, and longer than five of them.
constexpr std::array<int, 7> kDocumentBytes = {5, 40, 1, 15, 16, 120, 9};

class TrainerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    data_ = new TempFolder("trainer_test");
    ASSERT_TRUE(WriteFileAtomic(Data("train.txt"), SomeText(3000)).ok());
    ASSERT_TRUE(WriteFileAtomic(Data("validation.txt"), SomeText(700).substr(7)).ok());
    const Status imported = ImportText(
        {.tokenizer = "bytes",
         .splits = {{"train", {Data("train.txt")}}, {"validation", {Data("validation.txt")}}}},
        Data("dataset"));
    ASSERT_TRUE(imported.ok()) << imported.message();
    std::vector<std::string> files;
    for (const int n_bytes : kDocumentBytes) {
      files.push_back(Data(Str("document-", files.size(), ".txt")));
      const std::string text = SomeText(60).substr(3 * files.size(), static_cast<size_t>(n_bytes));
      ASSERT_TRUE(WriteFileAtomic(files.back(), text).ok());
    }
    const Status of_documents =
        ImportText({.tokenizer = "bytes",
                    .splits = {{"train", files}, {"validation", {Data("validation.txt")}}}},
                   Data("documents"));
    ASSERT_TRUE(of_documents.ok()) << of_documents.message();
  }
  static void TearDownTestSuite() { delete data_; }
  static std::string Data(const std::string& name) { return JoinPath(data_->path(), name); }
  std::string At(const std::string& name) const { return JoinPath(folder_.path(), name); }

  void WriteRun(const Json& run) { ASSERT_TRUE(WriteFileAtomic(At("run.json"), run.dump()).ok()); }

  SpawnOptions Command(std::vector<std::string> arguments, const std::string& failpoints) const {
    arguments.insert(arguments.begin(), kTrainer);
    SpawnOptions options = {.argv = std::move(arguments),
                            .env = {"OMP_WAIT_POLICY=passive", "OMP_NUM_THREADS=1"},
                            .stdout_path = At("stdout"),
                            .stderr_path = At("stderr")};
    if (!failpoints.empty()) options.env.push_back("LONGRUN_FAILPOINTS=" + failpoints);
    return options;
  }
  int Exec(std::vector<std::string> arguments, const std::string& failpoints = "") {
    EXPECT_TRUE(RemoveAll(At("stderr")).ok());
    const int pid = Spawn(Command(std::move(arguments), failpoints)).value();
    return WaitFor(pid, -1).value()->code;
  }
  std::vector<std::string> TrainArguments(const std::string& output,
                                          std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"train",     "--run",         At("run.json"),
                                          "--dataset", Data("dataset"), "--output",
                                          At(output),  "--micro-batch", "4"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  // The same with the dataset of several documents.
  std::vector<std::string> OnDocuments(std::vector<std::string> arguments) const {
    std::ranges::replace(arguments, Data("dataset"), Data("documents"));
    return arguments;
  }
  std::string Stderr() const { return ReadFile(At("stderr")).value(); }

  std::vector<JsonRecord> Journal(const std::string& output) const {
    return ReadJsonJournal(JoinPath(At(output), kJournalName));
  }
  std::vector<double> Series(const std::string& output, const char* metric) const {
    std::vector<double> values;
    const std::vector<JsonRecord> records = Journal(output);
    for (const JsonRecord& record : records) {
      if (record.kind == RecordKind::kSeries && record.body.contains(metric)) {
        values.push_back(record.body[metric].get<double>());
      }
    }
    return values;
  }
  // Runs the task of folder `from` again in folder `to`, with paths of its execution changed.
  // Returns the exit code.
  int ExecWithPaths(const std::string& from, const std::string& to,
                    const std::function<void(Json& paths)>& change) {
    return ExecChanged(from, to, [&](Json& task) { change(task["paths"]); });
  }
  int ExecChanged(const std::string& from, const std::string& to,
                  const std::function<void(Json& task)>& change) {
    Json task = ParseJson(Bytes(At(from), "task.json")).value();
    change(task);
    task["attempt_dir"] = At(to);
    const std::string file = At(to + "/task.json");
    EXPECT_TRUE(MakeFolders(At(to)).ok());
    EXPECT_TRUE(WriteFileAtomic(file, CanonicalJson(task)).ok());
    return Exec({"task", file});
  }
  std::string StepFolder(const std::string& output, const char* step) const {
    return At(output + "/checkpoints/step-0000000" + step);
  }
  static std::string Bytes(const std::string& folder, const char* name) {
    return ReadFile(JoinPath(folder, name)).value();
  }
  // Of the checkpoints of step 20 in two outputs: the same bits, also of what the next step needs.
  void ExpectSameState(const std::string& output, const std::string& other) const {
    for (const char* name : {"model.safetensors", "optimizer.safetensors", "state.json"}) {
      EXPECT_TRUE(Bytes(StepFolder(output, "20"), name) == Bytes(StepFolder(other, "20"), name))
          << name;
    }
  }

  // Gives the checkpoint another state.json.
  static void WriteState(const std::string& checkpoint, const Json& state) {
    const std::string text = CanonicalJson(state);
    std::vector<FolderFile> files =
        ParseFolderManifest(Bytes(checkpoint, kFolderManifestName)).value();
    const auto of_state = std::ranges::find(files, "state.json", &FolderFile::name);
    ASSERT_NE(of_state, files.end());
    of_state->sha256 = Sha256Hex(text);
    of_state->n_bytes = static_cast<std::int64_t>(text.size());
    ASSERT_TRUE(WriteFileAtomic(JoinPath(checkpoint, "state.json"), text).ok());
    ASSERT_TRUE(
        WriteFileAtomic(JoinPath(checkpoint, kFolderManifestName), FolderManifest(files)).ok());
  }

  static TempFolder* data_;
  TempFolder folder_;
};
TempFolder* TrainerTest::data_ = nullptr;

// A reading that lasts as long as it likes: nothing is there to be saved yet.
TEST_F(TrainerTest, AnInterruptionByHandEndsItAtOnceWhileItReadsItsInputs) {
  WriteRun(RunJson("none"));
  const int pid =
      Spawn(Command(TrainArguments("out"), "trainer_opening_dataset:delay_ms:86400000")).value();
  ASSERT_TRUE(WaitUntil(kDeadlineMs, [&] {
    return PathExists(JoinPath(At("out"), "journal.jsonl")) && Journal("out").size() >= 2;
  }));
  kill(pid, SIGINT);

  const auto ended = WaitFor(pid, kDeadlineMs).value();
  if (!ended) kill(pid, SIGKILL);
  ASSERT_TRUE(ended.has_value());
  EXPECT_EQ(ended->signal, SIGINT);
  EXPECT_NE(Stderr().find("stopped while it read its inputs; nothing was computed"),
            std::string::npos)
      << Stderr();
}

TEST_F(TrainerTest, TrainsEvaluatesAndSaysSoInItsJournal) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const std::vector<JsonRecord> records = Journal("out");
  EXPECT_EQ(records.front().kind, RecordKind::kAttempt);
  EXPECT_EQ(records[1].kind, RecordKind::kStarted);
  EXPECT_EQ(records[1].body["steps"], 20);
  EXPECT_EQ(records.back().kind, RecordKind::kFinal);
  const JsonRecord& last = records[records.size() - 2];
  ASSERT_EQ(last.kind, RecordKind::kCheckpoint);
  EXPECT_EQ(last.body["final"], true);
  EXPECT_EQ(last.body["step"], 20);
  const std::vector<double> loss = Series("out", "loss");
  ASSERT_EQ(loss.size(), 20u);
  EXPECT_NEAR(loss.front(), std::log(320.0), 0.1);  // nothing is known at first
  EXPECT_LT(loss.back(), loss.front() - 1.0);
  EXPECT_EQ(Series("out", "val_loss").size(), 4u);  // every 5 of 20 steps
  EXPECT_EQ(Series("out", "grad_norm").size(), 20u);

  ASSERT_EQ(Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--checkpoint",
                  StepFolder("out", "20"), "--output", At("scores"), "--lengths", "16,64"}),
            0)
      << Stderr();
  int n_rows = 0;
  const std::vector<JsonRecord> scores = Journal("scores");
  for (const JsonRecord& record : scores) {
    if (record.kind != RecordKind::kResult) continue;
    EXPECT_EQ(record.body["status"], "ok");
    EXPECT_LT(record.body["value"].get<double>(), loss.front());
    EXPECT_TRUE(record.body.contains("cell"));
    n_rows += 1;
  }
  EXPECT_EQ(n_rows, 2);
}

TEST_F(TrainerTest, KilledAndResumedItReachesTheSameBits) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("whole")), 0) << Stderr();
  // A checkpoint after each step; the process dies in step 11.
  EXPECT_EQ(
      Exec(TrainArguments("first", {"--checkpoint-every-ms", "0"}), "trainer_mid_step:exit@11"),
      99);
  ASSERT_EQ(Exec(TrainArguments("second", {"--resume", StepFolder("first", "10")})), 0) << Stderr();

  ExpectSameState("whole", "second");
  // What the run began with stands in each attempt's record, also in one that began in the middle.
  const std::string initial = Journal("whole")[1].body["initial_weights"];
  const TaskFile task = *TaskFile::FromJson(*ParseJson(Bytes(At("whole"), "task.json")));
  EXPECT_EQ(initial, ParametersSha256(InitialParameters(*ParametersOf(task.run.model), 11)));
  EXPECT_EQ(Journal("second")[1].body["initial_weights"], initial);
  const std::vector<double> whole = Series("whole", "loss"), second = Series("second", "loss");
  EXPECT_EQ(std::vector<double>(whole.begin() + 10, whole.end()), second);

  // From its last step there is nothing to train, and yet a final checkpoint to give.
  ASSERT_EQ(Exec(TrainArguments("third", {"--resume", StepFolder("second", "20")})), 0) << Stderr();
  EXPECT_TRUE(Series("third", "loss").empty());
  EXPECT_TRUE(Bytes(StepFolder("third", "20"), "manifest.json") ==
              Bytes(StepFolder("whole", "20"), "manifest.json"));
}

Json PositionsJson(const char* method) {
  Json run = RunJson("rope");
  run["train"]["positions"] = {{"method", method}, {"target_length", 64}};
  return run;
}

// The samples are a function of the seed and their number, so what was killed in the middle goes on
// with those that follow.
TEST_F(TrainerTest, AtPositionsOfAScheduleKilledAndResumedItReachesTheSameBits) {
  for (const char* method : {"pose", "randpos"}) {
    SCOPED_TRACE(method);
    const auto output = [&](const char* name) { return Str(method, "-", name); };
    WriteRun(PositionsJson(method));
    ASSERT_EQ(Exec(TrainArguments(output("whole"))), 0) << Stderr();
    const int first = Spawn(Command(TrainArguments(output("first"), {"--checkpoint-every-ms", "0"}),
                                    "trainer_mid_step:stop@11"))
                          .value();
    int status = 0;
    ASSERT_EQ(waitpid(first, &status, WUNTRACED), first);
    ASSERT_TRUE(WIFSTOPPED(status)) << Stderr();
    kill(first, SIGKILL);
    EXPECT_EQ(WaitFor(first, -1).value()->signal, SIGKILL);
    ASSERT_EQ(
        Exec(TrainArguments(output("second"), {"--resume", StepFolder(output("first"), "10")})), 0)
        << Stderr();
    ExpectSameState(output("whole"), output("second"));
    EXPECT_LT(Series(output("whole"), "loss").back(), Series(output("whole"), "loss").front());
  }
}

// Its checkpoints say under which extension they were trained, and go on under it.
TEST_F(TrainerTest, UnderAnExtensionKilledAndResumedItReachesTheSameBits) {
  for (const char* method : {"pi", "ntk", "yarn"}) {
    SCOPED_TRACE(method);
    const auto output = [&](const char* name) { return Str(method, "-", name); };
    Json run = PositionsJson("pose");
    run["model"] = {{"architecture", "llama"},
                    {"n_layer", 1},
                    {"n_head", 2},
                    {"d_model", 16},
                    {"d_ff", 32},
                    {"vocab_size", 320},
                    {"activation", "silu"},
                    {"block", "sequential"},
                    {"causal", true},
                    {"head_dim", 8},
                    {"init_std", 0.02},
                    {"layer_norm_epsilon", 1e-6},
                    {"mlp_bias", false},
                    {"n_kv_head", 2},
                    {"qkv_bias", false},
                    {"sliding_window", 0},
                    {"tie_embeddings", false}};
    WriteRun(run);
    ASSERT_EQ(Exec(TrainArguments(output("plain"))), 0) << Stderr();
    run["train"]["extend"] = {{"method", method}, {"factor", 4}};
    WriteRun(run);
    ASSERT_EQ(Exec(TrainArguments(output("whole"))), 0) << Stderr();
    EXPECT_NE(Series(output("whole"), "loss").back(), Series(output("plain"), "loss").back());
    EXPECT_EQ(Exec(TrainArguments(output("first"), {"--checkpoint-every-ms", "0"}),
                   "trainer_mid_step:exit@11"),
              99);
    ASSERT_EQ(
        Exec(TrainArguments(output("second"), {"--resume", StepFolder(output("first"), "10")})), 0)
        << Stderr();
    for (const char* name : {"model.safetensors", "optimizer.safetensors", "config.json"}) {
      EXPECT_TRUE(Bytes(StepFolder(output("whole"), "20"), name) ==
                  Bytes(StepFolder(output("second"), "20"), name))
          << name;
    }
  }
}

Json DocumentsJson(bool poses) {
  Json run = poses ? PositionsJson("pose") : RunJson("rope");
  run["train"]["samples"] = "documents";
  run["train"]["order"] = "stream";
  return run;
}

TEST_F(TrainerTest, OnDocumentsKilledAndResumedItReachesTheSameBits) {
  for (const bool poses : {false, true}) {
    SCOPED_TRACE(poses);
    const auto output = [&](const char* name) { return Str(poses ? "pose-" : "plain-", name); };
    WriteRun(DocumentsJson(poses));
    ASSERT_EQ(Exec(OnDocuments(TrainArguments(output("whole")))), 0) << Stderr();
    EXPECT_EQ(Exec(OnDocuments(TrainArguments(output("first"), {"--checkpoint-every-ms", "0"})),
                   "trainer_mid_step:exit@11"),
              99);
    ASSERT_EQ(Exec(OnDocuments(TrainArguments(output("second"),
                                              {"--resume", StepFolder(output("first"), "10")}))),
              0)
        << Stderr();
    ExpectSameState(output("whole"), output("second"));
    EXPECT_LT(Series(output("whole"), "loss").back(), Series(output("whole"), "loss").front());

    // Tokens are counted without padding. Each document has its end of text.
    std::int64_t n_tokens = 0;
    std::vector<double> padding;
    for (std::size_t step = 0; step < 20; ++step) {
      std::int64_t n_of_step = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        n_of_step += std::min(16, kDocumentBytes.at((4 * step + i) % kDocumentBytes.size()) + 1);
      }
      padding.push_back(1.0 - static_cast<double>(n_of_step) / 64);
      n_tokens += n_of_step;
    }
    EXPECT_EQ(Series(output("whole"), "padding"), padding);
    const Json state = *ParseJson(Bytes(StepFolder(output("whole"), "20"), "state.json"));
    EXPECT_EQ(state.at("tokens"), n_tokens);
  }
}

// From the text itself, and from each document without padding. The micro-batches have different
// numbers of targets.
TEST_F(TrainerTest, OnDocumentsTheLossIsTheMeanOverAllTargetsWhateverTheMicroBatch) {
  WriteRun(DocumentsJson(false));
  ASSERT_EQ(Exec(OnDocuments(TrainArguments("whole"))), 0) << Stderr();
  const TaskFile task = *TaskFile::FromJson(*ParseJson(Bytes(At("whole"), "task.json")));
  const Dataset dataset = Dataset::Open(Data("documents")).value();
  const TokenSplit* const split = *dataset.Split("train");
  Transformer net =
      Transformer::Make({.model = task.run.model},
                        InitialParameters(*ParametersOf(task.run.model), 11),
                        AttentionBackend::kReference, OpenCompute("cpu", "fp64").value())
          .value();
  ClearGradients(net);
  double nll_sum = 0.0;
  std::int64_t n_targets = 0;
  for (std::size_t d = 0; d < 4; ++d) {
    const std::int64_t begin = split->document_starts()[d];
    const std::int64_t n = std::min<std::int64_t>(16, split->document_starts()[d + 1] - begin);
    EXPECT_EQ(n, std::min(16, kDocumentBytes.at(d) + 1));
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(n));
    ASSERT_TRUE(split->Read(begin, tokens).ok());
    const at::Tensor text = at::empty({1, n}, at::kLong);
    std::ranges::copy(tokens, text.data_ptr<std::int64_t>());
    nll_sum += AddGradients(net, text.narrow(1, 0, n - 1), text.narrow(1, 1, n - 1), 1.0)
                   .sum()
                   .item<double>();
    n_targets += n - 1;
  }
  EXPECT_EQ(n_targets, 5 + 15 + 1 + 15);
  EXPECT_NEAR(Series("whole", "loss").front() / (nll_sum / static_cast<double>(n_targets)), 1.0,
              1e-6);
  double square_sum = 0.0;
  for (const auto& [name, parameter] : net.parameters()) {
    square_sum += GradientOf(parameter).square().sum().item<double>();
  }
  EXPECT_NEAR(Series("whole", "grad_norm").front() /
                  (std::sqrt(square_sum) / static_cast<double>(n_targets)),
              1.0, 1e-5);

  for (const char* micro_batch : {"1", "3"}) {
    std::vector<std::string> parts = OnDocuments(TrainArguments(Str("parts-", micro_batch)));
    parts.back() = micro_batch;
    ASSERT_EQ(Exec(parts), 0) << Stderr();
    for (const char* series : {"loss", "grad_norm"}) {
      const double part = Series(Str("parts-", micro_batch), series).front();
      EXPECT_NEAR(part / Series("whole", series).front(), 1.0, 1e-6) << series;
    }
  }
}

TEST_F(TrainerTest, ATextWithoutDocumentBoundariesIsNotTakenAsASample) {
  WriteRun(DocumentsJson(false));
  EXPECT_EQ(Exec(TrainArguments("out")), 78);
  EXPECT_NE(Stderr().find("\"documents\" makes each document a sample, but the training split is a "
                          "single document"),
            std::string::npos)
      << Stderr();
}

// One sequence per pass, not four; each sequence keeps its own positions.
TEST_F(TrainerTest, AtPositionsOfAScheduleASmallerMicroBatchGivesTheSameStepButForRounding) {
  WriteRun(PositionsJson("pose"));
  std::vector<std::string> parts = TrainArguments("parts");
  parts.back() = "1";
  ASSERT_EQ(Exec(TrainArguments("whole")), 0) << Stderr();
  ASSERT_EQ(Exec(parts), 0) << Stderr();
  for (const char* series : {"loss", "grad_norm"}) {
    const double whole = Series("whole", series).front(), part = Series("parts", series).front();
    EXPECT_NEAR(part / whole, 1.0, 1e-6) << series;
  }
}

// The loss of the first step, from the text itself, the initial weights and the samples that
// tests/model/position_schedule/ compares with an independent program.
TEST_F(TrainerTest, TheFirstLossIsThatOfTheSchedulesSamples) {
  Json run = PositionsJson("pose");
  run["train"]["positions"]["chunks"] = 3;
  run["train"]["order"] = "random";
  WriteRun(run);
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();

  const TaskFile task = *TaskFile::FromJson(*ParseJson(Bytes(At("out"), "task.json")));
  const Dataset dataset = Dataset::Open(Data("dataset")).value();
  const TokenSplit* const split = *dataset.Split("train");
  std::vector<std::int32_t> text(static_cast<std::size_t>(split->n_tokens()));
  ASSERT_TRUE(split->Read(0, text).ok());
  const SampleOrder order = {
      .kind = OrderKind::kRandom, .seed = 11, .n_tokens = split->n_tokens(), .train_length = 16};
  const at::Tensor tokens = at::empty({4, 17}, at::kLong), ids = at::empty({4, 16}, at::kInt);
  auto* token = tokens.data_ptr<std::int64_t>();
  auto* position = ids.data_ptr<std::int32_t>();
  for (std::int64_t g = 0; g < 4; ++g) {
    const std::int64_t start = order.Start(g), left = split->n_tokens() - 1 - start;
    const NumberedSample sample =
        NumberSample(task.run.train.positions, 16, std::min<std::int64_t>(80, left), 11, g);
    for (const std::int64_t place : sample.place) {
      *token++ = text[static_cast<std::size_t>(start + place)];
    }
    position = std::ranges::copy(sample.position, position).out;
  }
  Transformer net =
      Transformer::Make({.model = task.run.model},
                        InitialParameters(*ParametersOf(task.run.model), 11),
                        AttentionBackend::kReference, OpenCompute("cpu", "fp64").value())
          .value();
  ClearGradients(net);
  const at::Tensor nll = AddGradients(
      net, {.ids_BT = tokens.narrow(1, 0, 16), .position_ids_BT = ids, .n_positions = 64},
      tokens.narrow(1, 1, 16), 1.0);
  EXPECT_NEAR(Series("out", "loss").front() / nll.mean().item<double>(), 1.0, 1e-6);
}

// Also at another length than that of the training. The two may read different numbers of windows
// at once, which changes fp32's rounding.
TEST_F(TrainerTest, AValidationLossIsWhatAnEvaluationOfThatCheckpointGivesAtItsLength) {
  for (const std::int64_t length : {0, 8, 64}) {
    SCOPED_TRACE(length);
    const auto output = [&](const char* name) { return Str(name, "-", length); };
    Json run = RunJson("rope");
    run["model"]["init_std"] = 0.3;  // so that what a token attends to matters from the beginning
    if (length > 0) run["train"]["validate"]["length"] = length;
    WriteRun(run);
    // It dies in step 11; step 10 was validated and saved.
    ASSERT_EQ(Exec(TrainArguments(output("run"), {"--checkpoint-every-ms", "0"}),
                   "trainer_mid_step:exit@11"),
              99);
    ASSERT_EQ(
        Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--checkpoint",
              StepFolder(output("run"), "10"), "--output", At(output("scores")), "--params",
              R"({"context_lengths":[8,16,64],"score_tokens":256})"}),
        0)
        << Stderr();

    std::map<std::int64_t, double> nll;
    const std::vector<JsonRecord> scores = Journal(output("scores"));
    for (const JsonRecord& record : scores) {
      if (record.kind != RecordKind::kResult) continue;
      nll[record.body["context_length"].get<std::int64_t>()] = record.body["value"].get<double>();
    }
    const std::vector<double> curve = Series(output("run"), "val_loss");
    ASSERT_EQ(curve.size(), 2u);  // after steps 5 and 10
    for (const auto& [at_length, value] : nll) {
      const double difference = std::abs(curve.back() / value - 1.0);
      if (at_length == (length == 0 ? 16 : length)) {
        EXPECT_LT(difference, 1e-6) << at_length;
      } else {
        EXPECT_GT(difference, 1e-3) << at_length;  // the lengths differ, or the test says nothing
      }
    }
    EXPECT_EQ(nll.size(), 3u);
  }
}

TEST_F(TrainerTest, AModelThatKnowsOnlyPlacesIsNotTrainedAtOtherPositions) {
  Json run = PositionsJson("pose");
  run["position"] = "alibi";
  WriteRun(run);
  EXPECT_EQ(Exec(TrainArguments("out")), 78);
  EXPECT_NE(Stderr().find("pose gives tokens positions of their own, but position method "
                          "\"alibi\" cannot use them"),
            std::string::npos)
      << Stderr();
}

TEST_F(TrainerTest, KilledWhileACheckpointIsWrittenItLeavesNoHalfOne) {
  WriteRun(RunJson("alibi"));
  EXPECT_EQ(
      Exec(TrainArguments("out", {"--checkpoint-every-ms", "0"}), "trainer_mid_checkpoint:exit@3"),
      99);
  EXPECT_TRUE(LoadCheckpoint(StepFolder("out", "02"), "").ok());
  EXPECT_FALSE(PathExists(StepFolder("out", "03")));
}

// A line of a thread's status in /proc: a set of signals.
std::uint64_t SignalsOf(const std::string& thread, const std::string& name) {
  const Result<std::string> status = ReadFile(JoinPath(thread, "status"));
  for (const std::string& line : Split(status.ok() ? *status : "", '\n')) {
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1), nullptr, 16);
  }
  ADD_FAILURE() << "no " << name << " in " << thread;
  return 0;
}

TEST_F(TrainerTest, ToldToStopItSavesItsStateAndYields) {
  WriteRun(RunJson("rope"));
  // It stands still in step 7 until it has been told.
  const std::vector<std::string> arguments = TrainArguments("out", {"--threads", "2"});
  const int pid = Spawn(Command(arguments, "trainer_mid_step:stop@7")).value();
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, WUNTRACED), pid);
  ASSERT_TRUE(WIFSTOPPED(status));
  // No thread may run a handler: one that multiplies may have the heap as its stack.
  const std::string threads = Str("/proc/", pid, "/task");
  constexpr std::uint64_t kStops = (1U << (SIGTERM - 1)) | (1U << (SIGINT - 1));
  const Result<std::vector<std::string>> names = ListFolder(threads);
  ASSERT_TRUE(names.ok()) << names.status().message();
  EXPECT_GT(names->size(), 1u);
  for (const std::string& thread : *names) {
    EXPECT_EQ(SignalsOf(JoinPath(threads, thread), "SigBlk") & kStops, kStops);
    EXPECT_EQ(SignalsOf(JoinPath(threads, thread), "SigCgt") & kStops, 0U);
  }
  kill(pid, SIGTERM);
  kill(pid, SIGCONT);
  EXPECT_EQ(WaitFor(pid, -1).value()->code, 75) << Stderr();
  const std::vector<JsonRecord> records = Journal("out");
  EXPECT_EQ(records.back().kind, RecordKind::kCheckpoint);
  EXPECT_EQ(records.back().body["step"], 6);
  EXPECT_EQ(records.back().body["final"], false);
  EXPECT_TRUE(LoadCheckpoint(StepFolder("out", "06"), "").ok());
}

TEST_F(TrainerTest, ASmallerMicroBatchGivesTheSameStepButForRounding) {
  WriteRun(RunJson("cable"));
  std::vector<std::string> parts = TrainArguments("parts");
  parts.back() = "1";
  ASSERT_EQ(Exec(TrainArguments("whole")), 0) << Stderr();
  ASSERT_EQ(Exec(parts), 0) << Stderr();
  // The first step starts from the same weights.
  const double whole = Series("whole", "loss").front(), part = Series("parts", "loss").front();
  EXPECT_NEAR(part / whole, 1.0, 1e-6);
  EXPECT_NEAR(Series("parts", "grad_norm").front() / Series("whole", "grad_norm").front(), 1.0,
              1e-6);
}

// An encoder of the same shape: 321 rows, the last of them the mask token's.
Json EncoderJson(const Json& position) {
  Json run = RunJson(position);
  run["model"]["causal"] = false;
  run["model"]["vocab_size"] = 321;
  run["train"]["objective"] = "masked_lm";
  run["train"]["mask"] = {{"probability", 0.15},
                          {"mask_replace_prob", 0.8},
                          {"random_replace_prob", 0.1},
                          {"token", 320}};
  return run;
}

const Json kSymmetric = {{"method", "alibi"}, {"variant", "symmetric"}};

TEST_F(TrainerTest, AnEncoderLearnsHiddenTokensAndIsScoredByThem) {
  WriteRun(EncoderJson(kSymmetric));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const std::vector<double> loss = Series("out", "loss"), val_loss = Series("out", "val_loss");
  EXPECT_NEAR(loss.front(), std::log(321.0), 0.15);  // nothing is known at first
  EXPECT_LT(loss.back(), loss.front() - 1.0);
  ASSERT_EQ(val_loss.size(), 4u);
  EXPECT_LT(val_loss.back(), val_loss.front());

  const auto evaluate = [&](const std::string& name, const std::string& params) {
    return Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--checkpoint",
                 StepFolder("out", "20"), "--output", At(name), "--evaluation", name, "--params",
                 params});
  };
  // Beyond the train length, too.
  ASSERT_EQ(evaluate("pseudo_perplexity", R"({"context_lengths":[16,64],"score_tokens":200})"), 0)
      << Stderr();
  EXPECT_NE(Bytes(folder_.path(), "stdout").find("pseudo_perplexity"), std::string::npos);
  int n_rows = 0;
  const std::vector<JsonRecord> scores = Journal("pseudo_perplexity");
  for (const JsonRecord& record : scores) {
    if (record.kind != RecordKind::kResult) continue;
    EXPECT_EQ(record.body["status"], "ok");
    EXPECT_EQ(record.body["n"], 200);
    EXPECT_LT(record.body["value"].get<double>(), loss.front() - 0.5);
    n_rows += 1;
  }
  EXPECT_EQ(n_rows, 2);
  // The tail of the text is no next token to it.
  EXPECT_EQ(evaluate("perplexity", R"({"context_lengths":[16]})"), 78);
  EXPECT_NE(Stderr().find("perplexity: needs model.causal: true"), std::string::npos) << Stderr();
}

// The number of a row is what asking for each token by itself gives:
// the door `forward`, once a token.
TEST_F(TrainerTest, PseudoPerplexityIsWhatALoopOverForwardGives) {
  WriteRun(EncoderJson({{"method", "cable"}, {"variant", "bidirectional"}}));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  ASSERT_EQ(
      Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--checkpoint",
            StepFolder("out", "20"), "--output", At("scores"), "--evaluation", "pseudo_perplexity",
            "--params", R"({"context_lengths":[24],"score_tokens":30})"}),
      0)
      << Stderr();
  Json row;
  const std::vector<JsonRecord> scores = Journal("scores");
  for (const JsonRecord& record : scores) {
    if (record.kind == RecordKind::kResult) row = record.body;
  }

  const Dataset dataset = Dataset::Open(Data("dataset")).value();
  const TokenSplit* const split = dataset.Split("validation").value();
  const std::int64_t n_tokens = split->n_tokens(), n = 30, length = 24;
  const at::Tensor fed = at::arange(n * length, at::kLong).view({n, length}).contiguous();
  std::vector<std::int64_t> position, target;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t t = (2 * i + 1) * n_tokens / (2 * n);
    const std::int64_t begin = std::min(t / length * length, n_tokens - length);
    std::vector<std::int32_t> window(static_cast<std::size_t>(length));
    ASSERT_TRUE(split->Read(begin, window).ok());
    position.push_back(t - begin);
    target.push_back(window[static_cast<std::size_t>(t - begin)]);
    window[static_cast<std::size_t>(t - begin)] = 320;
    std::copy(window.begin(), window.end(), fed.data_ptr<std::int64_t>() + i * length);
  }
  ASSERT_TRUE(WriteTensors(At("tokens.safetensors"), {{"tokens", fed}}).ok());
  ASSERT_EQ(
      Exec({"forward", "--model", StepFolder("out", "20"), "--tokens", At("tokens.safetensors"),
            "--output", At("logits.safetensors"), "--dtype", "fp64"}),
      0)
      << Stderr();
  const SafetensorsFile answer = SafetensorsFile::Open(At("logits.safetensors")).value();
  const at::Tensor logp = ToTensor(*answer.Find("logits")).log_softmax(2);
  double nll_sum = 0.0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    nll_sum -= logp[i][position[at]][target[at]].item<double>();
  }
  EXPECT_EQ(row.at("n"), n);
  EXPECT_NEAR(row.at("nll_sum").get<double>() / nll_sum, 1.0, 2e-6);
}

TEST_F(TrainerTest, AnEncoderKilledAndResumedReachesTheSameBits) {
  WriteRun(EncoderJson(kSymmetric));
  ASSERT_EQ(Exec(TrainArguments("whole")), 0) << Stderr();
  EXPECT_EQ(
      Exec(TrainArguments("first", {"--checkpoint-every-ms", "0"}), "trainer_mid_step:exit@11"),
      99);
  ASSERT_EQ(Exec(TrainArguments("second", {"--resume", StepFolder("first", "10")})), 0) << Stderr();
  ExpectSameState("whole", "second");
}

// A sequence hides 2.4 of 16 tokens in the mean, so micro-batches of one hide unequal numbers.
TEST_F(TrainerTest, AnEncodersSmallerMicroBatchGivesTheSameStepButForRounding) {
  WriteRun(EncoderJson(kSymmetric));
  std::vector<std::string> parts = TrainArguments("parts");
  parts.back() = "1";
  ASSERT_EQ(Exec(TrainArguments("whole")), 0) << Stderr();
  ASSERT_EQ(Exec(parts), 0) << Stderr();
  for (const char* series : {"loss", "grad_norm"}) {
    const double whole = Series("whole", series).front(), part = Series("parts", series).front();
    EXPECT_NEAR(part / whole, 1.0, 1e-6) << series;
  }
}

TEST_F(TrainerTest, AModelThatSeesTheNextTokenIsNotTrainedToPredictIt) {
  Json run = EncoderJson(kSymmetric);
  run["train"].erase("objective");
  run["train"].erase("mask");
  WriteRun(run);
  EXPECT_EQ(Exec(TrainArguments("out")), 78);
  EXPECT_NE(Stderr().find("train.objective: causal_lm needs model.causal: true"), std::string::npos)
      << Stderr();
}

TEST_F(TrainerTest, Bf16AutocastTrains) {
  Json run = RunJson("alibi");
  run["train"]["precision"] = "bf16";
  WriteRun(run);
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  EXPECT_LT(Series("out", "loss").back(), 5.0);
}

TEST_F(TrainerTest, ALossThatIsNoNumberEndsWithClassNumerical) {
  WriteRun(RunJson("alibi"));
  ASSERT_EQ(Exec(TrainArguments("out", {"--checkpoint-every-ms", "0"}), "trainer_mid_step:exit@3"),
            99);
  LoadedCheckpoint loaded = LoadCheckpoint(StepFolder("out", "02"), "").value();
  loaded.model.parameters.at("transformer.ln_f.bias")[0] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_TRUE(WriteCheckpoint(At("poisoned"), {.config = loaded.model.config,
                                               .parameters = loaded.model.parameters,
                                               .optimizer = loaded.optimizer,
                                               .state = loaded.state})
                  .ok());
  EXPECT_EQ(Exec(TrainArguments("next", {"--resume", At("poisoned")})), 80);
  const JsonRecord last = Journal("next").back();
  EXPECT_EQ(last.kind, RecordKind::kFailed);
  EXPECT_EQ(last.body["class"], "numerical");
  EXPECT_EQ(last.body["where"], "step 3");
}

TEST_F(TrainerTest, ALearnedTableIsNotApplicableBeyondItself) {
  WriteRun(RunJson("learned"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  ASSERT_EQ(Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--checkpoint",
                  StepFolder("out", "20"), "--output", At("scores"), "--lengths", "16,32"}),
            0)
      << Stderr();
  std::vector<std::string> status;
  const std::vector<JsonRecord> scores = Journal("scores");
  for (const JsonRecord& record : scores) {
    if (record.kind == RecordKind::kResult)
      status.push_back(record.body["status"].get<std::string>());
  }
  EXPECT_EQ(status, (std::vector<std::string>{"ok", "not_applicable"}));
}

TEST_F(TrainerTest, AnEvaluationTakesTheParametersOfASweep) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const auto rows = [&](const char* output, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"evaluate",  "--run",         At("run.json"),
                                          "--dataset", Data("dataset"), "--output",
                                          At(output),  "--checkpoint",  StepFolder("out", "20")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_EQ(Exec(arguments), 0) << Stderr();
    std::vector<Json> bodies;
    const std::vector<JsonRecord> records = Journal(output);
    for (const JsonRecord& record : records) {
      if (record.kind == RecordKind::kResult) bodies.push_back(record.body);
    }
    return bodies;
  };

  // The one document of the split is longer than the first length and shorter than the others,
  // whose windows are one and the same call.
  const std::vector<Json> sliding =
      rows("sliding", {"--lengths", "64,8000,9000", "--params",
                       R"({"protocol":"sliding_bos","stride":32,"score_tokens":1000})"});
  ASSERT_EQ(sliding.size(), 3u);
  for (const Json& row : sliding) EXPECT_EQ(row.at("n"), 1000);
  EXPECT_FALSE(sliding[1].at("extra").contains("shared"));
  EXPECT_EQ(sliding[2].at("extra").at("shared"), (Json{{"windows", 1}, {"of", 1}}));
  EXPECT_EQ(sliding[2].at("nll_sum"), sliding[1].at("nll_sum"));

  // As many tokens as a sweep with these parameters scores.
  const std::vector<Json> last =
      rows("last", {"--lengths", "16,64", "--params",
                    R"({"protocol":"last_k","k":8,"every":64,"score_tokens":96})"});
  ASSERT_EQ(last.size(), 2u);
  for (const Json& row : last) EXPECT_EQ(row.at("n"), 96);

  const std::vector<Json> throughput =
      rows("throughput", {"--evaluation", "throughput", "--lengths", "16", "--params",
                          R"({"warm_up":1,"iterations":2,"new_tokens":2})"});
  ASSERT_EQ(throughput.size(), 6u);
  for (const Json& row : throughput) {
    EXPECT_EQ(row.at("status"), "ok") << row.dump();
    EXPECT_GT(row.at("value").get<double>(), 0.0);
    EXPECT_EQ(row.at("extra").at("machine").at("kind"), "cpu");
    EXPECT_EQ(row.at("cell"), throughput[0].at("cell"));
  }

  const auto refused = [&](const char* params) {
    EXPECT_EQ(Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--output",
                    At("refused"), "--checkpoint", StepFolder("out", "20"), "--params", params}),
              78);
    return Stderr();
  };
  EXPECT_EQ(refused(R"({"context_lengths":[16],"stride":3})"),
            "longrun-trainer: perplexity.stride: belongs to protocol sliding_bos, but protocol is "
            "nonoverlap: remove it, or choose that protocol\n");
  EXPECT_EQ(refused(R"({"context_lengths":[16],"split":"test"})"),
            "longrun-trainer: perplexity.split: dataset \"dataset\" has no split test; it has "
            "train, validation (to make a dataset with split test, use `longrun data import --test "
            "FILE`, or the key split.test in a file for `longrun data prepare`)\n");
}

TEST_F(TrainerTest, AnEvaluationTakesOverWhatAnEarlierAttemptMeasured) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const auto evaluate = [&](const char* output, const char* failpoints) {
    return Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--checkpoint",
                 StepFolder("out", "20"), "--output", At(output), "--lengths", "16,32,64"},
                failpoints);
  };
  const auto rows = [&](const char* output) {
    std::vector<Json> bodies;
    for (const JsonRecord& record : Journal(output)) {
      if (record.kind == RecordKind::kResult) bodies.push_back(record.body);
    }
    return bodies;
  };
  ASSERT_EQ(evaluate("whole", ""), 0) << Stderr();
  ASSERT_EQ(evaluate("first", "trainer_mid_evaluation:exit@3"), 99) << Stderr();
  std::vector<EarlierResult> measured;
  std::vector<Json> artifacts;
  for (const JsonRecord& record : Journal("first")) {
    if (record.kind == RecordKind::kArtifact) artifacts.push_back(record.body);
    if (record.kind != RecordKind::kResult) continue;
    measured.push_back({.row = record.body, .artifacts = std::exchange(artifacts, {})});
  }
  ASSERT_EQ(measured.size(), 2u);
  ASSERT_FALSE(measured[1].artifacts.empty());
  // No measurement gives this value.
  measured[0].row["value"] = 123.0;
  const Json started = Journal("first").at(1).body;
  const std::string attempt = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  const auto again = [&](const char* output, const Json& with) {
    EXPECT_EQ(ExecChanged("first", output,
                          [&](Json& task) {
                            task["earlier"] = {EarlierResults{
                                .attempt = attempt, .measured_with = with, .results = measured}
                                                   .ToJson()};
                          }),
              0)
        << Stderr();
    return rows(output);
  };

  const std::vector<Json> second = again("second", MeasuredWith(started));
  ASSERT_EQ(second.size(), 3u);
  EXPECT_EQ(second[0].at("value"), 123.0);
  EXPECT_EQ(second[0].at("measured_by"), attempt);
  EXPECT_EQ(second[1].at("measured_by"), attempt);
  EXPECT_FALSE(second[2].contains("measured_by"));
  const std::vector<Json> whole = rows("whole");
  EXPECT_EQ(second[1].at("nll_sum"), whole[1].at("nll_sum"));
  EXPECT_EQ(second[2], whole[2]);

  // The records of the files stand before the rows that rest on them, as for those measured now.
  const auto names = [&](const char* output) {
    std::vector<Json> found;
    for (const JsonRecord& record : Journal(output)) {
      if (record.kind == RecordKind::kArtifact) found.push_back(record.body.at("name"));
      if (record.kind == RecordKind::kResult) found.push_back(record.body.at("cell"));
    }
    return found;
  };
  EXPECT_EQ(names("second"), names("whole"));

  // Of an attempt that computed otherwise, nothing is taken.
  Json other = MeasuredWith(started);
  other["commit"] = "another";
  EXPECT_EQ(again("other", other), whole);

  // A number that is a machine's own, such as a time, counts on that machine only.
  measured[0].row["extra"]["machine"] = {{"name", "another CPU"}};
  const std::vector<Json> elsewhere = again("elsewhere", MeasuredWith(started));
  ASSERT_EQ(elsewhere.size(), 3u);
  EXPECT_EQ(elsewhere[0].at("measured_by"), attempt);
  EXPECT_EQ(elsewhere[0].at("context_length"), 32);
  EXPECT_EQ(elsewhere[1], whole[0]);

  // A number that could not be measured then may be measured now. Who measured it stays known.
  measured[0].row["value"] = nullptr;
  measured[0].row["status"] = "out_of_memory";
  measured[1].row["measured_by"] = "01ARZ3NDEKTSV4RRFFQ69G5FAW";
  const std::vector<Json> third = again("third", MeasuredWith(started));
  ASSERT_EQ(third.size(), 3u);
  EXPECT_EQ(third[0].at("measured_by"), "01ARZ3NDEKTSV4RRFFQ69G5FAW");
  EXPECT_EQ(third[0].at("context_length"), 32);
  EXPECT_EQ(third[1], whole[0]);
  EXPECT_EQ(third[2], whole[2]);
}

TEST_F(TrainerTest, ACheckpointAndAnArtifactWaitForTheRoomOfTheirFolders) {
#ifdef LONGRUN_SANITIZED
  GTEST_SKIP() << "a sanitizer's library must be the first that is loaded";
#endif
  WriteRun(RunJson("none"));
  const auto meets_full_disk = [&](const std::vector<std::string>& arguments, const char* folder) {
    EXPECT_TRUE(RemoveAll(At("stderr")).ok());
    SpawnOptions command = Command(arguments, "");
    command.env.push_back(std::string("LD_PRELOAD=") + LONGRUN_NO_FOLDER_AT_FIRST);
    command.env.push_back(std::string("LONGRUN_TEST_NO_FOLDER=") + folder);
    EXPECT_EQ(WaitFor(Spawn(command).value(), -1).value()->code, 0) << Stderr();
    return Stderr().find(" disk_full ") != std::string::npos;
  };
  EXPECT_TRUE(meets_full_disk(TrainArguments("out"), "/checkpoints"));
  EXPECT_TRUE(meets_full_disk(TrainArguments("again"), ".tmp"));
  ExpectSameState("out", "again");
  EXPECT_TRUE(meets_full_disk(
      {"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--output",
       At("evaluated"), "--checkpoint", StepFolder("out", "20"), "--lengths", "16"},
      "/artifacts"));
}

TEST_F(TrainerTest, AnEvaluationInBf16IsNearTheOneInFp32) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  int n_outputs = 0;
  const auto records = [&](const char* evaluation, const Json& params) {
    const std::string output = Str("scores", n_outputs++);
    EXPECT_EQ(Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--output",
                    At(output), "--checkpoint", StepFolder("out", "20"), "--evaluation", evaluation,
                    "--params", params.dump()}),
              0)
        << Stderr();
    return Journal(output);
  };
  const auto rows_of = [](const std::vector<JsonRecord>& journal) {
    std::vector<Json> rows;
    for (const JsonRecord& record : journal) {
      if (record.kind == RecordKind::kResult) rows.push_back(record.body);
    }
    return rows;
  };

  Json params = {{"context_lengths", {16, 64, 256}}};
  for (const char* const protocol : {"nonoverlap", "sliding_bos"}) {
    params["protocol"] = protocol;
    params.erase("precision");
    const std::vector<Json> exact = rows_of(records("perplexity", params));
    ASSERT_EQ(exact.size(), 3u);
    // A rounded factor is wrong by at most 2^-9 in bf16, and by 2^-12 in fp16.
    for (const auto& [precision, error] :
         std::vector<std::pair<std::string, double>>{{"bf16", 0x1p-7}, {"fp16", 0x1p-10}}) {
      const bool is_bf16 = precision == "bf16";
      params["precision"] = precision;
      const std::vector<JsonRecord> journal = records("perplexity", params);
      const Json& paths = journal[1].body["execution"]["paths"];
      EXPECT_EQ(paths.value("bf16", ""), is_bf16 ? DetectCpuPaths().bf16 : "");
      const std::vector<Json> rounded = rows_of(journal);
      ASSERT_EQ(rounded.size(), 3u);
      for (std::size_t i = 0; i < exact.size(); ++i) {
        const auto nll = exact[i].at("value").get<double>();
        EXPECT_FALSE(exact[i].at("extra").contains("precision"));
        EXPECT_EQ(rounded[i].at("extra").at("precision"), precision);
        EXPECT_EQ(rounded[i].at("extra").value("bf16", ""), is_bf16 ? DetectCpuPaths().bf16 : "");
        EXPECT_NE(rounded[i].at("cell"), exact[i].at("cell"));
        EXPECT_NEAR(rounded[i].at("value").get<double>(), nll, error * nll);
        EXPECT_NE(rounded[i].at("value"), exact[i].at("value"));
      }
    }
  }
  // One that writes tokens.
  const std::vector<Json> passkey = rows_of(
      records("passkey", {{"context_lengths", {1024}}, {"trials", 1}, {"precision", "bf16"}}));
  ASSERT_FALSE(passkey.empty());
  for (const Json& row : passkey) {
    EXPECT_EQ(row.at("status"), "ok") << row.dump();
    EXPECT_EQ(row.at("extra").at("precision"), "bf16");
  }
}

TEST_F(TrainerTest, AMachineThatComputesOtherwiseRefusesTheTask) {
  WriteRun(RunJson("alibi"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  EXPECT_EQ(ExecWithPaths("out", "other", [](Json& paths) { paths["simd"] = "altivec"; }), 78);
  EXPECT_NE(Stderr().find("instruction set \"altivec\""), std::string::npos) << Stderr();
  EXPECT_EQ(Journal("other").back().body["class"], "invalid");

  // A journal is never written twice.
  EXPECT_EQ(Exec({"task", At("out/task.json")}), 78);
}

// The libraries of this program that are not the system's, among them LibTorch's CPU half.
std::string OwnLibraries() {
  std::string libraries;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* all) {
        const std::string_view name = info->dlpi_name;
        if (name.starts_with("/") && !name.starts_with("/lib") && !name.starts_with("/usr")) {
          static_cast<std::string*>(all)->append(name).append(":");
        }
        return 0;
      },
      &libraries);
  return libraries;
}

TEST_F(TrainerTest, TheLibraryThatAGpuLacksIsNamed) {
#ifdef LONGRUN_SANITIZED
  GTEST_SKIP() << "a sanitizer's library must be the first that is loaded";
#endif
  WriteRun(RunJson("none"));
  // A trainer that looks for libraries only in the folder of a package.
  std::string program = ReadFile(kTrainer).value();
  const std::string path = "$ORIGIN/../lib/longrun";
  const std::size_t rest = program.find(path + ":");
  ASSERT_NE(rest, std::string::npos);
  program[rest + path.size()] = '\0';
  ASSERT_TRUE(MakeFolders(At("bin")).ok() && MakeFolders(At("lib/longrun")).ok());
  ASSERT_TRUE(WriteFileAtomic(At("bin/longrun-trainer"), program).ok());
  ASSERT_EQ(chmod(At("bin/longrun-trainer").c_str(), 0700), 0);
  const auto message_of = [&](std::vector<std::string> arguments) {
    EXPECT_TRUE(RemoveAll(At("stderr")).ok());
    SpawnOptions command = Command(std::move(arguments), "");
    command.argv[0] = At("bin/longrun-trainer");
    command.env.push_back("LD_PRELOAD=" + OwnLibraries());
    EXPECT_EQ(WaitFor(Spawn(command).value(), -1).value()->code, 78);
    return Stderr();
  };
  const auto message = [&] { return message_of(TrainArguments("out", {"--device", "gpu"})); };
  const auto put = [&](const char* name, const char* library) {
    const std::string bytes = ReadFile(library).value();
    return WriteFileAtomic(JoinPath(At("lib/longrun"), name), bytes);
  };

  const std::string without = message();
  EXPECT_NE(without.find("CUDA libraries cannot be loaded: libtorch_cuda.so: cannot open"),
            std::string::npos)
      << without;
  ASSERT_TRUE(put("libtorch_cuda.so", LONGRUN_LACKING_CUDA).ok());
  const std::string lacking = message();
  EXPECT_NE(lacking.find("CUDA libraries cannot be loaded: liblongrun_absent.so: cannot open"),
            std::string::npos)
      << lacking;
  EXPECT_NE(lacking.find("install torch with its NVIDIA packages, or use the device \"cpu\""),
            std::string::npos);
  // The question that a worker asks has the same answer.
  EXPECT_NE(message_of({"gpu"}).find("CUDA libraries cannot be loaded: liblongrun_absent.so"),
            std::string::npos);

  // LibTorch's CUDA half is there, but finds no GPU: because there is no driver, or with one.
  ASSERT_TRUE(put("libtorch_cuda.so", LONGRUN_EMPTY_LIBRARY).ok());
  if (dlopen("libcuda.so.1", RTLD_LAZY) == nullptr) {
    const std::string driver = message();
    EXPECT_NE(driver.find("NVIDIA's driver cannot be loaded: libcuda.so.1: cannot open"),
              std::string::npos)
        << driver;
    EXPECT_NE(driver.find("install the driver"), std::string::npos) << driver;
  }
  ASSERT_TRUE(put("libcuda.so.1", LONGRUN_EMPTY_LIBRARY).ok());
  const std::string none = message();
  EXPECT_NE(none.find("LibTorch finds none, although NVIDIA's driver is there"), std::string::npos)
      << none;
  EXPECT_NE(none.find("nvidia-smi -L"), std::string::npos) << none;
}

TEST_F(TrainerTest, ARunInBf16RefusesAMachineThatMultipliesOtherwise) {
  Json run = RunJson("alibi");
  run["train"]["precision"] = "bf16";
  WriteRun(run);
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  EXPECT_EQ(Journal("out")[1].body["execution"]["paths"]["bf16"], DetectCpuPaths().bf16);
  EXPECT_EQ(ExecWithPaths("out", "other", [](Json& paths) { paths["bf16"] = "altivec"; }), 78);
  EXPECT_NE(Stderr().find("products in bf16 by \"altivec\""), std::string::npos) << Stderr();
}

TEST_F(TrainerTest, ATaskKeepsTheOperatorsThatItBeganWith) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("ours")), 0) << Stderr();
  ASSERT_EQ(Exec(TrainArguments("aten", {"--operators", "aten"})), 0) << Stderr();
  const auto operators = [&](const char* output) {
    return Journal(output)[1].body["execution"]["paths"]["operators"];
  };
  EXPECT_EQ(operators("ours"), "longrun");
  EXPECT_EQ(operators("aten"), "aten");
  const std::vector<double> ours = Series("ours", "loss"), aten = Series("aten", "loss");
  ASSERT_EQ(ours.size(), aten.size());
  for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], aten[i], 1e-4) << i;

  // A task from before there was a choice.
  ASSERT_EQ(ExecWithPaths("aten", "old", [](Json& paths) { paths.erase("operators"); }), 0)
      << Stderr();
  EXPECT_EQ(operators("old"), "aten");
  EXPECT_TRUE(Bytes(StepFolder("old", "20"), "model.safetensors") ==
              Bytes(StepFolder("aten", "20"), "model.safetensors"));

  // By hand a checkpoint goes on as its run began, unless it is told otherwise.
  ASSERT_EQ(Exec(TrainArguments("resumed", {"--resume", StepFolder("aten", "20")})), 0) << Stderr();
  EXPECT_EQ(operators("resumed"), "aten");
  ASSERT_EQ(Exec(TrainArguments("changed",
                                {"--resume", StepFolder("aten", "20"), "--operators", "longrun"})),
            0)
      << Stderr();
  EXPECT_EQ(operators("changed"), "longrun");
}

// As releases wrote it in which there was nothing to choose.
TEST_F(TrainerTest, ACheckpointWithoutPathsIsOfLibTorchsOperators) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const std::string checkpoint = StepFolder("out", "20");
  Json state = ParseJson(Bytes(checkpoint, "state.json")).value();
  ASSERT_EQ(state["paths"]["operators"], "longrun");
  ASSERT_EQ(state.erase("paths"), 1u);
  ASSERT_NO_FATAL_FAILURE(WriteState(checkpoint, state));

  ASSERT_EQ(Exec(TrainArguments("resumed", {"--resume", checkpoint})), 0) << Stderr();
  ASSERT_EQ(Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--output",
                  At("scored"), "--checkpoint", checkpoint, "--lengths", "16"}),
            0)
      << Stderr();

  for (const char* output : {"resumed", "scored"}) {
    const Json paths = Journal(output)[1].body["execution"]["paths"];
    EXPECT_EQ(paths["operators"], "aten") << output;
    EXPECT_EQ(paths["subnormals"], "kept") << output;
  }
}

TEST_F(TrainerTest, AResumptionByOtherProgramsIsInTheRecord) {
  WriteRun(RunJson("alibi"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const std::string checkpoint = StepFolder("out", "20");
  const auto warnings = [&](const char* output) {
    EXPECT_EQ(Exec(TrainArguments(output, {"--resume", checkpoint})), 0) << Stderr();
    std::vector<std::string> messages;
    for (const JsonRecord& record : Journal(output)) {
      if (record.kind == RecordKind::kWarning) messages.push_back(record.body.at("message"));
    }
    return messages;
  };
  EXPECT_EQ(warnings("same"), std::vector<std::string>());

  Json state = ParseJson(Bytes(checkpoint, "state.json")).value();
  const Json torch = std::exchange(state.at("programs").at("torch"), "0.9");
  ASSERT_NO_FATAL_FAILURE(WriteState(checkpoint, state));
  EXPECT_EQ(warnings("newer"),
            std::vector{Str("the checkpoint of step 20 was written by other programs (torch "
                            "\"0.9\", now ",
                            torch.dump(),
                            "): from there on, the training may have other bits than with the "
                            "programs that began it")});

  // As releases wrote it that did not record their programs.
  state.erase("programs");
  ASSERT_NO_FATAL_FAILURE(WriteState(checkpoint, state));
  const std::vector<std::string> unknown = warnings("unknown");
  ASSERT_EQ(unknown.size(), 1u);
  EXPECT_NE(unknown[0].find("commit \"unknown\", now "), std::string::npos) << unknown[0];
}

TEST_F(TrainerTest, ARunKeepsTheSubnormalNumbersThatItBeganWith) {
  // Gradients that are clipped to this are subnormal, and so are their moments: what biases, which
  // begin as zeros, become of them decides the bits.
  Json run = RunJson("alibi");
  run["train"]["optimizer"]["grad_clip"] = 1e-37;
  WriteRun(run);
  ASSERT_EQ(Exec(TrainArguments("new")), 0) << Stderr();
  ASSERT_EQ(Exec(TrainArguments("kept", {"--subnormals", "kept"})), 0) << Stderr();
  const auto subnormals = [&](const char* output) {
    return Journal(output)[1].body["execution"]["paths"]["subnormals"];
  };
  EXPECT_EQ(subnormals("new"), "flushed");
  EXPECT_EQ(subnormals("kept"), "kept");
  const auto weights = [&](const char* output) {
    return Bytes(StepFolder(output, "20"), "model.safetensors");
  };
  EXPECT_FALSE(weights("new") == weights("kept"));
  // What was not asked for is in the checkpoint all the same, for whoever goes on with it.
  EXPECT_EQ(ParseJson(Bytes(StepFolder("new", "20"), "state.json")).value()["paths"]["subnormals"],
            "flushed");

  // A task from before there was a choice.
  ASSERT_EQ(ExecWithPaths("new", "old", [](Json& paths) { paths.erase("subnormals"); }), 0)
      << Stderr();
  EXPECT_EQ(subnormals("old"), "kept");
  EXPECT_TRUE(weights("old") == weights("kept"));

  // By hand a checkpoint goes on as its run began, unless it is told otherwise.
  ASSERT_EQ(Exec(TrainArguments("resumed", {"--resume", StepFolder("kept", "20")})), 0) << Stderr();
  EXPECT_EQ(subnormals("resumed"), "kept");
  ASSERT_EQ(Exec(TrainArguments("flushed",
                                {"--resume", StepFolder("kept", "20"), "--subnormals", "flushed"})),
            0)
      << Stderr();
  EXPECT_EQ(subnormals("flushed"), "flushed");
}

// Bytes are too few for wide chunks to be larger, so a new run of theirs has none.
TEST_F(TrainerTest, ARunKeepsTheChunksOfLogitsThatItBeganWith) {
  WriteRun(RunJson("alibi"));
  ASSERT_EQ(Exec(TrainArguments("new")), 0) << Stderr();
  const auto head = [&](const char* output) {
    return Journal(output)[1].body["execution"]["paths"].value("head", "");
  };
  EXPECT_EQ(head("new"), "");
  ASSERT_EQ(ExecWithPaths("new", "wide", [](Json& paths) { paths["head"] = "width"; }), 0)
      << Stderr();
  EXPECT_EQ(head("wide"), "width");
  ASSERT_EQ(Exec(TrainArguments("resumed", {"--resume", StepFolder("wide", "20")})), 0) << Stderr();
  EXPECT_EQ(head("resumed"), "width");
  ASSERT_EQ(Exec(TrainArguments("narrow", {"--resume", StepFolder("new", "20")})), 0) << Stderr();
  EXPECT_EQ(head("narrow"), "");
}

// 16 rows of such a vocabulary have more than 2^23 logits.
TEST_F(TrainerTest, ANewRunOfALargeVocabularyHasWideChunksOfLogits) {
  Json run = RunJson("none");
  run["model"]["n_layer"] = 1;
  run["model"]["vocab_size"] = (1 << 19) + 64;
  run["train"]["tokens"] = 64;
  run["train"]["schedule"]["warmup_tokens"] = 0;
  run["train"]["validate"] = {{"every", 0}, {"tokens", 0}};
  WriteRun(run);
  ASSERT_EQ(Exec(TrainArguments("new")), 0) << Stderr();
  const auto head = [&](const char* output) {
    return Journal(output)[1].body["execution"]["paths"].value("head", "");
  };
  EXPECT_EQ(head("new"), "width");

  ASSERT_EQ(ExecWithPaths("new", "narrow", [](Json& paths) { paths.erase("head"); }), 0)
      << Stderr();
  EXPECT_EQ(head("narrow"), "");
  const auto weights = [&](const char* output) {
    return Bytes(StepFolder(output, "01"), "model.safetensors");
  };
  EXPECT_FALSE(weights("new") == weights("narrow")) << "the trainer cuts both runs' logits alike";
}

TEST_F(TrainerTest, ARunKeepsTheAttentionThatItBeganWith) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("auto")), 0) << Stderr();
  ASSERT_EQ(Exec(TrainArguments("reference", {"--attention", "reference"})), 0) << Stderr();
  const auto attention = [&](const char* output) {
    return Journal(output)[1].body["execution"]["paths"]["attention"];
  };
  EXPECT_EQ(attention("auto"), "fused");
  EXPECT_EQ(ParseJson(Bytes(At("auto"), "task.json")).value()["paths"]["attention"], "fused");
  EXPECT_EQ(attention("reference"), "reference");
  const std::vector<double> fused = Series("auto", "loss"), plain = Series("reference", "loss");
  ASSERT_EQ(fused.size(), plain.size());
  for (std::size_t i = 0; i < fused.size(); ++i) EXPECT_NEAR(fused[i], plain[i], 1e-4) << i;

  // Going on and scoring, each without a word about it.
  ASSERT_EQ(Exec(TrainArguments("on", {"--resume", StepFolder("reference", "15")})), 0) << Stderr();
  EXPECT_EQ(attention("on"), "reference");
  EXPECT_TRUE(Bytes(StepFolder("on", "20"), "model.safetensors") ==
              Bytes(StepFolder("reference", "20"), "model.safetensors"));
  for (const char* of : {"auto", "reference"}) {
    const std::string output = Str("scored_", of);
    ASSERT_EQ(Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--output",
                    At(output), "--checkpoint", StepFolder(of, "20"), "--lengths", "16"}),
              0)
        << Stderr();
    EXPECT_EQ(attention(output.c_str()), attention(of));
  }

  EXPECT_EQ(Exec(TrainArguments("magic", {"--attention", "magic"})), 78);
  EXPECT_NE(Stderr().find("auto, reference, torch or fused"), std::string::npos) << Stderr();
}

TEST_F(TrainerTest, ActivationCheckpointingGivesTheSameBytes) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("kept")), 0) << Stderr();
  ASSERT_EQ(Exec(TrainArguments("recomputed", {"--activation-checkpointing"})), 0) << Stderr();

  for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
    EXPECT_TRUE(Bytes(StepFolder("kept", "20"), name) ==
                Bytes(StepFolder("recomputed", "20"), name))
        << name;
  }
  EXPECT_EQ(Series("kept", "loss"), Series("recomputed", "loss"));
  EXPECT_EQ(Journal("kept")[1].body["activation_checkpointing"], false);
  EXPECT_EQ(Journal("recomputed")[1].body["activation_checkpointing"], true);
}

// Samples of 512 tokens, of which the first head's bias, 1/16 for each token, leaves half to read.
Json SkippingRunJson(double skip_epsilon) {
  Json run = RunJson("alibi");
  run["train"]["train_length"] = 512;
  run["train"]["batch_tokens"] = 512;
  run["train"]["tokens"] = 20 * 512;
  run["train"]["schedule"]["warmup_tokens"] = 1024;
  run["train"]["validate"] = {{"every", 5 * 512}, {"tokens", 1024}};
  if (skip_epsilon > 0.0) run["train"]["skip_epsilon"] = skip_epsilon;
  return run;
}

TEST_F(TrainerTest, SkippingKeysKilledAndResumedItReachesTheSameBits) {
  WriteRun(SkippingRunJson(0.0));
  ASSERT_EQ(Exec(TrainArguments("all")), 0) << Stderr();
  WriteRun(SkippingRunJson(1e-3));
  ASSERT_EQ(Exec(TrainArguments("whole")), 0) << Stderr();
  ASSERT_EQ(Exec(TrainArguments("recomputed", {"--activation-checkpointing"})), 0) << Stderr();
  EXPECT_EQ(
      Exec(TrainArguments("first", {"--checkpoint-every-ms", "0"}), "trainer_mid_step:exit@11"),
      99);
  ASSERT_EQ(Exec(TrainArguments("second", {"--resume", StepFolder("first", "10")})), 0) << Stderr();
  ExpectSameState("whole", "second");
  ExpectSameState("whole", "recomputed");

  // It is another run than the one that reads all keys, though its losses are near.
  const auto task = [&](const char* output) {
    return TaskFile::FromJson(*ParseJson(Bytes(At(output), "task.json"))).value();
  };
  EXPECT_EQ(task("whole").run.train.skip_epsilon, 1e-3);
  EXPECT_EQ(task("all").run.train.skip_epsilon, 0.0);
  EXPECT_NE(task("whole").run_key, task("all").run_key);
  const std::vector<double> skipping = Series("whole", "loss"), all = Series("all", "loss");
  ASSERT_EQ(skipping.size(), 20u);
  EXPECT_FALSE(Bytes(StepFolder("whole", "20"), "model.safetensors") ==
               Bytes(StepFolder("all", "20"), "model.safetensors"));
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_NEAR(skipping[i], all[i], 1e-3) << i;
  EXPECT_EQ(Exec(TrainArguments("mixed", {"--resume", StepFolder("all", "15")})), 65);
  EXPECT_NE(Stderr().find("was not made at step 15 of run"), std::string::npos) << Stderr();

  // Validation reads as evaluation does, whatever training skips.
  ASSERT_EQ(Exec({"evaluate", "--run", At("run.json"), "--dataset", Data("dataset"), "--checkpoint",
                  StepFolder("whole", "20"), "--output", At("scores"), "--params",
                  R"({"context_lengths":[512],"score_tokens":1024})"}),
            0)
      << Stderr();
  const std::vector<JsonRecord> scores = Journal("scores");
  const auto result = std::ranges::find(scores, RecordKind::kResult, &JsonRecord::kind);
  ASSERT_NE(result, scores.end());
  EXPECT_NEAR(Series("whole", "val_loss").back() / result->body["value"].get<double>(), 1.0, 1e-6);
}

TEST_F(TrainerTest, ARunThatCannotSkipKeysIsRefused) {
  Json run = SkippingRunJson(1e-3);
  run["position"] = "rope";
  WriteRun(run);
  EXPECT_EQ(Exec(TrainArguments("out")), 78);
  EXPECT_NE(Stderr().find("train.skip_epsilon: attention cannot skip keys with position method "
                          "\"rope\"; leave out skip_epsilon"),
            std::string::npos)
      << Stderr();
}

TEST_F(TrainerTest, ADamagedCheckpointOrDatasetEndsWithClassData) {
  WriteRun(RunJson("alibi"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const std::string model = JoinPath(StepFolder("out", "20"), "model.safetensors");
  std::string bytes = ReadFile(model).value();
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  ASSERT_TRUE(WriteFileAtomic(model, bytes).ok());
  EXPECT_EQ(Exec(TrainArguments("next", {"--resume", StepFolder("out", "20")})), 65);
  EXPECT_NE(Stderr().find("it is damaged"), std::string::npos) << Stderr();
  EXPECT_EQ(Exec({"data", "verify", At("nowhere")}), 65);
}

TEST_F(TrainerTest, TheDoorForwardGivesTheLogitsOfTheModelInAFolder) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const std::string model = StepFolder("out", "20");
  const at::Tensor tokens = (at::arange(2 * 24, at::kLong) * 7 % 300).view({2, 24}).contiguous();
  ASSERT_TRUE(WriteTensors(At("tokens.safetensors"), {{"tokens", tokens}}).ok());
  ModelFolder folder = LoadModelFolder(model).value();
  Transformer net =
      Transformer::Make(folder.config, folder.parameters, AttentionBackend::kReference,
                        OpenCompute("cpu", "fp64").value())
          .value();
  const at::NoGradGuard no_grad;
  const at::Tensor expected =
      HeadLogits(net.Hidden(tokens).flatten(0, 1), net.head(), net.compute()).view({2, 24, 320});

  const auto run = [&](const char* verb, const std::string& dtype) {
    return Exec({verb, "--model", model, "--tokens", At("tokens.safetensors"), "--output",
                 At("answer.safetensors"), "--dtype", dtype});
  };
  for (const auto& [dtype, tolerance] : std::vector<std::pair<std::string, double>>{
           {"fp64", 1e-12}, {"fp32", 1e-5}, {"bf16", 0.1}, {"fp16", 0.1 / 8}}) {
    ASSERT_EQ(run("forward", dtype), 0) << Stderr();
    const SafetensorsFile answer = SafetensorsFile::Open(At("answer.safetensors")).value();
    const at::Tensor logits = ToTensor(*answer.Find("logits"));
    EXPECT_EQ(logits.sizes(), at::IntArrayRef({2, 24, 320}));
    EXPECT_LT((logits.to(at::kDouble) - expected).abs().max().item<double>(), tolerance) << dtype;
  }
  ASSERT_EQ(run("grad", "fp64"), 0) << Stderr();
  const SafetensorsFile gradients = SafetensorsFile::Open(At("answer.safetensors")).value();
  EXPECT_EQ(gradients.tensors().size(), folder.parameters.size());
  EXPECT_NE(gradients.Find("transformer.h.1.attn.position.weight"), nullptr);

  folder.parameters.at("transformer.ln_f.bias").view({-1}).select(0, 1).fill_(std::nan(""));
  ASSERT_TRUE(MakeFolders(At("spoilt")).ok());
  ASSERT_TRUE(
      WriteFileAtomic(At("spoilt/config.json"), ReadFile(JoinPath(model, "config.json")).value())
          .ok());
  ASSERT_TRUE(WriteTensors(At("spoilt/model.safetensors"), folder.parameters).ok());
  EXPECT_EQ(Exec({"forward", "--model", At("spoilt"), "--tokens", At("tokens.safetensors"),
                  "--output", At("never")}),
            65);
  EXPECT_NE(Stderr().find("tensor \"transformer.ln_f.bias\" holds NaN or infinity"),
            std::string::npos)
      << Stderr();
  ASSERT_TRUE(WriteTensors(At("tokens.safetensors"), {{"tokens", tokens + 100}}).ok());
  EXPECT_EQ(run("forward", "fp32"), 78);
  EXPECT_NE(Stderr().find("tokens[1]["), std::string::npos) << Stderr();
  EXPECT_EQ(run("forward", "fp8"), 78);
  EXPECT_EQ(Exec({"forward"}), 64);
}

TEST_F(TrainerTest, WhatGenerateWritesHasTheLogitsOfForward) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const std::string model = StepFolder("out", "20");
  const at::Tensor tokens = (at::arange(3 * 24, at::kLong) * 7 % 300).view({3, 24}).contiguous();
  ASSERT_TRUE(WriteTensors(At("tokens.safetensors"), {{"tokens", tokens}}).ok());
  const auto read = [&](const std::string& name, const char* tensor) {
    return ToTensor(*SafetensorsFile::Open(At(name)).value().Find(tensor));
  };
  const auto generate = [&](const std::string& output, std::vector<std::string> more) {
    std::vector<std::string> arguments = {
        "generate",     "--model", model,      "--tokens", At("tokens.safetensors"),
        "--new-tokens", "8",       "--output", At(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Exec(arguments);
  };
  // bf16 keeps 8 bits of keys and values, and fp16 keeps 11, in another order of sums.
  for (const auto& [dtype, tolerance] : std::vector<std::pair<std::string, double>>{
           {"fp64", 1e-12}, {"fp32", 1e-5}, {"bf16", 0.05}, {"fp16", 0.05 / 8}}) {
    ASSERT_EQ(generate("written", {"--dtype", dtype}), 0) << Stderr();
    const at::Tensor written = read("written", "tokens");
    EXPECT_EQ(written.sizes(), at::IntArrayRef({3, 32}));
    EXPECT_TRUE(at::equal(written.narrow(1, 0, 24), tokens));
    const at::Tensor logits = read("written", "logits");
    EXPECT_EQ(logits.sizes(), at::IntArrayRef({3, 8, 320}));
    EXPECT_EQ(logits.scalar_type(), dtype == "fp64" ? at::kDouble : at::kFloat);
    EXPECT_TRUE(at::equal(at::argmax(logits, 2), written.narrow(1, 24, 8)));
    ASSERT_EQ(Exec({"forward", "--model", model, "--tokens", At("written"), "--output",
                    At("forward"), "--dtype", dtype}),
              0)
        << Stderr();
    const at::Tensor forward = read("forward", "logits").narrow(1, 23, 8);
    EXPECT_LE((forward - logits).abs().max().item<double>(), tolerance) << dtype;
  }

  // Drawn: by the seed alone, with a cache or without.
  const std::vector<std::string> drawn = {"--temperature", "1.5", "--top-k", "40",
                                          "--top-p",       "0.9", "--seed",  "3"};
  ASSERT_EQ(generate("drawn", drawn), 0) << Stderr();
  std::vector<std::string> slowly = drawn;
  slowly.push_back("--no-cache");
  ASSERT_EQ(generate("slowly", slowly), 0) << Stderr();
  EXPECT_TRUE(at::equal(read("drawn", "tokens"), read("slowly", "tokens")));
  std::vector<std::string> other = drawn;
  other.back() = "4";
  ASSERT_EQ(generate("other", other), 0) << Stderr();
  EXPECT_FALSE(at::equal(read("drawn", "tokens"), read("other", "tokens")));

  // Text in, text out: what was learned from SomeText is words of it.
  ASSERT_EQ(Exec({"generate", "--model", model, "--prompt", "the sea ", "--tokenizer",
                  Data("dataset"), "--new-tokens", "12", "--output", At("text")}),
            0)
      << Stderr();
  const at::Tensor text = read("text", "tokens");
  std::string said;
  for (std::int64_t i = 8; i < text.size(1); ++i) {
    said += static_cast<char>(text.select(0, 0).select(0, i).item<std::int64_t>());
  }
  EXPECT_EQ(ReadFile(At("stdout")).value(), said + "\n");
}

TEST_F(TrainerTest, TheDoorAttentionAveragesOverLayersHeadsAndTexts) {
  WriteRun(RunJson("cable"));
  ASSERT_EQ(Exec(TrainArguments("out")), 0) << Stderr();
  const at::Tensor tokens = (at::arange(2 * 24, at::kLong) * 7 % 300).view({2, 24}).contiguous();
  ASSERT_TRUE(WriteTensors(At("tokens.safetensors"), {{"tokens", tokens}}).ok());
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"attention",
                                          "--model",
                                          StepFolder("out", "20"),
                                          "--tokens",
                                          At("tokens.safetensors"),
                                          "--output",
                                          At("map.safetensors")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Exec(arguments);
  };
  const auto map_of = [&](const std::vector<std::string>& more) {
    EXPECT_EQ(run(more), 0) << Stderr();
    return ReadAttentionMap(At("map.safetensors")).value();
  };
  const AttentionMap whole = map_of({});
  EXPECT_EQ(whole.n_tokens, 24);
  EXPECT_EQ(whole.n_texts, 2);
  EXPECT_EQ(whole.labels.at("method"), "cable");
  EXPECT_EQ(whole.labels.at("model"), BaseName(StepFolder("out", "20")));
  std::vector<double> mean(whole.values.size());
  for (const std::int64_t layer : whole.layers) {
    for (const std::int64_t head : whole.heads) {
      const AttentionMap one = map_of({"--layers", Str(layer), "--heads", Str(head)});
      EXPECT_EQ(one.layers, std::vector<std::int64_t>{layer});
      for (std::size_t n = 0; n < mean.size(); ++n) mean[n] += one.values[n];
    }
  }
  const auto n_maps = static_cast<double>(whole.layers.size() * whole.heads.size());
  for (std::size_t n = 0; n < mean.size(); ++n)
    EXPECT_NEAR(whole.values[n], mean[n] / n_maps, 1e-6);
  const AttentionMap small = map_of({"--pool", "5", "--pool-by", "max", "--values", "logits"});
  EXPECT_EQ(small.block, 5);
  EXPECT_EQ(small.values.size(), 25u);
  EXPECT_EQ(small.values_of, AttentionMap::Values::kLogits);

  EXPECT_EQ(run({"--layers", "0,9"}), 78);
  EXPECT_NE(Stderr().find("there is no layer 9"), std::string::npos) << Stderr();
  EXPECT_EQ(run({"--heads", "1,,2"}), 78);
  EXPECT_NE(Stderr().find("--heads \"1,,2\": expected all, or different numbers"),
            std::string::npos)
      << Stderr();
  EXPECT_EQ(run({"--values", "scores"}), 64);
}

}  // namespace
}  // namespace longrun::trainer
