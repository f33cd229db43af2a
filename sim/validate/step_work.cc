#include "sim/validate/step_work.h"

#include <string_view>

#include "sim/base/fingerprint.h"

namespace moecast {
namespace {

void Add(Fingerprint& fingerprint, std::string_view text) {
  fingerprint.Add(text.size());
  for (const char c : text) fingerprint.Add(static_cast<uint8_t>(c));
}

void Add(Fingerprint& fingerprint, const SequenceWork& work) {
  fingerprint.Add(work.slot);
  fingerprint.Add(static_cast<uint64_t>(work.past));
  fingerprint.Add(static_cast<uint64_t>(work.tokens));
  fingerprint.Add((work.decodes ? 2U : 0U) | (work.emits ? 1U : 0U));
}

}  // namespace

uint64_t StepWork(const ExecutorRequest& on, const StepRun& run) {
  Fingerprint fingerprint;
  for (const std::string_view name :
       {std::string_view(on.model.name), std::string_view(on.kv.name),
        std::string_view(on.device.name), std::string_view(on.model.formats.experts.name)}) {
    Add(fingerprint, name);
  }
  fingerprint.Add(static_cast<uint64_t>(run.rows));
  fingerprint.Add(static_cast<uint64_t>(run.logit_rows));
  fingerprint.Add(run.graph ? 1 : 0);
  for (const SequenceWork& work : run.sequences) Add(fingerprint, work);
  for (const uint16_t expert : run.experts) fingerprint.Add(expert);
  return fingerprint.value();
}

}  // namespace moecast
