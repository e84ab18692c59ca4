// The words of the enums of a model and its training, written out: they are in files, in run keys
// and in the database, and must not change.
#include <gtest/gtest.h>

#include "model/config.h"
#include "model/precision.h"
#include "model/train_config.h"
#include "tests/enum_words.h"

namespace longrun {
namespace {

TEST(KindsTest, ANormHasTheWordOfTheFiles) {
  ExpectWords<NormKind>({{NormKind::kLayerNorm, "layer_norm"}, {NormKind::kRmsNorm, "rms_norm"}});
}

TEST(KindsTest, AnMlpHasTheWordOfTheFiles) {
  ExpectWords<MlpKind>({{MlpKind::kPlain, "plain"}, {MlpKind::kGated, "gated"}});
}

TEST(KindsTest, ABlockHasTheWordOfTheFiles) {
  ExpectWords<BlockKind>({{BlockKind::kSequential, "sequential"},
                          {BlockKind::kParallel, "parallel"},
                          {BlockKind::kParallelSharedNorm, "parallel_shared_norm"}});
}

TEST(KindsTest, APrecisionHasTheWordOfTheFiles) {
  ExpectWords<Precision>(
      {{Precision::kFp32, "fp32"}, {Precision::kBf16, "bf16"}, {Precision::kFp16, "fp16"}});
}

TEST(KindsTest, ASampleHasTheWordOfTheFiles) {
  ExpectWords<SampleKind>({{SampleKind::kWindows, "windows"},
                           {SampleKind::kDocuments, "documents"},
                           {SampleKind::kDocumentsWithBos, "documents_with_bos"}});
}

TEST(KindsTest, AnObjectiveHasTheWordOfTheFiles) {
  ExpectWords<Objective>(
      {{Objective::kCausalLm, "causal_lm"}, {Objective::kMaskedLm, "masked_lm"}});
}

}  // namespace
}  // namespace longrun
