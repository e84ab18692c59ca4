#include "worker/trainer/forward.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <map>
#include <utility>

#include "base/json.h"
#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/gradient.h"
#include "model/net/head.h"
#include "model/net/model_folder.h"
#include "model/net/tensor_file.h"

namespace longrun {
namespace {

Result<at::Tensor> LoadTokens(const std::string& path, std::int64_t vocab_size) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  const StoredTensor* stored = file.Find("tokens");
  if (stored == nullptr) {
    return Status(Code::kInvalidArgument, Str(path, ": there is no tensor \"tokens\""));
  }
  if (stored->type != StoredType::kI64 || stored->shape.size() != 2) {
    return Status(Code::kInvalidArgument,
                  Str(path, ": tokens must be int64 of shape (B, T), found ",
                      StoredTypeName(stored->type), " ", ShapeText(stored->shape)));
  }
  at::Tensor tokens = ToTensor(*stored);
  if (tokens.numel() == 0) {
    return Status(Code::kInvalidArgument,
                  Str(path, ": tokens is empty, of shape ", ShapeText(stored->shape)));
  }
  const std::int64_t* ids = tokens.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < tokens.numel(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    return Status(Code::kInvalidArgument,
                  Str(path, ": tokens[", i / tokens.size(1), "][", i % tokens.size(1), "] is ",
                      ids[i], ", the vocabulary has the ids 0 to ", vocab_size - 1));
  }
  return tokens;
}

// {"method": "yarn", ...} in place of what config.json says, which must be nothing.
Status Extend(const std::string& text, NetConfig& net) {
  if (text.empty()) return Status();
  Result<Json> given = ParseJson(text);
  if (!given) return std::move(given).status().In("--extend");
  if (!net.extension.is_null()) {
    return Status(Code::kInvalidArgument,
                  Str("--extend: config.json extends the model already, by rope_scaling or "
                      "rope_parameters with method \"",
                      net.extension.at("method").get<std::string>(),
                      "\"; take it out there, or leave out --extend"));
  }
  Result<Json> extension = ResolveExtension(*given);
  if (!extension) {
    return Status(Code::kInvalidArgument, extension.status().message()).In("--extend");
  }
  net.extension = std::move(extension).value();
  return Status();
}

struct Loaded {
  Transformer net;
  at::Tensor tokens_BT;
};

Result<Loaded> Load(const ForwardOptions& options) {
  ASSIGN_OR_RETURN(const AttentionBackend backend, ParseAttentionBackend(options.attention));
  ASSIGN_OR_RETURN(const Compute compute, OpenCompute(options.device, options.dtype));
  FixNumerics(options.threads, compute.device, backend == AttentionBackend::kTorch);
  ASSIGN_OR_RETURN(ModelFolder folder, LoadModelFolder(options.model));
  RETURN_IF_ERROR(Extend(options.extend, folder.config));
  ASSIGN_OR_RETURN(at::Tensor tokens, LoadTokens(options.tokens, folder.config.model.vocab_size));
  ASSIGN_OR_RETURN(Transformer net, Transformer::Make(folder.config, std::move(folder.parameters),
                                                      backend, compute));
  RETURN_IF_ERROR(net.CheckLength(tokens.size(1)));
  return Loaded{.net = std::move(net), .tokens_BT = tokens.to(compute.device)};
}

}  // namespace

Status Forward(const ForwardOptions& options) {
  ASSIGN_OR_RETURN(Loaded loaded, Load(options));
  Transformer& net = loaded.net;
  const at::NoGradGuard no_grad;
  const std::int64_t b = loaded.tokens_BT.size(0), t = loaded.tokens_BT.size(1);
  const at::Tensor logits_BTV =
      at::empty({b, t, net.head().weight_VC.size(0)}, net.compute().dtype);
  for (std::int64_t row = 0; row < b; ++row) {
    const at::Tensor hidden_TC = net.Hidden(loaded.tokens_BT.narrow(0, row, 1)).select(0, 0);
    logits_BTV.select(0, row).copy_(HeadLogits(hidden_TC, net.head(), net.compute()));
  }
  return WriteTensors(options.output, {{"logits", logits_BTV}}).status();
}

Status Grad(const ForwardOptions& options) {
  ASSIGN_OR_RETURN(Loaded loaded, Load(options));
  Transformer& net = loaded.net;
  const std::int64_t b = loaded.tokens_BT.size(0), n = loaded.tokens_BT.size(1) - 1;
  if (n < 1) {
    return Status(Code::kInvalidArgument,
                  Str(options.tokens, ": a next-token loss needs at least 2 tokens a row"));
  }
  ClearGradients(net);
  for (std::int64_t row = 0; row < b; ++row) {
    const at::Tensor ids_1T = loaded.tokens_BT.narrow(0, row, 1);
    AddGradients(net, ids_1T, ids_1T.narrow(1, 1, n), 1.0 / static_cast<double>(b * n));
  }
  std::map<std::string, at::Tensor> gradients;
  for (const auto& [name, parameter] : net.parameters()) gradients[name] = GradientOf(parameter);
  return WriteTensors(options.output, gradients).status();
}

}  // namespace longrun
