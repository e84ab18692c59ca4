// Runs the kernels of kernels/cuda on the host, without a GPU: a layer (kernels/cuda/device.h) in
// which every thread of a block is a fibre. Blocks run one after the other, in an order drawn from
// a seed (forwards, backwards or shuffled), and so do the threads of a block between two waits.
//
// Errors that a GPU does not report stop the launch here: an access beyond an array in shared
// memory, a barrier or a product of a warp that some threads never reach, lanes that wait for
// different things, and two threads that access the same element of shared memory, one of them
// writing, without a barrier between them. Shared memory and working memory begin as NaN.
//
// The same holds for global memory, where two blocks of a launch have no barrier between them:
// if one writes an element, no other block may access it, unless both do so by AtomicAdd or
// AtomicOr. So a launch that passes would give the same numbers if its blocks ran at the same
// time. Where the launch is told what its call views, an access to other memory than that and the
// working memory stops it, too. Copies and accesses of several elements at once are always seen;
// single ones are those of sources that are compiled for it (global_accesses.cc).
//
// An asynchronous copy arrives when its thread waits for it, as late as a GPU may let it arrive.
// Until then its place holds NaN, and nobody may access it. The waiting thread then counts as the
// one that has written it.
//
// On request, a block counts the bank conflicts of its accesses to shared memory.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <vector>

#include "kernels/attention.h"  // WorkingMemory
#include "kernels/cuda/columns-inl.h"
#include "kernels/cuda/pipeline-inl.h"
#include "tests/kernels/global_regions.h"

// Of the layer's own functions, whose accesses to memory are not those of a kernel.
#define LR_NOT_SEEN __attribute__((no_sanitize("thread")))

namespace longrun::testing {

// The block that runs at present.
class HostBlock {
 public:
  static constexpr int kLanes = 32;
  static constexpr int kWarps = gpu::kThreads / kLanes;
  enum class Collective { kNone, kSync, kMma, kQuadMax, kQuadSum, kAny, kCount, kSum, kMin, kMax };

  static HostBlock& Current() { return current_; }

  // Runs blocks [0, n_block), each on all threads. Returns null, or what went wrong.
  // With `regions`, only these and the working memory may be accessed.
  using Kernel = void (*)(const void* params);
  const char* Run(std::int64_t n_block, int shared_bytes, Kernel kernel, const void* params,
                  std::size_t params_bytes, const GlobalRegions* regions);
  // Memory that a call asked for, until it is forgotten.
  void AddWorkingMemory(const void* memory, std::int64_t n);
  void ForgetWorkingMemory(const void* memory);
  // The order of blocks and threads.
  void SetSeed(std::uint64_t seed) { seed_ = seed; }
  // Idle, Run does nothing, so that a test can ask what a large call would take besides time.
  void SetIdle(bool is_idle) { is_idle_ = is_idle; }

  int thread() const { return thread_; }
  std::int64_t block() const { return block_; }
  int shared_bytes() const { return static_cast<int>(shared_.size()); }
  unsigned char* shared() { return shared_.data(); }

  void Barrier();
  // Waits until all lanes of the warp are here; the last to arrive calls op(slots), where slots[l]
  // is what lane l gave.
  template <typename Op>
  LR_NOT_SEEN void OfWarp(Collective collective, void* slot, const Op& op) {
    Warp& warp = warps_[thread_ / kLanes];
    if (warp.n_waiting == 0) warp.collective = collective;
    if (warp.collective != collective) Fail("lanes of a warp wait for different things");
    warp.slots[thread_ % kLanes] = slot;
    if (++warp.n_waiting < kLanes) {
      Wait();
      return;
    }
    op(warp.slots);
    ReleaseWarp(warp);
  }
  // Called before the bytes [at, at + n) are read or written.
  LR_NOT_SEEN void Read(int at, int n) {
    if (!IsQuiet(at, n)) Access(at, n, false);
  }
  LR_NOT_SEEN void Write(int at, int n) { Access(at, n, true); }

