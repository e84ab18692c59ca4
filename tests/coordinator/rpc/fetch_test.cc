// What a sweep reads reaches a worker over the network by digest: datasets, the dataset that an
// evaluation names, its files, checkpoints. So does what an export on a laptop needs. Real
// processes, and the real trainer, which reads all of it.
#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "base/hash.h"
#include "base/json.h"
#include "longrun/v1/sweeps.grpc.pb.h"
#include "model/data/dataset_files.h"
#include "tests/coordinator/rpc/network.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {
namespace {

constexpr const char* kRealTrainer = LONGRUN_BIN_DIR "/longrun-trainer";

// Words, so that there is something to learn; the same for the same seed.
std::string Text(std::size_t n_bytes, unsigned seed) {
  const std::vector<std::string> words = {"the ", "sea ",  "was ", "calm ", "and ",
                                          "a ",   "ship ", "lay ", "far ",  "out.\n"};
  std::string text;
  for (unsigned i = seed; text.size() < n_bytes; i = i * 1664525 + 1013904223) {
    text += words[(i >> 16) % words.size()];
  }
  return text;
}

class NetworkFetchTest : public NetworkTest {
 protected:
  void Import(const std::string& in_state, const std::string& name, unsigned seed,
              std::size_t n_bytes = 20'000) {
    ASSERT_TRUE(WriteFileAtomic(At("train.txt"), Text(n_bytes, seed)).ok());
    ASSERT_TRUE(WriteFileAtomic(At("validation.txt"), Text(5'000, seed + 1)).ok());
    const Ran imported = Longrun({"--state", in_state, "data", "import", name, "--train",
                                  At("train.txt"), "--validation", At("validation.txt")});
    ASSERT_EQ(imported.code, 0) << imported.err;
  }
  // A sweep that reads the datasets tiny and other, and a file of questions.
  std::string WriteSweep() {
    EXPECT_TRUE(
        WriteFileAtomic(
            At("questions.jsonl"),
            R"({"context": "the sea was", "choices": ["calm and a ship", "x"], "answer": 0})"
            "\n")
            .ok());
    const std::string path = At("a.yaml");
    EXPECT_TRUE(WriteFileAtomic(path, R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 16}
  matrix: {position: [alibi], train_length: [32], dataset: [tiny], seed: [1]}
  train: {tokens: 2048, batch_tokens: 256, optimizer: {lr: 1.0e-3}, schedule: {warmup_tokens: 256}}
  evaluate:
    - perplexity: {context_lengths: [32, 64], split: validation, protocol: nonoverlap, score_tokens: 1024}
    - perplexity: {context_lengths: [64], split: train, protocol: nonoverlap, score_tokens: 1024, dataset: other}
    - multiple_choice: {file: questions.jsonl, context_lengths: [64], protocol: lm_eval}
)")
                    .ok());
    return path;
  }
  std::string Table(const std::string& in_state) {
    const Ran table =
        Longrun({"--state", in_state, "table", "a", "--metric", "perplexity,acc", "-o", "csv"});
    EXPECT_EQ(table.code, 0) << table.err;
    return table.out;
  }
  // As `longrun ls` says it.
  std::string StateOf(const std::string& sweep) {
    const Result<Json> json = ParseJson(Here({"ls", "-o", "json"}).out);
    if (!json.ok()) return "";
    for (const Json& one : *json) {
      if (one.at("name") == sweep) return one.at("state").get<std::string>();
    }
    return "";
  }
  void Submit(const std::string& path) {
    const Ran submitted = Here({"submit", path});
    ASSERT_EQ(submitted.code, 0) << submitted.err;
  }
  bool AwaitSuccess(const std::string& sweep) {
    return WaitUntil(kPatienceMs, [&] { return StateOf(sweep) == "SUCCEEDED"; });
  }
  std::string Logs() {
    return ReadFile(At("log")).value() + ReadFile(At("gpu-1.log")).value() + Here({"get", "a"}).out;
  }
  bool AwaitStopped(int pid) {
    return WaitUntil(kPatienceMs, [&] {
      const Result<std::string> stat = ReadFile(Str("/proc/", pid, "/stat"));
      return stat.ok() && stat->find(") T ") != std::string::npos;
    });
  }
};

TEST_F(NetworkFetchTest, TheTableOfAFarWorkerIsTheOneOfThisMachine) {
  trainer = kRealTrainer;
  const std::string sweep = WriteSweep();
  const std::string here = At("here");
  Import(here, "tiny", 1);
  Import(here, "other", 2);
  const Ran run = Longrun({"--state", here, "run", sweep});
  ASSERT_EQ(run.code, 0) << run.err;
  const std::string expected = Table(here);

  InitAndStart();
  Import(state, "tiny", 1);
  Import(state, "other", 2);
  JoinWorker("gpu-1");
  const Ran plan = Here({"plan", sweep});
  EXPECT_NE(plan.out.find("dataset tiny: up to "), std::string::npos) << plan.out;
  EXPECT_NE(plan.out.find("will be sent, to 1 worker that does not have it"), std::string::npos)
      << plan.out;
  Submit(sweep);
  ASSERT_TRUE(AwaitSuccess("a")) << Logs();

  EXPECT_EQ(Table(state), expected);
  // Nothing that the worker was told names a path of the coordinator's machine.
  const std::vector<std::string> attempts = ListFolder(At("gpu-1/attempts")).value();
  for (const std::string& attempt : attempts) {
    const std::string task =
        ReadFile(JoinPath(At("gpu-1/attempts"), JoinPath(attempt, "task.json"))).value();
    EXPECT_EQ(task.find(state + "/"), std::string::npos) << task;
  }
  // Each dataset came once.
  EXPECT_EQ(CountInLog("gpu-1.log", "fetched kind=dataset"), 2u) << Logs();
  EXPECT_EQ(CountInLog("gpu-1.log", "fetched kind=file"), 1u) << Logs();
  const Ran again = Here({"plan", sweep});
  EXPECT_EQ(again.out.find("will be sent"), std::string::npos) << again.out;
}

// From the laptop over the network to the coordinator, and from there to the worker.
TEST_F(NetworkFetchTest, AModelThatALaptopImportsIsMeasuredByAFarWorker) {
  trainer = kRealTrainer;
  const std::string here = At("here");
  Import(here, "tiny", 1);
  Import(here, "other", 2);
  ASSERT_EQ(Longrun({"--state", here, "run", WriteSweep()}).code, 0);
  const std::string run = std::string(Trim(
      Longrun({"--state", here, "query", "-o", "csv", "SELECT substr(run_key, 1, 12) FROM runs"})
          .out));
  const std::string id = run.substr(run.find('\n') + 1);
  const Ran exported = Longrun({"--state", here, "export", id, At("folder")});
  ASSERT_EQ(exported.code, 0) << exported.err;
  const std::string sweep = At("imported.yaml");
  ASSERT_TRUE(WriteFileAtomic(sweep, R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {init_from: mine}
  matrix: {dataset: [tiny]}
  train: none
  evaluate:
    - perplexity: {context_lengths: [32, 64], split: validation, protocol: nonoverlap, score_tokens: 1024}
)")
                  .ok());
  const std::string alone = At("alone");
  Import(alone, "tiny", 1);
  ASSERT_EQ(Longrun({"--state", alone, "import", "mine", At("folder")}).code, 0);
  const Ran ran = Longrun({"--state", alone, "run", sweep});
  ASSERT_EQ(ran.code, 0) << ran.err;

  InitAndStart();
  Import(state, "tiny", 1);
  JoinWorker("gpu-1");
  ASSERT_EQ(
      Longrun({"login", place.Text(), "--ca-fingerprint", fingerprint}, NewToken("submitter")).code,
      0);
  const Ran imported = Longrun({"import", "mine", At("folder")});
  ASSERT_EQ(imported.code, 0) << imported.err;
  ASSERT_TRUE(RemoveAll(At("folder")).ok());
  const Ran submitted = Longrun({"submit", sweep});
  ASSERT_EQ(submitted.code, 0) << submitted.err;
  ASSERT_TRUE(AwaitSuccess("a")) << Logs();
  const auto table = [&](const std::string& of) {
    return Longrun({"--state", of, "table", "a", "-o", "csv"}).out;
  };
  EXPECT_EQ(table(state), table(alone));
  EXPECT_NE(table(state).find("nonoverlap"), std::string::npos) << table(state);
}

TEST_F(NetworkFetchTest, AFetchGoesOnAfterBothEndsWereKilled) {
  InitAndStart({"--back-off-base-ms", "10"});
  Import(state, "tiny", 1, 5 << 20);
  Import(state, "other", 2);
  worker_env = {"LONGRUN_FAILPOINTS=worker_mid_download:stop@3"};
  JoinWorker("gpu-1");
  Submit(WriteSweep());
  ASSERT_TRUE(AwaitStopped(worker)) << Logs();
  Kill(coordinator);
  Kill(worker);
  Start({"--back-off-base-ms", "10"});
  worker_env.clear();
  worker = SpawnWorker("gpu-1", At("join-token"));

  ASSERT_TRUE(AwaitSuccess("a")) << Logs();

  EXPECT_EQ(CountInLog("gpu-1.log", "fetch_continues"), 1u) << Logs();
  const std::string log = ReadFile(At("gpu-1.log")).value();
  constexpr std::string_view kFrom = "from_bytes=";
  const std::size_t at = log.find(kFrom);
  ASSERT_NE(at, std::string::npos);
  EXPECT_GE(std::stoll(log.substr(at + kFrom.size())), 2 << 20);
}

TEST_F(NetworkFetchTest, AFlippedBitInASourceFileIsReportedAndNotUsed) {
  InitAndStart({"--back-off-base-ms", "10"});
  Import(state, "tiny", 1);
  Import(state, "other", 2);
  const std::string shard = JoinPath(state, "datasets/tiny/train-00000.lrtk");
  std::string bytes = ReadFile(shard).value();
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(shard, bytes).ok());
  JoinWorker("gpu-1");
  Submit(WriteSweep());
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return StateOf("a") == "FAILED"; })) << Logs();
  const Ran got = Here({"get", "a"});
  EXPECT_NE(got.out.find("fetching train-00000.lrtk of dataset"), std::string::npos) << got.out;
  EXPECT_NE(got.out.find("says what is damaged"), std::string::npos) << got.out;
  EXPECT_TRUE(ListFolder(At("gpu-1/cache/datasets"))->empty());
}

