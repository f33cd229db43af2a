#include "sim/model/memory.h"