  // Called before n bytes of memory are accessed that may be global. Stacks, shared memory and the
  // kernel's parameters are not.
  enum class Way { kRead, kWrite, kAtomic };
  LR_NOT_SEEN void AccessGlobal(const void* data, int n, Way way) {
    const auto at = reinterpret_cast<std::uintptr_t>(data);
    if (at - stacks_ < stacks_bytes_ || !is_running_) return;
    if (at - reinterpret_cast<std::uintptr_t>(this) >= sizeof *this) NoteGlobalAccess(at, n, way);
  }
  // AtomicAdd and AtomicOr of the layer.
  void Add(std::int64_t* to, std::int64_t x);
  void Add(float* to, float x);
  void Or(std::int32_t* to, std::int32_t bits);

  // Begins a copy of 16 bytes; from null: zeros. Wait lets all copies arrive that the thread has
  // committed, but for those of the newest n_newest groups.
  void Copy(const void* from, int at);
  void CommitCopies() { ++threads_[thread_].n_group; }
  void WaitCopies(int n_newest);

  // A lane's part of an access by its warp. A GPU serves 128 bytes at once, if no two words of them
  // lie in one bank; each further word of a bank takes a turn of its own.
  enum class Use { kFragments, kCopies, kNumbers };
  struct Conflicts {
    std::int64_t fragments = 0, copies = 0, numbers = 0;  // further turns, by use
    std::int64_t n_fragment = 0;                          // loads of fragments that were counted
  };
  void CountConflicts(bool counts) {
    counts_ = counts;
    if (counts) conflicts_ = {};
  }
  const Conflicts& conflicts() const { return conflicts_; }
  LR_NOT_SEEN void Count(Use use, int at, int n) {
    if (counts_) AddAccess(use, at, n);
  }
  // Ends the block. It does not return, but is not declared so: the address sanitizer would then
  // look for the end of a stack that it does not know.
  void Fail(const char* error);

 private:
  struct Warp {
    int n_waiting = 0;
    int epoch = 0;
    Collective collective = Collective::kNone;
    void* slots[kLanes] = {};
  };
  struct PendingCopy {
    const void* from = nullptr;
    int at = 0;
    std::int64_t group = 0;
    unsigned char bytes[16] = {};  // of the source, when the copy began
  };
  struct Thread {
    std::vector<PendingCopy> copies;
    std::int64_t n_group = 0;  // that it has committed
  };
  // What the lanes of a warp access with one instruction.
  struct WarpAccess {
    Use use = Use::kNumbers;
    int n = 0;  // bytes of a lane
    bool accesses[kLanes] = {};
    int at[kLanes] = {};
  };
  // Between two waits the n-th accesses of all lanes are one instruction.
  struct WarpAccesses {
    std::vector<WarpAccess> all;
    std::size_t n_of_lane[kLanes] = {};
  };
  // The last accesses of a word of shared memory since the block's last barrier.
  struct Accesses {
    static constexpr std::int16_t kNone = -1, kSeveral = -2;
    // Whether an access by `thread` now could come before these.
    LR_NOT_SEEN bool Races(int thread, int warp_epoch) const {
      if (warp == kNone) return false;
      if (warp != thread / kLanes) return true;
      return lane != thread % kLanes && epoch == warp_epoch;
    }
    LR_NOT_SEEN void Add(int thread, int warp_epoch) {
      const auto own_warp = static_cast<std::int16_t>(thread / kLanes);
      const auto own_lane = static_cast<std::int16_t>(thread % kLanes);
      if (warp == kNone || (warp == own_warp && (epoch != warp_epoch || lane == own_lane))) {
        warp = own_warp;
        lane = own_lane;
      } else {
        lane = kSeveral;
        if (warp != own_warp) warp = kSeveral;
      }
      epoch = warp_epoch;
    }
    std::int16_t warp = kNone, lane = kNone;
    std::int32_t epoch = 0;  // of the warp
  };
  struct Shadow {
    std::int64_t epoch = 0;  // of the block
    Accesses writes, reads;
    bool is_pending = false;
  };
  // The accesses of one kind to two bytes of global memory in the present launch.
  struct GlobalAccesses {
    static constexpr std::int64_t kNone = -1, kSeveral = -2;
    std::int64_t block = kNone;
    std::int64_t epoch = 0;  // of the block, when `since` was added to last
    Accesses since;          // the block's last barrier
  };
  // 16 bytes at a multiple of 16, which take about 600 bytes here.
  struct GlobalShadow {
    static constexpr int kParts = 8;
    GlobalAccesses reads[kParts], writes[kParts], atomics[kParts];
  };
  struct GlobalLine {
    static constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();
    std::uintptr_t line = 0;  // address / 16
    std::int64_t launch = 0;
    std::size_t shadow = 0;  // in globals_
    // Of the block: in this one, a further read leaves the shadow as it is. kAll: in every one.
    std::int64_t quiet_epoch = 0;
  };

