#include "base/host_port.h"

#include <gtest/gtest.h>

#include <string>

#include "base/str.h"

namespace longrun {
namespace {

TEST(HostPortTest, ReadsNamesAndAddresses) {
  EXPECT_EQ(ParseHostPort("gpu.example.org:7443").value(),
            (HostPort{.host = "gpu.example.org", .port = 7443}));
  EXPECT_EQ(ParseHostPort("[::1]:0").value(), (HostPort{.host = "::1", .port = 0}));
  EXPECT_EQ(ParseHostPort("10.0.0.7", 7443).value(), (HostPort{.host = "10.0.0.7", .port = 7443}));
  EXPECT_EQ(ParseHostPort("[fe80::1]", 7443).value(), (HostPort{.host = "fe80::1", .port = 7443}));
  EXPECT_EQ(ParseHostPort("[fe80::1%eth0]:1").value(),
            (HostPort{.host = "fe80::1%eth0", .port = 1}));
  EXPECT_EQ(ParseHostPort("gpu_7.example.org.:1").value(),
            (HostPort{.host = "gpu_7.example.org.", .port = 1}));
}

TEST(HostPortTest, WritesWhatItReads) {
  for (const char* const text : {"gpu:1", "[::1]:65535", "0.0.0.0:0"}) {
    EXPECT_EQ(ParseHostPort(text).value().Text(), text);
  }
}

TEST(HostPortTest, RefusesAnythingElseAndSaysWhatItExpects) {
  for (const char* const text :
       {"",           ":1",     "host", "host:",  "host:x",        "host:65536", "host:-1",
        "::1",        "[::1",   "[]:1", "a b:1",  "http://host:1", "me@host:1",  "host:1:2",
        "gpu..org:1", ".org:1", ".:1",  "höst:1", "a;b:1",         "[a/b::]:1"}) {
    const Result<HostPort> place = ParseHostPort(text);
    ASSERT_FALSE(place.ok()) << text;
    EXPECT_NE(place.status().message().find("expected HOST:PORT"), std::string::npos);
  }
}

// RFC 1035, section 2.3.4: 63 octets in a label, 255 in a name, which are 253 as text.
TEST(HostPortTest, RefusesNamesThatAreTooLongForDns) {
  const std::string label(63, 'a');
  EXPECT_TRUE(ParseHostPort(Str(label, ":1")).ok());
  EXPECT_FALSE(ParseHostPort(Str(label, "a:1")).ok());
  const std::string name = Str(label, ".", label, ".", label, ".", std::string(61, 'a'));
  EXPECT_TRUE(ParseHostPort(Str(name, ":1")).ok());
  EXPECT_FALSE(ParseHostPort(Str(name, "a:1")).ok());
}

}  // namespace
}  // namespace longrun
