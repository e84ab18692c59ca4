// What a laptop sends to a coordinator on another machine: datasets, and the files that a sweep
// names. The laptop shares no folder with the coordinator; connections break, and callers lie.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <system_error>

#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "base/units.h"
#include "longrun/v1/artifacts.grpc.pb.h"
#include "longrun/v1/sweeps.grpc.pb.h"
#include "model/data/dataset.h"
#include "model/data/dataset_files.h"
#include "model/hugging_face/manifest.h"
#include "sweeps/protocol.h"
#include "tests/commit_seed.h"
#include "tests/coordinator/rpc/network.h"
#include "tests/wait_until.h"

namespace longrun::coordinator {
namespace {

constexpr std::int64_t kFrameBytes = 1 << 20;

constexpr const char* kQuestionsOfSweep =
    R"(    - multiple_choice: {file: questions.jsonl, context_lengths: [128], protocol: lm_eval}
)";
const std::string kSweep = Str(kTinySweep, kQuestionsOfSweep);
constexpr const char* kQuestions =
    R"({"context": "two and two?", "choices": ["four", "a small green boat"], "answer": 0})"
    "\n";

class LaptopTest : public NetworkTest {
 protected:
  std::string OnLaptop(const std::string& name) const { return JoinPath(laptop, name); }
  std::string InState(const std::string& name) const { return JoinPath(state, name); }

  // Logs the laptop in, with a context of that name, and returns the token.
  std::string LoginAs(const std::string& context, const std::string& role) {
    const std::string token = NewToken(role);
    const Ran ran =
        Longrun({"login", place.Text(), "--name", context, "--ca-fingerprint", fingerprint}, token);
    EXPECT_EQ(ran.code, 0) << ran.err;
    return token;
  }
  std::string Login(const std::string& role) { return LoginAs(role, role); }
  static std::string IdOf(const std::string& token) { return token.substr(3, 16); }