  HostBlock() = default;
  static void Enter();
  void RunBlock();
  void Wait();  // lets other threads run until this one is ready
  void ReleaseWarp(Warp& warp);
  // A piece of shared memory that warps read, and that nobody wrote since the block's last barrier:
  // whoever reads it again leaves its shadows as they are. A write before the next barrier fails.
  LR_NOT_SEEN bool IsQuiet(int at, int n) const {
    for (int piece = at / kPieceBytes; piece <= (at + n - 1) / kPieceBytes; ++piece) {
      if (quiet_[static_cast<std::size_t>(piece)] != epoch_) return false;
    }
    return true;
  }
  LR_NOT_SEEN void Access(int at, int n, bool writes) {
    const int warp_epoch = warps_[thread_ / kLanes].epoch;
    for (int word = at / 4; word < (at + n + 3) / 4; ++word) {
      Shadow& shadow = shadows_[static_cast<std::size_t>(word)];
      if (shadow.is_pending) Fail("an access to shared memory that a copy may still write");
      if (shadow.epoch != epoch_) {
        shadow.writes = shadow.reads = Accesses();
        shadow.epoch = epoch_;
      }
      if (shadow.writes.Races(thread_, warp_epoch) ||
          (writes && shadow.reads.Races(thread_, warp_epoch))) {
        Fail("two threads access the same element of shared memory without a barrier between them");
      }
      (writes ? shadow.writes : shadow.reads).Add(thread_, warp_epoch);
    }
    if (writes) return;
    for (int piece = at / kPieceBytes; piece <= (at + n - 1) / kPieceBytes; ++piece) {
      bool is_quiet = true;
      for (int word = 0; word < kPieceBytes / 4; ++word) {
        const Shadow& shadow = shadows_[static_cast<std::size_t>(piece * (kPieceBytes / 4) + word)];
        is_quiet = is_quiet && shadow.epoch == epoch_ && shadow.reads.warp == Accesses::kSeveral &&
                   shadow.writes.warp == Accesses::kNone;
      }
      if (is_quiet) quiet_[static_cast<std::size_t>(piece)] = epoch_;
    }
  }
  void SetPending(int at, bool is_pending) {
    for (int word = at / 4; word < at / 4 + 4; ++word) {
      shadows_[static_cast<std::size_t>(word)].is_pending = is_pending;
    }
  }
  void NoteGlobalAccess(std::uintptr_t begin, int n, Way way);
  bool IsOwnMemory(std::uintptr_t at) const;
  void NoteElements(std::uintptr_t begin, int n, Way way);
  GlobalLine& LineOf(std::uintptr_t line);
  GlobalLine& PlaceOf(std::uintptr_t line);  // the line's, or a free one
  std::int64_t QuietEpoch(const GlobalShadow& shadow) const;
  void CheckRegion(std::uintptr_t at, std::int64_t n);
  void CheckGlobal(const GlobalAccesses& others);
  void NoteGlobal(GlobalAccesses& own);
  void AddAccess(Use use, int at, int n);
  void CountTurns(int warp);  // of the accesses since the last wait
  void PushReady(int thread);
  int PopReady();

