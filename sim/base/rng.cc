#include "sim/base/rng.h"
