// Runs the tests of this program where there is no GoogleTest: gtest/gtest.h beside this file.
// One thread; a test that throws has failed.
#include <cstdio>
#include <exception>
#include <map>
#include <mutex>

#include "gtest/gtest.h"

namespace testing {
namespace {

// Tests may assert from threads of their own: the mutex guards `failed`, `fatal`, `skipped`.
struct State {
  std::vector<internal::Case> cases;
  std::vector<std::function<void()>> expansions;
  std::mutex mutex;
  bool failed = false;
  bool fatal = false;
  bool skipped = false;
  std::string filter = "*";
  bool lists_only = false;
};

State& TheState() {
  static State state;
  return state;
}

thread_local std::vector<std::string> traces;

// '*' is any text, '?' any one character.
bool Matches(std::string_view name, std::string_view pattern) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    return Matches(name, pattern.substr(1)) || (!name.empty() && Matches(name.substr(1), pattern));
  }
  return !name.empty() && (pattern[0] == '?' || pattern[0] == name[0]) &&
         Matches(name.substr(1), pattern.substr(1));
}

bool MatchesOne(std::string_view name, std::string_view patterns) {
  for (;;) {
    const std::size_t end = patterns.find(':');
    if (Matches(name, patterns.substr(0, end))) return true;
    if (end == std::string_view::npos) return false;
    patterns.remove_prefix(end + 1);
  }
}

// "A*:B*-C*": one of the first, none of the second.
bool IsWanted(std::string_view name, std::string_view filter) {
  const std::size_t minus = filter.find('-');
  std::string_view wanted = filter.substr(0, minus);
  if (wanted.empty()) wanted = "*";
  return MatchesOne(name, wanted) &&
         (minus == std::string_view::npos || !MatchesOne(name, filter.substr(minus + 1)));
}

// Runs one step of a test; what it throws is a failure of the test.
void Guarded(const std::function<void()>& step) {
  const auto fail = [](const char* what) {
    std::printf("the test threw: %s\n", what);
    TheState().failed = TheState().fatal = true;
  };
  try {
    step();
  } catch (const std::exception& thrown) {
    fail(thrown.what());
  } catch (...) {
    fail("something that is no std::exception");
  }
}

void RunCase(const internal::Case& run) {
  State& state = TheState();
  state.failed = state.fatal = state.skipped = false;
  std::unique_ptr<Test> test;
  Guarded([&] { test = run.make(); });
  if (test == nullptr) return;
  Guarded([&] { test->SetUp(); });
  if (!state.fatal && !state.skipped) Guarded([&] { test->TestBody(); });
  Guarded([&] { test->TearDown(); });
  Guarded([&] { test.reset(); });
}

}  // namespace

bool Test::HasFatalFailure() { return TheState().fatal; }
bool Test::HasFailure() { return TheState().failed; }
bool Test::IsSkipped() { return TheState().skipped; }

namespace internal {

bool AddCase(Case added) {
  TheState().cases.push_back(std::move(added));
  return true;
}

bool AddExpansion(std::function<void()> expand) {
  TheState().expansions.push_back(std::move(expand));
  return true;
}

void Report::operator=(const Message& message) const {
  if (kind_ == Kind::kSuccess) return;
  State& state = TheState();
  const std::scoped_lock lock(state.mutex);
  std::printf("%s:%d: %s\n%s\n%s", file_, line_, kind_ == Kind::kSkip ? "Skipped" : "Failure",
              text_.c_str(), message.GetString().c_str());
  if (!message.GetString().empty()) std::printf("\n");
  for (const std::string& trace : traces) std::printf("%s\n", trace.c_str());
  if (kind_ == Kind::kSkip) {
    state.skipped = true;
  } else {
    state.failed = true;
    state.fatal = state.fatal || kind_ == Kind::kFatal;
  }
}

Trace::Trace(const char* file, int line, const std::string& text) {
  traces.push_back(std::string(file) + ":" + std::to_string(line) + ": " + text);
}
Trace::~Trace() { traces.pop_back(); }

}  // namespace internal

void InitGoogleTest() {}

void InitGoogleTest(int* argc, char** argv) {
  constexpr std::string_view kFilter = "--gtest_filter=";
  int n_kept = 1;
  for (int i = 1; i < *argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag.starts_with(kFilter)) {
      TheState().filter = flag.substr(kFilter.size());
    } else if (flag == "--gtest_list_tests") {
      TheState().lists_only = true;
    } else {
      argv[n_kept++] = argv[i];
    }
  }
  *argc = n_kept;
}

}  // namespace testing

int RUN_ALL_TESTS() {
  using testing::internal::Case;
  testing::State& state = testing::TheState();
  for (const auto& expand : state.expansions) expand();
  state.expansions.clear();

  // By suite, in the order in which suites and tests were written.
  std::vector<std::string> suites;
  std::map<std::string, std::vector<const Case*>> wanted;
  for (const Case& each : state.cases) {
    if (!testing::IsWanted(each.suite + "." + each.name, state.filter)) continue;
    std::vector<const Case*>& of_suite = wanted[each.suite];
    if (of_suite.empty()) suites.push_back(each.suite);
    of_suite.push_back(&each);
  }
  int n_run = 0;
  std::vector<std::string> failed;
  for (const std::string& suite : suites) {
    if (state.lists_only) std::printf("%s.\n", suite.c_str());
    const std::vector<const Case*>& cases = wanted[suite];
    if (!state.lists_only) cases.front()->set_up_suite();
    for (const Case* each : cases) {
      if (state.lists_only) {
        std::printf("  %s\n", each->name.c_str());
        continue;
      }
      const std::string name = suite + "." + each->name;
      std::printf("[ RUN      ] %s\n", name.c_str());
      std::fflush(stdout);
      testing::RunCase(*each);
      ++n_run;
      if (state.failed) failed.push_back(name);
      std::printf("[  %s ] %s\n",
                  state.failed ? "FAILED " : (state.skipped ? "SKIPPED" : "     OK"), name.c_str());
      std::fflush(stdout);
    }
    if (!state.lists_only) cases.front()->tear_down_suite();
  }
  if (state.lists_only) return 0;
  std::printf("%d tests ran, %zu failed\n", n_run, failed.size());
  for (const std::string& name : failed) std::printf("[  FAILED  ] %s\n", name.c_str());
  return failed.empty() ? 0 : 1;
}

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc > 1) {
    std::fprintf(stderr, "unknown flag %s: --gtest_filter=... and --gtest_list_tests are known\n",
                 argv[1]);
    return 2;
  }
  return RUN_ALL_TESTS();
}
