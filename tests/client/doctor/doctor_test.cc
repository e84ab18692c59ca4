// Each check of `longrun doctor` against a machine with one thing wrong: what it calls that, and
// that it says what to do.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/files.h"
#include "base/str.h"
#include "base/version.h"
#include "client/doctor/checks.h"
#include "pki/files.h"
#include "sweeps/worker_id.h"
#include "worker/agent/devices.h"

namespace longrun::client {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

CpuPaths Turin() {
  return {.cpu = {.name = "AMD EPYC", .vendor = "AuthenticAMD", .family = 26, .model = 2},
          .simd = "avx512",
          .linear = "onednn/AuthenticAMD"};
}

class DoctorTest : public testing::Test {
 protected:
  DoctorTest() {
    chmod(folder.path().c_str(), 0700);
    machine = {.state = folder.path(),
               .trainer = "/bin/true",
               .wall_ms = 1'763'600'000'000,
               .newest_file_wall_ms = 1'763'500'000'000,
               .memory_bytes = 16 * kGiB,
               .disk_free_bytes = 100 * kGiB,
               .sync_ms = 1.0,
               .open_files = 65'536,
               .processes = 100'000,
               .file_bytes = std::numeric_limits<std::int64_t>::max(),
               .cpu_paths = Turin()};
  }

  Finding Of(std::string_view name) const {
    const auto check = std::ranges::find(Checks(), name, &Check::name);
    EXPECT_NE(check, Checks().end()) << name;
    return check->run(machine);
  }
  // Found as `verdict`, with these words, and with something to do unless it is well.
  void Expect(std::string_view name, CheckVerdict verdict, std::string_view words) const {
    const Finding finding = Of(name);
    EXPECT_EQ(VerdictName(finding.verdict), VerdictName(verdict)) << name << ": " << finding.found;
    EXPECT_NE(finding.found.find(words), std::string::npos) << finding.found;
    EXPECT_EQ(finding.remedy.empty(), verdict == CheckVerdict::kOk)
        << name << ": " << finding.remedy;
  }
  void Script(const std::string& name, const std::string& text) {
    machine.trainer = JoinPath(folder.path(), name);
    ASSERT_TRUE(WriteFileAtomic(machine.trainer, text, 0755).ok());
  }

