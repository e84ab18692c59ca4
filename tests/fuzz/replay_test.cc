// Each input of a target's corpus, and seeded mutations of it, as part of the tests: what libFuzzer
// found once is never lost again, also where there is no libFuzzer.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/process.h"
#include "base/random.h"
#include "base/str.h"
#include "tests/fuzz/target.h"

namespace longrun {
namespace {

constexpr int kMutations = 100;  // of each input
// Of each input, with its structure kept; the environment variable LONGRUN_FUZZ_CHANGES: others.
constexpr int kChanges = 20;
constexpr int kChangesInARow = 10;  // before a change begins again with the input
constexpr std::size_t kInputBytesMax = 1 << 16;
constexpr std::size_t kChangesMax = 4;

std::vector<std::string> CorpusFolders() { return Split(LONGRUN_FUZZ_CORPUS, ':'); }

void Give(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

// A few bytes replaced, taken out or doubled; or the end cut off.
std::string Mutated(std::string bytes, SeededRandom& random) {
  const std::size_t n_changes = 1 + random.Next() % kChangesMax;
  for (std::size_t i = 0; i < n_changes && !bytes.empty(); ++i) {
    const std::size_t at = random.Next() % bytes.size();
    switch (random.Next() % 4) {
      case 0:
        bytes[at] = static_cast<char>(random.Next() & 0xff);
        break;
      case 1:
        bytes.erase(at, 1);
        break;
      case 2:
        bytes.insert(at, bytes.substr(at, 1 + random.Next() % 16));
        break;
      default:
        bytes.resize(at);
    }
  }
  return bytes;
}

// A change that keeps the structure, where the target knows how.
std::string ChangedByTarget(std::string bytes, SeededRandom& random) {
  const std::size_t n_bytes = bytes.size();
  bytes.resize(std::max(n_bytes, kInputBytesMax));
  bytes.resize(LLVMFuzzerCustomMutator(reinterpret_cast<std::uint8_t*>(bytes.data()), n_bytes,
                                       bytes.size(), static_cast<unsigned>(random.Next())));
  return bytes;
}

int ChangesOfEach() {
  const std::optional<std::string> wanted = GetEnv("LONGRUN_FUZZ_CHANGES");
  return wanted ? std::stoi(*wanted) : kChanges;
}

TEST(FuzzReplay, EachInputOfTheCorpusAndItsMutationsAreHandled) {
  std::size_t n_inputs = 0;
  for (const std::string& folder : CorpusFolders()) {
    const Result<std::vector<std::string>> names = ListFolder(folder);
    ASSERT_TRUE(names.ok()) << names.status().message();
    for (const std::string& name : *names) {
      const Result<std::string> bytes = ReadFile(JoinPath(folder, name));
      ASSERT_TRUE(bytes.ok()) << bytes.status().message();
      SCOPED_TRACE(name);
      Give(*bytes);
      SeededRandom random(n_inputs);
      for (int i = 0; i < kMutations; ++i) Give(Mutated(*bytes, random));
      std::string changed = *bytes;
      for (int i = 0; LLVMFuzzerCustomMutator != nullptr && i < ChangesOfEach(); ++i) {
        if (i % kChangesInARow == 0) changed = *bytes;
        changed = ChangedByTarget(std::move(changed), random);
        Give(changed);
      }
      ++n_inputs;
    }
  }
  EXPECT_GE(n_inputs, 2U) << "the corpus is empty: " << LONGRUN_FUZZ_CORPUS;
}

TEST(FuzzReplay, NothingAtAllIsHandled) {
  Give("");
  if (LongrunFuzzFinish != nullptr) LongrunFuzzFinish();
}

}  // namespace
}  // namespace longrun
