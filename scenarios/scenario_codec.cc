#include "scenarios/scenario_codec.h"
