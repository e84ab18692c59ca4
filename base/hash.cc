// SHA-256 (FIPS 180-4), CRC32C (RFC 3720, B.4) and FNV-1a. Uses the CPU's instructions for them if
// it has any, as decided once at run time; the plain paths give the same bits and are tested too.
#include "base/hash.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/str.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace longrun {
namespace {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
alignas(16) constexpr std::array<std::uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr std::size_t kBlock = 64;

void CompressPlain(std::uint32_t* state, const std::uint8_t* blocks, std::size_t n_blocks) {
  for (; n_blocks > 0; --n_blocks, blocks += kBlock) {
    std::array<std::uint32_t, 64> w{};
    for (std::size_t t = 0; t < 16; ++t) {
      const std::uint8_t* b = blocks + 4 * t;
      w[t] =
          std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
    }
    for (std::size_t t = 16; t < 64; ++t) {
      const std::uint32_t x = w[t - 15], y = w[t - 2];
      w[t] = w[t - 16] + w[t - 7] + (std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3)) +
             (std::rotr(y, 17) ^ std::rotr(y, 19) ^ (y >> 10));
    }
    std::uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    std::uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (std::size_t t = 0; t < 64; ++t) {
      const std::uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                               ((e & f) ^ (~e & g)) + kRound[t] + w[t];
      const std::uint32_t t2 =
          (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1;
      d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
  }
}

// The reflected polynomial 0x1edc6f41.
constexpr std::array<std::uint32_t, 256> MakeCrcTable() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = MakeCrcTable();

std::uint32_t CrcPlain(std::uint32_t crc, const std::uint8_t* data, std::size_t n_bytes) {
  for (std::size_t i = 0; i < n_bytes; ++i) crc = (crc >> 8) ^ kCrcTable[(crc ^ data[i]) & 0xff];
  return crc;
}

#if defined(__x86_64__)

// Four rounds per step: w[i] holds W[4 i .. 4 i + 3] modulo 16 words. The instructions expect the
// state as ABEF and CDGH.
__attribute__((target("sha,sse4.1,ssse3"))) void CompressCpu(std::uint32_t* state,
                                                             const std::uint8_t* blocks,
                                                             std::size_t n_blocks) {
  auto* const words = reinterpret_cast<__m128i*>(state);
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xb1);
  const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1b);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
  __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
  for (; n_blocks > 0; --n_blocks, blocks += kBlock) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 16; ++i) {
      __m128i& now = w[i % 4];
      if (i < 4) {
        const auto* source = reinterpret_cast<const __m128i*>(blocks + 16 * i);
        now = _mm_shuffle_epi8(_mm_loadu_si128(source), big_endian);
      } else {
        const __m128i last = w[(i + 3) % 4];
        now = _mm_add_epi32(_mm_sha256msg1_epu32(now, w[(i + 1) % 4]),
                            _mm_alignr_epi8(last, w[(i + 2) % 4], 4));
        now = _mm_sha256msg2_epu32(now, last);
      }
      const auto* round = reinterpret_cast<const __m128i*>(kRound.data() + 4 * i);
      const __m128i sum = _mm_add_epi32(now, _mm_load_si128(round));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(words + 1, _mm_alignr_epi8(dchg, feba, 8));
}

__attribute__((target("sse4.2"))) std::uint32_t CrcCpu(std::uint32_t crc, const std::uint8_t* data,
                                                       std::size_t n_bytes) {
  std::uint64_t wide = crc;
  for (; n_bytes >= 8; n_bytes -= 8, data += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<std::uint32_t>(wide);
  for (; n_bytes > 0; --n_bytes, ++data) crc = _mm_crc32_u8(crc, *data);
  return crc;
}

// g++ 12 has no __builtin_cpu_supports("sha"): CPUID leaf 7, EBX bit 29.
bool ReadCpuHasSha() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0 &&
         __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3");
}
bool ReadCpuHasCrc() { return __builtin_cpu_supports("sse4.2") != 0; }

