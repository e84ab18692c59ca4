#include "coordinator/rpc/parents.h"

#include <gtest/gtest.h>

#include "tests/coordinator/sample.h"

namespace longrun::coordinator {
namespace {

TEST(ParentFinderTest, OneSubmissionLooksForARunOnce) {
  const TempFolder folder;
  const auto store = Store::Open(folder.path()).value();
  const auto artifacts = ArtifactStore::Open({.folder = JoinPath(folder.path(), "artifacts")});
  Metrics metrics;
  const auto core = Core::Start(*store, **artifacts, metrics, {}).value();
  const SweepSubmitted submission = SampleSubmission("01BX5ZZKBKACTAV9WEVGEMMVRZ");
  const std::string run_key = submission.sweep.runs.front().run_key;
  ASSERT_TRUE(core->PostAndWait(submission).status.ok());
  const auto reader = StoreReader::Open(store->database_path()).value();
  const auto find = ParentFinder(*core, *reader);
  const Status first = find(run_key.substr(0, 12)).status();
  ASSERT_EQ(first.code(), Code::kFailedPrecondition) << first.message();  // it is not trained

  core->Stop();  // who asks it now hears that it is stopping

  EXPECT_EQ(find(run_key.substr(0, 12)).status().message(), first.message());
  EXPECT_EQ(ParentFinder(*core, *reader)(run_key).status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace longrun::coordinator