  std::uint64_t seed_ = 1;
  bool is_idle_ = false;
  std::int64_t block_ = 0;
  int thread_ = 0;
  std::vector<unsigned char> shared_;
  std::vector<Shadow> shadows_;
  static constexpr int kPieceBytes = 16;
  std::vector<std::int64_t>
      quiet_;                      // of each piece of shared memory: the last epoch it was quiet in
  std::vector<GlobalLine> lines_;  // a hash table; those of earlier launches are free places
  std::vector<GlobalShadow> globals_;  // of the lines; those of this launch come first
  std::size_t n_globals_ = 0;          // of this launch
  std::int64_t launch_ = 0;
  const GlobalRegions* regions_ = nullptr;
  std::map<std::uintptr_t, std::int64_t> working_memory_;  // bytes, by address
  bool is_running_ = false, is_noting_ = false;
  std::uintptr_t stacks_ = 0, stacks_bytes_ = 0;
  Kernel kernel_ = nullptr;
  const void* params_ = nullptr;
  std::size_t params_bytes_ = 0;
  const char* error_ = nullptr;
  Warp warps_[kWarps];
  Thread threads_[gpu::kThreads];
  bool counts_ = false;
  Conflicts conflicts_;
  WarpAccesses accesses_[kWarps];
  int n_at_barrier_ = 0, n_finished_ = 0;
  std::int64_t epoch_ = 0;
  int ready_[gpu::kThreads] = {};
  int n_ready_ = 0, first_ready_ = 0;
  static HostBlock current_;
};
inline HostBlock HostBlock::current_;

struct HostLayer {
  static int Thread() { return HostBlock::Current().thread(); }
  static std::int64_t Block() { return HostBlock::Current().block(); }
  static void Barrier() { HostBlock::Current().Barrier(); }
  static void WarpSync() {
    HostBlock::Current().OfWarp(HostBlock::Collective::kSync, nullptr, [](void* const*) {});
  }

  template <typename T>
  struct Shared {
    int begin = 0, n = 0;  // bytes, elements

    T Get(int at) const {
      T x;
      Count(at, 1);
      Read(at, 1, &x);
      return x;
    }
    void Set(int at, T x) const {
      Count(at, 1);
      Write(at, 1, &x);
    }
    void GetFour(int at, float (&x)[4]) const {
      Count(at, 4);
      Read(at, 4, x);
    }
    void GetTwo(int at, float (&x)[2]) const {
      Count(at, 2);
      Read(at, 2, x);
    }
    void SetPair(int at, std::uint32_t pair) const {
      T x[2];
      static_assert(sizeof x == sizeof pair);
      std::memcpy(x, &pair, sizeof x);
      Count(at, 2);
      Write(at, 2, x);
    }
    void SetEight(int at, const T (&x)[gpu::kChunk]) const {
      constexpr int kCount = 16 / static_cast<int>(sizeof(T));
      for (int first = 0; first < gpu::kChunk; first += kCount) Count(at + first, kCount);
      Write(at, gpu::kChunk, x);
    }

    LR_NOT_SEEN void Read(int at, int count, T* x) const {
      HostBlock& block = HostBlock::Current();
      Check(block, at, count);
      const int size = static_cast<int>(sizeof(T));
      block.Read(begin + at * size, count * size);
      std::memcpy(x, block.shared() + begin + at * size, static_cast<std::size_t>(count * size));
    }
    LR_NOT_SEEN void Write(int at, int count, const T* x) const {
      HostBlock& block = HostBlock::Current();
      Check(block, at, count);
      const int size = static_cast<int>(sizeof(T));
      block.Write(begin + at * size, count * size);
      std::memcpy(block.shared() + begin + at * size, x, static_cast<std::size_t>(count * size));
    }
    LR_NOT_SEEN void Count(int at, int count) const {
      const int size = static_cast<int>(sizeof(T));
      HostBlock::Current().Count(HostBlock::Use::kNumbers, begin + at * size, count * size);
    }
    // Vectors must be aligned, as on a GPU.
    LR_NOT_SEEN void Check(HostBlock& block, int at, int count) const {
      if (at < 0 || at + count > n) block.Fail("an access beyond an array in shared memory");
      const int size = static_cast<int>(sizeof(T));
      if (count * size <= 16 ? (at * size) % (count * size) != 0 : (at * size) % 16 != 0) {
        block.Fail("a vector in shared memory that is not aligned");
      }
    }
  };