  void WriteTexts(std::int64_t n_bytes = 20'000) {
    std::string text;
    for (std::int64_t i = 0; std::ssize(text) < n_bytes; ++i) text += Str("line ", i, "\n");
    ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.txt"), text).ok());
    ASSERT_TRUE(WriteFileAtomic(OnLaptop("b.txt"), std::string(5'000, 'b')).ok());
  }
  // Makes a dataset of several shards from the texts of WriteTexts().
  void MakeDataset(const std::string& in) const {
    const Status made =
        ImportText({.splits = {{"train", {OnLaptop("a.txt")}}, {"validation", {OnLaptop("b.txt")}}},
                    .shard_tokens = 4'096},
                   in);
    ASSERT_TRUE(made.ok()) << made.message();
  }
  std::vector<std::string> ImportOf(const std::string& name) const {
    return {"data", "import", name, "--train", "a.txt", "--validation", "b.txt"};
  }

  // Where a dataset is made before it is sent.
  std::string InCache(const std::string& context, const std::string& name) const {
    return OnLaptop(Str(".cache/longrun/contexts/", context, "/datasets/", name));
  }

  // Empty if there is no such folder.
  static std::vector<std::string> NamesIn(const std::string& path) {
    const Result<std::vector<std::string>> names = ListFolder(path);
    return names.ok() ? *names : std::vector<std::string>();
  }
  // A file of zeros that takes no room on the disk. Returns its path.
  std::string MakeSparseFile(const std::string& name, std::int64_t n_bytes) const {
    const std::string path = InState(name);
    EXPECT_TRUE(MakeFolders(FolderOf(path)).ok());
    EXPECT_TRUE(WriteFileAtomic(path, "").ok());
    EXPECT_EQ(truncate(path.c_str(), n_bytes), 0);
    return path;
  }
  // In place: all names of the file have other bytes then.
  static void FlipBit(const std::string& path, std::int64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 4));
    ASSERT_TRUE(file.good()) << path;
  }
  // Whether the coordinator has opened the file.
  bool IsOpen(const std::string& path) const {
    const std::string open = Str("/proc/", coordinator, "/fd");
    return std::ranges::any_of(NamesIn(open), [&](const std::string& fd) {
      std::error_code error;
      return std::filesystem::read_symlink(JoinPath(open, fd), error) == path;
    });
  }
  // The bytes that the coordinator keeps of broken uploads.
  std::int64_t KeptBytes(const std::string& token) const {
    const std::string kept = InState(Str("artifacts/unfinished/token-", IdOf(token)));
    std::int64_t n_bytes = 0;
    for (const std::string& name : NamesIn(kept)) {
      const Result<std::int64_t> of_file = FileBytes(JoinPath(kept, name));
      n_bytes += of_file.ok() ? *of_file : 0;
    }
    return n_bytes;
  }
  // The audit log's entries, as "METHOD OUTCOME SUBJECT"; `of`: only those of this principal.
  std::vector<std::string> Audit(const std::string& of = "") {
    const Ran ran = Here({"admin", "audit", "--since", "1h", "-o", "json"});
    std::vector<std::string> lines;
    const Result<Json> entries = ParseJson(ran.out);
    if (!entries.ok()) return lines;
    for (const Json& entry : *entries) {
      if (!of.empty() && entry["principal"] != of) continue;
      lines.push_back(Str(entry["method"].get<std::string>(), " ",
                          entry["outcome"].get<std::string>(), " ",
                          entry["subject"].get<std::string>()));
    }
    return lines;
  }
  bool IsAudited(const std::string& begin, const std::string& of = "") {
    const std::vector<std::string> lines = Audit(of);
    return std::ranges::any_of(lines, [&](const std::string& l) { return l.starts_with(begin); });
  }

  // Nothing of a dataset `name`, and no unfinished upload.
  void ExpectNothingOf(const std::string& name, const std::string& token) {
    EXPECT_EQ(KeptBytes(token), 0);
    for (const std::string& one : NamesIn(InState("datasets"))) {
      EXPECT_EQ(one.find(name), std::string::npos) << one;
    }
    EXPECT_EQ(Here({"data", "ls", "-o", "json"}).out.find(Str("\"", name, "\"")),
              std::string::npos);
  }

  int SpawnLocalWorker() {
    SpawnOptions options;
    options.argv = {kWorker,
                    "--state",
                    InState("worker"),
                    "--coordinator",
                    Str("unix:", InState("coordinator.sock")),
                    "--trainer",
                    kTrainer,
                    "--cpu-slots",
                    "1",
                    "--disk-free-bytes-min",
                    "0"};
    options.env = {"PATH=/usr/bin:/bin"};
    options.stdout_path = options.stderr_path = At("worker.log");
    options.die_with_parent = true;
    return Spawn(options).value();
  }

  std::unique_ptr<grpc::ClientContext> ContextOf(const std::string& token) const {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(After(kPatienceMs));
    context->AddMetadata("authorization", "Bearer " + token);
    return context;
  }
  // Sends frames as they are, whatever they say.
  grpc::Status Upload(const std::string& token,
                      const std::vector<v1::UploadArtifactRequest>& frames,
                      v1::UploadArtifactResponse* response = nullptr) const {
    const auto stub = v1::ArtifactService::NewStub(Channel());
    const auto context = ContextOf(token);
    v1::UploadArtifactResponse own;
    const auto writer = stub->UploadArtifact(context.get(), response == nullptr ? &own : response);
    for (const v1::UploadArtifactRequest& frame : frames) {
      if (!writer->Write(frame)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
  static v1::UploadArtifactRequest First(const std::string& sha256, std::int64_t n_bytes,
                                         const std::string& data, std::int64_t offset = 0) {
    v1::UploadArtifactRequest frame;
    frame.set_sha256(sha256);
    frame.set_total_bytes(n_bytes);
    frame.set_offset(offset);
    frame.set_data(data);
    return frame;
  }
  static v1::UploadArtifactRequest Next(const std::string& data) {
    v1::UploadArtifactRequest frame;
    frame.set_data(data);
    return frame;
  }
  static std::string RandomBytes(std::size_t n_bytes) {
    SeededRandom random(testing::CommitSeed());
    std::string bytes;
    while (bytes.size() < n_bytes) {
      bytes.append(random.Below(1'000), static_cast<char>(random.Next()));
    }
    bytes.resize(n_bytes);
    return bytes;
  }
  // `bytes` from `offset` on, in frames of 1 MiB each followed by a small one.
  static std::vector<v1::UploadArtifactRequest> FramesOf(const std::string& bytes,
                                                         std::size_t offset = 0) {
    std::vector<v1::UploadArtifactRequest> frames = {
        First(Sha256Hex(bytes), std::ssize(bytes), "", static_cast<std::int64_t>(offset))};
    while (offset < bytes.size()) {
      const std::size_t n = frames.size() % 2 == 0 ? 7 : kFrameBytes;
      frames.push_back(Next(bytes.substr(offset, n)));
      offset += n;
    }
    return frames;
  }
  // What the coordinator sends from `offset` on.
  std::string Download(const std::string& token, const std::string& sha256,
                       std::size_t offset = 0) const {
    const auto stub = v1::ArtifactService::NewStub(Channel());
    const auto context = ContextOf(token);
    v1::DownloadArtifactRequest request;
    request.set_sha256(sha256);
    request.set_offset(static_cast<std::int64_t>(offset));
    const auto reader = stub->DownloadArtifact(context.get(), request);
    v1::DownloadArtifactResponse frame;
    std::string bytes;
    while (reader->Read(&frame)) bytes += frame.data();
    EXPECT_TRUE(reader->Finish().ok());
    return bytes;
  }
  grpc::Status Store(const std::string& token, const DatasetListing& sent,
                     const std::string& name) const {
    const auto stub = v1::SweepService::NewStub(Channel());
    const auto context = ContextOf(token);
    v1::StoreDatasetRequest request;
    v1::StoreDatasetResponse response;
    request.set_name(name);
    request.set_digest(sent.digest);
    for (const ArtifactFile& file : sent.files) {
      v1::DatasetFileInfo& info = *request.add_files();
      info.set_name(file.name);
      info.set_sha256(file.sha256);
      info.set_bytes(file.n_bytes);
    }
    return stub->StoreDataset(context.get(), request, &response);
  }
  // Sends a model whose only weights are these bytes, and gives it a name. Its manifest says that
  // there are `more` bytes.
  grpc::Status RegisterModel(const std::string& token, const std::string& name,
                             const std::string& weights, std::int64_t more = 0) const {
    const std::string config =
        R"({"activation_function":"gelu_new","layer_norm_epsilon":1e-05,"model_type":"gpt2",)"
        R"("n_embd":16,"n_head":2,"n_layer":2,"n_positions":64,"vocab_size":256})";
    const std::vector<FolderFile> files = {
        {.name = "config.json", .sha256 = Sha256Hex(config), .n_bytes = std::ssize(config)},
        {.name = "model.safetensors",
         .sha256 = Sha256Hex(weights),
         .n_bytes = std::ssize(weights) + more}};
    const std::string manifest = FolderManifest(files);
    for (const std::string& bytes : {config, weights, manifest}) {
      const grpc::Status sent = Upload(token, {First(Sha256Hex(bytes), std::ssize(bytes), bytes)});
      if (!sent.ok()) return sent;
    }
    const auto stub = v1::SweepService::NewStub(Channel());
    const auto context = ContextOf(token);
    v1::RegisterModelRequest request;
    v1::RegisterModelResponse response;
    request.set_name(name);
    request.set_sha256(Sha256Hex(manifest));
    return stub->RegisterModel(context.get(), request, &response);
  }
  grpc::Status RemoveModel(const std::string& token, const std::string& name) const {
    const auto stub = v1::SweepService::NewStub(Channel());
    const auto context = ContextOf(token);
    v1::RemoveModelRequest request;
    v1::RemoveModelResponse response;
    request.set_name(name);
    return stub->RemoveModel(context.get(), request, &response);
  }
  bool HasArtifact(const std::string& token, const std::string& sha256) const {
    const auto stub = v1::ArtifactService::NewStub(Channel());
    const auto context = ContextOf(token);
    v1::HasArtifactsRequest request;
    v1::HasArtifactsResponse response;
    request.add_sha256(sha256);
    EXPECT_TRUE(stub->HasArtifacts(context.get(), request, &response).ok());
    return response.present(0);
  }
};

TEST_F(LaptopTest, DatasetAndQuestionsFromALaptopGiveTheTableOfOneMachine) {
  InitAndStart();
  const std::string token = Login("submitter");
  WriteTexts();
  const Ran imported = Longrun(ImportOf("tiny"));
  ASSERT_EQ(imported.code, 0) << imported.err;
  EXPECT_NE(imported.out.find("train 1 document"), std::string::npos) << imported.out;
  // The coordinator has a folder of its own, as after an import there; the laptop has nothing more.
  const Result<Dataset> dataset = Dataset::Open(InState("datasets/tiny"));
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  EXPECT_TRUE(dataset->Verify().ok());
  EXPECT_FALSE(PathExists(InCache("submitter", "tiny")));
  const Ran again = Longrun(
      {"data", "import", "tiny", "--train", "a.txt", "--validation", "b.txt", "-o", "json"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(ParseJson(again.out).value()["status"], "same");
  const std::int64_t n_bytes = BytesOf(ListDataset(InState("datasets/tiny")).value().files);
  const Ran listed = Longrun({"data", "ls", "-o", "csv"});
  EXPECT_EQ(listed.out.substr(0, listed.out.find('\n')), "name,digest,tokenizer,tokens,size,owner");
  EXPECT_TRUE(listed.out.ends_with(
      Str(" validation=5K,", FormatBytes(n_bytes), ",token ", IdOf(token), "\n")))
      << listed.out;
  EXPECT_EQ(listed.out.find(state), std::string::npos) << listed.out;
  const Json json = ParseJson(Longrun({"data", "ls", "-o", "json"}).out).value()[0];
  EXPECT_EQ(json["bytes"], n_bytes);
  EXPECT_EQ(json["owner"], Str("token ", IdOf(token)));
  EXPECT_EQ(json["own"], true);

  ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.yaml"), kSweep).ok());
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("questions.jsonl"), kQuestions).ok());
  worker = SpawnLocalWorker();
  const Ran run = Longrun({"run", "a.yaml"});
  EXPECT_EQ(run.code, 0) << run.err << ReadFile(At("worker.log")).value();
  EXPECT_NE(run.err.find(Str("where to look next (context submitter (", place.Text(), ")):")),
            std::string::npos)
      << run.err;
  EXPECT_EQ(ReadFile(InState(Str("files/", Sha256Hex(kQuestions)))).value(), kQuestions);
  // What a person sends is audited, and what the worker on the coordinator's machine stores is not.
  EXPECT_TRUE(IsAudited(Str("UploadArtifact OK ", Sha256Hex(kQuestions))));
  EXPECT_FALSE(IsAudited("UploadArtifact", "local"));
  const Ran table = Longrun({"table", "a", "--metric", "perplexity,acc", "-o", "csv"});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_NE(table.out.find(",nonoverlap,"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find(",lm_eval,"), std::string::npos) << table.out;

  // Whoever watches a sweep may move it ahead of others, but not a viewer.
  const auto stub = v1::SweepService::NewStub(Channel());
  for (const auto& [role, outcome] :
       {std::pair("submitter", "OK"), std::pair("viewer", "PERMISSION_DENIED")}) {
    const auto watching = ContextOf(NewToken(role));
    v1::WatchSweepRequest ahead;
    ahead.set_sweep("a");
    ahead.set_first(true);
    v1::WatchSweepResponse answer;
    const auto reader = stub->WatchSweep(watching.get(), ahead);
    while (reader->Read(&answer)) {
    }
    EXPECT_EQ(reader->Finish().ok(), std::string_view(outcome) == "OK");
    EXPECT_TRUE(IsAudited(Str("WatchSweep ", outcome, " a"))) << outcome;
  }
  // Where the coordinator keeps its state is nobody's business on another machine.
  v1::GetServerInfoResponse info;
  const auto asking = ContextOf(NewToken("viewer"));
  ASSERT_TRUE(stub->GetServerInfo(asking.get(), {}, &info).ok());
  EXPECT_FALSE(info.coordinator_id().empty());
  EXPECT_EQ(info.state_folder(), "");

  // The same on one machine, without a network.
  const Ran alone = Longrun({"--state", At("alone"), "data", "import", "tiny", "--train", "a.txt",
                             "--validation", "b.txt"});
  ASSERT_EQ(alone.code, 0) << alone.err;
  EXPECT_EQ(alone.out, imported.out);
  const Ran submitted = Longrun({"--state", At("alone"), "submit", "a.yaml"});
  ASSERT_EQ(submitted.code, 0) << submitted.err;
  const auto keys = [&](const std::string& of, const std::string& sweep) {
    return Longrun({"--state", of, "query", "-o", "csv",
                    Str("SELECT run_key FROM sweep_runs WHERE sweep = '", sweep, "'")})
        .out;
  };
  EXPECT_EQ(keys(At("alone"), "a"), keys(state, "a"));
  EXPECT_NE(keys(state, "a").find("run_key"), std::string::npos);
}

// Only the caller's certificate, or the socket of the coordinator's machine, makes it a worker.
TEST_F(LaptopTest, APersonWhoCallsAsAWorkerIsAudited) {
  InitAndStart();
  const std::string token = NewToken("submitter"), bytes = "bytes";
  const auto stub = v1::ArtifactService::NewStub(Channel());
  const auto context = ContextOf(token);
  context->AddMetadata(kWorkerMetadata, "gpu-1");
  v1::UploadArtifactResponse response;
  const auto writer = stub->UploadArtifact(context.get(), &response);
  writer->Write(First(Sha256Hex(bytes), std::ssize(bytes), bytes));
  writer->WritesDone();
  ASSERT_TRUE(writer->Finish().ok());

  EXPECT_TRUE(IsAudited(Str("UploadArtifact OK ", Sha256Hex(bytes)), Str("token ", IdOf(token))));
}

TEST_F(LaptopTest, WithoutAWorkerALaptopLearnsHowOneJoins) {
  InitAndStart();
  const std::string token = Login("submitter");
  WriteTexts();
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("s.yaml"), kTinySweep).ok());
  const std::vector<std::string> plan = {"plan", "s.yaml", "--set", "resources.kind=gpu"};
  const std::string join = "`longrun admin join-token create`", up = " up` on this machine";

  const std::string cpu = Longrun({"plan", "s.yaml"}).out;
  EXPECT_NE(cpu.find("were compared with those of the coordinator's machine"), std::string::npos)
      << cpu;
  const std::string gpu = Longrun(plan).out;
  EXPECT_NE(gpu.find("no worker is known yet: the tasks need a gpu slot of at least "),
            std::string::npos)
      << gpu;
  ASSERT_EQ(Longrun({"submit", "s.yaml"}).code, 0);
  const std::string why = Longrun({"why", "a"}).out;
  for (const std::string& said : {gpu, why}) {
    EXPECT_NE(said.find(join), std::string::npos) << said;
    EXPECT_EQ(said.find(up), std::string::npos) << said;
  }
  const std::string here = Here({"why", "a"}).out;
  EXPECT_NE(here.find(up), std::string::npos) << here;

  // A watcher learns what the tasks wait for without asking. If several wait for the same, one of
  // them is named.
  const std::vector<std::string> both = {"submit", "s.yaml",     "--set", "metadata.name=both",
                                         "--set",  "seed=[1, 2]"};
  ASSERT_EQ(Longrun(both).code, 0);
  const auto context = ContextOf(token);
  v1::WatchSweepRequest watch;
  watch.set_sweep("both");
  const auto stub = v1::SweepService::NewStub(Channel());
  const auto messages = stub->WatchSweep(context.get(), watch);
  int watching = SpawnLongrun({"watch", "a"});
  const std::string waits = "nothing of a is running: 1 train task is READY: ";
  std::string said;
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    const Result<std::string> err = ReadFile(At("err"));
    said = err.ok() ? *err : "";
    return said.find(waits) != std::string::npos;
  })) << said;
  Kill(watching);
  EXPECT_NE(said.find(join, said.find(waits)), std::string::npos) << said;
  EXPECT_EQ(said.find("evaluate task", said.find(waits)), std::string::npos) << said;

  v1::WatchSweepResponse message;
  while (message.notices().empty() && messages->Read(&message)) continue;
  context->TryCancel();
  (void)messages->Finish();
  ASSERT_EQ(message.notices_size(), 1);
  const std::string& text = message.notices(0).text();
  const std::string begin =
      "nothing of both is running: 2 train tasks are READY, for example task ";
  ASSERT_TRUE(text.starts_with(begin)) << text;
  EXPECT_EQ(text.find_first_not_of("0123456789abcdef", begin.size()), begin.size() + 8) << text;
  EXPECT_EQ(text.substr(begin.size() + 8, 2), ": ") << text;
}

TEST_F(LaptopTest, AFolderThatWasMadeElsewhereIsSent) {
  InitAndStart();
  Login("submitter");
  WriteTexts();
  MakeDataset(OnLaptop("made"));
  const Ran registered = Longrun({"data", "register", "books", "made"});
  ASSERT_EQ(registered.code, 0) << registered.err;
  EXPECT_EQ(ListFolder(InState("datasets/books")).value(), ListFolder(OnLaptop("made")).value());
  EXPECT_TRUE(IsFolder(OnLaptop("made")));

  // Other content under a known name is refused before anything is sent, and does not stay.
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.txt"), "another text").ok());
  const auto n_uploads = [&] {
    return std::ranges::count_if(
        Audit(), [](const std::string& line) { return line.starts_with("UploadArtifact"); });
  };
  const auto n_before = n_uploads();
  EXPECT_GT(n_before, 0);
  const Ran other = Longrun(ImportOf("books"));
  EXPECT_EQ(other.code, 4) << other.err;
  EXPECT_NE(other.err.find("already exists with other content"), std::string::npos) << other.err;
  EXPECT_EQ(other.err.find("stays"), std::string::npos) << other.err;
  EXPECT_FALSE(PathExists(InCache("submitter", "books")));
  EXPECT_EQ(n_uploads(), n_before);
  EXPECT_TRUE(IsAudited("StoreDataset OK books"));
  EXPECT_TRUE(IsAudited("StoreDataset ALREADY_EXISTS books"));
}

TEST_F(LaptopTest, ADatasetStaysOnTheLaptopUntilTheCoordinatorAnswers) {
  InitAndStart();
  Login("submitter");
  WriteTexts();
  Kill(coordinator);
  const Ran down = Longrun(ImportOf("tiny"));
  EXPECT_EQ(down.code, 6) << down.err;
  EXPECT_NE(down.err.find(Str("the dataset stays in ", InCache("submitter", "tiny"), ": ")),
            std::string::npos)
      << down.err;
  EXPECT_TRUE(Dataset::Open(InCache("submitter", "tiny")).ok());

  Start();
  EXPECT_EQ(Longrun(ImportOf("tiny")).code, 0);
  EXPECT_FALSE(PathExists(InCache("submitter", "tiny")));

  // Nothing is made for a token that gives no access any more.
  const std::string token = Login("submitter");
  ASSERT_EQ(Here({"admin", "token", "revoke", IdOf(token)}).code, 0);
  const Ran denied = Longrun(ImportOf("mine"));
  EXPECT_EQ(denied.code, 5) << denied.err;
  EXPECT_NE(denied.err.find(Str("token ", IdOf(token), " was revoked at ")), std::string::npos)
      << denied.err;
  EXPECT_EQ(denied.err.find("the dataset stays"), std::string::npos) << denied.err;
  EXPECT_FALSE(PathExists(InCache("submitter", "mine")));
}

TEST_F(LaptopTest, ImportingADamagedDatasetAgainRepairsIt) {
  InitAndStart();
  const std::string ada = IdOf(LoginAs("ada", "submitter"));
  WriteTexts();
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  Login("operator");
  LoginAs("ben", "submitter");
  const std::string stored = InState("datasets/tiny"), shard = JoinPath(stored, "train-00000.lrtk");
  const std::int64_t n_bytes = FileBytes(shard).value();
  const std::string owners = "SELECT dataset, owner, owner_bytes, bytes FROM datasets";
  const std::string owned = Here({"query", "-o", "csv", owners}).out;
  EXPECT_NE(owned.find(Str("tiny,token ", ada, ",")), std::string::npos) << owned;
  const std::vector<std::pair<const char*, std::function<void()>>> damages = {
      // The artifact store still has the same file, under its own name.
      {"a bit", [&] { FlipBit(shard, n_bytes - 100); }},
      {"the end of a file", [&] { ASSERT_EQ(truncate(shard.c_str(), n_bytes / 2), 0); }},
      {"a file", [&] { ASSERT_TRUE(RemoveAll(shard).ok()); }},
      {"dataset.json", [&] { ASSERT_TRUE(RemoveAll(JoinPath(stored, "dataset.json")).ok()); }},
      {"the folder", [&] { ASSERT_TRUE(RemoveAll(stored).ok()); }},
  };
  for (const auto& [what, damage] : damages) {
    SCOPED_TRACE(what);
    damage();
    ASSERT_EQ(Longrun({"context", "use", "ben"}).code, 0);
    const Ran refused = Longrun(ImportOf("tiny"));
    EXPECT_NE(refused.code, 0);
    EXPECT_NE(refused.err.find(Str("dataset \"tiny\" is damaged on the coordinator's machine: have "
                                   "it imported again by its owner, token ",
                                   ada, ", or by an operator")),
              std::string::npos)
        << refused.err;
    EXPECT_NE(refused.err.find("the dataset stays in "), std::string::npos) << refused.err;

    const bool by_owner = std::string_view(what) != "a file";
    ASSERT_EQ(Longrun({"context", "use", by_owner ? "ada" : "operator"}).code, 0);
    const Ran repaired = Longrun(ImportOf("tiny"));
    EXPECT_EQ(repaired.code, 0) << repaired.err;
    EXPECT_NE(repaired.out.find("was damaged, and has been replaced"), std::string::npos)
        << repaired.out;
    const Result<Dataset> dataset = Dataset::Open(stored);
    ASSERT_TRUE(dataset.ok()) << dataset.status().message();
    EXPECT_TRUE(dataset->Verify().ok());
    EXPECT_EQ(NamesIn(InState("datasets")), std::vector<std::string>{"tiny"});
    EXPECT_EQ(Here({"query", "-o", "csv", owners}).out, owned);
    std::vector<std::string> again = ImportOf("tiny");
    again.insert(again.end(), {"-o", "json"});
    EXPECT_EQ(ParseJson(Longrun(again).out).value()["status"], "same");
  }
}

// A folder that somebody has registered on the coordinator's machine is not the coordinator's.
TEST_F(LaptopTest, ARepairLeavesTheFoldersOfOthersAsTheyAre) {
  InitAndStart();
  Login("operator");
  WriteTexts();
  MakeDataset(At("of-a-user"));
  ASSERT_EQ(Here({"data", "register", "theirs", At("of-a-user")}).code, 0);
  const std::string shard = JoinPath(At("of-a-user"), "train-00000.lrtk");
  FlipBit(shard, FileBytes(shard).value() - 100);
  const std::string damaged = Sha256OfFile(shard).value();
  MakeDataset(OnLaptop("made"));

  const Ran repaired = Longrun({"data", "register", "theirs", "made", "-o", "json"});

  ASSERT_EQ(repaired.code, 0) << repaired.err;
  EXPECT_EQ(ParseJson(repaired.out).value()["status"], "repaired");
  EXPECT_EQ(Sha256OfFile(shard).value(), damaged);
  EXPECT_TRUE(Dataset::Open(InState("datasets/theirs"))->Verify().ok());
  EXPECT_EQ(ParseJson(Here({"data", "ls", "-o", "json"}).out).value()[0]["folder"],
            InState("datasets/theirs"));
}

TEST_F(LaptopTest, WhoeverSendsADatasetThatAnotherPersonHasIsToldSo) {
  InitAndStart();
  const std::string ada = IdOf(LoginAs("ada", "submitter"));
  WriteTexts();
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  LoginAs("ben", "submitter");
  const std::string whose = Str(" has this dataset as \"tiny\", which belongs to token ", ada);
  const Ran same = Longrun(ImportOf("tiny"));
  EXPECT_EQ(same.code, 0) << same.err;
  EXPECT_NE(same.err.find(Str("the coordinator already", whose)), std::string::npos) << same.err;
  const Ran other_name = Longrun(ImportOf("mine"));
  EXPECT_EQ(other_name.code, 0) << other_name.err;
  EXPECT_NE(other_name.err.find(Str("the coordinator also", whose)), std::string::npos)
      << other_name.err;

  ASSERT_EQ(Longrun({"data", "rm", "mine"}).code, 0);
  ASSERT_EQ(Longrun({"context", "use", "ada"}).code, 0);
  const Ran own = Longrun(ImportOf("tiny"));
  EXPECT_EQ(own.code, 0) << own.err;
  EXPECT_EQ(own.err.find("belongs to"), std::string::npos) << own.err;
}

TEST_F(LaptopTest, MessagesToALaptopNameNoFolderOfTheCoordinatorsMachine) {
  InitAndStart();
  (void)Login("submitter");
  WriteTexts();
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("s.yaml"), kTinySweep).ok());
  Ran ran = Longrun({"submit", "s.yaml"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  ASSERT_TRUE(RemoveAll(InState("datasets/tiny")).ok());
  Kill(coordinator);
  Start({"--disk-low-water", "4611686018427387904"});  // 4 EiB

  const std::string low = "the disk of the coordinator's state folder has ";
  const std::vector<std::pair<std::vector<std::string>, std::string>> told = {
      {{"get", "a"}, low},
      {{"why", "a"}, low},
      {{"submit", "s.yaml"}, low},
      {{"plan", "s.yaml"}, "is no longer in its folder on the coordinator's machine"}};
  // The coordinator notices within a second that its disk is full.
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] {
    return Longrun({"get", "a"}).err.find(low) != std::string::npos;
  }));
  for (const auto& [arguments, text] : told) {
    ran = Longrun(arguments);
    const std::string said = ran.out + ran.err;
    EXPECT_NE(said.find(text), std::string::npos) << arguments[0] << ": " << said;
    EXPECT_EQ(said.find(state), std::string::npos) << arguments[0] << ": " << said;
  }

