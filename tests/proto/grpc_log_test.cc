#include "proto/grpc_log.h"

#include <grpc/support/log.h>
#include <gtest/gtest.h>

#include <string>

namespace longrun {
namespace {

TEST(GrpcLogTest, OfManyErrorsTheFirstIsALineOfOurLogAndInfosAreNone) {
  gpr_log_verbosity_init();
  LogGrpcErrors();
  testing::internal::CaptureStderr();
  gpr_log("src/core/x.cc", 7, GPR_LOG_SEVERITY_INFO, "connected");
  for (int i = 0; i < 100; ++i) gpr_log("src/core/x.cc", 8, GPR_LOG_SEVERITY_ERROR, "no TLS %d", i);
  const std::string text = testing::internal::GetCapturedStderr();

  EXPECT_EQ(text.substr(0, 2), "W ");
  EXPECT_NE(text.find(" grpc_error text=\"no TLS 0\" source=x.cc:8 left_out=0\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find('\n') + 1, text.size());
}

TEST(GrpcLogTest, ACommandPrintsNothingOfIt) {
  gpr_log_verbosity_init();
  SilenceGrpc();
  testing::internal::CaptureStderr();
  gpr_log("src/core/x.cc", 8, GPR_LOG_SEVERITY_ERROR, "no TLS");

  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace longrun
