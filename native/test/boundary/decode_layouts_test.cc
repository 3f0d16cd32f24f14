// gatun_decode: every documented refusal that has to do with layouts.
#include "decode_boundary.h"

namespace gatun::test::decode {
namespace {

TEST_F(DecodeBoundary, LayoutsOfBoth) {
  v_layout.heads = 1;
  refused({"v_layout.heads = 1", "k_layout.heads = 2"});
  v_layout.pages = 6;
  refused({"v_layout.pages = 6", "k_layout.pages = 7"});
  v_layout.page_size = 8;
  refused({"v_layout.page_size = 8", "k_layout.page_size = 16"});
}

TEST_F(DecodeBoundary, Layouts) {
  use_codes();
  for (gatun_kv_layout* const layout : {&k_layout, &v_layout}) {
    const std::string name = layout == &k_layout ? "k_layout." : "v_layout.";
    const auto field = [&](const char* what) { return name + what; };
    for (const int32_t dtype : {0, -1, 99, int{GATUN_U8}, int{GATUN_F4E2M1}}) {
      layout->dtype = dtype;
      refused({field("dtype").c_str(), text(dtype).c_str(), "F32, BF16, F16, F8E4M3, F8E5M2, I8, U4, U2"});
    }
    for (const int32_t scaling : {-1, 0, 3}) {
      layout->scaling = scaling;
      refused({field("scaling").c_str(), text(scaling).c_str(), "1..2"});
    }
    layout->dtype = GATUN_F16;
    refused({field("scaling").c_str(), "GATUN_KV_UNSCALED"});
    for (const int32_t zero : {-1, int{GATUN_ZERO_INTEGER}, 3}) {
      layout->zero_point = zero;
      refused({field("zero_point").c_str(), text(zero).c_str(), "GATUN_ZERO_NONE"});
    }
    layout->dtype = GATUN_I8;
    layout->zero_point = GATUN_ZERO_FLOAT;
    refused({field("zero_point = 2").c_str(), "allowed: GATUN_ZERO_NONE (0)"});
    for (const int64_t size : {int64_t{-8}, int64_t{0}, int64_t{4}, int64_t{12}, int64_t{264}, kMax, kMin}) {
      layout->size = size;
      refused({field("size").c_str(), text(size).c_str(), "multiples of 8 in 8..256"});
    }
    for (const int64_t size : {int64_t{-1}, kMin, kMax}) {
      layout->heads = size;
      refused({field("heads").c_str(), text(size).c_str()});
      layout->pages = size;
      refused({field("pages").c_str(), text(size).c_str()});
      layout->page_size = size;
      refused({field("page_size").c_str(), text(size).c_str()});
    }
    layout->page_size = 0;
    refused({field("page_size = 0").c_str()});
    layout->pages = int64_t{1} << 55;
    refused({field("pages").c_str(), "less than 2^59 rows"});
    for (const int64_t group : {int64_t{-16}, int64_t{0}, int64_t{8}, int64_t{20}, int64_t{48}, kMin, kMax}) {
      layout->group = group;
      refused({field("group").c_str(), text(group).c_str(), "multiples of 16"});
    }
    layout->dtype = GATUN_F32;
    layout->scaling = GATUN_KV_UNSCALED;
    layout->zero_point = GATUN_ZERO_NONE;
    refused({field("group = 16").c_str(), "0, since there are no scales"});
  }
  v_layout.group = 32;
  refused({"v_layout.group = 32", "divide v_layout.page_size = 16"});
}

TEST_F(DecodeBoundary, StridesOfLayouts) {
  use_codes();
  using Field = int64_t gatun_kv_layout::*;
  using L = gatun_kv_layout;
  const std::pair<Field, const char*> strides[] = {{&L::page_stride, "page_stride"},
                                                   {&L::head_stride, "head_stride"},
                                                   {&L::row_stride, "row_stride"},
                                                   {&L::scale_page_stride, "scale_page_stride"},
                                                   {&L::scale_head_stride, "scale_head_stride"},
                                                   {&L::scale_row_stride, "scale_row_stride"}};
  for (gatun_kv_layout* const layout : {&k_layout, &v_layout}) {
    const std::string name = layout == &k_layout ? "k" : "v";
    for (const auto& [field, field_name] : strides) {
      for (const int64_t stride : {int64_t{-1}, kMin}) {
        layout->*field = stride;
        refused({(name + "_layout." + field_name).c_str(), text(stride).c_str(), "at least 0"});
      }
      // A page of v has one row of scales.
      if (layout == &v_layout && field == &L::scale_row_stride) continue;
      for (const int64_t huge : {kMax, int64_t{1} << 60}) {
        layout->*field = huge;
        const bool of_scales = std::string(field_name).find("scale") == 0;
        refused({(name + (of_scales ? "_scales: " : ": ")).c_str(), text(huge).c_str(), "exceed"});
      }
    }
  }
}

TEST_F(DecodeBoundary, StridesThatAreNotOfElements) {
  for (gatun_kv_layout* const layout : {&k_layout, &v_layout}) {
    for (int64_t* const stride : {&layout->page_stride, &layout->head_stride, &layout->row_stride}) {
      *stride += 2;
      refused({layout == &k_layout ? "k_layout." : "v_layout.", "_stride", "bytes; allowed: multiples of the 4"});
    }
  }
  // Strides along which nothing lies further on, and those of scales that are not there, may be any numbers.
  k_layout.scale_page_stride = k_layout.scale_head_stride = v_layout.scale_row_stride = kMin;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  reset();
  k_layout.pages = v_layout.pages = 1;
  k_layout.page_stride = v_layout.page_stride = kMax;
  table = {0, 0, 0, 0, 0, 0};
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

}  // namespace
}  // namespace gatun::test::decode
