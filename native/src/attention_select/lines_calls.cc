// The C entry points of lines and budgets.
#include <cstring>

#include "attention/check.h"
#include "attention_select/lines.h"
#include "attention_select/selection.h"
#include "base/status.h"

namespace gatun::attention_select {
namespace {

// Calls of(item, head, products) for each head; false once it returned false.
template <class Of>
bool for_each_head_with_keys(const Call& call, Of of) {
  const int64_t rows = std::min(call.s.last_queries, call.p.query_length);
  const double cost = static_cast<double>(call.heads() * rows) * static_cast<double>(call.p.kv_length) *
                      static_cast<double>(call.p.head_size);
  return for_each_unit(call, call.p.kv_heads, cost, [&](const Unit& unit, const Item& item) {
    Products products(call);
    if (!products.take_keys(item, unit.keys_of, 1)) return false;
    for (int64_t i = unit.part; i < call.ratio(); i += unit.parts) {
      if (!of(item, unit.keys_of * call.ratio() + i, products)) return false;
    }
    return true;
  });
}

// Where the sums of a head of the item begin in columns and diagonals.
int64_t first_sum(const Call& call, const Item& item, int64_t head) {
  return ((call.ragged() ? 0 : item.batch * call.p.query_heads) + head) * call.p.kv_length + item.k_first;
}

// The maps of all heads; columns and diagonals may be null.
int32_t draw(const Call& call, const float* columns, const float* diagonals, uint8_t* map) {
  const double cost = static_cast<double>(call.heads()) * (static_cast<double>(call.p.kv_length) * 16);
  const bool good = for_each_unit(call, call.p.query_heads, cost, [&](const Unit& unit, const Item& item) {
    if (unit.part != 0) return true;  // heads are not divided
    uint64_t* const order = get<uint64_t>(thread_memory().order, item.keys());
    if (order == nullptr) return false;
    const int64_t head = unit.keys_of, first = first_sum(call, item, head);
    draw_lines(call, item, columns == nullptr ? nullptr : columns + first,
               diagonals == nullptr ? nullptr : diagonals + first, order, map + call.map_row(item.batch, head, 0));
    return true;
  });
  return good ? GATUN_OK : no_memory();
}

}  // namespace

int32_t select_lines(const Call& call, uint8_t* map) {
  const Selection& s = call.s;
  const bool forced = s.verticals <= s.forced_verticals && s.slashes <= s.forced_slashes;
  if (forced) return draw(call, nullptr, nullptr, map);
  const bool good = for_each_head_with_keys(call, [&](const Item& item, int64_t head, Products& products) {
    float* const columns = get<float>(thread_memory().scores, 2 * item.keys());
    uint64_t* const order = get<uint64_t>(thread_memory().order, item.keys());
    if (columns == nullptr || order == nullptr) return false;
    if (!sum_lines(call, item, head, products, columns, columns + item.keys())) return false;
    draw_lines(call, item, columns, columns + item.keys(), order, map + call.map_row(item.batch, head, 0));
    return true;
  });
  return good ? GATUN_OK : no_memory();
}

int32_t lines(Tier limit, const Params* params, const Selection* selection, const void* q, const void* k,
              const int64_t* q_offsets, const int64_t* kv_offsets, float* columns, float* diagonals) {
  const Arguments a = {params, selection, q, k, q_offsets, kv_offsets, nullptr, nullptr};
  Call call;
  GATUN_TRY(read_structs(a, &call));
  int64_t count;
  GATUN_TRY(check_sums(call.p, q_offsets != nullptr, &count));
  const Buffer outputs[] = {output_of("columns", columns, count, 4), output_of("diagonals", diagonals, count, 4)};
  GATUN_TRY(check_call(limit, a, kLines, outputs, 2, &call));
  if (count == 0) return GATUN_OK;
  if (call.ragged()) {  // keys between items
    std::fill(columns, columns + count, 0.0f);
    std::fill(diagonals, diagonals + count, 0.0f);
  }
  const bool good = for_each_head_with_keys(call, [&](const Item& item, int64_t head, Products& products) {
    const int64_t first = first_sum(call, item, head);
    return sum_lines(call, item, head, products, columns + first, diagonals + first);
  });
  return good ? GATUN_OK : no_memory();
}

int32_t vertical_slash(const Params* params, const Selection* selection, const int64_t* q_offsets,
                       const int64_t* kv_offsets, const float* columns, const float* diagonals, uint8_t* map) {
  const Arguments a = {params, selection, nullptr, nullptr, q_offsets, kv_offsets, nullptr, nullptr};
  Call call;
  GATUN_TRY(read_structs(a, &call));
  GATUN_TRY(check_both_lines(columns, diagonals));
  int64_t count, sums;
  GATUN_TRY(check_map_size(call, "map", &count));
  GATUN_TRY(check_sums(call.p, q_offsets != nullptr, &sums));
  if (columns == nullptr) sums = 0;
  Buffer buffers[] = {output_of("map", map, count, 1),
                      {"columns", columns, 1, sums, 0, 4, false},
                      {"diagonals", diagonals, 1, sums, 0, 4, false}};
  GATUN_TRY(check_call(Tier::scalar, a, kDraw, buffers, 3, &call));
  return count == 0 ? GATUN_OK : draw(call, columns, diagonals, map);
}

int32_t budgets(Tier limit, const Params* params, const Selection* selection, const void* q, const void* k,
                const int64_t* q_offsets, const int64_t* kv_offsets, float* budgets) {
  const Arguments a = {params, selection, q, k, q_offsets, kv_offsets, nullptr, nullptr};
  Call call;
  GATUN_TRY(read_structs(a, &call));
  int64_t count;
  GATUN_TRY(check_product(call.p, 1, 1, "budgets", &count));
  const Buffer output = output_of("budgets", budgets, count, 4);
  GATUN_TRY(check_call(limit, a, kBudgets, &output, 1, &call));
  if (count == 0) return GATUN_OK;
  const bool good = for_each_head_with_keys(call, [&](const Item& item, int64_t head, Products& products) {
    float* const columns = get<float>(thread_memory().scores, item.keys());
    double* const masses = get<double>(thread_memory().order, call.key_blocks(item));
    if (columns == nullptr || masses == nullptr) return false;
    if (!sum_lines(call, item, head, products, columns, nullptr)) return false;
    budgets[item.batch * call.p.query_heads + head] = budget_of(call, item, columns, masses);
    return true;
  });
  return good ? GATUN_OK : no_memory();
}

}  // namespace gatun::attention_select

using namespace gatun;

int32_t gatun_attention_lines(const gatun_attention_params* params, const gatun_selection_params* selection,
                              const void* q, const void* k, const int64_t* q_offsets, const int64_t* kv_offsets,
                              float* columns, float* diagonals) {
  return attention_select::or_no_memory([&] {
    return attention_select::lines(active_tier(), params, selection, q, k, q_offsets, kv_offsets, columns, diagonals);
  });
}

int32_t gatun_attention_vertical_slash(const gatun_attention_params* params, const gatun_selection_params* selection,
                                       const int64_t* q_offsets, const int64_t* kv_offsets, const float* columns,
                                       const float* diagonals, uint8_t* map) {
  return attention_select::or_no_memory([&] {
    return attention_select::vertical_slash(params, selection, q_offsets, kv_offsets, columns, diagonals, map);
  });
}

int32_t gatun_attention_budgets(const gatun_attention_params* params, const gatun_selection_params* selection,
                                const void* q, const void* k, const int64_t* q_offsets, const int64_t* kv_offsets,
                                float* budgets) {
  return attention_select::or_no_memory([&] {
    return attention_select::budgets(active_tier(), params, selection, q, k, q_offsets, kv_offsets, budgets);
  });
}
