#include "coordinator/rpc/executor.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "coordinator/store/store.h"

namespace longrun::coordinator {
namespace {

// A reader serves the jobs of many calls: what one of them met is not what another one lacks.
TEST(ExecutorTest, EachJobBeginsWithTheDamageOfTheStoreAndNoneOfAnotherJob) {
  const TempFolder folder;
  const std::unique_ptr<Store> store = Store::Open(folder.path()).value();
  const std::unique_ptr<Executor> executor = Executor::Start(*store, 1, 10).value();
  const DamagedRow damaged = DescribeLostMember("sweep", "a sweep");
  std::promise<std::vector<DamagedRow>> of_second;
  std::promise<Status> of_third;

  ASSERT_TRUE(executor->Post([&](StoreReader& reader) { reader.NoteDamaged({damaged}); }));
  ASSERT_TRUE(
      executor->Post([&](StoreReader& reader) { of_second.set_value(reader.TakeDamaged()); }));
  EXPECT_TRUE(of_second.get_future().get().empty());

  store->NoteDamaged({damaged});
  ASSERT_TRUE(executor->Post(
      [&](StoreReader& reader) { of_third.set_value(reader.FindSweep("a").status()); }));
  const Status status = of_third.get_future().get();
  EXPECT_NE(status.message().find("among those that can be read"), std::string::npos)
      << status.message();
}

}  // namespace
}  // namespace longrun::coordinator
