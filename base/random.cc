// SplitMix64 (Steele, Lea, Flood 2014), Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011) and ULIDs.
#include "base/random.h"

#include <sys/random.h>

#include "base/check.h"
#include "base/ulid.h"

namespace longrun {
namespace {

// Crockford's base 32: no I, L, O, U.
constexpr std::string_view kBase32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kUlidLength = 26;

}  // namespace

std::uint64_t Sm64(std::uint64_t x) {
  std::uint64_t z = x + 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::uint64_t StreamKey(std::uint64_t seed, std::uint64_t epoch, std::uint64_t stream) {
  return Sm64(Sm64(Sm64(seed) ^ epoch) ^ stream);
}

std::array<std::uint32_t, 4> Philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kM0 = 0xd2511f53, kM1 = 0xcd9e8d57;
  constexpr std::uint32_t kWeyl0 = 0x9e3779b9, kWeyl1 = 0xbb67ae85;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = kM0 * counter[0], p1 = kM1 * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

std::array<std::uint32_t, 4> Philox4x32(std::uint64_t counter_low, std::uint64_t counter_high,
                                        std::uint64_t key) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  return Philox4x32({low(counter_low), high(counter_low), low(counter_high), high(counter_high)},
                    {low(key), high(key)});
}

std::uint64_t SeededRandom::Below(std::uint64_t bound) {
  LR_CHECK(bound > 0);
  // 2^64 is not a multiple of the bound: the first 2^64 mod bound values would
  // occur once too often.
  const std::uint64_t n_refused = (0 - bound) % bound;
  for (;;) {
    const std::uint64_t drawn = Next();
    if (drawn >= n_refused) return drawn % bound;
  }
}

double SeededRandom::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

std::uint64_t EntropySeed() {
  std::uint64_t seed = 0;
  LR_CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);  // never truncated for 8 bytes
  return seed;
}

std::string MakeUlid(std::int64_t wall_ms, SeededRandom& random) {
  LR_CHECK(wall_ms >= 0 && wall_ms < std::int64_t{1} << 48);
  std::string ulid(kUlidLength, '0');
  auto time = static_cast<std::uint64_t>(wall_ms);
  for (std::size_t i = 10; i-- > 0; time >>= 5) ulid[i] = kBase32[time & 31];
  for (const std::size_t begin : {std::size_t{10}, std::size_t{18}}) {  // twice 40 bits
    std::uint64_t bits = random.Next();
    for (std::size_t i = 0; i < 8; ++i, bits >>= 5) ulid[begin + i] = kBase32[bits & 31];
  }
  return ulid;
}

bool IsUlid(std::string_view text) {
  return text.size() == kUlidLength && text[0] <= '7' &&  // 26 digits have 130 bits, a ULID 128
         text.find_first_not_of(kBase32) == std::string_view::npos;
}

std::optional<std::int64_t> UlidWallMs(std::string_view ulid) {
  if (!IsUlid(ulid)) return std::nullopt;
  std::int64_t wall_ms = 0;
  for (const char digit : ulid.substr(0, 10)) {
    wall_ms = wall_ms << 5 | static_cast<std::int64_t>(kBase32.find(digit));
  }
  return wall_ms;
}

}  // namespace longrun
