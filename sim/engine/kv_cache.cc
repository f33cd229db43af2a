#include "sim/engine/kv_cache.h"
