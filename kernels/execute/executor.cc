// OpenStepExecutor of a build with CUDA: one GPU, one model, graphs by form.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "kernels/execute/model_ops.h"
#include "kernels/execute/step_timer.h"
#include "sim/model/step_executor.h"

namespace moecast {
namespace kernels {
namespace {

/// What two readings of one card's memory size may differ by: decimal and binary units, and what
/// the driver keeps.
constexpr double kMemoryTolerance = 0.15;

/// ERRORS: CudaError without a GPU, or when it is not the request's.
std::string CheckedDevice(const DeviceSpec& wanted) {
  cudaDeviceProp device{};
  CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
  const auto memory = static_cast<double>(device.totalGlobalMem);
  const bool same = device.multiProcessorCount == wanted.multiprocessors &&
                    std::abs(memory / wanted.hbm_capacity.count() - 1) <= kMemoryTolerance;
  if (!same) {
    throw CudaError("cluster.gpu: the scenario is for " + wanted.name + ", this machine has '" +
                    device.name + "'");
  }
  return device.name;
}

/// ERRORS: CudaError that names what no kernel executes.
void CheckModel(const ModelSpec& model) {
  const auto require = [](bool condition, const std::string& what) {
    if (!condition) throw CudaError("model: " + what);
  };
  if (const auto* mla = std::get_if<MlaAttention>(&model.attention)) {
    require(!mla->q_lora_rank, "latent attention is executed with queries projected directly");
    require(mla->kv_lora_rank == kLatentChannels && mla->qk_rope_head_dim == kRotaryChannels &&
                mla->qk_nope_head_dim == mla->v_head_dim,
            "latent attention is executed with latents of " + std::to_string(kLatentChannels) +
                ", rotary parts of " + std::to_string(kRotaryChannels) +
                " and keys as wide as values");
  }
  require(!model.linear_attention && !model.attention_output_gate,
          "linear attention and output gates are not executed");
  for (const TensorFormat* format : {&model.formats.attention, &model.formats.dense_ffn,
                                     &model.formats.embeddings, &model.formats.activations}) {
    require(format->name == "bf16",
            "only routed experts are executed in other formats than bf16, "
            "not '" +
                format->name + "'");
  }
}

class Executor {
 public:
  explicit Executor(const ExecutorRequest& request)
      : device_(CheckedDevice(request.device)), ops_(request, stream_), timer_(stream_) {}

  [[nodiscard]] const std::string& device() const { return device_; }

  /// ERRORS: CudaError.
  ExecutedStep Run(const StepRun& run) {
    const auto start = Clock::now();
    const StepForm form = ops_.Prepare(run);
    if (form.row_pages != row_pages_) graphs_.clear();  // the page table lies elsewhere now
    row_pages_ = form.row_pages;
    std::unique_ptr<Graph> once;
    std::unique_ptr<Graph>& graph = run.graph ? graphs_[form] : once;
    if (graph == nullptr) graph = Capture(form);
    ExecutedStep step{.preparing = Since(start)};
    step.gpu = timer_.Time(*graph);
    step.sm_mhz = timer_.sm_mhz();
    const auto whole = Clock::now();
    if (run.time_ops) TimeOps(form, step);
    step.timing_ops = Since(whole);
    return step;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static Seconds Since(Clock::time_point start) {
    return Seconds(std::chrono::duration<double>(Clock::now() - start).count());
  }

  /// A graph of the whole step that has run once: the cache is as after the step, and running it
  /// again writes the same.
  std::unique_ptr<Graph> Capture(const StepForm& form) {
    const std::vector<StepOp> ops = ops_.Of(form);
    auto graph = std::make_unique<Graph>(stream_, [&ops] {
      for (const StepOp& op : ops) op.launch();
    });
    timer_.Time(*graph);
    return graph;
  }

  void TimeOps(const StepForm& form, ExecutedStep& step) {
    if (form.logit_rows > 0 &&
        !std::ranges::all_of(ops_.Logits(form), [](float v) { return std::isfinite(v); })) {
      throw CudaError("the step's logits are no numbers");
    }
    const std::vector<StepOp> ops = ops_.Of(form);
    std::set<std::string_view> names;
    std::set<int32_t> layers;
    for (const StepOp& op : ops) {
      names.insert(op.op);
      layers.insert(op.layer);
    }
    for (const std::string_view name : names) {
      const auto is_it = [name](const StepOp& op) { return op.op == name; };
      step.ops.push_back({.op = std::string(name), .time = timer_.TimeApart(ops, is_it)});
    }
    for (const int32_t layer : layers) {
      step.layers += timer_.TimeApart(ops, [layer](const StepOp& op) { return op.layer == layer; });
    }
    step.layers = WholeNs(step.layers);
  }

  std::string device_;
  Stream stream_;
  ModelOps ops_;
  StepTimer timer_;
  int32_t row_pages_ = 0;
  std::map<StepForm, std::unique_ptr<Graph>> graphs_;
};

}  // namespace
}  // namespace kernels

Result<StepExecutor> OpenStepExecutor(const ExecutorRequest& request) {
  try {
    kernels::CheckModel(request.model);
    const auto executor = std::make_shared<kernels::Executor>(request);
    return StepExecutor{.device = executor->device(),
                        .run = [executor](const StepRun& run) -> Result<ExecutedStep> {
                          try {
                            return executor->Run(run);
                          } catch (const kernels::CudaError& error) {
                            return Error{error.what(), "executing a step"};
                          }
                        }};
  } catch (const kernels::CudaError& error) {
    return Error{error.what(), "opening the GPU"};
  }
}

}  // namespace moecast
