// Batches of documents of several lengths, with padding on the right and ignored targets, as
// model/sample_source/documents.cc makes them.
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/max.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "base/str.h"
#include "kernels/cross_entropy.h"
#include "model/extension/extension.h"
#include "model/net/gradient.h"
#include "model/position/method.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

constexpr std::int64_t kLength = 37;  // of a sample, more than a tile of the fused attention
constexpr std::int64_t kPositions = 90;
constexpr std::array<std::int64_t, 4> kTokens = {20, 2, kLength, 33};  // of each document
constexpr std::int64_t kTargets = 20 + 2 + kLength + 33 - 4;

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

struct Documents {
  at::Tensor ids_BT, targets_BT, position_ids_BT;

  Batch batch(std::int64_t first, std::int64_t n, std::int64_t length, bool numbered) const {
    Batch batch = {.ids_BT = ids_BT.narrow(0, first, n).narrow(1, 0, length).contiguous()};
    if (numbered) {
      batch.position_ids_BT = position_ids_BT.narrow(0, first, n).narrow(1, 0, length).contiguous();
      batch.n_positions = kPositions;
    }
    return batch;
  }
};

// The padding consists of `padding`, which is a token like any other. Positions have a skip, which
// differs from document to document.
Documents MakeDocuments(std::int64_t padding) {
  constexpr auto kDocuments = static_cast<std::int64_t>(kTokens.size());
  Documents made = {.ids_BT = SmallTokens(kDocuments, kLength).clone(),
                    .targets_BT = at::full({kDocuments, kLength}, kIgnoredTarget, at::kLong),
                    .position_ids_BT = at::zeros({kDocuments, kLength}, at::kInt)};
  for (std::int64_t d = 0; d < kDocuments; ++d) {
    const std::int64_t n = kTokens.at(static_cast<std::size_t>(d));
    at::Tensor ids = made.ids_BT.select(0, d);
    made.targets_BT.select(0, d).narrow(0, 0, n - 1).copy_(ids.narrow(0, 1, n - 1));
    ids.narrow(0, n, kLength - n).fill_(padding);
    const at::Tensor place = at::arange(n, at::kInt);
    made.position_ids_BT.select(0, d).narrow(0, 0, n).copy_(place +
                                                            place.ge((n + 1) / 2) * (7 * d));
  }
  return made;
}

struct Learned {
  at::Tensor nll;  // of each place
  std::map<std::string, at::Tensor> gradients;
};

Learned Take(Transformer& net, const at::Tensor& nll) {
  Learned learned = {.nll = nll, .gradients = {}};
  for (const auto& [name, parameter] : net.parameters()) {
    learned.gradients[name] = GradientOf(parameter).clone();
  }
  return learned;
}

NetConfig Config(const std::string& method) {
  const bool has_table = FindPositionMethod(method).value()->has_position_table;
  NetConfig config = SmallConfig(method, has_table ? kLength : 0);
  config.model.d_model = 32;  // the fused attention has heads of 8, 16, ... channels
  return config;
}

bool IsNumbered(Transformer& net) { return net.CheckPositionIds().ok(); }

class PaddingTest : public testing::TestWithParam<std::string> {};

// Loss and gradient are those of the documents one by one, without padding, in fp64.
TEST_P(PaddingTest, ABatchLearnsWhatItsDocumentsTeachWithoutPadding) {
  Transformer net = SmallNet(Config(GetParam()), "fp64");
  const Documents documents = MakeDocuments(0);
  constexpr double kWeight = 1.0 / static_cast<double>(kTargets);
  for (const bool numbered : {false, true}) {
    if (numbered && !IsNumbered(net)) continue;
    SCOPED_TRACE(numbered);
    ClearGradients(net);
    double nll_sum = 0.0;
    for (std::size_t d = 0; d < kTokens.size(); ++d) {
      const auto at = static_cast<std::int64_t>(d);
      const at::Tensor targets = documents.targets_BT.narrow(0, at, 1);
      // The last token is read, and has no target.
      nll_sum += AddGradients(net, documents.batch(at, 1, kTokens.at(d), numbered),
                              targets.narrow(1, 0, kTokens.at(d) - 1).contiguous(), kWeight)
                     .sum()
                     .item<double>();
    }
    const Learned expected = Take(net, {});
    for (const std::int64_t micro_batch : {4, 2, 1}) {
      ClearGradients(net);
      double found = 0.0;
      for (std::int64_t first = 0; first < 4; first += micro_batch) {
        found += AddGradients(net, documents.batch(first, micro_batch, kLength, numbered),
                              documents.targets_BT.narrow(0, first, micro_batch), kWeight)
                     .sum()
                     .item<double>();
      }
      EXPECT_NEAR(found, nll_sum, 1e-9);
      for (const auto& [name, gradient] : Take(net, {}).gradients) {
        EXPECT_LT(MaxDifference(gradient, expected.gradients.at(name)), 1e-9)
            << name << " in micro-batches of " << micro_batch;
      }
    }
  }
}

