// Attention: attention over all keys, or over the blocks of a mask.
//
//   q        float [batch, query_heads, query_length, head_size]
//   k, v     float [batch, kv_heads, kv_length, head_size or value_size]; query_heads is a multiple of kv_heads
//   full_offsets, partial_offsets   int64 [batch * query_heads * query_blocks + 1], and
//   full_blocks, partial_blocks     int32 [blocks]: the mask of gatun/block_mask.h, all four or none
//   partial_bits                    uint8 [blocks of partial_blocks, query_block, key_block / 8], optional
//   key_mask int64 [batch or 1, kv_length], optional, and not with anything else that hides keys: 0 hides a key from
//   all rows out      float [batch, query_heads, query_length, value_size]; zeros where a row sees no key
//
// Attributes, all optional: layout, BHLD as above or BLHD: q, k, v and out are [batch, length, heads, size]; scale
// (1 / sqrt(head_size)), causal (0), soft_cap, window_left, window_right (-1: all), sink_keys, query_block and
// key_block (64), mode: EXACT or INT8. ONNX Runtime's threads take a batch
// item, or some of its heads, each.
#include <algorithm>
#include <cmath>

#include "gatun/attention.h"
#include "gatun/gatun.h"
#include "kernel.h"

namespace gatun::onnxruntime {
namespace {

// The blocks of one kind that the rows of a part list, as offsets that start at 0.
struct Lists {
  std::vector<int64_t> offsets;
  const int32_t* blocks = nullptr;
  int64_t first = 0, count = 0;

  Lists(const Tensor& all_offsets, const Tensor& all_blocks, int64_t row, int64_t rows) {
    if (!all_offsets.given) return;
    const int64_t* const own = all_offsets.as<int64_t>() + row;
    first = own[0];
    for (int64_t i = 0; i <= rows; ++i) offsets.push_back(own[i] - first);
    blocks = all_blocks.as<int32_t>() + first;
    count = own[rows] - first;
  }
};

// A q, k, v or out in either layout: strides, and where a head's rows begin.
struct Heads {
  int64_t batch, heads, length, size, row_stride, head_stride;

  Heads(const std::vector<int64_t>& shape, bool rows_first)
      : batch(shape[0]),
        heads(shape[rows_first ? 2 : 1]),
        length(shape[rows_first ? 1 : 2]),
        size(shape[3]),
        row_stride(rows_first ? heads * size : size),
        head_stride(rows_first ? size : length * size) {}

  int64_t at(int64_t item, int64_t head) const { return item * heads * length * size + head * head_stride; }
};

// The rows of `heads` heads that a key mask shows: as they lie if those are the first ones, else copies.
struct ShownRows {
  const float* data;
  int64_t row_stride, head_stride;
  std::vector<float> copies;

  ShownRows(const float* rows, const Heads& of, int64_t heads, const std::vector<int64_t>& shown)
      : data(rows), row_stride(of.row_stride), head_stride(of.head_stride) {
    const int64_t count = static_cast<int64_t>(shown.size());
    if (count == 0 || shown.back() == count - 1) return;
    copies.reserve(static_cast<size_t>(heads * count * of.size));
    for (int64_t head = 0; head < heads; ++head) {
      for (const int64_t row : shown) {
        const float* const from = rows + head * head_stride + row * row_stride;
        copies.insert(copies.end(), from, from + of.size);
      }
    }
    data = copies.data();
    row_stride = of.size;
    head_stride = count * of.size;
  }
};

// As many of an item's heads as leave each of ONNX Runtime's threads a part: a divisor of them.
int64_t heads_of_part(const Heads& of_k) {
  int64_t parts = std::max<int64_t>(1, std::min((gatun_threads() + of_k.batch - 1) / of_k.batch, of_k.heads));
  while (of_k.heads % parts != 0) ++parts;
  return of_k.heads / parts;
}

class AttentionKernel {
 public:
  static constexpr const char* kName = "Attention";
  static constexpr Input kInputs[] = {{"q", kFloat, kRequired},
                                      {"k", kFloat, kRequired},
                                      {"v", kFloat, kRequired},
                                      {"full_offsets", kInt64, kOptional},
                                      {"full_blocks", kInt32, kOptional},
                                      {"partial_offsets", kInt64, kOptional},
                                      {"partial_blocks", kInt32, kOptional},
                                      {"partial_bits", kUint8, kOptional},
                                      {"key_mask", kInt64, kOptional}};

  explicit AttentionKernel(const Api& the_api) : api(the_api) {}