TEST_F(NetworkFetchTest, ACacheThatIsTooSmallIsToldAndTheSweepWaits) {
  InitAndStart();
  Import(state, "tiny", 1);
  Import(state, "other", 2);
  more_arguments = {"--cache-bytes", "1Ki"};
  JoinWorker("gpu-1");
  Submit(WriteSweep());
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return Here({"get", "a"}).out.find("start the worker with larger --cache-bytes") !=
           std::string::npos;
  })) << Here({"get", "a"}).out;
  EXPECT_EQ(StateOf("a"), "PENDING");
}

// Exports on the coordinator's machine, and on a laptop that may only read.
class ExportTest : public NetworkFetchTest {
 protected:
  // A trained run on the dataset tiny, whose tokens are bytes, and one on words, whose tokenizer
  // was trained and has a file of its own.
  void TrainRuns() {
    trainer = kRealTrainer;
    InitAndStart();
    Import(state, "tiny", 1);
    const Ran tokenizer = Here(
        {"data", "train-tokenizer", At("small.tiktoken"), "--vocab-size", "280", At("train.txt")});
    ASSERT_EQ(tokenizer.code, 0) << tokenizer.err;
    const Ran words = Here({"data", "import", "words", "--train", At("train.txt"), "--validation",
                            At("validation.txt"), "--tokenizer", At("small.tiktoken")});
    ASSERT_EQ(words.code, 0) << words.err;
    ASSERT_TRUE(WriteFileAtomic(At("a.yaml"), R"(apiVersion: longrun/v1
kind: Sweep
metadata: {name: a}
spec:
  model: {architecture: gpt2, n_layer: 1, n_head: 2, d_model: 16}
  matrix: {position: [alibi], train_length: [32], dataset: [tiny, words], seed: [1]}
  train: {tokens: 512, batch_tokens: 256, optimizer: {lr: 1.0e-3}}
)")
                    .ok());
    JoinWorker("gpu-1");
    Submit(At("a.yaml"));
    ASSERT_TRUE(AwaitSuccess("a")) << Logs();
    token = NewToken("viewer");
    const Ran ran = Longrun({"login", place.Text(), "--ca-fingerprint", fingerprint}, token);
    ASSERT_EQ(ran.code, 0) << ran.err;
  }
  std::string RunOn(const std::string& dataset) {
    const Ran ran = Here(
        {"query", "-o", "csv", Str("SELECT run_key FROM runs WHERE dataset = '", dataset, "'")});
    return std::string(Trim(ran.out.substr(ran.out.find('\n') + 1)));
  }
  // By name, the bytes of a folder's files.
  static std::map<std::string, std::string> FilesIn(const std::string& path) {
    std::map<std::string, std::string> files;
    const Result<std::vector<std::string>> names = ListFolder(path);
    if (!names.ok()) return files;
    for (const std::string& name : *names) files[name] = ReadFile(JoinPath(path, name)).value();
    return files;
  }
  std::string TokenizerOf(const std::string& dataset) const {
    return JoinPath(state, Str("datasets/", dataset, "/tokenizer.json"));
  }

