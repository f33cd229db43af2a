#include "sim/engine/replica.h"
