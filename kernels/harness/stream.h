// Stream, Event, Graph: owned CUDA handles. Destructors ignore errors: the call that broke the
// context has already thrown.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/harness/cuda_check.h"

namespace moecast::kernels {

class Stream {
 public:
  Stream() { CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  // Captures and events hold the handle.
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] cudaStream_t get() const { return stream_; }
  void Synchronize() const { CUDA_CHECK(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() { CUDA_CHECK(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  // A stream may still write it.
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void Record(const Stream& stream) const { CUDA_CHECK(cudaEventRecord(event_, stream.get())); }
  void Synchronize() const { CUDA_CHECK(cudaEventSynchronize(event_)); }
  /// Microseconds from `start` to this event; both must have happened.
  [[nodiscard]] double MicrosecondsSince(const Event& start) const {
    float milliseconds = 0;
    CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start.event_, event_));
    return milliseconds * 1e3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// An instantiated graph of whatever `enqueue` puts on the stream.
class Graph {
 public:
  template <class Enqueue>
  Graph(const Stream& stream, Enqueue enqueue) {
    CUDA_CHECK(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
    try {
      enqueue();
    } catch (...) {
      cudaGraph_t broken = nullptr;
      cudaStreamEndCapture(stream.get(), &broken);
      throw;
    }
    cudaGraph_t graph = nullptr;
    CUDA_CHECK(cudaStreamEndCapture(stream.get(), &graph));
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    CUDA_CHECK(status);
  }
  ~Graph() { cudaGraphExecDestroy(executable_); }
  // A stream may still run it.
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void Launch(const Stream& stream) const {
    CUDA_CHECK(cudaGraphLaunch(executable_, stream.get()));
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace moecast::kernels