  std::string token;
};

TEST_F(ExportTest, OnALaptopIsTheFolderOfTheCoordinatorsMachine) {
  ASSERT_NO_FATAL_FAILURE(TrainRuns());
  for (const std::string dataset : {"tiny", "words"}) {
    const std::string run = RunOn(dataset);
    const std::string here = At("here-" + dataset), there = At("laptop-" + dataset);
    ASSERT_EQ(Here({"export", run, here}).code, 0);
    const Ran exported = Longrun({"export", run, there});
    ASSERT_EQ(exported.code, 0) << exported.err;
    EXPECT_EQ(exported.err.find("without a tokenizer"), std::string::npos) << exported.err;
    const auto files = FilesIn(there);
    EXPECT_TRUE(files.contains("tokenizer.json"));
    EXPECT_TRUE(files.contains("tokenizer_config.json"));
    EXPECT_EQ(files, FilesIn(here));

    // Paths of the coordinator's machine mean nothing elsewhere.
    grpc::ClientContext context;
    context.set_deadline(After(kPatienceMs));
    context.AddMetadata("authorization", "Bearer " + token);
    v1::FindCheckpointRequest request;
    request.set_target(run);
    request.set_which("last");
    v1::FindCheckpointResponse found;
    const auto stub = v1::SweepService::NewStub(Channel());
    ASSERT_TRUE(stub->FindCheckpoint(&context, request, &found).ok());
    EXPECT_EQ(found.dataset(), dataset);
    EXPECT_EQ(found.SerializeAsString().find(folder.path()), std::string::npos);
  }
}