  struct Arena {
    int used = 0;
    template <typename T>
    Shared<T> Take(int n) {
      const Shared<T> array = {used, n};
      used += (n * static_cast<int>(sizeof(T)) + 15) / 16 * 16;
      HostBlock& block = HostBlock::Current();
      if (used > block.shared_bytes())
        block.Fail("a kernel needs more shared memory than it asks for");
      return array;
    }
  };

  template <typename T>
  static void LoadEight(const void* from, T (&x)[gpu::kChunk]) {
    CheckAligned(from);
    // A call of memcpy makes no calls to global_accesses.cc.
    HostBlock::Current().AccessGlobal(from, sizeof x, HostBlock::Way::kRead);
    std::memcpy(x, from, sizeof x);
  }
  template <typename T>
  static void CopyAsync(const void* from, const Shared<T>& to, int at, bool exists) {
    HostBlock& block = HostBlock::Current();
    const int size = static_cast<int>(sizeof(T));
    to.Check(block, at, 16 / size);
    CheckAligned(from);
    block.Count(HostBlock::Use::kCopies, to.begin + at * size, 16);
    block.Copy(exists ? from : nullptr, to.begin + at * size);
  }
  static void CommitCopies() { HostBlock::Current().CommitCopies(); }
  template <int kNewest>
  static void WaitCopies() {
    HostBlock::Current().WaitCopies(kNewest);
  }
  static void StorePair(void* to, std::uint32_t pair) {
    HostBlock::Current().AccessGlobal(to, sizeof pair, HostBlock::Way::kWrite);
    std::memcpy(to, &pair, sizeof pair);
  }
  static void StoreWords(void* to, const std::uint32_t (&words)[4]) {
    CheckAligned(to);
    HostBlock::Current().AccessGlobal(to, sizeof words, HostBlock::Way::kWrite);
    std::memcpy(to, words, sizeof words);
  }
  static void AtomicAdd(std::int64_t* to, std::int64_t x) { HostBlock::Current().Add(to, x); }
  static void AtomicAdd(float* to, float x) { HostBlock::Current().Add(to, x); }
  static void AtomicOr(std::int32_t* to, std::int32_t bits) { HostBlock::Current().Or(to, bits); }
  static constexpr bool kIsFrom100 = true;  // what such code does besides is tested, too
  static int Opaque(int x) { return x; }
  static int OpaqueBefore90(int x) { return x; }
  static void SettleBefore90() {}
  static std::uint32_t PackBf16(float low, float high) {
    return gpu::ToBf16(low) | static_cast<std::uint32_t>(gpu::ToBf16(high)) << 16;
  }
  static std::uint32_t PackFp16(float low, float high) {
    return gpu::ToFp16(low) | static_cast<std::uint32_t>(gpu::ToFp16(high)) << 16;
  }
  static float Exp2(float x) { return x < -126.0F ? 0.0F : std::exp2(x); }
  static double Exp(double x) { return std::exp(x); }
  static double Log(double x) { return std::log(x); }
  static double Log1p(double x) { return std::log1p(x); }
  static float Pow(float x, float y) { return std::pow(x, y); }
  static float RoundedProduct(float x, float y) { return x * y; }
  static float Reciprocal(float x) { return 1.0F / x; }
  static std::int64_t RoundedToInt(float x) {
    return std::fabs(x) < 0x1p63F ? std::llrint(x) : std::numeric_limits<std::int64_t>::min();
  }

