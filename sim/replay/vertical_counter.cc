#include "sim/replay/vertical_counter.h"
