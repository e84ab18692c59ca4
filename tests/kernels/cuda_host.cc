#include "tests/kernels/cuda_host.h"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include <algorithm>
#include <iterator>
#include <new>
#include <numeric>

#include "base/check.h"
#include "base/random.h"
#include "tests/commit_seed.h"

namespace longrun::testing {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 10;
std::int64_t asked_bytes = 0;  // HostMemoryAsked

// ---- fibres ------------------------------------------------------------------------------------

// For x86-64 only. swapcontext would do for every processor, but it makes two system calls, and a
// warp's product switches 32 times.
extern "C" void LongrunSwitchStack(void** from, void* to);
asm(R"(
.text
.type LongrunSwitchStack, @function
LongrunSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size LongrunSwitchStack, .-LongrunSwitchStack
)");

struct Fibre {
  void* stack = nullptr;
  void Start(unsigned char* memory, void (*enter)()) {
    auto* top = reinterpret_cast<std::uintptr_t*>(memory + kStackBytes);
    *--top = 0;  // where a call would have left its return address
    *--top = reinterpret_cast<std::uintptr_t>(enter);
    for (int saved = 0; saved < 6; ++saved) *--top = 0;
    stack = top;
  }
  static void Switch(Fibre& from, Fibre& to) { LongrunSwitchStack(&from.stack, to.stack); }
};

// Of the block's threads, and of the caller of Run.
struct Fibres {
  Fibres() {
    void* const stacks = mmap(nullptr, kStackBytes * gpu::kThreads, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    LR_CHECK(stacks != MAP_FAILED);
    memory = static_cast<unsigned char*>(stacks);
  }
  // The functions of a failed block never return, so the address sanitizer still guards their
  // variables when the stacks are used again.
  void ForgetFrames() const {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(memory, kStackBytes * gpu::kThreads);
#endif
  }
  unsigned char* memory = nullptr;
  Fibre threads[gpu::kThreads];
  Fibre caller;
};

Fibres& TheFibres() {
  static Fibres fibres;
  return fibres;
}

std::vector<std::int64_t> OrderOfBlocks(std::int64_t n_block, std::uint64_t seed) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n_block));
  std::iota(order.begin(), order.end(), 0);
  SeededRandom random(seed);
  switch (random.Below(4)) {
    case 0:
      break;
    case 1:
      std::ranges::reverse(order);
      break;
    default:
      for (std::size_t at = order.size(); at > 1; --at) {
        std::swap(order[at - 1], order[static_cast<std::size_t>(random.Below(at))]);
      }
  }
  return order;
}

}  // namespace

// ---- blocks ------------------------------------------------------------------------------------

const char* HostBlock::Run(std::int64_t n_block, int shared_bytes, Kernel kernel,
                           const void* params, std::size_t params_bytes,
                           const GlobalRegions* regions) {
  if (is_idle_) return nullptr;
  regions_ = regions;
  kernel_ = kernel;
  params_ = params;
  params_bytes_ = params_bytes;
  ++launch_;
  n_globals_ = 0;
  if (error_ != nullptr) TheFibres().ForgetFrames();
  error_ = nullptr;
  shared_.resize(static_cast<std::size_t>(shared_bytes));
  const std::size_t n_piece = shared_.size() / kPieceBytes + 1;
  quiet_.resize(std::max(quiet_.size(), n_piece));
  shadows_.resize(std::max(shadows_.size(), n_piece * kPieceBytes / 4));
  for (const std::int64_t block : OrderOfBlocks(n_block, seed_)) {
    block_ = block;
    RunBlock();
    if (error_ != nullptr) break;
  }
  return error_;
}

