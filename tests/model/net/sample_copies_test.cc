// Samples on their way to the fake GPU by a stream of their own: each pass finds its numbers, the
// host waits for nothing, and the device's clocks show that no copy is too early, and how early the
// copies are.
#include "model/net/sample_copies.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/net/to_device.h"
#include "tests/model/net/fake_gpu.h"
#include "tests/model/net/small_model.h"

namespace longrun {
namespace {

using testing::FakeGpu;
using testing::SetFakeGpuRoom;
using testing::TakeFakeGpuLeads;
using testing::TakeFakeGpuLog;
using Log = std::vector<std::string>;

Samples SamplesOf(std::int64_t pass, std::int64_t n_sequence, bool has_positions = false) {
  const at::Tensor tokens = SmallTokens(n_sequence, 11) + 100 * pass;
  Samples samples = {.ids_BT = tokens.narrow(1, 0, 10).contiguous(),
                     .targets_BT = tokens.narrow(1, 1, 10)};  // not contiguous
  if (has_positions) {
    samples.position_ids_BT = at::full({n_sequence, 10}, pass, at::kInt);
    samples.n_positions = 500;
  }
  return samples;
}

// Tensors of the device as they were when it read them, and what they should be.
class Reads {
 public:
  void Add(const at::Tensor& here, at::Tensor expected) {
    EXPECT_EQ(here.defined(), expected.defined());
    if (here.defined()) all_.emplace_back(here + 0, std::move(expected));
  }
  void Check() const {
    for (const auto& [read, expected] : all_) EXPECT_TRUE(at::equal(read.cpu(), expected));
  }

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> all_;
};

// The host's tensors are changed as soon as their copies are queued.
TEST(SampleCopiesTest, EachPassReadsItsOwn) {
  SampleCopies copies(FakeGpu());
  Reads reads;
  TakeFakeGpuLog();
  std::int64_t pass = 0;
  for (const std::int64_t n : {2, 2, 2, 2, 1, 2, 3, 1, 3, 3}) {
    Samples samples = SamplesOf(pass, n, pass >= 3);
    const Samples here = copies.Bring(samples);
    for (at::Tensor* const host :
         {&samples.ids_BT, &samples.targets_BT, &samples.position_ids_BT}) {
      if (host->defined()) host->zero_();
    }
    const Samples expected = SamplesOf(pass, n, pass >= 3);
    reads.Add(here.ids_BT, expected.ids_BT);
    reads.Add(here.targets_BT, expected.targets_BT);
    reads.Add(here.position_ids_BT, expected.position_ids_BT);
    EXPECT_EQ(here.n_positions, expected.n_positions);
    ++pass;
  }
  EXPECT_EQ(TakeFakeGpuLog(), Log());
  reads.Check();
}

MaskedBatch Masked(std::int64_t first, std::int64_t n_hidden) {
  return {.ids_BT = SmallTokens(2, 10) + first,
          .rows_N = at::arange(first, first + n_hidden),
          .targets_N = at::arange(first + 50, first + 50 + n_hidden)};
}

// The numbers of hidden tokens differ, and a pass may have none.
TEST(SampleCopiesTest, EachPassOfMaskedSequencesReadsItsOwn) {
  SampleCopies copies(FakeGpu());
  Reads reads;
  TakeFakeGpuLog();
  std::int64_t pass = 0;
  for (const std::int64_t n_hidden : {0, 3, 5, 0, 4, 7, 2}) {
    const MaskedBatch batch = Masked(pass++, n_hidden);
    const MaskedBatch here = copies.Bring(batch);
    reads.Add(here.ids_BT, batch.ids_BT);
    reads.Add(here.rows_N, batch.rows_N);
    reads.Add(here.targets_N, batch.targets_N);
  }
  EXPECT_EQ(TakeFakeGpuLog(), Log());
  reads.Check();
}

// A pass's copies wait for the pass before the one before, which was in their room. New memory may
// still be in use by all that was queued, so the first copies to each room wait for that.
TEST(SampleCopiesTest, TheCopiesOfAPassDoNotWaitForThePassBefore) {
  constexpr std::size_t kReads = 30;
  SampleCopies copies(FakeGpu());
  TakeFakeGpuLeads();
  for (std::int64_t pass = 0; pass < 8; ++pass) {
    const std::int64_t n_sequence = pass < 5 ? 2 : 3;
    const Samples here = copies.Bring(SamplesOf(pass, n_sequence));
    const std::vector<std::size_t> leads = TakeFakeGpuLeads();
    ASSERT_EQ(leads.size(), 2U);
    const bool is_new = pass < 2 || pass == 5 || pass == 6;
    for (const std::size_t lead : leads) {
      // Each read also writes.
      EXPECT_EQ(lead, is_new ? 0 : 2 * kReads) << pass;
    }
    const at::Tensor read_BT = at::empty(here.ids_BT.sizes(), here.ids_BT.options());
    for (std::size_t i = 0; i < kReads; ++i) {
      read_BT.copy_(i % 2 == 0 ? here.ids_BT : here.targets_BT);
    }
  }
}

TEST(SampleCopiesTest, OnACpuTheTensorsAreTheSame) {
  SampleCopies copies(at::kCPU);
  const Samples samples = SamplesOf(0, 2);
  const Samples here = copies.Bring(samples);
  EXPECT_TRUE(here.ids_BT.is_same(samples.ids_BT));
  EXPECT_TRUE(here.targets_BT.is_same(samples.targets_BT));
  EXPECT_FALSE(here.position_ids_BT.defined());
}

class NoRoomForSamplesTest : public ::testing::Test {
 protected:
  ~NoRoomForSamplesTest() override { SetFakeGpuRoom({}); }
};

TEST_F(NoRoomForSamplesTest, AnotherErrorThanThatOfMemoryStaysWhatItIs) {
  constexpr int kIllegalAddress = 700;  // of a kernel that was queued before
  SampleCopies copies(FakeGpu());
  SetFakeGpuRoom({.pinned = 0, .pin_error = kIllegalAddress});
  try {
    copies.Bring(SamplesOf(0, 2));
    FAIL() << "it does not throw";
  } catch (const c10::OutOfMemoryError& error) {
    FAIL() << error.what_without_backtrace();
  } catch (const c10::AcceleratorError& error) {
    EXPECT_EQ(error.get_error_code(), kIllegalAddress);
  }
}

TEST_F(NoRoomForSamplesTest, AnErrorNamesWhatHasNoRoomAndLaterSamplesArrive) {
  SampleCopies copies(FakeGpu());
  const auto error = [&] {
    try {
      copies.Bring(SamplesOf(0, 2));
    } catch (const c10::OutOfMemoryError& thrown) {
      return std::string(thrown.what_without_backtrace());
    }
    return std::string("none");
  };
  Reads reads;
  TakeFakeGpuLog();
  SetFakeGpuRoom({.pinned = 100});
  EXPECT_NE(error().find("the host's memory for samples cannot be pinned"), std::string::npos);
  SetFakeGpuRoom({.of_device = 200});  // for the ids, but not for the targets
  EXPECT_NE(error().find("the fake GPU has no memory"), std::string::npos);
  SetFakeGpuRoom({});
  for (std::int64_t pass = 0; pass < 3; ++pass) {
    const Samples here = copies.Bring(SamplesOf(pass, 2));
    reads.Add(here.ids_BT, SamplesOf(pass, 2).ids_BT);
    reads.Add(here.targets_BT, SamplesOf(pass, 2).targets_BT);
  }
  EXPECT_EQ(TakeFakeGpuLog(), Log());
  reads.Check();
}

TEST_F(NoRoomForSamplesTest, OtherCopiesNameWhatHasNoRoom) {
  const auto error = [](const auto& copy) {
    try {
      copy();
    } catch (const c10::OutOfMemoryError& thrown) {
      return std::string(thrown.what_without_backtrace());
    }
    return std::string("none");
  };
  const at::Tensor here = ToDevice(at::arange(100, at::kFloat), FakeGpu());
  SetFakeGpuRoom({.pinned = 100});
  EXPECT_NE(error([] {
              ToDevice(at::arange(100, at::kFloat), FakeGpu());
            }).find("the host's memory for what a GPU reads cannot be pinned"),
            std::string::npos);
  EXPECT_NE(error([&] {
              HostCopy{here};
            }).find("the host's memory for what a GPU writes cannot be pinned"),
            std::string::npos);
  SetFakeGpuRoom({});
  EXPECT_TRUE(at::equal(HostCopy(here).Wait(), at::arange(100, at::kFloat)));
}

// ---- what the fake GPU notes -------------------------------------------------------------------

class StreamsTest : public ::testing::Test {
 protected:
  StreamsTest() { TakeFakeGpuLog(); }

