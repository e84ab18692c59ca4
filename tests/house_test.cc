// The rules of the house (CONTRIBUTING.md), held over every source of the tree: includes go down,
// each heavy library has its one place, names say what a thing is, and a folder introduces itself.
//
// The rules are tables; a rule that changes is a line here. Each rule is shown to bite by sources
// that break it, planted in memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "tests/house_source.h"

namespace longrun {
namespace {

// What each top folder may include beside itself. Between coordinator, worker and client: nothing.
struct Floor {
  std::string_view folder;
  std::vector<std::string_view> sees;
};
const std::vector<Floor> kFloors = {
    {"base", {}},
    {"proto", {"base"}},
    {"metrics", {"base"}},
    {"pki", {"base"}},
    {"kernels", {"base"}},
    {"model", {"base", "kernels"}},
    {"sweeps", {"base", "kernels", "model"}},
    {"coordinator", {"base", "proto", "metrics", "pki", "kernels", "model", "sweeps"}},
    {"worker", {"base", "proto", "metrics", "pki", "kernels", "model", "sweeps"}},
    {"client", {"base", "proto", "pki", "kernels", "model", "sweeps"}},
};
// What each folder of client/ may include of client/ beside itself. verb.h has a row of its own: it
// is at the door, but every verb includes it. Nothing includes a verb's file,
// not even another verb.
constexpr std::string_view kVerbs = "client/verbs";
const std::vector<Floor> kClientFloors = {
    {"client/console", {}},
    {"client/wire", {"client/console"}},
    {"client/words", {"client/console", "client/wire"}},
    {"client/doctor", {"client/console", "client/wire"}},
    {"client/pilot", {"client/console", "client/wire", "client/words"}},
    {"client/tables", {"client/console", "client/wire", "client/words"}},
    {"client/plots", {"client/console", "client/wire", "client/words", "client/tables"}},
    {"client/claims", {"client/wire", "client/words", "client/tables"}},
    {"client/report",
     {"client/console", "client/wire", "client/words", "client/tables", "client/plots",
      "client/claims"}},
    {"client/verb.h", {"client/console"}},
    {kVerbs,
     {"client/console", "client/wire", "client/words", "client/doctor", "client/pilot",
      "client/tables", "client/plots", "client/claims", "client/report", "client/verb.h"}},
    {"client",
     {"client/console", "client/wire", "client/words", "client/doctor", "client/tables",
      "client/plots", "client/report", "client/verb.h"}},
};
// Each program has a namespace for what only it and its tests see, so that two programs may use one
// name for two things, and a reader knows whose it is. The folders below them share `longrun`.
struct Door {
  std::string_view folder;
  std::string_view space;
};
constexpr Door kDoors[] = {{"client/", "longrun::client"},
                           {"coordinator/", "longrun::coordinator"},
                           {"worker/agent/", "longrun::agent"},
                           {"worker/trainer/", "longrun::trainer"}};

// These look at everything, and nothing looks at them.
constexpr std::string_view kAbove[] = {"tests", "tools"};

// An include that starts with one of `prefixes` stands only in files that start with one of
// `places`. Tests are free: what they may include is decided by what they link.
struct Place {
  std::string_view what;
  std::vector<std::string_view> prefixes;
  std::vector<std::string_view> places;
};
const std::vector<Place> kPlaces = {
    {"LibTorch and NCCL",
     {"torch/", "ATen/", "c10/", "caffe2/", "nccl.h", "gloo/"},
     {"model/net/", "worker/trainer/", "kernels/bench/", "kernels/tensor_heads.h"}},
    {"gRPC and Protobuf",
     {"grpc", "google/protobuf/", "longrun/v1/artifacts", "longrun/v1/session",
      "longrun/v1/identity.grpc", "longrun/v1/sweeps.grpc"},
     {"proto/", "sweeps/session_codec.", "coordinator/rpc/", "coordinator/bench/",
      "coordinator/server.cc", "worker/agent/session.cc", "worker/agent/transfer.cc",
      "worker/agent/membership.cc", "client/wire/artifacts.cc", "client/wire/channel.cc",
      "client/wire/connection.cc", "client/wire/messages.cc"}},
    // The rest of the client has them from messages.h.
    {"SweepService's messages",
     {"longrun/v1/sweeps.pb.h", "longrun/v1/identity.pb.h"},
     {"proto/", "coordinator/rpc/", "coordinator/bench/", "coordinator/server.cc",
      "client/wire/connection.cc", "client/wire/messages.h"}},
    {"OpenSSL", {"openssl/"}, {"pki/", "coordinator/bench/tls_socket.cc"}},
    {"SQLite",
     {"sqlite3"},
     {"coordinator/store/", "coordinator/bench/ingest_bench.cc",
      "coordinator/bench/service_bench.cc"}},
    {"yaml-cpp", {"yaml-cpp/"}, {"sweeps/yaml_tree.cc"}},
    {"prometheus-cpp", {"prometheus/"}, {"metrics/page.cc"}},
    {"CUDA", {"cuda", "cublas", "cutlass/", "cute/", "mma.h", "nvtx3/"}, {"kernels/cuda/"}},
    {"Highway", {"hwy/"}, {"kernels/"}},
    {"cairo", {"cairo"}, {"client/plots/plot_cairo.cc"}},
    // The contract and its checks do not know who keeps them: only the list does.
    {"attention's back-ends",
     {"kernels/cpu/attention.h", "kernels/reference/kernel.h"},
     {"kernels/backends.cc", "kernels/cpu/", "kernels/reference/"}},
    {"nlohmann's JSON", {"nlohmann/"}, {"base/"}},
    {"zlib", {"zlib.h"}, {"model/data/source/gzip.cc"}},
    {"libzstd", {"zstd"}, {"model/data/source/zstd.cc"}},
    {"Arrow", {"arrow/", "parquet/"}, {"model/data/source/parquet_arrow.cc"}},
    {"CLI11",
     {"CLI/"},
     {"base/usage_problem.h", "client/main.cc", "client/command_line.cc", "client/completion.cc",
      "client/console/arguments.cc", "coordinator/main.cc", "worker/agent/main.cc",
      "worker/trainer/main.cc"}},
    {"GoogleTest", {"gtest/", "gmock/"}, {}},
    // Ours, but with LibTorch or CUDA behind it: who includes it is no longer free of them.
    {"model/net", {"model/net/"}, {"model/net/", "worker/trainer/"}},
    {"kernels/cuda", {"kernels/cuda/"}, {"kernels/"}},
    {"the trainer", {"worker/trainer/"}, {"worker/trainer/"}},
    {"the agent", {"worker/agent/"}, {"worker/agent/"}},
};

// The scheduler decides from what it is told: no clock, no chance, no lock, no I/O.
constexpr std::string_view kPureFolder = "coordinator/scheduler/";
constexpr std::string_view kImpureIncludes[] = {"chrono",
                                                "ctime",
                                                "time.h",
                                                "sys/time.h",
                                                "thread",
                                                "mutex",
                                                "atomic",
                                                "random",
                                                "fstream",
                                                "unistd.h",
                                                "condition_variable",
                                                "iostream",
                                                "future",
                                                "base/clock.h",
                                                "base/files.h",
                                                "base/process.h",
                                                "base/log.h"};
constexpr std::string_view kImpureWords[] = {"EntropySeed", "random_device", "getenv"};

constexpr std::string_view kSleepWords[] = {"sleep", "usleep", "nanosleep", "sleep_for",
                                            "sleep_until"};
constexpr std::string_view kEmptyNames[] = {"util", "utils", "common", "helper", "helpers", "misc"};

bool StartsWithOne(std::string_view text, const std::vector<std::string_view>& prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view p) { return text.starts_with(p); });
}

