// cuBLAS as a peer, opened at run time: nothing of it is needed to build.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gatun::bench {

class Cublas {
 public:
  // The library in the file `path`, or if that is empty the first that is found: by the loader, in the CUDA toolkit,
  // among the packages of python3. Null, with what was looked at, if there is none that works.
  static std::unique_ptr<Cublas> open(const std::string& path, void* stream, std::string* why_not);
  ~Cublas();

  const std::string& version() const { return version_; }
  const std::string& path() const { return path_; }

  // y [rows, columns] = x [rows, depth] * w [columns, depth]^T, row-major, in bf16 with sums in f32, on the stream.
  // Whether it was taken.
  bool multiply_bf16(const void* x, const void* w, void* y, int64_t rows, int64_t columns, int64_t depth) const;

 private:
  struct Functions;
  Cublas() = default;
  bool load(const std::string& path, void* stream, std::string* why_not);

  std::unique_ptr<Functions> functions_;
  void* handle_ = nullptr;
  std::string version_, path_;
};

}  // namespace gatun::bench
