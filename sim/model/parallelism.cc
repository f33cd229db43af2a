#include "sim/model/parallelism.h"