  const TempFolder folder;
  MachineFacts machine;
};

TEST_F(DoctorTest, AHealthyMachineIsWellInEveryCheck) {
  for (const Check& check : Checks()) Expect(check.name, CheckVerdict::kOk, "");
}

TEST_F(DoctorTest, AVariableThatIsIgnoredForItsRelativePath) {
  machine.ignored_variables = {"XDG_DATA_HOME=data"};
  Expect("environment", CheckVerdict::kWarn,
         "XDG_DATA_HOME=data is a relative path and is ignored");
}

TEST_F(DoctorTest, ATrainerThatIsNotThereOrCannotLoadItsLibraries) {
  machine.trainer = JoinPath(folder.path(), "no-such-trainer");
  Expect("libtorch", CheckVerdict::kFail, "cannot be run: No such file or directory");
  // What the dynamic loader says, and its exit code.
  Script("broken-trainer",
         "#!/bin/sh\necho 'libtorch_cpu.so: cannot open shared object file' >&2\nexit 127\n");
  Expect("libtorch", CheckVerdict::kFail, "libtorch_cpu.so: cannot open shared object file");
}

TEST_F(DoctorTest, ProgramsOfOtherVersionsAreNamed) {
  const std::string own = Str(kVersion, " (", BuildCommit(), ")");
  machine.programs = {{"/bin/longrun-coordinator", own}, {"/home/me/my-trainer", ""}};
  Expect("programs", CheckVerdict::kOk, own);
  machine.programs.push_back({"/bin/longrun-worker", "0.0.9 (3f2a91c0b7d4)"});
  Expect("programs", CheckVerdict::kWarn,
         Str("longrun is ", own, ", but /bin/longrun-worker is 0.0.9 (3f2a91c0b7d4)"));
}

TEST_F(DoctorTest, ACpuThatWasMeasuredIsSaidWithItsPathsAndWhatTheyReach) {
  const Finding finding = Of("cpu");
  EXPECT_EQ(VerdictName(finding.verdict), "ok");
  EXPECT_TRUE(
      finding.found.starts_with("AMD EPYC, Zen 5: instruction set avx512, matrix path "
                                "onednn/AuthenticAMD, subnormal numbers flushed; a core of AMD "
                                "EPYC, Zen 5 reached 229 to 270 GFLOP/s in fp32 products"))
      << finding.found;
  EXPECT_EQ(finding.facts.at("processor"), "AMD EPYC, Zen 5");
  EXPECT_EQ(finding.facts.at("simd"), "avx512");
  EXPECT_EQ(finding.facts.at("linear"), "onednn/AuthenticAMD");
  EXPECT_EQ(finding.facts.at("subnormals"), "flushed");
  const Json& known = finding.facts.at("known_speed");
  EXPECT_EQ(known.at("measured_on"), "AMD EPYC, Zen 5");
  EXPECT_EQ(known.at("products").at("high"), 270);
  EXPECT_EQ(known.at("attention_forward").at("date"), "2026-11-21");
}

TEST_F(DoctorTest, ACpuOfAnotherMicroarchitectureIsToldOnWhatItWasMeasured) {
  machine.cpu_paths.cpu = {.name = "AMD EPYC 9V74 80-Core Processor",
                           .vendor = "AuthenticAMD",
                           .family = 25,
                           .model = 17};
  Expect("cpu", CheckVerdict::kOk,
         "AMD EPYC 9V74, Zen 4: instruction set avx512, matrix path onednn/AuthenticAMD, subnormal "
         "numbers flushed; not "
         "measured on this processor, but a core of AMD EPYC, Zen 5 reached 229");
}

TEST_F(DoctorTest, ACpuOfAMakeThatWasNotMeasuredIsToldSo) {
  machine.cpu_paths = {
      .cpu = {.name = "HygonGenuine X", .vendor = "HygonGenuine", .family = 24, .model = 0},
      .simd = "avx2",
      .linear = "aten/HygonGenuine"};
  Expect("cpu", CheckVerdict::kOk,
         "matrix path aten/HygonGenuine, subnormal numbers flushed; its speed was not measured on");
  EXPECT_NE(Of("cpu").found.find("`./dev bench train --page` in a checkout of longrun measures it"),
            std::string::npos);
  EXPECT_TRUE(Of("cpu").facts.at("known_speed").is_null());
}

// Where there is no AVX2 to miss.
TEST_F(DoctorTest, AnArmCpuIsNamedByItsPartAndMissesNoAvx2) {
  machine.cpu_paths = {.cpu = {.name = "CPU", .vendor = "0x41", .family = 8, .model = 0xd4f},
                       .simd = "neon",
                       .linear = "aten/0x41"};
  Expect("cpu", CheckVerdict::kOk,
         "Arm Neoverse V2: instruction set neon, matrix path aten/0x41, subnormal numbers flushed; "
         "its speed was not measured on");
}

// The names are those that a worker of this machine offers.
TEST_F(DoctorTest, TheCpuOfThisMachineHasTheNamesOfItsWorker) {
  const CpuPaths paths = LookAtMachine(folder.path()).cpu_paths;
  const std::vector<Slot> slots = agent::CpuSlots(agent::DetectHostCpu(), 1);
  EXPECT_EQ(paths.simd, slots.front().simd);
  EXPECT_EQ(paths.linear, slots.front().linear);
}

TEST_F(DoctorTest, AnOldCpuAndAGpuThatIsNotUsed) {
  machine.cpu_paths.simd = "default";
  machine.cpu_paths.linear = "aten/AuthenticAMD";
  Expect("cpu", CheckVerdict::kWarn, "no AVX2");
  machine.has_nvidia_device = true;
  Expect("gpu", CheckVerdict::kWarn, "no driver");
  machine.nvidia_gpus = -1;
  Expect("gpu", CheckVerdict::kFail, "does not answer");
  machine.nvidia_gpus = 0;
  Expect("gpu", CheckVerdict::kWarn, "shows no GPU");
  machine.nvidia_gpus = 2;
  Expect("gpu", CheckVerdict::kOk, "2");
}

TEST_F(DoctorTest, ALimitOnTheSizeOfAFile) {
  machine.file_bytes = std::int64_t{200} << 20;
  Expect("limits", CheckVerdict::kWarn, "size of a file: at most 200 MiB");
  machine.file_bytes = 100 << 10;
  Expect("limits", CheckVerdict::kFail, "size of a file: at most 100 KiB");
  machine.write_errno = EFBIG;
  Expect("disk", CheckVerdict::kOk, "free at");
  Expect("sync", CheckVerdict::kWarn, "not measured");
}

TEST_F(DoctorTest, TooLittleMemoryDiskOrDescriptors) {
  machine.memory_bytes = kGiB;
  Expect("memory", CheckVerdict::kWarn, "1 GiB available");
  machine.memory_bytes = kGiB / 4;
  Expect("memory", CheckVerdict::kFail, "256 MiB available");
  machine.disk_free_bytes = kGiB;
  Expect("disk", CheckVerdict::kWarn, "1 GiB free");
  machine.disk_free_bytes = 1 << 20;
  Expect("disk", CheckVerdict::kFail, "1 MiB free");
  machine.sync_ms = 80;
  Expect("sync", CheckVerdict::kWarn, "80.00 ms");
  machine.processes = 100;
  Expect("limits", CheckVerdict::kWarn, "100");
  machine.open_files = 512;
  Expect("limits", CheckVerdict::kWarn, "open files: 512");
  machine.open_files = 64;
  Expect("limits", CheckVerdict::kFail, "open files: 64");
}

// A worker begins nothing below 256 MiB (--disk-free-bytes-min), the coordinator ends at 64.
TEST_F(DoctorTest, ADiskOnWhichNoWorkBegins) {
  machine.disk_free_bytes = std::int64_t{255} << 20;
  Expect("disk", CheckVerdict::kFail, "255 MiB free");
  EXPECT_NE(Of("disk").remedy.find("with less than 256 MiB free, no task starts"),
            std::string::npos);
}

// The database is not at fault, and the remedy is another one for each cause.
TEST_F(DoctorTest, AFolderThatCannotBeWrittenIsNoDamageOfTheDatabase) {
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "longrun.db"), "not asked").ok());
  machine.sync_ms = 0;
  machine.write_errno = ENOSPC;
  Expect("disk", CheckVerdict::kFail, "is full");
  Expect("sync", CheckVerdict::kWarn, "nothing can be written");
  machine.write_errno = EROFS;
  Expect("state", CheckVerdict::kFail, "mounted read-only");
  EXPECT_NE(Of("state").remedy.find("mount it writable"), std::string::npos);
  const Finding database = Of("database");
  EXPECT_TRUE(database.found.starts_with("not checked: the file system of")) << database.found;
  EXPECT_NE(database.remedy.find("there is no sign that the database is damaged"),
            std::string::npos);
}