template <typename Words>
bool IsOneOf(std::string_view word, const Words& words) {
  return std::ranges::find(words, word) != std::end(words);
}

std::string_view TopFolder(std::string_view path) { return path.substr(0, path.find('/')); }

const Floor* FindFloor(std::string_view folder) {
  const auto at = std::ranges::find(kFloors, folder, &Floor::folder);
  return at == kFloors.end() ? nullptr : &*at;
}

// The row of a file of client/; null for any other file, and for a folder that has no row.
const Floor* FindClientFloor(std::string_view path) {
  if (TopFolder(path) != "client") return nullptr;
  const auto at = std::ranges::find_if(kClientFloors, [&](const Floor& floor) {
    return floor.folder == path || floor.folder == FolderOf(path);
  });
  return at == kClientFloors.end() ? nullptr : &*at;
}

// What stands between the quotes or brackets of an include, or "" for another line.
std::string_view IncludedBy(std::string_view line) {
  line = Trim(line);
  if (!line.starts_with('#')) return {};
  line = Trim(line.substr(1));
  constexpr std::string_view kInclude = "include";
  if (!line.starts_with(kInclude)) return {};
  line = Trim(line.substr(kInclude.size()));
  if (line.empty() || (line[0] != '"' && line[0] != '<')) return {};
  return line.substr(1, line.find_first_of("\">", 1) - 1);
}

