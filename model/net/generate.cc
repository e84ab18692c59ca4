#include "model/net/generate.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/str.h"
#include "model/net/decoder.h"
#include "model/net/head.h"
#include "model/net/parameters.h"

namespace longrun {
namespace {

// Logits (B, V) after the text read so far: with a cache, which reads only new tokens,
// or of the whole text.
class Reader {
 public:
  static Result<Reader> Make(Net& net, std::int64_t batch, std::int64_t n_read,
                             const Generation& generation) {
    Reader reader(net);
    if (generation.cache) {
      ASSIGN_OR_RETURN(Decoder decoder, Decoder::Make(net, batch, n_read, generation.keys_place));
      // If there is no room, that is known before any token is written.
      if (!net.compute().device.is_cpu()) decoder.Reserve();
      reader.decoder_.emplace(std::move(decoder));
    } else {
      RETURN_IF_ERROR(net.CheckLength(n_read));
    }
    return reader;
  }

  at::Tensor Read(const at::Tensor& text_BT) {
    const c10::Device device = net_->compute().device;
    const std::int64_t n = text_BT.size(1);
    if (decoder_) {
      const std::int64_t n_fed = decoder_->n_fed();
      return decoder_->Feed(text_BT.narrow(1, n_fed, n - n_fed).to(device));
    }
    const at::NoGradGuard no_grad;
    const at::Tensor hidden_BTC = net_->Hidden(text_BT.to(device));
    return HeadLogits(hidden_BTC.select(1, n - 1), net_->head(), net_->compute());
  }

 private:
  explicit Reader(Net& net) : net_(&net) {}

  Net* net_;
  std::optional<Decoder> decoder_;
};

// Chooses the tokens of each text.
class Chooser {
 public:
  Chooser(const Generation& generation, std::int64_t batch, std::int64_t n_choices)
      : generation_(&generation), n_choices_(n_choices) {
    const bool has_own = !generation.samplings.empty();
    for (std::int64_t b = 0; b < batch; ++b) {
      const Sampling& sampling = Of(b);
      uniforms_.push_back(sampling.temperature > 0.0
                              ? PhiloxUniforms(sampling.seed, Str("generate.", has_own ? 0 : b),
                                               generation.new_tokens)
                              : std::vector<double>());
    }
  }

  const Sampling& Of(std::int64_t text) const {
    return generation_->samplings.empty() ? generation_->sampling
                                          : generation_->samplings[static_cast<std::size_t>(text)];
  }

  // Whether the most likely token is chosen in every text.
  bool TakesMostLikely(std::span<const std::int64_t> written) const {
    for (std::size_t row = 0; row < written.size(); ++row) {
      const auto text = static_cast<std::int64_t>(row);
      if (Of(text).temperature > 0.0 || !HeldBackOf(text, written[row]).empty()) return false;
    }
    return true;
  }

  // Token `written` of a text, of logits on the CPU.
  Result<std::int64_t> Choose(const at::Tensor& logits_V, std::int64_t text,
                              std::int64_t written) const {
    const at::Tensor doubles_V = logits_V.narrow(0, 0, n_choices_).to(at::kDouble).contiguous();
    const std::vector<double>& uniforms = uniforms_[static_cast<std::size_t>(text)];
    Result<std::int64_t> id =
        ChooseToken({doubles_V.const_data_ptr<double>(), static_cast<std::size_t>(n_choices_)},
                    Of(text), uniforms.empty() ? 0.0 : uniforms[static_cast<std::size_t>(written)],
                    HeldBackOf(text, written));
    if (!id) return std::move(id).status().In(Str("text ", text, ", new token ", written));
    return id;
  }

  // The most likely token of each text, with the smallest id among equal logits; -1 if a logit is
  // not finite. Computed where the logits are, so that only ids leave the device.
  at::Tensor MostLikely(const at::Tensor& logits_BV) const {
    const at::Tensor logits = logits_BV.narrow(1, 0, n_choices_);
    const at::Tensor ids_V = at::arange(n_choices_, logits.options().dtype(at::kLong));
    const at::Tensor none = at::full({}, n_choices_, ids_V.options());
    const at::Tensor first_B = at::where(logits == logits.amax(1, true), ids_V, none).amin(1);
    return at::where(at::isfinite(logits).all(1), first_B, at::full({}, -1, ids_V.options()))
        .to(at::kCPU);
  }

