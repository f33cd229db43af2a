// Work of the kernels that read and write the paged KV cache, for the table of forms. Bytes follow
// from what a scheme stores (bits, group, residual), so that a row and a simulated launch of one
// scheme are the same point whoever counts its bytes. docs/model/calibration.md, "KV cache".
#pragma once

#include "sim/cost/kernel_form.h"

namespace moecast {

/// One query per sequence over `context` cached tokens of kv_heads heads.
KernelWork AttendWork(const KernelFeatures& f, double);
/// The same over a latent cache, one latent per token, shared by all heads, keys and values.
KernelWork AttendLatentWork(const KernelFeatures& f, double);
/// A chunk's queries over `context` tokens, its own and cached ones; its operations are `flops`.
KernelWork AttendPrefillWork(const KernelFeatures& f, double);
/// The same over keys and values that were expanded from latents, per head and in bf16.
KernelWork AttendExpandedWork(const KernelFeatures& f, double);
/// Writing, flushing or packing `new_tokens` tokens: read in bf16, written as codes.
KernelWork KvWriteWork(const KernelFeatures& f, double);
/// The same of chunks, whose windows of bf16 leave tokens to make codes of or not.
KernelWork PackWork(const KernelFeatures& f, double);

}  // namespace moecast
