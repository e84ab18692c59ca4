#include "model/net/generate.h"

#include <ATen/core/grad_mode.h>
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
  static Result<Reader> Make(Net& net, std::int64_t batch, std::int64_t n_read, bool cache) {
    Reader reader(net);
    if (cache) {
      ASSIGN_OR_RETURN(Decoder decoder, Decoder::Make(net, batch, n_read));
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

// uniforms[b][i]: the random number for token i of text b.
std::vector<std::vector<double>> Uniforms(const Generation& generation, std::int64_t batch) {
  std::vector<std::vector<double>> uniforms;
  uniforms.reserve(static_cast<std::size_t>(batch));
  for (std::int64_t b = 0; b < batch; ++b) {
    uniforms.push_back(
        PhiloxUniforms(generation.sampling.seed, Str("generate.", b), generation.new_tokens));
  }
  return uniforms;
}

}  // namespace

Result<Generated> Generate(Net& net, const at::Tensor& prompt_BT, const Generation& generation) {
  const std::int64_t b = prompt_BT.size(0), t = prompt_BT.size(1), n = generation.new_tokens;
  const std::int64_t v = net.config().model.vocab_size;
  LR_CHECK(b > 0 && t > 0 && n > 0 && generation.n_choices <= v);
  std::vector<std::int64_t> lengths = generation.prompt_lengths;
  if (lengths.empty()) lengths.assign(static_cast<std::size_t>(b), t);
  const auto [shortest, longest] = std::ranges::minmax(lengths);
  LR_CHECK(std::ssize(lengths) == b && shortest > 0 && longest == t);
  RETURN_IF_ERROR(generation.sampling.Check());
  if (!net.config().model.causal) {
    return Status(Code::kInvalidArgument,
                  "the model is not causal: it was trained to see the following tokens, so it "
                  "cannot continue a text; choose one with \"causal\": true");
  }
  ASSIGN_OR_RETURN(Reader reader, Reader::Make(net, b, t + n - 1, generation.cache));

  const bool draws = generation.sampling.temperature > 0.0;
  const std::vector<std::vector<double>> uniforms =
      draws ? Uniforms(generation, b) : std::vector<std::vector<double>>();
  const std::size_t n_choices =
      static_cast<std::size_t>(generation.n_choices > 0 ? generation.n_choices : v);
  const at::Tensor tokens_BT = at::zeros({b, t + n}, at::kLong);
  tokens_BT.narrow(1, 0, t).copy_(prompt_BT);
  at::Tensor logits_BNV;
  if (generation.keep_logits) logits_BNV = at::zeros({b, n, v}, net.compute().dtype);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(b));

  std::int64_t n_read = shortest;
  for (bool go_on = true; go_on && n_read < t + n; ++n_read) {
    const at::Tensor logits_BV = reader.Read(tokens_BT.narrow(1, 0, n_read)).to(at::kCPU);
    const at::Tensor doubles_BV = logits_BV.to(at::kDouble).contiguous();
    for (std::size_t row = 0; row < ids.size(); ++row) {
      const std::int64_t written = n_read - lengths[row];
      ids[row] = -1;
      if (written < 0 || written >= n) continue;
      const auto text = static_cast<std::int64_t>(row);
      if (generation.keep_logits) {
        logits_BNV.select(0, text).select(0, written).copy_(logits_BV.select(0, text));
      }
      const std::span<const double> logits(
          doubles_BV.const_data_ptr<double>() + row * static_cast<std::size_t>(v), n_choices);
      Result<std::int64_t> id =
          ChooseToken(logits, generation.sampling,
                      draws ? uniforms[row][static_cast<std::size_t>(written)] : 0.0);
      if (!id) return std::move(id).status().In(Str("text ", row, ", new token ", written));
      ids[row] = *id;
      tokens_BT.data_ptr<std::int64_t>()[text * (t + n) + n_read] = *id;
    }
    if (generation.on_step) go_on = generation.on_step(ids);
  }
  return Generated{.tokens_BT = tokens_BT.narrow(1, 0, n_read),
                   .logits_BNV = generation.keep_logits
                                     ? logits_BNV.narrow(1, 0, std::min(n, n_read - shortest))
                                     : at::Tensor()};
}

}  // namespace longrun