  using TwoByteTile = Shared<std::uint16_t>;
  // A lane of a GPU names one row of 8 elements, and gets elements of all lanes' rows.
  template <typename Layout>
  LR_NOT_SEEN static void CountFragment(const TwoByteTile& tile, int row, int column) {
    HostBlock::Current().Count(HostBlock::Use::kFragments, tile.begin + 2 * Layout::At(row, column),
                               16);
  }
  LR_NOT_SEEN static std::uint32_t PairInRow(const TwoByteTile& tile, int at) {
    std::uint16_t x[2];
    tile.Read(at, 2, x);
    return x[0] | static_cast<std::uint32_t>(x[1]) << 16;
  }
  // Of a load that begins at row `first`, as GPUs before compute capability 9.0 find it.
  template <typename Layout>
  static int At(int first, int row, int column) {
    if constexpr (Layout::kSplits) return Layout::AtSplit(first, row - first, column);
    return Layout::At(row, column);
  }
  // Of two rows.
  template <typename Layout>
  LR_NOT_SEEN static std::uint32_t PairInColumn(const TwoByteTile& tile, int first, int row,
                                                int column) {
    std::uint16_t x[2];
    tile.Read(At<Layout>(first, row, column), 1, &x[0]);
    tile.Read(At<Layout>(first, row + 1, column), 1, &x[1]);
    return x[0] | static_cast<std::uint32_t>(x[1]) << 16;
  }
  template <typename Layout>
  static void LoadA(const TwoByteTile& tile, int row, int k, std::uint32_t (&a)[4]) {
    const int lane = Thread() % 32, g = lane / 4, t = lane % 4;
    CountFragment<Layout>(tile, row + lane % 16, k + lane / 16 * 8);
    for (int i = 0; i < 4; ++i) {
      a[i] = PairInRow(tile, At<Layout>(row, row + g + i % 2 * 8, k + 2 * t + i / 2 * 8));
    }
  }
  template <typename Layout>
  static void LoadATransposed(const TwoByteTile& tile, int k, int row, std::uint32_t (&a)[4]) {
    const int lane = Thread() % 32, g = lane / 4, t = lane % 4;
    CountFragment<Layout>(tile, k + lane % 8 + lane / 16 * 8, row + lane / 8 % 2 * 8);
    for (int i = 0; i < 4; ++i) {
      a[i] = PairInColumn<Layout>(tile, k, k + 2 * t + i / 2 * 8, row + g + i % 2 * 8);
    }
  }
  template <typename Layout>
  static void LoadB(const TwoByteTile& tile, int n, int k, std::uint32_t (&b)[2][2]) {
    const int lane = Thread() % 32, g = lane / 4, t = lane % 4;
    CountFragment<Layout>(tile, n + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * 8);
    for (int i = 0; i < 4; ++i) {
      b[i / 2][i % 2] = PairInRow(tile, At<Layout>(n, n + g + i / 2 * 8, k + 2 * t + i % 2 * 8));
    }
  }
  template <typename Layout>
  static void LoadBTransposed(const TwoByteTile& tile, int k, int n, std::uint32_t (&b)[2][2]) {
    const int lane = Thread() % 32, g = lane / 4, t = lane % 4;
    CountFragment<Layout>(tile, k + lane % 16, n + lane / 16 * 8);
    for (int i = 0; i < 4; ++i) {
      b[i / 2][i % 2] = PairInColumn<Layout>(tile, k, k + 2 * t + i % 2 * 8, n + g + i / 2 * 8);
    }
  }
  template <int kScalar, int kCount>
  static void Mma(float (*c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[kCount][2]) {
    Operands operands = {c, a, b};
    HostBlock::Current().OfWarp(HostBlock::Collective::kMma, &operands,
                                [](void* const* slots) { MultiplyWarp(slots, kScalar, kCount); });
  }
  static void QuadMax(float (&x)[2]) {
    HostBlock::Current().OfWarp(HostBlock::Collective::kQuadMax, x, [](void* const* slots) {
      OverQuads<float>(slots, [](float a, float b) { return std::fmax(a, b); });
    });
  }
  template <typename T>
  static void QuadSum(T (&x)[2]) {
    HostBlock::Current().OfWarp(HostBlock::Collective::kQuadSum, x, [](void* const* slots) {
      OverQuads<T>(slots, [](T a, T b) { return a + b; });
    });
  }
  static bool WarpAny(bool x) {
    int any = x ? 1 : 0;
    OverWarp(HostBlock::Collective::kAny, any, [](int a, int b) { return a | b; });
    return any != 0;
  }
  static int WarpCount(bool x) {
    int count = x ? 1 : 0;
    OverWarp(HostBlock::Collective::kCount, count, [](int a, int b) { return a + b; });
    return count;
  }
  static float WarpSum(float x) {
    OverWarp(HostBlock::Collective::kSum, x, [](float a, float b) { return a + b; });
    return x;
  }
  static int WarpMin(int x) {
    OverWarp(HostBlock::Collective::kMin, x, [](int a, int b) { return a < b ? a : b; });
    return x;
  }
  static int WarpMax(int x) {
    OverWarp(HostBlock::Collective::kMax, x, [](int a, int b) { return a > b ? a : b; });
    return x;
  }

 private:
  struct Operands {
    float (*c)[4];
    const std::uint32_t* a;
    const std::uint32_t (*b)[2];
  };
  static void MultiplyWarp(void* const* slots, int scalar, int count);
  static void CheckAligned(const void* data) {
    if (gpu::IsAligned(data)) return;
    HostBlock::Current().Fail("a vector in global memory that is not aligned");
  }

  // As a GPU's lanes exchange: with the lanes at 1, 2, ... from them.
  template <typename T, typename Op>
  static void OverQuads(void* const* slots, const Op& op) {
    for (int lane = 0; lane < HostBlock::kLanes; lane += 4) {
      for (int i = 0; i < 2; ++i) {
        const auto x = [&](int of) -> T& { return static_cast<T*>(slots[lane + of])[i]; };
        const T all = op(op(x(0), x(1)), op(x(2), x(3)));
        for (int of = 0; of < 4; ++of) x(of) = all;
      }
    }
  }
  template <typename T, typename Op>
  static void OverWarp(HostBlock::Collective collective, T& x, const Op& op) {
    HostBlock::Current().OfWarp(collective, &x, [&op](void* const* slots) {
      T all[HostBlock::kLanes];
      for (int lane = 0; lane < HostBlock::kLanes; ++lane)
        all[lane] = *static_cast<T*>(slots[lane]);
      for (int n = HostBlock::kLanes / 2; n > 0; n /= 2) {
        for (int lane = 0; lane < n; ++lane) all[lane] = op(all[lane], all[lane + n]);
      }
      for (int lane = 0; lane < HostBlock::kLanes; ++lane) *static_cast<T*>(slots[lane]) = all[0];
    });
  }
};

struct HostDevice {
  using Layer = HostLayer;
  int shared_bytes_max = 232'448;          // of a block: 227 KiB, as on compute capability 9.0
  const GlobalRegions* regions = nullptr;  // that a call views; null: any memory may be accessed