void HostBlock::RunBlock() {
  std::fill(shared_.begin(), shared_.end(), static_cast<unsigned char>(0xff));
  for (Warp& warp : warps_) warp = {};
  for (WarpAccesses& accesses : accesses_) accesses = {};
  for (Thread& thread : threads_) {
    for (const PendingCopy& copy : thread.copies) SetPending(copy.at, false);
    thread.copies.clear();
    thread.n_group = 0;
  }
  n_at_barrier_ = n_finished_ = n_ready_ = first_ready_ = 0;
  ++epoch_;
  Fibres& fibres = TheFibres();
  const auto first =
      static_cast<int>(Sm64(seed_ + static_cast<std::uint64_t>(block_)) % gpu::kThreads);
  for (int at = 0; at < gpu::kThreads; ++at) {
    const int thread = (first + at * 37) % gpu::kThreads;  // 37 is odd: all threads
    fibres.threads[thread].Start(fibres.memory + kStackBytes * static_cast<std::size_t>(thread),
                                 &Enter);
    PushReady(thread);
  }
  thread_ = PopReady();
  stacks_ = reinterpret_cast<std::uintptr_t>(fibres.memory);
  stacks_bytes_ = kStackBytes * gpu::kThreads;
  is_running_ = true;
  Fibre::Switch(fibres.caller, fibres.threads[thread_]);
  is_running_ = false;
}

void HostBlock::Enter() {
  HostBlock& block = Current();
  block.kernel_(block.params_);
  if (!block.threads_[block.thread_].copies.empty()) {
    block.Fail("a thread ends before its copies have arrived");
  }
  if (++block.n_finished_ == gpu::kThreads) {
    for (int warp = 0; warp < kWarps; ++warp) block.CountTurns(warp);
    Fibre::Switch(TheFibres().threads[block.thread_], TheFibres().caller);
  }
  block.Wait();
}

void HostBlock::Wait() {
  if (n_ready_ == 0) {
    Fail(n_at_barrier_ > 0 ? "a barrier that some threads of the block do not reach"
                           : "a warp whose lanes do not all reach a product or an exchange");
  }
  const int from = thread_;
  thread_ = PopReady();
  if (thread_ != from) Fibre::Switch(TheFibres().threads[from], TheFibres().threads[thread_]);
}

void HostBlock::Fail(const char* error) {
  error_ = error;
  is_noting_ = false;
  // The threads of a failed block never run again.
  Fibre::Switch(TheFibres().threads[thread_], TheFibres().caller);
}

void HostBlock::Barrier() {
  if (++n_at_barrier_ < gpu::kThreads) {
    Wait();
    return;
  }
  n_at_barrier_ = 0;
  ++epoch_;
  for (int warp = 0; warp < kWarps; ++warp) CountTurns(warp);
  for (int thread = 0; thread < gpu::kThreads; ++thread) {
    if (thread != thread_) PushReady(thread);
  }
}

void HostBlock::ReleaseWarp(Warp& warp) {
  warp.n_waiting = 0;
  // A product exchanges registers: only a barrier orders accesses to memory.
  if (warp.collective == Collective::kSync) ++warp.epoch;
  CountTurns(thread_ / kLanes);
  const int first = thread_ / kLanes * kLanes;
  for (int thread = first; thread < first + kLanes; ++thread) {
    if (thread != thread_) PushReady(thread);
  }
}

void HostBlock::PushReady(int thread) {
  ready_[(first_ready_ + n_ready_) % gpu::kThreads] = thread;
  ++n_ready_;
}

int HostBlock::PopReady() {
  const int thread = ready_[first_ready_];
  first_ready_ = (first_ready_ + 1) % gpu::kThreads;
  --n_ready_;
  return thread;
}

// ---- copies ------------------------------------------------------------------------------------

void HostBlock::Copy(const void* from, int at) {
  // It may write at once.
  Access(at, 16, true);
  if (from != nullptr) AccessGlobal(from, 16, Way::kRead);
  Thread& thread = threads_[thread_];
  PendingCopy copy = {.from = from, .at = at, .group = thread.n_group};
  if (from != nullptr) std::memcpy(copy.bytes, from, sizeof copy.bytes);
  thread.copies.push_back(copy);
  std::memset(shared() + at, 0xff, sizeof copy.bytes);
  SetPending(at, true);
}