 private:
  std::span<const std::int32_t> HeldBackOf(std::int64_t text, std::int64_t written) const {
    if (generation_->held_back.empty()) return {};
    const HeldBack& held_back = generation_->held_back[static_cast<std::size_t>(text)];
    if (written < 0 || written >= held_back.n_first) return {};
    return held_back.ids;
  }

  const Generation* generation_;
  std::int64_t n_choices_;
  std::vector<std::vector<double>> uniforms_;  // by text, one for each token; empty: none needed
};

}  // namespace

Result<Generated> Generate(Net& net, const at::Tensor& prompt_BT, const Generation& generation) {
  const std::int64_t b = prompt_BT.size(0), t = prompt_BT.size(1), n = generation.new_tokens;
  const std::int64_t v = net.config().model.vocab_size;
  LR_CHECK(b > 0 && t > 0 && n > 0 && generation.n_choices <= v);
  std::vector<std::int64_t> lengths = generation.prompt_lengths;
  if (lengths.empty()) lengths.assign(static_cast<std::size_t>(b), t);
  const auto [shortest, longest] = std::ranges::minmax(lengths);
  LR_CHECK(std::ssize(lengths) == b && shortest > 0 && longest == t);
  LR_CHECK(generation.samplings.empty() || std::ssize(generation.samplings) == b);
  LR_CHECK(generation.held_back.empty() || std::ssize(generation.held_back) == b);
  RETURN_IF_ERROR(generation.sampling.Check());
  for (const Sampling& sampling : generation.samplings) RETURN_IF_ERROR(sampling.Check());
  if (!net.config().model.causal) {
    return Status(Code::kInvalidArgument,
                  "the model is not causal: it was trained to see the following tokens, so it "
                  "cannot continue a text; choose one with \"causal\": true");
  }
  ASSIGN_OR_RETURN(Reader reader, Reader::Make(net, b, t + n - 1, generation));

  const Chooser chooser(generation, b, generation.n_choices > 0 ? generation.n_choices : v);
  const at::Tensor tokens_BT = at::zeros({b, t + n}, at::kLong);
  tokens_BT.narrow(1, 0, t).copy_(prompt_BT);
  at::Tensor logits_BNV;
  if (generation.keep_logits) logits_BNV = at::zeros({b, n, v}, net.compute().dtype);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(b)), written(ids.size());

  std::int64_t n_read = shortest;
  for (bool go_on = true; go_on && n_read < t + n; ++n_read) {
    for (std::size_t row = 0; row < ids.size(); ++row) written[row] = n_read - lengths[row];
    at::Tensor logits_BV = reader.Read(tokens_BT.narrow(1, 0, n_read));
    at::Tensor most_likely_B;
    if (chooser.TakesMostLikely(written)) most_likely_B = chooser.MostLikely(logits_BV);
    if (generation.keep_logits || !most_likely_B.defined()) logits_BV = logits_BV.to(at::kCPU);
    for (std::size_t row = 0; row < ids.size(); ++row) {
      ids[row] = -1;
      if (written[row] < 0 || written[row] >= n) continue;
      const auto text = static_cast<std::int64_t>(row);
      if (generation.keep_logits) {
        logits_BNV.select(0, text).select(0, written[row]).copy_(logits_BV.select(0, text));
      }
      if (most_likely_B.defined()) ids[row] = most_likely_B.const_data_ptr<std::int64_t>()[row];
      if (ids[row] < 0) {
        ASSIGN_OR_RETURN(
            ids[row], chooser.Choose(logits_BV.select(0, text).to(at::kCPU), text, written[row]));
      }
      tokens_BT.data_ptr<std::int64_t>()[text * (t + n) + n_read] = ids[row];
    }
    if (generation.on_step) go_on = generation.on_step(ids);
  }
  return Generated{.tokens_BT = tokens_BT.narrow(1, 0, n_read),
                   .logits_BNV = generation.keep_logits
                                     ? logits_BNV.narrow(1, 0, std::min(n, n_read - shortest))
                                     : at::Tensor()};
}

}  // namespace longrun
