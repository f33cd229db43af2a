// What the kernel of latent attention is launched with.
#pragma once

#include <cuda.h>

#include "kernels/ops/mla/attend_mla.h"

namespace moecast::kernels::mla {

struct Maps {
  CUtensorMap query;
  CUtensorMap latents;
  CUtensorMap rotary;
};

struct Task {
  AttendMlaArgs args;
  int32_t head_groups = 1;  // of kRows query heads; their blocks are neighbours
  float scale = 1;          // log2(e) times the caller's
};

}  // namespace moecast::kernels::mla