void HostBlock::WaitCopies(int n_newest) {
  Thread& thread = threads_[thread_];
  std::size_t n_kept = 0;
  for (const PendingCopy& copy : thread.copies) {
    if (copy.group >= thread.n_group - n_newest) {
      thread.copies[n_kept++] = copy;
      continue;
    }
    if (copy.from != nullptr && std::memcmp(copy.from, copy.bytes, sizeof copy.bytes) != 0) {
      Fail("the source of a copy has changed before the copy arrived");
    }
    SetPending(copy.at, false);
    Access(copy.at, 16, true);
    std::memcpy(shared() + copy.at, copy.bytes, sizeof copy.bytes);
  }
  thread.copies.resize(n_kept);
}

// ---- global memory -----------------------------------------------------------------------------

bool HostBlock::IsOwnMemory(std::uintptr_t at) const {
  const auto lies_in = [at](const void* begin, std::size_t n) {
    return at - reinterpret_cast<std::uintptr_t>(begin) < n;
  };
  return lies_in(params_, params_bytes_) || lies_in(shared_.data(), shared_.size()) ||
         lies_in(shadows_.data(), shadows_.size() * sizeof shadows_[0]) ||
         lies_in(quiet_.data(), quiet_.size() * sizeof quiet_[0]);
}

HostBlock::GlobalLine& HostBlock::LineOf(std::uintptr_t line) {
  if (2 * n_globals_ >= lines_.size()) {
    std::vector<GlobalLine> old(std::max<std::size_t>(1024, 2 * lines_.size()));
    old.swap(lines_);
    for (const GlobalLine& of_old : old) {
      if (of_old.launch == launch_) PlaceOf(of_old.line) = of_old;
    }
  }
  GlobalLine& found = PlaceOf(line);
  if (found.launch == launch_) return found;
  if (n_globals_ == globals_.size()) globals_.emplace_back();
  globals_[n_globals_] = GlobalShadow();
  found = {.line = line, .launch = launch_, .shadow = n_globals_++};
  return found;
}

HostBlock::GlobalLine& HostBlock::PlaceOf(std::uintptr_t line) {
  const std::size_t mask = lines_.size() - 1;
  std::size_t at = Sm64(line) & mask;
  while (lines_[at].launch == launch_ && lines_[at].line != line) at = (at + 1) & mask;
  return lines_[at];
}

std::int64_t HostBlock::QuietEpoch(const GlobalShadow& shadow) const {
  std::int64_t epoch = GlobalLine::kAll;
  for (int part = 0; part < GlobalShadow::kParts; ++part) {
    if (shadow.writes[part].block != GlobalAccesses::kNone) return 0;
    if (shadow.atomics[part].block != GlobalAccesses::kNone) return 0;
    const GlobalAccesses& reads = shadow.reads[part];
    if (reads.block == GlobalAccesses::kSeveral) continue;
    if (reads.block != block_ || reads.epoch != epoch_) return 0;
    if (reads.since.warp != Accesses::kSeveral) return 0;
    epoch = epoch_;
  }
  return epoch;
}

void HostBlock::AddWorkingMemory(const void* memory, std::int64_t n) {
  working_memory_[reinterpret_cast<std::uintptr_t>(memory)] = n;
}

void HostBlock::ForgetWorkingMemory(const void* memory) {
  working_memory_.erase(reinterpret_cast<std::uintptr_t>(memory));
}

void HostBlock::CheckRegion(std::uintptr_t at, std::int64_t n) {
  if (regions_ == nullptr || regions_->Contain(at, n)) return;
  const auto after = working_memory_.upper_bound(at);
  if (after != working_memory_.begin()) {
    const auto& [begin, n_byte] = *std::prev(after);
    if (static_cast<std::int64_t>(at - begin) + n <= n_byte) return;
  }
  Fail("an access to memory that the call neither views nor asked for");
}