TEST_F(ExportTest, OnALaptopSaysWhyThereIsNoTokenizer) {
  ASSERT_NO_FATAL_FAILURE(TrainRuns());
  int n = 0;
  const auto expect = [&](const std::string& dataset, const std::string& why) {
    const std::string out = At(Str("out-", ++n));
    const Ran exported = Longrun({"export", RunOn(dataset), out});
    EXPECT_EQ(exported.code, 0) << exported.err;
    EXPECT_NE(exported.err.find("exported without a tokenizer: "), std::string::npos)
        << exported.err;
    EXPECT_NE(exported.err.find(why), std::string::npos) << exported.err;
    EXPECT_EQ(exported.err.find(state), std::string::npos) << exported.err;
    EXPECT_FALSE(PathExists(JoinPath(out, "tokenizer.json")));
    EXPECT_TRUE(PathExists(JoinPath(out, "model.safetensors")));
  };
  // The coordinator has listed the files of this dataset, since it has sent them to the worker.
  std::string bytes = ReadFile(TokenizerOf("tiny")).value();
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(TokenizerOf("tiny"), bytes).ok());
  expect("tiny", "on the coordinator's machine, `longrun data verify tiny` says what is damaged");
  ASSERT_TRUE(RemoveAll(TokenizerOf("tiny")).ok());
  expect("tiny", "on the coordinator's machine, `longrun data verify tiny` says what is damaged");
  // It lists them for the first time.
  Kill(coordinator);
  Start();
  expect("tiny", "on the coordinator's machine, `longrun data verify tiny` says what is damaged");
  ASSERT_EQ(Here({"data", "rm", "words"}).code, 0);
  expect("words", "dataset \"words\" is not registered any more");
}

