#include "reports/console.h"
