// The schemes that writing the cache is checked with.
#pragma once

#include <vector>

#include "kernels/ops/kv/kv_scheme.h"

namespace moecast::kernels {

/// Every pair of elements of kernels/data/kv_schemes.csv at every group that Fits takes, with its
/// window, eta and shared codes; and combinations that no published scheme has. All of them fit.
std::vector<KvScheme> SchemesToCheck(int head_dim);

}  // namespace moecast::kernels
