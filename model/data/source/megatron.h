// The index of a Megatron dataset (PREFIX.idx beside PREFIX.bin):
//
//   "MMIDIDX\0\0"   u64 version 1   u8 type of the ids   u64 n_sequences
//   u64 n_boundaries                    (not in fairseq's variant, which is recognised by
//                                       the file's size)
//   i32 length[n_sequences]             in ids
//   i64 pointer[n_sequences]            in bytes of PREFIX.bin
//   i64 boundary[n_boundaries]          document i is the sequences [boundary[i], boundary[i + 1])
//
// Without boundaries each sequence is a document. Types: 1 u8, 2 i8, 3 i16, 4 i32, 5 i64, 8 u16; 6
// and 7 are floating-point types, which cannot be ids.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"
#include "model/data/source/ids.h"

namespace longrun {

struct MegatronIndex {
  IdType type = IdType::kU16;
  std::int64_t n_sequences = 0;
  std::int64_t n_boundaries = 0;                             // 0 in fairseq's variant
  std::span<const std::byte> lengths, pointers, boundaries;  // not aligned

  std::int32_t Length(std::int64_t sequence) const;
  std::int64_t Pointer(std::int64_t sequence) const;
  std::int64_t Boundary(std::int64_t i) const;
};

// Checks that every sequence lies within the `bin_bytes` of the data, and that boundaries begin
// with 0, never decrease and end with n_sequences. kDataLoss names the field, the value found and
// the value expected.
Result<MegatronIndex> ParseMegatronIndex(std::span<const std::byte> idx, std::int64_t bin_bytes);

}  // namespace longrun
