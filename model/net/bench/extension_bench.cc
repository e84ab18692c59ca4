// longrun-extension-bench METHODS LAYERS HEADS WIDTH PREFILL PROMPT NEW [ROUNDS]: what it costs to
// read a text under each extension that moves or hides keys, compared with the same model without
// an extension. METHODS are names separated by commas, or "all".
//
// longrun-extension-bench read FOLDER PROMPT NEW [EXTENSION]: FOLDER's model reads PROMPT tokens
// with a cache, then NEW more, one at a time. Prints one line of JSON for tools/bench.py, which
// compares it with tools/extension_peer.py:
//
//   {"prefill_s", "decode_s": processor seconds,
//    "first_logits", "last_logits": after the prompt and after all tokens}
//
// One sequence, fp32, one thread, processor time, through the product's own decoder (decoder.h).
// A decoded token under an extension with S key sets is compared with S times an ordinary one: it
// may keep S rotated forms of each key. A set of blended keys counts as two, since it is made of
// two forms. Token i of the text is (i * i * 31 + i * 7) % 509 % V, in both programs.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/kept_memory.h"
#include "base/measurement.h"
#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/decoder.h"
#include "model/net/model_folder.h"
#include "model/net/tensor_memory.h"
#include "model/net/transformer.h"

namespace longrun {
namespace {

constexpr std::int64_t kVocabulary = 512;
constexpr double kTimesMax = 1.3;  // of an ordinary token, for each key set

at::Tensor Text(std::int64_t n, std::int64_t vocabulary) {
  at::Tensor ids = at::empty({1, n}, at::kLong);
  for (std::int64_t i = 0; i < n; ++i) {
    ids.data_ptr<std::int64_t>()[i] = (i * i * 31 + i * 7) % 509 % vocabulary;
  }
  return ids;
}

at::Tensor Largest(const at::Tensor& logits_BV) { return at::argmax(logits_BV, 1, true); }

double SecondsOf(const std::function<void()>& work) {
  const double begin = ProcessCpuSeconds();
  work();
  return ProcessCpuSeconds() - begin;
}

// ---- read ---------------------------------------------------------------------------------------

int Complain(const Status& status) {
  std::fprintf(stderr, "longrun-extension-bench: %s\n", status.message().c_str());
  return 1;
}

Json Numbers(const at::Tensor& logits_BV) {
  const at::Tensor row = logits_BV.to(at::kDouble).contiguous();
  return Json(std::vector<double>(row.data_ptr<double>(), row.data_ptr<double>() + row.numel()));
}

Result<Json> Read(const std::string& folder, std::int64_t n_prompt, std::int64_t n_new,
                  const std::string& extension) {
  ASSIGN_OR_RETURN(ModelFolder loaded, LoadModelFolder(folder));
  if (!extension.empty()) {
    ASSIGN_OR_RETURN(const Json given, ParseJson(extension));
    ASSIGN_OR_RETURN(loaded.config.extension, ResolveExtension(given));
  }
  ASSIGN_OR_RETURN(const Compute compute, OpenCompute("cpu", "fp32"));
  FixNumerics({}, compute.device);
  ASSIGN_OR_RETURN(Transformer net, Transformer::Make(loaded.config, std::move(loaded.parameters),
                                                      AttentionBackend::kFused, compute));
  ASSIGN_OR_RETURN(Decoder decoder, Decoder::Make(net, 1, n_prompt + n_new));
  const at::Tensor ids_BT = Text(n_prompt + n_new, net.config().model.vocab_size);
  at::Tensor logits_BV;
  const double prefill_s =
      SecondsOf([&] { logits_BV = decoder.Feed(ids_BT.narrow(1, 0, n_prompt)); });
  const Json first = Numbers(logits_BV);
  const double decode_s = SecondsOf([&] {
    for (std::int64_t t = n_prompt; t < n_prompt + n_new; ++t) {
      logits_BV = decoder.Feed(ids_BT.narrow(1, t, 1));
    }
  });
  return Json{{"prefill_s", prefill_s},
              {"decode_s", decode_s},
              {"first_logits", first},
              {"last_logits", Numbers(logits_BV)}};
}

// ---- compared with the model without an extension -----------------------------------------------

struct Setting {
  std::int64_t n_layer, n_head, d_model, n_prefill, n_prompt, n_new;
  int rounds;
};

NetConfig ConfigOf(const Setting& s, const Json& extension) {
  NetConfig config;
  LR_CHECK(config.model.SetArchitecture("llama").ok());
  config.model.n_layer = s.n_layer;
  config.model.n_head = s.n_head;
  config.model.d_model = s.d_model;
  config.model.d_ff = 4 * s.d_model;
  config.model.vocab_size = kVocabulary;
  config.model.position = ResolvePosition("rope").value();
  if (!extension.is_null()) config.extension = ResolveExtension(extension).value();
  LR_CHECK(config.model.Check().ok());
  return config;
}

// A method with parameters that fit texts of the setting: texts are four times as long as those of
// the original length, and windows an eighth of it.
Json WithParameters(const std::string& method, const Setting& s) {
  const std::int64_t original = s.n_prefill / 4, window = original / 8;
  Json given = {{"method", method}, {"original_length", original}};
  if (method == "self_extend") given["group"] = 16;
  if (method == "leaky_rerope") given["k"] = 16;
  if (method == "gali") given["chunk"] = original / 4;
  if (method == "self_extend" || method == "rerope" || method == "leaky_rerope") {
    given["window"] = window;
  }
  if (method == "window") given["window"] = original;
  return given;
}

std::int64_t KeySetsOf(const Json& extension) {
  if (extension.is_null()) return 1;
  const Json params = ResolveExtension(extension).value();
  const auto& method = **FindExtension(params.at("method").get<std::string>());
  const Reading reading = method.read(
      params, {.q_begin = 2 * params.at("original_length").get<std::int64_t>(), .n_query = 1});
  std::int64_t n = 0;
  for (const KeySet& set : reading.key_sets) n += set.blended_row.empty() ? 1 : 2;
  return n;
}

// A model that reads under one extension, or under none.
struct Reader {
  Reader(const Setting& setting, Json given)
      : s(setting),
        extension(std::move(given)),
        net(Transformer::Make(
                ConfigOf(s, extension),
                InitialParameters(ParametersOf(ConfigOf(s, extension).model).value(), 1),
                AttentionBackend::kFused, OpenCompute("cpu", "fp32").value())
                .value()) {}

