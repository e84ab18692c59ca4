// longrun-trainer: runs one task (training or evaluation), or answers one question about a model.
//
// Exit codes: 0 done; 64 usage; 65 data; 71 a limit of the process; 74 storage; 75 checkpointed and
// yielded; 78 configuration; 70 crashed; 80 numerical; 81 out of memory.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/kept_memory.h"
#include "base/program.h"
#include "base/str.h"
#include "base/units.h"
#include "base/usage_problem.h"
#include "base/utf8.h"
#include "base/version.h"
#include "model/data/tokenizer.h"
#include "model/extension/extension.h"
#include "model/net/device.h"
#include "model/net/tensor_memory.h"
#include "worker/trainer/data.h"
#include "worker/trainer/ending.h"
#include "worker/trainer/forward.h"
#include "worker/trainer/generate.h"
#include "worker/trainer/gpu.h"
#include "worker/trainer/standalone.h"
#include "worker/trainer/stop.h"
#include "worker/trainer/task.h"

namespace longrun::trainer {
namespace {

void AddExtend(CLI::App* sub, std::string& extend) {
  sub->add_option(
      "--extend", extend,
      Str("extension of a rotary model to longer texts, as JSON: {\"method\": \"yarn\", "
          "\"factor\": 4, \"original_length\": 4096}; methods: ",
          Join(ExtensionNames(), ", ")));
}

void AddModel(CLI::App* sub, ModelOptions& options) {
  sub->add_option("--model", options.folder, "folder with config.json and model.safetensors")
      ->required();
  sub->add_option("--dtype", options.dtype, "fp32, fp64, bf16 or fp16")->capture_default_str();
  sub->add_option("--attention", options.attention,
                  "reference, torch, fused or auto (fused if it supports the model and the device, "
                  "and the dtype is not fp64; otherwise reference)")
      ->capture_default_str();
  AddExtend(sub, options.extend);
  sub->add_option("--device", options.device, "cpu, cuda or cuda:N")->capture_default_str();
  sub->add_option("--threads", options.threads, "CPU threads")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
}

// An attempt yields when told to stop. Its signals are blocked first,
// since opening the inputs may start threads.
std::function<Ending()> Yielding(const std::function<Ending()>& attempt) {
  return [attempt] {
    HoldStopSignals();
    return attempt();
  };
}

// Run by hand, a stop signal ends the program at once while it reads its inputs,
// which can take minutes.
std::function<Ending()> ByHand(const std::function<Ending()>& attempt) {
  return Yielding([attempt] {
    EndWhenStopped();
    return attempt();
  });
}

constexpr const char* kTokensHelp = "safetensors file with tokens (B, T), int64";

void AddForward(CLI::App& app, const char* name, const char* help, ForwardOptions& options,
                std::function<Ending()>& verb, Status (*run)(const ForwardOptions&)) {
  CLI::App* sub = app.add_subcommand(name, help);
  AddModel(sub, options.model);
  sub->add_option("--tokens", options.tokens, kTokensHelp)->required();
  sub->add_option("--output", options.output, "safetensors file to write")->required();
  sub->callback([&options, &verb, run] {
    verb = [&options, run] { return RunGuarded([&] { return run(options); }); };
  });
}

void AddGenerate(CLI::App& app, GenerateOptions& options, std::function<Ending()>& verb) {
  CLI::App* sub = app.add_subcommand("generate", "continues a prompt");
  AddModel(sub, options.model);
  sub->add_option("--tokens", options.tokens, kTokensHelp);
  sub->add_option("--prompt", options.prompt, "a text to continue; its continuation is printed");
  sub->add_option("--prompt-file", options.prompt_file, "a file with the text, used unchanged");
  sub->add_option("--tokenizer", options.tokenizer,
                  Str("tokenizer of the prompt: a dataset's folder, ", Join(TokenizerNames(), ", "),
                      "; default: tokenizer.json in the model's folder"));
  sub->add_option("--output", options.output,
                  "safetensors file to write: tokens (B, T + N), and logits (B, N, V), from which "
                  "each new token was chosen");
  sub->add_option("--new-tokens", options.new_tokens, "N: tokens to write after each text")
      ->required()
      ->check(CLI::Range(std::int64_t{1}, kNewTokensMax));
  sub->add_option("--temperature", options.sampling.temperature,
                  "0: the most likely token each time; 1: sample from the model's probabilities")
      ->capture_default_str();
  sub->add_option("--top-k", options.sampling.top_k,
                  "sample from the k most likely tokens; 0: from all")
      ->capture_default_str();
  sub->add_option("--top-p", options.sampling.top_p,
                  "sample from the most likely tokens whose probabilities add up to p")
      ->capture_default_str();
  sub->add_option("--seed", options.sampling.seed, "seed for sampling")->capture_default_str();
  sub->add_flag("--no-cache", options.no_cache, "read the whole text again for each token");
  sub->callback([&] { verb = [&] { return RunGuarded([&] { return RunGenerate(options); }); }; });
}

void AddAttention(CLI::App& app, AttentionOptions& options, std::function<Ending()>& verb) {
  CLI::App* sub = app.add_subcommand(
      "attention", "writes the attention of a model, averaged over layers, heads and texts");
  AddModel(sub, options.of.model);
  sub->add_option("--tokens", options.of.tokens, kTokensHelp)->required();
  sub->add_option("--output", options.of.output, "safetensors file to write")->required();
  sub->add_option("--values", options.values,
                  "what to average; probabilities: attention after the softmax; logits: before it")
      ->capture_default_str()
      ->check(CLI::IsMember({"probabilities", "logits"}));
  sub->add_option("--layers", options.layers,
                  "layers to average: all, or their numbers, counted from 0, such as 0,3")
      ->capture_default_str();
  sub->add_option("--heads", options.heads,
                  "heads to average: all, or their numbers, counted from 0, such as 0,3")
      ->capture_default_str();
  sub->add_option(
         "--pool", options.pool,
         "largest number of cells on a side of the map; 0: one cell for each pair of tokens")
      ->capture_default_str()
      ->check(WholeNumberCheck(0), "NONNEGATIVE");
  sub->add_option("--pool-by", options.pool_by,
                  "how a cell combines its pairs of tokens: mean or max")
      ->capture_default_str()
      ->check(CLI::IsMember({"mean", "max"}));
  sub->callback([&options, &verb] {
    verb = [&options] { return RunGuarded([&] { return MapAttention(options); }); };
  });
}

void AddStandalone(CLI::App* sub, StandaloneOptions& options) {
  sub->add_option("--run", options.run,
                  "JSON file of a run, with every number written out (docs/models.md); for an "
                  "existing run, the member \"run\" of `longrun get RUN -o json`")
      ->type_name("FILE");
  sub->add_option("--init", options.init,
                  "Hugging Face folder that the run starts from, like model.init_from in a sweep")
      ->type_name("FOLDER");
  sub->add_option("--dataset", options.dataset, "a dataset's folder; `longrun data ls` shows it")
      ->type_name("FOLDER")
      ->required();
  sub->add_option("--output", options.output, "new folder for the journal and the checkpoints")
      ->type_name("FOLDER")
      ->required();
  sub->add_option("--device", options.device, "cpu or gpu")->capture_default_str();
  sub->add_option(
         "--attention", options.attention,
         "reference, torch, fused or auto (with a checkpoint, the back-end of its "
         "training; otherwise fused if it supports the model and the device, else reference)")
      ->capture_default_str();
  sub->add_option("--matrix", options.matrix,
                  "library for fp32 matrix products on a CPU; the default depends on the CPU's "
                  "vendor (model/matrix_path.h)")
      ->check(CLI::IsMember({"aten", "onednn"}));
  sub->add_option("--operators", options.operators,
                  "operators other than matrix products and attention: longrun (our kernels) or "
                  "aten (LibTorch's); on a GPU, longrun computes norms, activations, the gradients "
                  "of biases, the learned biases per key (cable, fox), the loss and AdamW; "
                  "default: the value of the checkpoint's run; for a new run, longrun where the "
                  "device has these kernels, otherwise aten")
      ->check(CLI::IsMember({"longrun", "aten"}));
  sub->add_option(
         "--subnormals", options.subnormals,
         "subnormal numbers on a CPU: kept, or flushed to zero, which can be several times faster "
         "(default: with a checkpoint, as in its training; otherwise flushed)")
      ->check(CLI::IsMember({"kept", "flushed"}));
  sub->add_option("--threads", options.threads, "CPU threads")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  sub->add_option("--micro-batch", options.micro_batch,
                  "sequences in a forward-backward pass; 0: as many as fit into the GPU's memory, "
                  "or on a CPU into 4 GiB")
      ->capture_default_str()
      ->check(WholeNumberCheck(0), "NONNEGATIVE");
}

void AddData(CLI::App& app, DataImportOptions& import, std::string& folder,
             std::function<Ending()>& verb) {
  CLI::App* data = app.add_subcommand("data", "makes, inspects and verifies tokenised datasets");
  data->require_subcommand(1);
  CLI::App* sub = data->add_subcommand("import", "tokenises text files into a folder");
  sub->add_option("--output", import.output, "folder to make")->required();
  sub->add_option("--tokenizer", import.tokenizer, "name of the tokenizer")->capture_default_str();
  sub->add_option("--train", import.train, "text files")->required();
  sub->add_option("--validation", import.validation, "text files");
  sub->add_option("--test", import.test, "text files");
  sub->callback([&] { verb = [&] { return RunGuarded([&] { return DataImport(import); }); }; });
  sub = data->add_subcommand("inspect", "prints digest, tokenizer and splits");
  sub->add_option("folder", folder, "dataset folder")->required();
  sub->callback([&] { verb = [&] { return RunGuarded([&] { return DataInspect(folder); }); }; });
  sub = data->add_subcommand("verify", "reads every block and compares the digest");
  sub->add_option("folder", folder, "dataset folder")->required();
  sub->callback([&] { verb = [&] { return RunGuarded([&] { return DataVerify(folder); }); }; });
}

std::string VersionText() {
  return Str("longrun-trainer ", kVersion, " (", BuildCommit(), "), numerics ", kNumericsVersion,
             ", LibTorch ", TorchVersion());
}

// A message may quote a file's content, such as a name of a million letters or one
// with line breaks.
std::string ErrorLine(std::string_view message) {
  constexpr std::size_t kBytesMax = 2000;
  const std::string shown = Shortened(message, kBytesMax, "");
  const std::size_t n_cut = message.size() - shown.size();
  return Str(OneLine(shown), n_cut == 0 ? "" : Str("... (", n_cut, " more bytes)"));
}

// Reports all required options that are missing: CLI11 reports only the first one.
int SayMissing(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* verb = &app;
  while (!verb->get_subcommands().empty()) verb = verb->get_subcommands().front();
  const std::vector<std::string> others = app.remaining(true);
  if (!verb->get_subcommands(nullptr).empty()) return ReportUsage(app, {NoSuchVerb(*verb, others)});
  const bool has_misspelt = std::ranges::any_of(
      others, [](const std::string& word) { return word.starts_with("--") && word != "--"; });
  if (has_misspelt) return ReportUsage(app, error, {});  // it may be what is missing
  std::vector<std::string> missing;
  for (const CLI::Option* option : verb->get_options()) {
    if (option->get_required() && option->count() == 0) {
      missing.push_back(Str(option->get_name(), " is required: ", option->get_description()));
    }
  }
  if (missing.empty()) missing.emplace_back(error.what());
  return ReportUsage(app, missing);
}

int Main(int argc, char** argv) {
  CLI::App app("longrun-trainer: trains and evaluates one task", "longrun-trainer");
  app.require_subcommand(1);
  app.set_version_flag("--version", VersionText());
  std::function<Ending()> verb;

  ForwardOptions forward, grad;
  AddForward(app, "forward", "writes the logits of a model for given tokens", forward, verb,
             &Forward);
  AddForward(app, "grad", "writes the gradients of the mean next-token loss", grad, verb, &Grad);
  GenerateOptions generate;
  AddGenerate(app, generate, verb);
  AttentionOptions attention;
  AddAttention(app, attention, verb);
  app.add_subcommand("version", "prints the program's version and how it was built")
      ->callback([&verb] {
        verb = [] {
          std::printf("%s\n", VersionText().c_str());
          return Ending();
        };
      });

  std::string gpu = "cuda";
  CLI::App* of_gpu = app.add_subcommand(
      "gpu", "shows the GPU that tasks would compute on, or says why they could not");
  of_gpu->add_option("--device", gpu, "cuda or cuda:N")->capture_default_str();
  of_gpu->callback([&] { verb = [&] { return RunGuarded([&] { return ShowGpu(gpu); }); }; });

  std::string task_path;
  CLI::App* task = app.add_subcommand("task", "runs one attempt; started by a worker");
  task->add_option("file", task_path, "the attempt's task.json")->required();
  task->callback([&] { verb = Yielding([&] { return RunTask(task_path); }); });

  StandaloneOptions train, evaluate;
  CLI::App* sub = app.add_subcommand("train", "trains a run without a coordinator or a worker");
  AddStandalone(sub, train);
  sub->get_option("--run")->required();  // an evaluation can measure an --init without training
  sub->add_option("--resume", train.checkpoint, "checkpoint folder to continue from")
      ->type_name("FOLDER");
  sub->add_option("--checkpoint-every-ms", train.checkpoint_every_ms,
                  "milliseconds between checkpoints; 0: after each step")
      ->capture_default_str()
      ->check(WholeNumberCheck(0), "NONNEGATIVE");
  sub->add_flag("--activation-checkpointing", train.activation_checkpointing,
                "recompute each block in the backward pass: less memory, the same bits");
  sub->callback([&] { verb = ByHand([&] { return TrainStandalone(train); }); });
  sub = app.add_subcommand(
      "evaluate",
      "scores a checkpoint, or a Hugging Face folder, without a coordinator or a worker");
  AddStandalone(sub, evaluate);
  sub->add_option("--checkpoint", evaluate.checkpoint,
                  "checkpoint folder of the run; leave this out if nothing was trained")
      ->type_name("FOLDER");
  sub->add_option("--evaluation", evaluate.evaluation, "name of the evaluation, as in a sweep")
      ->capture_default_str();
  sub->add_option("--params", evaluate.params,
                  "parameters of the evaluation as JSON, as in a sweep (sweeps/reference.md)")
      ->capture_default_str();
  sub->add_option("--lengths", evaluate.lengths, "context lengths, if --params has none")
      ->delimiter(',');
  sub->add_option("--split", evaluate.split, "split to score (default: validation)");
  AddExtend(sub, evaluate.extend);
  sub->callback([&] { verb = ByHand([&] { return EvaluateStandalone(evaluate); }); });

  DataImportOptions import;
  std::string data_folder;
  AddData(app, import, data_folder, verb);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) return SayMissing(app, error);
    return ReportUsage(app, error, {argv + 1, argv + argc});
  }
  const Ending ending = EndGuarded(verb);
  std::vector<Status> errors = ending.others;
  if (!ending.status.ok()) errors.insert(errors.begin(), ending.status);
  for (const Status& error : errors) {
    std::fprintf(stderr, "longrun-trainer: %s\n", ErrorLine(error.message()).c_str());
  }
  return ending.ExitCode();
}

}  // namespace
}  // namespace longrun::trainer

int main(int argc, char** argv) {
  longrun::KeepFreedMemory();
  longrun::UseTensorMemory();
  return longrun::RunMain(
      "longrun-trainer", longrun::trainer::Main, argc, argv,
      {.out_of_memory = longrun::FailureOf(longrun::FailureClass::kOutOfMemory).exit_code,
       .out_of_threads = longrun::FailureOf(longrun::FailureClass::kLimit).exit_code});
}
