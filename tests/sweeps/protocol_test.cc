#include "sweeps/protocol.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

TEST(ProtocolTest, ASessionUsesTheNewestVersionThatBothSidesSpeak) {
  const ProtocolRange ours = {.oldest = 2, .newest = 4};
  EXPECT_EQ(AgreeOnProtocol({.oldest = 1, .newest = 2}, ours).value(), 2);
  EXPECT_EQ(AgreeOnProtocol({.oldest = 3, .newest = 3}, ours).value(), 3);
  EXPECT_EQ(AgreeOnProtocol({.oldest = 1, .newest = 9}, ours).value(), 4);
  EXPECT_EQ(AgreeOnProtocol({.oldest = 4, .newest = 5}, ours).value(), 4);
}

TEST(ProtocolTest, TheOlderSideIsNamedWhereThereIsNoCommonVersion) {
  const ProtocolRange ours = {.oldest = 2, .newest = 4};
  const Status older = AgreeOnProtocol({.oldest = 1, .newest = 1}, ours).status();
  EXPECT_EQ(older.code(), Code::kFailedPrecondition);
  EXPECT_EQ(older.message(),
            "the worker speaks version 1 of the protocol, but this coordinator (0.1.0) speaks "
            "versions 2 to 4: update the worker to a release that speaks version 2");
  const Status newer = AgreeOnProtocol({.oldest = 5, .newest = 6}, ours).status();
  EXPECT_EQ(newer.code(), Code::kFailedPrecondition);
  EXPECT_EQ(newer.message(),
            "the worker speaks versions 5 to 6 of the protocol, but this coordinator (0.1.0) "
            "speaks versions 2 to 4: update the coordinator to a release that speaks version 5");
}

// A rolling upgrade needs that a release speaks what the release before it spoke.
TEST(ProtocolTest, ThisBuildSpeaksTheVersionBeforeItsNewest) {
  EXPECT_LT(kProtocolOldest, kProtocolNewest);
}

}  // namespace
}  // namespace longrun
