// What every boundary test asks of a refused call: the status, a message that names the argument, outputs untouched.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "gatun/gatun.h"

namespace gatun::test {

inline constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
inline constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
inline constexpr uint8_t kUntouched = 0xab;

// The status, and the message holds each of the words.
inline ::testing::AssertionResult fails(int32_t expected, int32_t status, std::initializer_list<const char*> words) {
  const std::string message = gatun_last_error();
  if (status != expected) {
    return ::testing::AssertionFailure() << "status " << status << ", expected " << expected << " for "
                                         << *words.begin();
  }
  for (const char* word : words) {
    if (message.find(word) == std::string::npos) {
      return ::testing::AssertionFailure() << "the message does not say \"" << word << "\": " << message;
    }
  }
  return ::testing::AssertionSuccess();
}
inline ::testing::AssertionResult invalid(int32_t status, std::initializer_list<const char*> words) {
  return fails(GATUN_INVALID_ARGUMENT, status, words);
}
inline ::testing::AssertionResult unsupported(int32_t status, std::initializer_list<const char*> words) {
  return fails(GATUN_UNSUPPORTED, status, words);
}

inline bool untouched(const std::vector<uint8_t>& bytes) {
  for (const uint8_t byte : bytes) {
    if (byte != kUntouched) return false;
  }
  return true;
}

// A struct that says its size must not be null and of no other size. `refused` expects a refusal with these words of
// what takes `given`, and makes the struct good again.
template <class Struct>
void check_struct(Struct& value, const Struct*& given, const std::string& name,
                  const std::function<void(std::initializer_list<const char*>)>& refused) {
  given = nullptr;
  refused({(name + " is null").c_str()});
  given = &value;
  constexpr uint32_t kRight = sizeof(Struct);
  for (const uint32_t size : {0u, 4u, kRight - 8, kRight + 8, std::numeric_limits<uint32_t>::max()}) {
    value.struct_size = size;
    refused({(name + ".struct_size = " + std::to_string(size) + ";").c_str(), std::to_string(kRight).c_str()});
  }
}

// A text function: it must refuse null and every capacity below what its text needs, and take `always` bytes.
inline void check_text(const std::function<int32_t(char*, int64_t)>& function, int64_t always) {
  std::vector<char> text(static_cast<size_t>(always), '\x7f');
  ASSERT_EQ(function(text.data(), always), GATUN_OK) << gatun_last_error();
  const std::string whole = text.data();
  EXPECT_GT(whole.size(), 10u);
  const int64_t needed = static_cast<int64_t>(whole.size()) + 1;
  EXPECT_LE(needed, always);

  EXPECT_TRUE(invalid(function(nullptr, always), {"text"}));
  for (const int64_t capacity : {kMin, int64_t{-1}, int64_t{0}, int64_t{1}, needed - 1}) {
    std::vector<char> small(static_cast<size_t>(std::max<int64_t>(capacity, 0)), '\x7f');
    char none = '\x7f';
    EXPECT_TRUE(invalid(function(small.empty() ? &none : small.data(), capacity), {"capacity"})) << capacity;
    for (const char c : small) ASSERT_EQ(c, '\x7f') << capacity;
    EXPECT_EQ(none, '\x7f');
  }
  std::vector<char> exact(static_cast<size_t>(needed));
  EXPECT_EQ(function(exact.data(), needed), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(exact.back(), '\0');
}

}  // namespace gatun::test
