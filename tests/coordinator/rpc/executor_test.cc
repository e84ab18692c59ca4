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
  const std::unique_ptr<Executor> executor = Executor::Start(*store, 1, 10);
  const DamagedRow damaged = DescribeLostMember("sweep", "a sweep");
  std::promise<std::vector<DamagedRow>> of_second;
  std::promise<Status> of_third;

  const auto failed = [](const Status& why) { ADD_FAILURE() << why.message(); };
  ASSERT_TRUE(executor->Post([&](StoreReader& reader) { reader.NoteDamaged({damaged}); }, failed));
  ASSERT_TRUE(executor->Post(
      [&](StoreReader& reader) { of_second.set_value(reader.TakeDamaged()); }, failed));
  EXPECT_TRUE(of_second.get_future().get().empty());

  store->NoteDamaged({damaged});
  ASSERT_TRUE(executor->Post(
      [&](StoreReader& reader) { of_third.set_value(reader.FindSweep("a").status()); }, failed));
  const Status status = of_third.get_future().get();
  EXPECT_NE(status.message().find("among those that can be read"), std::string::npos)
      << status.message();
}

TEST(ExecutorTest, AJobWhoseConnectionCannotBeOpenedFailsAndTheNextOneTriesAgain) {
  const TempFolder folder;
  const std::unique_ptr<Store> store = Store::Open(folder.path()).value();
  const std::unique_ptr<Executor> executor = Executor::Start(*store, 1, 10);
  const std::string away = store->database_path() + ".away";
  ASSERT_EQ(rename(store->database_path().c_str(), away.c_str()), 0);
  std::promise<Status> of_first, of_second;
  std::promise<bool> of_plain;
  const auto look = [](std::promise<Status>& answer) {
    return [&answer](StoreReader&) { answer.set_value(Status()); };
  };
  const auto fail = [](std::promise<Status>& answer) {
    return [&answer](const Status& why) { answer.set_value(why); };
  };
  ASSERT_TRUE(executor->Post(look(of_first), fail(of_first)));
  EXPECT_FALSE(of_first.get_future().get().ok());
  ASSERT_TRUE(executor->PostWithoutReader([&] { of_plain.set_value(true); }));
  EXPECT_TRUE(of_plain.get_future().get());

  ASSERT_EQ(rename(away.c_str(), store->database_path().c_str()), 0);
  ASSERT_TRUE(executor->Post(look(of_second), fail(of_second)));
  const Status status = of_second.get_future().get();
  EXPECT_TRUE(status.ok()) << status.message();
}

// What ran, in order, if "viewer" asked for three jobs, and others for one each while its first one
// ran.
std::vector<std::string> RunOfThreeCallers(Executor::Order order) {
  const TempFolder folder;
  const std::unique_ptr<Store> store = Store::Open(folder.path()).value();
  const std::unique_ptr<Executor> executor = Executor::Start(*store, 1, 10, order);
  std::vector<std::string> ran;
  std::promise<void> begun, may_end;
  const auto failed = [](const Status& why) { ADD_FAILURE() << why.message(); };
  const auto post = [&](const std::string& caller, const std::string& job) {
    EXPECT_TRUE(executor->Post([&ran, job](StoreReader&) { ran.push_back(job); }, failed, caller));
  };
  EXPECT_TRUE(executor->Post(
      [&](StoreReader&) {
        begun.set_value();
        may_end.get_future().wait();
        ran.emplace_back("viewer 1");
      },
      failed, "viewer"));
  begun.get_future().wait();
  post("viewer", "viewer 2");
  post("viewer", "viewer 3");
  post("submitter", "submitter");
  post("operator", "operator");
  may_end.set_value();
  executor->Stop();
  return ran;
}

TEST(ExecutorTest, CallersTakeTurnsSoThatManyJobsOfOneDelayAnotherByOne) {
  EXPECT_EQ(
      RunOfThreeCallers(Executor::Order::kTurns),
      (std::vector<std::string>{"viewer 1", "submitter", "operator", "viewer 2", "viewer 3"}));
  EXPECT_EQ(
      RunOfThreeCallers(Executor::Order::kArrival),
      (std::vector<std::string>{"viewer 1", "viewer 2", "viewer 3", "submitter", "operator"}));
}

TEST(ExecutorTest, ManyJobsKeepNoOtherCallerOutAndAllTogetherAreLimited) {
  const TempFolder folder;
  const std::unique_ptr<Store> store = Store::Open(folder.path()).value();
  const std::unique_ptr<Executor> executor = Executor::Start(*store, 1, 2, Executor::Order::kTurns);
  std::promise<void> begun, may_end;
  const auto failed = [](const Status& why) { ADD_FAILURE() << why.message(); };
  const auto wait = [&](StoreReader&) {
    begun.set_value();
    may_end.get_future().wait();
  };
  const auto nothing = [](StoreReader&) {};
  ASSERT_TRUE(executor->Post(wait, failed, "a"));
  begun.get_future().wait();
  EXPECT_TRUE(executor->Post(nothing, failed, "a"));
  EXPECT_TRUE(executor->Post(nothing, failed, "b"));
  EXPECT_FALSE(executor->Post(nothing, failed, "b"));
  EXPECT_TRUE(executor->Post(nothing, failed, "c"));
  EXPECT_FALSE(executor->Post(nothing, failed, "c"));
  EXPECT_TRUE(executor->Post(nothing, failed, "d"));
  EXPECT_FALSE(executor->Post(nothing, failed, "e"));
  may_end.set_value();
  executor->Stop();
}

}  // namespace
}  // namespace longrun::coordinator