  // Nothing runs, so a watcher stays.
  int watching = SpawnLongrun({"watch", "a"});
  const auto said = [&] {
    std::string all;
    for (const char* const name : {"out", "err"}) {
      if (const Result<std::string> text = ReadFile(At(name)); text.ok()) all += *text;
    }
    return all;
  };
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return said().find(low) != std::string::npos; }))
      << said();
  EXPECT_EQ(said().find(state), std::string::npos) << said();
  Kill(watching);
}

// Of a dataset that is not in the state folder.
TEST_F(LaptopTest, AnErrorForALaptopNamesADatasetAndNotItsFolder) {
  InitAndStart();
  (void)Login("submitter");
  WriteTexts();
  Ran ran = Longrun({"--state", At("alone"), "data", "import", "tiny", "--train", "a.txt",
                     "--validation", "b.txt"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const std::string elsewhere = At("alone/datasets/tiny");
  ran = Here({"data", "register", "tiny", elsewhere});
  ASSERT_EQ(ran.code, 0) << ran.err;
  for (const std::string& name : NamesIn(elsewhere)) {
    if (name.ends_with(".json")) continue;
    EXPECT_TRUE(RemoveAll(JoinPath(elsewhere, name)).ok());
  }
  // Where its scored tokens end depends on the documents.
  std::string yaml = kTinySweep;
  constexpr std::string_view kProtocol = "nonoverlap";
  yaml.replace(yaml.find(kProtocol), kProtocol.size(), "sliding_bos, stride: 16");
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("s.yaml"), yaml).ok());

  ran = Longrun({"submit", "s.yaml"});
  EXPECT_EQ(ran.code, 2) << ran.err;
  EXPECT_NE(ran.err.find("cannot be read: "), std::string::npos) << ran.err;
  EXPECT_EQ(ran.err.find(elsewhere), std::string::npos) << ran.err;
  const std::vector<std::string> query = {"query", "-o", "csv", "SELECT folder FROM datasets"};
  ran = Longrun(query);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("folder"), std::string::npos) << ran.out;
  EXPECT_EQ(ran.out.find(elsewhere), std::string::npos) << ran.out;
  // On the coordinator's machine, the path helps.
  EXPECT_NE(Here(query).out.find(elsewhere), std::string::npos);
  const std::string own = JoinPath(laptop, "s.yaml");
  EXPECT_NE(Here({"submit", own}).err.find(elsewhere), std::string::npos);
}

