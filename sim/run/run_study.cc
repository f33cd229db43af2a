#include "sim/run/run_study.h"