// On every attention path the padding adds exact zeros: other tokens there change no bit.
TEST_P(PaddingTest, TheGradientOfPaddingIsExactlyZero) {
  int n_paths = 0;
  for (const AttentionBackend backend :
       {AttentionBackend::kReference, AttentionBackend::kTorch, AttentionBackend::kFused}) {
    for (const char* precision : {"fp64", "fp32", "bf16"}) {
      const NetConfig config = Config(GetParam());
      Result<Transformer> net =
          Transformer::Make(config, InitialParameters(ParametersOf(config.model).value(), 7),
                            backend, OpenCompute("cpu", precision).value());
      if (!net.ok()) continue;  // a path that has no such terms, or no such precision
      ++n_paths;
      for (const bool numbered : {false, true}) {
        if (numbered && !IsNumbered(*net)) continue;
        const auto learn = [&](std::int64_t padding) {
          const Documents documents = MakeDocuments(padding);
          ClearGradients(*net);
          const at::Tensor nll = AddGradients(*net, documents.batch(0, 4, kLength, numbered),
                                              documents.targets_BT, 0.01);
          return Take(*net, nll);
        };
        const Learned first = learn(0), second = learn(9);
        const std::string path = Str(EnumName(backend), " ", precision, " ", numbered);
        EXPECT_TRUE(at::equal(first.nll, second.nll)) << path;
        EXPECT_EQ(first.nll.ne(0).sum().item<std::int64_t>(), kTargets) << path;
        for (const auto& [name, gradient] : first.gradients) {
          EXPECT_TRUE(at::equal(gradient, second.gradients.at(name))) << path << " " << name;
        }
      }
    }
  }
  EXPECT_GE(n_paths, 2);
}

INSTANTIATE_TEST_SUITE_P(Methods, PaddingTest, testing::ValuesIn(PositionMethodNames()),
                         [](const auto& given) { return given.param; });

// Frequencies that depend on the length are those of the sample's length, padding included: as if
// texts of every length had them.
TEST(PaddingLongropeTest, AShortDocumentIsReadAtTheFrequenciesOfItsSample) {
  const std::vector<double> short_factor(8, 1.0), long_factor = {1, 1.5, 2, 3, 4, 5, 6, 8};
  const auto learn = [&](const std::vector<double>& of_short_texts, std::int64_t length) {
    NetConfig config = WithBody(Config("rope"), "llama");
    config.extension = ResolveExtension({{"method", "longrope"},
                                         {"factor", 4},
                                         {"original_length", 25},
                                         {"short_factor", of_short_texts},
                                         {"long_factor", long_factor}})
                           .value();
    Transformer net = SmallNet(config, "fp64");
    const Documents documents = MakeDocuments(0);
    ClearGradients(net);
    const at::Tensor nll =
        AddGradients(net, documents.batch(0, 1, length, false),
                     documents.targets_BT.narrow(0, 0, 1).narrow(1, 0, length), 0.01);
    return Take(net, nll);
  };
  const Learned padded = learn(short_factor, kLength);
  const Learned expected = learn(long_factor, kTokens.at(0));
  const Learned by_itself = learn(short_factor, kTokens.at(0));
  double difference = 0.0;
  for (const auto& [name, gradient] : padded.gradients) {
    EXPECT_LT(MaxDifference(gradient, expected.gradients.at(name)), 1e-9) << name;
    difference = std::max(difference, MaxDifference(gradient, by_itself.gradients.at(name)));
  }
  EXPECT_GT(difference, 1e-6);  // the factors matter, or the test says nothing
}

}  // namespace
}  // namespace longrun
