#include "model/net/attention_probe.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/special_entr.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/str.h"
#include "model/extension/extension.h"
#include "model/net/out_of_memory.h"

namespace longrun {
namespace {

Status CheckIndices(std::string_view what, const std::vector<std::int64_t>& indices,
                    std::int64_t n) {
  for (const std::int64_t index : indices) {
    if (index >= 0 && index < n) continue;
    return Status(Code::kOutOfRange, Str("there is no ", what, " ", index, ": the model has ", n,
                                         ", numbered from 0"));
  }
  return Status();
}

std::vector<std::int64_t> AllOr(const std::vector<std::int64_t>& chosen, std::int64_t n) {
  if (!chosen.empty()) return chosen;
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return all;
}

// Adds up the results of blocks of queries.
class MapSums {
 public:
  MapSums(AttentionMap& map, std::int64_t n_head, const c10::Device& device) : map_(map) {
    const auto t = static_cast<std::size_t>(map.n_tokens);
    map.values.assign(t * t, 0.0F);
    map.head_entropy.assign(t, 0.0);
    if (map.values_of == AttentionMap::Values::kLogits) n_seen_.assign(t * t, 0);
    if (map.heads.size() < static_cast<std::size_t>(n_head)) {
      heads_ = at::tensor(map.heads, at::TensorOptions().dtype(at::kLong)).to(device);
    }
  }

  void Add(const AttentionBlock& block) {
    const at::Tensor p = Chosen(block.p_BHQK);
    const bool of_logits = map_.values_of == AttentionMap::Values::kLogits;
    at::Tensor shown = p, hidden_QK;
    if (of_logits) {
      const at::Tensor scores = Chosen(block.scores_BHQK);
      const at::Tensor hidden = scores.eq(-std::numeric_limits<double>::infinity());
      shown = scores.masked_fill(hidden, 0.0);
      // All heads of a layer see the same keys.
      hidden_QK = hidden.select(0, 0).select(0, 0).to(at::kCPU).contiguous();
    }
    const at::Tensor mean_QK = MeanOverHeads(shown);
    const at::Tensor entropy_Q = MeanOverHeads(at::special_entr(p).sum(-1, false, at::kDouble));
    const std::int64_t n_query = mean_QK.size(0), n_key = mean_QK.size(1);
    const double* value = mean_QK.const_data_ptr<double>();
    const bool* hidden = of_logits ? hidden_QK.const_data_ptr<bool>() : nullptr;
    for (std::int64_t r = 0; r < n_query; ++r) {
      const std::int64_t i = block.q_begin + r;
      const std::int64_t first = i * map_.n_tokens + block.k_begin;
      float* const row = map_.values.data() + first;
      for (std::int64_t c = 0; c < n_key; ++c) row[c] += static_cast<float>(*value++);
      if (of_logits) {
        std::int32_t* const n_seen = n_seen_.data() + first;
        for (std::int64_t c = 0; c < n_key; ++c) n_seen[c] += *hidden++ ? 0 : 1;
      }
      map_.head_entropy[static_cast<std::size_t>(i)] += entropy_Q.const_data_ptr<double>()[r];
    }
  }

  // `n_maps` were added.
  void Finish(std::int64_t n_maps) {
    const bool of_logits = map_.values_of == AttentionMap::Values::kLogits;
    if (!of_logits) map_.entropy.assign(static_cast<std::size_t>(map_.n_tokens), 0.0);
    for (std::int64_t i = 0; i < map_.n_tokens; ++i) {
      const auto at = static_cast<std::size_t>(i);
      map_.head_entropy[at] /= static_cast<double>(n_maps);
      for (std::int64_t j = 0; j < map_.n_tokens; ++j) {
        const auto pair = static_cast<std::size_t>(i * map_.n_tokens + j);
        float& value = map_.values[pair];
        // A probability is 0 where a layer does not look; a logit is averaged only over layers
        // that look there.
        const std::int64_t n = of_logits ? n_seen_[pair] : n_maps;
        const double mean = n == 0 ? std::numeric_limits<double>::quiet_NaN()
                                   : static_cast<double>(value) / static_cast<double>(n);
        value = static_cast<float>(mean);
        if (!of_logits && mean != 0.0) map_.entropy[at] -= mean * std::log(mean);
      }
    }
  }