TEST_F(LaptopTest, RolesDecideWhoMaySendAndWhoMayRemove) {
  InitAndStart();
  const std::string viewer = Login("viewer");
  WriteTexts();
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.yaml"), kSweep).ok());
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("questions.jsonl"), kQuestions).ok());
  Ran ran = Longrun(ImportOf("tiny"));
  EXPECT_EQ(ran.code, 5) << ran.err;
  EXPECT_EQ(ran.err, Str("longrun: token ", IdOf(viewer),
                         " has the role viewer, and may not send a dataset: that needs the role "
                         "submitter; `longrun admin token create --role submitter` on the "
                         "coordinator's machine makes a token with it\n"));
  EXPECT_FALSE(PathExists(InCache("viewer", "tiny"))) << "it was refused before it was made";
  ran = Longrun({"submit", "a.yaml"});
  EXPECT_EQ(ran.code, 5) << ran.err;
  EXPECT_NE(ran.err.find("may not send files: that needs the role submitter"), std::string::npos)
      << ran.err;
  ran = Longrun({"pause", "a"});
  EXPECT_EQ(ran.code, 5) << ran.err;
  EXPECT_NE(ran.err.find("may not pause a sweep: that needs the role submitter"), std::string::npos)
      << ran.err;
  ExpectNothingOf("tiny", viewer);
  EXPECT_FALSE(PathExists(InState("files")));

  Login("submitter");
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  ran = Longrun({"--context", "viewer", "data", "rm", "tiny"});
  EXPECT_EQ(ran.code, 5) << ran.err;
  EXPECT_NE(ran.err.find("may not remove a dataset: that needs the role submitter"),
            std::string::npos)
      << ran.err;

  // An operator's removal takes the files that were sent, and never a folder of somebody else.
  MakeDataset(At("of-a-user"));
  ASSERT_EQ(Here({"data", "register", "theirs", At("of-a-user")}).code, 0);
  ASSERT_EQ(Here({"data", "register", "also", InState("datasets/tiny")}).code, 0);
  Login("operator");
  ran = Longrun({"data", "rm", "tiny"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.err.find("another name refers to them"), std::string::npos) << ran.err;
  EXPECT_TRUE(IsFolder(InState("datasets/tiny")));
  EXPECT_EQ(Longrun({"data", "rm", "also"}).code, 0);
  EXPECT_TRUE(IsFolder(InState("datasets/tiny")));
  EXPECT_EQ(Longrun({"data", "rm", "theirs"}).code, 0);
  EXPECT_TRUE(IsFolder(At("of-a-user")));
  EXPECT_EQ(Longrun({"data", "rm", "tiny"}).code, 0);  // what is left, under no name
  EXPECT_FALSE(PathExists(InState("datasets/tiny")));
  EXPECT_EQ(Longrun({"data", "rm", "tiny"}).code, 3);
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  EXPECT_EQ(Longrun({"data", "rm", "tiny"}).code, 0);
  EXPECT_FALSE(PathExists(InState("datasets/tiny")));
}

