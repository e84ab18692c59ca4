// longrun-trainer: trains and evaluates one task, or answers one question about a model.
//
// Exit codes: 0 done; 64 usage; 65 data; 74 storage; 75 checkpointed and yielded; 78 configuration;
// 70 crashed; 80 numerical; 81 out of memory (contracts.md section 6).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <string>

#include "base/str.h"
#include "base/version.h"
#include "model/net/device.h"
#include "worker/trainer/ending.h"
#include "worker/trainer/forward.h"

namespace longrun {
namespace {

void AddForward(CLI::App& app, const char* name, const char* help, ForwardOptions& options,
                std::function<Status()>& verb, Status (*run)(const ForwardOptions&)) {
  CLI::App* sub = app.add_subcommand(name, help);
  sub->add_option("--model", options.model, "folder with config.json and model.safetensors")
      ->required();
  sub->add_option("--tokens", options.tokens, "safetensors file with tokens (B, T), int64")
      ->required();
  sub->add_option("--output", options.output, "safetensors file to write")->required();
  sub->add_option("--dtype", options.dtype, "fp32, fp64 or bf16")->capture_default_str();
  sub->add_option("--attention", options.attention, "reference or torch")->capture_default_str();
  sub->add_option("--device", options.device, "cpu, cuda or cuda:N")->capture_default_str();
  sub->add_option("--threads", options.threads, "CPU threads")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  sub->callback([&options, &verb, run] { verb = [&options, run] { return run(options); }; });
}

int Main(int argc, char** argv) {
  CLI::App app("longrun-trainer: trains and evaluates one task", "longrun-trainer");
  app.require_subcommand(1);
  std::function<Status()> verb;

  ForwardOptions forward, grad;
  AddForward(app, "forward", "writes the logits of a model for given tokens", forward, verb,
             &Forward);
  AddForward(app, "grad", "writes the gradients of the mean next-token loss", grad, verb, &Grad);
  app.add_subcommand("version", "prints what this program is")->callback([&verb] {
    verb = [] {
      std::printf("longrun-trainer %s (%s), numerics %d, LibTorch %s\n",
                  std::string(kVersion).c_str(), std::string(BuildCommit()).c_str(),
                  kNumericsVersion, TorchVersion().c_str());
      return Status();
    };
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  const Ending ending = RunGuarded(verb);
  if (!ending.status.ok()) {
    std::fprintf(stderr, "longrun-trainer: %s\n", ending.status.message().c_str());
  }
  return ending.ExitCode();
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) { return longrun::Main(argc, argv); }
