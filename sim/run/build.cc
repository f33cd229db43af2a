#include "sim/run/build.h"
