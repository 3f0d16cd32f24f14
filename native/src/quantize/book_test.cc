// Code books: their values against published ones and ones worked out by hand, and the search for the nearest.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "gatun/gatun.h"
#include "gatun/quantize.h"
#include "quantize/books.h"
#include "rng.h"

namespace gatun::quantize {
namespace {

using test::Rng;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int32_t kBuiltIn[] = {GATUN_BOOK_NF4,     GATUN_BOOK_FP4,
                                GATUN_BOOK_DYNAMIC, GATUN_BOOK_DYNAMIC_UNSIGNED,
                                GATUN_BOOK_LINEAR,  GATUN_BOOK_LINEAR_UNSIGNED};

std::vector<float> values_of(int32_t book) {
  std::vector<float> values(256, NAN);
  EXPECT_EQ(gatun_code_book(book, values.data()), GATUN_OK) << gatun_last_error();
  values.resize(static_cast<size_t>(book_count(book)));
  return values;
}

// The positive half of the map that bitsandbytes' create_dynamic_map(signed=True) gives, as its users publish it.
constexpr float kDynamic[128] = {5.500000384017767e-07f,
                                 3.250000190746505e-06f,
                                 7.749999895168003e-06f,
                                 2.1249998098937795e-05f,
                                 4.374999844003469e-05f,
                                 6.625000241911039e-05f,
                                 8.874999912222847e-05f,
                                 0.00015625001105945557f,
                                 0.0002687500382307917f,
                                 0.0003812500217463821f,
                                 0.000493750034365803f,
                                 0.0006062500760890543f,
                                 0.0007187500596046448f,
                                 0.0008312499849125743f,
                                 0.0009437500848434865f,
                                 0.001281249918974936f,
                                 0.001843750011175871f,
                                 0.002406249986961484f,
                                 0.002968749962747097f,
                                 0.0035312497057020664f,
                                 0.004093749914318323f,
                                 0.0046562496572732925f,
                                 0.0052187503315508366f,
                                 0.005781250074505806f,
                                 0.006343749817460775f,
                                 0.006906250026077032f,
                                 0.0074687497690320015f,
                                 0.008031249977648258f,
                                 0.008593750186264515f,
                                 0.009156249463558197f,
                                 0.009718749672174454f,
                                 0.011406250298023224f,
                                 0.014218750409781933f,
                                 0.017031250521540642f,
                                 0.019843751564621925f,
                                 0.02265625074505806f,
                                 0.025468749925494194f,
                                 0.028281250968575478f,
                                 0.031093750149011612f,
                                 0.033906251192092896f,
                                 0.03671875223517418f,
                                 0.039531249552965164f,
                                 0.04234374687075615f,
                                 0.04515625163912773f,
                                 0.047968748956918716f,
                                 0.05078125f,
                                 0.053593751043081284f,
                                 0.05640624836087227f,
                                 0.05921875312924385f,
                                 0.062031250447034836f,
                                 0.06484375149011612f,
                                 0.0676562562584877f,
                                 0.07046874612569809f,
                                 0.07328125089406967f,
                                 0.07609374821186066f,
                                 0.07890625298023224f,
                                 0.08171875774860382f,
                                 0.08453124761581421f,
                                 0.08734375238418579f,
                                 0.09015624970197678f,
                                 0.09296875447034836f,
                                 0.09578125923871994f,
                                 0.09859374910593033f,
                                 0.10703125596046448f,
                                 0.12109375f,
                                 0.13515624403953552f,
                                 0.14921875298023224f,
                                 0.16328124701976776f,
                                 0.17734375596046448f,
                                 0.19140625f,
                                 0.20546874403953552f,
                                 0.21953125298023224f,
                                 0.23359374701976776f,
                                 0.24765624105930328f,
                                 0.26171875f,
                                 0.2757812738418579f,
                                 0.28984373807907104f,
                                 0.30390626192092896f,
                                 0.3179687261581421f,
                                 0.33203125f,
                                 0.3460937440395355f,
                                 0.36015623807907104f,
                                 0.37421876192092896f,
                                 0.3882812261581421f,
                                 0.40234375f,
                                 0.4164062440395355f,
                                 0.43046873807907104f,
                                 0.44453126192092896f,
                                 0.4585937261581421f,
                                 0.47265625f,
                                 0.48671871423721313f,
                                 0.500781238079071f,
                                 0.5148437023162842f,
                                 0.5289062261581421f,
                                 0.54296875f,
                                 0.5570312738418579f,
                                 0.5710937976837158f,
                                 0.585156261920929f,
                                 0.5992187261581421f,
                                 0.61328125f,
                                 0.6273437738418579f,
                                 0.6414062976837158f,
                                 0.655468761920929f,
                                 0.6695312261581421f,
                                 0.68359375f,
                                 0.6976562738418579f,
                                 0.7117187976837158f,
                                 0.725781261920929f,
                                 0.7398437261581421f,
                                 0.75390625f,
                                 0.7679687738418579f,
                                 0.782031238079071f,
                                 0.796093761920929f,
                                 0.8101562261581421f,
                                 0.82421875f,
                                 0.8382812738418579f,
                                 0.852343738079071f,
                                 0.866406261920929f,
                                 0.8804687261581421f,
                                 0.89453125f,
                                 0.9085937738418579f,
                                 0.922656238079071f,
                                 0.936718761920929f,
                                 0.9507812261581421f,
                                 0.96484375f,
                                 0.9789062738418579f,
                                 0.992968738079071f,
                                 1.0f};

TEST(Books, DynamicIsThePublishedMap) {
  const std::vector<float> values = values_of(GATUN_BOOK_DYNAMIC);
  EXPECT_EQ(values[127], 0);
  for (size_t i = 0; i < 128; ++i) EXPECT_EQ(values[128 + i], kDynamic[i]) << i;
  for (size_t i = 0; i < 127; ++i) EXPECT_EQ(values[126 - i], -kDynamic[i]) << i;
}

// The middles of 2^(i + 1) pieces of [0.1, 1] times 10^(i - 6), each operation rounded once to f32. Doubles hold the
// exact results: products of 24 by 8 and of 24 by 25 bits, and sums of numbers whose bits are less than 53 apart.
TEST(Books, DynamicUnsigned) {
  const std::vector<float> values = values_of(GATUN_BOOK_DYNAMIC_UNSIGNED);
  const float powers[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1};
  const double low = double{0.1f}, high = 1;
  EXPECT_EQ(values[0], 0);
  size_t at = 1;
  for (int i = 0; i < 7; ++i) {
    const int pieces = 2 << i;
    const double step = double{static_cast<float>(high - low)} / pieces;  // a division by a power of two is exact
    // The lower half of the ends is counted from 0.1 on, the upper half from 1 down.
    const auto end = [&](int k) {
      return double{static_cast<float>(k < (pieces + 1) / 2 ? low + k * step : high - (pieces - k) * step)};
    };
    for (int k = 0; k < pieces; ++k, ++at) {
      const double middle = double{static_cast<float>(end(k) + end(k + 1))} / 2;
      EXPECT_EQ(values[at], static_cast<float>(double{powers[i]} * middle)) << at;
    }
  }
  EXPECT_EQ(at, 255u);
  EXPECT_EQ(values[255], 1);
}

// With twice the pieces, a decade is the next one of the signed map, which is published, at a tenth of its size.
TEST(Books, DynamicUnsignedHasThePiecesOfThePublishedMap) {
  const std::vector<float> values = values_of(GATUN_BOOK_DYNAMIC_UNSIGNED);
  for (size_t k = 0; k < 64; ++k) EXPECT_EQ(values[63 + k], 0.1f * kDynamic[63 + k]) << k;
}

TEST(Books, Linear) {
  const std::vector<float> values = values_of(GATUN_BOOK_LINEAR), positive = values_of(GATUN_BOOK_LINEAR_UNSIGNED);
  for (int i = -127; i <= 127; ++i) {
    const float rounded = static_cast<float>(static_cast<double>(i) / 127);
    EXPECT_EQ(values[static_cast<size_t>(i <= 0 ? i + 127 : i + 128)], rounded) << i;
  }
  EXPECT_EQ(values[128], 0);
  EXPECT_FALSE(std::signbit(values[127]) || std::signbit(values[128])) << "both zeros are 0";
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(positive[static_cast<size_t>(i)], static_cast<float>(static_cast<double>(i) / 255)) << i;
  }
  EXPECT_EQ(values[126], -0x1.020408p-7f);  // -1 / 127
  EXPECT_EQ(positive[51], 0.2f);
}

TEST(Books, Nf4) {
  EXPECT_EQ(values_of(GATUN_BOOK_NF4),
            (std::vector<float>{-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
                                -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
                                0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
                                0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f}));
}

TEST(Books, Fp4) {
  const std::vector<float> values = values_of(GATUN_BOOK_FP4);
  const float magnitudes[8] = {0, 0.0052083333f, 0.66666667f, 1.0f, 0.33333333f, 0.5f, 0.16666667f, 0.25f};
  for (size_t code = 0; code < 16; ++code) {
    EXPECT_EQ(std::fabs(values[code]), magnitudes[code % 8]) << code;
    EXPECT_EQ(std::signbit(values[code]), code >= 8) << code;
  }
}

TEST(Books, UnknownOnesAreRefused) {
  float values[256];
  for (const int32_t book : {-1, 0, static_cast<int>(GATUN_BOOK_GIVEN), 8, 1 << 30}) {
    EXPECT_EQ(gatun_code_book(book, values), GATUN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(gatun_last_error()).find("book = " + std::to_string(book)), std::string::npos)
        << gatun_last_error();
  }
  EXPECT_EQ(gatun_code_book(GATUN_BOOK_NF4, nullptr), GATUN_INVALID_ARGUMENT);
}

TEST(Books, GivenOnesAreFiniteAndAscend) {
  std::vector<float> values(256, 0.5f);
  EXPECT_EQ(check_code_book(values.data(), 256), GATUN_OK);
  for (const float bad : {NAN, kInfinity, -kInfinity, 0.49f}) {
    for (const size_t at : {size_t{0}, size_t{1}, size_t{200}, size_t{255}}) {
      if (at == 0 && bad == 0.49f) continue;
      std::vector<float> book = values;
      book[at] = bad;
      EXPECT_EQ(check_code_book(book.data(), 256), GATUN_INVALID_ARGUMENT);
      EXPECT_NE(std::string(gatun_last_error()).find("code_book[" + std::to_string(at) + "]"), std::string::npos)
          << gatun_last_error();
    }
  }
}

// 2 t <= a + b < 2 t', t' the f32 after t, exactly: the numbers have fewer than 64 bits between them.
TEST(Books, ThresholdsAreMiddlesRoundedDown) {
  for (const int32_t kind :
       {GATUN_BOOK_DYNAMIC, GATUN_BOOK_DYNAMIC_UNSIGNED, GATUN_BOOK_LINEAR, GATUN_BOOK_LINEAR_UNSIGNED}) {
    const Book& book = built_in_book(kind);
    for (int p = 0; p < 255; ++p) {
      using Wide = long double;
      const Wide sum = Wide{book.ascending[p]} + Wide{book.ascending[p + 1]};
      const float t = book.thresholds[p];
      EXPECT_LE(2 * Wide{t}, sum) << kind << ", " << p;
      EXPECT_GT(2 * Wide{std::nextafterf(t, kInfinity)}, sum) << kind << ", " << p;
    }
    EXPECT_EQ(book.thresholds[255], kInfinity);
  }
}

// The middle of a large and a small number, which no double holds.
TEST(Books, ThresholdsBetweenNumbersFarApart) {
  std::vector<float> values(16, 1.0f);
  values[0] = -1;
  values[1] = -0x1p-149f;
  values[2] = 0x1p-149f;
  Book book;
  make_book(values.data(), 16, &book);
  EXPECT_EQ(book.thresholds[0], -std::nextafterf(0.5f, 1));  // the middle is just below -1/2
  EXPECT_EQ(book.thresholds[1], 0);
  EXPECT_EQ(book.thresholds[2], 0.5f);  // just above 1/2
  EXPECT_EQ(book.thresholds[3], 1);     // equal values: beyond them is up
}

// What books.h says a search is, in plain steps.
int search(const Book& book, float v) {
  int position = book.starts[std::signbit(v)][cell_of(book.cells, v)];
  for (int step = 1 << book.steps >> 1; step > 0; step /= 2) {
    if (book.thresholds[position + step - 1] < v) position += step;
  }
  return position;
}

void expect_search_counts_thresholds(const Book& book, const std::string& name) {
  Rng rng(11);
  std::vector<float> tried = {0.0f, -0.0f, 1.0f, -1.0f, 1e30f, -1e30f, kInfinity, -kInfinity};
  for (int p = 0; p < 255; ++p) {
    for (const float v : {book.thresholds[p], book.ascending[p], book.ascending[p + 1]}) {
      for (const float other : {v, std::nextafterf(v, kInfinity), std::nextafterf(v, -kInfinity)}) {
        tried.push_back(other);
      }
    }
  }
  for (int i = 0; i < 3000; ++i) {
    tried.push_back(rng.uniform(-1.01f, 1.01f));
    tried.push_back(rng.special_finite());
    tried.push_back(std::ldexp(rng.uniform(-1, 1), static_cast<int>(rng.integer(-40, 0))));
  }
  for (const float v : tried) {
    int below = 0;
    while (below < 255 && book.thresholds[below] < v) ++below;
    ASSERT_EQ(search(book, v), below) << name << ", v = " << v;
  }
}

TEST(Books, SearchesEndAtTheNumberOfThresholdsBelow) {
  for (const int32_t kind : kBuiltIn) {
    const Book& book = built_in_book(kind);
    if (book.count != 256) continue;
    const bool is_signed = kind == GATUN_BOOK_DYNAMIC || kind == GATUN_BOOK_LINEAR;
    EXPECT_LE(book.steps, is_signed ? 1 : 2) << "cells of built-in books hold few thresholds: " << kind;
    expect_search_counts_thresholds(book, "book " + std::to_string(kind));
  }
  Rng rng(12);
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<float> values(256);
    for (float& value : values) {
      switch (trial % 5) {
        case 0:
          value = rng.uniform(-1, 1);
          break;
        case 1:
          value = static_cast<float>(rng.integer(-3, 3));  // many equal ones
          break;
        case 2:
          value = rng.special_finite();
          break;
        case 3:
          value = rng.normal() * rng.normal() * rng.normal();
          break;
        default:
          value = 1 + rng.uniform(0, 0x1p-18f);  // far from 0 and close together
      }
    }
    std::sort(values.begin(), values.end());
    Book book;
    make_book(values.data(), 256, &book);
    ASSERT_LE(book.steps, 8);
    expect_search_counts_thresholds(book, "trial " + std::to_string(trial));
  }
}

}  // namespace
}  // namespace gatun::quantize
