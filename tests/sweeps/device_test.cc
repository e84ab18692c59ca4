// The words of the kinds of devices, written out: they are in files, on the wire and in the
// database.
#include <gtest/gtest.h>

#include "sweeps/device_choice.h"
#include "tests/enum_words.h"

namespace longrun {
namespace {

TEST(DeviceTest, AKindOfDeviceHasTheWordOfTheFiles) {
  ExpectWords<DeviceKind>({{DeviceKind::kCpu, "cpu"}, {DeviceKind::kGpu, "gpu"}});
}

TEST(DeviceTest, AChoiceOfDevicesHasTheWordOfTheFiles) {
  ExpectWords<DeviceChoice>(
      {{DeviceChoice::kAny, "any"}, {DeviceChoice::kGpu, "gpu"}, {DeviceChoice::kCpu, "cpu"}});
}

TEST(DeviceTest, AnyDeviceIsOfEitherKind) {
  for (const DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kGpu}) {
    EXPECT_TRUE(Admits(DeviceChoice::kAny, kind));
    EXPECT_EQ(Admits(DeviceChoice::kCpu, kind), kind == DeviceKind::kCpu);
    EXPECT_EQ(Admits(DeviceChoice::kGpu, kind), kind == DeviceKind::kGpu);
  }
}

}  // namespace
}  // namespace longrun
