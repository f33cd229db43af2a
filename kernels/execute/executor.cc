// OpenStepExecutor of a build with CUDA: one GPU, one model, graphs by form.
#include <algorithm>
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
  require(std::holds_alternative<GqaAttention>(model.attention),
          "latent attention is not executed yet");
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
    const StepForm form = ops_.Prepare(run);
    if (form.row_pages != row_pages_) graphs_.clear();  // the page table lies elsewhere now
    row_pages_ = form.row_pages;
    ExecutedStep step;
    if (run.graph) {
      std::unique_ptr<Graph>& graph = graphs_[form];
      if (graph == nullptr) graph = Capture(form);
      step.gpu = timer_.Time(*graph);
    } else {
      step.gpu = timer_.Time(*Capture(form));
    }
    if (run.time_ops) TimeOps(form, step);
    return step;
  }

 private:
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
    if (form.logit_rows > 0 && !ops_.LogitsAreNumbers(form)) {
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
      step.ops.push_back(
          {.op = std::string(name),
           .time = timer_.TimeApart(ops, [name](const StepOp& op) { return op.op == name; })});
    }
    for (const int32_t layer : layers) {
      step.layers += timer_.TimeApart(ops, [layer](const StepOp& op) { return op.layer == layer; });
    }
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
