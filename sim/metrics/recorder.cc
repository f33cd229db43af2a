#include "sim/metrics/recorder.h"
