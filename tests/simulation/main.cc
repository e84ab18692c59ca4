// longrun-sim: replays simulated histories of scheduler, session and ingestion. A seed is the whole
// reproduction.
//
//   longrun-sim --seed 1234                  one history
//   longrun-sim --seed 1 --seeds 10000       many
//   longrun-sim --mutate nofencing           with a rule taken away, until a checker notices
//
// Exit codes: 0 every promise was kept (with --mutate: the checkers noticed), 1 not, 64 usage.
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <string>

#include "base/str.h"
#include "tests/simulation/simulation.h"

namespace {

using longrun::coordinator::Mutation;

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t n_seeds = 1;
  std::string mutate;
};

int Run(const Options& options) {
  Mutation mutation = Mutation::kNone;
  for (const longrun::coordinator::MutationRow& row : longrun::coordinator::Mutations()) {
    if (row.name == options.mutate) mutation = row.mutation;
  }
  std::printf("seed %llu, %llu seeds%s%s\n", static_cast<unsigned long long>(options.seed),
              static_cast<unsigned long long>(options.n_seeds),
              options.mutate.empty() ? "" : ", without the rule of ", options.mutate.c_str());
  longrun::coordinator::SimStats total;
  for (std::uint64_t i = 0; i < options.n_seeds; ++i) {
    const std::uint64_t seed = options.seed + i;
    const longrun::coordinator::SimResult result =
        longrun::coordinator::RunSimulation(seed, mutation);
    for (const auto& [name, count] : result.stats.fired) total.fired[name] += count;
    if (result.violation.empty()) continue;
    const std::string again =
        options.mutate.empty() ? "" : longrun::Str(" --mutate ", options.mutate);
    std::printf("seed %llu at %lld ms: %s\nagain: longrun-sim --seed %llu%s\n",
                static_cast<unsigned long long>(seed), static_cast<long long>(result.ended_ms),
                result.violation.c_str(), static_cast<unsigned long long>(seed), again.c_str());
    return mutation == Mutation::kNone ? 1 : 0;
  }
  for (const auto& [name, count] : total.fired) {
    std::printf("%10lld  %s\n", static_cast<long long>(count), name.c_str());
  }
  if (mutation == Mutation::kNone) return 0;
  std::printf("nobody noticed that the rule is gone\n");
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Replays simulated histories of the coordinator with faults; a seed is one history.");
  app.add_option("--seed", options.seed, "the first seed");
  app.add_option("--seeds", options.n_seeds, "how many seeds");
  std::vector<std::string> names;
  for (const longrun::coordinator::MutationRow& row : longrun::coordinator::Mutations())
    names.emplace_back(row.name);
  app.add_option("--mutate", options.mutate, "takes a rule away: the checkers must notice")
      ->check(CLI::IsMember(names));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 64;
  }
  return Run(options);
}