void HostBlock::CheckGlobal(const GlobalAccesses& others) {
  if (others.block == GlobalAccesses::kNone) return;
  if (others.block != block_) {
    Fail("two blocks access the same element of global memory, and one of them writes it");
  }
  if (others.epoch == epoch_ && others.since.Races(thread_, warps_[thread_ / kLanes].epoch)) {
    Fail("two threads access the same element of global memory without a barrier between them");
  }
}

void HostBlock::NoteGlobal(GlobalAccesses& own) {
  if (own.block == GlobalAccesses::kNone) own.block = block_;
  if (own.block != block_) own.block = GlobalAccesses::kSeveral;
  if (own.epoch != epoch_) own.since = Accesses();
  own.epoch = epoch_;
  own.since.Add(thread_, warps_[thread_ / kLanes].epoch);
}

void HostBlock::NoteGlobalAccess(std::uintptr_t begin, int n, Way way) {
  if (is_noting_) return;  // the library's functions may be compiled so that they call this
  is_noting_ = true;
  if (!IsOwnMemory(begin)) NoteElements(begin, n, way);
  is_noting_ = false;
}

void HostBlock::NoteElements(std::uintptr_t begin, int n, Way way) {
  constexpr int kElementBytesMax = 8;
  // Several elements must lie in one region; that each of them may be read is not enough.
  if (n > kElementBytesMax) CheckRegion(begin, n);
  for (std::uintptr_t at = begin; at < begin + static_cast<std::uintptr_t>(n);) {
    GlobalLine& line = LineOf(at / 16);
    const std::uintptr_t end = std::min(begin + static_cast<std::uintptr_t>(n), (at / 16 + 1) * 16);
    if (way == Way::kRead && (line.quiet_epoch == epoch_ || line.quiet_epoch == GlobalLine::kAll)) {
      at = end;
      continue;
    }
    CheckRegion(at, static_cast<std::int64_t>(end - at));
    GlobalShadow& shadow = globals_[line.shadow];
    for (; at < end; at = at / 2 * 2 + 2) {
      const std::size_t part = at % 16 / 2;
      if (way != Way::kRead) CheckGlobal(shadow.reads[part]);
      if (way != Way::kAtomic) CheckGlobal(shadow.atomics[part]);
      CheckGlobal(shadow.writes[part]);
      NoteGlobal((way == Way::kRead    ? shadow.reads
                  : way == Way::kWrite ? shadow.writes
                                       : shadow.atomics)[part]);
    }
    line.quiet_epoch = way == Way::kRead ? QuietEpoch(shadow) : 0;
  }
}

void HostBlock::Add(std::int64_t* to, std::int64_t x) {
  AccessGlobal(to, sizeof *to, Way::kAtomic);
  *to = static_cast<std::int64_t>(static_cast<std::uint64_t>(*to) + static_cast<std::uint64_t>(x));
}

void HostBlock::Add(float* to, float x) {
  AccessGlobal(to, sizeof *to, Way::kAtomic);
  *to += x;
}

void HostBlock::Or(std::int32_t* to, std::int32_t bits) {
  AccessGlobal(to, sizeof *to, Way::kAtomic);
  *to |= bits;
}

// ---- bank conflicts ----------------------------------------------------------------------------

void HostBlock::AddAccess(Use use, int at, int n) {
  WarpAccesses& warp = accesses_[thread_ / kLanes];
  const int lane = thread_ % kLanes;
  const std::size_t number = warp.n_of_lane[lane]++;
  if (number == warp.all.size()) warp.all.push_back({.use = use, .n = n});
  WarpAccess& access = warp.all[number];
  access.accesses[lane] = access.use == use && access.n == n;
  access.at[lane] = at;
}