// Whether `text` calls a function of that name.
bool Calls(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find(name); at != std::string_view::npos;
       at = text.find(name, at + 1)) {
    const std::string_view rest = text.substr(at + name.size());
    if ((at == 0 || !IsNameLetter(text[at - 1])) && rest.starts_with('(')) return true;
  }
  return false;
}

// Why this include of client/ must not stand in this file of client/, or "".
std::string WhyNotInClient(std::string_view path, std::string_view included) {
  const Floor* const floor = FindClientFloor(path);
  const Floor* const target = FindClientFloor(included);
  if (floor == nullptr || target == nullptr) return "";
  if (target->folder == kVerbs) {
    return "nothing includes a verb's file: what two files need is in a folder below";
  }
  if (floor == target || IsOneOf(target->folder, floor->sees)) return "";
  return Str(floor->folder, " must not see ", target->folder,
             ": an include goes down, never up or across");
}

// Why this include must not stand in this file, or "".
std::string WhyNotIncluded(std::string_view path, std::string_view included) {
  const std::string_view folder = TopFolder(path), target = TopFolder(included);
  if (path.starts_with(kPureFolder) && IsOneOf(included, kImpureIncludes)) {
    return "the scheduler has no clock, no chance, no lock and no I/O";
  }
  if (IsOneOf(folder, kAbove)) return "";
  if (IsOneOf(target, kAbove)) return Str("nothing includes ", target, "/");
  for (const Place& place : kPlaces) {
    if (StartsWithOne(included, place.prefixes) && !StartsWithOne(path, place.places)) {
      return Str(place.what, " may be included only in ",
                 Join({place.places.begin(), place.places.end()}, ", "));
    }
  }
  if (FindFloor(target) == nullptr || target == folder) return WhyNotInClient(path, included);
  const Floor* const floor = FindFloor(folder);
  if (floor == nullptr || IsOneOf(target, floor->sees)) return "";
  return Str(folder, "/ must not see ", target, "/: an include goes down, never up or across");
}

// "path:line: what is wrong", in the order of the sources.
std::vector<std::string> WrongLines(const std::vector<Source>& sources) {
  std::vector<std::string> wrong;
  for (const Source& source : sources) {
    if (!IsSource(source.path)) continue;
    int line_number = 0;
    for (const std::string& line : Split(source.text, '\n')) {
      ++line_number;
      const auto add = [&](std::string_view why) {
        wrong.push_back(Str(source.path, ":", line_number, ": ", why, ": ", Trim(line)));
      };
      if (const std::string_view included = IncludedBy(line); !included.empty()) {
        if (const std::string why = WhyNotIncluded(source.path, included); !why.empty()) add(why);
      }
      if (source.path.starts_with(kPureFolder)) {
        for (const std::string_view word : kImpureWords) {
          if (line.find(word) != std::string::npos)
            add("the scheduler takes its chance and world as arguments");
        }
      }
      if (source.path.starts_with("tests/")) {
        for (const std::string_view word : kSleepWords) {
          if (Calls(line, word)) add("a test never sleeps: wait for the event itself");
        }
      }
    }
  }
  return wrong;
}

std::vector<std::string> WrongPlaces(const std::vector<Source>& sources) {
  std::vector<std::string> wrong;
  for (const Source& source : sources) {
    if (!IsSource(source.path)) continue;
    const std::string_view top = TopFolder(source.path);
    const bool has_floor = top == "client" ? FindClientFloor(source.path) != nullptr
                                           : FindFloor(top) != nullptr || IsOneOf(top, kAbove);
    if (!has_floor) {
      wrong.push_back(Str(source.path, ": ", FolderOf(source.path),
                          " has no floor in the tables of this test"));
    }
  }
  return wrong;
}

// Whether the first code in these lines specialises a template.
bool SpecialisesATemplate(std::span<const std::string> lines) {
  const auto first = std::ranges::find_if(
      lines, [](const std::string& line) { return !line.empty() && !line.starts_with("//"); });
  return first != lines.end() && *first == "template <>";
}

