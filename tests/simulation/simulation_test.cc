// The scheduler, the session and ingestion under faults. Seeds derive from the commit, so that each
// commit looks at histories that nobody has seen; a failing seed is printed with its replay line.
#include "tests/simulation/simulation.h"

#include <gtest/gtest.h>

#include "base/str.h"
#include "tests/commit_seed.h"

namespace longrun::coordinator {
namespace {

std::uint64_t FirstSeed() { return testing::CommitSeed() % 1'000'000'000; }

TEST(SimulationTest, EveryPromiseIsKeptUnderFaults) {
  constexpr std::uint64_t kSeeds = 300;
  const std::uint64_t first = FirstSeed();
  std::printf("seeds %llu to %llu\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + kSeeds - 1));
  SimStats total;
  for (std::uint64_t seed = first; seed < first + kSeeds; ++seed) {
    const SimResult result = RunSimulation(seed, Mutation::kNone);
    ASSERT_EQ(result.violation, "") << "again: longrun-sim --seed " << seed;
    for (const auto& [name, count] : result.stats.fired) total.fired[name] += count;
  }
  // A fault that never happened was not survived.
  for (const char* const name : {"message lost",
                                 "message repeated",
                                 "message late",
                                 "message cut off",
                                 "partition",
                                 "coordinator crashed",
                                 "coordinator lost power",
                                 "crash before commit",
                                 "crash between commit and sending",
                                 "commit slow",
                                 "coordinator slept",
                                 "worker crashed",
                                 "worker paused",
                                 "trainer crashed",
                                 "host lost power",
                                 "unsynced records lost",
                                 "upload late",
                                 "no disk space",
                                 "disk full",
                                 "cache in use",
                                 "cache too small",
                                 "preparation slow",
                                 "preparation failed",
                                 "preparation killed its worker",
                                 "row omitted",
                                 "trainer fenced",
                                 "slot busy",
                                 "submitted twice",
                                 "cancelled",
                                 "order in steps",
                                 "unfinished order ended",
                                 "tried again",
                                 "held task tried again",
                                 "put first",
                                 "submitted first",
                                 "placed first",
                                 "sweep removed",
                                 "removal refused",
                                 "submitted after its removal",
                                 "task collected",
                                 "bytes removed",
                                 "told again after its end",
                                 "adopted after its Hello",
                                 "refresh begun",
                                 "refresh complete",
                                 "started from another run",
                                 "ended unseen",
                                 "ran by its trainer's clock",
                                 "ran beyond its loss",
                                 "began long before it was heard",
                                 "clock of a trainer set",
                                 "paused",
                                 "drained",
                                 "stopped by a drain",
                                 "slot quarantined",
                                 "worker removed",
                                 "allocation ended",
                                 "placed on an allocation",
                                 "cut off by an allocation's end",
                                 "offered again, unbound",
                                 "temporary worker forgotten",
                                 "worker kept",
                                 "twin refused",
                                 "twin took a free place",
                                 "backup restored"}) {
    EXPECT_GT(total.fired[name], 0) << name << " never happened";
  }
}

TEST(SimulationTest, ASeedIsTheWholeReproduction) {
  const SimResult one = RunSimulation(7, Mutation::kNone);
  const SimResult two = RunSimulation(7, Mutation::kNone);
  EXPECT_EQ(one.ended_ms, two.ended_ms);
  EXPECT_EQ(one.stats.fired, two.stats.fired);
}

TEST(SimulationTest, TheCheckersNoticeEachRuleThatIsTakenAway) {
  constexpr std::uint64_t kSeedsMax = 1000;
  for (const MutationRow& row : Mutations()) {
    std::string violation;
    for (std::uint64_t seed = FirstSeed(); seed < FirstSeed() + kSeedsMax; ++seed) {
      violation = RunSimulation(seed, row.mutation).violation;
      if (!violation.empty()) {
        std::printf("%s: seed %llu: %s\n", std::string(row.name).c_str(),
                    static_cast<unsigned long long>(seed), violation.c_str());
        break;
      }
    }
    EXPECT_NE(violation, "") << "nobody noticed that " << row.name << " broke a rule";
  }
}

}  // namespace
}  // namespace longrun::coordinator