TEST_F(LaptopTest, AKilledClientGoesOnWhereItWas) {
  InitAndStart();
  const std::string token = Login("submitter");
  WriteTexts(10 << 20);  // two bytes a token: 20 frames
  int laptop_pid = SpawnLongrun(ImportOf("big"), "", "client_mid_upload:stop@12");
  // gRPC may not yet have sent the last one, which with its headers is longer than a frame.
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return KeptBytes(token) >= 10 * kFrameBytes; }));
  Kill(laptop_pid);
  // The coordinator notices that the connection is gone.
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return IsAudited("UploadArtifact CANCELLED"); }));
  const std::int64_t kept = KeptBytes(token);
  EXPECT_FALSE(PathExists(InState("datasets/big")));

  const auto shard = ListDataset(OnLaptop(".cache/longrun/contexts/submitter/datasets/big"));
  ASSERT_TRUE(shard.ok()) << shard.status().message();
  const std::int64_t n_left = (BytesOf(shard->files) - kept) / kFrameBytes + 1;
  const std::int64_t n_small = std::ssize(shard->files) - 1;
  const Ran again =
      Longrun(ImportOf("big"), "", Str("client_mid_upload:exit@", n_left + n_small + 1));
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(Dataset::Open(InState("datasets/big"))->Verify().ok());
  EXPECT_EQ(KeptBytes(token), 0);
}

TEST_F(LaptopTest, AKilledCoordinatorOnlyDelaysAnUpload) {
  InitPki();
  admin = NewToken("admin");
  Start({}, "artifact_mid_write:exit@16");
  const std::string token = Login("submitter");
  WriteTexts(10 << 20);
  // Twenty frames, and as many as may have been under way: not two times fifteen.
  const int laptop_pid = SpawnLongrun(ImportOf("big"), "", "client_mid_upload:exit@32");
  const auto ended = WaitFor(std::exchange(coordinator, 0), kPatienceMs);
  ASSERT_TRUE(ended.ok() && *ended);
  EXPECT_EQ((*ended)->code, 99);
  EXPECT_GE(KeptBytes(token), 15 * kFrameBytes);
  const std::string told =
      ": check host, port and firewall, and that the coordinator runs with --listen; trying again "
      "for 120 s\n";
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] {
    const Result<std::string> said = ReadFile(At("err"));
    return said.ok() && said->find(told) != std::string::npos;
  }));
  Start();
  const Ran ran = EndOf(laptop_pid);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(ran.err.starts_with("the upload was interrupted: no coordinator answers at "))
      << ran.err;
  EXPECT_TRUE(ran.err.ends_with(told)) << ran.err;
  EXPECT_EQ(std::ranges::count(ran.err, '\n'), 1) << ran.err;
  EXPECT_TRUE(Dataset::Open(InState("datasets/big"))->Verify().ok());
}

TEST_F(LaptopTest, ACoordinatorKilledWhileItStoresADatasetLeavesNothingHalf) {
  InitPki();
  admin = NewToken("admin");
  for (const char* const failpoint : {"dataset_before_publish", "dataset_before_register"}) {
    Start({}, Str(failpoint, ":exit"));
    Login("submitter");
    WriteTexts();
    const std::string name = Str("after-", std::string(failpoint).substr(15));
    const int laptop_pid = SpawnLongrun(ImportOf(name));
    const auto ended = WaitFor(std::exchange(coordinator, 0), kPatienceMs);
    ASSERT_TRUE(ended.ok() && *ended);
    EXPECT_EQ((*ended)->code, 99);
    Start();
    // The same command goes on by itself, or is repeated.
    const Ran ran = EndOf(laptop_pid);
    const Ran again = ran.code == 0 ? ran : Longrun(ImportOf(name));
    EXPECT_EQ(again.code, 0) << ran.err << again.err;
    EXPECT_TRUE(Dataset::Open(InState("datasets/" + name))->Verify().ok());
    for (const std::string& one : NamesIn(InState("datasets"))) {
      EXPECT_FALSE(one.starts_with('.')) << one;
    }
    Kill(coordinator);
  }
}

TEST_F(LaptopTest, LyingUploadsAreRefusedAndLeaveNothing) {
  InitAndStart();
  const std::string token = NewToken("submitter");
  const std::string bytes = "twelve bytes", sha256 = Sha256Hex(bytes);
  const auto code = [&](const std::vector<v1::UploadArtifactRequest>& frames) {
    const grpc::StatusCode result = Upload(token, frames).error_code();
    EXPECT_FALSE(HasArtifact(token, sha256));
    EXPECT_EQ(KeptBytes(token), 0);
    return result;
  };
  std::string flipped = bytes;
  flipped[3] ^= 4;
  EXPECT_EQ(code({First(sha256, 12, flipped)}), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(code({First(sha256, 12, bytes), Next("more")}), grpc::StatusCode::INVALID_ARGUMENT);
  const std::vector<v1::UploadArtifactRequest> endless(200, Next(std::string(kFrameBytes, 'x')));
  std::vector<v1::UploadArtifactRequest> frames = {First(sha256, 2 * kFrameBytes, "")};
  frames.insert(frames.end(), endless.begin(), endless.end());
  EXPECT_EQ(code(frames), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({First(sha256, 3 << 20, std::string(2 << 20, 'x'))}),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({First("../../../etc/passwd", 12, bytes)}), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({First("", 12, bytes)}), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({First(sha256, -1, "")}), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({First(sha256, 12, bytes, 6)}), grpc::StatusCode::ABORTED);
  EXPECT_EQ(code({First(sha256, 12, bytes, 13)}), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({First(sha256, std::int64_t{1} << 60, bytes)}),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(code({}), grpc::StatusCode::INVALID_ARGUMENT);

  EXPECT_TRUE(Upload(token, {First(sha256, 12, bytes.substr(0, 5)), Next(bytes.substr(5))}).ok());
  EXPECT_TRUE(HasArtifact(token, sha256));
}

TEST_F(LaptopTest, FramesKeepTheirOrder) {
  InitAndStart();
  const std::string token = NewToken("submitter"), bytes = RandomBytes(20 * kFrameBytes + 3);
  const grpc::Status sent = Upload(token, FramesOf(bytes));
  EXPECT_TRUE(sent.ok()) << sent.error_message();
  // Digests, since a difference would print the bytes.
  EXPECT_EQ(Sha256Hex(Download(token, Sha256Hex(bytes))), Sha256Hex(bytes));
  const std::size_t offset = 5 * kFrameBytes + 1;
  EXPECT_EQ(Sha256Hex(Download(token, Sha256Hex(bytes), offset)), Sha256Hex(bytes.substr(offset)));
  EXPECT_TRUE(Download(token, Sha256Hex(bytes), bytes.size()).empty());
}

TEST_F(LaptopTest, AnUploadThatEndsEarlyGoesOnAfterItsLastFrame) {
  InitAndStart();
  const std::string token = NewToken("submitter"), bytes = RandomBytes(6 * kFrameBytes);
  std::vector<v1::UploadArtifactRequest> frames = FramesOf(bytes);
  frames.resize(6);  // the first one is empty
  const std::size_t n_sent = 3 * kFrameBytes + 2 * 7;
  EXPECT_EQ(Upload(token, frames).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_FALSE(HasArtifact(token, Sha256Hex(bytes)));
  EXPECT_EQ(KeptBytes(token), static_cast<std::int64_t>(n_sent));
  const grpc::Status again = Upload(token, FramesOf(bytes, n_sent));
  EXPECT_TRUE(again.ok()) << again.error_message();
  EXPECT_EQ(Sha256Hex(Download(token, Sha256Hex(bytes))), Sha256Hex(bytes));
}

TEST_F(LaptopTest, AnUploadThatIsCancelledWhileFramesAreUnderWayKeepsWholeFrames) {
  InitAndStart();
  const std::string token = NewToken("submitter"), bytes = RandomBytes(16 * kFrameBytes);
  const auto stub = v1::ArtifactService::NewStub(Channel());
  const auto context = ContextOf(token);
  v1::UploadArtifactResponse response;
  const auto writer = stub->UploadArtifact(context.get(), &response);
  std::vector<v1::UploadArtifactRequest> frames = FramesOf(bytes);
  frames.resize(20);
  for (const v1::UploadArtifactRequest& frame : frames) ASSERT_TRUE(writer->Write(frame));
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return KeptBytes(token) > 4 * kFrameBytes; }));
  context->TryCancel();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return IsAudited("UploadArtifact CANCELLED"); }));
  const std::int64_t n_kept = KeptBytes(token), n_pair = kFrameBytes + 7;
  EXPECT_GT(n_kept, 4 * kFrameBytes);
  EXPECT_TRUE(n_kept % n_pair == 0 || n_kept % n_pair == kFrameBytes) << n_kept;
  const grpc::Status again = Upload(token, FramesOf(bytes, static_cast<std::size_t>(n_kept)));
  EXPECT_TRUE(again.ok()) << again.error_message();
  EXPECT_EQ(Sha256Hex(Download(token, Sha256Hex(bytes))), Sha256Hex(bytes));
}

