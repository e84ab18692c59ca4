// Random numbers as a pure function of a key: sm64 streams for data order (SplitMix64),
// Philox4x32-10 for weights and dropout (Salmon et al. 2011). Also ULIDs for attempts.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace longrun {

// One step of SplitMix64 as a hash. Sm64(0) = e220a8397b1dcdaf.
std::uint64_t Sm64(std::uint64_t x);
// The key of a stream: Sm64(Sm64(Sm64(seed) ^ epoch) ^ stream).
std::uint64_t StreamKey(std::uint64_t seed, std::uint64_t epoch, std::uint64_t stream);

// The four 32-bit words of counter block `counter` under `key`, after 10 rounds.
std::array<std::uint32_t, 4> Philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);
// The same with the counter as two halves of 64 bits and the key as 64 bits; low words first.
std::array<std::uint32_t, 4> Philox4x32(std::uint64_t counter_low, std::uint64_t counter_high,
                                        std::uint64_t key);

// A sequence of numbers from a seed (Sm64 of a counter): for the simulator and back-off jitter.
class SeededRandom {
 public:
  explicit SeededRandom(std::uint64_t seed) : seed_(Sm64(seed)) {}
  std::uint64_t Next() { return Sm64(seed_ ^ Sm64(++n_drawn_)); }
  std::uint64_t Below(std::uint64_t bound);  // uniform in [0, bound), bound > 0
  double Uniform();                          // uniform in [0, 1)
  bool Chance(double probability) { return Uniform() < probability; }
  std::uint64_t n_drawn() const { return n_drawn_; }

 private:
  std::uint64_t seed_ = 0;
  std::uint64_t n_drawn_ = 0;
};

// Seed material from the operating system.
std::uint64_t EntropySeed();

// 26 characters of Crockford base 32: 48 bits of time, 80 of randomness.
std::string MakeUlid(std::int64_t wall_ms, SeededRandom& random);
bool IsUlid(std::string_view text);

}  // namespace longrun