// Lines that open the namespace `longrun` otherwise than their folder's door has it. A template of
// ours can only be specialised in the namespace of all.
std::vector<std::string> WrongNamespaces(const std::vector<Source>& sources) {
  std::vector<std::string> wrong;
  for (const Source& source : sources) {
    if (!IsSource(source.path)) continue;
    std::string_view place = source.path;
    if (place.starts_with("tests/")) place.remove_prefix(6);
    std::string_view expected = "longrun";
    for (const Door& door : kDoors) {
      if (place.starts_with(door.folder)) expected = door.space;
    }
    const std::vector<std::string> lines = Split(source.text, '\n');
    std::size_t line_number = 0;
    for (const std::string& line : lines) {
      ++line_number;
      const std::vector<std::string> words = Split(line, ' ');
      if (words.size() < 2 || words[0] != "namespace" || !words[1].starts_with("longrun")) continue;
      const bool is_free = expected == "longrun" && TopFolder(source.path) == "tests";
      if (words[1] == expected || is_free) continue;
      if (words[1] == "longrun" && SpecialisesATemplate(std::span(lines).subspan(line_number))) {
        continue;
      }
      wrong.push_back(Str(source.path, ":", line_number, ": the namespace of this folder is ",
                          expected, ", found ", words[1]));
    }
  }
  return wrong;
}

std::vector<std::string> EmptyNames(const std::vector<Source>& sources) {
  std::vector<std::string> wrong;
  for (const Source& source : sources) {
    for (const std::string& part : Split(source.path, '/')) {
      std::string_view name = std::string_view(part).substr(0, part.find('.'));
      if (name.ends_with("_test")) name.remove_suffix(5);
      if (IsOneOf(name, kEmptyNames)) {
        wrong.push_back(Str(source.path, ": \"", name, "\" names no thing: say what it is"));
      }
    }
  }
  return wrong;
}

// Folders of sources without a page. Below tests/, which mirrors the tree, one page is enough.
std::vector<std::string> WithoutReadme(const std::vector<Source>& sources) {
  std::set<std::string> paths, folders;
  for (const Source& source : sources) {
    paths.insert(source.path);
    if (!IsSource(source.path)) continue;
    const bool is_test = TopFolder(source.path) == "tests";
    folders.insert(is_test ? "tests" : FolderOf(source.path));
  }
  std::vector<std::string> wrong;
  for (const std::string& folder : folders) {
    if (!paths.contains(JoinPath(folder, "README.md"))) {
      wrong.push_back(Str(folder, "/: has sources and no README.md"));
    }
  }
  return wrong;
}

TEST(HouseTest, TreeIsRead) {
  EXPECT_TRUE(
      std::ranges::any_of(Tree(), [](const Source& s) { return s.path == "base/status.h"; }));
}

TEST(HouseTest, EveryIncludeGoesDownAndEveryLibraryHasItsPlace) {
  const std::vector<std::string> wrong = WrongLines(Tree());
  EXPECT_TRUE(wrong.empty()) << Lines(wrong);
}

TEST(HouseTest, EverySourceHasAFloor) {
  const std::vector<std::string> wrong = WrongPlaces(Tree());
  EXPECT_TRUE(wrong.empty()) << Lines(wrong);
}

TEST(HouseTest, EveryDoorHasItsNamespace) {
  const std::vector<std::string> wrong = WrongNamespaces(Tree());
  EXPECT_TRUE(wrong.empty()) << Lines(wrong);
}

TEST(HouseTest, NothingIsCalledByAnEmptyName) {
  const std::vector<std::string> wrong = EmptyNames(Tree());
  EXPECT_TRUE(wrong.empty()) << Lines(wrong);
}

// A field of the wire says what it is: beside it, or in the line above.
TEST(HouseTest, EveryFieldOfTheWireIsCommented) {
  static const std::regex kField(R"(^\s+(repeated )?(map<[^>]*>|[\w.]+) \w+ = \d+;.*)");
  static const std::regex kComment(R"(^\s*//.*)");
  for (const char* name : {"session", "artifacts", "sweeps"}) {
    const std::string path = Str("proto/longrun/v1/", name, ".proto");
    std::string before;
    int number = 0;
    for (const std::string& line :
         Split(ReadFile(Str(LONGRUN_SOURCE_DIR, "/", path)).value(), '\n')) {
      ++number;
      const bool commented =
          line.find("//") != std::string::npos || std::regex_match(before, kComment);
      EXPECT_TRUE(!std::regex_match(line, kField) || commented) << path << ":" << number;
      before = line;
    }
  }
}

TEST(HouseTest, EveryFolderHasAPage) {
  const std::vector<std::string> wrong = WithoutReadme(Tree());
  EXPECT_TRUE(wrong.empty()) << Lines(wrong);
}

