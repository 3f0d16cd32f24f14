// gatun_decode: every documented refusal of where arguments lie.
#include "decode_boundary.h"

namespace gatun::test::decode {
namespace {

TEST_F(DecodeBoundary, Nulls) {
  q_at = nullptr;
  refused({"q is null"});
  q_at = q.data();
  k_at = nullptr;
  refused({"k is null"});
  k_at = k.data();
  v_at = nullptr;
  refused({"v is null"});
  v_at = v.data();
  lengths_at = nullptr;
  refused({"lengths is null"});
  lengths_at = lengths.data();
  out_at = nullptr;
  refused({"out is null", "v_layout"});
  out_at = out.data();
  v_given = nullptr;
  refused({"v is not null", "since v_layout is"});
  v_at = nullptr;
  refused({"out is not null", "since v_layout is"});
  out_at = nullptr;
  v_scales_at = scales.data();
  refused({"v_scales is not null", "since v_layout is"});
  v_scales_at = nullptr;
  v_zeros_at = scales.data();
  refused({"v_zeros is not null", "since v_layout is"});
  v_zeros_at = nullptr;
  lse_at = logits_at = nullptr;
  refused({"lse is null", "logits"});
}

TEST_F(DecodeBoundary, Alignment) {
  const auto shifted = [](const auto* data, int64_t bytes) { return reinterpret_cast<const char*>(data) + bytes; };
  q_at = shifted(q.data(), 2);
  refused({"q is at address", "4"});
  q_at = q.data();
  k_at = shifted(k.data(), 1);
  refused({"k is at address", "4"});
  k_at = k.data();
  v_at = shifted(v.data(), 3);
  refused({"v is at address", "4"});
  v_at = v.data();
  table_at = reinterpret_cast<const int32_t*>(shifted(table.data(), 2));
  refused({"table is at address", "4"});
  table_at = table.data();
  lengths_at = reinterpret_cast<const int64_t*>(shifted(lengths.data(), 4));
  refused({"lengths is at address", "8"});
  lengths_at = lengths.data();
  slopes_at = reinterpret_cast<const float*>(shifted(q.data(), 1));
  refused({"slopes is at address", "4"});
  slopes_at = nullptr;
  sinks_at = reinterpret_cast<const float*>(shifted(q.data(), 1));
  refused({"sinks is at address", "4"});
  sinks_at = nullptr;
  out_at = out.data() + 2;
  refused({"out is at address", "4"});
  out_at = out.data();
  lse_at = reinterpret_cast<float*>(lse.data() + 1);
  refused({"lse is at address", "4"});
  lse_at = nullptr;
  logits_at = reinterpret_cast<float*>(logits.data() + 1);
  refused({"logits is at address", "4"});
  logits_at = nullptr;
  use_codes();
  k_scales_at = shifted(scales.data(), 1);
  refused({"k_scales is at address", "2"});
  k_scales_at = scales.data();
  k_zeros_at = shifted(scales.data(), 1);
  refused({"k_zeros is at address", "2"});
}

TEST_F(DecodeBoundary, Overlaps) {
  std::vector<uint8_t>* const outputs[] = {&out, &lse, &logits};
  for (std::vector<uint8_t>* const output : outputs) {
    const char* const name = output == &out ? "out [" : output == &lse ? "lse [" : "logits [";
    const void* const within = output->data() + 16;
    const auto overlaps = [&](auto& argument, const char* other) {
      const auto before = argument;
      argument = static_cast<std::remove_reference_t<decltype(argument)>>(within);
      refused({"overlaps", name, other});
      argument = before;
    };
    use_codes();
    overlaps(q_at, "q [");
    overlaps(k_at, "k [");
    overlaps(k_scales_at, "k_scales [");
    overlaps(k_zeros_at, "k_zeros [");
    overlaps(v_at, "v [");
    overlaps(v_scales_at, "v_scales [");
    // Of what the entries say, nothing is asked before.
    overlaps(slopes_at, "slopes [");
    overlaps(sinks_at, "sinks [");
  }
  lse_at = reinterpret_cast<float*>(out.data() + 4);
  refused({"out", "overlaps", "lse"});
  lse_at = reinterpret_cast<float*>(lse.data());
  logits_at = reinterpret_cast<float*>(out.data() + 4);
  refused({"out", "overlaps", "logits"});
  logits_at = reinterpret_cast<float*>(lse.data());
  refused({"lse", "overlaps", "logits"});
}

TEST_F(DecodeBoundary, TablesAndLengthsWithinOutputs) {
  std::memcpy(out.data(), table.data(), table.size() * 4);
  table_at = reinterpret_cast<const int32_t*>(out.data());
  EXPECT_TRUE(invalid(call(), {"overlaps", "table"}));
  table_at = table.data();
  std::memcpy(out.data(), lengths.data(), lengths.size() * 8);
  lengths_at = reinterpret_cast<const int64_t*>(out.data());
  EXPECT_TRUE(invalid(call(), {"overlaps", "lengths"}));
}

TEST_F(DecodeBoundary, NullsOfScales) {
  k_scales_at = scales.data();
  refused({"k_scales is not null", "of values"});
  k_scales_at = nullptr;
  v_scales_at = scales.data();
  refused({"v_scales is not null", "of values"});
  v_scales_at = nullptr;
  k_zeros_at = scales.data();
  refused({"k_zeros is not null", "GATUN_ZERO_NONE"});
  k_zeros_at = nullptr;
  use_codes();
  k_scales_at = nullptr;
  refused({"k_scales is null"});
  k_scales_at = scales.data();
  k_zeros_at = nullptr;
  refused({"k_zeros is null"});
  k_zeros_at = scales.data();
  v_scales_at = nullptr;
  refused({"v_scales is null"});
  v_scales_at = scales.data();
  v_zeros_at = scales.data();
  refused({"v_zeros is not null", "GATUN_ZERO_NONE"});
}

}  // namespace
}  // namespace gatun::test::decode