// /proc takes no folders, from root neither.
TEST_F(DoctorTest, AStateFolderThatCannotBeMade) {
  const std::string state = "/proc/longrun-doctor/state";
  machine.state = state;
  machine.write_errno = LookAtMachine(state).write_errno;
  Expect("state", CheckVerdict::kFail, state + " cannot be made: ");
  EXPECT_NE(Of("state").remedy.find("--state"), std::string::npos) << Of("state").remedy;

  machine.state = JoinPath(folder.path(), "not/there");
  machine.write_errno = LookAtMachine(machine.state).write_errno;
  Expect("state", CheckVerdict::kOk, "created when needed");
  EXPECT_FALSE(PathExists(machine.state));
}

TEST_F(DoctorTest, AClockThatIsWrong) {
  machine.newest_file_wall_ms = machine.wall_ms + 3'600'000;
  Expect("clock", CheckVerdict::kWarn, "has a file of");
  machine.wall_ms = 0;
  Expect("clock", CheckVerdict::kFail, "1970-01-01T00:00:00Z");
}

TEST_F(DoctorTest, AStateFolderThatIsOpenOrNoFolder) {
  chmod(folder.path().c_str(), 0755);
  Expect("state", CheckVerdict::kWarn, "open to other users");
  EXPECT_EQ(Of("state").remedy, "chmod 700 " + folder.path());
  const std::string file = JoinPath(folder.path(), "file");
  ASSERT_TRUE(WriteFileAtomic(file, "text").ok());
  machine.state = file;
  Expect("state", CheckVerdict::kFail, "is not a folder");
}