TEST(PlantedTest, BadIncludesAreFound) {
  const Source bad[] = {
      {"base/a.cc", "#include \"kernels/attention.h\""},
      {"base/a.cc", "#include \"longrun/v1/sweeps.pb.h\""},
      {"client/verbs/get.cc", "#include \"longrun/v1/sweeps.pb.h\""},
      {"client/verbs/get.cc", "#include \"longrun/v1/sweeps.grpc.pb.h\""},
      {"kernels/a.cc", "#include \"model/config.h\""},
      {"kernels/cpu/a.cc", "#include <cuda_runtime.h>"},
      {"kernels/attention.cc", "#include \"kernels/cpu/attention.h\""},
      {"model/config.cc", "#include \"sweeps/sweep.h\""},
      {"model/position/rope.cc", "#include <ATen/core/Tensor.h>"},
      {"model/position/rope.cc", "#  include <torch/torch.h>"},
      {"model/data/order.cc", "#include \"model/net/decoder.h\""},
      {"sweeps/schema.cc", "#include <yaml-cpp/yaml.h>"},
      {"sweeps/sweep.cc", "#include \"coordinator/core.h\""},
      {"coordinator/core.cc", "#include \"worker/agent/journal.h\""},
      {"coordinator/core.cc", "#include <grpcpp/grpcpp.h>"},
      {"coordinator/core.cc", "#include <sqlite3.h>"},
      {"coordinator/core.cc", "#include \"model/net/decoder.h\""},
      {"coordinator/server.cc", "#include <prometheus/counter.h>"},
      {"coordinator/scheduler/advance.cc", "#include <chrono>"},
      {"coordinator/scheduler/advance.cc", "#include \"base/clock.h\""},
      {"worker/agent/agent.cc", "#include <google/protobuf/message.h>"},
      {"worker/agent/agent.cc", "#include \"worker/trainer/train.h\""},
      {"client/table.cc", "#include \"coordinator/server.h\""},
      {"kernels/a.cc", "#include <nlohmann/json.hpp>"},
      {"sweeps/read.cc", "#include <CLI/CLI.hpp>"},
      {"client/verbs/table.cc", "#include <CLI/CLI.hpp>"},
      {"model/param.cc", "#include <gtest/gtest.h>"},
      {"client/table.cc", "\t#include \"tests/simulation/world.h\"  // why"},
      {"client/console/output.cc", "#include \"client/wire/retrying_client.h\""},
      {"client/wire/retrying_client.cc", "#include \"client/words/render.h\""},
      {"client/wire/retrying_client.cc", "#include \"client/verb.h\""},
      {"client/words/render.h", "#include \"client/tables/by_position.h\""},
      {"client/doctor/checks.cc", "#include \"client/plots/plot.h\""},
      {"client/tables/pivot.cc", "#include \"client/plots/plot.h\""},
      {"client/plots/plot_svg.cc", "#include \"client/report/report_page.h\""},
      {"client/report/report_page.cc", "#include \"client/doctor/checks.h\""},
      {"client/verb.h", "#include \"client/words/render.h\""},
      {"client/verbs/get.cc", "#include \"client/command_line.h\""},
      {"client/verbs/get.cc", "#include \"client/verbs/data.h\""},
      {"client/main.cc", "#include \"client/verbs/get.h\""},
  };
  for (const Source& source : bad) {
    EXPECT_EQ(WrongLines({source}).size(), 1u) << source.path << ": " << source.text;
  }
}

TEST(PlantedTest, ErrorNamesFileAndLine) {
  const std::vector<std::string> wrong =
      WrongLines({{"client/a.cc", "// a\n#include <string>\n#include \"worker/agent/a.h\"\n"}});
  ASSERT_EQ(wrong.size(), 1u);
  EXPECT_EQ(wrong[0],
            "client/a.cc:3: the agent may be included only in worker/agent/: "
            "#include \"worker/agent/a.h\"");
}