  Status* create(const KernelInfo* info) {
    int64_t causal = 0;
    params_.struct_size = sizeof(params_);
    params_.dtype = params_.out_dtype = GATUN_F32;
    params_.threads = 1;
    params_.window_left = params_.window_right = -1;
    GATUN_ORT_TRY(read_attribute(api, info, "scale", &scale_));
    GATUN_ORT_TRY(read_attribute(api, info, "causal", &causal));
    GATUN_ORT_TRY(read_attribute(api, info, "soft_cap", &params_.soft_cap));
    GATUN_ORT_TRY(read_attribute(api, info, "window_left", &params_.window_left));
    GATUN_ORT_TRY(read_attribute(api, info, "window_right", &params_.window_right));
    GATUN_ORT_TRY(read_attribute(api, info, "sink_keys", &params_.sink_keys));
    GATUN_ORT_TRY(read_attribute(api, info, "query_block", &query_block_));
    GATUN_ORT_TRY(read_attribute(api, info, "key_block", &key_block_));
    params_.causal = causal != 0;
    for (const int64_t block : {query_block_, key_block_}) {
      if (block >= 16 && block <= 128 && block % 16 == 0) continue;
      return fail(api, kInvalidArgument,
                  "attributes query_block = %lld, key_block = %lld; allowed: multiples of 16 in 16..128",
                  static_cast<long long>(query_block_), static_cast<long long>(key_block_));
    }
    GATUN_ORT_TRY(read_attribute(api, info, "layout", {{"BHLD", 0}, {"BLHD", 1}}, &rows_first_));
    return read_attribute(api, info, "mode", {{"EXACT", GATUN_ATTENTION_EXACT}, {"INT8", GATUN_ATTENTION_INT8}},
                          &params_.mode);
  }

  Status* compute(KernelContext* context) {
    Tensor q, k, v, mask[5], key_mask;
    GATUN_ORT_TRY(read_input(api, context, 0, &q));
    GATUN_ORT_TRY(read_input(api, context, 1, &k));
    GATUN_ORT_TRY(read_input(api, context, 2, &v));
    for (size_t i = 0; i < 5; ++i) GATUN_ORT_TRY(read_input(api, context, 3 + i, &mask[i]));
    GATUN_ORT_TRY(read_input(api, context, 8, &key_mask));
    GATUN_ORT_TRY(check_shapes(q, k, v));
    const Heads of_q(q.shape, rows_first_), of_k(k.shape, rows_first_), of_v(v.shape, rows_first_);
    const int64_t query_blocks = of_q.length == 0 ? 0 : (of_q.length - 1) / query_block_ + 1;
    GATUN_ORT_TRY(check_mask(mask, of_q.batch * of_q.heads * query_blocks));
    GATUN_ORT_TRY(check_key_mask(key_mask, mask[0].given, of_k));
    std::vector<int64_t> shape = q.shape;
    shape[3] = of_v.size;
    const Heads of_out(shape, rows_first_);
    float* out = nullptr;
    GATUN_ORT_TRY(make_output(api, context, shape, &out));
    if (of_q.batch * of_q.heads * of_q.length * of_v.size == 0) return nullptr;

    const bool masked = mask[0].given;
    const int64_t group = of_q.heads / of_k.heads;
    gatun_attention_params params = params_;
    params.scale = scale_ != 0 ? scale_ : 1 / std::sqrt(static_cast<float>(of_q.size));
    params.batch = 1;
    params.kv_heads = heads_of_part(of_k);
    params.query_heads = params.kv_heads * group;
    params.query_length = of_q.length;
    params.kv_length = of_k.length;
    params.head_size = of_q.size;
    params.value_size = of_v.size;
    params.q_row_stride = of_q.row_stride;
    params.out_row_stride = of_out.row_stride;
    params.q_head_stride = params.q_batch_stride = of_q.head_stride;
    params.k_head_stride = params.k_batch_stride = of_k.head_stride;
    params.v_head_stride = params.v_batch_stride = of_v.head_stride;
    params.out_head_stride = params.out_batch_stride = of_out.head_stride;
    if (masked) {
      params.query_block = query_block_;
      params.key_block = key_block_;
      params.mask_batch = 1;
      params.mask_heads = params.query_heads;
      params.query_blocks = query_blocks;
    }
    const int64_t parts_of_item = of_k.heads / params.kv_heads;
    return in_parallel(api, kName, context, of_k.batch * parts_of_item, [&](int64_t part) {
      const int64_t item = part / parts_of_item, head = part % parts_of_item * params.kv_heads;
      const int64_t rows = params.query_heads * query_blocks;
      gatun_attention_params own = params;
      std::vector<int64_t> shown;
      if (key_mask.given) {
        const int64_t* const mask_row = key_mask.as<int64_t>() + (key_mask.shape[0] == 1 ? 0 : item * of_k.length);
        for (int64_t i = 0; i < of_k.length; ++i) {
          if (mask_row[i] != 0) shown.push_back(i);
        }
        own.kv_length = static_cast<int64_t>(shown.size());
      }
      const ShownRows keys(k.as<float>() + of_k.at(item, head), of_k, params.kv_heads, shown);
      const ShownRows values(v.as<float>() + of_v.at(item, head), of_v, params.kv_heads, shown);
      own.k_row_stride = keys.row_stride;
      own.k_head_stride = own.k_batch_stride = keys.head_stride;
      own.v_row_stride = values.row_stride;
      own.v_head_stride = own.v_batch_stride = values.head_stride;
      const Lists full(mask[0], mask[1], part * rows, rows), partial(mask[2], mask[3], part * rows, rows);
      own.full_count = full.count;
      own.partial_count = partial.count;
      const uint8_t* const bits = mask[4].as<uint8_t>();
      return check(api, kName,
                   gatun_attention(&own, q.as<float>() + of_q.at(item, head * group), keys.data, values.data, nullptr,
                                   nullptr, nullptr, nullptr, nullptr, masked ? full.offsets.data() : nullptr,
                                   full.blocks, masked ? partial.offsets.data() : nullptr, partial.blocks,
                                   bits == nullptr ? nullptr : bits + partial.first * query_block_ * (key_block_ / 8),
                                   out + of_out.at(item, head * group), nullptr));
    });
  }