  int SharedBytesMax() const { return shared_bytes_max; }

  template <typename Kernel>
  const char* Launch(std::int64_t n_block, int shared_bytes,
                     const typename Kernel::Params& params) {
    if (shared_bytes > shared_bytes_max) return "too much shared memory";
    return HostBlock::Current().Run(
        n_block, shared_bytes,
        [](const void* of) { Kernel::Run(*static_cast<const typename Kernel::Params*>(of)); },
        &params, sizeof params, regions);
  }
};

// For the next call under test, with another order of blocks and threads, drawn from the commit's
// seed: bits must not depend on it.
HostDevice HostDeviceOfNextCall();
// The kernels of attention on such devices, the second one with backward in a single kernel where
// there is one, the third one with backward that adds in any order.
AttentionKernel HostKernel();
AttentionKernel HostKernelWithSingleBackward();
AttentionKernel HostKernelWithUnorderedBackward();
// Memory in which all bits are set: a NaN in every type.
WorkingMemory HostMemory();
// The bytes that HostMemory was asked for since the program began.
std::int64_t HostMemoryAsked();

}  // namespace longrun::testing

namespace longrun::gpu {

// So little that small problems have several parts of heads.
template <>
inline constexpr std::int64_t kHeldBytes<testing::HostLayer> = 1 << 16;

}  // namespace longrun::gpu