// The coordinator and the worker see one folder, each under a path of its own, and share no other.
class SharedFolderTest : public NetworkFetchTest {
 protected:
  SharedFolderTest() {
    EXPECT_TRUE(MakeFolders(shared).ok());
    EXPECT_EQ(symlink(shared.c_str(), At("mounted").c_str()), 0);
  }
  // The coordinator's part of the folder.
  std::string Own() const { return JoinPath(shared, ListFolder(shared).value().at(0)); }
  std::string ObjectOf(const ArtifactFile& file) const {
    return JoinPath(JoinPath(Own(), file.sha256.substr(0, 2)), file.sha256);
  }
  void StartSharing() {
    InitAndStart({"--shared-artifacts", shared, "--back-off-base-ms", "10"});
    Import(state, "tiny", 1);
    Import(state, "other", 2);
  }
  bool AwaitNotice(const std::string& text) {
    return WaitUntil(kPatienceMs, [&] {
      const Ran ran = Here({"workers"});
      return (ran.out + ran.err).find(text) != std::string::npos;
    });
  }

  const std::string shared = At("shared");
};

TEST_F(SharedFolderTest, TheTableIsTheOneOfThisMachineAndNothingPassesTheNetwork) {
  trainer = kRealTrainer;
  const std::string sweep = WriteSweep();
  const std::string here = At("here");
  Import(here, "tiny", 1);
  Import(here, "other", 2);
  ASSERT_EQ(Longrun({"--state", here, "run", sweep}).code, 0);
  const std::string expected = Table(here);

  StartSharing();
  more_arguments = {"--shared-artifacts", At("mounted")};
  JoinWorker("gpu-1");
  Submit(sweep);
  ASSERT_TRUE(AwaitSuccess("a")) << Logs();

  EXPECT_EQ(Table(state), expected);
  EXPECT_EQ(CountInLog("gpu-1.log", "not_put_into_shared_folder"), 0u) << Logs();
  EXPECT_EQ(CountInLog("gpu-1.log", "shared_folder_not_used"), 0u) << Logs();
  EXPECT_EQ(CountInLog("gpu-1.log", "from=coordinator"), 0u) << Logs();
  EXPECT_EQ(CountInLog("gpu-1.log", "fetched kind=dataset"), 2u) << Logs();
  EXPECT_TRUE(AwaitNotice("shared"));
  const std::string audit = Here({"admin", "audit"}).out;
  EXPECT_NE(audit.find("JoinWorker"), std::string::npos) << audit;
  EXPECT_EQ(audit.find("AdoptArtifacts"), std::string::npos) << audit;
  // The worker's copy is a link, under the path that the worker knows.
  const DatasetListing tiny = ListDataset(JoinPath(state, "datasets/tiny")).value();
  const std::string cached =
      JoinPath(At("gpu-1/cache/datasets"), JoinPath(tiny.digest, tiny.files[0].name));
  char to[4096] = {};
  ASSERT_GT(readlink(cached.c_str(), to, sizeof to - 1), 0);
  EXPECT_TRUE(std::string(to).starts_with(At("mounted/"))) << to;

  // What a registered dataset needs stays, and a backup has the checkpoints.
  const Ran collected = Here({"gc", "--dry-run"});
  EXPECT_EQ(collected.code, 0) << collected.err;
  EXPECT_EQ(collected.out.find(tiny.files[0].sha256), std::string::npos) << collected.out;
  const Ran backup = Here({"admin", "backup", At("backup.tar")});
  EXPECT_EQ(backup.code, 0) << backup.err;
  const Ran deep = Here({"doctor", "--deep"});
  EXPECT_EQ(deep.out.find("missing"), std::string::npos) << deep.out;
  // The next start needs no option.
  Kill(coordinator);
  Start();
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return CountInLog("gpu-1.log", "folder_shared") == 2; }))
      << Logs();
}

