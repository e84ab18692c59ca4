// The host's layer of the CUDA kernels (cuda_host.h) finds the errors that a GPU passes over.
#include "tests/kernels/cuda_host.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/str.h"
#include "kernels/cuda/visible-inl.h"
#include "tests/commit_seed.h"
#include "tests/kernels/attention_problem.h"
#include "tests/kernels/kernels_under_test.h"

namespace longrun::testing {
namespace {

// What a kernel whose threads do `Work` on 256 floats of shared memory ends with.
template <void (*kWork)(const HostLayer::Shared<float>&, float*)>
std::string ErrorOf(float* out = nullptr) {
  struct Params {
    float* out;
  };
  struct Kernel {
    using Params = struct Params;
    static void Run(const Params& params) {
      HostLayer::Arena arena;
      kWork(arena.Take<float>(256), params.out);
    }
  };
  HostDevice device;
  const char* const error = device.Launch<Kernel>(3, 1024, Params{out});
  return error == nullptr ? "" : error;
}

using Array = HostLayer::Shared<float>;

void Reverse(const Array& x, float* out) {
  x.Set(HostLayer::Thread(), static_cast<float>(HostLayer::Thread()));
  HostLayer::Barrier();
  out[HostLayer::Thread()] = x.Get(gpu::kThreads - 1 - HostLayer::Thread());
}
void ReverseWithoutBarrier(const Array& x, float* out) {
  x.Set(HostLayer::Thread(), 1.0F);
  HostLayer::WarpSync();
  out[HostLayer::Thread()] = x.Get(gpu::kThreads - 1 - HostLayer::Thread());
}
void ReverseInWarp(const Array& x, float* out) {
  x.Set(HostLayer::Thread(), static_cast<float>(HostLayer::Thread()));
  HostLayer::WarpSync();
  out[HostLayer::Thread()] = x.Get(HostLayer::Thread() ^ 31);
}
void ReverseInWarpWithoutSync(const Array& x, float* out) {
  x.Set(HostLayer::Thread(), 1.0F);
  HostLayer::WarpMax(0);  // exchanges registers, and orders no memory
  out[HostLayer::Thread()] = x.Get(HostLayer::Thread() ^ 31);
}
void WriteAfterRead(const Array& x, float* out) {
  out[HostLayer::Thread()] = x.Get(0);
  if (HostLayer::Thread() == 77) x.Set(0, 1.0F);
}
void ReadBeyond(const Array& x, float* out) {
  out[HostLayer::Thread()] = x.Get(256 + HostLayer::Thread());
}
void MissBarrier(const Array&, float*) {
  if (HostLayer::Thread() != 5) HostLayer::Barrier();
}
void MissExchange(const Array&, float*) {
  if (HostLayer::Thread() != 5) HostLayer::WarpMin(0);
}
void Diverge(const Array&, float*) {
  if (HostLayer::Thread() % 2 == 0) {
    HostLayer::WarpMin(0);
  } else {
    HostLayer::WarpMax(0);
  }
}
void ReadUnaligned(const Array& x, float* out) {
  float four[4];
  x.GetFour(2, four);
  out[0] = four[0];
}

// ---- copies ------------------------------------------------------------------------------------

constexpr int kFloats = 4;  // that are copied at once

// The number that the copies of `Copied` bring to place `at`.
float Number(int at) { return static_cast<float>(at + 1); }
const float* Source() {
  alignas(16) static float numbers[256];
  for (int at = 0; at < 256; ++at) numbers[at] = Number(at);
  return numbers;
}
// Threads [0, n) each begin to copy 4 floats; the last chunk does not exist.
void CopyFirst(const Array& x, int n) {
  const int at = kFloats * HostLayer::Thread();
  if (HostLayer::Thread() < n) HostLayer::CopyAsync(Source() + at, x, at, at + kFloats < 256);
}
void Copy(const Array& x, float* out) {
  CopyFirst(x, 64);
  HostLayer::CommitCopies();
  HostLayer::WaitCopies<0>();
  HostLayer::Barrier();
  for (int at = HostLayer::Thread(); at < 256; at += gpu::kThreads) out[at] = x.Get(255 - at);
}
void ReadOwnCopy(const Array& x, float* out) {
  CopyFirst(x, 64);
  HostLayer::CommitCopies();
  HostLayer::WaitCopies<0>();
  if (HostLayer::Thread() < 64) out[HostLayer::Thread()] = x.Get(kFloats * HostLayer::Thread());
}
void CopyWithoutWait(const Array& x, float* out) {
  CopyFirst(x, 64);
  HostLayer::CommitCopies();
  HostLayer::Barrier();
  out[HostLayer::Thread()] = x.Get(HostLayer::Thread());
}
void CopyWithoutCommit(const Array& x, float* out) {
  CopyFirst(x, 64);
  HostLayer::WaitCopies<0>();
  HostLayer::Barrier();
  out[HostLayer::Thread()] = x.Get(HostLayer::Thread());
}
void CopyWithoutBarrier(const Array& x, float* out) {
  CopyFirst(x, 64);
  HostLayer::CommitCopies();
  HostLayer::WaitCopies<0>();
  HostLayer::WarpSync();
  out[HostLayer::Thread()] = x.Get(255 - HostLayer::Thread());
}
// Two groups, of which the first is read.
template <int kNewest>
void CopyGroups(const Array& x, float* out) {
  CopyFirst(x, 32);
  HostLayer::CommitCopies();
  const int at = kFloats * HostLayer::Thread();
  if (at >= 128 && at < 256) HostLayer::CopyAsync(Source() + at, x, at, true);
  HostLayer::CommitCopies();
  HostLayer::WaitCopies<kNewest>();
  HostLayer::Barrier();
  out[HostLayer::Thread()] = x.Get(HostLayer::Thread());
  HostLayer::WaitCopies<0>();
}
void CopyToWhatIsRead(const Array& x, float* out) {
  out[HostLayer::Thread()] = x.Get(HostLayer::Thread());
  CopyFirst(x, 64);
  HostLayer::CommitCopies();
  HostLayer::WaitCopies<0>();
}
void WriteToWhatIsCopied(const Array& x, float*) {
  CopyFirst(x, 64);
  HostLayer::Barrier();
  x.Set(HostLayer::Thread(), 0.0F);
}
void CopyTwice(const Array& x, float*) {
  CopyFirst(x, 64);
  HostLayer::CommitCopies();
  CopyFirst(x, 64);
}
void ChangeSource(const Array& x, float* out) {
  if (HostLayer::Thread() == 0) {
    HostLayer::CopyAsync(out, x, 0, true);
    HostLayer::CommitCopies();
    out[2] += 1.0F;
    HostLayer::WaitCopies<0>();
  }
}
void EndBeforeCopies(const Array& x, float*) {
  CopyFirst(x, 64);
  HostLayer::CommitCopies();
}
void CopyUnaligned(const Array& x, float*) { HostLayer::CopyAsync(Source() + 1, x, 0, true); }
void CopyToUnaligned(const Array& x, float*) { HostLayer::CopyAsync(Source(), x, 2, true); }

// ---- bank conflicts ----------------------------------------------------------------------------

// The turns that loads of fragments from a tile of 16 rows take beyond one for each 128 bytes.
template <typename Layout>
HostBlock::Conflicts ConflictsOf() {
  struct Kernel {
    using Params = int;
    static void Run(const Params&) {
      HostLayer::Arena arena;
      const auto tile = arena.Take<std::uint16_t>(16 * 72);
      const int lane = HostLayer::Thread() % 32;
      if (HostLayer::Thread() < 32) {
        for (int at = lane; at < 16 * 8; at += 32) {
          HostLayer::CopyAsync(Source(), tile, Layout::At(at / 8, at % 8 * gpu::kChunk), true);
        }
        HostLayer::CommitCopies();
        HostLayer::WaitCopies<0>();
        HostLayer::WarpSync();
        std::uint32_t a[4], b[2][2];
        HostLayer::LoadA<Layout>(tile, 0, 16, a);
        HostLayer::LoadB<Layout>(tile, 0, 32, b);
        HostLayer::LoadBTransposed<Layout>(tile, 0, 48, b);
      }
    }
  };
  HostBlock& block = HostBlock::Current();
  HostDevice device;
  block.CountConflicts(true);
  EXPECT_EQ(device.Launch<Kernel>(1, 16 * 72 * 2, 0), nullptr);
  block.CountConflicts(false);
  return block.conflicts();
}
template <int kStep>
void ReadEvery(const Array& x, float* out) {
  if (HostLayer::Thread() < 32) out[HostLayer::Thread()] = x.Get(kStep * HostLayer::Thread());
}
void ReadFours(const Array& x, float* out) {
  float four[4];
  if (HostLayer::Thread() < 32) x.GetFour(kFloats * (HostLayer::Thread() % 2 * 8), four);
  out[HostLayer::Thread()] = four[0];
}
template <void (*kWork)(const Array&, float*)>
std::int64_t ConflictsOfNumbers() {
  std::vector<float> out(gpu::kThreads);
  HostBlock::Current().CountConflicts(true);
  EXPECT_EQ(ErrorOf<kWork>(out.data()), "");
  HostBlock::Current().CountConflicts(false);
  return HostBlock::Current().conflicts().numbers / 3;  // of one of the blocks
}

TEST(CudaHost, ThreadsExchangeNumbersThroughSharedMemory) {
  std::vector<float> out(gpu::kThreads);
  EXPECT_EQ(ErrorOf<&Reverse>(out.data()), "");
  for (int at = 0; at < gpu::kThreads; ++at) {
    EXPECT_EQ(out[static_cast<std::size_t>(at)], static_cast<float>(gpu::kThreads - 1 - at));
  }
  EXPECT_EQ(ErrorOf<&ReverseInWarp>(out.data()), "");
  for (int at = 0; at < gpu::kThreads; ++at) {
    EXPECT_EQ(out[static_cast<std::size_t>(at)], static_cast<float>(at ^ 31));
  }
}

TEST(CudaHost, AForgottenBarrierIsAnError) {
  std::vector<float> out(gpu::kThreads);
  const std::string race =
      "two threads access the same element of shared memory without a barrier between them";
  EXPECT_EQ(ErrorOf<&ReverseWithoutBarrier>(out.data()), race);
  EXPECT_EQ(ErrorOf<&ReverseInWarpWithoutSync>(out.data()), race);
  EXPECT_EQ(ErrorOf<&WriteAfterRead>(out.data()), race);
}

TEST(CudaHost, AWaitThatSomeThreadsDoNotReachIsAnError) {
  EXPECT_EQ(ErrorOf<&MissBarrier>(), "a barrier that some threads of the block do not reach");
  EXPECT_EQ(ErrorOf<&MissExchange>(),
            "a warp whose lanes do not all reach a product or an exchange");
  EXPECT_EQ(ErrorOf<&Diverge>(), "lanes of a warp wait for different things");
}

TEST(CudaHost, AnAccessOutsideAnArrayIsAnError) {
  std::vector<float> out(gpu::kThreads);
  EXPECT_EQ(ErrorOf<&ReadBeyond>(out.data()), "an access beyond an array in shared memory");
  EXPECT_EQ(ErrorOf<&ReadUnaligned>(out.data()), "a vector in shared memory that is not aligned");
}

TEST(CudaHost, ACopyBringsNumbersAndZeros) {
  std::vector<float> out(256);
  EXPECT_EQ(ErrorOf<&Copy>(out.data()), "");
  for (int at = 0; at < 256; ++at) {
    const int from = 255 - at;
    EXPECT_EQ(out[static_cast<std::size_t>(at)], from < 252 ? Number(from) : 0.0F) << at;
  }
  EXPECT_EQ(ErrorOf<&ReadOwnCopy>(out.data()), "");
  EXPECT_EQ(ErrorOf<&CopyGroups<1>>(out.data()), "");
  EXPECT_EQ(ErrorOf<&CopyGroups<0>>(out.data()), "");
}

TEST(CudaHost, AnAccessToACopyThatMayNotHaveArrivedIsAnError) {
  std::vector<float> out(256);
  const std::string pending = "an access to shared memory that a copy may still write";
  EXPECT_EQ(ErrorOf<&CopyWithoutWait>(out.data()), pending);
  EXPECT_EQ(ErrorOf<&CopyWithoutCommit>(out.data()), pending);
  EXPECT_EQ(ErrorOf<&CopyGroups<2>>(out.data()), pending);
  EXPECT_EQ(ErrorOf<&WriteToWhatIsCopied>(out.data()), pending);
  EXPECT_EQ(ErrorOf<&CopyTwice>(out.data()), pending);
  EXPECT_EQ(ErrorOf<&EndBeforeCopies>(), "a thread ends before its copies have arrived");
}

TEST(CudaHost, OnlyABarrierShowsACopyToOtherThreads) {
  std::vector<float> out(256);
  const std::string race =
      "two threads access the same element of shared memory without a barrier between them";
  EXPECT_EQ(ErrorOf<&CopyWithoutBarrier>(out.data()), race);
  EXPECT_EQ(ErrorOf<&CopyToWhatIsRead>(out.data()), race);
}

TEST(CudaHost, TheSourceOfACopyMustStayAndBeAligned) {
  alignas(16) float out[kFloats] = {};
  EXPECT_EQ(ErrorOf<&ChangeSource>(out),
            "the source of a copy has changed before the copy arrived");
  EXPECT_EQ(ErrorOf<&CopyUnaligned>(), "a vector in global memory that is not aligned");
  EXPECT_EQ(ErrorOf<&CopyToUnaligned>(), "a vector in shared memory that is not aligned");
}

TEST(CudaHost, CountsTheTurnsThatBankConflictsTake) {
  // 8 rows of 128 bytes begin in the same bank: 8 turns instead of 1, for each of the 4 matrices.
  const HostBlock::Conflicts dense = ConflictsOf<gpu::PaddedRows<64>>();
  EXPECT_EQ(dense.n_fragment, 3);
  EXPECT_EQ(dense.fragments, 3 * 4 * 7);
  EXPECT_EQ(dense.copies, 0);
  const HostBlock::Conflicts padded = ConflictsOf<gpu::PaddedRows<72>>();
  EXPECT_EQ(padded.n_fragment, 3);
  EXPECT_EQ(padded.fragments, 0);
  const HostBlock::Conflicts swizzled = ConflictsOf<gpu::SwizzledRows<64>>();
  EXPECT_EQ(swizzled.n_fragment, 3);
  EXPECT_EQ(swizzled.fragments, 0);
  EXPECT_EQ(swizzled.copies, 0);

  EXPECT_EQ(ConflictsOfNumbers<&ReadEvery<0>>(), 0);
  EXPECT_EQ(ConflictsOfNumbers<&ReadEvery<1>>(), 0);
  EXPECT_EQ(ConflictsOfNumbers<&ReadEvery<2>>(), 1);
  EXPECT_EQ(ConflictsOfNumbers<&ReadEvery<8>>(), 7);
  // Lanes are served by eights, of which two chunks of 128 bytes apart take two turns.
  EXPECT_EQ(ConflictsOfNumbers<&ReadFours>(), 4);
}

void ExpectNoConflicts(const Problem& problem) {
  for (const AttentionKernel& kernel : {HostKernel(), HostKernelWithSingleBackward()}) {
    HostBlock::Current().CountConflicts(true);
    RunKernel(kernel, problem);
    HostBlock::Current().CountConflicts(false);
    EXPECT_GT(HostBlock::Current().conflicts().n_fragment, 0);
    EXPECT_EQ(HostBlock::Current().conflicts().fragments, 0) << problem.Name();
    EXPECT_EQ(HostBlock::Current().conflicts().copies, 0) << problem.Name();
  }
}

// Of attention whose terms have kernels of their own, with a window, too, and of a few queries of
// many keys.
TEST(CudaHost, LoadsOfFragmentsAndCopiesHaveNoBankConflicts) {
  SeededRandom random(CommitSeed());
  for (const std::int64_t head_dim : {64, 128, 256}) {
    const ProblemShape many = {.batch = 1,
                               .n_head = 1,
                               .n_kv_head = 1,
                               .n_query = 140,
                               .n_key = 140,
                               .head_dim = head_dim};
    ProblemShape few = many;
    few.n_query = 9;
    few.n_key = 600;
    for (const ProblemShape& shape : {many, few}) {
      for (const int kind : {0, 1, 2, 3}) {
        if (kind == 3 && head_dim > 128) continue;  // FIRE has no kernel of its own there
        Problem problem(shape, Scalar::kBf16, random);
        problem.terms.visibility.q_offset = shape.n_key - shape.n_query;
        if (kind < 2) problem.AddSlopes();
        if (kind == 1) problem.terms.visibility.window = 50;
        if (kind == 2) problem.AddDistanceTable(random, 40, 0);
        if (kind == 3) problem.AddPiecewise(random);
        ExpectNoConflicts(problem);
      }
    }
  }
}

// But for the scores of up to 8 rows, which lanes exchange: a turn for every second key.
TEST(CudaHost, FewQueriesInFp32ReadKeysWithoutBankConflicts) {
  SeededRandom random(CommitSeed());
  const AttentionKernel kernel = KernelsUnderTest().front().kernel;
  for (const std::int64_t head_dim : {64, 128, 256}) {
    const auto conflicts_of = [&](std::int64_t n_key) {
      Problem problem({.batch = 1,
                       .n_head = 1,
                       .n_kv_head = 1,
                       .n_query = 5,
                       .n_key = n_key,
                       .head_dim = head_dim},
                      Scalar::kFp32, random);
      problem.terms.visibility.causal = false;
      problem.AddRotation(true, 8);
      problem.AddRegions(random, 1);  // there is no backward
      HostBlock::Current().CountConflicts(true);
      RunKernel(kernel, problem);
      HostBlock::Current().CountConflicts(false);
      EXPECT_EQ(HostBlock::Current().conflicts().copies, 0) << head_dim;
      return HostBlock::Current().conflicts().numbers;
    };
    EXPECT_LE(conflicts_of(1024) - conflicts_of(513), 512 / 2) << head_dim;
  }
}

// ---- windows -----------------------------------------------------------------------------------

// A call without a window has other kernels, whose sums are in another order.
TEST(Windows, OneThatHidesNothingGivesTheBitsOfNone) {
  SeededRandom random(CommitSeed());
  for (const bool causal : {true, false}) {
    constexpr std::int64_t kOffset = 70;
    Problem problem({.n_head = 2, .n_query = 100, .n_key = 230, .head_dim = 64}, Scalar::kBf16,
                    random);
    problem.terms.visibility = {.causal = causal, .q_offset = kOffset};
    const Outcome none = RunKernel(HostKernel(), problem);
    // The longest distances are 169 behind, and 159 ahead.
    const auto with = [&](std::int64_t window) {
      problem.terms.visibility.window = window;
      return RunKernel(HostKernel(), problem);
    };
    for (const std::int64_t window : {std::int64_t{170}, std::int64_t{1} << 40}) {
      const Outcome hides_none = with(window);
      EXPECT_EQ(hides_none.o, none.o) << window;
      EXPECT_EQ(hides_none.lse, none.lse) << window;
      EXPECT_EQ(hides_none.dq, none.dq) << window;
      EXPECT_EQ(hides_none.dk, none.dk) << window;
    }
    EXPECT_NE(with(169).lse, none.lse);
  }
}

// ---- working memory ----------------------------------------------------------------------------

// The bytes that forward and backward ask for, where each term's numbers have a gradient.
std::int64_t BytesAsked(const AttentionKernel& kernel, const std::string& terms, Scalar scalar,
                        std::int64_t n_query, std::int64_t n_key, SeededRandom& random) {
  Problem problem(
      {.batch = 1, .n_head = 2, .n_kv_head = 1, .n_query = n_query, .n_key = n_key, .head_dim = 64},
      scalar, random);
  problem.terms.visibility.q_offset = n_key - n_query;
  if (terms == "key_bias") problem.AddKeyBias(random);
  if (terms == "two_sided") problem.AddKeyBias(random, true);
  if (terms == "distance_table") problem.AddDistanceTable(random, n_key, 0);
  if (terms == "piecewise") problem.AddPiecewise(random, 32);
  if (terms == "rotation") problem.AddRotation(true, 64);
  if (terms == "window") problem.terms.visibility.window = 100;
  if (terms == "regions") {
    problem.AddRotation(true, 64);
    problem.AddRegions(random, 3);
  }
  const std::int64_t before = HostMemoryAsked();
  RunKernel(kernel, problem, {.skip_epsilon = 1e-6});
  return HostMemoryAsked() - before;
}

// No array has a number for each pair of a query and a key: four times the tokens take at most four
// times the memory, and not sixteen times. 64 KiB are left for what is rounded up to whole tiles.
void ExpectMemoryOfTokens(const AttentionKernel& kernel, Scalar scalar) {
  SeededRandom random(CommitSeed());
  std::int64_t asked = 0;
  for (const std::string terms : {"none", "key_bias", "two_sided", "distance_table", "piecewise",
                                  "rotation", "window", "regions"}) {
    const auto bytes = [&](std::int64_t n_query, std::int64_t n_key) {
      return BytesAsked(kernel, terms, scalar, n_query, n_key, random);
    };
    const std::int64_t of_all = bytes(256, 256), of_few = bytes(16, 600);
    EXPECT_LE(bytes(1024, 1024), 4 * of_all + (64 << 10)) << terms;
    EXPECT_LE(bytes(16, 2400), 4 * of_few + (64 << 10)) << terms << ", few queries";
    asked += of_all;
  }
  EXPECT_GT(asked, 0) << "does no call take working memory from HostMemory any more?";
}

TEST(WorkingMemory, GrowsWithTheTokensAndNotWithTheirPairs) {
  HostBlock::Current().SetIdle(true);
  for (const Scalar scalar : {Scalar::kBf16, Scalar::kFp16, Scalar::kFp32}) {
    SCOPED_TRACE(std::string(ScalarName(scalar)));
    ExpectMemoryOfTokens(HostKernel(), scalar);
  }
  SCOPED_TRACE("backward in a single kernel");
  ExpectMemoryOfTokens(HostKernelWithSingleBackward(), Scalar::kBf16);
  HostBlock::Current().SetIdle(false);
}

// ---- backward in a single kernel ---------------------------------------------------------------

constexpr std::int64_t kRow = 100;  // of 140: in the second of three tiles of queries

// A call with few terms, whose heads share keys.
Problem FewTerms(std::int64_t head_dim, SeededRandom& random) {
  return Problem(
      {.batch = 2, .n_head = 4, .n_kv_head = 2, .n_query = 140, .n_key = 140, .head_dim = head_dim},
      Scalar::kBf16, random);
}
// The elements of row i of x, a (B, T, H, D) of the problem's queries or keys, in all sequences.
template <typename Visit>
void ForRow(const Problem& problem, std::int64_t i, std::int64_t n_head, const Visit& visit) {
  const std::int64_t n_channel = n_head * problem.shape.head_dim;
  for (std::int64_t b = 0; b < problem.shape.batch; ++b) {
    for (std::int64_t c = 0; c < n_channel; ++c) {
      visit(static_cast<std::size_t>((b * problem.shape.n_query + i) * n_channel + c));
    }
  }
}
bool SameRow(const Problem& problem, std::int64_t i, const std::vector<double>& a,
             const std::vector<double>& b) {
  bool same = true;
  ForRow(problem, i, problem.shape.n_head, [&](std::size_t at) { same = same && a[at] == b[at]; });
  return same;
}

TEST(SingleBackward, OnlyTheGradientOfQueriesDiffersInItsLastBits) {
  SeededRandom random(CommitSeed());
  for (const std::int64_t head_dim : {40, 64, 128}) {
    bool differs = false;
    for (const std::string terms : {"none", "key_bias", "distance_table", "rotation"}) {
      Problem problem = FewTerms(head_dim, random);
      if (terms == "key_bias") problem.AddKeyBias(random);
      if (terms == "distance_table") problem.AddDistanceTable(random, 60, 0);
      if (terms == "rotation") problem.AddRotation(true, 16);
      const Outcome two = RunKernel(HostKernel(), problem);
      const Outcome single = RunKernel(HostKernelWithSingleBackward(), problem);
      EXPECT_EQ(single.dk, two.dk) << head_dim << ", " << terms;
      EXPECT_EQ(single.dv, two.dv) << head_dim << ", " << terms;
      EXPECT_EQ(single.d_key_bias, two.d_key_bias) << head_dim << ", " << terms;
      EXPECT_EQ(single.d_distance_table, two.d_distance_table) << head_dim << ", " << terms;
      differs = differs || single.dq != two.dq;
      EXPECT_LT(RelativeError(single.dq, two.dq), 2e-3) << head_dim << ", " << terms;
    }
    EXPECT_TRUE(differs) << head_dim << ": is it another kernel?";
  }
}

// Few queries, queries that see no key, keys that no query sees, all heads of one key head; heads
// that do not fill their tiles; and scores so large that rounding changes probabilities.
TEST(SingleBackward, OtherShapesAreThoseOfTwoKernels) {
  SeededRandom random(CommitSeed());
  struct Case {
    ProblemShape shape;
    std::int64_t q_offset = 0;
    bool causal = true;
    double magnitude = 1.0;
  };
  const Case cases[] = {
      {.shape = {.n_head = 3, .n_kv_head = 1, .n_query = 30, .n_key = 200, .head_dim = 96},
       .q_offset = 170},
      {.shape = {.n_head = 2, .n_kv_head = 2, .n_query = 200, .n_key = 90, .head_dim = 64},
       .q_offset = -70},
      {.shape = {.n_head = 4, .n_kv_head = 1, .n_query = 65, .n_key = 129, .head_dim = 8},
       .causal = false},
      {.shape = {.n_head = 2, .n_kv_head = 1, .n_query = 129, .n_key = 1, .head_dim = 128}},
      {.shape = {.n_head = 2, .n_kv_head = 1, .n_query = 200, .n_key = 200, .head_dim = 64},
       .magnitude = 8.0},
  };
  for (const Case& one : cases) {
    for (const bool rotated : {false, true}) {
      Problem problem(one.shape, Scalar::kBf16, random, one.magnitude);
      problem.terms.visibility.q_offset = one.q_offset;
      problem.terms.visibility.causal = one.causal;
      if (rotated) {
        if (one.q_offset < 0) continue;  // rows of rotations begin at position 0
        problem.AddRotation(true, 8);
      }
      const Outcome two = RunKernel(HostKernel(), problem);
      const Outcome single = RunKernel(HostKernelWithSingleBackward(), problem);
      EXPECT_EQ(single.dk, two.dk) << problem.Name();
      EXPECT_EQ(single.dv, two.dv) << problem.Name();
      EXPECT_LT(RelativeError(single.dq, two.dq), 2e-3) << problem.Name() << rotated;
    }
  }
}

TEST(SingleBackward, KeysThatHeadsOfOneKeyHeadSkipAreSkipped) {
  SeededRandom random(CommitSeed());
  for (const std::int64_t head_dim : {64, 128}) {
    Problem problem({.batch = 1,
                     .n_head = 4,
                     .n_kv_head = 2,
                     .n_query = 700,
                     .n_key = 700,
                     .head_dim = head_dim},
                    Scalar::kBf16, random);
    problem.AddSlopes();
    const AttentionKernelOptions options = {.skip_epsilon = 1e-6};
    for (const bool has_mask : {false, true}) {
      if (has_mask) {
        problem.terms.visibility.window = 600;
        problem.SetDocuments({0, 680, 700});
      }
      const Outcome two = RunKernel(HostKernel(), problem, options);
      const Outcome single = RunKernel(HostKernelWithSingleBackward(), problem, options);
      EXPECT_EQ(single.first_key, two.first_key);
      EXPECT_GT(*std::ranges::max_element(single.first_key), 128);
      EXPECT_EQ(single.dk, two.dk);
      EXPECT_LT(RelativeError(single.dq, two.dq), 2e-3);
    }
  }
}

TEST(SingleBackward, BitsDoNotDependOnNeighboursInTheBatch) {
  SeededRandom random(CommitSeed());
  const Problem both = FewTerms(64, random);
  Problem second = both;
  second.shape.batch = 1;
  for (std::vector<double>* numbers : {&second.q, &second.k, &second.v, &second.o_gradient}) {
    numbers->erase(numbers->begin(),
                   numbers->begin() + static_cast<std::ptrdiff_t>(numbers->size() / 2));
  }
  const Outcome together = RunKernel(HostKernelWithSingleBackward(), both);
  const Outcome alone = RunKernel(HostKernelWithSingleBackward(), second);
  const auto half = static_cast<std::ptrdiff_t>(together.dq.size() / 2);
  EXPECT_TRUE(std::equal(alone.dq.begin(), alone.dq.end(), together.dq.begin() + half));
}

TEST(SingleBackward, BitsDoNotDependOnTheOrderOfBlocks) {
  SeededRandom random(CommitSeed());
  for (const std::int64_t head_dim : {64, 128}) {
    Problem problem = FewTerms(head_dim, random);
    problem.AddKeyBias(random);
    const Outcome first = RunKernel(HostKernelWithSingleBackward(), problem);
    for (int repetition = 0; repetition < 5; ++repetition) {
      EXPECT_EQ(RunKernel(HostKernelWithSingleBackward(), problem).dq, first.dq);
    }
  }
}

// The integers' unit follows the size of what they add.
TEST(SingleBackward, APowerOfTwoOnlyChangesExponents) {
  SeededRandom random(CommitSeed());
  const Problem problem = FewTerms(64, random);
  const Outcome expected = RunKernel(HostKernelWithSingleBackward(), problem);
  for (const int exponent : {-60, -20, 20, 60}) {
    Problem other = problem;
    for (double& x : other.o_gradient) x = std::ldexp(x, exponent);
    const Outcome found = RunKernel(HostKernelWithSingleBackward(), other);
    for (std::size_t at = 0; at < expected.dq.size(); ++at) {
      ASSERT_EQ(found.dq[at], std::ldexp(expected.dq[at], exponent)) << exponent;
    }
  }
}

// A value that is larger than the others, and weighs nothing, makes the integers' unit larger.
TEST(SingleBackward, AHugeValueLeavesTheOthersTheirBits) {
  SeededRandom random(CommitSeed());
  Problem problem = FewTerms(64, random);
  problem.AddKeyBias(random);
  for (std::size_t at = 0; at < problem.key_bias.size();
       at += static_cast<std::size_t>(problem.shape.n_key)) {
    problem.key_bias[at] = -300.0;
  }
  ForRow(problem, 0, problem.shape.n_kv_head,
         [&](std::size_t at) { problem.v[at] = std::ldexp(problem.v[at], 15); });
  ForRow(problem, 0, problem.shape.n_head, [&](std::size_t at) { problem.o_gradient[at] = 0.0; });
  const Outcome two = RunKernel(HostKernel(), problem);
  const Outcome single = RunKernel(HostKernelWithSingleBackward(), problem);
  EXPECT_LT(RelativeError(single.dq, two.dq), 2e-3);
}

TEST(SingleBackward, WhatIsNotFiniteStaysInItsRow) {
  SeededRandom random(CommitSeed());
  for (const double wrong :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    const Problem problem = FewTerms(64, random);
    Problem other = problem;
    ForRow(problem, kRow, problem.shape.n_head, [&](std::size_t at) {
      if (at % 3 == 0) other.o_gradient[at] = wrong;
    });
    const Outcome expected = RunKernel(HostKernelWithSingleBackward(), problem);
    const Outcome found = RunKernel(HostKernelWithSingleBackward(), other);
    for (std::int64_t i = 0; i < problem.shape.n_query; ++i) {
      if (i == kRow) continue;
      EXPECT_TRUE(SameRow(problem, i, found.dq, expected.dq)) << i;
    }
    ForRow(problem, kRow, problem.shape.n_head,
           [&](std::size_t at) { EXPECT_TRUE(std::isnan(found.dq[at])) << at; });
  }
}

TEST(SingleBackward, AKeyThatIsNotFiniteLeavesQueriesThatDoNotSeeItsTile) {
  SeededRandom random(CommitSeed());
  for (const double wrong :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    Problem problem = FewTerms(64, random);
    const std::int64_t last = problem.shape.n_key - 1;
    const auto set = [&](Problem& of, double x) {
      ForRow(of, last, of.shape.n_kv_head, [&](std::size_t at) { of.k[at] = of.v[at] = x; });
    };
    set(problem, 0.0);
    Problem other = problem;
    set(other, wrong);
    const Outcome expected = RunKernel(HostKernelWithSingleBackward(), problem);
    const Outcome found = RunKernel(HostKernelWithSingleBackward(), other);
    for (std::int64_t i = 0; i < 128; ++i) {  // the block's other keys begin there
      EXPECT_TRUE(SameRow(problem, i, found.dq, expected.dq)) << i;
    }
    ForRow(problem, last, problem.shape.n_head,
           [&](std::size_t at) { EXPECT_TRUE(std::isnan(found.dq[at])) << at; });
  }
}

// ---- backward that adds in any order -----------------------------------------------------------

// Odd lengths, shared keys, heads that do not fill their tiles, queries that see no key, with each
// bias that has the kernel, and several orders of blocks. The bounds beside the reference are those
// of the conformance suite in bf16.
TEST(UnorderedBackward, AgreesWithTheReferenceAndWithTwoKernels) {
  SeededRandom random(CommitSeed());
  struct Case {
    ProblemShape shape;
    std::int64_t q_offset = 0;
    bool causal = true;
  };
  const Case cases[] = {
      {.shape = {.n_head = 3, .n_kv_head = 1, .n_query = 30, .n_key = 201, .head_dim = 96},
       .q_offset = 171},
      {.shape = {.n_head = 2, .n_kv_head = 2, .n_query = 200, .n_key = 91, .head_dim = 64},
       .q_offset = -70},
      {.shape = {.n_head = 4, .n_kv_head = 1, .n_query = 65, .n_key = 129, .head_dim = 8},
       .causal = false},
      {.shape = {.n_head = 4, .n_kv_head = 2, .n_query = 257, .n_key = 257, .head_dim = 40}},
      {.shape = {.n_head = 2, .n_kv_head = 1, .n_query = 131, .n_key = 131, .head_dim = 128}},
  };
  for (const Case& one : cases) {
    for (const std::string terms : {"none", "key_bias", "rotation"}) {
      Problem problem(one.shape, Scalar::kBf16, random);
      problem.terms.visibility.q_offset = one.q_offset;
      problem.terms.visibility.causal = one.causal;
      if (terms == "key_bias") problem.AddKeyBias(random);
      if (terms == "rotation") {
        if (one.q_offset < 0) continue;  // rows of rotations begin at position 0
        problem.AddRotation(true, 8);
      }
      SCOPED_TRACE(problem.Name());
      const Outcome expected = RunReference(problem), two = RunKernel(HostKernel(), problem);
      for (int repetition = 0; repetition < 2; ++repetition) {
        const Outcome found = RunKernel(HostKernelWithUnorderedBackward(), problem);
        EXPECT_TRUE(found.guards_hold);
        EXPECT_EQ(found.dk, two.dk);
        EXPECT_EQ(found.dv, two.dv);
        EXPECT_EQ(found.d_key_bias, two.d_key_bias);
        EXPECT_LT(RelativeError(found.dq, two.dq), 2e-3);
        EXPECT_LE(RelativeError(found.dq, expected.dq), 1e-2);
        EXPECT_LE(RelativeMaxError(found.dq, expected.dq), 20 * 1e-2);
      }
    }
  }
}

// Each query has no score, so all keys weigh the same. The first 128 keys, those of one block, add
// a large number to dq, the last ones subtract it, and each block between adds 0.4 units of the
// large number's last place. These are lost in fp32 if they come between the large ones, as they
// do in both orders of the keys, but not in most others.
TEST(UnorderedBackward, BitsDependOnTheOrderOfBlocksThatIntegersDoNotDependOn) {
  constexpr std::int64_t kBlock = 128, kBlocks = 6, kKeys = kBlock * kBlocks, kHeadDim = 64;
  SeededRandom random(CommitSeed());
  Problem problem({.batch = 1,
                   .n_head = 1,
                   .n_kv_head = 1,
                   .n_query = 64,
                   .n_key = kKeys,
                   .head_dim = kHeadDim},
                  Scalar::kBf16, random);
  problem.terms.visibility = {.causal = false, .q_offset = kKeys - 64};
  problem.terms.scale = 1.0;
  std::ranges::fill(problem.q, 0.0);
  std::ranges::fill(problem.o_gradient, 1.0);
  for (std::int64_t j = 0; j < kKeys; ++j) {
    const bool is_first = j < kBlock, is_last = j >= kKeys - kBlock, is_even = j % 2 == 0;
    // Of the keys of a block between, half have a value of 1 and the others of -1, but only the
    // former have a k that is not 0: the output stays 0, and so does delta.
    const double v = is_first ? 1.0 : is_last ? -1.0 : is_even ? 1.0 : -1.0;
    const double k = is_first || is_last ? 1.0 : is_even ? std::ldexp(1.2, -24) : 0.0;
    for (std::int64_t c = 0; c < kHeadDim; ++c) {
      problem.v[static_cast<std::size_t>(j * kHeadDim + c)] = v;
      problem.k[static_cast<std::size_t>(j * kHeadDim + c)] = k;
    }
  }
  // A third of the orders are random: 60 calls all have the same bits once in 10^9 times.
  const auto has_several_results = [&problem](const AttentionKernel& kernel, int n_call) {
    std::set<std::vector<double>> results;
    while (n_call-- > 0 && results.size() < 2) results.insert(RunKernel(kernel, problem).dq);
    return results.size() > 1;
  };
  EXPECT_TRUE(has_several_results(HostKernelWithUnorderedBackward(), 60));
  EXPECT_FALSE(has_several_results(HostKernelWithSingleBackward(), 12));
}

// What backward says of a call of zeros.
Status StatusOfBackward(const AttentionKernel& kernel, const Problem& problem) {
  const ProblemShape& n = problem.shape;
  const auto zeros = [&](std::int64_t n_row, std::int64_t n_head) {
    HeadsTensor x(problem.scalar, n.batch, n_row, n_head, n.head_dim);
    x.Fill(std::vector<double>(static_cast<std::size_t>(n.batch * n_row * n_head * n.head_dim)));
    return x;
  };
  HeadsTensor queries = zeros(n.n_query, n.n_head), keys = zeros(n.n_key, n.n_kv_head);
  HeadsTensor dq = zeros(n.n_query, n.n_head), dk = zeros(n.n_key, n.n_kv_head),
              dv = zeros(n.n_key, n.n_kv_head);
  NumbersTensor lse(Scalar::kFp64, static_cast<std::size_t>(n.batch * n.n_head * n.n_query));
  lse.Fill(std::vector<double>(static_cast<std::size_t>(n.batch * n.n_head * n.n_query)));
  const std::vector<std::int32_t> first_key(
      static_cast<std::size_t>(n.batch * n.n_head * VisitedKeys::Count(n.n_query)), 0);
  return kernel.backward({.inputs = {.q = queries.View(), .k = keys.View(), .v = keys.View()},
                          .o = queries.View(),
                          .do_ = queries.View(),
                          .lse = lse.View(),
                          .first_key = first_key,
                          .dq = dq.Buffer(),
                          .dk = dk.Buffer(),
                          .dv = dv.Buffer()},
                         problem.terms, {.skip_epsilon = 1e-6});
}

// Another kernel in its place would be measured as if it were this one.
TEST(UnorderedBackward, CallsThatItIsNotForAreErrors) {
  SeededRandom random(CommitSeed());
  const auto expect = [&](bool is_served, Scalar scalar, std::int64_t n, std::int64_t head_dim,
                          const auto& change) {
    Problem problem(
        {.batch = 1, .n_head = 1, .n_kv_head = 1, .n_query = n, .n_key = n, .head_dim = head_dim},
        scalar, random);
    change(problem);
    SCOPED_TRACE(problem.Name());
    EXPECT_TRUE(StatusOfBackward(HostKernel(), problem).ok());
    EXPECT_TRUE(StatusOfBackward(HostKernelWithSingleBackward(), problem).ok());
    const Status found = StatusOfBackward(HostKernelWithUnorderedBackward(), problem);
    EXPECT_EQ(found.ok(), is_served) << found.message();
    EXPECT_EQ(found.message().starts_with("backward that adds in any order has no kernel"),
              !is_served)
        << found.message();
  };
  const auto nothing = [](Problem&) {};
  const auto key_bias = [&](Problem& of) { of.AddKeyBias(random); };
  expect(true, Scalar::kBf16, 70, 128, nothing);
  expect(true, Scalar::kBf16, 70, 128, key_bias);
  expect(false, Scalar::kBf16, 70, 136, nothing);
  expect(false, Scalar::kFp32, 70, 64, nothing);
  expect(false, Scalar::kFp16, 70, 64, nothing);
  expect(false, Scalar::kBf16, 70, 64, [&](Problem& of) { of.AddDistanceTable(random, 60, 0); });
  expect(false, Scalar::kBf16, 70, 64, [&](Problem& of) { of.AddKeyBias(random, true); });
  expect(false, Scalar::kBf16, 70, 64, [&](Problem& of) { of.AddPiecewise(random); });
  expect(false, Scalar::kBf16, 70, 64, [](Problem& of) { of.terms.visibility.window = 20; });
  expect(false, Scalar::kBf16, 70, 64, [](Problem& of) { of.SetDocuments({0, 30, 70}); });
  expect(false, Scalar::kBf16, 70, 64,
         [](Problem& of) { of.terms.dropout = Dropout{.probability = 0.1, .seed = 5}; });
  // Calls of more than 512 keys with a bias may skip some.
  expect(true, Scalar::kBf16, 520, 64, nothing);
  expect(false, Scalar::kBf16, 520, 64, key_bias);
}

// Of calls with few terms: the keys of a hidden pair get nothing of a gradient that is not finite.
TEST(PipelinedBackward, AQueryThatIsNotFiniteLeavesKeysThatItDoesNotSee) {
  SeededRandom random(CommitSeed());
  constexpr std::int64_t kLength = 200, kQuery = 150;
  constexpr std::int32_t kBegin = 120, kEnd = 160;  // of the query's document, if there are any
  const Visibility masks[] = {
      {}, {.window = 40}, {.window = 40, .n_sink = 3}, {.causal = false, .window = 30}};
  for (std::size_t at = 0; at <= std::size(masks); ++at) {
    const bool has_documents = at == std::size(masks);
    Problem problem({.batch = 1, .n_query = kLength, .n_key = kLength, .head_dim = 64},
                    Scalar::kBf16, random);
    if (has_documents) {
      problem.SetDocuments({0, kBegin, kEnd, kLength});
    } else {
      problem.terms.visibility = masks[at];
    }
    problem.AddKeyBias(random, false, 0.02);
    const ProblemShape& n = problem.shape;
    ForRow(problem, kQuery, n.n_head, [&](std::size_t to) { problem.o_gradient[to] = 0.0; });
    Problem other = problem;
    ForRow(problem, kQuery, n.n_head,
           [&](std::size_t to) { other.o_gradient[to] = std::numeric_limits<double>::infinity(); });
    const auto sees = [&](std::int64_t j) {
      const Visibility& see = problem.terms.visibility;
      if (has_documents && j < kBegin) return false;
      return (!see.causal || j <= kQuery) &&
             (see.window == 0 || std::abs(kQuery - j) < see.window || j < see.n_sink);
    };
    for (const AttentionKernel& kernel : {HostKernel(), HostKernelWithSingleBackward()}) {
      SCOPED_TRACE(Str(kernel.name, ", mask ", at));
      const Outcome expected = RunKernel(kernel, problem), found = RunKernel(kernel, other);
      const auto is_same = [&](std::int64_t j) {
        bool same = true;
        ForRow(problem, j, n.n_kv_head,
               [&](std::size_t of) { same = same && found.dk[of] == expected.dk[of]; });
        for (std::int64_t h = 0; h < n.n_head; ++h) {
          const auto of = static_cast<std::size_t>(h * kLength + j);
          same = same && found.d_key_bias[of] == expected.d_key_bias[of];
        }
        return same;
      };
      for (std::int64_t j = 0; j < kLength; ++j) EXPECT_EQ(is_same(j), !sees(j)) << "key " << j;
    }
  }
}

using MaskParams = gpu::MaskedParams<gpu::PlainParams>;
constexpr int kTileKeys = 32, kBlockQueries = 64, kBlockKeys = 128;

// A call's window and documents alone, at random.
struct RandomMask {
  explicit RandomMask(SeededRandom& random) {
    const auto below = [&random](int n) {
      return static_cast<int>(random.Below(static_cast<std::uint64_t>(n)));
    };
    p.causal = random.Chance(0.7) ? 1 : 0;
    p.n_query = 1 + below(600);
    p.n_key = 1 + below(600);
    p.q_offset = below(700);
    if (below(8) == 0) p.q_offset = -below(100);  // some queries come before all keys
    p.k_offset = below(4) == 0 ? below(300) : 0;
    p.distance = p.q_offset - p.k_offset;
    p.n_position = std::max(p.q_offset + p.n_query, p.k_offset + p.n_key);
    p.window = random.Chance(0.7) ? 1 + below(200) : 0;
    p.n_sink = p.causal != 0 && p.window > 0 && random.Chance(0.5) ? 1 + below(100) : 0;
    if (p.q_offset < 0 || (p.window > 0 && random.Chance(0.5))) return;
    for (int t = 0, begin = 0; t < p.n_position; ++t) {
      if (random.Chance(0.005)) begin = t;
      documents.push_back(begin);
    }
    p.document_begin = documents.data();
  }
  bool Sees(int i, int j) const {
    const int from = p.q_offset + i, to = p.k_offset + j;
    const int begin = documents.empty() ? 0 : documents[static_cast<std::size_t>(to)];
    if (!documents.empty() && documents[static_cast<std::size_t>(from)] != begin) return false;
    if (p.causal != 0 && to > from) return false;
    return p.window == 0 || std::abs(from - to) < p.window || to < begin + p.n_sink;
  }