  const Api api;

 private:
  Status* check_shapes(const Tensor& q, const Tensor& k, const Tensor& v) const {
    const struct {
      const char* name;
      const Tensor& tensor;
    } all[] = {{"q", q}, {"k", k}, {"v", v}};
    for (const auto& each : all) {
      if (each.tensor.shape.size() == 4) continue;
      return fail(api, kInvalidArgument, "io.gatun.Attention: %s has the shape %s; allowed: four axes", each.name,
                  shape_text(each.tensor.shape).c_str());
    }
    const Heads of_q(q.shape, rows_first_), of_k(k.shape, rows_first_), of_v(v.shape, rows_first_);
    const bool fits = of_k.batch == of_q.batch && of_v.batch == of_q.batch && of_v.heads == of_k.heads &&
                      of_v.length == of_k.length && of_k.size == of_q.size &&
                      (of_k.heads == 0 ? of_q.heads == 0 : of_q.heads % of_k.heads == 0);
    if (fits) return nullptr;
    return fail(
        api, kInvalidArgument,
        "io.gatun.Attention: q %s, k %s, v %s in the layout %s; allowed: the same batch, heads of q a multiple of "
        "those of k and v, k and v of the same length, q and k of the same size",
        shape_text(q.shape).c_str(), shape_text(k.shape).c_str(), shape_text(v.shape).c_str(),
        rows_first_ != 0 ? "BLHD" : "BHLD");
  }

  Status* check_key_mask(const Tensor& key_mask, bool masked, const Heads& of_k) const {
    if (!key_mask.given) return nullptr;
    if (masked || params_.causal != 0 || params_.window_left >= 0 || params_.window_right >= 0) {
      return fail(api, kInvalidArgument,
                  "io.gatun.Attention: key_mask is given with causal, a window or a mask of blocks; allowed: alone");
    }
    const std::vector<int64_t>& shape = key_mask.shape;
    if (shape.size() == 2 && (shape[0] == of_k.batch || shape[0] == 1) && shape[1] == of_k.length) return nullptr;
    return fail(api, kInvalidArgument, "io.gatun.Attention: key_mask has the shape %s; allowed: [%lld or 1, %lld]",
                shape_text(key_mask.shape).c_str(), static_cast<long long>(of_k.batch),
                static_cast<long long>(of_k.length));
  }

  // That the lists can be read; what is in them the kernels check.
  Status* check_mask(const Tensor (&mask)[5], int64_t rows) const {
    const bool masked = mask[0].given;
    for (int i = 1; i < 4; ++i) {
      if (mask[i].given == masked) continue;
      return fail(api, kInvalidArgument, "io.gatun.Attention: input %s is %s; allowed: a mask's four lists, or none",
                  kInputs[3 + i].name, masked ? "missing" : "given without full_offsets");
    }
    if (!masked) return nullptr;
    for (int i = 0; i < 4; i += 2) {
      if (mask[i].elements() != rows + 1) {
        return fail(api, kInvalidArgument, "io.gatun.Attention: %s has the shape %s; allowed: [%lld]",
                    kInputs[3 + i].name, shape_text(mask[i].shape).c_str(), static_cast<long long>(rows + 1));
      }
      const int64_t* const offsets = mask[i].as<int64_t>();
      for (int64_t row = 0; row < rows; ++row) {
        if (offsets[row] >= 0 && offsets[row] <= offsets[row + 1] && offsets[row + 1] <= mask[i + 1].elements()) {
          continue;
        }
        return fail(api, kInvalidArgument,
                    "io.gatun.Attention: %s[%lld] = %lld, then %lld; allowed: ascending, 0..%lld", kInputs[3 + i].name,
                    static_cast<long long>(row), static_cast<long long>(offsets[row]),
                    static_cast<long long>(offsets[row + 1]), static_cast<long long>(mask[i + 1].elements()));
      }
    }
    if (mask[4].given && mask[4].elements() != mask[3].elements() * query_block_ * (key_block_ / 8)) {
      return fail(api, kInvalidArgument,
                  "io.gatun.Attention: partial_bits has the shape %s; allowed: [%lld, query_block, key_block / 8]",
                  shape_text(mask[4].shape).c_str(), static_cast<long long>(mask[3].elements()));
    }
    return nullptr;
  }

  gatun_attention_params params_ = {};
  float scale_ = 0;  // 0: by the head size
  int32_t rows_first_ = 0;
  int64_t query_block_ = 64, key_block_ = 64;
};

}  // namespace

CustomOp attention_op() { return custom_op<AttentionKernel>(); }

}  // namespace gatun::onnxruntime