TEST_F(SharedFolderTest, AnOldCopyOfTheFolderIsToldAndNotUsed) {
  StartSharing();
  Kill(coordinator);
  std::error_code error;
  std::filesystem::copy(shared, At("copy"), std::filesystem::copy_options::recursive, error);
  ASSERT_FALSE(error) << error.message();
  Start();
  more_arguments = {"--shared-artifacts", At("copy")};
  JoinWorker("gpu-1");
  EXPECT_TRUE(AwaitNotice("worker gpu-1 does not use the shared folder of artifacts"));
  EXPECT_TRUE(AwaitNotice("or an old copy of it"));
  Submit(WriteSweep());
  ASSERT_TRUE(AwaitSuccess("a")) << Logs();
  EXPECT_EQ(CountInLog("gpu-1.log", "from=shared_folder"), 0u) << Logs();
}

TEST_F(SharedFolderTest, AFolderWithoutTheCoordinatorsPartIsTold) {
  StartSharing();
  ASSERT_TRUE(MakeFolders(At("empty")).ok());
  more_arguments = {"--shared-artifacts", At("empty")};
  JoinWorker("gpu-1");
  EXPECT_TRUE(AwaitNotice("mount the same file system there"));
}

TEST_F(SharedFolderTest, OtherBytesUnderADigestAreToldAndNotUsed) {
  StartSharing();
  const DatasetListing tiny = ListDataset(JoinPath(state, "datasets/tiny")).value();
  const std::string lies = ObjectOf(tiny.files[0]);
  ASSERT_TRUE(MakeFolders(FolderOf(lies)).ok());
  ASSERT_TRUE(
      WriteFileAtomic(lies, std::string(static_cast<std::size_t>(tiny.files[0].n_bytes), 'x'))
          .ok());
  more_arguments = {"--shared-artifacts", At("mounted")};
  JoinWorker("gpu-1");
  Submit(WriteSweep());
  ASSERT_TRUE(AwaitSuccess("a")) << Logs();
  EXPECT_EQ(CountInLog("gpu-1.log", "shared_folder_not_used"), 1u) << Logs();
  EXPECT_EQ(CountInLog("gpu-1.log", "from=coordinator"), 1u) << Logs();
  const std::string cached = JoinPath(At("gpu-1/cache/datasets"), tiny.digest);
  EXPECT_EQ(Sha256OfFile(JoinPath(cached, tiny.files[0].name)).value(), tiny.files[0].sha256);
}

TEST_F(SharedFolderTest, AStoreThatHasArtifactsIsNotMovedByItself) {
  InitPki();
  admin = NewToken("admin");
  const std::string own = JoinPath(state, "artifacts/ab/" + std::string(64, 'a'));
  ASSERT_TRUE(MakeFolders(FolderOf(own)).ok());
  ASSERT_TRUE(WriteFileAtomic(own, "bytes").ok());
  std::string said;
  EXPECT_EQ(RefusedWith({"--shared-artifacts", shared}, &said), 78);
  EXPECT_NE(said.find("copy them with"), std::string::npos) << said;
  EXPECT_TRUE(PathExists(own));
  EXPECT_EQ(RefusedWith({"--shared-artifacts", At("not there")}, &said), 78);
  EXPECT_NE(said.find("is not a folder: create it"), std::string::npos) << said;
}

}  // namespace
}  // namespace longrun::coordinator