void HostBlock::CountTurns(int warp) {
  constexpr int kBanks = 32;
  WarpAccesses& accesses = accesses_[warp];
  for (const WarpAccess& access : accesses.all) {
    std::int64_t& turns = access.use == Use::kFragments ? conflicts_.fragments
                          : access.use == Use::kCopies  ? conflicts_.copies
                                                        : conflicts_.numbers;
    if (access.use == Use::kFragments) ++conflicts_.n_fragment;
    const int n_lane = std::min(kLanes, 4 * kBanks / access.n);  // that are served at once
    for (int first = 0; first < kLanes; first += n_lane) {
      std::vector<int> words[kBanks];
      for (int lane = first; lane < first + n_lane; ++lane) {
        if (!access.accesses[lane]) continue;
        for (int word = access.at[lane] / 4; word < (access.at[lane] + access.n + 3) / 4; ++word) {
          std::vector<int>& of_bank = words[word % kBanks];
          if (std::find(of_bank.begin(), of_bank.end(), word) == of_bank.end()) {
            of_bank.push_back(word);
          }
        }
      }
      std::size_t n_turn = 1;
      for (const std::vector<int>& of_bank : words) n_turn = std::max(n_turn, of_bank.size());
      turns += static_cast<std::int64_t>(n_turn) - 1;
    }
  }
  accesses.all.clear();
  for (std::size_t& n : accesses.n_of_lane) n = 0;
}

// ---- products ----------------------------------------------------------------------------------

void HostLayer::MultiplyWarp(void* const* slots, int scalar, int count) {
  const auto operands = [&](int lane) -> const Operands& {
    return *static_cast<const Operands*>(slots[lane]);
  };
  const auto low = [scalar](std::uint32_t pair) {
    return gpu::FromTwoBytes(scalar, static_cast<std::uint16_t>(pair & 0xffffU));
  };
  const auto high = [scalar](std::uint32_t pair) {
    return gpu::FromTwoBytes(scalar, static_cast<std::uint16_t>(pair >> 16));
  };
  float a[16][16];
  for (int lane = 0; lane < HostBlock::kLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t pair = operands(lane).a[i];
      a[g + i % 2 * 8][2 * t + i / 2 * 8] = low(pair);
      a[g + i % 2 * 8][2 * t + i / 2 * 8 + 1] = high(pair);
    }
  }
  for (int n = 0; n < count; ++n) {
    float b[16][8];
    for (int lane = 0; lane < HostBlock::kLanes; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 2; ++i) {
        const std::uint32_t pair = operands(lane).b[n][i];
        b[2 * t + i * 8][g] = low(pair);
        b[2 * t + i * 8 + 1][g] = high(pair);
      }
    }
    float c[16][8];
    for (int lane = 0; lane < HostBlock::kLanes; ++lane) {
      for (int e = 0; e < 4; ++e) {
        c[lane / 4 + e / 2 * 8][lane % 4 * 2 + e % 2] = operands(lane).c[n][e];
      }
    }
    for (int row = 0; row < 16; ++row) {
      for (int k = 0; k < 16; ++k) {
        for (int column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
      }
    }
    for (int lane = 0; lane < HostBlock::kLanes; ++lane) {
      for (int e = 0; e < 4; ++e) {
        operands(lane).c[n][e] = c[lane / 4 + e / 2 * 8][lane % 4 * 2 + e % 2];
      }
    }
  }
}

// ---- calls -------------------------------------------------------------------------------------

HostDevice HostDeviceOfNextCall() {
  static std::uint64_t n_call = 0;
  HostBlock::Current().SetSeed(CommitSeed() + ++n_call);
  return {};
}

WorkingMemory HostMemory() {
  return {.allocate = [](void*, std::int64_t n_byte, void*) -> void* {
            asked_bytes += n_byte;
            const auto n = static_cast<std::size_t>(n_byte);
            void* const memory = ::operator new(n);
            std::memset(memory, 0xff, n);
            HostBlock::Current().AddWorkingMemory(memory, n_byte);
            return memory;
          },
          .release =
              [](void*, void* address, void*) {
                HostBlock::Current().ForgetWorkingMemory(address);
                ::operator delete(address);
              }};
}

std::int64_t HostMemoryAsked() { return asked_bytes; }

}  // namespace longrun::testing