TEST_F(LaptopTest, OneWrongBitInTheMiddleOfManyFramesIsFound) {
  InitAndStart();
  const std::string token = NewToken("submitter"), bytes = RandomBytes(8 * kFrameBytes);
  std::vector<v1::UploadArtifactRequest> frames = FramesOf(bytes);
  frames[5].mutable_data()->at(1'000) ^= 4;
  EXPECT_EQ(Upload(token, frames).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_FALSE(HasArtifact(token, Sha256Hex(bytes)));
  EXPECT_EQ(KeptBytes(token), 0);
}

// 4 GiB, of which the network holds only a small part.
TEST_F(LaptopTest, ADownloadWhoseReaderLeavesClosesItsFile) {
  InitAndStart();
  const std::string token = NewToken("viewer"), sha256 = Sha256Hex("large");
  const std::string path =
      MakeSparseFile(Str("artifacts/", sha256.substr(0, 2), "/", sha256), 4ll << 30);
  const auto stub = v1::ArtifactService::NewStub(Channel());
  const auto context = ContextOf(token);
  v1::DownloadArtifactRequest request;
  request.set_sha256(sha256);
  const auto reader = stub->DownloadArtifact(context.get(), request);
  v1::DownloadArtifactResponse frame;
  ASSERT_TRUE(reader->Read(&frame));
  EXPECT_TRUE(IsOpen(path));
  context->TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitUntil(kPatienceMs, [&] { return !IsOpen(path); }));
}

TEST_F(LaptopTest, UploadsThatNeverEndHarmOnlyTheirCaller) {
  InitAndStart();
  const std::string token = NewToken("submitter"), other = NewToken("submitter");
  const auto stub = v1::ArtifactService::NewStub(Channel());
  struct Open {
    std::unique_ptr<grpc::ClientContext> context;
    v1::UploadArtifactResponse response;
    std::unique_ptr<grpc::ClientWriter<v1::UploadArtifactRequest>> writer;
  };
  std::vector<std::unique_ptr<Open>> open;
  std::vector<std::string> digests;
  for (int i = 0; i < 16; ++i) {
    open.push_back(std::make_unique<Open>());
    open.back()->context = ContextOf(token);
    open.back()->writer = stub->UploadArtifact(open.back()->context.get(), &open.back()->response);
    digests.push_back(Sha256Hex(Str("content ", i)));
    ASSERT_TRUE(open.back()->writer->Write(First(digests.back(), 100, "begun")));
  }
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return KeptBytes(token) == 16 * 5; }));
  const std::string bytes = "bytes", sha256 = Sha256Hex(bytes);
  const grpc::Status refused = Upload(token, {First(sha256, 5, bytes)});
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(refused.error_message().find("16 uploads in progress"), std::string::npos)
      << refused.error_message();
  EXPECT_TRUE(Upload(other, {First(sha256, 5, bytes)}).ok());
  // What the one has sent is nothing to the other.
  EXPECT_EQ(Upload(other, {First(digests[0], 100, "", 5)}).error_code(), grpc::StatusCode::ABORTED);
  // Revoked, the caller's uploads end.
  ASSERT_EQ(Here({"admin", "token", "revoke", IdOf(token)}).code, 0);
  for (const auto& one : open) {
    one->writer->WritesDone();
    EXPECT_FALSE(one->writer->Finish().ok());
  }
}

TEST_F(LaptopTest, ADatasetThatIsNotWhatItSaysIsRefused) {
  InitAndStart();
  const std::string token = NewToken("submitter");
  WriteTexts();
  const std::string made = OnLaptop("made");
  MakeDataset(made);
  const DatasetListing listing = ListDataset(made).value();
  const auto store = [&](const DatasetListing& sent, const std::string& name) {
    return Store(token, sent, name);
  };
  EXPECT_EQ(store(listing, "mine").error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  for (const ArtifactFile& file : listing.files) {
    const std::string bytes = ReadFile(JoinPath(made, file.name)).value();
    ASSERT_TRUE(Upload(token, {First(file.sha256, file.n_bytes, bytes)}).ok());
  }
  for (const char* const name : {"../mine", "/mine", "", ".mine", "a/b"}) {
    EXPECT_EQ(store(listing, name).error_code(), grpc::StatusCode::INVALID_ARGUMENT) << name;
  }
  DatasetListing escape = listing;
  escape.files[0].name = "../../escape";
  EXPECT_EQ(store(escape, "mine").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  DatasetListing swapped = listing;
  std::swap(swapped.files[0].sha256, swapped.files[1].sha256);
  std::swap(swapped.files[0].n_bytes, swapped.files[1].n_bytes);
  EXPECT_EQ(store(swapped, "mine").error_code(), grpc::StatusCode::DATA_LOSS);
  ExpectNothingOf("mine", token);
  EXPECT_FALSE(PathExists(InState("escape")));
  EXPECT_TRUE(store(listing, "mine").ok());
  EXPECT_TRUE(IsAudited("StoreDataset DATA_LOSS mine"));
}

// The coordinator is reading one dataset as a whole, and does not come to the end.
TEST_F(LaptopTest, WhetherADatasetMayBeSentIsAnsweredWhileAnotherIsChecked) {
  InitPki();
  admin = NewToken("admin");
  Start({}, "dataset_before_publish:delay_ms:3600000");
  const std::string token = Login("submitter");
  WriteTexts();
  const int importing = SpawnLongrun(ImportOf("one"));
  ASSERT_TRUE(
      WaitUntil(kPatienceMs, [&] { return PathExists(InState("datasets/.one.receiving")); }));

  DatasetListing listing = {.digest = Sha256Hex("another"), .files = {}};
  for (const char* const name : {"train-00000.lrtk", "tokenizer.json", "dataset.json"}) {
    listing.files.push_back({.name = name, .sha256 = Sha256Hex(name), .n_bytes = 5});
  }
  const grpc::Status answer = Store(token, listing, "two");
  EXPECT_EQ(answer.error_code(), grpc::StatusCode::FAILED_PRECONDITION) << answer.error_message();

  // What is being stored cannot be removed meanwhile.
  Login("operator");
  const Ran removed = [&] {
    const std::string out = At("rm.out");
    SpawnOptions options;
    options.argv = {kClient, "data", "rm", "one"};
    options.env = {"PATH=/usr/bin:/bin", Str("HOME=", laptop)};
    options.cwd = laptop;
    options.stdout_path = options.stderr_path = out;
    const auto ended = WaitFor(Spawn(options).value(), kPatienceMs);
    return Ran{.code = ended.ok() && *ended ? (*ended)->code : -1,
               .out = ReadFile(out).value(),
               .err = ""};
  }();
  EXPECT_NE(removed.code, 0);
  EXPECT_NE(removed.out.find("another call is storing or removing the dataset \"one\""),
            std::string::npos)
      << removed.out;
  int pid = importing;
  Kill(pid);
}

// 1 TiB takes minutes to hash.
TEST_F(LaptopTest, AnUploadThatNobodyWaitsForIsNotHashed) {
  InitAndStart({"--unused-upload-bytes", Str(std::int64_t{1} << 41)});
  const std::string token = NewToken("submitter");
  const std::string sha256 = Sha256Hex("large");
  constexpr std::int64_t kBytes = std::int64_t{1} << 40;
  const std::string path =
      MakeSparseFile(Str("artifacts/unfinished/token-", IdOf(token), "/", sha256), kBytes);
  const auto stub = v1::ArtifactService::NewStub(Channel());
  const auto context = ContextOf(token);
  v1::UploadArtifactResponse response;
  const auto writer = stub->UploadArtifact(context.get(), &response);
  ASSERT_TRUE(writer->Write(First(sha256, kBytes + 1, "x", kBytes)));
  // The coordinator has begun: it opened the file.
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return IsOpen(path); }));
  context->TryCancel();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(
      WaitUntil(kPatienceMs, [&] { return IsAudited("UploadArtifact CANCELLED " + sha256); }));
}

// 4 GiB, of which the network holds only a small part.
TEST_F(LaptopTest, AFileThatBecomesShorterEndsItsDownload) {
  InitAndStart();
  const std::string token = NewToken("viewer"), sha256 = Sha256Hex("large");
  const std::string path =
      MakeSparseFile(Str("artifacts/", sha256.substr(0, 2), "/", sha256), 4ll << 30);
  const auto stub = v1::ArtifactService::NewStub(Channel());
  const auto context = ContextOf(token);
  v1::DownloadArtifactRequest request;
  request.set_sha256(sha256);
  const auto reader = stub->DownloadArtifact(context.get(), request);
  v1::DownloadArtifactResponse frame;
  ASSERT_TRUE(reader->Read(&frame));
  EXPECT_EQ(frame.total_bytes(), std::int64_t{4} << 30);
  ASSERT_EQ(truncate(path.c_str(), 1 << 20), 0);
  while (reader->Read(&frame)) {
  }
  const grpc::Status ended = reader->Finish();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_NE(ended.error_message().find("became shorter"), std::string::npos)
      << ended.error_message();
}

TEST_F(LaptopTest, AFileThatTheCoordinatorCannotUseIsRefusedAtTheSubmission) {
  InitAndStart();
  const std::string token = Login("submitter");
  WriteTexts();
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  // Given by its digest, and never sent.
  const std::string wrong = "these are not questions", digest = Sha256Hex(wrong);
  std::string sweep = kSweep;
  const std::string named = "questions.jsonl";
  sweep.replace(sweep.find(named), named.size(), Str("\"sha256:", digest, "\""));
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.yaml"), sweep).ok());
  Ran ran = Longrun({"submit", "a.yaml"});
  EXPECT_EQ(ran.code, 3) << ran.err;
  EXPECT_NE(ran.err.find("give the path of the file"), std::string::npos) << ran.err;
  // Sent, but of another kind.
  ASSERT_TRUE(Upload(token, {First(digest, std::ssize(wrong), wrong)}).ok());
  ran = Longrun({"submit", "a.yaml"});
  EXPECT_EQ(ran.code, 2) << ran.err;
  EXPECT_FALSE(PathExists(InState(Str("files/", digest))));
  EXPECT_EQ(Trim(Longrun({"ls", "-o", "json"}).out), "[]");
}

