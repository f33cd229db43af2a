#include "sim/engine/scheduler.h"
