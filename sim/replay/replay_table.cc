#include "sim/replay/replay_table.h"