// sun_path holds 107 bytes and a zero (unix(7)).
TEST_F(DoctorTest, APathThatIsTooLongForASocket) {
  const std::size_t tail = std::string("/coordinator.sock").size();
  machine.state = "/" + std::string(107 - tail - 1, 'x');
  Expect("socket", CheckVerdict::kOk, "coordinator.sock");
  machine.state += 'x';
  Expect("socket", CheckVerdict::kWarn, "108 bytes");
}

TEST_F(DoctorTest, APathWithACommaHasItsSocketElsewhere) {
  machine.state = "/a,b";
  Expect("socket", CheckVerdict::kWarn, "has a comma");
}

TEST_F(DoctorTest, WhoHoldsTheFolderMustAnswer) {
  const std::string lock = JoinPath(folder.path(), "coordinator.lock");
  const Result<FileLock> held = FileLock::Acquire(lock, "the test");
  ASSERT_TRUE(held.ok());
  Expect("locks", CheckVerdict::kWarn, "no address yet");
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "coordinator.address"),
                              Str("unix:", folder.path(), "/nobody.sock\n"))
                  .ok());
  Expect("locks", CheckVerdict::kFail, "does not answer");
}

TEST_F(DoctorTest, AnAddressThatACrashLeftBehindIsNoFault) {
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "coordinator.address"), "unix:/gone\n").ok());
  Expect("locks", CheckVerdict::kOk, "was killed");
}

TEST_F(DoctorTest, AWorkerWithoutACoordinator) {
  ASSERT_TRUE(MakeFolders(JoinPath(folder.path(), "worker")).ok());
  const Result<FileLock> held =
      FileLock::Acquire(JoinPath(folder.path(), "worker/lock"), "the test");
  ASSERT_TRUE(held.ok());
  Expect("locks", CheckVerdict::kWarn, "a worker is running without a coordinator");
}

TEST_F(DoctorTest, ADatabaseThatIsGone) {
  ASSERT_TRUE(WriteFileAtomic(JoinPath(folder.path(), "database.id"), "x").ok());
  Expect("database", CheckVerdict::kFail, "is missing, although this folder had a database");
}

TEST_F(DoctorTest, AnAuthorityWhoseKeyIsGoneOrOfAnother) {
  Expect("keys", CheckVerdict::kOk, "serves no other machines");
  ASSERT_TRUE(InitPki(machine.state, {"here"}, machine.wall_ms).ok());
  Expect("keys", CheckVerdict::kOk, "belong together");
  const std::string key = PkiPathsOf(machine.state).authority_key;
  ASSERT_TRUE(WriteFileAtomic(key, "damaged", 0600).ok());
  Expect("keys", CheckVerdict::kWarn, "cannot listen");
  ASSERT_TRUE(RemoveAll(key).ok());
  Expect("keys", CheckVerdict::kWarn, "cannot listen");
  const std::string remedy = Of("keys").remedy;
  EXPECT_NE(remedy.find("authority.key"), std::string::npos) << remedy;
  EXPECT_NE(remedy.find("`longrun admin backup --with-keys`"), std::string::npos) << remedy;
}

TEST_F(DoctorTest, AWorkersIdThatIsDamaged) {
  Expect("worker", CheckVerdict::kOk, "no worker has run here yet");
  const std::string path = JoinPath(folder.path(), "worker/worker_id");
  ASSERT_TRUE(MakeFolders(JoinPath(folder.path(), "worker")).ok());
  ASSERT_TRUE(WriteFileAtomic(path, WorkerIdText("w1")).ok());
  Expect("worker", CheckVerdict::kOk, "its id is w1");
  ASSERT_TRUE(WriteFileAtomic(path, "w3" + WorkerIdText("w1").substr(2)).ok());
  Expect("worker", CheckVerdict::kFail, path + " is damaged");
}

TEST_F(DoctorTest, APortThatSomebodyElseHas) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  machine.metrics_address = Str("127.0.0.1:", ntohs(address.sin_port));
  Expect("ports", CheckVerdict::kFail, "Address already in use");
  close(fd);
  machine.metrics_address = "nonsense";
  Expect("ports", CheckVerdict::kFail, "is not an address");
}

}  // namespace
}  // namespace longrun::client
