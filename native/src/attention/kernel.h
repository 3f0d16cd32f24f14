// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "attention/inputs.h"
#include "base/cpu.h"
#include "gatun/attention.h"

namespace gatun::attention {

inline constexpr int kTileRows = 64;     // rows of q that go through the keys together
inline constexpr int kPanelKeys = 16;    // keys that are packed side by side
inline constexpr int kChunkPanels = 16;  // panels between two looks at the rows' maxima
inline constexpr int kUnitKeys = 64;     // keys that are packed, and quantized, together
inline constexpr int kUnitPanels = kUnitKeys / kPanelKeys;
inline constexpr int kGroupColumns = 64;  // of v, whose products are summed in registers

struct Job {
  gatun_attention_params p;
  Inputs in;
  void* out;
  float* lse;
};

// All that one head of k and v has to do with: the rows of q of its query heads, of one batch item.
struct Head {
  int64_t batch_item, kv_head;
  int64_t query_length, kv_length;  // of the item
  int64_t first_query, first_key;   // of the item, among the rows of q and of k
};

// Rows of q that see the same blocks: of a query block, or any if there is no mask.
struct Tile {
  int64_t head;       // of q
  int64_t row;        // the first one within the item
  int32_t rows;       // 1..kTileRows
  int64_t mask_row;   // or -1 without a mask
  int64_t block_row;  // of the first row within its query block
};

struct Kernel {
  // What q . k and the exponentials . v are computed in; for a person.
  const char *key_products, *value_products;
  // Bytes of scratch for heads of up to kv_length keys; 64-byte aligned.
  int64_t (*scratch_bytes)(const gatun_attention_params& p, int64_t kv_length);
  // Tiles [begin, end) of a head. `fresh`: the scratch holds nothing of this head yet.
  void (*run)(const Job& job, const Head& head, int64_t begin, int64_t end, bool fresh, uint8_t* scratch);
};

// Tiles of one query head for an item of this length.
inline int64_t tiles_of_block(const gatun_attention_params& p) { return p.query_block > kTileRows ? 2 : 1; }
inline int64_t queries_of_tile(const gatun_attention_params& p) {
  return p.query_block == 0 ? kTileRows : p.query_block / tiles_of_block(p);
}
inline int64_t tiles_of_head(const gatun_attention_params& p, int64_t query_length) {
  const int64_t block = queries_of_tile(p) * tiles_of_block(p);
  const int64_t blocks = query_length == 0 ? 0 : (query_length - 1) / block + 1;
  return blocks * tiles_of_block(p);
}

// Tile `index` of a head, which its query heads' tiles follow one another in; it may have no rows.
inline Tile tile_of(const gatun_attention_params& p, const Head& head, int64_t index) {
  const int64_t tiles = tiles_of_head(p, head.query_length), parts = tiles_of_block(p);
  const int64_t part = index % tiles % parts, block = index % tiles / parts;
  const int64_t size = queries_of_tile(p), block_rows = size * parts, first = block * block_rows;
  const int64_t end = first + block_rows < head.query_length ? first + block_rows : head.query_length;
  Tile tile;
  tile.head = head.kv_head * (p.query_heads / p.kv_heads) + index / tiles;
  tile.block_row = part * size;
  tile.row = first + tile.block_row;
  tile.rows = static_cast<int32_t>(size < end - tile.row ? size : end - tile.row);
  tile.mask_row = -1;
  if (p.query_block != 0) {
    const int64_t item = p.mask_batch == 1 ? 0 : head.batch_item, h = p.mask_heads == 1 ? 0 : tile.head;
    tile.mask_row = (item * p.mask_heads + h) * p.query_blocks + block;
  }
  return tile;
}

#define GATUN_ATTENTION_KERNEL(name, isa, dtype, mode) \
  }                                                    \
  namespace gatun::isa {                               \
  extern const attention::Kernel name;                 \
  }                                                    \
  namespace gatun::attention {
#include "attention/kernels.inc"
#undef GATUN_ATTENTION_KERNEL

}  // namespace gatun::attention
