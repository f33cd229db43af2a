// LastExecutor: the executor of the case before, for a case that asks for the same. Opening one
// draws gigabytes of weights and captures graphs anew.
#pragma once

#include <functional>
#include <optional>

#include "sim/base/result.h"
#include "sim/model/step_executor.h"

namespace moecast {

using OpenExecutor = std::function<Result<StepExecutor>(const ExecutorRequest&)>;

/// Whether one executor serves both: equal in all that an executor reads of a request.
bool SameExecutor(const ExecutorRequest& a, const ExecutorRequest& b);

class LastExecutor {
 public:
  explicit LastExecutor(OpenExecutor open) : open_(std::move(open)) {}

  /// Gives up the last executor before it opens another, so that one at a time holds memory.
  /// RETURNS: valid until the next call. ERRORS: those of opening.
  Result<const StepExecutor*> For(const ExecutorRequest& request);

 private:
  OpenExecutor open_;
  std::optional<ExecutorRequest> request_;
  StepExecutor executor_;
};

}  // namespace moecast
