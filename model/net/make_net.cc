// How the network of each architecture is made. The architectures themselves, with the names of
// their weights, are in model/architecture/, which is free of LibTorch.
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "model/net/net.h"
#include "model/net/transformer.h"

namespace longrun {
namespace {

using NetMaker = Result<std::unique_ptr<Net>>(const NetConfig&, ParameterMap, AttentionBackend,
                                              const Compute&);

Result<std::unique_ptr<Net>> MakeTransformer(const NetConfig& config, ParameterMap parameters,
                                             AttentionBackend backend, const Compute& compute) {
  ASSIGN_OR_RETURN(Transformer net,
                   Transformer::Make(config, std::move(parameters), backend, compute));
  return std::unique_ptr<Net>(std::make_unique<Transformer>(std::move(net)));
}

struct Line {
  std::string_view architecture;
  NetMaker* make = nullptr;
};

constexpr std::array kLines = {
    Line{"gpt2", &MakeTransformer},     Line{"gptj", &MakeTransformer},
    Line{"gpt_neox", &MakeTransformer}, Line{"llama", &MakeTransformer},
    Line{"mistral", &MakeTransformer},  Line{"qwen2", &MakeTransformer},
    Line{"baichuan", &MakeTransformer}, Line{"jaketae", &MakeTransformer},
};

}  // namespace

bool HasNet(std::string_view architecture) {
  return std::ranges::find(kLines, architecture, &Line::architecture) != kLines.end();
}

Result<std::unique_ptr<Net>> MakeNet(const NetConfig& config, ParameterMap parameters,
                                     AttentionBackend backend, const Compute& compute) {
  const auto line = std::ranges::find(kLines, config.model.architecture, &Line::architecture);
  LR_CHECK(line != kLines.end());
  return line->make(config, std::move(parameters), backend, compute);
}

}  // namespace longrun