#else  // no known instructions: only the plain paths

void CompressCpu(std::uint32_t* state, const std::uint8_t* blocks, std::size_t n_blocks) {
  CompressPlain(state, blocks, n_blocks);
}
std::uint32_t CrcCpu(std::uint32_t crc, const std::uint8_t* data, std::size_t n_bytes) {
  return CrcPlain(crc, data, n_bytes);
}
bool ReadCpuHasSha() { return false; }
bool ReadCpuHasCrc() { return false; }

#endif

}  // namespace

bool CpuHasSha() {
  static const bool has = ReadCpuHasSha();
  return has;
}

bool CpuHasCrc() {
  static const bool has = ReadCpuHasCrc();
  return has;
}

// The first 32 bits of the fractional parts of the square roots of the first 8 primes.
Sha256::Sha256(HashPath path)
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19},
      with_cpu_(path == HashPath::kBest && CpuHasSha()) {}

void Sha256::Compress(const std::uint8_t* blocks, std::size_t n_blocks) {
  (with_cpu_ ? CompressCpu : CompressPlain)(state_.data(), blocks, n_blocks);
}

void Sha256::Update(const void* data, std::size_t n_bytes) {
  if (n_bytes == 0) return;
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  const std::size_t n_held = n_bytes_ % kBlock;
  n_bytes_ += n_bytes;
  if (n_held > 0) {
    const std::size_t n_taken = std::min(n_bytes, kBlock - n_held);
    std::memcpy(block_.data() + n_held, bytes, n_taken);
    bytes += n_taken;
    n_bytes -= n_taken;
    if (n_held + n_taken < kBlock) return;
    Compress(block_.data(), 1);
  }
  Compress(bytes, n_bytes / kBlock);
  const std::size_t n_left = n_bytes % kBlock;
  if (n_left > 0) std::memcpy(block_.data(), bytes + (n_bytes - n_left), n_left);
}

std::array<std::uint8_t, 32> Sha256::Finish() {
  const std::uint64_t n_bits = n_bytes_ * 8;
  std::array<std::uint8_t, kBlock + 8> padding{0x80};
  // Padding: a one bit, zeros up to byte 56 of the last block, and the length in bits, big-endian.
  const std::size_t n_zeros = (kBlock + 56 - (n_bytes_ + 1) % kBlock) % kBlock;
  for (std::size_t i = 0; i < 8; ++i) {
    padding[1 + n_zeros + i] = static_cast<std::uint8_t>(n_bits >> (56 - 8 * i));
  }
  Update(padding.data(), 1 + n_zeros + 8);
  LR_CHECK(n_bytes_ % kBlock == 0);
  std::array<std::uint8_t, 32> digest{};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<std::uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

std::string Sha256::FinishHex() {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const std::uint8_t byte : Finish()) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::string Sha256Hex(std::string_view bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return sha.FinishHex();
}

Result<std::string> Sha256OfFile(const std::string& path) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return ErrnoStatus(errno, Str("cannot open ", path));
  return Sha256OfOpenFile(fd.get(), path, [] { return Status(); });
}

Result<std::string> Sha256OfOpenFile(int fd, const std::string& path,
                                     const std::function<Status()>& go_on) {
  Sha256 sha;
  std::vector<char> buffer(std::size_t{1} << 20);
  while (true) {
    RETURN_IF_ERROR(go_on());
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, Str("cannot read ", path));
    if (n == 0) return sha.FinishHex();
    sha.Update(buffer.data(), static_cast<std::size_t>(n));
  }
}

bool IsSha256Hex(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::uint32_t Crc32c(std::string_view bytes, HashPath path) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const bool with_cpu = path == HashPath::kBest && CpuHasCrc();
  return ~(with_cpu ? CrcCpu : CrcPlain)(~std::uint32_t{0}, data, bytes.size());
}

std::uint64_t Fnv1a64(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

}  // namespace longrun