  std::string Name() const { return extension.is_null() ? "rope" : extension.at("method"); }
  double Prefill(std::int64_t n) {
    return SecondsOf([&] { Begin(n); });
  }
  void Begin(std::int64_t n) {
    decoder.emplace(Decoder::Make(net, 1, n + s.n_new * (s.rounds + 1)).value());
    next = Largest(decoder->Feed(Text(n, kVocabulary)));
  }
  double Decode() {
    return SecondsOf([&] {
      for (std::int64_t i = 0; i < s.n_new; ++i) next = Largest(decoder->Feed(next));
    });
  }

  Setting s;
  Json extension;  // null: none
  Transformer net;
  std::optional<Decoder> decoder = {};
  at::Tensor next = {};
  std::vector<double> prefills = {}, decodings = {};
};

std::vector<std::string> MethodsOf(std::string_view given) {
  std::vector<std::string> methods;
  for (const Extension* extension : Extensions()) {
    const std::string padded = Str(",", given, ",");
    const bool is_named =
        given == "all" || padded.find(Str(",", extension->name, ",")) != std::string::npos;
    if (extension->read != nullptr && is_named) methods.emplace_back(extension->name);
  }
  return methods;
}

void Measure(const Setting& s, std::string_view methods) {
  FixNumerics({}, OpenCompute("cpu", "fp32")->device);
  std::vector<Reader> readers;
  readers.emplace_back(s, Json());
  for (const std::string& method : MethodsOf(methods))
    readers.emplace_back(s, WithParameters(method, s));
  for (int round = 0; round < s.rounds; ++round) {
    for (Reader& reader : readers) reader.prefills.push_back(1e3 * reader.Prefill(s.n_prefill));
  }
  for (Reader& reader : readers) {
    reader.Begin(s.n_prompt);
    reader.Decode();
  }
  for (int round = 0; round < s.rounds; ++round) {
    for (Reader& reader : readers) {
      reader.decodings.push_back(1e3 * reader.Decode() / static_cast<double>(s.n_new));
    }
  }
  const Reader& plain = readers.front();
  for (const Reader& reader : readers) {
    if (&reader == &plain) continue;
    Print({.name = Str("prefill of ", s.n_prefill, " tokens: ", reader.Name()),
           .unit = "ms",
           .ours = reader.prefills,
           .baseline = plain.prefills,
           .what_baseline = "no extension"});
  }
  for (const Reader& reader : readers) {
    if (&reader == &plain) continue;
    const std::int64_t n_sets = KeySetsOf(reader.extension);
    std::vector<double> baseline = plain.decodings;
    for (double& ms : baseline) ms *= static_cast<double>(n_sets);
    Print({.name = Str("a token after ", s.n_prompt, ": ", reader.Name()),
           .unit = "ms",
           .ours = reader.decodings,
           .baseline = baseline,
           .what_baseline = n_sets == 1 ? std::string("no extension")
                                        : Str("no extension, times ", n_sets, " key sets"),
           .target = Str("ratio <= ", kTimesMax)});
  }
}

}  // namespace
}  // namespace longrun

int main(int argc, char** argv) {
  longrun::KeepFreedMemory();  // as the trainer does
  longrun::UseTensorMemory();
  at::set_num_threads(1);
  const auto number = [&](int index, int otherwise) {
    return longrun::IntArgument(argc, argv, index, otherwise, 1 << 20);
  };
  if (argc > 2 && std::string_view(argv[1]) == "read") {
    const longrun::Result<longrun::Json> found =
        longrun::Read(argv[2], number(3, 1024), number(4, 16), argc > 5 ? argv[5] : "");
    if (!found.ok()) return longrun::Complain(found.status());
    std::printf("%s\n", found->dump().c_str());
    return 0;
  }
  longrun::Measure({.n_layer = number(2, 4),
                    .n_head = number(3, 4),
                    .d_model = number(4, 256),
                    .n_prefill = number(5, 16384),
                    .n_prompt = number(6, 8192),
                    .n_new = number(7, 32),
                    .rounds = number(8, 8)},
                   argc > 1 ? argv[1] : "all");
  return 0;
}
