// Which processor a page of /proc/cpuinfo is of. The pages are as Linux writes them, cut down.
#include "base/cpu.h"

#include <gtest/gtest.h>

#include <string>

namespace longrun {
namespace {

constexpr const char* kTurin = R"(processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 26
model		: 2
model name	: AMD EPYC
stepping	: 1
flags		: fpu avx512f avx512_bf16

processor	: 1
vendor_id	: AuthenticAMD
model		: 99
)";
constexpr const char* kSapphireRapids = R"(processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 143
model name	: Intel(R) Xeon(R) Processor
)";
constexpr const char* kGraviton3 = R"(processor	: 0
BogoMIPS	: 2100.00
Features	: fp asimd evtstrm aes
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x1
CPU part	: 0xd40
CPU revision	: 1
)";

CpuIdentity Amd(int family, int model) {
  return {.name = "AMD EPYC", .vendor = "AuthenticAMD", .family = family, .model = model};
}

TEST(CpuTest, TheFirstProcessorOfAPageIsNamedByItsNumbers) {
  const CpuIdentity amd = ParseCpuInfo(kTurin);
  EXPECT_EQ(amd.name, "AMD EPYC");
  EXPECT_EQ(amd.vendor, "AuthenticAMD");
  EXPECT_EQ(amd.family, 26);
  EXPECT_EQ(amd.model, 2);
  EXPECT_EQ(amd.flags, "fpu avx512f avx512_bf16");
  EXPECT_EQ(ParseCpuInfo(kGraviton3).flags, "fp asimd evtstrm aes");
  EXPECT_TRUE(IsX86(amd));
  EXPECT_EQ(ProcessorName(amd), "AMD EPYC, Zen 5");
  EXPECT_EQ(ProcessorName(ParseCpuInfo(kSapphireRapids)), "Intel Xeon, Sapphire Rapids");
}

TEST(CpuTest, AnArmPageHasNumbersInThePlaceOfNames) {
  const CpuIdentity arm = ParseCpuInfo(kGraviton3);
  EXPECT_EQ(arm.name, "CPU");
  EXPECT_EQ(arm.vendor, "0x41");
  EXPECT_EQ(arm.model, 0xd40);
  EXPECT_FALSE(IsX86(arm));
  EXPECT_EQ(MicroarchitectureOf(arm), "Neoverse V1");
  EXPECT_EQ(ProcessorName(arm), "Arm Neoverse V1");
  CpuIdentity other = arm;
  other.model = 0xd08;
  EXPECT_EQ(ProcessorName(other), "Arm CPU, implementer 0x41 part 0xd08");
}

TEST(CpuTest, WhatTheTableDoesNotKnowIsNamedByItsNumbers) {
  EXPECT_EQ(MicroarchitectureOf(Amd(31, 2)), "");
  EXPECT_EQ(ProcessorName(Amd(31, 2)), "AMD EPYC, family 31 model 2");
  CpuIdentity same_numbers = Amd(26, 2);
  same_numbers.vendor = "HygonGenuine";
  EXPECT_EQ(MicroarchitectureOf(same_numbers), "");
}

TEST(CpuTest, ModelsOfOneFamilyMayBeOfSeveralMicroarchitectures) {
  EXPECT_EQ(MicroarchitectureOf(Amd(25, 0x01)), "Zen 3");  // Milan
  EXPECT_EQ(MicroarchitectureOf(Amd(25, 0x11)), "Zen 4");  // Genoa
  EXPECT_EQ(MicroarchitectureOf(Amd(25, 0x21)), "Zen 3");  // Vermeer
  EXPECT_EQ(MicroarchitectureOf(Amd(25, 0xa0)), "Zen 4");  // Bergamo
}

TEST(CpuTest, AProductNameIsShownWithoutMarksClockAndCores) {
  CpuIdentity cpu = {.name = "Intel(R) Xeon(R) Platinum 8480C CPU @ 2.00GHz",
                     .vendor = "GenuineIntel",
                     .family = 6,
                     .model = 0x8f};
  EXPECT_EQ(ProcessorName(cpu), "Intel Xeon Platinum 8480C, Sapphire Rapids");
  cpu = Amd(25, 0x11);
  cpu.name = "AMD EPYC 9V74 80-Core Processor";
  EXPECT_EQ(ProcessorName(cpu), "AMD EPYC 9V74, Zen 4");
}

TEST(CpuTest, APageThatSaysNothingGivesAProcessorOfNoName) {
  for (const char* const page : {"", "processor : 0\nmodel : x\n"}) {
    const CpuIdentity cpu = ParseCpuInfo(page);
    EXPECT_EQ(cpu.name, "CPU");
    EXPECT_EQ(cpu.vendor, "unknown");
    EXPECT_EQ(ProcessorName(cpu), "CPU");
  }
}

}  // namespace
}  // namespace longrun
