#include "pki/host_port.h"

#include <gtest/gtest.h>

namespace longrun {
namespace {

TEST(HostPortTest, ReadsNamesAndAddresses) {
  EXPECT_EQ(ParseHostPort("gpu.example.org:7443").value(),
            (HostPort{.host = "gpu.example.org", .port = 7443}));
  EXPECT_EQ(ParseHostPort("[::1]:0").value(), (HostPort{.host = "::1", .port = 0}));
  EXPECT_EQ(ParseHostPort("10.0.0.7", 7443).value(), (HostPort{.host = "10.0.0.7", .port = 7443}));
  EXPECT_EQ(ParseHostPort("[fe80::1]", 7443).value(), (HostPort{.host = "fe80::1", .port = 7443}));
}

TEST(HostPortTest, WritesWhatItReads) {
  for (const char* const text : {"gpu:1", "[::1]:65535", "0.0.0.0:0"}) {
    EXPECT_EQ(ParseHostPort(text).value().Text(), text);
  }
}

TEST(HostPortTest, RefusesAnythingElseAndSaysWhatItExpects) {
  for (const char* const text :
       {"", ":1", "host", "host:", "host:x", "host:65536", "host:-1", "::1", "[::1", "[]:1",
        "a b:1", "http://host:1", "me@host:1", "host:1:2"}) {
    const Result<HostPort> place = ParseHostPort(text);
    ASSERT_FALSE(place.ok()) << text;
    EXPECT_NE(place.status().message().find("expected HOST:PORT"), std::string::npos);
  }
}

}  // namespace
}  // namespace longrun
