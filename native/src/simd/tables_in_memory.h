// Tables of 256 entries as tables.h has them, for ISAs without an instruction that permutes bytes of two registers.
// Included by their files, behind what it uses.
#pragma once

namespace gatun::GATUN_ISA {

struct FloatTable {
  const float* entries;
};
GATUN_INLINE FloatTable load_float_table(const float* p) { return {p}; }
GATUN_INLINE void lookup(FloatTable table, Bytes index, F32 (&out)[4]) {
  uint8_t bytes[4 * kLanes];
  store_bytes(bytes, index);
  for (int j = 0; j < 4; ++j) out[j] = gather_f32(table.entries, load_u8_i32(bytes + j * kLanes));
}
GATUN_INLINE void lookup_each4(FloatTable table, Bytes index, F32 (&out)[4]) {
  out[0] = gather_f32(table.entries, byte_lane<0>(index));
  out[1] = gather_f32(table.entries, byte_lane<1>(index));
  out[2] = gather_f32(table.entries, byte_lane<2>(index));
  out[3] = gather_f32(table.entries, byte_lane<3>(index));
}

struct ByteTable {
  const uint8_t* entries;
};
GATUN_INLINE ByteTable load_byte_table(const uint8_t* p) { return {p}; }
GATUN_INLINE Bytes lookup(ByteTable table, Bytes index) {
  uint8_t bytes[4 * kLanes];
  store_bytes(bytes, index);
  for (uint8_t& byte : bytes) byte = table.entries[byte];
  return load_bytes(bytes);
}

}  // namespace gatun::GATUN_ISA