TEST_F(LaptopTest, FilesOfOnePersonsSweepsAreLimitedAndGoOnceNoTaskReadsThem) {
  const std::string other = Str(kQuestions, kQuestions);
  const auto n_bytes = std::ssize(std::string(kQuestions));
  InitAndStart({"--kept-file-bytes", Str(2 * n_bytes)});
  Login("submitter");
  WriteTexts();
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.yaml"), kSweep).ok());
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("questions.jsonl"), kQuestions).ok());
  ASSERT_EQ(Longrun({"submit", "a.yaml"}).code, 0);
  EXPECT_EQ(Longrun({"submit", "a.yaml"}).code, 0) << "the same files are no more files";

  ASSERT_TRUE(WriteFileAtomic(OnLaptop("questions.jsonl"), other).ok());
  Ran ran = Longrun({"submit", "a.yaml"});
  EXPECT_NE(ran.code, 0);
  EXPECT_NE(
      ran.err.find(Str("the files that sweep \"a\" names have ", 2 * n_bytes,
                       " bytes, in addition to the ", n_bytes, " bytes that tasks of token ")),
      std::string::npos)
      << ran.err;
  EXPECT_NE(ran.err.find("--kept-file-bytes"), std::string::npos) << ran.err;
  EXPECT_FALSE(PathExists(InState(Str("files/", Sha256Hex(other)))));

  const std::string kept = InState(Str("files/", Sha256Hex(kQuestions)));
  const auto make_old = [&] {
    std::filesystem::last_write_time(
        kept, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  };
  make_old();
  ASSERT_EQ(Here({"gc"}).code, 0);
  EXPECT_TRUE(PathExists(kept)) << "a task reads it";
  for (const char* const verb : {"cancel", "rm"}) {
    ASSERT_EQ(Longrun({verb, "a"}).code, 0);
  }
  ran = Here({"gc", "--dry-run", "--list"});
  EXPECT_NE(ran.out.find("no task reads it"), std::string::npos) << ran.out;
  EXPECT_TRUE(PathExists(kept));
  ASSERT_EQ(Here({"gc"}).code, 0);
  EXPECT_FALSE(PathExists(kept));
  EXPECT_EQ(Longrun({"submit", "a.yaml"}).code, 0) << "there is room again";
}

