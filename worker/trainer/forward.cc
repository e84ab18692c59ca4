#include "worker/trainer/forward.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/attention_probe.h"
#include "model/net/gradient.h"
#include "model/net/head.h"
#include "model/net/tensor_file.h"

namespace longrun::trainer {
namespace {

struct Loaded {
  std::unique_ptr<Net> net;
  at::Tensor tokens_BT;
};

Result<Loaded> Load(const ForwardOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Net> net, OpenModel(options.model));
  ASSIGN_OR_RETURN(const at::Tensor tokens,
                   LoadTokens(options.tokens, net->config().model.vocab_size));
  RETURN_IF_ERROR(net->CheckLength(tokens.size(1)));
  const Json& extension = net->config().extension;
  if (!extension.is_null()) {
    if (const auto warning = WarningAt(extension, tokens.size(1))) {
      std::fprintf(stderr, "longrun-trainer: --extend: %s: %s\n", warning->key.c_str(),
                   warning->message.c_str());
    }
  }
  const c10::Device device = net->compute().device;
  return Loaded{.net = std::move(net), .tokens_BT = tokens.to(device)};
}

// Parses "all" (returned as an empty list) or a list like "0,3".
Result<std::vector<std::int64_t>> ReadIndices(std::string_view option, const std::string& text) {
  std::set<std::int64_t> indices;
  if (text == "all") return std::vector<std::int64_t>();
  for (const std::string& part : Split(text, ',')) {
    std::int64_t index = -1;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_whole = error == std::errc() && end == part.data() + part.size();
    if (!is_whole || index < 0 || !indices.insert(index).second) {
      return Status(Code::kInvalidArgument,
                    Str(option, " \"", text,
                        "\": expected all, or different numbers from 0 separated by commas"));
    }
  }
  return std::vector<std::int64_t>(indices.begin(), indices.end());
}

}  // namespace

Status Forward(const ForwardOptions& options) {
  ASSIGN_OR_RETURN(Loaded loaded, Load(options));
  Net& net = *loaded.net;
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
  Net& net = *loaded.net;
  const std::int64_t b = loaded.tokens_BT.size(0), n = loaded.tokens_BT.size(1) - 1;
  if (n < 1) {
    return Status(Code::kInvalidArgument,
                  Str(options.tokens, ": a next-token loss needs at least 2 tokens a row"));
  }
  RETURN_IF_ERROR(net.CheckGradients().In("--extend"));
  if (net.compute().product == at::kHalf) {
    return Status(Code::kInvalidArgument,
                  "--dtype fp16: small gradients would become 0: use fp32, fp64 or bf16");
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

Status MapAttention(const AttentionOptions& options) {
  AttentionMapRequest request;
  ASSIGN_OR_RETURN(request.layers, ReadIndices("--layers", options.layers));
  ASSIGN_OR_RETURN(request.heads, ReadIndices("--heads", options.heads));
  ASSIGN_OR_RETURN(Loaded loaded, Load(options.of));
  const at::Tensor ids_BT = loaded.tokens_BT.to(at::kCPU, at::kInt).contiguous();
  request.tokens = {ids_BT.const_data_ptr<std::int32_t>(),
                    static_cast<std::size_t>(ids_BT.numel())};
  request.n_texts = ids_BT.size(0);
  request.values_of = options.values == "logits" ? AttentionMap::Values::kLogits
                                                 : AttentionMap::Values::kProbabilities;
  ASSIGN_OR_RETURN(AttentionMap map, NetAttention(*loaded.net).Map(request, {}));
  ASSIGN_OR_RETURN(const std::string model, AbsolutePath(options.of.model.folder));
  map.labels["model"] = BaseName(model);
  map.labels["dtype"] = options.of.model.dtype;
  map = PoolMap(std::move(map), options.pool,
                options.pool_by == "max" ? AttentionMap::Pool::kMax : AttentionMap::Pool::kMean);
  return WriteFileAtomic(options.of.output, AttentionMapBytes(map));
}

}  // namespace longrun::trainer
