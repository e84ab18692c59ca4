// Multiple choice with a network, against transformers' GPT-2 in float64: tests/golden/choice, made
// by tools/oracle/choice_oracle.py.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/str.h"
#include "model/net/scorer.h"
#include "model/net/transformer.h"
#include "tests/model/evaluation/questions.h"
#include "tests/model/net/golden.h"

namespace longrun {
namespace {

const std::string kFolder = LONGRUN_SOURCE_DIR "/tests/golden/choice";

NetConfig OracleConfig() {
  NetConfig config;
  config.model.n_layer = 2;
  config.model.n_head = 2;
  config.model.d_model = 16;
  config.model.d_ff = 64;
  config.model.vocab_size = 320;
  config.model.n_positions = 512;
  config.model.position = ResolvePosition("learned").value();
  return config;
}

// "line,choice,is_label,nll_sum,tokens,normalised_by"
std::vector<std::vector<std::string>> LinesOf(const EvaluationArtifact& artifact) {
  std::vector<std::vector<std::string>> lines;
  for (const std::string& line : Split(artifact.bytes, '\n')) {
    if (!line.empty()) lines.push_back(Split(line, ','));
  }
  lines.erase(lines.begin());
  return lines;
}

class ChoiceTest : public QuestionsTest {
 protected:
  Result<EvaluationOutput> Run(const Json& wanted) {
    const NetConfig config = OracleConfig();
    Transformer net =
        Transformer::Make(config, FormulaWeights(config.model), AttentionBackend::kReference,
                          OpenCompute("cpu", "fp32").value())
            .value();
    NetScorer scorer(net, dataset().bos_id());
    Json params = {{"protocol", wanted["protocol"]}};
    if (wanted["protocol"] == "lm_eval") params["length"] = wanted["length"];
    const std::string jsonl =
        ReadFile(JoinPath(kFolder, wanted["file"].get<std::string>())).value();
    return Ask(scorer, jsonl, wanted["context_length"], std::move(params), 8);
  }
};

// fp32 against float64: 1e-5 a token, of sums of up to some 80 tokens.
TEST_F(ChoiceTest, EveryChoiceHasTheLikelihoodThatTransformersGivesIt) {
  const Json cases = ParseJson(ReadFile(JoinPath(kFolder, "expected.json")).value()).value();
  ASSERT_EQ(cases.size(), 6u);
  for (const Json& wanted : cases) {
    const std::string name =
        Str(wanted["file"].get<std::string>(), " ", wanted["protocol"].get<std::string>(), " at ",
            wanted["context_length"].get<int>());
    const auto output = Run(wanted);
    ASSERT_TRUE(output.ok()) << name << ": " << output.status().message();
    EXPECT_EQ(output->rows[0]["value"].get<double>(), wanted["acc"].get<double>()) << name;
    EXPECT_EQ(output->rows[1]["value"].get<double>(), wanted["acc_norm"].get<double>()) << name;
    EXPECT_EQ(output->rows[0]["n"], wanted["items"].size());
    EXPECT_EQ(output->rows[0]["extra"]["choices_cut"].get<int>() > 0,
              wanted["context_length"] == 90);
    const auto lines = LinesOf(output->artifacts.at(0));
    std::size_t i = 0;
    for (const Json& item : wanted["items"]) {
      for (std::size_t k = 0; k < item["nll"].size(); ++k, ++i) {
        const std::vector<std::string>& line = lines.at(i);
        const double tolerance = 1e-5 * std::stod(line.at(4));
        EXPECT_NEAR(std::stod(line.at(3)), item["nll"][k].get<double>(), tolerance) << name << i;
        EXPECT_EQ(std::stod(line.at(5)), item["norm"][k].get<double>()) << name << i;
      }
    }
    EXPECT_EQ(i, lines.size());
  }
}

}  // namespace
}  // namespace longrun