  static c10::impl::VirtualGuardImpl Impl() {
    return c10::impl::VirtualGuardImpl(FakeGpu().type());
  }
  void CopyBeside(const at::Tensor& to) {
    const c10::StreamGuard guard(beside_);
    to.copy_(pinned_, /*non_blocking=*/true);
  }
  static void LetWait(const c10::Stream& later, const c10::Stream& earlier) {
    c10::Event done(FakeGpu().type());
    done.record(earlier);
    done.block(later);
  }

  const c10::Stream main_ = Impl().getStream(FakeGpu());
  const c10::Stream beside_ = Impl().getStreamFromGlobalPool(FakeGpu());
  const at::Tensor pinned_ = [] {
    FakeGpu();
    return at::arange(6, at::kFloat).pin_memory();
  }();
  const at::Tensor to_ = ToDevice(at::arange(6, at::kFloat), FakeGpu());
};

TEST_F(StreamsTest, ReadingBeforeACopyHasArrivedIsARace) {
  LetWait(beside_, main_);
  CopyBeside(to_);
  const at::Tensor early = to_ + 1;
  EXPECT_EQ(TakeFakeGpuLog(), Log{"race: an operator"});
  LetWait(main_, beside_);
  const at::Tensor in_time = to_ + 1;
  EXPECT_EQ(TakeFakeGpuLog(), Log());
}

TEST_F(StreamsTest, ACopyToWhatIsStillReadIsARace) {
  LetWait(beside_, main_);
  const at::Tensor read = to_ + 1;
  CopyBeside(to_);
  EXPECT_EQ(TakeFakeGpuLog(), Log{"race: copy"});
  LetWait(main_, beside_);
}

TEST_F(StreamsTest, ACopyToNewMemoryIsARaceWithWhatMayHaveFreedIt) {
  LetWait(beside_, main_);
  const at::Tensor read = to_ + 1;
  const at::Tensor fresh = at::empty({6}, to_.options());
  CopyBeside(fresh);
  EXPECT_EQ(TakeFakeGpuLog(), Log{"race: copy"});
  LetWait(main_, beside_);
}

TEST_F(StreamsTest, MemoryThatIsFreedWhileACopyArrivesIsARace) {
  at::Tensor fresh = at::empty({6}, to_.options());
  LetWait(beside_, main_);
  CopyBeside(fresh);
  EXPECT_EQ(TakeFakeGpuLog(), Log());
  fresh.reset();
  EXPECT_EQ(TakeFakeGpuLog(), Log{"race: given back"});
}

TEST_F(StreamsTest, AReplayBeforeACopyHasArrivedIsARace) {
  at::Tensor sum;
  const std::unique_ptr<Recording> recording =
      testing::FakeGpuRecorder()->Record([&] { sum = to_.sum(); });
  LetWait(beside_, main_);
  CopyBeside(to_);
  recording->Replay();
  EXPECT_EQ(TakeFakeGpuLog(), (Log{"record", "replay", "race: replay"}));
  LetWait(main_, beside_);
  recording->Replay();
  EXPECT_EQ(TakeFakeGpuLog(), Log{"replay"});
  CopyBeside(to_);
  EXPECT_EQ(TakeFakeGpuLog(), Log{"race: copy"});
  LetWait(main_, beside_);
}

TEST_F(StreamsTest, ACopysLeadIsTheWorkThatItNeedNotWaitFor) {
  LetWait(beside_, main_);
  TakeFakeGpuLeads();
  const at::Tensor other = ToDevice(at::arange(6, at::kFloat), FakeGpu());
  LetWait(beside_, main_);
  at::empty({6}, other.options()).copy_(other);  // two uses: of both
  CopyBeside(to_);
  EXPECT_EQ(TakeFakeGpuLeads(), std::vector<std::size_t>{2});
  LetWait(main_, beside_);
}

}  // namespace
}  // namespace longrun