 private:
  at::Tensor Chosen(const at::Tensor& x_BHQK) const {
    return heads_.defined() ? x_BHQK.index_select(1, heads_) : x_BHQK;
  }

  // For one text: (1, H, ...) to (...), in double on the CPU.
  static at::Tensor MeanOverHeads(const at::Tensor& x_1H) {
    return x_1H.select(0, 0).mean(0, false, at::kDouble).to(at::kCPU).contiguous();
  }

  AttentionMap& map_;
  std::vector<std::int32_t> n_seen_;  // of logits: in how many layers each pair is visible
  at::Tensor heads_;                  // undefined: all
};

// The window of a model under an extension; 0: it hides no keys, or not only those beyond a window.
std::int64_t WindowUnder(const Json& params, std::int64_t window) {
  const Extension& extension = **FindExtension(params.at("method").get<std::string>());
  if (extension.read == nullptr) return window;
  const Reading reading = extension.read(params, {.q_begin = 0, .n_query = 1});
  return reading.n_sink == 0 ? reading.window : 0;
}

}  // namespace

Status NetAttention::Check(const AttentionMapRequest& request, std::int64_t n_tokens) const {
  const ModelConfig& model = net_.config().model;
  RETURN_IF_ERROR(CheckIndices("layer", request.layers, model.n_layer));
  RETURN_IF_ERROR(CheckIndices("head", request.heads, model.n_head));
  RETURN_IF_ERROR(net_.CheckLength(n_tokens));
  for (std::size_t t = 0; t < request.tokens.size(); ++t) {
    const std::int32_t id = request.tokens[t];
    if (id >= 0 && id < model.vocab_size) continue;
    return Status(Code::kInvalidArgument,
                  Str("token ", t, " has id ", id, ", but the model has the ids 0 to ",
                      model.vocab_size - 1));
  }
  return Status();
}

Result<AttentionMap> NetAttention::Map(
    const AttentionMapRequest& request,
    const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  LR_CHECK(request.n_texts > 0 && !request.tokens.empty());
  const auto n_tokens = static_cast<std::int64_t>(request.tokens.size()) / request.n_texts;
  LR_CHECK(n_tokens * request.n_texts == static_cast<std::int64_t>(request.tokens.size()));
  RETURN_IF_ERROR(Check(request, n_tokens));
  const ModelConfig& model = net_.config().model;
  AttentionMap map;
  map.values_of = request.values_of;
  map.n_tokens = n_tokens;
  map.n_texts = request.n_texts;
  map.layers = AllOr(request.layers, model.n_layer);
  map.heads = AllOr(request.heads, model.n_head);
  map.is_causal = model.causal;
  const auto n_full = std::ranges::count_if(map.layers, [&](std::int64_t layer) {
    return std::ranges::find(net_.config().full_layers, layer) != net_.config().full_layers.end();
  });
  map.window = n_full > 0 ? 0 : model.body.window;
  map.labels = {{"architecture", model.architecture}, {"method", model.position.method}};
  if (const Json& extension = net_.config().extension; !extension.is_null()) {
    map.labels["extension"] = ExtensionText(AsGiven(extension, /*trained_length=*/0));
    map.window = WindowUnder(extension, map.window);
  }
  const auto n_chosen = static_cast<std::int64_t>(map.layers.size());
  const std::int64_t n_layers = map.layers.back() + 1, n_all = n_layers * request.n_texts;
  RETURN_IF_ERROR(WithinMemory([&]() -> Status {
    MapSums sums(map, model.n_head, net_.compute().device);
    for (std::int64_t b = 0; b < request.n_texts; ++b) {
      const at::Tensor ids_1T = at::empty({1, n_tokens}, at::kLong);
      std::copy_n(request.tokens.begin() + b * n_tokens, n_tokens, ids_1T.data_ptr<std::int64_t>());
      const auto before = [&](std::int64_t layer, AttentionObserver& observer) {
        if (progress && !progress(b * n_layers + layer, n_all)) return false;
        if (std::ranges::binary_search(map.layers, layer)) {
          observer = [&sums](const AttentionBlock& block) { sums.Add(block); };
        }
        return true;
      };
      if (!net_.Observe(ids_1T.to(net_.compute().device), n_layers, before)) {
        return Status(Code::kCancelled, "the attention map was stopped");
      }
    }
    sums.Finish(n_chosen * request.n_texts);
    return Status();
  }));
  return map;
}

}  // namespace longrun