TEST(PlantedTest, GoodIncludesPass) {
  const Source good[] = {
      {"base/json.h", "#include <nlohmann/json.hpp>\n#include \"base/status.h\""},
      {"kernels/cuda/attention.cu", "#include <cuda_bf16.h>\n#include \"kernels/attention.h\""},
      {"kernels/cpu/attention.cc", "#include \"hwy/highway.h\""},
      {"kernels/backends.cc", "#include \"kernels/cpu/attention.h\""},
      {"model/net/decoder.cc", "#include <torch/torch.h>\n#include \"model/position/method.h\""},
      {"worker/trainer/train.cc", "#include <torch/torch.h>\n#include \"model/net/decoder.h\""},
      {"sweeps/yaml_tree.cc", "#include <yaml-cpp/eventhandler.h>\n#include \"model/config.h\""},
      {"coordinator/rpc/sweeps.cc", "#include \"longrun/v1/client.grpc.pb.h\""},
      {"coordinator/store/db.cc", "#include <sqlite3.h>"},
      {"coordinator/scheduler/advance.cc", "#include <vector>\n#include \"sweeps/task.h\""},
      {"tests/model/net/decoder_test.cc", "#include <torch/torch.h>"},
      {"client/wire/retrying_client.cc", "#include \"client/console/exit_code.h\""},
      {"client/words/failures.cc", "#include \"client/words/render.h\""},
      {"client/plots/plot_curves.cc", "#include \"client/tables/pivot.h\""},
      {"client/verbs/get.cc", "#include \"client/verb.h\"\n#include \"client/words/render.h\""},
      {"client/main.cc", "#include \"client/command_line.h\"\n#include \"client/verb.h\""},
      {"client/table.cc", "// #include \"worker/agent/agent.h\" is what we must not do"},
  };
  for (const Source& source : good) {
    EXPECT_EQ(WrongLines({source}).size(), 0u) << Lines(WrongLines({source}));
  }
}

TEST(PlantedTest, ImpureSchedulerAndSleepingTestAreFound) {
  EXPECT_EQ(WrongLines({{"coordinator/scheduler/a.cc", "auto seed = EntropySeed();"}}).size(), 1u);
  for (const std::string_view word : kSleepWords) {
    EXPECT_EQ(WrongLines({{"tests/a_test.cc", Str("std::", word, "(1);")}}).size(), 1u) << word;
  }
  EXPECT_EQ(WrongLines({{"tests/a_test.cc", "oversleep(1); int sleep = 1;"}}).size(), 0u);
  EXPECT_EQ(WrongLines({{"base/files.cc", Str("nanosleep", "(&pause);")}}).size(), 0u);
}

TEST(PlantedTest, EmptyNamesAreFound) {
  EXPECT_EQ(EmptyNames({{"model/utils.h", ""}}).size(), 1u);
  EXPECT_EQ(EmptyNames({{"tests/model/common_test.cc", ""}}).size(), 1u);
  EXPECT_EQ(EmptyNames({{"model/misc/rope.cc", ""}}).size(), 1u);
  EXPECT_EQ(EmptyNames({{"model/commonness.cc", ""}}).size(), 0u);
}

TEST(PlantedTest, SourceOfNoFloorIsFound) {
  EXPECT_EQ(WrongPlaces({{"engine/a.cc", ""}}).size(), 1u);
  EXPECT_EQ(WrongPlaces({{"client/engine/a.cc", ""}}).size(), 1u);
  EXPECT_EQ(WrongPlaces({{"client/a.cc", ""}, {"client/wire/a.cc", ""}}).size(), 0u);
  EXPECT_EQ(WrongPlaces({{"tests/base/a_test.cc", ""}, {"docs/a.md", ""}}).size(), 0u);
}

TEST(PlantedTest, WrongNamespacesAreFound) {
  const std::string shared = Str("namespace ", "longrun {\n"),
                    client = Str("namespace ", "longrun::client {\n");
  EXPECT_EQ(WrongNamespaces({{"client/a.cc", shared}}).size(), 1u);
  EXPECT_EQ(WrongNamespaces({{"tests/client/wire/a_test.cc", shared}}).size(), 1u);
  EXPECT_EQ(WrongNamespaces({{"coordinator/store/a.cc", client}}).size(), 1u);
  EXPECT_EQ(WrongNamespaces({{"base/a.cc", client}}).size(), 1u);
  EXPECT_EQ(WrongNamespaces({{"client/a.cc", client}, {"base/a.cc", shared}}).size(), 0u);
}

TEST(PlantedTest, FolderWithoutAPageIsFound) {
  const std::vector<Source> sources = {
      {"model/a.cc", ""},      {"model/README.md", ""},       {"model/data/order.cc", ""},
      {"tests/README.md", ""}, {"tests/model/a_test.cc", ""}, {"deploy/x.yaml", ""}};
  EXPECT_EQ(WithoutReadme(sources),
            std::vector<std::string>{"model/data/: has sources and no README.md"});
}

}  // namespace
}  // namespace longrun