  // Whether one of a block's keys is a sink.
  bool HasSinks(int j_0) const {
    for (int j = j_0; j < std::min(j_0 + kBlockKeys, p.n_key); ++j) {
      const int to = p.k_offset + j;
      const int begin = documents.empty() ? 0 : documents[static_cast<std::size_t>(to)];
      if (to < begin + p.n_sink) return true;
    }
    return false;
  }

  MaskParams p;
  std::vector<std::int32_t> documents;
};

// What the blocks of a kernel find: those of queries their tiles, those of keys their queries.
struct MaskedRanges {
  struct Params {
    MaskParams call;
    // (n_query_block, n_tile): the order in which a block visits the tiles, from 1; 0: not.
    int* order;
    int n_tile, n_query_block;
    gpu::QueryRange* queries;  // (n_key_block)
  };
  static void Run(const Params& params) {
    const MaskParams& p = params.call;
    const int block = static_cast<int>(HostLayer::Block());
    if (block >= params.n_query_block) {
      const int j_0 = (block - params.n_query_block) * kBlockKeys;
      const auto queries = gpu::MaskedQueries<HostLayer>(p, 0, j_0, kBlockKeys);
      if (HostLayer::Thread() == 0) params.queries[block - params.n_query_block] = queries;
      return;
    }
    const gpu::KeyTiles<HostLayer, MaskParams, kTileKeys> tiles(p, 0, 0, block * kBlockQueries,
                                                                kBlockQueries);
    if (HostLayer::Thread() != 0) return;
    int n = 0;
    for (int tile = tiles.n - 1; tile >= tiles.first; tile = tiles.Next(tile)) {
      params.order[block * params.n_tile + tile] = ++n;
    }
  }
};

TEST(MaskedTilesTest, BlocksVisitWhatIsVisibleAndHardlyMore) {
  SeededRandom random(CommitSeed());
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(Str("round ", round, ", seed ", CommitSeed()));
    const RandomMask mask(random);
    const MaskParams& p = mask.p;
    const int n_tile = (p.n_key + kTileKeys - 1) / kTileKeys;
    const int n_query_block = (p.n_query + kBlockQueries - 1) / kBlockQueries;
    const int n_key_block = (p.n_key + kBlockKeys - 1) / kBlockKeys;
    std::vector<int> order(static_cast<std::size_t>(n_query_block * n_tile));
    std::vector<gpu::QueryRange> queries(static_cast<std::size_t>(n_key_block));
    HostDevice device;
    ASSERT_EQ(device.Launch<MaskedRanges>(n_query_block + n_key_block, 0,
                                          {p, order.data(), n_tile, n_query_block, queries.data()}),
              nullptr);

    for (int block = 0; block < n_query_block; ++block) {
      const int i_0 = block * kBlockQueries;
      int n_hidden = 0, before = -1, n_before = 0;
      for (int tile = n_tile - 1; tile >= 0; --tile) {
        const int at = order[static_cast<std::size_t>(block * n_tile + tile)];
        bool sees = false;
        for (int i = i_0; i < std::min(i_0 + kBlockQueries, p.n_query); ++i) {
          for (int j = tile * kTileKeys; j < std::min((tile + 1) * kTileKeys, p.n_key); ++j) {
            sees = sees || mask.Sees(i, j);
          }
        }
        ASSERT_TRUE(at > 0 || !sees) << "queries from " << i_0 << ", tile " << tile;
        if (at == 0) continue;
        ASSERT_EQ(at, ++n_before);
        ASSERT_TRUE(before < 0 || (before - tile) % 2 == 1) << "the places are the same";
        before = tile;
        n_hidden += sees ? 0 : 1;
      }
      // One that has the right place, and the last one where all queries lie beyond the keys.
      ASSERT_LE(n_hidden, 2) << "queries from " << i_0;
    }

    for (int block = 0; block < n_key_block; ++block) {
      const int j_0 = block * kBlockKeys;
      for (int i = 0; i < p.n_query; ++i) {
        bool sees = false;
        for (int j = j_0; j < std::min(j_0 + kBlockKeys, p.n_key); ++j) {
          sees = sees || mask.Sees(i, j);
        }
        const gpu::QueryRange& of_block = queries[static_cast<std::size_t>(block)];
        const bool is_visited = of_block.begin <= i && i < of_block.end;
        // Between the window and the queries that see sinks alone there may be others.
        ASSERT_TRUE(mask.HasSinks(j_0) ? is_visited || !sees : sees == is_visited)
            << "query " << i << ", keys from " << j_0;
      }
    }
  }
}

// ---- segments of a piecewise linear function ---------------------------------------------------

constexpr int kLanes = 32;

// The segments that a warp finds, of whose numbers each lane has some.
struct SegmentsOfWarp {
  struct Params : gpu::PiecesParams {
    const float *of_psi, *of_factors;  // (kLanes, n_each)
    int n_each;
    gpu::SegmentRange* found;  // (gpu::kThreads)
  };
  static void Run(const Params& p) {
    const int thread = HostLayer::Thread(), first = thread % kLanes * p.n_each;
    gpu::Interval psi, factors;
    for (int at = first; at < first + p.n_each; ++at) {
      psi.Add(p.of_psi[at]);
      factors.Add(p.of_factors[at]);
    }
    p.found[thread] =
        gpu::SegmentRange::Of<HostLayer>(p, psi.OfWarp<HostLayer>(), factors.OfWarp<HostLayer>());
  }
};

TEST(SegmentRangeTest, AWarpFindsTheSegmentsOfTheSmallestAndTheLargestArgument) {
  SeededRandom random(CommitSeed());
  int n_one = 0, n_several = 0;
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(Str("round ", round, ", seed ", CommitSeed()));
    const auto numbers = [&](std::size_t n, double center, double spread) {
      std::vector<float> floats;
      for (std::size_t at = 0; at < n; ++at) {
        floats.push_back(static_cast<float>(center + spread * Gaussian(random)));
      }
      return floats;
    };
    std::vector<float> knots = numbers(random.Below(71), 0.5, 1.0);
    if (knots.size() > 2) knots[1] = knots[0];
    std::ranges::sort(knots);
    const bool is_narrow = random.Chance(0.5);
    const auto center = [&random] { return static_cast<double>(random.Below(3)) - 1.0; };
    const std::size_t n_each = 1 + random.Below(3), n = kLanes * n_each;
    const std::vector<float> psi = numbers(n, center(), is_narrow ? 1e-3 : 1.0);
    const std::vector<float> factors = numbers(n, center(), is_narrow ? 1e-3 : 1.0);
    std::vector<gpu::SegmentRange> found(gpu::kThreads);
    SegmentsOfWarp::Params p;
    p.knots = knots.data();
    p.n_knot = static_cast<int>(knots.size());
    p.of_psi = psi.data();
    p.of_factors = factors.data();
    p.n_each = static_cast<int>(n_each);
    p.found = found.data();
    HostDevice device;
    ASSERT_EQ(device.Launch<SegmentsOfWarp>(1, 0, p), nullptr);

    // Pairs of all lanes have an argument.
    int first = p.n_knot, last = 0;
    for (const float x : psi) {
      for (const float factor : factors) {
        const auto segment =
            static_cast<int>(std::ranges::upper_bound(knots, x * factor) - knots.begin());
        first = std::min(first, segment);
        last = std::max(last, segment);
      }
    }
    for (const gpu::SegmentRange& range : found) {
      ASSERT_EQ(range.first, first);
      ASSERT_EQ(range.last, last);
    }
    ++(first == last ? n_one : n_several);
  }
  EXPECT_GT(n_one, 10);
  EXPECT_GT(n_several, 10);
}

}  // namespace
}  // namespace longrun::testing