TEST_F(LaptopTest, DatasetsOfOnePersonAreLimitedAndTheirOwnerMayRemoveThem) {
  const auto make = [&](const std::string& name) {
    WriteTexts();
    EXPECT_TRUE(WriteFileAtomic(OnLaptop("a.txt"), Str(name, std::string(5'000, 'x'))).ok());
    MakeDataset(OnLaptop(name));
    return BytesOf(ListDataset(OnLaptop(name)).value().files);
  };
  const std::int64_t n_bytes = make("aa");
  ASSERT_EQ(make("bb"), n_bytes);
  const std::vector<std::string> limit = {"--registered-bytes", Str(2 * n_bytes - 1)};
  const auto use = [&](const std::string& role) {
    ASSERT_EQ(Longrun({"context", "use", role}).code, 0);
  };
  const auto names = [&] {
    return Here({"query", "-o", "csv",
                 "SELECT dataset, owner, owner_bytes FROM datasets ORDER BY dataset"})
        .out;
  };
  InitAndStart(limit);
  const std::string log = ReadFile(At("log")).value();
  EXPECT_NE(log.find(Str(" kept_file_bytes=\"a quarter of the disk\" registered_bytes=",
                         2 * n_bytes - 1, " ")),
            std::string::npos)
      << log;
  Login("admin");
  const std::string ben = IdOf(Login("operator")), ada = IdOf(Login("submitter"));
  const std::string of_ada = Str("token ", ada), of_ben = Str("token ", ben);
  ASSERT_EQ(Longrun({"data", "register", "one", "aa"}).code, 0);

  // Refused before anything is sent.
  const Ran refused = Longrun({"data", "register", "two", "bb"});
  EXPECT_NE(refused.code, 0);
  EXPECT_NE(refused.err.find(Str("dataset \"two\" has ", n_bytes, " bytes, in addition to the ",
                                 n_bytes, " bytes that ", of_ada, " has (", n_bytes,
                                 " in datasets, 0 in models)")),
            std::string::npos)
      << refused.err;
  EXPECT_NE(refused.err.find("--registered-bytes"), std::string::npos) << refused.err;
  EXPECT_TRUE(IsAudited("StoreDataset RESOURCE_EXHAUSTED two"));
  EXPECT_FALSE(IsAudited(Str("UploadArtifact OK ", ListDataset(OnLaptop("bb"))->files[0].sha256)));
  EXPECT_EQ(NamesIn(InState("datasets")), std::vector<std::string>{"one"});
  EXPECT_EQ(Longrun({"data", "register", "one", "aa"}).code, 0) << "what she has is nothing new";

  // Another person has room, and the limit outlives a restart.
  use("operator");
  EXPECT_EQ(Longrun({"data", "register", "bens", "bb"}).code, 0);
  Kill(coordinator);
  Start(limit);
  use("submitter");
  EXPECT_NE(Longrun({"data", "register", "two", "bb"}).code, 0);
  EXPECT_EQ(names(), Str("dataset,owner,owner_bytes\nbens,", of_ben, ",", n_bytes, "\none,", of_ada,
                         ",", n_bytes, "\n"));

  // Her own she may remove, and nothing else.
  const Ran of_other = Longrun({"data", "rm", "bens"});
  EXPECT_NE(of_other.code, 0);
  EXPECT_NE(of_other.err.find(Str("dataset \"bens\" belongs to ", of_ben, ", and ", of_ada,
                                  " has the role submitter: have it removed by its owner, or by "
                                  "an operator")),
            std::string::npos)
      << of_other.err;
  EXPECT_TRUE(IsAudited("RemoveDataset PERMISSION_DENIED bens"));
  EXPECT_EQ(Longrun({"data", "rm", "one"}).code, 0);
  EXPECT_EQ(NamesIn(InState("datasets")), std::vector<std::string>{"bens"});
  EXPECT_EQ(Longrun({"data", "register", "two", "bb"}).code, 0) << "there is room again";

  // On the coordinator's machine, there is no limit, and an operator removes anything.
  for (const char* const name : {"here", "there", "everywhere"}) {
    EXPECT_EQ(Here({"data", "register", name, OnLaptop("aa")}).code, 0);
  }
  const Ran of_local = Longrun({"data", "rm", "here"});
  EXPECT_NE(of_local.err.find("dataset \"here\" belongs to "), std::string::npos) << of_local.err;
  use("operator");
  EXPECT_EQ(Longrun({"data", "rm", "two"}).code, 0);
  EXPECT_EQ(Longrun({"data", "rm", "here"}).code, 0);
  EXPECT_TRUE(IsFolder(OnLaptop("aa")));
  EXPECT_EQ(NamesIn(InState("datasets")), std::vector<std::string>{"bens"});
  // The remains of an import have no owner.
  ASSERT_TRUE(MakeFolders(InState("datasets/rest")).ok());
  use("submitter");
  EXPECT_NE(Longrun({"data", "rm", "rest"}).code, 0);
  EXPECT_TRUE(IsFolder(InState("datasets/rest")));
  use("operator");
  EXPECT_EQ(Longrun({"data", "rm", "rest"}).code, 0);
  EXPECT_FALSE(PathExists(InState("datasets/rest")));
}

// There was room for the dataset when it was sent, until the model was registered.
TEST_F(LaptopTest, ADatasetThatFindsItsRoomTakenAtTheEndLeavesNothing) {
  WriteTexts();
  MakeDataset(OnLaptop("made"));
  InitPki();
  admin = NewToken("admin");
  Start({"--registered-bytes", Str(BytesOf(ListDataset(OnLaptop("made")).value().files))},
        "dataset_before_register:delay_ms:3000");
  const std::string token = Login("submitter");
  const int registering = SpawnLongrun({"data", "register", "books", "made"});
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return PathExists(InState("datasets/books")); }));
  const grpc::Status model = RegisterModel(token, "mine", "weights");
  const Ran dataset = EndOf(registering);

  // On a machine so slow that the model comes second, the dataset is stored.
  ASSERT_NE(model.ok(), dataset.code == 0) << model.error_message() << dataset.err;
  const std::string listed = Here({"query", "-o", "csv", "SELECT dataset FROM datasets"}).out;
  if (model.ok()) {
    EXPECT_NE(dataset.err.find("--registered-bytes"), std::string::npos) << dataset.err;
    EXPECT_TRUE(NamesIn(InState("datasets")).empty());
    EXPECT_EQ(listed, "dataset\n");
  } else {
    EXPECT_EQ(model.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(listed, "dataset\nbooks\n");
  }
}

TEST_F(LaptopTest, ModelsOfOnePersonAreLimitedAndTheirOwnerMayRemoveThem) {
  InitAndStart();
  const std::string ada = NewToken("submitter"), ben = NewToken("submitter");
  ASSERT_TRUE(RegisterModel(ada, "one", "weights").ok());
  const std::int64_t n_bytes = std::stoll(
      std::string(Trim(Here({"query", "-o", "csv", "SELECT bytes FROM models"}).out.substr(6))));
  Kill(coordinator);
  Start({"--registered-bytes", Str(n_bytes)});
  EXPECT_TRUE(RegisterModel(ada, "one", "weights").ok()) << "it has the name already";
  EXPECT_TRUE(RegisterModel(ada, "same", "weights").ok()) << "the same bytes count once";

  const grpc::Status refused = RegisterModel(ada, "two", "heights");
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(
      refused.error_message().find(Str("model \"two\" has ", n_bytes, " bytes, in addition to the ",
                                       n_bytes, " bytes that token ", IdOf(ada), " has")),
      std::string::npos)
      << refused.error_message();
  EXPECT_EQ(Here({"models", "ls"}).out.find("two"), std::string::npos);
  EXPECT_TRUE(RegisterModel(ben, "bens", "heights").ok());

  const grpc::Status of_other = RemoveModel(ada, "bens");
  EXPECT_EQ(of_other.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(of_other.error_message().find(Str("model \"bens\" belongs to token ", IdOf(ben))),
            std::string::npos)
      << of_other.error_message();
  EXPECT_EQ(RemoveModel(ada, "none").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(RemoveModel(ada, "same").ok());
  EXPECT_FALSE(RegisterModel(ada, "two", "heights").ok()) << "the other name counts";
  EXPECT_TRUE(RemoveModel(ada, "one").ok());
  EXPECT_TRUE(RegisterModel(ada, "two", "heights").ok());
  EXPECT_TRUE(RemoveModel(NewToken("operator"), "bens").ok());

  // Sizes that its manifest invents would count instead of the real ones.
  const grpc::Status lie = RegisterModel(ben, "lie", "weights", -1);
  EXPECT_EQ(lie.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(lie.error_message().find("bytes, not "), std::string::npos) << lie.error_message();
}

// The coordinator ends between the commit and the answer.
TEST_F(LaptopTest, WhatGetsNoAnswerIsSentAgain) {
  InitAndStart();
  Login("submitter");
  WriteTexts();
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  Kill(coordinator);
  Start({}, "submission_before_answer:exit");
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.yaml"), kTinySweep).ok());
  // A user who waits is told what for, once.
  const auto says_that_it_tries = [&] {
    const Result<std::string> said = ReadFile(At("err"));
    return said.ok() && said->ends_with("; trying again for 30 s\n");
  };
  const int submitting = SpawnLongrun({"submit", "a.yaml"});
  ASSERT_TRUE(WaitUntil(kPatienceMs, says_that_it_tries));
  Kill(coordinator);
  Start();
  const Ran lost = EndOf(submitting);
  EXPECT_EQ(lost.code, 0) << lost.err;
  EXPECT_NE(lost.out.find("a: nothing new, since this sweep was already submitted: "),
            std::string::npos)
      << lost.out;
  EXPECT_EQ(lost.err.find("trying"), lost.err.rfind("trying")) << lost.err;
  Kill(coordinator);
  const int logging = SpawnLongrun({"logs", "a"});
  ASSERT_TRUE(WaitUntil(kPatienceMs, says_that_it_tries));
  Start();
  const Ran logged = EndOf(logging);
  EXPECT_EQ(logged.err.find("trying"), logged.err.rfind("trying")) << logged.err;
  Kill(coordinator);
  const int waiting = SpawnLongrun({"ls"});
  ASSERT_TRUE(WaitUntil(kPatienceMs, says_that_it_tries));
  Start();
  const Ran waited = EndOf(waiting);
  EXPECT_EQ(waited.code, 0) << waited.err;
  EXPECT_EQ(waited.err.find('\n'), waited.err.size() - 1) << waited.err;
  EXPECT_NE(waited.out.find("a  "), std::string::npos) << waited.out;

  Kill(coordinator);
  const int early = SpawnLongrun({"submit", "a.yaml"});
  ASSERT_TRUE(WaitUntil(kPatienceMs, says_that_it_tries));
  Start();
  const Ran down = EndOf(early);
  EXPECT_EQ(down.code, 0) << down.err;
  EXPECT_EQ(down.err.find("may still appear"), std::string::npos) << down.err;

  const Ran listed = Longrun({"ls", "-o", "json"});
  EXPECT_EQ(ParseJson(listed.out).value().size(), 1u) << listed.out;
  const Ran again = Longrun({"submit", "a.yaml"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.out.find("a: nothing new"), std::string::npos) << again.out;
  EXPECT_EQ(ParseJson(Longrun({"ls", "-o", "json"}).out).value().size(), 1u);
  Kill(coordinator);
  const int importing = SpawnLongrun(ImportOf("again"));
  ASSERT_TRUE(WaitUntil(kPatienceMs, says_that_it_tries));
  Start();
  const Ran imported = EndOf(importing);
  EXPECT_EQ(imported.code, 0) << imported.err;
  EXPECT_TRUE(Dataset::Open(InState("datasets/again"))->Verify().ok());
  // An answer is an answer.
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.yaml"), "kind: Sweep\n").ok());
  const Ran wrong = Longrun({"submit", "a.yaml"});
  EXPECT_EQ(wrong.code, 2) << wrong.err;
  EXPECT_EQ(wrong.err.find("may still appear"), std::string::npos) << wrong.err;
}

TEST_F(LaptopTest, AWatchThatLosesItsCoordinatorSaysSoOnceAndGoesOn) {
  InitAndStart();
  Login("submitter");
  WriteTexts();
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.yaml"), kTinySweep).ok());
  ASSERT_EQ(Longrun({"submit", "a.yaml"}).code, 0);
  const int watching = SpawnLongrun({"watch", "a", "-o", "json"});
  const auto has = [&](const std::string& file, const std::string& text) {
    const Result<std::string> said = ReadFile(At(file));
    return said.ok() && said->find(text) != std::string::npos;
  };
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return has("out", "\n"); }));

  Kill(coordinator);
  const std::string silent =
      ": check host, port and firewall, and that the coordinator runs with --listen; trying again "
      "for 60 s\n";
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return has("err", silent); }))
      << ReadFile(At("err")).value();
  Start();
  const std::string answers =
      Str("the coordinator of context submitter (", place.Text(), ") answers again\n");
  ASSERT_TRUE(WaitUntil(kPatienceMs, [&] { return has("err", answers); }))
      << ReadFile(At("err")).value();
  ASSERT_EQ(kill(watching, SIGINT), 0);
  const Ran ended = EndOf(watching);
  EXPECT_EQ(ended.code, 130) << ended.err;
  EXPECT_EQ(ended.err.find(silent), ended.err.rfind(silent)) << ended.err;
  EXPECT_EQ(ended.err.find(answers), ended.err.rfind(answers)) << ended.err;
  EXPECT_TRUE(ended.err.ends_with("\ndetached: `longrun watch a` shows it again\n")) << ended.err;
}

// Two would remove each other's files.
TEST_F(LaptopTest, OneImportOfANameAtATimeRunsOnALaptop) {
  InitAndStart();
  Login("submitter");
  WriteTexts();
  const std::string made = OnLaptop(".cache/longrun/contexts/submitter");
  ASSERT_TRUE(MakeFolders(made).ok());
  {
    const auto lock = FileLock::Acquire(JoinPath(made, ".tiny.lock"), "an import");
    ASSERT_TRUE(lock.ok());
    const Ran refused = Longrun(ImportOf("tiny"));
    EXPECT_NE(refused.code, 0);
    EXPECT_NE(refused.err.find("another import from this machine is already running"),
              std::string::npos)
        << refused.err;
    EXPECT_EQ(Longrun(ImportOf("other")).code, 0);
  }
  EXPECT_EQ(Longrun(ImportOf("tiny")).code, 0);
}

// The submission is refused after its files were kept.
TEST_F(LaptopTest, ARefusedSubmissionLeavesNoFiles) {
  InitAndStart({"--owner-tasks-max", "1"});
  Login("submitter");
  WriteTexts();
  ASSERT_EQ(Longrun(ImportOf("tiny")).code, 0);
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("a.yaml"), kSweep).ok());
  ASSERT_TRUE(WriteFileAtomic(OnLaptop("questions.jsonl"), kQuestions).ok());
  const Ran ran = Longrun({"submit", "a.yaml"});
  EXPECT_NE(ran.code, 0);
  EXPECT_NE(ran.err.find("--owner-tasks-max"), std::string::npos) << ran.err;
  EXPECT_FALSE(PathExists(InState(Str("files/", Sha256Hex(kQuestions)))));
}

}  // namespace
}  // namespace longrun::coordinator
