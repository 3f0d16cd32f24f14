// What tests of a real device share: streams, and a quantization and a product with all that they need there.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "base/dtype.h"
#include "device_buffer.h"
#include "gatun/cuda.h"
#include "gatun/cuda_qmatmul.h"
#include "gatun/cuda_quantize.h"
#include "quantize/reference.h"
#include "rng.h"

namespace gatun::test {

#define GATUN_EXPECT_CUDA(call) EXPECT_EQ(cudaSuccess, call) << cudaGetErrorString(cudaPeekAtLastError())

class Stream {
 public:
  Stream() { GATUN_EXPECT_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { GATUN_EXPECT_CUDA(cudaStreamDestroy(stream_)); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }
  void wait() const { GATUN_EXPECT_CUDA(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

// Values [rows, depth] that become 4-bit codes in groups of 128 with f32 scales.
class Quantization {
 public:
  Quantization(int64_t rows, int64_t depth, uint64_t seed)
      : params_(params_of(rows, depth)),
        values_(Rng(seed).normals(rows * depth)),
        x_(values_),
        codes_(rows * ((depth + 1) / 2)),
        scales_(rows * ((depth + 127) / 128)),
        faults_(2),
        workspace_(workspace_bytes(params_)) {}

  // Puts it on the stream.
  int32_t run(void* stream) {
    return gatun_cuda_quantize(&params_, x_.data(), nullptr, nullptr, codes_.data(), scales_.data(), nullptr,
                               reinterpret_cast<gatun_cuda_faults*>(faults_.data()), workspace_.data(),
                               workspace_.count(), stream);
  }

  // Other values, and outputs without meaning.
  void change(uint64_t seed) {
    values_ = Rng(seed).normals(static_cast<int64_t>(values_.size()));
    copy_to_device(x_.data(), values_.data(), static_cast<int64_t>(values_.size()) * 4);
    forget();
  }
  void forget() {
    poison(codes_);
    poison(scales_);
    poison(faults_);
  }

  // Whether codes and scales are those of the definition.
  ::testing::AssertionResult right() const {
    std::vector<uint8_t> codes(static_cast<size_t>(codes_.count()));
    std::vector<float> scales(static_cast<size_t>(scales_.count()));
    gatun::quantize::reference_quantize(params_, values_.data(), nullptr, nullptr, codes.data(), scales.data(),
                                        nullptr);
    const std::vector<int64_t> faults = faults_.copy();
    if (faults[0] != -1 || faults[1] != -1) return ::testing::AssertionFailure() << "faults where there are none";
    if (scales != scales_.copy()) return ::testing::AssertionFailure() << "scales differ";
    if (codes != codes_.copy()) return ::testing::AssertionFailure() << "codes differ";
    return ::testing::AssertionSuccess();
  }

  gatun_quantize_params& params() { return params_; }
  const DeviceBuffer<float>& x() const { return x_; }
  DeviceBuffer<uint8_t>& codes() { return codes_; }
  DeviceBuffer<float>& scales() { return scales_; }
  DeviceBuffer<int64_t>& faults() { return faults_; }

  // The values that the codes stand for, once the work is done.
  std::vector<float> decoded() const {
    std::vector<float> values(values_.size());
    const std::vector<uint8_t> codes = codes_.copy();
    const std::vector<float> scales = scales_.copy();
    gatun::quantize::reference_dequantize(params_, nullptr, codes.data(), scales.data(), nullptr, values.data());
    return values;
  }

 private:
  // Bytes that are neither those of right results nor -1, which stands for no fault.
  template <class T>
  static void poison(DeviceBuffer<T>& buffer) {
    const std::vector<T> values(static_cast<size_t>(buffer.count()), static_cast<T>(0x5a));
    copy_to_device(buffer.data(), values.data(), buffer.count() * static_cast<int64_t>(sizeof(T)));
  }
  static gatun_quantize_params params_of(int64_t rows, int64_t depth) {
    gatun_quantize_params p{};
    p.struct_size = sizeof(p);
    p.x_dtype = p.scale_dtype = GATUN_F32;
    p.code_dtype = GATUN_U4;
    p.tensor_scale = 1;
    p.rows = rows;
    p.depth = p.x_row_stride = depth;
    p.group = depth < 128 ? depth : 128;
    p.group_rows = p.x_column_stride = 1;
    return p;
  }
  static int64_t workspace_bytes(const gatun_quantize_params& params) {
    int64_t bytes = 0;
    EXPECT_EQ(gatun_cuda_quantize_workspace_bytes(&params, &bytes), GATUN_OK) << gatun_cuda_last_error();
    return bytes;
  }

  gatun_quantize_params params_;
  std::vector<float> values_;
  DeviceBuffer<float> x_;
  DeviceBuffer<uint8_t> codes_;
  DeviceBuffer<float> scales_;
  DeviceBuffer<int64_t> faults_;
  DeviceBuffer<uint8_t> workspace_;
};

// y [rows, columns] of x [rows, depth] in bf16 and weights quantized as above.
class Product {
 public:
  Product(int64_t rows, int64_t columns, int64_t depth, int32_t mode, uint64_t seed)
      : weights_(weights_of(columns, depth)), params_(params_of(rows, columns, depth, mode)), y_(rows * columns) {
    Quantization quantization(columns, depth, seed);
    EXPECT_EQ(quantization.run(nullptr), GATUN_OK) << gatun_cuda_last_error();
    decoded_ = quantization.decoded();
    int64_t bytes = 0;
    EXPECT_EQ(gatun_cuda_qmatmul_packed_bytes(&weights_, &bytes), GATUN_OK) << gatun_cuda_last_error();
    packed_ = std::make_unique<DeviceBuffer<uint8_t>>(bytes);
    EXPECT_EQ(gatun_cuda_qmatmul_pack(&weights_, quantization.codes().data(), nullptr, quantization.scales().data(),
                                      nullptr, packed_->data(), bytes,
                                      reinterpret_cast<gatun_cuda_faults*>(quantization.faults().data()), nullptr),
              GATUN_OK)
        << gatun_cuda_last_error();
    EXPECT_EQ(quantization.faults().copy(), std::vector<int64_t>({-1, -1}));
    EXPECT_EQ(gatun_cuda_qmatmul_workspace_bytes(&params_, &weights_, 0, &bytes), GATUN_OK) << gatun_cuda_last_error();
    workspace_ = std::make_unique<DeviceBuffer<uint8_t>>(bytes);
    x_ = std::make_unique<DeviceBuffer<uint16_t>>(rows * depth);
    change(seed + 1);
  }

  int32_t run(void* stream) { return run(x_->data(), workspace_->data(), workspace_->count(), y_.data(), stream); }
  int32_t run(const void* x, void* workspace, int64_t workspace_bytes, void* y, void* stream) {
    return gatun_cuda_qmatmul(&params_, &weights_, x, packed_->data(), packed_->count(), nullptr, nullptr, y, workspace,
                              workspace_bytes, stream);
  }

  void change(uint64_t seed) {
    values_ = Rng(seed).normals(x_->count());
    std::vector<uint16_t> rounded;
    for (float& value : values_) {
      rounded.push_back(f32_to_bf16(value));
      value = bf16_to_f32(rounded.back());
    }
    copy_to_device(x_->data(), rounded.data(), x_->count() * 2);
    forget();
  }
  void forget() {
    const std::vector<float> poison(static_cast<size_t>(y_.count()), NAN);
    copy_to_device(y_.data(), poison.data(), y_.count() * 4);
  }

  std::vector<float> result() const { return y_.copy(); }

  // Mode BF16 only: within the bound of gatun/cuda_qmatmul.h, which with f32 outputs is their rounding, too.
  ::testing::AssertionResult right() const {
    const std::vector<float> y = result();
    const int64_t columns = params_.columns, depth = params_.depth;
    for (int64_t m = 0; m < params_.rows; ++m) {
      for (int64_t n = 0; n < columns; ++n) {
        double sum = 0, magnitude = 0;
        for (int64_t k = 0; k < depth; ++k) {
          const double term = double{values_[static_cast<size_t>(m * depth + k)]} *
                              double{decoded_[static_cast<size_t>(n * depth + k)]};
          sum += term;
          magnitude += std::fabs(term);
        }
        const double groups = static_cast<double>((depth + 127) / 128);
        const double bound = std::ldexp((static_cast<double>(depth) + 2 * groups + 8) * magnitude, -23);
        const double error = std::fabs(double{y[static_cast<size_t>(m * columns + n)]} - sum);
        if (!(error <= bound)) {
          return ::testing::AssertionFailure()
                 << "y[" << m << "][" << n << "] = " << y[static_cast<size_t>(m * columns + n)] << ", expected " << sum
                 << " +- " << bound;
        }
      }
    }
    return ::testing::AssertionSuccess();
  }

  gatun_qmatmul_params& params() { return params_; }
  DeviceBuffer<uint8_t>& workspace() { return *workspace_; }
  DeviceBuffer<uint16_t>& x() { return *x_; }
  DeviceBuffer<float>& y() { return y_; }

 private:
  static gatun_qmatmul_weights weights_of(int64_t columns, int64_t depth) {
    gatun_qmatmul_weights w{};
    w.struct_size = sizeof(w);
    w.code_dtype = GATUN_U4;
    w.scale_dtype = GATUN_F32;
    w.group_rows = 1;
    w.tensor_scale = 1;
    w.columns = columns;
    w.depth = depth;
    w.group = depth < 128 ? depth : 128;
    return w;
  }
  static gatun_qmatmul_params params_of(int64_t rows, int64_t columns, int64_t depth, int32_t mode) {
    gatun_qmatmul_params p{};
    p.struct_size = sizeof(p);
    p.x_dtype = GATUN_BF16;
    p.y_dtype = GATUN_F32;
    p.mode = mode;
    p.rows = rows;
    p.columns = p.y_row_stride = p.residual_row_stride = p.column_end = columns;
    p.depth = p.x_row_stride = depth;
    return p;
  }

  gatun_qmatmul_weights weights_;
  gatun_qmatmul_params params_;
  std::vector<float> decoded_, values_;
  std::unique_ptr<DeviceBuffer<uint8_t>> packed_, workspace_;
  std::unique_ptr<DeviceBuffer<uint16_t>> x_;
  DeviceBuffer<float> y_;
};

}  // namespace gatun::test
