// DeviceBuffer<T>: an owned array in device memory. Plain allocations only; contents are undefined
// until written.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "kernels/harness/cuda_check.h"

namespace moecast::kernels {

template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(size_t count) : count_(count) {
    if (count > 0) CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)));
  }
  explicit DeviceBuffer(std::span<const T> values) : DeviceBuffer(values.size()) {
    CopyFrom(values);
  }
  ~DeviceBuffer() {
    cudaFree(data_);
  }  // a destructor must not throw; a leak is not worth dying for
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] size_t size() const { return count_; }

  /// Fills every byte with 0xff: not-a-number in floating types, -1 in signed integers.
  void Poison() { CUDA_CHECK(cudaMemset(data_, 0xff, count_ * sizeof(T))); }
  void Zero() { CUDA_CHECK(cudaMemset(data_, 0, count_ * sizeof(T))); }

  /// Synchronous. REQUIRES: values.size() <= size().
  void CopyFrom(std::span<const T> values) {
    CUDA_CHECK(cudaMemcpy(data_, values.data(), values.size_bytes(), cudaMemcpyHostToDevice));
  }
  /// Synchronous with all earlier work of the device.
  [[nodiscard]] std::vector<T> ToHost() const {
    std::vector<T> values(count_);
    CUDA_CHECK(cudaDeviceSynchronize());
    CUDA_CHECK(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace moecast::kernels
